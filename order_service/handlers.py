"""`order.commands` and `order.replies`: lock and load the checkouts, advance each, save."""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from contracts.messages.base import SagaMessage
from contracts.messages.order import CancelCheckout, ResolveCheckout, StartCheckout
from messaging.database import Connection
from messaging.fold import Decision, Handler, Row, Rows
from order_service.checkout import (
    Checkout,
    CheckoutMessage,
    Illegal,
    Moved,
    Policy,
    Stale,
    Tombstone,
    advance,
)
from order_service.store import checkouts as store
from order_service.store.checkouts import Begun, Entry, Known, NewHistory, Placed, Resolution
from order_service.store.placeholders import TOMBSTONE, UNSEEN

SERVICE = "order"


class IllegalMessage(ValueError):
    """A message that no duplicate, delay or re-send explains: a fault of its sender."""


class CheckoutHandler(Handler[CheckoutMessage]):
    """The saga over the database; `result` of a decision is `Moved` or `Stale`."""

    keeps_sagas = True

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def lock(self, connection: Connection, messages: Sequence[CheckoutMessage]) -> None:
        """Lock the checkouts; those that may begin here are inserted first."""
        beginning = {
            (message.checkout_id, message.shop_id)
            for message in messages
            if isinstance(message, StartCheckout | CancelCheckout)
        }
        await store.lock(connection, {message.checkout_id for message in messages}, beginning)

    async def load(self, connection: Connection, messages: Sequence[CheckoutMessage]) -> Rows:
        """What is known of the checkouts."""
        return Rows(await store.load(connection, {message.checkout_id for message in messages}))

    def decide(self, rows: Rows, message: CheckoutMessage, now: datetime) -> Decision:
        """See `order_service.checkout.advance`. Raises `IllegalMessage`."""
        known = _known(rows, message)
        outcome = advance(known, message, now, self._policy)
        match outcome:
            case Moved(checkout, messages, note):
                history = _noted(rows, message, now, "moved", checkout, note)
                changed = (
                    checkout,
                    history,
                    *_firsts(known, checkout),
                    *_resolution(message, now),
                )
                return Decision(changed, messages, result=outcome)
            case Stale(why):
                history = _noted(rows, message, now, "stale", known, str(why))
                return Decision((history,), result=outcome)
            case Illegal(why):
                raise IllegalMessage(f"{message.type}: {why}")
        assert_never(outcome)

    async def save(self, connection: Connection, changed: Sequence[Row]) -> None:
        """Tombstones, checkouts, their orders, then the history."""
        tombstones = [row for row in changed if isinstance(row, Tombstone)]
        checkouts = [row for row in changed if isinstance(row, Checkout)]
        begun = {row.checkout_id for row in changed if isinstance(row, Begun)}
        placed = {row.checkout_id for row in changed if isinstance(row, Placed)}
        await store.save_tombstones(connection, tombstones)
        await store.save_checkouts(connection, checkouts, begun)
        await store.save_orders(connection, checkouts, placed)
        resolutions = [row for row in changed if isinstance(row, Resolution)]
        await store.save_resolutions(connection, resolutions)
        await store.save_history(connection, [r for r in changed if isinstance(r, NewHistory)])


def _firsts(before: Known | None, after: Known) -> tuple[Begun | Placed, ...]:
    """What this decision made for the first time, and is to be inserted rather than updated."""
    if not isinstance(after, Checkout):
        return ()
    known = before if isinstance(before, Checkout) else None
    placed = after.order is not None and (known is None or known.order is None)
    return (Begun(after.id),) * (known is None) + (Placed(after.id),) * placed


def _resolution(message: CheckoutMessage, now: datetime) -> tuple[Resolution, ...]:
    """Who decided, and why: not for the shopper, who reads the history."""
    if not isinstance(message, ResolveCheckout):
        return ()
    return (
        Resolution(
            message.checkout_id, now, message.decision, message.requested_by, message.reason
        ),
    )


def _known(rows: Rows, message: CheckoutMessage) -> Known | None:
    return rows.find(Checkout, message.checkout_id) or rows.find(Tombstone, message.checkout_id)


def _noted(
    rows: Rows,
    message: CheckoutMessage,
    now: datetime,
    outcome: str,
    known: Known | None,
    note: str,
) -> NewHistory:
    checkout_id = message.checkout_id
    step, round_ = None, None
    if isinstance(message, SagaMessage):
        step, round_ = str(message.step), message.round
    state, so_far = _state_of(known), rows.find(NewHistory, checkout_id)
    entry = Entry(checkout_id, now, message.type, step, round_, outcome, state, note)
    return NewHistory(checkout_id, (*so_far.entries, entry) if so_far else (entry,))


def _state_of(known: Known | None) -> str:
    match known:
        case Checkout():
            return str(known.state)
        case Tombstone():
            return TOMBSTONE
        case None:
            return UNSEEN
