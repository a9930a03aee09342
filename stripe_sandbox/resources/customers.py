"""Customers.

Source: Stripe API reference, "Customers".
"""

from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest
from stripe_sandbox.lists import list_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding, merged_metadata
from stripe_sandbox.resources.events import announce
from stripe_sandbox.resources.payment_methods import attached_to, consumed
from stripe_sandbox.search import search

_PLAIN = ("address", "description", "email", "name", "phone", "shipping", "preferred_locales")


def new_customer(transaction: Transaction, params: Params) -> Object:
    """A new customer, saved and announced."""
    customer: Object = {
        "id": transaction.new_id("cus", 14),
        "object": "customer",
        "balance": 0,
        "created": transaction.now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "discount": None,
        "invoice_prefix": transaction.new_id("in", 8)[3:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "next_invoice_sequence": 1,
        "tax_exempt": "none",
        "test_clock": None,
        **{name: params.get(name) for name in _PLAIN},
    }
    customer["preferred_locales"] = customer["preferred_locales"] or []
    transaction.save(customer)
    announce(transaction, "customer.created", customer)
    return customer


def _create(transaction: Transaction, ids: Ids, params: Params) -> Object:
    customer = new_customer(transaction, params)
    if params.get("payment_method") is not None:
        attached_to(transaction, params["payment_method"], customer["id"])
    return customer


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    customer = transaction.get("customer", ids["customer"], "id")
    before = {name: customer[name] for name in _PLAIN if name in params}
    for name in before:
        customer[name] = params[name]
    if "metadata" in params:
        before["metadata"] = customer["metadata"]
        customer["metadata"] = merged_metadata(customer["metadata"], params["metadata"])
    if "invoice_settings" in params:
        param, named = "invoice_settings[default_payment_method]", _default_method(params)
        if named is not None:
            method = transaction.referenced("payment_method", named, param)
            if method["customer"] != customer["id"]:
                raise InvalidRequest(f"{named} is not attached to the customer", param=param)
        before["invoice_settings"] = customer["invoice_settings"]
        customer["invoice_settings"] = customer["invoice_settings"] | {
            "default_payment_method": named
        }
    transaction.save(customer)
    announce(transaction, "customer.updated", customer, before)
    return customer


def _default_method(params: Params) -> str | None:
    name: str | None = (params["invoice_settings"] or {}).get("default_payment_method")
    return name


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    """The customer, or that there was one."""
    gone = transaction.deleted(ids["customer"])
    if gone is not None and gone["object"] == "customer":
        return gone
    return transaction.get("customer", ids["customer"], "id")


def _delete(transaction: Transaction, ids: Ids, params: Params) -> Object:
    customer = transaction.get("customer", ids["customer"], "id")
    for method in transaction.all_of("payment_method", customer=customer["id"]):
        method["customer"] = None
        transaction.save(method)
        consumed(transaction, method)
    transaction.delete(customer["id"])
    announce(transaction, "customer.deleted", customer)
    return {"id": customer["id"], "object": "customer", "deleted": True}


def _search(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return search(transaction, "customer", params, "/v1/customers/search")


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return list_of(transaction, "customer", params, "/v1/customers")


def _methods(transaction: Transaction, ids: Ids, params: Params) -> Object:
    customer = transaction.get("customer", ids["customer"], "customer")
    url = f"/v1/customers/{customer['id']}/payment_methods"
    return list_of(transaction, "payment_method", params, url, customer=customer["id"])


OPERATIONS = {
    "POST /v1/customers": heeding(_create, *_PLAIN, "metadata", "payment_method"),
    "GET /v1/customers": heeding(_list, *LISTED),
    "GET /v1/customers/search": heeding(_search, "query", "limit", "page"),
    "GET /v1/customers/{customer}": heeding(_retrieve),
    "POST /v1/customers/{customer}": heeding(
        _update, *_PLAIN, "metadata", "invoice_settings.default_payment_method"
    ),
    "DELETE /v1/customers/{customer}": heeding(_delete),
    "GET /v1/customers/{customer}/payment_methods": heeding(_methods, *LISTED, "type"),
}
