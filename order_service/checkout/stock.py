"""Answers of inventory."""

from contracts.messages.base import Step
from contracts.messages.inventory import (
    ReservationCommitted,
    ReservationExtended,
    ReservationNotHeld,
    StockRejected,
    StockReleased,
    StockReserved,
)
from contracts.messages.parts import Shortage
from order_service.checkout.facts import Reason, StockStatus
from order_service.checkout.outcomes import EARLIER_ROUND, KNOWN, Illegal, Refusal
from order_service.checkout.turn import Turn


def reserved(turn: Turn, message: StockReserved) -> Refusal | None:
    """The pieces are held until a moment."""
    if message.round < turn.stock.round:
        return EARLIER_ROUND
    match turn.stock.status:
        case StockStatus.ASKED:
            turn.stock_is(StockStatus.HELD, message.expires_at)
            turn.settle(Step.RESERVE, message.round)
            return None
        case StockStatus.REJECTED:
            return Illegal("the same round was rejected")
        case _:
            return KNOWN


def rejected(turn: Turn, message: StockRejected) -> Refusal | None:
    """There are not enough of them."""
    if message.round < turn.stock.round:
        return EARLIER_ROUND
    match turn.stock.status:
        case StockStatus.ASKED:
            _lose_stock(turn, StockStatus.REJECTED, Reason.OUT_OF_STOCK, message.shortages)
            return None
        case StockStatus.HELD | StockStatus.COMMITTED:
            return Illegal("the same round is held")
        case _:
            return KNOWN


def committed(turn: Turn, message: ReservationCommitted) -> Refusal | None:
    """They are off the shelf."""
    if message.round < turn.stock.round:
        return EARLIER_ROUND
    match turn.stock.status:
        case StockStatus.HELD:
            turn.stock_is(StockStatus.COMMITTED)
            turn.settle(Step.COMMIT, message.round)
            return None
        case StockStatus.GONE if (Step.RELEASE, message.round) not in turn.asked:
            return Illegal("the same round is not held any more")
        case _:
            return KNOWN


def not_held(turn: Turn, message: ReservationNotHeld) -> Refusal | None:
    """What was to be committed, or held longer, is not held any more."""
    if message.step is Step.EXTEND:
        return _extension_refused(turn, message)
    if message.round < turn.stock.round:
        return EARLIER_ROUND
    match turn.stock.status:
        case StockStatus.HELD:
            _lose_stock(turn, StockStatus.GONE, Reason.STOCK_NOT_HELD, message.shortages)
            return None
        case StockStatus.COMMITTED:
            return Illegal("the same round is committed")
        case _:
            return KNOWN


def _extension_refused(turn: Turn, message: ReservationNotHeld) -> Refusal | None:
    if not turn.awaits(Step.EXTEND, message.round):
        return KNOWN
    _lose_stock(turn, StockStatus.GONE, Reason.STOCK_NOT_HELD, message.shortages)
    return None


def _lose_stock(
    turn: Turn, status: StockStatus, reason: Reason, shortages: tuple[Shortage, ...]
) -> None:
    """This round holds nothing: without stock there is no sale."""
    turn.stock_is(status)
    turn.forget(Step.RESERVE, Step.EXTEND, Step.COMMIT)
    turn.shortages = shortages
    if turn.giving_up is None:
        turn.giving_up = reason


def extended(turn: Turn, message: ReservationExtended) -> Refusal | None:
    """They are held until a later moment."""
    if not turn.awaits(Step.EXTEND, message.round):
        return KNOWN
    turn.settle(Step.EXTEND, message.round)
    turn.stock_is(turn.stock.status, message.expires_at)
    return None


def released(turn: Turn, message: StockReleased) -> Refusal | None:
    """They are free for others, or back on the shelf."""
    if message.round < turn.stock.round or turn.stock.status is not StockStatus.RELEASING:
        return KNOWN
    turn.stock_is(StockStatus.GONE)
    turn.settle(Step.RELEASE, message.round)
    return None
