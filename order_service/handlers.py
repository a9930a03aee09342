"""`order.commands` and `order.replies`: lock and load the checkouts, advance each, save.

What happens after the sale has facts of its own, under the same lock.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeAlias, assert_never

from contracts.messages.base import Message, SagaMessage
from contracts.messages.order import (
    CancelCheckout,
    RefundOrder,
    ResolveCheckout,
    ResolveRefund,
    ReturnOrder,
    ShipOrder,
    StartCheckout,
)
from messaging.database import Connection
from messaging.fold import Decision, Handler, Row, Rows
from order_service.after_sale import (
    AfterSale,
    AfterSaleMessage,
    Refused,
    Served,
    is_after_sale,
    serve,
)
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
from order_service.documents import store as documents
from order_service.documents.issuing import NO_SELLERS, Draft, Sellers, documents_due
from order_service.store import after_sales
from order_service.store import checkouts as store
from order_service.store.checkouts import Begun, Entry, Known, NewHistory, Placed, Resolution
from order_service.store.placeholders import TOMBSTONE, UNSEEN

SERVICE = "order"


class IllegalMessage(ValueError):
    """A message that no duplicate, delay or re-send explains: a fault of its sender."""


OrderMessage: TypeAlias = CheckoutMessage | AfterSaleMessage
"""Everything that the order service reads, from both of its topics."""


class CheckoutHandler(Handler[OrderMessage]):
    """The saga over the database, and what comes after the sale.

    `result` of a decision is what the saga, or `serve`, answered.
    """

    keeps_sagas = True

    def __init__(self, policy: Policy, sellers: Sellers = NO_SELLERS) -> None:
        self._policy = policy
        self._sellers = sellers

    async def lock(self, connection: Connection, messages: Sequence[OrderMessage]) -> None:
        """Lock the checkouts; those that may begin here are inserted first."""
        beginning = {
            (message.checkout_id, message.shop_id)
            for message in messages
            if isinstance(message, StartCheckout | CancelCheckout)
        }
        await store.lock(connection, {message.checkout_id for message in messages}, beginning)

    async def load(self, connection: Connection, messages: Sequence[OrderMessage]) -> Rows:
        """What is known of the checkouts, and after their sale where it is about that."""
        known = await store.load(connection, {message.checkout_id for message in messages})
        about = {message.checkout_id for message in messages if is_after_sale(message)}
        return Rows((*known, *await after_sales.load(connection, about)))

    def decide(self, rows: Rows, message: OrderMessage, now: datetime) -> Decision:
        """See `order_service.checkout.advance` and `after_sale.serve`. Raises `IllegalMessage`."""
        known = _known(rows, message)
        if is_after_sale(message):
            return self._serve(rows, known, message, now)
        outcome = advance(known, message, now, self._policy)
        match outcome:
            case Moved(checkout, messages, note):
                history = _noted(rows, message, now, "moved", checkout, note)
                changed = (
                    checkout,
                    history,
                    *_firsts(known, checkout),
                    *_resolution(message, now),
                    *self._documents(checkout, None, messages, now),
                )
                return Decision(changed, messages, result=outcome)
            case Stale(why):
                history = _noted(rows, message, now, "stale", known, str(why))
                return Decision((history,), result=outcome)
            case Illegal(why):
                raise IllegalMessage(f"{message.type}: {why}")
        assert_never(outcome)

    def _serve(
        self, rows: Rows, known: Known | None, message: AfterSaleMessage, now: datetime
    ) -> Decision:
        before = rows.find(AfterSale, message.checkout_id)
        outcome = serve(before, known, message, now, self._policy)
        match outcome:
            case Served(after, checkout, messages, note):
                history = _noted(rows, message, now, "moved", checkout, note)
                happened = () if after == AfterSale(after.id) else (after,)
                changed = (
                    checkout,
                    *happened,
                    history,
                    *_resolution(message, now),
                    *self._documents(checkout, after, messages, now),
                )
                return Decision(changed, messages, result=outcome)
            case Refused(why) | Stale(why):
                history = _noted(rows, message, now, "stale", known, str(why))
                return Decision((history,), result=outcome)
            case Illegal(why):
                raise IllegalMessage(f"{message.type}: {why}")
        assert_never(outcome)

    def _documents(
        self, known: Known, after: AfterSale | None, told: Sequence[Message], now: datetime
    ) -> Iterable[Draft]:
        if not isinstance(known, Checkout):
            return ()
        return documents_due(known, after, told, self._sellers, now)

    async def save(self, connection: Connection, changed: Sequence[Row]) -> None:
        """Tombstones, checkouts, their orders, then the history; documents behind everything."""
        tombstones = [row for row in changed if isinstance(row, Tombstone)]
        checkouts = [row for row in changed if isinstance(row, Checkout)]
        begun = {row.checkout_id for row in changed if isinstance(row, Begun)}
        placed = {row.checkout_id for row in changed if isinstance(row, Placed)}
        await store.save_tombstones(connection, tombstones)
        await store.save_checkouts(connection, checkouts, begun)
        await store.save_orders(connection, checkouts, placed)
        await after_sales.save(connection, [row for row in changed if isinstance(row, AfterSale)])
        resolutions = [row for row in changed if isinstance(row, Resolution)]
        await store.save_resolutions(connection, resolutions)
        await store.save_history(connection, [r for r in changed if isinstance(r, NewHistory)])
        drafts = [row for row in changed if isinstance(row, Draft)]
        if drafts:
            await documents.issue(connection, drafts, SERVICE)


def _firsts(before: Known | None, after: Known) -> tuple[Begun | Placed, ...]:
    """What this decision made for the first time, and is to be inserted rather than updated."""
    if not isinstance(after, Checkout):
        return ()
    known = before if isinstance(before, Checkout) else None
    begun = () if known is not None else (Begun(after.id),)
    if after.order is None or (known is not None and known.order is not None):
        return begun
    return (*begun, Placed(after.id))


def _resolution(message: OrderMessage, now: datetime) -> tuple[Resolution, ...]:
    """Which operator decided, and why: not for the shopper, who reads the history."""
    decision: str
    match message:
        case ResolveCheckout():
            decision, reason = message.decision, message.reason
        case ResolveRefund():
            decision, reason = f"refund {message.claim}: {message.decision}", message.reason
        case RefundOrder():
            decision, reason = "refund", message.reason
        case ReturnOrder():
            decision, reason = "return", message.reason
        case ShipOrder():
            decision, reason = "ship", f"{message.carrier} {message.tracking}".strip()
        case CancelCheckout(by_operator=True):
            decision, reason = "cancelled", message.reason
        case _:
            return ()
    return (Resolution(message.checkout_id, now, decision, message.requested_by, reason),)


def _known(rows: Rows, message: OrderMessage) -> Known | None:
    return rows.find(Checkout, message.checkout_id) or rows.find(Tombstone, message.checkout_id)


def _noted(
    rows: Rows,
    message: OrderMessage,
    now: datetime,
    outcome: str,
    known: Known | None,
    note: str,
) -> NewHistory:
    checkout_id = message.checkout_id
    step, round_, sends = None, None, None
    if isinstance(message, SagaMessage):
        step, round_ = str(message.step), message.round
        sends = _sends(rows, message)
    state, so_far = _state_of(known), rows.find(NewHistory, checkout_id)
    message_id, sent_at = (None, now) if rows.cause is None else (rows.cause.id, rows.cause.time)
    entry = Entry(
        *(checkout_id, now, message.type, step, round_, outcome, state, note),
        *(message_id, sent_at, sends),
    )
    return NewHistory(checkout_id, (*so_far.entries, entry) if so_far else (entry,))


def _sends(rows: Rows, message: SagaMessage) -> int | None:
    """How often the step was asked by now; None where no answer to it is awaited."""
    checkout = rows.find(Checkout, message.checkout_id)
    after = rows.find(AfterSale, message.checkout_id)
    for known in (checkout, after):
        for wait in () if known is None else known.waits:
            if wait.step == message.step and wait.round == message.round:
                return wait.sends
    return None


def _state_of(known: Known | None) -> str:
    match known:
        case Checkout():
            return str(known.state)
        case Tombstone():
            return TOMBSTONE
        case None:
            return UNSEEN
