"""Where events are told.

Source: Stripe API reference, "Webhook Endpoints".
"""

from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest
from stripe_sandbox.lists import list_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding, merged_metadata
from stripe_sandbox.settings import API_VERSION
from stripe_sandbox.urls import checked_url

FROM_SETTINGS = "we_from_the_settings"

MOST = 16
"""Endpoints of an account in test mode; every event is held against all of them."""


def _create(transaction: Transaction, ids: Ids, params: Params) -> Object:
    version = params.get("api_version")
    if version not in (None, API_VERSION):
        raise InvalidRequest(f"The sandbox speaks {API_VERSION} only", param="api_version")
    if len(transaction.all_of("webhook_endpoint")) >= MOST:
        raise InvalidRequest(f"There are {MOST} webhook endpoints already")
    name, secret = transaction.new_id("we"), transaction.new_id("whsec", 32)
    endpoint = _endpoint(transaction, name, params)
    transaction.save(endpoint)
    transaction.keep_private(name, {"secret": secret})
    # It is told once, here, and never again.
    return endpoint | {"secret": secret}


def _endpoint(transaction: Transaction, name: str, params: Params) -> Object:
    return {
        "id": name,
        "object": "webhook_endpoint",
        "api_version": params.get("api_version"),
        "application": None,
        "created": transaction.now,
        "description": params.get("description"),
        "enabled_events": params["enabled_events"],
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "status": "enabled",
        "url": checked_url(params["url"], "url"),
    }


def keep_endpoint(transaction: Transaction, url: str, secret: str) -> None:
    """Have an endpoint that the settings name, which is told everything. Raises InvalidRequest."""
    found = transaction.find(FROM_SETTINGS)
    params = {"url": url, "enabled_events": ["*"], "description": "From the settings"}
    endpoint = _endpoint(transaction, FROM_SETTINGS, params)
    transaction.save(endpoint if found is None else found | {"url": endpoint["url"]})
    transaction.keep_private(FROM_SETTINGS, {"secret": secret})


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    endpoint = transaction.get("webhook_endpoint", ids["webhook_endpoint"])
    if "url" in params:
        endpoint["url"] = checked_url(params["url"], "url")
    if "disabled" in params:
        endpoint["status"] = "disabled" if params["disabled"] else "enabled"
    for name in ("enabled_events", "description"):
        if name in params:
            endpoint[name] = params[name]
    if "metadata" in params:
        endpoint["metadata"] = merged_metadata(endpoint["metadata"], params["metadata"])
    transaction.save(endpoint)
    return endpoint


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return transaction.get("webhook_endpoint", ids["webhook_endpoint"])


def _delete(transaction: Transaction, ids: Ids, params: Params) -> Object:
    endpoint = transaction.get("webhook_endpoint", ids["webhook_endpoint"])
    transaction.delete(endpoint["id"])
    transaction.sql(
        "DELETE FROM deliveries WHERE endpoint = ? AND state = 'pending'", (endpoint["id"],)
    )
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return list_of(transaction, "webhook_endpoint", params, "/v1/webhook_endpoints")


OPERATIONS = {
    "POST /v1/webhook_endpoints": heeding(
        _create, "url", "enabled_events", "api_version", "description", "metadata"
    ),
    "GET /v1/webhook_endpoints": heeding(_list, *LISTED),
    "GET /v1/webhook_endpoints/{webhook_endpoint}": heeding(_retrieve),
    "POST /v1/webhook_endpoints/{webhook_endpoint}": heeding(
        _update, "url", "enabled_events", "disabled", "description", "metadata"
    ),
    "DELETE /v1/webhook_endpoints/{webhook_endpoint}": heeding(_delete),
}
