"""Charges: each try to take money, and what became of it. Payment intents make them.

Source: Stripe API reference, "Charges".
"""

from typing import Any

from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.lists import list_of, whole
from stripe_sandbox.operations import LISTED, Ids, Params, heeding, merged_metadata
from stripe_sandbox.resources.balance import moved
from stripe_sandbox.resources.events import announce
from stripe_sandbox.search import search

BALANCE_AFTER_SECONDS = 2
"""An asynchronous capture is booked so much later than it is answered."""


def new_charge(transaction: Transaction, intent: Object, method: Object) -> Object:
    """A charge of an intent by a payment method, pending; not saved yet."""
    return {
        "id": transaction.new_id("ch" if method["type"] == "card" else "py"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": intent["statement_descriptor"] or "SANDBOX",
        "captured": False,
        "created": transaction.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": intent["metadata"],
        "on_behalf_of": None,
        "outcome": None,
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": _details(intent, method),
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": intent["shipping"],
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": "pending",
        "transfer_data": None,
        "transfer_group": intent["transfer_group"],
    }


_NOT_OF_CHARGES = frozenset(
    {"financial_connections_account", "generated_from", "networks", "status_details"}
)


def _details(intent: Object, method: Object) -> Object:
    """The payment method as it was at the time."""
    kind = method["type"]
    if kind != "card":
        kept = {name: value for name, value in method[kind].items() if name not in _NOT_OF_CHARGES}
        return {"type": kind, kind: kept}
    card = method["card"]
    kept = {
        name: card[name]
        for name in (
            *("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding"),
            *("last4", "regulated_status", "wallet"),
        )
    }
    details = kept | {
        "amount_authorized": intent["amount"],
        "authorization_code": None,
        "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": card["brand"],
        "network_token": {"used": False},
        "network_transaction_id": None,
        "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
        "three_d_secure": None,
        "transaction_link_id": None,
    }
    return {"type": "card", "card": details}


def outcome(kind: str = "authorized", **facts: Any) -> Object:
    """What the networks and the risk engine said; `kind` is one of Stripe's outcome types."""
    approved = kind == "authorized"
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network" if approved else "declined_by_network",
        "reason": None,
        "risk_level": "normal",
        "risk_score": 20,
        "seller_message": "Payment complete." if approved else "The payment was declined.",
        "type": kind,
    } | facts


def take(transaction: Transaction, charge: Object, amount: int, *, booked_later: bool) -> None:
    """Money is taken: all of the charge, or a part of what it holds; the rest of that is let go."""
    charge["amount_captured"] = amount
    charge["amount_refunded"] = charge["amount"] - amount
    charge["captured"] = True
    if booked_later:
        transaction.later(transaction.now + BALANCE_AFTER_SECONDS, "charge.book", charge["id"])
    else:
        _book(transaction, charge)
    transaction.save(charge)


def called_off(transaction: Transaction, charge: Object) -> None:
    """A debit that is on its way will not arrive."""
    charge |= {"failure_message": "The debit was called off.", "status": "failed"}
    transaction.save(charge)


def let_go(transaction: Transaction, charge: Object) -> None:
    """What the charge holds is given back, uncaptured."""
    charge["amount_refunded"] = charge["amount"]
    charge["refunded"] = True
    transaction.save(charge)


def _book(transaction: Transaction, charge: Object) -> None:
    kind = "charge" if charge["id"].startswith("ch_") else "payment"
    charge["balance_transaction"] = moved(
        transaction,
        kind,
        charge,
        charge["amount_captured"],
        description=charge["description"],
        at_once=transaction.private(charge["id"]).get("bypasses_pending", False),
    )


def book(transaction: Transaction, name: str) -> None:
    """Book what was captured a moment ago."""
    charge = transaction.get("charge", name)
    if charge["balance_transaction"] is None:
        _book(transaction, charge)
        transaction.save(charge)
        announce(transaction, "charge.updated", charge, {"balance_transaction": None})


def refundable(charge: Object) -> int:
    """What is left of the captured money, in minor units."""
    let_go_uncaptured = charge["amount"] - charge["amount_captured"] if charge["captured"] else 0
    left: int = charge["amount_captured"] - (charge["amount_refunded"] - let_go_uncaptured)
    return left


def _refunds(transaction: Transaction, charge: Object) -> Object:
    refunds = transaction.all_of("refund", charge=charge["id"])
    return whole(refunds[::-1], f"/v1/charges/{charge['id']}/refunds")


INCLUDES = {("charge", "refunds"): _refunds}
"""See `expansion.Includes`."""


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return transaction.get("charge", ids["charge"], "id")


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    charge = transaction.get("charge", ids["charge"], "id")
    before = {name: charge[name] for name in ("description", "receipt_email") if name in params}
    for name in before:
        charge[name] = params[name]
    if "metadata" in params:
        before["metadata"] = charge["metadata"]
        charge["metadata"] = merged_metadata(charge["metadata"], params["metadata"])
    transaction.save(charge)
    announce(transaction, "charge.updated", charge, before)
    return charge


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return list_of(transaction, "charge", params, "/v1/charges")


def _search(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return search(transaction, "charge", params, "/v1/charges/search")


OPERATIONS = {
    "GET /v1/charges": heeding(_list, *LISTED, "customer", "payment_intent"),
    "GET /v1/charges/search": heeding(_search, "query", "limit", "page"),
    "GET /v1/charges/{charge}": heeding(_retrieve),
    "POST /v1/charges/{charge}": heeding(_update, "description", "metadata", "receipt_email"),
}
