"""Where Stripe tells what happened, and sends shoppers back to. Mounted only where it is offered.

A webhook is verified, kept under its id and heeded in one short transaction, then acknowledged; the
payment is asked about afterwards, by the worker. Nothing of it is under an idempotency key: its own
id is one. That a shopper comes back proves nothing, and changes nothing.
"""

from collections.abc import Callable

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client import Counter

from messaging.clock import utc_now
from messaging.http.bodies import read_bounded
from messaging.http.problems import Problem
from messaging.outbox import emit
from payment_service.providers.stripe.webhooks import (
    NotAnEvent,
    WebhookRefused,
    WronglySigned,
    WrongMode,
    notice_of,
)
from payment_service.settings import PaymentSettings
from payment_service.store.webhooks import Webhook, take

log = structlog.get_logger()

SOURCE = "payment"
LARGEST_BYTES = 512 * 1024
"""Several times the largest of Stripe's events."""
SECONDS = 10.0

WEBHOOKS = Counter("trolley_webhooks", "Webhooks of payment providers.", ["provider", "state"])
OF_ANOTHER_VERSION = Counter(
    "trolley_webhooks_of_another_version",
    "Webhooks in another version of the provider's API than their endpoint is meant to be of.",
    ["provider"],
)

_SLUGS: dict[type[WebhookRefused], tuple[str, str]] = {
    WronglySigned: ("webhook-signature", "The signature is not one of ours, or too old"),
    NotAnEvent: ("webhook-malformed", "This is no event of Stripe's"),
    WrongMode: ("webhook-mode", "This is about the other mode's money"),
}


_RETURNED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Thank you</title>
<meta name="viewport" content="width=device-width"><style>:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 26rem; padding: 2rem 1rem; }
</style><h1>Thank you</h1><p>You can close this page; your order shows whether it is paid.</p>
"""


def stripe_router(settings: PaymentSettings, wake: Callable[[], None]) -> APIRouter:
    """The endpoints; `wake` tells the worker that there is something to ask."""
    router = APIRouter(tags=["stripe"])
    secrets = [secret.get_secret_value() for secret in settings.stripe_webhook_secrets]

    @router.get("/returned", include_in_schema=False)
    async def returned() -> HTMLResponse:
        """The shopper comes back from their bank, where the shop has no page of its own."""
        return HTMLResponse(_RETURNED)

    @router.post("/webhooks/stripe", include_in_schema=False)
    async def told(request: Request) -> Response:
        """Something happened at Stripe."""
        body = await read_bounded(request, LARGEST_BYTES, SECONDS)
        signature = request.headers.get("stripe-signature")
        try:
            notice = notice_of(body, signature, secrets, production=settings.production)
        except WebhookRefused as refused:
            slug, title = _SLUGS[type(refused)]
            WEBHOOKS.labels("stripe", slug).inc()
            log.warning("webhook refused", reason=slug)
            raise Problem(400, slug, title) from None
        if notice.other_version is not None:
            OF_ANOTHER_VERSION.labels("stripe").inc()
            log.warning("webhook of another version", version=notice.other_version)
        webhook = Webhook(
            "stripe",
            notice.event_id,
            notice.type,
            notice.provider_payment_id,
            notice.charge_key,
            notice.news,
            notice.payment_id,
        )
        async with request.app.state.api_database.transaction() as connection:
            now = utc_now()
            taken = await take(connection, webhook, settings.webhook_again_after, now)
            await emit(connection, taken.reviews, source=SOURCE, now=now)
            connection.after_commit(wake)
        WEBHOOKS.labels("stripe", taken.state or "repeated").inc()
        return Response(status_code=200)

    return router
