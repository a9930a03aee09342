"""The routes of checkouts and orders.

A checkout's status answers to the link that its cart signed, to its customer, to the guest's cart
token and to operators of its shop; an order to the latter three.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from contracts.messages.order import CancelCheckout, PayOrder
from contracts.messages.parts import PaymentMethod
from contracts.money import provider_limit
from messaging.database import Connection
from messaging.http.commands import (
    CommandConnection,
    CommandRoute,
    Now,
    ReadConnection,
    SnapshotConnection,
)
from messaging.http.pages import PageSize, cursor_behind, moment_in, page
from messaging.http.rendering import JsonResponse
from messaging.http.tokens import Customer, GuestTokenHash, OptionalCustomer, RequiredCustomer
from messaging.signing import verify
from order_service.after_sale import AfterSale
from order_service.api.bodies import NO_REASON, NewCancel, NewPayment
from order_service.api.decisions import Settings, decide, refusal_of, shown
from order_service.api.payment_links import attempt_by_link, payment_link
from order_service.api.problems import (
    checkout_not_found,
    guests_save_nothing,
    order_not_found,
    provider_not_offered,
    total_below_minimum,
)
from order_service.api.views import (
    CheckoutView,
    OrderPage,
    OrderView,
    PaymentLinkView,
    order_view,
    summary_view,
    unbegun_view,
)
from order_service.checkout import Checkout
from order_service.settings import OrderSettings
from order_service.store import after_sales, listings
from order_service.store.checkouts import Known
from order_service.store.listings import Holder

CHECKOUT_PURPOSE = "checkout"
"""What the cart signs its links to a checkout's status for."""

OPERATOR = "operator"

router = APIRouter(route_class=CommandRoute, tags=["orders"])


class Caller:
    """Who is asking, and what answers to them."""

    def __init__(self, customer: Customer | None, guest: str | None) -> None:
        self._customer = customer
        self._guest = guest

    def may_see(self, holder: Holder) -> bool:
        """Whether the order is theirs, or they operate its shop."""
        if self._customer is not None and self._customer.shop == holder.shop_id:
            return self.operates(holder.shop_id) or self._customer.sub == holder.customer_id
        return self._guest is not None and self._guest == holder.guest_token_hash

    def operates(self, shop_id: str | None) -> bool:
        """Whether they are an operator of that shop."""
        who = self._customer
        return who is not None and who.shop == shop_id and OPERATOR in who.roles

    @property
    def name(self) -> str:
        """Who it is, for the record; a guest's token is never written down."""
        return "guest" if self._customer is None else self._customer.sub


async def caller(customer: OptionalCustomer, guest: GuestTokenHash) -> Caller:
    """Who is asking."""
    return Caller(customer, guest)


Asking = Annotated[Caller, Depends(caller)]
Signature = Annotated[str | None, Query(max_length=4096, description="From the status URL.")]


def signed_for(settings: OrderSettings, signature: str | None, checkout_id: UUID) -> str | None:
    """The shop for which a cart signed this checkout; None without a valid signature."""
    payload = signature and verify(settings.signing_key, CHECKOUT_PURPOSE, signature)
    if not payload or payload.get("checkout_id") != str(checkout_id):
        return None
    return str(payload.get("shop"))


@router.get("/checkouts/{checkout_id}", response_model=CheckoutView)
async def show_checkout(
    checkout_id: UUID,
    asking: Asking,
    connection: SnapshotConnection,
    settings: Settings,
    now: Now,
    signature: Signature = None,
) -> JsonResponse:
    """The state of a checkout, with its history; `received` until the saga has seen it.

    A valid signature is enough, whoever asks: it says that a cart issued this checkout.
    """
    shop = signed_for(settings, signature, checkout_id)
    known = await listings.read_checkout(connection, checkout_id)
    holder = None if known is None else listings.holder_of(known)
    if not isinstance(known, Checkout) or holder is None:
        if shop is None:
            raise checkout_not_found()
        return JsonResponse(_unbegun(checkout_id, known, settings, now))
    if shop != holder.shop_id and not asking.may_see(holder):
        raise checkout_not_found()
    return JsonResponse(await shown(connection, known, settings))


@router.post("/checkouts/{checkout_id}/cancel", status_code=202, response_model=CheckoutView)
async def cancel_checkout(
    checkout_id: UUID,
    asking: Asking,
    connection: CommandConnection,
    settings: Settings,
    now: Now,
    signature: Signature = None,
    body: NewCancel = NO_REASON,
) -> JsonResponse:
    """Give a checkout up, even before the saga has seen it.

    The signature is enough until the order exists; an order answers to its holder alone. Of an
    operator who cancels it is kept who did, and why, which the shopper is not shown.
    """
    shop = signed_for(settings, signature, checkout_id)
    known = await listings.read_checkout(connection, checkout_id)
    holder = None if known is None else listings.holder_of(known)
    if holder is None or not asking.may_see(holder):
        ordered = listings.order_of(known) is not None
        if shop is None or ordered or (holder is not None and shop != holder.shop_id):
            raise checkout_not_found()
    shop_id = shop if holder is None else holder.shop_id
    command = CancelCheckout(
        shop_id=shop_id,
        checkout_id=checkout_id,
        reason=body.reason,
        requested_by=asking.name,
        by_operator=asking.operates(shop_id),
    )
    await decide(connection, settings, command, now)
    after = await listings.read_checkout(connection, checkout_id)
    if not isinstance(after, Checkout):
        return JsonResponse(_unbegun(checkout_id, after, settings, now), 202)
    return JsonResponse(await shown(connection, after, settings), 202)


@router.get("/orders", response_model=OrderPage)
async def list_my_orders(
    customer: RequiredCustomer,
    connection: ReadConnection,
    limit: PageSize = 20,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> JsonResponse:
    """The customer's orders, the newest first."""
    rows = await listings.list_orders(
        connection, customer.shop, customer.sub, limit + 1, moment_in(cursor)
    )
    shown = rows[:limit]
    last = shown[-1] if len(rows) > limit else None
    following = last and cursor_behind(last.placed_at, last.order_id)
    return JsonResponse(page([summary_view(row) for row in shown], following))


@router.get("/orders/{order_id}", response_model=OrderView)
async def show_order(
    order_id: UUID, asking: Asking, connection: SnapshotConnection, settings: Settings
) -> JsonResponse:
    """An order with its lines, payments and timeline."""
    holder = await found_order(connection, order_id, asking)
    return JsonResponse(await shown_order(connection, holder, settings))


@router.post("/orders/{order_id}/payments", status_code=202, response_model=OrderView)
async def pay_order(
    order_id: UUID,
    body: NewPayment,
    asking: Asking,
    connection: CommandConnection,
    settings: Settings,
    now: Now,
) -> JsonResponse:
    """Try to pay: a first attempt, or another one while the window is open."""
    holder = await found_order(connection, order_id, asking)
    if holder.customer_id is None and body.payment.is_for_customers:
        raise guests_save_nothing()
    method = body.payment.method(settings.payment_providers[0])
    await _require_chargeable(connection, order_id, method, settings)
    command = PayOrder(
        shop_id=holder.shop_id,
        checkout_id=holder.checkout_id,
        method=method,
        replace=body.replace,
    )
    await decide(connection, settings, command, now)
    return JsonResponse(await shown_order(connection, holder, settings), 202)


@router.post("/orders/{order_id}/payment-link", response_model=PaymentLinkView)
async def link_to_pay(
    order_id: UUID,
    asking: Asking,
    connection: CommandConnection,
    settings: Settings,
    now: Now,
) -> JsonResponse:
    """A link by which anybody who has it can pay the order, for as long as its window is open."""
    holder = await found_order(connection, order_id, asking)
    checkout = listings.order_of(await listings.read_checkout(connection, holder.checkout_id))
    if checkout is None or checkout.order is None:
        raise order_not_found()
    attempt = attempt_by_link(checkout, settings.payment_providers[0])
    await _require_chargeable(connection, order_id, attempt.method, settings)
    refused = refusal_of(checkout, settings, attempt, now)
    if refused is not None:
        raise refused
    link = payment_link(
        settings.signing_key,
        settings.link_base_url,
        checkout.order,
        checkout.id,
        settings.payment_link_told,
    )
    return JsonResponse(PaymentLinkView(url=link, expires_at=checkout.order.window_closes_at))


@router.post("/orders/{order_id}/cancel", status_code=202, response_model=OrderView)
async def cancel_order(
    order_id: UUID,
    asking: Asking,
    connection: CommandConnection,
    settings: Settings,
    now: Now,
    body: NewCancel = NO_REASON,
) -> JsonResponse:
    """Give an order up, at any point before it is finished; money that came goes back.

    Of an operator who cancels it is kept who did, and why, which the shopper is not shown.
    """
    holder = await found_order(connection, order_id, asking)
    command = CancelCheckout(
        shop_id=holder.shop_id,
        checkout_id=holder.checkout_id,
        reason=body.reason,
        requested_by=asking.name,
        by_operator=asking.operates(holder.shop_id),
    )
    await decide(connection, settings, command, now)
    return JsonResponse(await shown_order(connection, holder, settings), 202)


def _unbegun(
    checkout_id: UUID, known: Known | None, settings: OrderSettings, now: datetime
) -> CheckoutView:
    late_since = now - timedelta(seconds=settings.unseen_late_seconds)
    return unbegun_view(checkout_id, cancelled=known is not None, late_since=late_since)


async def found_order(connection: Connection, order_id: UUID, asking: Caller) -> Holder:
    """Whose the order is. Raises the problem of one that the caller may not see."""
    holder = await listings.find_order(connection, order_id)
    if holder is None or not asking.may_see(holder):
        raise order_not_found()
    return holder


async def _require_chargeable(
    connection: Connection, order_id: UUID, method: PaymentMethod, settings: OrderSettings
) -> None:
    """Refuse a provider that the shop does not offer, or that charges no total so small."""
    if method.provider not in settings.payment_providers:
        raise provider_not_offered(settings.payment_providers)
    price = await listings.read_price(connection, order_id)
    minimum = provider_limit(method.provider, price.currency).minimum_minor
    if 0 < price.total_minor < minimum:
        raise total_below_minimum(price.total_minor, minimum, price.currency)


async def shown_order(connection: Connection, holder: Holder, settings: OrderSettings) -> Any:
    """The order as it is shown."""
    known = await listings.read_checkout(connection, holder.checkout_id)
    checkout = listings.order_of(known)
    if checkout is None or checkout.order is None:
        raise order_not_found()
    lines = await listings.read_lines(connection, checkout.order.id)
    history = await listings.read_history(connection, checkout.id, settings.history_entries)
    (after,) = await after_sales.load(connection, [checkout.id]) or [AfterSale(checkout.id)]
    return order_view(checkout, after, lines, history)
