"""What the cart signs: links to the status of its checkouts, and quotes to accept."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from cart_service.api.bodies import LONGEST_ACCEPT_TOKEN
from cart_service.domain.checkouts import Quote
from messaging.signing import sign, verify

CHECKOUT_PURPOSE = "checkout"
ACCEPT_PURPOSE = "accept"


def status_url(key: SecretStr, order_base_url: str, shop_id: str, checkout_id: UUID) -> str:
    """Where the state of a checkout is told to whoever has this link."""
    signature = sign(key, CHECKOUT_PURPOSE, {"shop": shop_id, "checkout_id": str(checkout_id)})
    return f"{order_base_url.rstrip('/')}/checkouts/{checkout_id}?signature={signature}"


def accept_token(key: SecretStr, quote: Quote) -> str:
    """The quote, signed."""
    payload: Mapping[str, Any] = {
        "cart": str(quote.cart_id),
        "version": quote.cart_version,
        "lines": quote.lines_digest,
        "prices": quote.unit_prices_minor,
        "until": quote.valid_until.timestamp(),
    }
    return sign(key, ACCEPT_PURPOSE, payload)


def accepted_quote(key: SecretStr, token: str) -> Quote | None:
    """The quote in a token that `accept_token` made, whether still good or not; else None."""
    payload = verify(key, ACCEPT_PURPOSE, token, longest=LONGEST_ACCEPT_TOKEN)
    if payload is None:
        return None
    return Quote(
        cart_id=UUID(payload["cart"]),
        cart_version=payload["version"],
        lines_digest=payload["lines"],
        unit_prices_minor=tuple(payload["prices"]),
        valid_until=datetime.fromtimestamp(payload["until"], UTC),
    )
