"""Notices: deadlines that pass, the backstop's question, dead letters."""

from typing import assert_never

from contracts.messages.base import Step
from contracts.messages.inventory import ReservationDue
from contracts.messages.order import DeadlinePassed, StepBlocked, StepUnblocked
from order_service.checkout.facts import Attempt, Hold, Reason, StockStatus, Wait
from order_service.checkout.outcomes import EARLIER_ROUND, Refusal, Settled, Stale
from order_service.checkout.policy import Lapse
from order_service.checkout.turn import Turn


def deadline_passed(turn: Turn, message: DeadlinePassed) -> Refusal | None:
    """An answer is overdue: ask again, or see that none will come."""
    wait = turn.waits.get((message.step, message.round))
    if wait is None or wait.hold is not None or wait.due_at != message.due_at:
        return Stale(Settled("the wait is over, or was moved"))
    if wait.is_put_off:
        _lapse(turn, turn.attempts[wait.round - 1])
    elif not wait.provisional and turn.policy.may_send_again(wait.step, wait.sends):
        turn.ask_again(wait)
        turn.note = f"asked again, send {wait.sends + 1}"
    else:
        _run_out(turn, wait)
    return None


def _lapse(turn: Turn, attempt: Attempt) -> None:
    """The provider gives the money back before long, and the goods are not shipped."""
    may_charge = attempt.method.saved_method_id is not None and (
        len(turn.attempts) < turn.policy.attempts_limit
    )
    match turn.policy.authorization_lapse:
        case Lapse.CANCEL:
            turn.giving_up = Reason.AUTHORIZATION_LAPSED
        case Lapse.AUTHORIZE_AGAIN if may_charge:
            turn.renew_window()
            turn.next_method = attempt.method
            turn.note = "authorized again"
        case Lapse.CAPTURE | Lapse.AUTHORIZE_AGAIN:
            turn.capture(attempt)
            turn.note = "captured before it lapses"


def _run_out(turn: Turn, wait: Wait) -> None:
    """No answer will come: compensate, or stop where compensating could lose money."""
    turn.note = f"{wait.step} {wait.round} ran out after send {wait.sends}"
    match wait.step:
        case Step.RESERVE:
            turn.giving_up = Reason.STOCK_UNANSWERED
        case Step.CHARGE:
            turn.close(turn.attempts[wait.round - 1])
        case Step.CAPTURE | Step.COMMIT | Step.CLOSE_PAYMENT | Step.REFUND | Step.RELEASE:
            turn.hold(wait, Hold.EXHAUSTED)
        case Step.UNLOCK_CART | Step.CLOSE_CART | Step.RESTORE_LINES:
            turn.resume(wait)  # without a budget: only a discard leads here
        case Step.EXTEND | Step.START:
            turn.settle(wait.step, wait.round)
        case _:
            assert_never(wait.step)


def reservation_due(turn: Turn, message: ReservationDue) -> Refusal | None:
    """The backstop's question, answered with Extend, Commit or Release."""
    if message.round < turn.stock.round:
        return EARLIER_ROUND
    match turn.stock.status:
        case StockStatus.ASKED:
            return Stale(Settled("the answer to reserve is still awaited"))
        case StockStatus.COMMITTED | StockStatus.GONE | StockStatus.REJECTED:
            return Stale(Settled("nothing is reserved any more"))
        case StockStatus.RELEASING:
            turn.messages.append(turn.command(Step.RELEASE, message.round))
        case StockStatus.HELD if turn.awaits(Step.COMMIT, message.round):
            turn.messages.append(turn.command(Step.COMMIT, message.round))
        case StockStatus.HELD:
            if message.expires_at < turn.stock.until:
                return Stale(Settled("extended meanwhile"))
            turn.extend_reservation()
    return None


def blocked(turn: Turn, message: StepBlocked) -> Refusal | None:
    """A dead letter stands in the way of a step: wait for it, and not for the step."""
    wait = turn.waits.get((message.step, message.round))
    if wait is None or wait.hold is not None:
        return Stale(Settled("nothing waits for that step"))
    turn.hold(wait, Hold.BLOCKED)
    turn.note = f"blocked by dead letter {message.dead_letter_id} of {message.service}"
    return None


def unblocked(turn: Turn, message: StepUnblocked) -> Refusal | None:
    """That dead letter was replayed, or given up."""
    wait = turn.waits.get((message.step, message.round))
    if wait is None or wait.hold is not Hold.BLOCKED:
        return Stale(Settled("that step is not blocked"))
    under_way = wait.step is Step.CHARGE and wait.provisional
    if message.outcome == "replayed" or under_way or wait.is_put_off:
        turn.resume(wait)
    else:
        _run_out(turn, wait)
    turn.note = f"dead letter {message.dead_letter_id} of {message.service} {message.outcome}"
    return None
