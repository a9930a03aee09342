"""What each message does to an order after its sale: commands, answers, and news of the bank.

`Stale` and `Illegal` are the saga's: settled already or come late, and what nothing explains.
"""

from datetime import datetime
from typing import TypeAlias, assert_never

from typing_extensions import TypeIs

from contracts.messages.base import SagaMessage, Step
from contracts.messages.inventory import StockReturned
from contracts.messages.order import (
    DeadlinePassed,
    OrderDisputed,
    OrderRefundFailed,
    OrderReturned,
    RefundOrder,
    ResolveRefund,
    ReturnOrder,
    StepBlocked,
    StepUnblocked,
)
from contracts.messages.parts import LinePieces, OrderLine, ReturnedPieces
from contracts.messages.payment import (
    DisputeMoved,
    Refunded,
    RefundFailed,
    RefundMade,
    RefundPending,
)
from contracts.values import replace
from order_service.after_sale.facts import (
    FIRST_ROUND,
    TAKES,
    AfterSale,
    Claim,
    ClaimedLine,
    ClaimStatus,
    Dispute,
    Origin,
    ReturnedLine,
)
from order_service.after_sale.outcomes import (
    ClaimsExhausted,
    ExceedsRest,
    NothingFailed,
    NotPaidFor,
    Refused,
    Served,
    UnderDispute,
    WhyNot,
)
from order_service.after_sale.turn import Turn
from order_service.after_sale.worth import of_amount, of_pieces
from order_service.checkout.facts import (
    Checkout,
    Hold,
    Pieces,
    StockStatus,
    Tombstone,
    Wait,
    refund_id_of,
)
from order_service.checkout.outcomes import Illegal, NoSuchLine, Settled, Stale, TooManyPieces
from order_service.checkout.policy import Policy
from order_service.checkout.shipments import by_line, too_much

AfterSaleCommand: TypeAlias = RefundOrder | ReturnOrder | ResolveRefund
AfterSaleAnswer: TypeAlias = RefundPending | Refunded | RefundFailed | StockReturned
AfterSaleNotice: TypeAlias = (
    RefundMade | DisputeMoved | DeadlinePassed | StepBlocked | StepUnblocked
)
AfterSaleMessage: TypeAlias = AfterSaleCommand | AfterSaleAnswer | AfterSaleNotice

Refusal: TypeAlias = Refused | Stale | Illegal

_KNOWN = Stale(Settled("known already"))

_STEPS = frozenset({Step.REFUND, Step.RELEASE})
"""What is asked after the sale: money to go back, and goods to be booked in."""


def is_after_sale(message: object) -> TypeIs[AfterSaleMessage]:
    """Whether a message is for here, and not for the checkout's saga."""
    if isinstance(message, SagaMessage):
        return message.step in _STEPS and message.round >= FIRST_ROUND
    return isinstance(message, AfterSaleCommand | RefundMade | DisputeMoved)


def serve(
    after: AfterSale | None,
    saga: Checkout | Tombstone | None,
    message: AfterSaleMessage,
    now: datetime,
    policy: Policy,
) -> Served | Refused | Stale | Illegal:
    """Decide one message against one order."""
    if not isinstance(saga, Checkout) or saga.order is None:
        return Illegal("there is no such order")
    if message.shop_id != saga.request.shop_id:
        return Illegal("the order belongs to another shop")
    turn = Turn(after, saga, saga.order, now, policy)
    refusal = _take_in(turn, message)
    return turn.served() if refusal is None else refusal


def _take_in(turn: Turn, message: AfterSaleMessage) -> Refusal | None:
    match message:
        case RefundOrder():
            return _refused(_refund(turn, message))
        case ReturnOrder():
            return _refused(_return(turn, message))
        case ResolveRefund():
            return _resolve(turn, message)
        case RefundPending() | Refunded() | RefundFailed():
            return _refund_answered(turn, message)
        case StockReturned():
            return _booked(turn, message)
        case RefundMade():
            return _refund_made(turn, message)
        case DisputeMoved():
            return _dispute_moved(turn, message)
        case DeadlinePassed() | StepBlocked() | StepUnblocked():
            return _wait_moved(turn, message)
    assert_never(message)


def _refused(why: WhyNot | None) -> Refused | None:
    return None if why is None else Refused(why)


# Commands of the shop.


def _may_claim(turn: Turn, *, money: bool) -> WhyNot | None:
    saga = turn.saga
    sold = saga.giving_up is None and saga.stock.status is StockStatus.COMMITTED
    paid = saga.kept_minor > 0 or (saga.request.total_minor == 0 and not money)
    if not (sold and paid):
        return NotPaidFor(saga.state.value)
    if len(turn.after.claims) + len(turn.after.returns) >= turn.policy.claims_limit:
        return ClaimsExhausted(turn.policy.claims_limit)
    if money and turn.after.disputed_minor > 0:
        return UnderDispute(turn.after.disputed_minor)
    return None


def _refund(turn: Turn, command: RefundOrder) -> WhyNot | None:
    why = _may_claim(turn, money=True)
    if why is not None:
        return why
    lines: tuple[ClaimedLine, ...] | WhyNot
    if command.lines:
        lines = _claimed(turn, command.lines)
    else:
        lines = of_amount(turn.lines, min(command.amount_minor or turn.rest_minor, _left(turn)))
    if not isinstance(lines, tuple):
        return lines
    asked_minor = command.amount_minor or sum(line.amount_minor for line in lines)
    if not 0 < asked_minor <= turn.rest_minor:
        return ExceedsRest(asked_minor, turn.rest_minor)
    claim = turn.add_claim(lines, Origin.ASKED, command.reason, amount_minor=asked_minor)
    turn.ask_refund(claim)
    turn.note = f"refund {claim.number} of {claim.amount_minor}"
    return None


def _left(turn: Turn) -> int:
    return sum(line.left_minor for line in turn.lines)


def _claimed(turn: Turn, wanted: tuple[LinePieces, ...]) -> tuple[ClaimedLine, ...] | WhyNot:
    lines, claimed = turn.lines, []
    for line_no, pieces in by_line(wanted).items():
        if line_no > len(lines):
            return NoSuchLine(line_no)
        line = lines[line_no - 1]
        if pieces > line.pieces_left:
            return TooManyPieces(line_no, line.pieces_left)
        claimed.append(of_pieces(line, pieces))
    return tuple(claimed)


def _return(turn: Turn, command: ReturnOrder) -> WhyNot | None:
    """Take goods back, and with them what their pieces are worth and nobody has refunded yet."""
    why = _may_claim(turn, money=command.refund and turn.saga.kept_minor > 0)
    if why is not None:
        return why
    lines, unshipped = turn.lines, by_line(line for line in command.lines if line.unshipped)
    for line_no, pieces in by_line(command.lines).items():
        if line_no > len(lines) or not isinstance(lines[line_no - 1].line, OrderLine):
            return NoSuchLine(line_no)
        left = lines[line_no - 1].line.quantity - turn.after.returned_of(line_no)
        if pieces > left:
            return TooManyPieces(line_no, left)
    why = too_much(turn.order, turn.saga.request.lines, [Pieces(*one) for one in unshipped.items()])
    if why is not None:
        return why
    claim = _claim_of_return(turn, command) if command.refund else None
    came_back = turn.add_return(
        _taken_back(turn, command.lines), command.reason, None if claim is None else claim.number
    )
    turn.announce(OrderReturned, return_number=came_back.number, lines=command.lines)
    turn.note = f"return {came_back.number}"
    return None


def _claim_of_return(turn: Turn, command: ReturnOrder) -> Claim | None:
    lines, left, claimed = turn.lines, turn.rest_minor, []
    for line_no, pieces in by_line(command.lines).items():
        line = lines[line_no - 1]
        worth = of_pieces(line, min(pieces, line.pieces_left))
        worth = replace(worth, amount_minor=min(worth.amount_minor, left))
        left -= worth.amount_minor
        claimed.append(worth)
    if turn.saga.kept_minor == 0 or not any(line.pieces for line in claimed):
        return None
    if not any(line.amount_minor for line in claimed):
        # Worth less than a unit, or all of it was given back: nothing to ask, but counted.
        done = ClaimStatus.REFUNDED
        return turn.add_claim(claimed, Origin.RETURN, command.reason, status=done)
    claim = turn.add_claim(claimed, Origin.RETURN, command.reason)
    turn.ask_refund(claim)
    return claim


def _taken_back(turn: Turn, lines: tuple[ReturnedPieces, ...]) -> list[ReturnedLine]:
    """Of a line that was shipped in part, what was shipped comes back first, unless told else."""
    goods = turn.saga.request.lines
    away = turn.pieces_away()
    taken = []
    for line in lines:
        shipped = 0 if line.unshipped else min(line.quantity, away[line.line_no - 1])
        away[line.line_no - 1] -= shipped
        sku = goods[line.line_no - 1].sku
        taken.append(ReturnedLine(line.line_no, sku, line.quantity, line.write_off, shipped))
    return taken


def _resolve(turn: Turn, command: ResolveRefund) -> Refusal | None:
    """Do what somebody decided about a refund that failed, or whose answer never came."""
    claim = turn.claim(command.claim)
    wait = None if claim is None else turn.wait(Step.REFUND, claim.round)
    ran_out = wait is not None and wait.hold is Hold.EXHAUSTED
    if claim is None or not (claim.status is ClaimStatus.FAILED or ran_out):
        return Refused(NothingFailed(command.claim))
    turn.note = f"refund {claim.number} resolved as {command.decision}"
    if wait is not None:
        # Its outcome is open: only its own answer can end it, whatever somebody decides.
        turn.ask(wait.step, wait.round)
        return None
    match command.decision:
        case "retry" | "refunded_by_hand":
            if claim.amount_minor > turn.rest_minor:
                return Refused(ExceedsRest(claim.amount_minor, turn.rest_minor))
            turn.ask_refund(claim, by_hand=command.decision == "refunded_by_hand")
        case "withdrawn":
            turn.claim_is(replace(claim, status=ClaimStatus.WITHDRAWN))
    return None


# Answers.


def _refund_answered(
    turn: Turn, message: RefundPending | Refunded | RefundFailed
) -> Refusal | None:
    claim = turn.claim_asked(message.round)
    if claim is None:
        last = max((each.round for each in turn.after.claims), default=0)
        of_earlier = FIRST_ROUND <= message.round < last
        return Stale(Settled("tried again since")) if of_earlier else Illegal("never asked")
    if message.refund_id != refund_id_of(turn.saga.id, message.round):
        return Illegal("it tells of another refund")
    if message.amount_minor != claim.amount_minor:
        return Illegal(f"it tells of {message.amount_minor}, asked were {claim.amount_minor}")
    match message:
        case RefundPending():
            wait = turn.wait(Step.REFUND, claim.round)
            if claim.status is not ClaimStatus.REQUESTED or wait is None:
                return _KNOWN
            turn.claim_is(replace(claim, status=ClaimStatus.PENDING))
            turn.be_patient(wait)
        case Refunded():
            if claim.status not in (ClaimStatus.REQUESTED, ClaimStatus.PENDING):
                return _KNOWN
            _refunded(turn, claim)
        case RefundFailed():
            if claim.status not in TAKES:
                return _KNOWN
            _failed(turn, claim, message.code)
        case _:
            assert_never(message)
    return None


def _refunded(turn: Turn, claim: Claim) -> None:
    turn.settle(Step.REFUND, claim.round)
    done = replace(claim, status=ClaimStatus.REFUNDED, credited=True)
    turn.announce_refunded(done)
    turn.claim_is(done)


def _failed(turn: Turn, claim: Claim, code: str) -> None:
    """Refused, or sent back by the bank, perhaps weeks after it was refunded."""
    turn.settle(Step.REFUND, claim.round)
    failed = replace(claim, status=ClaimStatus.FAILED, code=code)
    turn.claim_is(failed)
    turn.announce(
        OrderRefundFailed,
        refund_id=turn.refund_id(failed),
        amount_minor=failed.amount_minor,
        code=code,
    )
    turn.note = f"refund {failed.number} failed: {code}"


def _booked(turn: Turn, message: StockReturned) -> Refusal | None:
    index = message.round - FIRST_ROUND
    if not 0 <= index < len(turn.after.returns):
        return Illegal("it tells of another return")
    came_back = turn.after.returns[index]
    if came_back.booked:
        return _KNOWN
    turn.settle(Step.RELEASE, message.round)
    returns = list(turn.after.returns)
    returns[index] = replace(came_back, booked=True)
    turn.after = replace(turn.after, returns=tuple(returns))
    return None


# News of the provider.

_MADE = {
    "pending": ClaimStatus.PENDING,
    "refunded": ClaimStatus.REFUNDED,
    "failed": ClaimStatus.WITHDRAWN,
}
"""What becomes of a refund that nobody here asked for; one that fails asks for no decision."""


def _refund_made(turn: Turn, message: RefundMade) -> Refusal | None:
    status = _MADE[message.status]
    known = next((one for one in turn.after.claims if one.refund_id == message.refund_id), None)
    if known is None:
        if status is ClaimStatus.WITHDRAWN:
            return _KNOWN
        lines = of_amount(turn.lines, min(message.amount_minor, _left(turn)))
        known = turn.add_claim(
            lines,
            Origin.PROVIDER,
            "made at the provider",
            attempt=message.attempt,
            amount_minor=message.amount_minor,
            refund_id=message.refund_id,
            status=ClaimStatus.PENDING,
        )
    elif known.status is status or known.status is ClaimStatus.WITHDRAWN:
        return _KNOWN
    # What was given back twice is an open item of the money, and credited to the buyer once.
    uncredited_minor = turn.saga.kept_minor - turn.after.credited_minor
    is_due = message.status == "refunded" and message.amount_minor <= uncredited_minor
    moved = replace(known, status=status, credited=known.credited or is_due)
    if status is ClaimStatus.REFUNDED:
        turn.announce_refunded(moved)
    elif known.status is ClaimStatus.REFUNDED:
        turn.announce(
            OrderRefundFailed,
            refund_id=message.refund_id,
            amount_minor=message.amount_minor,
            code="returned",
        )
    turn.claim_is(moved)
    turn.note = f"refund {moved.number} made at the provider: {message.status}"
    return None


def _dispute_moved(turn: Turn, message: DisputeMoved) -> Refusal | None:
    disputes = {dispute.id: dispute for dispute in turn.after.disputes}
    known = disputes.get(message.dispute_id)
    if known is not None and known.status in ("won", "lost", message.status):
        return _KNOWN
    disputes[message.dispute_id] = Dispute(
        message.dispute_id, message.attempt, message.amount_minor, message.status
    )
    turn.after = replace(turn.after, disputes=tuple(disputes.values()))
    turn.announce(
        OrderDisputed,
        dispute_id=message.dispute_id,
        amount_minor=message.amount_minor,
        status=message.status,
    )
    turn.note = f"dispute {message.status}"
    return None


# Waits: deadlines and dead letters.


def _wait_moved(turn: Turn, message: DeadlinePassed | StepBlocked | StepUnblocked) -> Stale | None:
    wait = turn.wait(message.step, message.round)
    if wait is None:
        return Stale(Settled("nothing waits for that step"))
    match message:
        case DeadlinePassed():
            if wait.hold is not None or wait.due_at != message.due_at:
                return Stale(Settled("the wait is over, or was moved"))
            _ask_again(turn, wait)
        case StepBlocked():
            if wait.hold is not None:
                return Stale(Settled("it waits for somebody already"))
            turn.hold(wait, Hold.BLOCKED)
            turn.note = f"blocked by dead letter {message.dead_letter_id} of {message.service}"
        case StepUnblocked():
            if wait.hold is not Hold.BLOCKED:
                return Stale(Settled("that step is not blocked"))
            if message.outcome == "replayed" or wait.step is Step.RELEASE:
                turn.ask(wait.step, wait.round)
            else:
                turn.hold(wait, Hold.EXHAUSTED)
            turn.note = f"dead letter {message.dead_letter_id} {message.outcome}"
        case _:
            assert_never(message)
    return None


def _ask_again(turn: Turn, wait: Wait) -> None:
    # Goods are in the house, whatever inventory says: it is asked until it has them in its books.
    until_answered = wait.step is Step.RELEASE
    has_budget = turn.policy.may_send_again(wait.step, wait.sends)
    if until_answered or (not wait.provisional and has_budget):
        turn.ask(wait.step, wait.round, wait.sends + 1)
        turn.note = f"asked again, send {wait.sends + 1}"
    else:
        turn.hold(wait, Hold.EXHAUSTED)
        turn.note = f"{wait.step} {wait.round} ran out after send {wait.sends}"
