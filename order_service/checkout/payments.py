"""Answers of payment: about an attempt, whichever question they answer, and about a refund."""

from datetime import datetime, timedelta

from contracts.messages.base import Step
from contracts.messages.order import OrderPaymentFailed, OrderRefunded
from contracts.messages.payment import (
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentClosed,
    PaymentProcessing,
    PaymentSucceeded,
    PaymentUnknown,
    Refunded,
    RefundFailed,
    RefundPending,
)
from contracts.values import replace
from order_service.checkout.facts import (
    Attempt,
    AttemptStatus,
    Fulfilment,
    Reason,
    Refund,
    RefundStatus,
    StockStatus,
)
from order_service.checkout.outcomes import KNOWN, Refusal
from order_service.checkout.policy import LateSuccess
from order_service.checkout.turn import Turn


def succeeded(turn: Turn, message: PaymentSucceeded) -> Refusal | None:
    """The money is here."""
    attempt = turn.attempts[message.attempt - 1]
    if attempt.status is AttemptStatus.SUCCEEDED:
        return KNOWN
    if message.amount_minor < turn.request.total_minor:
        _captured_short(turn, attempt, message.amount_minor)
        return None
    if turn.giving_up is not None:
        _decide_late_success(turn, turn.giving_up)
    paid = replace(attempt, status=AttemptStatus.SUCCEEDED, next_action=None, expires_at=None)
    turn.settle_attempt(paid)
    return None


def _captured_short(turn: Turn, attempt: Attempt, amount_minor: int) -> None:
    """Somebody took a part of the money at the provider: it secures nothing, and goes back."""
    short = replace(
        attempt,
        status=AttemptStatus.SUCCEEDED,
        short_minor=amount_minor,
        code="captured_in_part",
        next_action=None,
        expires_at=None,
    )
    turn.settle_attempt(short)
    turn.refund(short.number)
    turn.note = f"only {amount_minor} was captured: refunded"
    if turn.giving_up is None and not turn.paid_for:
        _announce_failure(turn, short)


def _decide_late_success(turn: Turn, reason: Reason) -> None:
    """Money for a checkout that is being given up: sell after all, or leave it to be refunded."""
    if _late_success(turn, reason) is LateSuccess.REFUND:
        turn.note = "paid late: refunded"
        return
    turn.giving_up = None
    turn.note = "paid late: kept"
    if turn.placed.fulfilment is Fulfilment.CANCELLED:
        turn.do_not_ship(Fulfilment.PENDING)


def _late_success(turn: Turn, reason: Reason) -> LateSuccess:
    if turn.unreturned or turn.refunds:
        return LateSuccess.REFUND
    if turn.stock.status in (StockStatus.HELD, StockStatus.COMMITTED):
        if reason is Reason.PAYMENT_WINDOW_CLOSED:
            return turn.policy.success_at_window_close
        return turn.policy.success_at_cancel
    if turn.stock.round >= turn.policy.reservation_rounds_limit:
        return LateSuccess.REFUND
    return turn.policy.success_after_release


def authorized(turn: Turn, message: PaymentAuthorized) -> Refusal | None:
    """The money is set aside."""
    attempt = turn.attempts[message.attempt - 1]
    if not _undecided(attempt):
        return KNOWN
    turn.settle(Step.CHARGE, attempt.number)
    turn.attempt_is(
        replace(
            attempt,
            status=AttemptStatus.AUTHORIZED,
            next_action=None,
            expires_at=message.capture_before,
        )
    )
    return None


def processing(turn: Turn, message: PaymentProcessing) -> Refusal | None:
    """The provider works on it by itself."""
    attempt = turn.attempts[message.attempt - 1]
    now_known = replace(
        attempt,
        status=AttemptStatus.PROCESSING,
        next_action=None,
        expires_at=None,
        expected_by=message.expected_by,
    )
    if not _undecided(attempt) or now_known == attempt:
        return KNOWN
    turn.attempt_is(now_known)
    if _outlast(turn, attempt, message.expected_by):
        turn.extend_reservation()
    return None


def action_required(turn: Turn, message: PaymentActionRequired) -> Refusal | None:
    """The shopper has to do something first."""
    attempt = turn.attempts[message.attempt - 1]
    now_known = replace(
        attempt,
        status=AttemptStatus.ACTION_REQUIRED,
        next_action=message.next_action,
        expires_at=message.expires_at,
    )
    if not _undecided(attempt) or now_known == attempt:
        return KNOWN
    turn.attempt_is(now_known)
    _outlast(turn, attempt, message.expires_at)
    return None


def unknown(turn: Turn, message: PaymentUnknown) -> Refusal | None:
    """Nobody knows: whoever asked for the outcome waits, and nothing is compensated."""
    attempt = turn.attempts[message.attempt - 1]
    wait = turn.waits.get((message.step, message.attempt))
    news = wait is not None and not wait.provisional
    if _undecided(attempt) and attempt.status is not AttemptStatus.UNKNOWN:
        turn.attempt_is(replace(attempt, status=AttemptStatus.UNKNOWN))
    elif not news:
        return KNOWN
    turn.be_patient(message.step, attempt.number, turn.now + turn.policy.patience(message.step))
    return None


def _outlast(turn: Turn, attempt: Attempt, until: datetime) -> bool:
    grace = timedelta(seconds=turn.policy.attempt_grace_seconds)
    return turn.be_patient(Step.CHARGE, attempt.number, until + grace)


def _undecided(attempt: Attempt) -> bool:
    """May charging it still end in any way?"""
    return attempt.live and attempt.status is not AttemptStatus.AUTHORIZED


def ended_without_money(turn: Turn, attempt: Attempt) -> Refusal | None:
    """Declined, cancelled, or its capture failed: a final no for this attempt."""
    if not turn.attempts[attempt.number - 1].live:
        return KNOWN
    turn.attempt_is(replace(attempt, next_action=None, expires_at=None))
    turn.settle(Step.CHARGE, attempt.number)
    turn.settle(Step.CAPTURE, attempt.number)
    if not turn.awaits(Step.CLOSE_PAYMENT, attempt.number):
        _announce_failure(turn, attempt)
    return None


def closed(turn: Turn, message: PaymentClosed) -> Refusal | None:
    """No money can come from this attempt any more, on the provider's word."""
    attempt = turn.attempts[message.attempt - 1]
    if attempt.status in (AttemptStatus.SUCCEEDED, AttemptStatus.CLOSED):
        return KNOWN
    ended = replace(
        attempt,
        status=AttemptStatus.CLOSED,
        code=attempt.code or message.outcome,
        next_action=None,
        expires_at=None,
    )
    turn.settle_attempt(ended)
    if turn.placed.to_capture and turn.next_method is not None:
        turn.renew_window()  # to set it aside anew is ours to do, however long the closing took
    replaced = turn.next_method is not None and turn.window_open
    if turn.giving_up is None and not replaced and not turn.paid_for:
        _announce_failure(turn, ended)
    return None


def _announce_failure(turn: Turn, attempt: Attempt) -> None:
    if turn.placed.to_capture:
        # The window is long over: it was for the shopper to pay, and they had.
        turn.do_not_ship(Fulfilment.PENDING)
        turn.renew_window()
    turn.announce(
        OrderPaymentFailed,
        attempt=attempt.number,
        code=attempt.code,
        window_closes_at=turn.placed.window_closes_at,
    )


# About a refund.


def refund_pending(turn: Turn, message: RefundPending) -> Refusal | None:
    """The money is on its way back."""
    refund = turn.refunds[message.round - 1]
    if refund.status is not RefundStatus.REQUESTED:
        return KNOWN
    turn.refund_is(replace(refund, status=RefundStatus.PENDING))
    turn.be_patient(Step.REFUND, refund.number, turn.now + turn.policy.patience(Step.REFUND))
    return None


def refunded(turn: Turn, message: Refunded) -> Refusal | None:
    """The money is back."""
    refund = turn.refunds[message.round - 1]
    if refund.status in (RefundStatus.REFUNDED, RefundStatus.FAILED):
        return KNOWN
    _settle_refund(turn, replace(refund, status=RefundStatus.REFUNDED))
    turn.announce(OrderRefunded, refund_id=message.refund_id, amount_minor=message.amount_minor)
    return None


def refund_failed(turn: Turn, message: RefundFailed) -> Refusal | None:
    """Taken in even after Refunded: a bank may send a refund back weeks later."""
    refund = turn.refunds[message.round - 1]
    if refund.status is RefundStatus.FAILED:
        return KNOWN
    _settle_refund(turn, replace(refund, status=RefundStatus.FAILED))
    turn.note = f"refund {refund.number} failed: {message.code}"
    return None


def _settle_refund(turn: Turn, refund: Refund) -> None:
    turn.refund_is(refund)
    turn.settle(Step.REFUND, refund.number)
