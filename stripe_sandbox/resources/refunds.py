"""Refunds: money that goes back, at once, later, or after all not.

Source: Stripe API reference, "Refunds"; guide "Refund and cancel payments".
"""

from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest
from stripe_sandbox.lists import list_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding, merged_metadata
from stripe_sandbox.resources import disputes
from stripe_sandbox.resources.balance import moved
from stripe_sandbox.resources.charges import refundable
from stripe_sandbox.resources.events import announce

PENDING_SECONDS = 3
"""How long a refund is pending that begins so, and stands as done that fails later."""


def _create(transaction: Transaction, ids: Ids, params: Params) -> Object:
    charge = _charge_of(transaction, params)
    left = refundable(charge)
    if charge["disputed"] and not _dispute_lets_refund(transaction, charge):
        raise InvalidRequest(
            f"Charge {charge['id']} is disputed and cannot be refunded", code="charge_disputed"
        )
    if left == 0:
        raise InvalidRequest(
            f"Charge {charge['id']} is refunded already", code="charge_already_refunded"
        )
    amount = params.get("amount", left)
    if amount > left:
        raise InvalidRequest(f"{amount} is more than the {left} left to refund", param="amount")
    fate = transaction.private(charge["id"]).get("refund")
    refund = _new_refund(transaction, charge, amount) | {
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "reason": params.get("reason"),
        "status": "pending" if fate == "pending" else "succeeded",
    }
    if fate == "pending":
        refund["pending_reason"] = "processing"
    kind = "refund" if refund["id"].startswith("re_") else "payment_refund"
    refund["balance_transaction"] = moved(transaction, kind, refund, -amount)
    transaction.save(refund)
    if fate is not None:
        transaction.later(transaction.now + PENDING_SECONDS, f"refund.{fate}", refund["id"])
    before = {name: charge[name] for name in ("amount_refunded", "refunded")}
    charge["amount_refunded"] += amount
    charge["refunded"] = refundable(charge) == 0
    transaction.save(charge)
    announce(transaction, "refund.created", refund)
    announce(transaction, "charge.refunded", charge, before)
    if charge["refunded"] and charge["disputed"]:
        disputes.close_inquiries(transaction, charge)
    return refund


def released(transaction: Transaction, charge: Object, amount: int) -> None:
    """Record what a hold lets go uncaptured: a refund of which no money moves."""
    transaction.save(_new_refund(transaction, charge, amount))


def _new_refund(transaction: Transaction, charge: Object, amount: int) -> Object:
    kind = charge["payment_method_details"]["type"]
    return {
        "id": transaction.new_id("re" if kind == "card" else "pyr"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": transaction.now,
        "currency": charge["currency"],
        "customer": charge["customer"],
        "destination_details": _destination(charge),
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": None,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def _charge_of(transaction: Transaction, params: Params) -> Object:
    """The charge that is to be refunded. Raises InvalidRequest."""
    if "charge" not in params and "payment_intent" not in params:
        raise InvalidRequest(
            "A refund is of a payment intent or of a charge", code="parameter_missing"
        )
    if params.get("amount", 1) < 1:
        raise InvalidRequest(
            "A refund is of at least 1", code="parameter_invalid_integer", param="amount"
        )
    if "charge" in params:
        param, name = "charge", params["charge"]
        charge = transaction.referenced("charge", name, param)
        if params.get("payment_intent", charge["payment_intent"]) != charge["payment_intent"]:
            raise InvalidRequest(
                f"Charge {name} is not of that payment intent", param="payment_intent"
            )
    else:
        param, name = "payment_intent", params["payment_intent"]
        latest = transaction.referenced("payment_intent", name, param)["latest_charge"]
        charge = transaction.get("charge", latest) if latest else {"captured": False}
    if not charge["captured"]:
        raise InvalidRequest(f"{name} has no captured charge to refund", param=param)
    return charge


def _dispute_lets_refund(transaction: Transaction, charge: Object) -> bool:
    opened = transaction.all_of("dispute", charge=charge["id"])
    return all(dispute["is_charge_refundable"] for dispute in opened)


def _destination(charge: Object) -> Object:
    kind = charge["payment_method_details"]["type"]
    if kind != "card":
        return {"type": kind}
    reference = {"reference_status": "pending", "reference_type": "acquirer_reference_number"}
    return {"card": reference | {"type": "refund"}, "type": "card"}


def succeed(transaction: Transaction, name: str) -> None:
    """A pending refund arrives."""
    refund = transaction.get("refund", name)
    if refund["status"] != "pending":
        return
    del refund["pending_reason"]
    refund["status"] = "succeeded"
    transaction.save(refund)
    _announce_change(transaction, refund, {"status": "pending"})


def fail(transaction: Transaction, name: str) -> None:
    """A refund that stood as done comes back: the money is ours again."""
    refund = transaction.get("refund", name)
    if refund["status"] != "succeeded":
        return
    kind = "refund_failure" if refund["id"].startswith("re_") else "payment_failure_refund"
    refund["status"] = "failed"
    refund["failure_reason"] = "expired_or_canceled_card"
    refund["failure_balance_transaction"] = moved(transaction, kind, refund, refund["amount"])
    transaction.save(refund)
    charge = transaction.get("charge", refund["charge"])
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    transaction.save(charge)
    announce(transaction, "refund.failed", refund)
    before = {"failure_balance_transaction": None, "failure_reason": None, "status": "succeeded"}
    _announce_change(transaction, refund, before)


def _announce_change(transaction: Transaction, refund: Object, before: Object) -> None:
    announce(transaction, "refund.updated", refund, before)
    announce(transaction, "charge.refund.updated", refund, before)


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    refund = _retrieve(transaction, ids, {})
    before = {"metadata": refund["metadata"]}
    refund["metadata"] = merged_metadata(refund["metadata"], params.get("metadata", {}))
    transaction.save(refund)
    _announce_change(transaction, refund, before)
    return refund


def _cancel(transaction: Transaction, ids: Ids, params: Params) -> Object:
    refund = _retrieve(transaction, ids, {})
    raise InvalidRequest(
        f"A refund that is {refund['status']} cannot be cancelled, only one that requires action"
    )


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return transaction.get("refund", ids["refund"], "id")


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return list_of(transaction, "refund", params, "/v1/refunds")


OPERATIONS = {
    "POST /v1/refunds": heeding(
        _create, "charge", "payment_intent", "amount", "reason", "metadata"
    ),
    "GET /v1/refunds": heeding(_list, *LISTED, "charge", "payment_intent"),
    "GET /v1/refunds/{refund}": heeding(_retrieve),
    "POST /v1/refunds/{refund}": heeding(_update, "metadata"),
    "POST /v1/refunds/{refund}/cancel": heeding(_cancel),
}
