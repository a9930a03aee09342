"""Events: what happened, as it is listed and as endpoints are told.

Source: Stripe API reference, "Events" and "Webhook Endpoints".
"""

import re
from fnmatch import fnmatchcase

import orjson

from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.lists import list_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding
from stripe_sandbox.settings import API_VERSION

KEPT_SECONDS = 30 * 24 * 3600
"""Events are listed for so long."""

SWEPT_AT_ONCE = 2

_NO_GLOB = re.compile(r"[\[?]")


def announce(
    transaction: Transaction, kind: str, about: Object, previous: Object | None = None
) -> None:
    """Record that something happened to an object; every endpoint that wants to know is told.

    `previous` are the values that an update has replaced.
    """
    data: Object = {"object": about}
    if previous is not None:
        data["previous_attributes"] = previous
    _sweep(transaction)
    cause = transaction.cause
    endpoints = [
        endpoint["id"]
        for endpoint in transaction.all_of("webhook_endpoint")
        if endpoint["status"] == "enabled" and wants(endpoint, kind)
    ]
    event = {
        "id": transaction.new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": transaction.now,
        "data": data,
        "livemode": False,
        "pending_webhooks": len(endpoints),
        "request": {
            "id": cause.request_id if cause else None,
            "idempotency_key": cause.idempotency_key if cause else None,
        },
        "type": kind,
    }
    transaction.save(event)
    for endpoint in endpoints:
        transaction.sql(
            "INSERT INTO deliveries (event, endpoint, due, fault) VALUES (?, ?, 0, ?)",
            (event["id"], endpoint, cause.webhook_fault if cause else None),
        )


def _sweep(transaction: Transaction) -> None:
    """Forget events that are not listed any more, a few whenever one comes."""
    swept = transaction.sql(
        "DELETE FROM objects WHERE number IN (SELECT number FROM objects"
        " WHERE object = 'event' AND created <= ? AND NOT EXISTS (SELECT 1 FROM deliveries"
        " WHERE event = objects.id AND state IN ('pending', 'sending'))"
        " ORDER BY created, number LIMIT ?) RETURNING id",
        (transaction.now - KEPT_SECONDS, SWEPT_AT_ONCE),
    ).fetchall()
    transaction.sql(
        "DELETE FROM deliveries WHERE event IN (SELECT value FROM json_each(?))",
        (orjson.dumps([name for (name,) in swept]).decode(),),
    )


def wants(endpoint: Object, kind: str) -> bool:
    """Whether an endpoint is to be told of events of this type."""
    return any(fnmatchcase(kind, pattern) for pattern in endpoint["enabled_events"])


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    kinds = [params["type"]] if "type" in params else params.get("types", [])
    rest = {name: value for name, value in params.items() if name not in ("type", "types")}
    wanted = " OR ".join(["body ->> '$.type' GLOB ?"] * len(kinds))
    also = [(f"({wanted})", [_NO_GLOB.sub(r"[\g<0>]", kind) for kind in kinds])] if kinds else []
    since = transaction.now - KEPT_SECONDS
    return list_of(transaction, "event", rest, "/v1/events", also=[*also, ("created > ?", [since])])


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return transaction.get("event", ids["id"], "id")


OPERATIONS = {
    "GET /v1/events": heeding(_list, *LISTED, "type", "types"),
    "GET /v1/events/{id}": heeding(_retrieve),
}
