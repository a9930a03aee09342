"""The pages behind a link to pay: what is to be paid, a button, and a page that waits.

A look changes nothing, because programs that read mails look at links too; only the button makes an
attempt. It says which, so that pressing it twice is pressing it once: nothing of it needs an
idempotency key. Nothing is read of a request but its path.
"""

from datetime import datetime
from html import escape
from typing import Annotated, assert_never

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from contracts.messages.base import LARGEST_COUNT
from contracts.money import format_minor
from messaging.database import Connection
from messaging.http.commands import Now, ReadConnection
from messaging.http.problems import Problem
from order_service.api.decisions import Settings, decide
from order_service.api.payment_links import (
    Coming,
    GoOn,
    Look,
    Over,
    Paid,
    Payable,
    Wait,
    attempt_by_link,
    checkout_of_link,
    next_of,
    standing,
)
from order_service.checkout import Checkout
from order_service.checkout.facts import Order
from order_service.settings import OrderSettings
from order_service.store import checkouts, listings

router = APIRouter(include_in_schema=False)

WAIT_SECONDS = 1
"""How often a page that waits looks again."""

Number = Annotated[int, Path(ge=1, le=LARGEST_COUNT)]

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "frame-ancestors 'none'",
}

_STYLE = """
:root { color-scheme: light dark; --main: light-dark(#2148c0, #8fabff);
  --on-main: light-dark(#fff, #10131a); --quiet: light-dark(#59606d, #a4abb8); }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; overflow-wrap: anywhere; }
main { max-width: 26rem; margin: 0 auto; padding: 2rem 1rem; }
h1 { font-size: 1.35rem; line-height: 1.25; }
.total { font-size: 1.75rem; font-weight: 700; font-variant-numeric: tabular-nums; margin: 0; }
.quiet { color: var(--quiet); }
button { font: inherit; font-weight: 600; width: 100%; min-height: 3rem; border: 0;
  border-radius: .4rem; background: var(--main); color: var(--on-main); cursor: pointer; }
:focus-visible { outline: 3px solid var(--main); outline-offset: 2px; }
"""


@router.get("/pay/{token}")
async def show(
    token: str, connection: ReadConnection, settings: Settings, now: Now
) -> HTMLResponse:
    """What is to be paid, or what became of it."""
    found = await _found(connection, settings, token)
    return _unknown() if found is None else _shown(*found, token, settings, now)


@router.post("/pay/{token}/{number}", response_model=None)
async def begin(
    request: Request, token: str, number: Number, settings: Settings, now: Now
) -> HTMLResponse | RedirectResponse:
    """Make that attempt, unless it was made before, and wait for it."""
    checkout_id = checkout_of_link(settings.signing_key, token)
    if checkout_id is None:
        return _unknown()
    try:
        async with request.app.state.api_database.transaction() as connection:
            # Locked before it is looked at: who presses twice must see the first attempt.
            await checkouts.lock(connection, {checkout_id}, ())
            found = await _found(connection, settings, token)
            if found is None:
                return _unknown()
            checkout, order = found
            provider = settings.payment_providers[0]
            now_is = standing(checkout, order, provider, now, settings.policy())
            if isinstance(now_is, Payable) and now_is.attempt == number:
                await decide(connection, settings, attempt_by_link(checkout, provider), now)
    except Problem as refused:
        # The saga's word; the page says it in its own.
        if refused.status != 409:
            raise
    return _sent(f"/pay/{token}/{number}")


@router.get("/pay/{token}/{number}", response_model=None)
async def wait(
    token: str, number: Number, connection: ReadConnection, settings: Settings
) -> HTMLResponse | RedirectResponse:
    """On to the provider as soon as it has said where; until then, wait."""
    found = await _found(connection, settings, token)
    if found is None:
        return _unknown()
    match next_of(found[0], number):
        case GoOn(url):
            return _sent(url)
        case Wait():
            return _page(
                "One moment, please",
                '<p role="status">We are getting your payment page.</p>',
                refresh_seconds=WAIT_SECONDS,
            )
        case Look():
            return _sent(f"/pay/{token}")
        case never:
            assert_never(never)


async def _found(
    connection: Connection, settings: OrderSettings, token: str
) -> tuple[Checkout, Order] | None:
    checkout_id = checkout_of_link(settings.signing_key, token)
    if checkout_id is None:
        return None
    checkout = listings.order_of(await listings.read_checkout(connection, checkout_id))
    return None if checkout is None or checkout.order is None else (checkout, checkout.order)


def _shown(
    checkout: Checkout, order: Order, token: str, settings: OrderSettings, now: datetime
) -> HTMLResponse:
    number = escape(order.number)
    provider = settings.payment_providers[0]
    match standing(checkout, order, provider, now, settings.policy()):
        case Payable(attempt, failed, until):
            request = checkout.request
            total = format_minor(request.total_minor, request.currency)
            again = "<p>The last try came to nothing. You can try again.</p>" if failed else ""
            return _page(
                f"Pay for order {number}",
                f'{again}<p class="total">{total}</p>'
                f'<form method="post" action="/pay/{escape(token)}/{attempt}">'
                f'<p class="quiet">Until {until:%d %B %Y, %H:%M} UTC</p>'
                "<button>Go on to pay</button></form>",
            )
        case Paid():
            return _page(f"Order {number} is paid", "<p>Thank you. There is nothing to do.</p>")
        case Coming():
            return _page(
                f"Your payment for order {number} is on its way",
                "<p>The bank has not confirmed it yet. Please do not pay again; you can come back"
                " here to see whether it has arrived.</p>",
            )
        case Over():
            return _page(
                f"Order {number} cannot be paid any more",
                "<p>Its time to be paid is over, or it was cancelled. If money of yours is on its"
                " way, it goes back to you.</p>",
                status=410,
            )
        case never:
            assert_never(never)


def _unknown() -> HTMLResponse:
    return _page(
        "This link does not lead to an order",
        "<p>It is not complete, or too old. Please ask the shop for another one.</p>",
        status=404,
    )


def _sent(url: str) -> RedirectResponse:
    return RedirectResponse(url, 303, headers=_HEADERS)


def _page(
    title: str, body: str, *, status: int = 200, refresh_seconds: int | None = None
) -> HTMLResponse:
    """A page; both texts are HTML."""
    refresh = f'<meta http-equiv="refresh" content="{refresh_seconds}">' if refresh_seconds else ""
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{refresh}'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{title}</h1>{body}</main></body></html>",
        status,
        headers=_HEADERS,
    )
