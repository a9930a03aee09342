"""One try to get the money of a payment intent, and everything that can come of it.

Source: Stripe guides "Authenticate with 3D Secure", "Place a hold on a payment method", "Declines"
and "ACH Direct Debit"; the test accounts say what happens (`cards`).
"""

from contextlib import suppress
from dataclasses import dataclass

from stripe_sandbox.cards import (
    AUTHENTICATION_REQUIRED,
    BANK_DEBIT_DISPUTE,
    BLOCKED,
    Authentication,
    Behaviour,
    DebitCourse,
    Decline,
    RefundCourse,
    TestBankAccount,
    authorization_seconds,
)
from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import CardError, InvalidRequest, UnexpectedState
from stripe_sandbox.resources import charges, disputes, refunds
from stripe_sandbox.resources.declines import facts_of, outcome_of
from stripe_sandbox.resources.events import announce
from stripe_sandbox.resources.payment_methods import account_of, attached_to, consumed, usable
from stripe_sandbox.urls import with_query

PAID = ("succeeded", "requires_capture", "processing")
"""Statuses of an intent whose shopper has done their part."""

DEBIT_SECONDS = 1
"""A bank debit that is not delayed is processing for at least so long."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How an intent is confirmed: by whom, and where the shopper is sent afterwards."""

    return_url: str | None = None
    off_session: bool = False
    error_on_requires_action: bool = False
    hosted: bool = False
    """On a page of the sandbox, which deals with whatever the shopper has to do."""


def attempted(transaction: Transaction, intent: Object, how: Confirmation) -> Object:
    """Try it. Raises CardError, whose effects stay, and InvalidRequest."""
    # It may have been used up or detached since the intent was told of it.
    method = usable(transaction, intent["payment_method"], intent["customer"])
    if method["type"] not in intent["payment_method_types"]:
        raise InvalidRequest(
            f"The payment intent takes {', '.join(intent['payment_method_types'])},"
            f" not {method['type']}",
            code="payment_intent_incompatible_payment_method",
            param="payment_method",
        )
    account = account_of(transaction, method)
    if isinstance(account, TestBankAccount):
        return _debited(transaction, intent, method, account)
    behaviour = account.behaviour
    options = (intent["payment_method_options"] or {}).get("card") or {}
    authentication = behaviour.authentication(
        off_session=how.off_session,
        set_up=bool(transaction.private(method["id"]).get("set_up")),
        requested=options.get("request_three_d_secure", "automatic"),
    )
    if authentication is Authentication.CHALLENGE:
        if how.off_session or how.error_on_requires_action:
            raise _declined(transaction, intent, method, AUTHENTICATION_REQUIRED)
        return _asks_for_action(transaction, intent, how)
    return _charged(transaction, intent, method, behaviour, off_session=how.off_session)


# The shopper's part.


def what_to_do(transaction: Transaction, intent: Object, how: Confirmation) -> Object:
    """The next action of an intent whose shopper has to authenticate."""
    url = f"{transaction.public_url}/authenticate/{intent['client_secret']}"
    if how.return_url is not None or how.hosted:
        return {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": how.return_url, "url": url},
        }
    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url},
    }


def _asks_for_action(transaction: Transaction, intent: Object, how: Confirmation) -> Object:
    intent |= {"next_action": what_to_do(transaction, intent, how), "status": "requires_action"}
    transaction.save(intent)
    announce(transaction, "payment_intent.requires_action", intent)
    return intent


def authenticated(transaction: Transaction, intent: Object, *, passed: bool) -> str | None:
    """The shopper ends the challenge; where the browser goes then. Raises UnexpectedState."""
    if intent["status"] != "requires_action":
        raise UnexpectedState(
            f"A payment intent that is {intent['status']} waits for no action",
            code="payment_intent_unexpected_state",
            payment_intent=intent,
        )
    back: str | None = (intent["next_action"].get("redirect_to_url") or {}).get("return_url")
    method = transaction.get("payment_method", intent["payment_method"])
    behaviour = _behaviour_of(transaction, method)
    if passed and not behaviour.three_d_secure_fails:
        private = transaction.private(method["id"])
        transaction.keep_private(method["id"], private | {"set_up": True})
        with suppress(CardError):  # the intent says so, too
            _charged(transaction, intent, method, behaviour, off_session=False)
    else:
        _not_authenticated(transaction, intent, method)
    return back_to(back, intent, succeeded=intent["status"] in PAID)


def back_to(url: str | None, intent: Object, *, succeeded: bool) -> str | None:
    """The return URL of an intent, with what became of it."""
    if url is None:
        return None
    kind = intent["object"]
    query = {
        kind: intent["id"],
        f"{kind}_client_secret": intent["client_secret"],
        "redirect_status": "succeeded" if succeeded else "failed",
    }
    return with_query(url, query)


def _not_authenticated(transaction: Transaction, intent: Object, method: Object) -> None:
    intent |= {
        "last_payment_error": {
            "code": "payment_intent_authentication_failure",
            "message": "The shopper did not authenticate the payment",
            "payment_method": method,
            "type": "invalid_request_error",
        },
        "next_action": None,
        "payment_method": None,
        "status": "requires_payment_method",
    }
    transaction.save(intent)
    announce(transaction, "payment_intent.payment_failed", intent)


# Cards.


def _charged(
    transaction: Transaction,
    intent: Object,
    method: Object,
    behaviour: Behaviour,
    *,
    off_session: bool,
) -> Object:
    cvc_given = method["card"]["checks"]["cvc_check"] is not None
    decline = behaviour.decline or (behaviour.cvc_decline if cvc_given else None)
    if decline is not None:
        raise _declined(transaction, intent, method, decline)
    charge = charges.new_charge(transaction, intent, method)
    charge |= {
        "outcome": charges.outcome(behaviour.outcome_type, risk_level=behaviour.risk_level),
        "paid": True,
        "status": "succeeded",
    }
    transaction.keep_private(
        charge["id"],
        {
            "bypasses_pending": behaviour.funds_available_at_once,
            "refund": _REFUNDS.get(behaviour.refund),
        },
    )
    intent |= {"last_payment_error": None, "latest_charge": charge["id"], "next_action": None}
    options = (intent["payment_method_options"] or {}).get("card") or {}
    if options.get("capture_method", intent["capture_method"]) == "manual":
        held = authorization_seconds(method["card"]["brand"], off_session=off_session)
        _held(transaction, intent, charge, transaction.now + held)
    else:
        _taken(transaction, intent, charge)
    _remember(transaction, intent, method)
    if behaviour.dispute is not None:
        disputes.begin_soon(transaction, charge, behaviour.dispute)
    return intent


_REFUNDS = {
    RefundCourse.PENDING_THEN_SUCCEEDS: "pending",
    RefundCourse.SUCCEEDS_THEN_FAILS: "fails",
}


def _held(transaction: Transaction, intent: Object, charge: Object, until: int) -> None:
    charge["payment_method_details"]["card"]["capture_before"] = until
    intent |= {"amount_capturable": intent["amount"], "status": "requires_capture"}
    transaction.save(charge)
    transaction.save(intent)
    transaction.later(until, "payment_intent.expire", intent["id"])
    announce(transaction, "charge.succeeded", charge)
    announce(transaction, "payment_intent.amount_capturable_updated", intent)


def _taken(transaction: Transaction, intent: Object, charge: Object) -> None:
    booked_later = intent["capture_method"] == "automatic_async"
    charges.take(transaction, charge, intent["amount"], booked_later=booked_later)
    succeeded(transaction, intent, intent["amount"])
    announce(transaction, "charge.succeeded", charge)
    announce(transaction, "payment_intent.succeeded", intent)


def succeeded(transaction: Transaction, intent: Object, amount: int) -> None:
    """Record that so much was taken, and that it was all."""
    intent |= {"amount_capturable": 0, "amount_received": amount, "status": "succeeded"}
    transaction.save(intent)


def _remember(transaction: Transaction, intent: Object, method: Object) -> None:
    """Keep the method for later where that was agreed; any other is used up.

    Without a customer it is attached to nobody, and may be attached after all.
    """
    if intent["setup_future_usage"] is not None:
        if intent["customer"] is not None:
            attached_to(transaction, method["id"], intent["customer"])
    elif method["customer"] is None:
        consumed(transaction, method)


def _declined(
    transaction: Transaction, intent: Object, method: Object, decline: Decline
) -> CardError:
    """Record the declined charge; gives the error that answers the call."""
    charge = charges.new_charge(transaction, intent, method)
    _fail(transaction, intent, method, charge, decline)
    return CardError(
        decline.message,
        **facts_of(decline),
        charge=charge["id"],
        payment_intent=intent,
        payment_method=method,
    )


def _fail(
    transaction: Transaction, intent: Object, method: Object, charge: Object, decline: Decline
) -> None:
    charge |= {
        "failure_code": decline.code,
        "failure_message": decline.message,
        "outcome": outcome_of(decline),
        "status": "failed",
    }
    transaction.save(charge)
    facts = {name: value for name, value in facts_of(decline).items() if value is not None}
    intent |= {
        "last_payment_error": {
            **facts,
            "charge": charge["id"],
            "message": decline.message,
            "payment_method": method,
            "type": "card_error",
        },
        "latest_charge": charge["id"],
        "next_action": None,
        "payment_method": None,
        "status": "requires_payment_method",
    }
    transaction.save(intent)
    announce(transaction, "charge.failed", charge)
    announce(transaction, "payment_intent.payment_failed", intent)


def _behaviour_of(transaction: Transaction, method: Object) -> Behaviour:
    account = account_of(transaction, method)
    return Behaviour() if isinstance(account, TestBankAccount) else account.behaviour


# Bank debits.


def _debited(
    transaction: Transaction, intent: Object, method: Object, account: TestBankAccount
) -> Object:
    if intent["capture_method"] == "manual":
        raise InvalidRequest("A bank debit cannot be held and captured", param="capture_method")
    if account.course is DebitCourse.BLOCKED:
        raise _declined(transaction, intent, method, BLOCKED)
    charge = charges.new_charge(transaction, intent, method)
    intent |= {
        "last_payment_error": None,
        "latest_charge": charge["id"],
        "next_action": None,
        "status": "processing",
    }
    transaction.save(charge)
    transaction.save(intent)
    if account.settles_after_seconds is not None:
        due = transaction.now + max(account.settles_after_seconds, DEBIT_SECONDS)
        transaction.later(due, "payment_intent.settle", intent["id"])
    announce(transaction, "charge.pending", charge)
    announce(transaction, "payment_intent.processing", intent)
    return intent


def settle(transaction: Transaction, name: str) -> None:
    """A bank debit arrives, or comes back."""
    intent = transaction.get("payment_intent", name)
    if intent["status"] != "processing":
        return
    charge = transaction.get("charge", intent["latest_charge"])
    method = transaction.get("payment_method", charge["payment_method"])
    account = account_of(transaction, method)
    assert isinstance(account, TestBankAccount)  # noqa: S101 - cards are never processing
    if account.course is DebitCourse.FAILS:
        code = account.failure_code or "debit_not_authorized"
        _fail(transaction, intent, method, charge, Decline(code, "", "The bank refused the debit."))
        return
    charge |= {"outcome": charges.outcome(), "paid": True, "status": "succeeded"}
    _taken(transaction, intent, charge)
    _remember(transaction, intent, method)
    if account.course is DebitCourse.SUCCEEDS_THEN_DISPUTED:
        disputes.begin_soon(transaction, charge, BANK_DEBIT_DISPUTE)


# What nobody does.


def expire(transaction: Transaction, name: str) -> None:
    """A hold that nobody captured ends."""
    intent = transaction.get("payment_intent", name)
    if intent["status"] == "requires_capture":
        charge = transaction.get("charge", intent["latest_charge"])
        charges.let_go(transaction, charge)
        refunds.released(transaction, charge, charge["amount"])
        announce(transaction, "charge.expired", charge)
        cancelled(transaction, intent, "automatic")


def cancelled(transaction: Transaction, intent: Object, reason: str | None) -> Object:
    """Record that no money comes of it any more."""
    intent |= {
        "amount_capturable": 0,
        "canceled_at": transaction.now,
        "cancellation_reason": reason,
        "next_action": None,
        "status": "canceled",
    }
    transaction.save(intent)
    announce(transaction, "payment_intent.canceled", intent)
    return intent
