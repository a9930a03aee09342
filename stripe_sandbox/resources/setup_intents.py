"""Setup intents: a payment method is made ready to be charged later, without its owner.

    requires_payment_method -> requires_confirmation -> requires_action -> succeeded

and, until it has succeeded, canceled. A decline leads back to requires_payment_method.

Source: Stripe guide "The Setup Intents API"; API reference, "Setup Intents".
"""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

from stripe_sandbox.cards import (
    BLOCKED,
    Authentication,
    Behaviour,
    DebitCourse,
    Decline,
    TestBankAccount,
    TestCard,
)
from stripe_sandbox.certainty import Certainty
from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import CardError, InvalidRequest, UnexpectedState
from stripe_sandbox.lists import list_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding, merged_metadata
from stripe_sandbox.resources import payment_intents
from stripe_sandbox.resources.attempts import Confirmation, back_to, what_to_do
from stripe_sandbox.resources.declines import facts_of
from stripe_sandbox.resources.events import announce
from stripe_sandbox.resources.payment_methods import account_of, attached_to, usable

CERTAINTY: Mapping[str, Certainty] = MappingProxyType(
    {
        "success_attaches_the_method": Certainty.DOCUMENTED,
        "card_that_declines_payments_only_is_set_up": Certainty.ASSUMED,
        "card_that_does_not_attach_is_declined": Certainty.DOCUMENTED,
        "failed_authentication_has_a_code_of_its_own": Certainty.DOCUMENTED,
        "bank_account_is_verified_at_once": Certainty.ASSUMED,
        "bank_account_needs_no_mandate_data": Certainty.ASSUMED,
    }
)
"""How sure each rule of setup intents is."""

_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def new_intent(transaction: Transaction, params: Params) -> Object:
    """A new intent, saved and announced, not confirmed. Raises InvalidRequest."""
    name = transaction.new_id("seti")
    automatic = payment_intents.automatic_methods(params)
    intent: Object = {
        "id": name,
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": automatic,
        "cancellation_reason": None,
        "client_secret": f"{name}_secret_{transaction.new_id('x')[2:]}",
        "created": transaction.now,
        "customer": None,
        "customer_account": None,
        "description": params.get("description"),
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "mandate": None,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": params.get("payment_method_options", {}),
        "payment_method_types": payment_intents.method_types(params, automatic),
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": params.get("usage", "off_session"),
    }
    _choose(transaction, intent, params)
    transaction.save(intent)
    announce(transaction, "setup_intent.created", intent)
    return intent


def _choose(transaction: Transaction, intent: Object, params: Params) -> None:
    """Take over the customer and the payment method that a request names."""
    if params.get("customer") is not None:
        intent["customer"] = transaction.referenced("customer", params["customer"])["id"]
    if params.get("payment_method") is not None:
        method = usable(transaction, params["payment_method"], intent["customer"])
        chosen(transaction, intent, method)


def chosen(transaction: Transaction, intent: Object, method: Object) -> Object:
    """The intent, with the method that is to be set up."""
    intent["payment_method"] = method["id"]
    if intent["status"] == "requires_payment_method":
        intent["status"] = "requires_confirmation"
    return intent


def confirm(transaction: Transaction, intent: Object, how: Confirmation) -> Object:
    """Try to set the method up. Raises CardError, whose effects stay, and other ApiErrors."""
    if intent["status"] not in _OPEN:
        raise _unexpected(intent, "be confirmed")
    if intent["payment_method"] is None:
        raise UnexpectedState(
            "A setup intent without a payment method cannot be confirmed",
            code="setup_intent_unexpected_state",
            setup_intent=intent,
        )
    payment_intents.check_return_url(intent, how)
    method = transaction.get("payment_method", intent["payment_method"])
    if method["type"] not in intent["payment_method_types"]:
        raise InvalidRequest(
            f"The setup intent takes {', '.join(intent['payment_method_types'])},"
            f" not {method['type']}",
            param="payment_method",
        )
    intent["latest_attempt"] = transaction.new_id("setatt")
    account = account_of(transaction, method)
    if isinstance(account, TestBankAccount):
        if account.course is DebitCourse.BLOCKED:
            raise _declined(transaction, intent, method, BLOCKED)
        return _set_up(transaction, intent, method)
    options = (intent["payment_method_options"] or {}).get("card") or {}
    authentication = account.behaviour.authentication(
        requested=options.get("request_three_d_secure", "automatic")
    )
    if authentication is Authentication.CHALLENGE:
        intent |= {"next_action": what_to_do(transaction, intent, how), "status": "requires_action"}
        transaction.save(intent)
        announce(transaction, "setup_intent.requires_action", intent)
        return intent
    was_asked = authentication is Authentication.FAILED
    return _decided(transaction, intent, method, account.behaviour, was_asked=was_asked)


def _decided(
    transaction: Transaction,
    intent: Object,
    method: Object,
    behaviour: Behaviour,
    *,
    was_asked: bool,
) -> Object:
    """What the card's issuer says. Raises CardError.

    A card that declines payments only, such as `pm_card_chargeCustomerFail`, is set up all the
    same, unless its holder was asked before (assumed of those, documented of the others).
    """
    if behaviour.decline is not None and (was_asked or not behaviour.attaches):
        raise _declined(transaction, intent, method, behaviour.decline)
    return _set_up(transaction, intent, method)


def _set_up(transaction: Transaction, intent: Object, method: Object) -> Object:
    intent |= {"last_setup_error": None, "next_action": None, "status": "succeeded"}
    transaction.save(intent)
    transaction.keep_private(method["id"], transaction.private(method["id"]) | {"set_up": True})
    announce(transaction, "setup_intent.succeeded", intent)
    if intent["customer"] is not None:
        attached_to(transaction, method["id"], intent["customer"])
    return intent


def _declined(
    transaction: Transaction, intent: Object, method: Object, decline: Decline
) -> CardError:
    """Record the decline; gives the error that answers the call."""
    facts = {name: value for name, value in facts_of(decline).items() if value is not None}
    error = {**facts, "message": decline.message, "type": "card_error"}
    _failed(transaction, intent, method, error)
    return CardError(
        decline.message, **facts_of(decline), payment_method=method, setup_intent=intent
    )


def _failed(transaction: Transaction, intent: Object, method: Object, error: Object) -> None:
    intent |= {
        "last_setup_error": error | {"payment_method": method},
        "next_action": None,
        "payment_method": None,
        "status": "requires_payment_method",
    }
    transaction.save(intent)
    announce(transaction, "setup_intent.setup_failed", intent)


def authenticated(transaction: Transaction, intent: Object, *, passed: bool) -> str | None:
    """The shopper ends the challenge; where the browser goes then. Raises UnexpectedState."""
    if intent["status"] != "requires_action":
        raise _unexpected(intent, "be authenticated")
    back = (intent["next_action"].get("redirect_to_url") or {}).get("return_url")
    method = transaction.get("payment_method", intent["payment_method"])
    account = account_of(transaction, method)
    assert isinstance(account, TestCard)  # noqa: S101 - only cards ask for 3-D Secure
    if passed and not account.behaviour.three_d_secure_fails:
        with suppress(CardError):  # the intent says so, too
            _decided(transaction, intent, method, account.behaviour, was_asked=True)
    else:
        error = {
            "code": "setup_intent_authentication_failure",
            "message": "The shopper did not authenticate the payment method",
            "type": "invalid_request_error",
        }
        _failed(transaction, intent, method, error)
    return back_to(back, intent, succeeded=intent["status"] == "succeeded")


def cancel(transaction: Transaction, intent: Object, reason: str | None) -> Object:
    """Nothing is set up any more. Raises UnexpectedState."""
    if intent["status"] not in _OPEN:
        raise _unexpected(intent, "be cancelled")
    intent |= {"cancellation_reason": reason, "next_action": None, "status": "canceled"}
    transaction.save(intent)
    announce(transaction, "setup_intent.canceled", intent)
    return intent


def _unexpected(intent: Object, done: str) -> UnexpectedState:
    return UnexpectedState(
        f"A setup intent that is {intent['status']} cannot {done};"
        f" only one can that is {' or '.join(_OPEN)}",
        code="setup_intent_unexpected_state",
        setup_intent=intent,
    )


# Operations.


def _create(transaction: Transaction, ids: Ids, params: Params) -> Object:
    if "return_url" in params and not params.get("confirm"):
        raise InvalidRequest("return_url goes with confirm=true", param="return_url")
    intent = new_intent(transaction, params)
    if params.get("confirm"):
        return confirm(transaction, intent, Confirmation(return_url=params.get("return_url")))
    return intent


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    intent = _retrieve(transaction, ids, {})
    if intent["status"] not in _OPEN and params.keys() - {"metadata", "description", "expand"}:
        raise _unexpected(intent, "be updated")
    if "description" in params:
        intent["description"] = params["description"]
    if "metadata" in params:
        intent["metadata"] = merged_metadata(intent["metadata"], params["metadata"])
    _choose(transaction, intent, params)
    transaction.save(intent)
    return intent


def _confirm(transaction: Transaction, ids: Ids, params: Params) -> Object:
    intent = _own(transaction, ids)
    if "payment_method_options" in params:
        intent["payment_method_options"] = params["payment_method_options"]
    if intent["status"] in _OPEN:
        _choose(transaction, intent, params)
    return confirm(transaction, intent, Confirmation(return_url=params.get("return_url")))


def _cancel(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return cancel(transaction, _own(transaction, ids), params.get("cancellation_reason"))


def _own(transaction: Transaction, ids: Ids) -> Object:
    """The intent, unless it belongs to a session. Raises UnexpectedState."""
    intent = _retrieve(transaction, ids, {})
    if transaction.private(intent["id"]).get("session"):
        raise UnexpectedState(
            "A setup intent of a Checkout Session is confirmed on that session's page, and"
            " cancelled by expiring the session",
            code="setup_intent_unexpected_state",
            setup_intent=intent,
        )
    return intent


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    intent = transaction.get("setup_intent", ids["intent"], "intent")
    if params.get("client_secret", intent["client_secret"]) != intent["client_secret"]:
        raise InvalidRequest(
            "The client_secret is not that of this setup intent", param="client_secret"
        )
    return intent


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return list_of(transaction, "setup_intent", params, "/v1/setup_intents")


_CHOSEN = ("customer", "payment_method")
_THREE_D_SECURE = "payment_method_options.card.request_three_d_secure"

OPERATIONS = {
    "POST /v1/setup_intents": heeding(
        _create,
        *_CHOSEN,
        _THREE_D_SECURE,
        "automatic_payment_methods",
        "confirm",
        "description",
        "metadata",
        "payment_method_types",
        "return_url",
        "usage",
    ),
    "GET /v1/setup_intents": heeding(_list, *LISTED, *_CHOSEN),
    "GET /v1/setup_intents/{intent}": heeding(_retrieve, "client_secret"),
    "POST /v1/setup_intents/{intent}": heeding(_update, *_CHOSEN, "description", "metadata"),
    "POST /v1/setup_intents/{intent}/confirm": heeding(
        _confirm, "payment_method", _THREE_D_SECURE, "return_url"
    ),
    "POST /v1/setup_intents/{intent}/cancel": heeding(_cancel, "cancellation_reason"),
}
