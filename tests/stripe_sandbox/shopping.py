"""What tests of sessions, links and pages share: orders, shoppers, and a clock put forward."""

from collections.abc import Mapping
from typing import Any

import httpx
from stripe import StripeClient
from stripe.checkout import Session

SHOPPER = {"email": "ada@example.com", "name": "Ada Lovelace"}
VISA = "4242424242424242"
SUCCESS = "https://shop.test/thanks?session={CHECKOUT_SESSION_ID}"


def card(number: str = VISA, **fields: str) -> dict[str, str]:
    """What a shopper enters who pays by card."""
    return SHOPPER | {"number": number, "expiry": "12 / 34", "cvc": "123"} | fields


def order(amount: int = 2_000, currency: str = "eur", **params: Any) -> dict[str, Any]:
    """Parameters of a session for two of a thing that costs half the amount each."""
    return {
        "mode": "payment",
        "success_url": SUCCESS,
        "line_items": [
            {
                "price_data": {
                    "currency": currency,
                    "unit_amount": amount // 2,
                    "product_data": {"name": "Lamp <b>"},
                },
                "quantity": 2,
            }
        ],
        **params,
    }


async def created(client: StripeClient, params: Mapping[str, Any]) -> Session:
    """A new session with these parameters."""
    session: Session = await client.v1.checkout.sessions.create_async(params)  # type: ignore[arg-type]  # the SDK wants a TypedDict
    return session


def dict_of(metadata: Any) -> dict[str, str]:
    """Metadata as one can compare it."""
    kept: dict[str, str] = metadata.to_dict()
    return kept


async def retrieved(client: StripeClient, session: Session) -> Session:
    """The session as it is now."""
    return await client.v1.checkout.sessions.retrieve_async(session.id)


async def types_of_events(client: StripeClient) -> list[str]:
    """What happened, the oldest first."""
    events = await client.v1.events.list_async({"limit": 100})
    return [event.type for event in reversed(events.data)]


async def put_forward(browser: httpx.AsyncClient, seconds: int) -> None:
    """It is so much later, and what was due by then has happened."""
    (await browser.post("/sandbox/clock", json={"seconds": seconds})).raise_for_status()
