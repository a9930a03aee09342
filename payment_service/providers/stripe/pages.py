"""Checkout Sessions: Stripe's own page, on which a hosted attempt is paid.

A page is named by its id for as long as nobody has paid there. Complete, it has an intent, which
is the payment from then on. The shopper may try several cards on it; what is declined there is no
end of the attempt.

Source: Stripe API reference, "Checkout Sessions"; guide "Fulfill orders".
"""

from datetime import datetime, timedelta

import stripe
from stripe.params.checkout import SessionCreateParams

from payment_service.providers.port import Charge
from payment_service.providers.stripe.labels import label, labels_of
from payment_service.providers.stripe.lines import line_items_of

OPEN_AT_LEAST = timedelta(hours=1)
OPEN_AT_MOST = timedelta(hours=23)
"""How long a page is open, from the begin of its charge on: so a page that is made again under its
key is asked for in the same words. Stripe takes 30 minutes to 24 hours from the making on, which
may be late (hence half an hour more) and is by another clock (hence an hour less)."""

PAGE = 100


class Pages:
    """The pages of this account. All methods raise what the SDK raises."""

    def __init__(self, client: stripe.StripeClient, return_url: str, excluded: list[str]) -> None:
        self._sessions = client.v1.checkout.sessions
        self._return_url = return_url
        self._excluded = excluded

    async def make(self, request: Charge, key: str) -> str:
        """Make the page of a charge; gives its id."""
        made = await self._sessions.create_async(
            params=_page(request, self._return_url, self._excluded),
            options={"idempotency_key": key},
        )
        return made.id

    async def search(
        self, request: Charge, first: int, last: int
    ) -> stripe.checkout.Session | None:
        """The page of a charge among those that were made between two moments."""
        listed = await self._sessions.list_async(
            params={"created": {"gte": first, "lte": last}, "limit": PAGE}
        )
        async for page in listed.auto_paging_iter():
            if label(page.metadata, "charge_key") == request.charge_key:
                return page
        return None

    async def retrieve(self, name: str) -> stripe.checkout.Session:
        """The page as it is now."""
        return await self._sessions.retrieve_async(name)

    async def expire(self, name: str, key: str) -> stripe.checkout.Session:
        """End the page. One that is not open any more is refused."""
        return await self._sessions.expire_async(name, options={"idempotency_key": key})


def is_page(name: str) -> bool:
    """Whether a name of Stripe's is that of a page."""
    return name.startswith("cs_")


def intent_of(page: stripe.checkout.Session) -> str | None:
    """The intent of a page that is complete."""
    if page.status != "complete":
        return None
    intent = page.payment_intent
    return intent.id if isinstance(intent, stripe.PaymentIntent) else intent


def _page(request: Charge, return_url: str, excluded: list[str]) -> SessionCreateParams:
    """The parameters of a page: the same ones whenever it is made."""
    labels = labels_of(request)
    customer = request.payer.provider_customer_id if request.payer and request.save else None
    params: SessionCreateParams = {
        "mode": "payment",
        "line_items": line_items_of(request),
        "payment_intent_data": {
            "capture_method": "manual" if request.flow == "authorize" else "automatic",
            "metadata": labels,
        },
        "excluded_payment_method_types": excluded,
        "metadata": labels,
        "success_url": return_url,
        "expires_at": int(_open_until(request).timestamp()),
    }
    if customer is not None:
        params["customer"] = customer
        params["payment_intent_data"]["setup_future_usage"] = "off_session"
    return params


def _open_until(request: Charge) -> datetime:
    least, most = request.began_at + OPEN_AT_LEAST, request.began_at + OPEN_AT_MOST
    return min(max(request.window_closes_at or least, least), most)
