"""The routes of the cart service."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request

from cart_service.api.bodies import CheckoutBody, LinesToAdd, NewCart, NewLine, NewQuantity
from cart_service.api.problems import problem_of
from cart_service.api.tokens import accepted_quote
from cart_service.api.views import (
    CartPage,
    CartView,
    CheckedOutView,
    OpenedCartView,
    cart_view,
    checkout_url,
    summary_view,
)
from cart_service.domain import errors
from cart_service.domain.carts import (
    NO_LINES,
    Caller,
    Cart,
    CustomerOwner,
    GuestOwner,
    Owner,
    Wanted,
    opened,
)
from cart_service.domain.checkouts import CheckoutRequest, Quote, quoted
from cart_service.handlers.shoppers import (
    AddLines,
    ChangeQuantity,
    CheckedOut,
    CheckOut,
    ClearLines,
    RemoveLine,
    ShopperHandler,
    ShopperRequest,
)
from cart_service.settings import CartSettings
from cart_service.store.carts import Contents, load_filled
from cart_service.store.shoppers import active_cart_of, knows_token, list_carts, open_cart
from contracts.ids import new_id
from contracts.money import EXPONENTS
from contracts.shops import DEFAULT_SHOP
from messaging.database import Connection
from messaging.fold import apply
from messaging.http.commands import CommandConnection, CommandRoute, Now, ReadConnection
from messaging.http.declared import answers_with, declares
from messaging.http.etags import IfMatch, etag_of
from messaging.http.pages import PageSize, cursor_behind, moment_in, page
from messaging.http.problems import Problem
from messaging.http.rendering import JsonResponse
from messaging.http.tokens import (
    GUEST_TOKEN,
    OPTIONAL_CUSTOMER,
    guest_token_hash,
    hash_token,
    new_guest_token,
    optional_customer,
)
from messaging.outbox import emit

SERVICE = "cart"
OPENING_ATTEMPTS = 3
"""An active cart that is in the way may be locked before it is read: then there is room again."""

router = APIRouter(route_class=CommandRoute, tags=["carts"])


async def cart_settings(request: Request) -> CartSettings:
    """The settings of this service."""
    settings: CartSettings = request.app.state.settings
    return settings


@declares(OPTIONAL_CUSTOMER, GUEST_TOKEN)
async def caller(request: Request) -> Caller:
    """Who asks: by bearer token, by Cart-Token, by both or neither."""
    customer, token_hash = optional_customer(request), guest_token_hash(request)
    if customer is None:
        return Caller(token_hash=token_hash)
    return Caller(customer.shop, customer.sub, token_hash)


Settings = Annotated[CartSettings, Depends(cart_settings)]
Asking = Annotated[Caller, Depends(caller)]
LineNo = Annotated[int, Path(ge=1, le=2**31 - 1, description="The line's number.")]

WHILE_CHECKING_OUT: dict[int | str, dict[str, Any]] = {409: answers_with("Location")}
"""A locked or bought cart is refused with the status URL of its checkout."""


@router.post(
    "/carts",
    status_code=201,
    response_model=OpenedCartView,
    responses={200: answers_with("Location"), 201: answers_with("Location")},
)
async def open_a_cart(
    body: NewCart,
    request: Request,
    asking: Asking,
    settings: Settings,
    now: Now,
    connection: CommandConnection,
) -> JsonResponse:
    """Open a cart: 201, or 200 with the active one that a customer has in this currency already.

    A guest is given the cart's token, here and nowhere else; with a known Cart-Token the new
    cart answers to that one. The Idempotency-Key under which a guest is given a token must not be
    guessable: use a random one, such as a version 4 UUID.
    """
    if body.currency not in EXPONENTS:
        raise Problem(
            422,
            "unknown-currency",
            "Carts are not kept in this currency",
            currencies=sorted(EXPONENTS),
        )
    if asking.customer_id is not None:
        return await _open_for_customer(asking, body.currency, settings, now, connection)
    token = request.headers.get("cart-token")
    if token is None or not await knows_token(connection, hash_token(token)):
        _require_secret_key(request, settings)
        token = new_guest_token()
    owner = GuestOwner(hash_token(token))
    cart, event = opened(new_id(), DEFAULT_SHOP, owner, body.currency, now)
    await open_cart(connection, cart)
    await emit(connection, [event], source=SERVICE, now=now)
    return _opened(cart, _nothing_in(cart), settings, 201, token)


def _require_secret_key(request: Request, settings: CartSettings) -> None:
    """Under its key the answer, token and all, can be had again: it must not be guessable."""
    if len(request.headers.get("idempotency-key", "")) < settings.guest_key_shortest:
        raise Problem(
            400,
            "idempotency-key-too-short",
            "The Idempotency-Key that opens a guest's cart must not be guessable",
            "Use a random value, such as a version 4 UUID.",
            shortest=settings.guest_key_shortest,
        )


async def _open_for_customer(
    asking: Caller,
    currency: str,
    settings: CartSettings,
    now: datetime,
    connection: Connection,
) -> JsonResponse:
    shop_id, customer_id = str(asking.shop_id), str(asking.customer_id)
    cart, event = opened(new_id(), shop_id, CustomerOwner(customer_id), currency, now)
    for _ in range(OPENING_ATTEMPTS):
        if await open_cart(connection, cart):
            await emit(connection, [event], source=SERVICE, now=now)
            return _opened(cart, _nothing_in(cart), settings, 201, None)
        active = await active_cart_of(connection, shop_id, customer_id, currency)
        if active is not None:
            ((found, contents),) = await load_filled(connection, [active], settings.terms.providers)
            return _opened(found, contents, settings, 200, None)
    raise Problem(
        409,
        "cart-busy",
        "The customer's active cart keeps changing",
        headers={"Retry-After": "1"},
    )


@router.get(
    "/carts",
    response_model=CartPage,
    # Without either token there is nobody whose carts they could be: 401.
    openapi_extra={"security": [{"customer": []}, {"guest": []}]},
)
async def list_my_carts(
    asking: Asking,
    connection: ReadConnection,
    limit: PageSize = 20,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> JsonResponse:
    """The customer's carts, or those that answer to the Cart-Token: the newest first."""
    owner: Owner
    if asking.customer_id is not None:
        owner = CustomerOwner(asking.customer_id)
    elif asking.token_hash is not None:
        owner = GuestOwner(asking.token_hash)
    else:
        raise Problem(
            401,
            "unauthenticated",
            "A customer token or a Cart-Token is needed",
            headers={"WWW-Authenticate": "Bearer"},
        )
    found = await list_carts(
        connection, owner, asking.shop_id or DEFAULT_SHOP, before=moment_in(cursor), most=limit + 1
    )
    shown = found[:limit]
    more = len(found) > limit
    last = cursor_behind(shown[-1].created_at, shown[-1].cart_id) if more else None
    return JsonResponse(page([summary_view(cart) for cart in shown], last), headers=NOT_STORED)


NOT_STORED = {"Cache-Control": "no-store"}
"""A cart is its owner's alone, and its prices and stock are those of the moment."""


@router.get("/carts/{cart_id}", response_model=CartView)
async def show_cart(
    cart_id: UUID, asking: Asking, settings: Settings, connection: ReadConnection
) -> JsonResponse:
    """The cart with prices and stock of now. Its ETag names the version of the cart itself."""
    for cart, contents in await load_filled(connection, [cart_id], settings.terms.providers):
        if cart.belongs_to(asking):
            return _shown(cart, contents, settings)
    raise problem_of(errors.CartNotFound(), settings)


@router.post("/carts/{cart_id}/lines", response_model=CartView, responses=WHILE_CHECKING_OUT)
async def add_lines(
    cart_id: UUID,
    body: LinesToAdd,
    versions: IfMatch,
    asking: Asking,
    settings: Settings,
    now: Now,
    connection: CommandConnection,
) -> JsonResponse:
    """Add one line or a list: all of them, or none. Pieces of a SKU that is there are added to."""
    lines = (body,) if isinstance(body, NewLine) else body.lines
    wanted = tuple(Wanted(line.sku, line.quantity) for line in lines)
    return await _changed(AddLines(asking, cart_id, versions, wanted), settings, now, connection)


@router.patch(
    "/carts/{cart_id}/lines/{line_no}", response_model=CartView, responses=WHILE_CHECKING_OUT
)
async def change_quantity(
    cart_id: UUID,
    line_no: LineNo,
    body: NewQuantity,
    versions: IfMatch,
    asking: Asking,
    settings: Settings,
    now: Now,
    connection: CommandConnection,
) -> JsonResponse:
    """Set the quantity of a line; to take it out, delete it."""
    change = ChangeQuantity(asking, cart_id, versions, line_no, body.quantity)
    return await _changed(change, settings, now, connection)


@router.delete(
    "/carts/{cart_id}/lines/{line_no}", response_model=CartView, responses=WHILE_CHECKING_OUT
)
async def remove_line(
    cart_id: UUID,
    line_no: LineNo,
    versions: IfMatch,
    asking: Asking,
    settings: Settings,
    now: Now,
    connection: CommandConnection,
) -> JsonResponse:
    """Take a line out."""
    return await _changed(RemoveLine(asking, cart_id, versions, line_no), settings, now, connection)


@router.delete("/carts/{cart_id}/lines", response_model=CartView, responses=WHILE_CHECKING_OUT)
async def clear_lines(
    cart_id: UUID,
    versions: IfMatch,
    asking: Asking,
    settings: Settings,
    now: Now,
    connection: CommandConnection,
) -> JsonResponse:
    """Take all lines out."""
    return await _changed(ClearLines(asking, cart_id, versions), settings, now, connection)


@router.post(
    "/carts/{cart_id}/checkout",
    status_code=202,
    response_model=CheckedOutView,
    responses={202: answers_with("Location"), **WHILE_CHECKING_OUT},
)
async def check_out(
    cart_id: UUID,
    body: CheckoutBody,
    versions: IfMatch,
    asking: Asking,
    settings: Settings,
    now: Now,
    connection: CommandConnection,
) -> JsonResponse:
    """Buy what is in the cart, at the prices of now: 202 with the status URL of the checkout.

    When a price or stock moved against the shopper: 409 with the differences and a token that
    accepts them. The same request again is answered with the same checkout.
    """
    asked = CheckOut(
        asking,
        cart_id,
        versions,
        request=CheckoutRequest(
            email=body.email,
            address=body.address.address(),
            payment=(
                None if body.payment is None else body.payment.method(settings.payment_providers[0])
            ),
            payment_window_seconds=(
                settings.payment_window_seconds
                if body.payment_window_seconds is None
                else body.payment_window_seconds
            ),
        ),
        accepted=_accepted(body.accept_token, settings),
        checkout_id=new_id(),
    )
    answer: CheckedOut = await _decided(asked, settings, now, connection)
    url = checkout_url(settings, answer.cart.shop_id, answer.checkout_id)
    lines = quoted(answer.cart, answer.contents.lines, answer.contents.offers)
    view = CheckedOutView(
        checkout_id=answer.checkout_id,
        status_url=url,
        currency=answer.cart.currency,
        total_minor=sum((line.unit_price_minor or 0) * line.line.quantity for line in lines),
    )
    return JsonResponse(view, 202, headers={"Location": url})


def _accepted(token: str | None, settings: CartSettings) -> Quote | None:
    if token is None:
        return None
    quote = accepted_quote(settings.signing_key, token)
    if quote is None:
        raise Problem(422, "invalid-accept-token", "The accept_token is not one of ours")
    return quote


async def _changed(
    change: ShopperRequest, settings: CartSettings, now: datetime, connection: Connection
) -> JsonResponse:
    cart, contents = await _decided(change, settings, now, connection)
    return _shown(cart, contents, settings)


async def _decided(
    asked: ShopperRequest, settings: CartSettings, now: datetime, connection: Connection
) -> Any:
    """What the handler has to say; its refusals are problems here."""
    handler = ShopperHandler(settings.limits, settings.terms)
    try:
        decision = await apply(connection, handler, asked, now, source=SERVICE)
    except errors.CartError as refusal:
        raise problem_of(refusal, settings) from None
    return decision.result


def _nothing_in(cart: Cart) -> Contents:
    return Contents(cart.cart_id, NO_LINES, {}, NO_LINES)


def _shown(cart: Cart, contents: Contents, settings: CartSettings) -> JsonResponse:
    headers = {"ETag": etag_of(cart.version), **NOT_STORED}
    return JsonResponse(cart_view(cart, contents, settings), headers=headers)


def _opened(
    cart: Cart, contents: Contents, settings: CartSettings, status: int, token: str | None
) -> JsonResponse:
    view = OpenedCartView(**cart_view(cart, contents, settings), cart_token=token)
    headers = {
        "ETag": etag_of(cart.version),
        "Location": f"/carts/{cart.cart_id}",
        **NOT_STORED,
    }
    return JsonResponse(view, status, headers=headers)
