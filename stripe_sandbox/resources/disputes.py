"""Disputes: the shopper's bank takes the money back, for now or for good.

The test cards open them a moment after the charge. Evidence decides: `winning_evidence` wins,
`escalate_inquiry_evidence` makes a dispute of an inquiry, any other loses, and so does silence.

Source: Stripe API reference, "Disputes"; guides "Disputes and fraud" and "Testing".
"""

from stripe_sandbox.cards import (
    ESCALATE_INQUIRY_EVIDENCE,
    WINNING_EVIDENCE,
    Dispute,
)
from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest
from stripe_sandbox.lists import list_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding, merged_metadata
from stripe_sandbox.resources.balance import moved
from stripe_sandbox.resources.charges import refundable
from stripe_sandbox.resources.events import announce

OPENED_AFTER_SECONDS = 2
ANSWERED_WITHIN_SECONDS = 9 * 24 * 3600
DECIDED_AFTER_SECONDS = 2

_TEXTS = (
    *("access_activity_log", "billing_address", "cancellation_policy"),
    *("cancellation_policy_disclosure", "cancellation_rebuttal", "customer_communication"),
    *("customer_email_address", "customer_name", "customer_purchase_ip", "customer_signature"),
    *("duplicate_charge_documentation", "duplicate_charge_explanation", "duplicate_charge_id"),
    *("product_description", "receipt", "refund_policy", "refund_policy_disclosure"),
    *("refund_refusal_explanation", "service_date", "service_documentation", "shipping_address"),
    *("shipping_carrier", "shipping_date", "shipping_documentation", "shipping_tracking_number"),
    *("uncategorized_file", "uncategorized_text"),
)
_OPEN = ("needs_response", "warning_needs_response")


def begin_soon(transaction: Transaction, charge: Object, dispute: Dispute) -> None:
    """Have a dispute opened on a charge in a moment."""
    private = transaction.private(charge["id"])
    transaction.keep_private(
        charge["id"],
        private
        | {
            "dispute": {
                "count": dispute.count,
                "final": dispute.final,
                "inquiry": dispute.inquiry,
                "reason": dispute.reason,
            }
        },
    )
    begin_as_agreed(transaction, charge)


def begin_as_agreed(transaction: Transaction, charge: Object) -> None:
    """Have the dispute opened in a moment, if one is to be; not before the money was taken."""
    if charge["captured"] and "dispute" in transaction.private(charge["id"]):
        due = transaction.now + OPENED_AFTER_SECONDS
        transaction.later(due, "charge.dispute", charge["id"])


def begin(transaction: Transaction, name: str) -> None:
    """Open what was announced for a charge."""
    charge = transaction.get("charge", name)
    facts = transaction.private(name)["dispute"]
    amount = refundable(charge)
    shares = [amount // facts["count"]] * facts["count"]
    shares[0] += amount - sum(shares)
    for share in filter(None, shares):
        _open(transaction, charge, share, facts)


def _open(transaction: Transaction, charge: Object, amount: int, facts: Object) -> None:
    inquiry, final = facts["inquiry"], facts["final"]
    dispute: Object = {
        "id": transaction.new_id("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": transaction.now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(_TEXTS), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": None if final else transaction.now + ANSWERED_WITHIN_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": facts["reason"],
        "status": "warning_needs_response" if inquiry else "lost" if final else "needs_response",
    }
    if charge["payment_method_details"]["type"] == "card":
        card = charge["payment_method_details"]["card"]
        dispute["payment_method_details"] = {
            "card": {
                "brand": card["brand"],
                "case_type": "inquiry" if inquiry else "chargeback",
                "network": card["network"],
                "network_reason_code": "83",
            },
            "type": "card",
        }
    if not inquiry:
        _withdraw(transaction, dispute)
    transaction.save(dispute)
    charge["disputed"] = True
    transaction.save(charge)
    announce(transaction, "charge.dispute.created", dispute)
    if not inquiry:
        announce(transaction, "charge.dispute.funds_withdrawn", dispute)
    if final:
        announce(transaction, "charge.dispute.closed", dispute)
    else:
        due = dispute["evidence_details"]["due_by"]
        transaction.later(due, "dispute.past_due", dispute["id"])


def _withdraw(transaction: Transaction, dispute: Object) -> None:
    _book(transaction, dispute, -dispute["amount"], "dispute")


def _book(transaction: Transaction, dispute: Object, amount: int, category: str) -> None:
    entry = moved(transaction, "adjustment", dispute, amount, category=category, at_once=True)
    booked = transaction.get("balance_transaction", entry)
    dispute["balance_transactions"] = [*dispute["balance_transactions"], booked]


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    dispute = _retrieve(transaction, ids, {})
    before: Object = {}
    if "metadata" in params:
        before["metadata"] = dispute["metadata"]
        dispute["metadata"] = merged_metadata(dispute["metadata"], params["metadata"])
    given, is_staged = params.get("evidence"), dispute["evidence_details"]["has_evidence"]
    if (given or "submit" in params) and dispute["status"] not in _OPEN:
        raise InvalidRequest(f"A dispute that is {dispute['status']} takes no evidence")
    if given:
        before["evidence"] = dispute["evidence"]
        dispute["evidence"] = dispute["evidence"] | given
        dispute["evidence_details"]["has_evidence"] = True
    if params.get("submit", bool(given)) and (given or is_staged):
        before["status"] = dispute["status"]
        _submit(transaction, dispute)
    transaction.save(dispute)
    announce(transaction, "charge.dispute.updated", dispute, before)
    return dispute


def _submit(transaction: Transaction, dispute: Object) -> None:
    inquiry = dispute["status"].startswith("warning_")
    dispute["evidence_details"]["submission_count"] += 1
    dispute["status"] = "warning_under_review" if inquiry else "under_review"
    transaction.later(transaction.now + DECIDED_AFTER_SECONDS, "dispute.decide", dispute["id"])


def decide(transaction: Transaction, name: str) -> None:
    """The bank decides upon the evidence; what is none of the texts for tests loses."""
    dispute = transaction.get("dispute", name)
    text = dispute["evidence"]["uncategorized_text"]
    if dispute["status"] == "warning_under_review":
        if text == ESCALATE_INQUIRY_EVIDENCE:
            _escalate(transaction, dispute)
        else:
            _close(transaction, dispute, "warning_closed")
    elif dispute["status"] == "under_review":
        _close(transaction, dispute, "won" if text == WINNING_EVIDENCE else "lost")


def _escalate(transaction: Transaction, dispute: Object) -> None:
    """An inquiry becomes a dispute, of what was not refunded meanwhile."""
    before = {"amount": dispute["amount"], "status": dispute["status"]}
    charge = transaction.get("charge", dispute["charge"])
    dispute |= {
        "amount": min(dispute["amount"], refundable(charge)),
        "is_charge_refundable": False,
        "status": "needs_response",
    }
    if "payment_method_details" in dispute:
        dispute["payment_method_details"]["card"]["case_type"] = "chargeback"
    _withdraw(transaction, dispute)
    due = transaction.now + ANSWERED_WITHIN_SECONDS
    dispute["evidence_details"]["due_by"] = due
    transaction.save(dispute)
    transaction.later(due, "dispute.past_due", dispute["id"])
    announce(transaction, "charge.dispute.updated", dispute, before)
    announce(transaction, "charge.dispute.funds_withdrawn", dispute)


def close_inquiries(transaction: Transaction, charge: Object) -> None:
    """A charge that was refunded whole is asked about no more."""
    for dispute in transaction.all_of("dispute", charge=charge["id"]):
        if dispute["status"] in ("warning_needs_response", "warning_under_review"):
            _close(transaction, dispute, "warning_closed")


def past_due(transaction: Transaction, name: str) -> None:
    """Nobody answered in time."""
    dispute = transaction.get("dispute", name)
    due = dispute["evidence_details"]["due_by"]
    if dispute["status"] in _OPEN and due <= transaction.now:
        dispute["evidence_details"]["past_due"] = True
        inquiry = dispute["status"].startswith("warning_")
        _close(transaction, dispute, "warning_closed" if inquiry else "lost")


def _close(transaction: Transaction, dispute: Object, status: str) -> None:
    before = {"status": dispute["status"]}
    dispute["status"] = status
    if status == "won":
        _book(transaction, dispute, dispute["amount"], "dispute_reversal")
    if status in ("won", "warning_closed"):
        dispute["is_charge_refundable"] = True
    transaction.save(dispute)
    if status == "won":
        announce(transaction, "charge.dispute.funds_reinstated", dispute)
    announce(transaction, "charge.dispute.closed", dispute, before)


def _accept(transaction: Transaction, ids: Ids, params: Params) -> Object:
    dispute = _retrieve(transaction, ids, {})
    if dispute["status"] not in _OPEN:
        raise InvalidRequest(f"A dispute that is {dispute['status']} cannot be closed")
    inquiry = dispute["status"].startswith("warning_")
    _close(transaction, dispute, "warning_closed" if inquiry else "lost")
    return dispute


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return transaction.get("dispute", ids["dispute"], "dispute")


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return list_of(transaction, "dispute", params, "/v1/disputes")


OPERATIONS = {
    "GET /v1/disputes": heeding(_list, *LISTED, "charge", "payment_intent"),
    "GET /v1/disputes/{dispute}": heeding(_retrieve),
    "POST /v1/disputes/{dispute}": heeding(
        _update, "metadata", "submit", *(f"evidence.{name}" for name in _TEXTS)
    ),
    "POST /v1/disputes/{dispute}/close": heeding(_accept),
}
