"""The saga's messages: take a cart over, give it back, close it, bring lines back."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import assert_never
from uuid import UUID

from cart_service.domain import carts, checkouts
from cart_service.domain.carts import Cart, CustomerOwner, FailedCheckout, Limits
from cart_service.store.carts import (
    ActiveCart,
    Contents,
    Restoration,
    find_active_carts,
    load_carts,
    load_filled,
    load_restorations,
    lock_carts,
    save_changes,
)
from contracts.ids import derived_id
from contracts.messages.cart import (
    CartClosed,
    CartUnlocked,
    CheckoutAccepted,
    CloseCart,
    LinesRestored,
    RestoreLines,
    UnlockCart,
)
from contracts.values import replace
from messaging.database import Connection
from messaging.fold import Decision, Handler, Row, Rows

SagaRequest = CheckoutAccepted | UnlockCart | CloseCart | RestoreLines


class SagaHandler(Handler[SagaRequest]):
    """Lets the saga take carts over, give them back, close them, and bring lines back."""

    def __init__(self, limits: Limits, providers: tuple[str, ...]) -> None:
        self._limits = limits
        self._providers = providers

    async def lock(self, connection: Connection, messages: Sequence[SagaRequest]) -> None:
        """Lock the carts, and those that lines may go into."""
        active = await find_active_carts(connection, _giving_back(messages))
        await lock_carts(
            connection,
            {message.cart_id for message in messages} | {each.cart_id for each in active},
        )

    async def load(self, connection: Connection, messages: Sequence[SagaRequest]) -> Rows:
        """The carts; with their lines where some may come or go.

        Which cart is a customer's active one is looked up again, and locked: it may have become
        one between the look-up and the locks. None can cease to be one once it is locked.
        """
        giving_back = _giving_back(messages)
        active = await find_active_carts(connection, giving_back)
        filling = giving_back | {each.cart_id for each in active}
        await lock_carts(connection, filling)
        filled = await load_filled(connection, filling, self._providers)
        others = {message.cart_id for message in messages} - filling
        return Rows(
            [
                *active,
                *(row for pair in filled for row in pair),
                *await load_carts(connection, others),
                *await load_restorations(
                    connection,
                    {each.checkout_id for each in messages if isinstance(each, RestoreLines)},
                ),
            ]
        )

    def decide(self, rows: Rows, message: SagaRequest, now: datetime) -> Decision:
        """The changed cart and the answer; what names another checkout changes nothing."""
        match message:
            case CheckoutAccepted():
                return self._accept(rows, message)
            case UnlockCart():
                return self._unlock(rows, message, now)
            case CloseCart():
                return self._close(rows, message, now)
            case RestoreLines():
                return self._restore(rows, message, now)
            case _:
                assert_never(message)

    def _accept(self, rows: Rows, message: CheckoutAccepted) -> Decision:
        cart = rows.find(Cart, message.cart_id)
        if cart is None:
            return Decision()
        taken_over = checkouts.accepted(cart, message.checkout_id)
        return Decision() if taken_over is cart else Decision(changed=(taken_over,))

    def _unlock(self, rows: Rows, message: UnlockCart, now: datetime) -> Decision:
        reply = CartUnlocked(
            shop_id=message.shop_id,
            checkout_id=message.checkout_id,
            round=message.round,
            cart_id=message.cart_id,
        )
        failure = FailedCheckout(message.checkout_id, message.reason, message.shortages)
        cart = rows.find(Cart, message.cart_id)
        given_back = None if cart is None else checkouts.unlocked(cart, failure, now)
        if cart is None or given_back is None:
            return Decision(messages=(reply,))
        active = _active_cart(rows, cart)
        if active is None:
            unlocked, event = given_back
            return Decision(changed=(unlocked, *_as_active(unlocked)), messages=(event, reply))
        held, into = rows.get(Contents, cart.cart_id), rows.get(Contents, active.cart_id)
        over = checkouts.handed_over(
            (cart, held.lines), (active, into.lines), failure, self._limits, now
        )
        return Decision(
            changed=(over.merged, over.active, replace(into, lines=over.active_lines)),
            messages=(over.event, reply),
        )

    def _close(self, rows: Rows, message: CloseCart, now: datetime) -> Decision:
        reply = CartClosed(
            shop_id=message.shop_id,
            checkout_id=message.checkout_id,
            round=message.round,
            cart_id=message.cart_id,
        )
        cart = rows.find(Cart, message.cart_id)
        done = (
            None
            if cart is None
            else checkouts.closed(cart, message.checkout_id, message.order_id, now)
        )
        if done is None:
            return Decision(messages=(reply,))
        closed, event = done
        return Decision(changed=(closed,), messages=(event, reply))

    def _restore(self, rows: Rows, message: RestoreLines, now: datetime) -> Decision:
        done = rows.find(Restoration, message.checkout_id)
        source = rows.find(Cart, message.cart_id)
        if done is not None or source is None:
            # Of a cart that was never ours nobody knows the owner: there is nowhere to put them.
            cart_id = message.cart_id if done is None else done.cart_id
            return Decision(messages=(_restored(message, cart_id),))
        events = []
        target = _active_cart(rows, source)
        if target is None:
            new_id = derived_id(message.checkout_id, "restored cart")
            target, event = carts.opened(new_id, source.shop_id, source.owner, source.currency, now)
            into = Contents(new_id, carts.NO_LINES, {}, carts.NO_LINES)
            events.append(event)
        else:
            into = rows.get(Contents, target.cart_id)
        target, lines = carts.merge(
            target,
            into.lines,
            checkouts.returning(message.lines),
            message.checkout_id,
            self._limits,
            now,
        )
        restoration = Restoration(message.checkout_id, source.shop_id, target.cart_id, now)
        return Decision(
            changed=(target, replace(into, lines=lines), restoration, *_as_active(target)),
            messages=(*events, _restored(message, target.cart_id)),
        )

    async def save(self, connection: Connection, changed: Sequence[Row]) -> None:
        """Write carts, then their lines, then which checkouts' lines are back."""
        await save_changes(connection, changed)


def _giving_back(messages: Iterable[SagaRequest]) -> set[UUID]:
    """The carts whose lines may go into their customer's active cart."""
    return {
        message.cart_id for message in messages if isinstance(message, UnlockCart | RestoreLines)
    }


def _active_cart(rows: Rows, cart: Cart) -> Cart | None:
    """The active cart of this cart's customer in its currency; a guest has none."""
    if not isinstance(cart.owner, CustomerOwner):
        return None
    active = rows.find(ActiveCart, (cart.shop_id, cart.owner.customer_id, cart.currency))
    return None if active is None else rows.get(Cart, active.cart_id)


def _as_active(cart: Cart) -> tuple[ActiveCart, ...]:
    if not isinstance(cart.owner, CustomerOwner):
        return ()
    return (ActiveCart(cart.shop_id, cart.owner.customer_id, cart.currency, cart.cart_id),)


def _restored(message: RestoreLines, cart_id: UUID) -> LinesRestored:
    return LinesRestored(
        shop_id=message.shop_id,
        checkout_id=message.checkout_id,
        round=message.round,
        cart_id=cart_id,
    )
