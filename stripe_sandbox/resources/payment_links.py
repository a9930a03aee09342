"""Payment links: an address that makes a fresh Checkout Session for everybody who goes there.

Source: Stripe API reference, "Payment Links"; guides "Payment Links" and "Customize checkout for
payment links" (what the address may carry).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from stripe_sandbox.certainty import Certainty
from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest
from stripe_sandbox.lists import given, list_of, page_of
from stripe_sandbox.operations import Ids, Params, heeding, merged_metadata
from stripe_sandbox.resources import line_items
from stripe_sandbox.resources.events import announce
from stripe_sandbox.resources.sessions import check_types, check_url, new_session

CERTAINTY: Mapping[str, Certainty] = MappingProxyType(
    {
        "at_most_20_lines": Certainty.DOCUMENTED,
        "metadata_is_copied_to_the_session": Certainty.DOCUMENTED,
        "address_takes_reference_and_email": Certainty.DOCUMENTED,
        "prefilled_email_cannot_be_changed": Certainty.ASSUMED,
        "success_url_is_where_the_link_redirects": Certainty.ASSUMED,
    }
)
"""How sure each rule of payment links is."""

_OF_INTENTS = (
    "capture_method",
    "description",
    "metadata",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)
"""Fields of `payment_intent_data`."""


_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,200}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


def _create(transaction: Transaction, ids: Ids, params: Params) -> Object:
    name = transaction.new_id("plink")
    lines = line_items.new_lines(transaction, params["line_items"], line_items.MOST_LINES_OF_A_LINK)
    currency = lines[0]["currency"]
    if params.get("currency", currency).lower() != currency:
        raise InvalidRequest(f"The prices are in {currency}", param="currency")
    if "payment_method_types" in params:
        check_types(params["payment_method_types"], currency)
    of_intents = params.get("payment_intent_data")
    link: Object = {
        "id": name,
        "object": "payment_link",
        "active": True,
        "after_completion": _after_completion(params),
        "allow_promotion_codes": False,
        "application": None,
        "application_fee_amount": None,
        "application_fee_percent": None,
        "automatic_tax": {"enabled": False, "liability": None},
        "billing_address_collection": "auto",
        "consent_collection": None,
        "currency": currency,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer_creation": params.get("customer_creation", "if_required"),
        "inactive_message": params.get("inactive_message"),
        "invoice_creation": None,
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "on_behalf_of": None,
        "payment_intent_data": of_intents
        and {
            **dict.fromkeys(_OF_INTENTS),
            **of_intents,
            "metadata": merged_metadata(None, of_intents.get("metadata", {})),
        },
        "payment_method_collection": "always",
        "payment_method_types": params.get("payment_method_types"),
        "phone_number_collection": {"enabled": False},
        "restrictions": None,
        "shipping_address_collection": None,
        "shipping_options": [],
        "submit_type": params.get("submit_type", "auto"),
        "subscription_data": None,
        "tax_id_collection": {"enabled": False, "required": "never"},
        "transfer_data": None,
        "url": f"{transaction.public_url}/l/{name}",
    }
    transaction.save(link)
    transaction.keep_private(name, {"lines": lines})
    announce(transaction, "payment_link.created", link)
    return link


def _after_completion(params: Params) -> Object:
    """What a shopper sees who has paid: a page of the sandbox, or the shop."""
    wanted = params.get("after_completion", {"type": "hosted_confirmation"})
    if wanted["type"] == "redirect":
        if "redirect" not in wanted:
            raise InvalidRequest(
                "after_completion[redirect] is required",
                code="parameter_missing",
                param="after_completion[redirect]",
            )
        check_url(wanted["redirect"]["url"], "after_completion[redirect][url]")
        return {"redirect": {"url": wanted["redirect"]["url"]}, "type": "redirect"}
    message = wanted.get("hosted_confirmation", {}).get("custom_message")
    return {"hosted_confirmation": {"custom_message": message}, "type": "hosted_confirmation"}


def visited(transaction: Transaction, name: str, query: Mapping[str, str]) -> Object:
    """A fresh session of the link for one visitor, or the link, where it is not active.

    The address may carry `client_reference_id` and `prefilled_email`; what is wrong with them is
    passed over. Raises ResourceMissing.
    """
    link = transaction.get("payment_link", name)
    if not link["active"]:
        return link
    after = link["after_completion"]
    of_intents = link["payment_intent_data"] or {}
    reference, email = query.get("client_reference_id", ""), query.get("prefilled_email", "")
    params = {
        "client_reference_id": reference if _REFERENCE.fullmatch(reference) else None,
        "customer_creation": link["customer_creation"],
        "customer_email": email if _EMAIL.fullmatch(email) else None,
        "metadata": link["metadata"],
        "payment_intent_data": {
            field: value for field, value in of_intents.items() if value is not None
        },
        "submit_type": link["submit_type"],
        "success_url": after["redirect"]["url"] if after["type"] == "redirect" else None,
    }
    if link["payment_method_types"] is not None:
        params["payment_method_types"] = link["payment_method_types"]
    lines = transaction.private(name)["lines"]
    return new_session(transaction, params, line_items.copied(transaction, lines), link)


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    link = _retrieve(transaction, ids, {})
    changes = given(params, "active", "inactive_message", "customer_creation", "submit_type")
    if "after_completion" in params:
        changes["after_completion"] = _after_completion(params)
    if "metadata" in params:
        changes["metadata"] = merged_metadata(link["metadata"], params["metadata"])
    before = {field: link[field] for field in changes}
    link |= changes
    transaction.save(link)
    announce(transaction, "payment_link.updated", link, before)
    return link


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return transaction.get("payment_link", ids["payment_link"], "payment_link")


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    fields = given(params, "active")
    return list_of(transaction, "payment_link", params, "/v1/payment_links", **fields)


def _lines(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return _page_of_lines(transaction, _retrieve(transaction, ids, {}), params)


def _included_lines(transaction: Transaction, link: Object) -> Object:
    return _page_of_lines(transaction, link, {"limit": line_items.LINES_INCLUDED})


def _page_of_lines(transaction: Transaction, link: Object, params: Params) -> Object:
    url = f"/v1/payment_links/{link['id']}/line_items"
    return page_of(transaction.private(link["id"])["lines"], params, url)


INCLUDES = {("payment_link", "line_items"): _included_lines}
"""See `expansion.Includes`."""

_AFTER = (
    "after_completion.type",
    "after_completion.redirect.url",
    "after_completion.hosted_confirmation.custom_message",
)
_PLAIN = ("customer_creation", "inactive_message", "metadata", "submit_type")

OPERATIONS = {
    "POST /v1/payment_links": heeding(
        _create,
        *line_items.HEEDED,
        *_AFTER,
        *_PLAIN,
        *(f"payment_intent_data.{name}" for name in _OF_INTENTS),
        "currency",
        "payment_method_types",
    ),
    "GET /v1/payment_links": heeding(_list, "limit", "starting_after", "ending_before", "active"),
    "GET /v1/payment_links/{payment_link}": heeding(_retrieve),
    "POST /v1/payment_links/{payment_link}": heeding(_update, *_AFTER, *_PLAIN, "active"),
    "GET /v1/payment_links/{payment_link}/line_items": heeding(
        _lines, "limit", "starting_after", "ending_before"
    ),
}
