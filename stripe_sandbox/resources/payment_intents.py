"""Payment intents: from the wish for money to the money, by however many charges it takes.

    requires_payment_method -> requires_confirmation -> requires_action -> processing
        -> requires_capture -> succeeded, and from nearly everywhere canceled

A declined charge leads back to requires_payment_method; another method, or the same, may try again.

Source: Stripe guides "How PaymentIntents work", "Place a hold on a payment method" and
"Authenticate with 3D Secure"; API reference, "Payment Intents".
"""

from collections.abc import Sequence

from stripe_sandbox.currencies import AmountRefused, check_amount, check_currency
from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest, NotSimulated, UnexpectedState
from stripe_sandbox.lists import list_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding, merged_metadata
from stripe_sandbox.resources import charges, disputes, refunds
from stripe_sandbox.resources.attempts import Confirmation, attempted, cancelled, succeeded
from stripe_sandbox.resources.events import announce
from stripe_sandbox.resources.payment_methods import usable
from stripe_sandbox.search import search
from stripe_sandbox.urls import checked_url

CURRENCY_OF_DEBITS = {"us_bank_account": "usd", "sepa_debit": "eur"}
"""Bank debits that the account takes, and the one currency that each is in."""

TYPES = ("card", *CURRENCY_OF_DEBITS, "link")
"""Payment method types of the sandbox."""

_PLAIN = (
    "description",
    "receipt_email",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_CANCELLABLE = (*_OPEN, "requires_capture", "processing")


def new_intent(transaction: Transaction, params: Params) -> Object:
    """A new intent, saved and announced, not confirmed. Raises ApiError."""
    amount, currency = _checked_amount(params["amount"], params["currency"])
    name = transaction.new_id("pi")
    automatic = automatic_methods(params)
    customer = params.get("customer")
    if customer is not None:
        transaction.referenced("customer", customer)
    intent: Object = {
        "id": name,
        "object": "payment_intent",
        "allowed_payment_method_types": None,
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": automatic,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": params.get("capture_method", "automatic_async"),
        "client_secret": f"{name}_secret_{transaction.new_id('x')[2:]}",
        "confirmation_method": params.get("confirmation_method", "automatic"),
        "created": transaction.now,
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "excluded_payment_method_types": params.get("excluded_payment_method_types"),
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": params.get("payment_method_options", {}),
        "payment_method_types": method_types(params, automatic, currency),
        "processing": None,
        "review": None,
        "setup_future_usage": params.get("setup_future_usage"),
        "status": "requires_payment_method",
        "transfer_data": None,
        **{field: params.get(field) for field in _PLAIN},
    }
    _choose(transaction, intent, params)
    transaction.save(intent)
    announce(transaction, "payment_intent.created", intent)
    return intent


def _checked_amount(amount: int, currency: str) -> tuple[int, str]:
    try:
        checked = check_currency(currency)
        check_amount(amount, checked)
    except AmountRefused as refused:
        raise InvalidRequest(str(refused), code=refused.code, param=refused.param) from None
    return amount, checked


def automatic_methods(params: Params) -> Object | None:
    """Whether the method may be any that the account has, which is so unless types are named."""
    given: Object | None = params.get("automatic_payment_methods")
    if given is None and "payment_method_types" not in params:
        given = {"enabled": True}
    if given is None:
        return None
    return {"allow_redirects": given.get("allow_redirects", "always"), "enabled": given["enabled"]}


def method_types(
    params: Params, automatic: Object | None, currency: str | None = None
) -> list[str]:
    """The types of payment method that an intent takes. Raises ApiError."""
    types: list[str] | None = params.get("payment_method_types")
    if types is None:
        is_any = automatic is not None and automatic["enabled"]
        types = ["card", "link", *debits_in(currency)] if is_any else ["card"]
    unknown = set(types) - set(TYPES)
    if unknown:
        raise NotSimulated(f"payment_method_types: {', '.join(sorted(unknown))}")
    return allowed_types(types, params)


def debits_in(currency: str | None) -> list[str]:
    """The bank debits that pay in this currency."""
    return [debit for debit, its_own in CURRENCY_OF_DEBITS.items() if its_own == currency]


def allowed_types(types: Sequence[str], params: Params) -> list[str]:
    """Those types that a request does not exclude. Raises InvalidRequest."""
    excluded: list[str] = params.get("excluded_payment_method_types") or []
    allowed = [one for one in types if one not in excluded]
    if not allowed:
        raise InvalidRequest(
            "There is no way to pay that is not excluded", param="excluded_payment_method_types"
        )
    return allowed


def _choose(transaction: Transaction, intent: Object, params: Params) -> None:
    """Take over the payment method that a request names."""
    if params.get("payment_method") is None:
        return
    method = usable(transaction, params["payment_method"], intent["customer"])
    intent["payment_method"] = method["id"]
    if intent["status"] in ("requires_payment_method", "requires_action"):
        intent |= {"next_action": None, "status": "requires_confirmation"}


def _create(transaction: Transaction, ids: Ids, params: Params) -> Object:
    for name in ("off_session", "return_url", "error_on_requires_action"):
        if name in params and not params.get("confirm"):
            raise InvalidRequest(f"{name} goes with confirm=true", param=name)
    intent = new_intent(transaction, params)
    if params.get("confirm"):
        return confirm(transaction, intent, _confirmation(params))
    return intent


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    intent = _retrieve(transaction, ids, {})
    rest = params.keys() - {"metadata", "description", "receipt_email", "shipping", "expand"}
    if intent["status"] not in _OPEN and rest:
        raise _unexpected(intent, "be updated", _OPEN)
    amount = params.get("amount", intent["amount"])
    currency = params.get("currency", intent["currency"])
    intent["amount"], intent["currency"] = _checked_amount(amount, currency)
    if params.get("customer") is not None:
        intent["customer"] = transaction.referenced("customer", params["customer"])["id"]
    for field in (*_PLAIN, "setup_future_usage", "capture_method"):
        if field in params:
            intent[field] = params[field]
    if "metadata" in params:
        intent["metadata"] = merged_metadata(intent["metadata"], params["metadata"])
    _choose(transaction, intent, params)
    transaction.save(intent)
    return intent


def _confirmation(params: Params) -> Confirmation:
    if params.get("return_url") is not None:
        checked_url(params["return_url"], "return_url", of_web=False)
    return Confirmation(
        return_url=params.get("return_url"),
        off_session=bool(params.get("off_session")),
        error_on_requires_action=bool(params.get("error_on_requires_action")),
    )


def _confirm(transaction: Transaction, ids: Ids, params: Params) -> Object:
    intent = _own(transaction, ids, "is confirmed on that session's page")
    for field in ("receipt_email", "shipping", "setup_future_usage", "capture_method"):
        if field in params:
            intent[field] = params[field]
    if "payment_method_options" in params:
        intent["payment_method_options"] = params["payment_method_options"]
    if intent["status"] in _OPEN:
        _choose(transaction, intent, params)
    return confirm(transaction, intent, _confirmation(params))


def confirm(transaction: Transaction, intent: Object, how: Confirmation) -> Object:
    """Try to get the money. Raises CardError, whose effects stay, and other ApiErrors."""
    if intent["status"] not in _OPEN:
        raise _unexpected(intent, "be confirmed", _OPEN)
    if intent["payment_method"] is None:
        raise UnexpectedState(
            "A payment intent without a payment method cannot be confirmed",
            code="payment_intent_unexpected_state",
            payment_intent=intent,
        )
    check_return_url(intent, how)
    return attempted(transaction, intent, how)


def check_return_url(intent: Object, how: Confirmation) -> None:
    """The shopper can come back, if the methods may lead elsewhere. Raises InvalidRequest."""
    automatic = intent["automatic_payment_methods"]
    may_redirect = automatic and automatic["enabled"] and automatic["allow_redirects"] == "always"
    if may_redirect and how.return_url is None and not how.hosted:
        raise InvalidRequest(
            "A payment that may lead the shopper elsewhere needs a return_url;"
            " or set automatic_payment_methods[allow_redirects]=never",
            param="return_url",
        )


def _capture(transaction: Transaction, ids: Ids, params: Params) -> Object:
    intent = _retrieve(transaction, ids, {})
    if intent["status"] != "requires_capture":
        raise _unexpected(intent, "be captured", ("requires_capture",))
    amount = params.get("amount_to_capture", intent["amount_capturable"])
    if not 1 <= amount <= intent["amount_capturable"]:
        raise InvalidRequest(
            f"Between 1 and {intent['amount_capturable']} can be captured, not {amount}",
            code="amount_too_large" if amount > 0 else "parameter_invalid_integer",
            param="amount_to_capture",
        )
    if "metadata" in params:
        intent["metadata"] = merged_metadata(intent["metadata"], params["metadata"])
    charge = transaction.get("charge", intent["latest_charge"])
    charges.take(transaction, charge, amount, booked_later=False)
    if amount < charge["amount"]:
        refunds.released(transaction, charge, charge["amount"] - amount)
    disputes.begin_as_agreed(transaction, charge)
    succeeded(transaction, intent, amount)
    announce(transaction, "charge.captured", charge)
    announce(transaction, "payment_intent.succeeded", intent)
    return intent


def _cancel(transaction: Transaction, ids: Ids, params: Params) -> Object:
    intent = _own(transaction, ids, "is not cancelled; its session is expired")
    return cancel(transaction, intent, params.get("cancellation_reason"))


def _own(transaction: Transaction, ids: Ids, else_it: str) -> Object:
    """The intent, unless it belongs to a session: `else_it` says what is done then.

    Raises UnexpectedState.
    """
    intent = _retrieve(transaction, ids, {})
    if transaction.private(intent["id"]).get("session"):
        raise UnexpectedState(
            f"A payment intent of a Checkout Session {else_it}",
            code="payment_intent_unexpected_state",
            payment_intent=intent,
        )
    return intent


def cancel(transaction: Transaction, intent: Object, reason: str | None) -> Object:
    """No money comes of it any more; what was held is let go. Raises UnexpectedState."""
    if intent["status"] not in _CANCELLABLE:
        raise _unexpected(intent, "be cancelled", _CANCELLABLE)
    if intent["status"] == "requires_capture":
        charge = transaction.get("charge", intent["latest_charge"])
        charges.let_go(transaction, charge)
        refunds.released(transaction, charge, charge["amount"])
        announce(transaction, "charge.refunded", charge)
    elif intent["status"] == "processing":
        charges.called_off(transaction, transaction.get("charge", intent["latest_charge"]))
    return cancelled(transaction, intent, reason)


def _unexpected(intent: Object, done: str, states: tuple[str, ...]) -> UnexpectedState:
    return UnexpectedState(
        f"A payment intent that is {intent['status']} cannot {done};"
        f" only one can that is {' or '.join(states)}",
        code="payment_intent_unexpected_state",
        payment_intent=intent,
    )


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    intent = transaction.get("payment_intent", ids["intent"], "intent")
    secret = params.get("client_secret")
    if secret is not None and secret != intent["client_secret"]:
        raise InvalidRequest(
            "The client_secret is not that of this payment intent", param="client_secret"
        )
    return intent


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return list_of(transaction, "payment_intent", params, "/v1/payment_intents")


def _search(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return search(transaction, "payment_intent", params, "/v1/payment_intents/search")


_ASKED_OF_CARDS = tuple(
    f"payment_method_options.card.{name}" for name in ("request_three_d_secure", "capture_method")
)
_CONFIRMED = (
    "return_url",
    "off_session",
    "error_on_requires_action",
    "payment_method",
    "receipt_email",
    "setup_future_usage",
    "shipping",
    "capture_method",
    *_ASKED_OF_CARDS,
)

OPERATIONS = {
    "POST /v1/payment_intents": heeding(
        _create,
        *_PLAIN,
        *_CONFIRMED,
        "amount",
        "currency",
        "automatic_payment_methods",
        "confirm",
        "confirmation_method",
        "customer",
        "excluded_payment_method_types",
        "metadata",
        "payment_method_types",
    ),
    "GET /v1/payment_intents": heeding(_list, *LISTED, "customer"),
    "GET /v1/payment_intents/search": heeding(_search, "query", "limit", "page"),
    "GET /v1/payment_intents/{intent}": heeding(_retrieve, "client_secret"),
    "POST /v1/payment_intents/{intent}": heeding(
        _update,
        *_PLAIN,
        "amount",
        "currency",
        "customer",
        "metadata",
        "payment_method",
        "setup_future_usage",
        "capture_method",
    ),
    "POST /v1/payment_intents/{intent}/confirm": heeding(_confirm, *_CONFIRMED),
    "POST /v1/payment_intents/{intent}/capture": heeding(_capture, "amount_to_capture", "metadata"),
    "POST /v1/payment_intents/{intent}/cancel": heeding(_cancel, "cancellation_reason"),
}
