"""Checkout Sessions: an order that is paid, or a method that is set up, on the sandbox's page.

    open -> complete, or expired

A session is complete once its shopper has done their part. The money may come later, or not at all:
a bank debit goes on as processing, and what is held waits for its capture; such a session is
complete and unpaid. Its payment intent is made at the first try to pay, so a session that nobody
touched has none.

Source: Stripe API reference, "Checkout Sessions"; guides "Fulfill orders" and "Place a hold on a
payment method"; changelog of 2022-08-01 (the intent is made when the session is confirmed).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from stripe_sandbox.certainty import Certainty
from stripe_sandbox.currencies import AmountRefused, check_currency
from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest, NotSimulated, UnexpectedState
from stripe_sandbox.lists import given, list_of, page_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding, merged_metadata
from stripe_sandbox.resources import attempts, line_items, payment_intents, setup_intents
from stripe_sandbox.resources.attempts import Confirmation
from stripe_sandbox.resources.customers import new_customer
from stripe_sandbox.resources.events import announce
from stripe_sandbox.resources.payment_intents import CURRENCY_OF_DEBITS

SHORTEST_SECONDS = 30 * 60
LONGEST_SECONDS = 24 * 3600
"""A session is open for so long at least and at most, and for the latter unless told otherwise."""

TYPES = ("card", *CURRENCY_OF_DEBITS)
"""Ways to pay on the page."""

CERTAINTY: Mapping[str, Certainty] = MappingProxyType(
    {
        "intent_is_made_when_the_session_is_confirmed": Certainty.DOCUMENTED,
        "intent_stays_the_same_after_a_decline": Certainty.ASSUMED,
        "setup_intent_is_made_with_the_session": Certainty.ASSUMED,
        "session_lives_30_minutes_to_24_hours": Certainty.DOCUMENTED,
        "at_most_100_lines": Certainty.DOCUMENTED,
        "expanded_lines_are_the_first_ten": Certainty.ASSUMED,
        "prices_of_price_data_are_not_active": Certainty.ASSUMED,
        "metadata_is_not_copied_to_the_intent": Certainty.ASSUMED,
        "held_money_completes_the_session_unpaid": Certainty.ASSUMED,
        "bank_debit_completes_the_session_unpaid": Certainty.DOCUMENTED,
        "intent_of_an_open_session_is_not_cancelled": Certainty.DOCUMENTED,
        "intent_of_a_complete_session_can_be_cancelled": Certainty.ASSUMED,
        "expiry_cancels_the_intent_as_automatic": Certainty.ASSUMED,
        "order_of_nothing_is_complete_without_a_method": Certainty.ASSUMED,
        "customer_is_made_at_the_first_try": Certainty.ASSUMED,
        "kept_method_without_customer_is_attached_to_nobody": Certainty.DOCUMENTED,
        "entered_email_is_set_on_a_customer_without_one": Certainty.DOCUMENTED,
        "mode_is_required": Certainty.DOCUMENTED,
        "types_default_to_those_of_the_account": Certainty.DOCUMENTED,
    }
)
"""How sure each rule of sessions is."""

_OF_INTENTS = (
    "capture_method",
    "description",
    "metadata",
    "receipt_email",
    "setup_future_usage",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)
"""Fields of `payment_intent_data`."""
_PLAIN = ("client_reference_id", "locale", "submit_type")


def _create(transaction: Transaction, ids: Ids, params: Params) -> Object:
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise NotSimulated("ui_mode: any other than hosted_page")
    if "return_url" in params:
        raise InvalidRequest(
            "A hosted page leads to success_url; return_url is for pages that are embedded",
            param="return_url",
        )
    if "success_url" not in params:
        raise InvalidRequest(
            "success_url is required", code="parameter_missing", param="success_url"
        )
    for name in ("success_url", "cancel_url"):
        if name in params:
            check_url(params[name], name)
    lines: list[Object] = []
    match params.get("mode"):
        case "payment":
            lines = line_items.new_lines(transaction, params.get("line_items", ()))
        case "setup":
            _check_setup(params)
        case None:
            raise InvalidRequest("mode is required", code="parameter_missing", param="mode")
        case mode:
            raise NotSimulated(f"mode: {mode}")
    return new_session(transaction, params, lines)


def check_url(url: str, param: str) -> None:
    """A browser can be sent there. Raises InvalidRequest."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequest(
            f"{param} is no URL with http or https", code="url_invalid", param=param
        )


def _check_setup(params: Params) -> None:
    for name in ("line_items", "payment_intent_data", "submit_type"):
        if name in params:
            raise InvalidRequest(f"{name} is for sessions in payment mode", param=name)
    if "currency" not in params and "payment_method_types" not in params:
        raise InvalidRequest(
            "In setup mode currency or payment_method_types is required",
            code="parameter_missing",
            param="currency",
        )


def new_session(
    transaction: Transaction,
    params: Params,
    lines: Sequence[Object],
    link: Object | None = None,
) -> Object:
    """A new session of these lines, or without any to set up a method. Raises InvalidRequest."""
    name = transaction.new_id("cs_test", 58)
    is_payment = bool(lines)
    amount = line_items.total(lines) if is_payment else None
    currency = _currency(params, lines)
    types = _types(params, currency)
    customer = _customer(transaction, params)
    email = customer["email"] if customer else params.get("customer_email")
    session: Object = {
        "id": name,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False} if is_payment else None,
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": amount,
        "amount_total": amount,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "cancel_url": params.get("cancel_url"),
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": transaction.now,
        "currency": currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": customer["id"] if customer else None,
        "customer_account": None,
        "customer_creation": None if customer else params.get("customer_creation", "if_required"),
        "customer_details": _details(email, customer["name"] if customer else None)
        if email
        else None,
        "customer_email": params.get("customer_email"),
        "discounts": [] if is_payment else None,
        "expires_at": _expires_at(transaction, params),
        "invoice": None,
        "invoice_creation": None,
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "mode": "payment" if is_payment else "setup",
        "origin_context": None,
        "payment_intent": None,
        "payment_link": link["id"] if link else None,
        "payment_method_collection": "if_required" if is_payment else "always",
        "payment_method_configuration_details": None,
        "payment_method_options": params.get("payment_method_options", {}),
        "payment_method_types": types,
        "payment_status": "unpaid" if amount else "no_payment_required",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "subscription": None,
        "success_url": params.get("success_url"),
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": f"{transaction.public_url}/c/pay/{name}",
        "wallet_options": None,
        **{field: params.get(field) for field in _PLAIN},
    }
    if not is_payment:
        session["total_details"] = None
        session["setup_intent"] = _new_setup_intent(transaction, session, params)
    transaction.save(session)
    transaction.keep_private(
        name, {"lines": list(lines), "intent": params.get("payment_intent_data", {})}
    )
    transaction.later(session["expires_at"], "checkout.session.expire", name)
    return session


def _currency(params: Params, lines: Sequence[Object]) -> str | None:
    named: str | None = params.get("currency")
    of_lines: str | None = lines[0]["currency"] if lines else None
    if named is None:
        return of_lines
    try:
        checked = check_currency(named)
    except AmountRefused as refused:
        raise InvalidRequest(str(refused), code=refused.code, param="currency") from None
    if of_lines not in (None, checked):
        raise InvalidRequest(
            f"The session is in {checked}, its prices in {of_lines}", param="currency"
        )
    return checked


def _types(params: Params, currency: str | None) -> list[str]:
    """The ways to pay on the page: those asked for, else what the account has for the currency."""
    types: list[str] | None = params.get("payment_method_types")
    if types is None:
        types = ["card", *payment_intents.debits_in(currency)]
    check_types(types, currency)
    return payment_intents.allowed_types(types, params)


def _customer(transaction: Transaction, params: Params) -> Object | None:
    name = params.get("customer")
    if name is None:
        return None
    for other in ("customer_email", "customer_creation"):
        if other in params:
            raise InvalidRequest(
                f"customer and {other} exclude each other",
                code="parameters_exclusive",
                param=other,
            )
    customer = transaction.find(name)
    if customer is None or customer["object"] != "customer":
        raise InvalidRequest(
            f"No such customer: {name!r}", code="resource_missing", param="customer"
        )
    return customer


def _expires_at(transaction: Transaction, params: Params) -> int:
    at: int = params.get("expires_at", transaction.now + LONGEST_SECONDS)
    seconds = at - transaction.now
    if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        raise InvalidRequest(
            "expires_at is 30 minutes to 24 hours after the session is created", param="expires_at"
        )
    return at


def check_types(types: Sequence[str], currency: str | None) -> None:
    """The page has these ways to pay, and they fit the currency. Raises ApiError."""
    if not types:
        raise InvalidRequest(
            "There has to be a way to pay",
            code="parameter_invalid_empty",
            param="payment_method_types",
        )
    for place, one in enumerate(types):
        if one not in TYPES:
            raise NotSimulated(f"payment_method_types: {one}")
        wanted = CURRENCY_OF_DEBITS.get(one, currency)
        if currency not in (None, wanted):
            raise InvalidRequest(
                f"{one} is for {wanted}, not for {currency}", param=f"payment_method_types[{place}]"
            )


def _new_setup_intent(transaction: Transaction, session: Object, params: Params) -> str:
    intent = setup_intents.new_intent(
        transaction,
        {
            "customer": session["customer"],
            "payment_method_types": session["payment_method_types"],
            "payment_method_options": session["payment_method_options"],
            **params.get("setup_intent_data", {}),
        },
    )
    transaction.keep_private(intent["id"], {"session": session["id"]})
    name: str = intent["id"]
    return name


def lines_of(transaction: Transaction, session: Object) -> list[Object]:
    """What a session sells, in the order that was given."""
    lines: list[Object] = transaction.private(session["id"])["lines"]
    return lines


def _included_lines(transaction: Transaction, session: Object) -> Object:
    return _page_of_lines(transaction, session, {"limit": line_items.LINES_INCLUDED})


def _page_of_lines(transaction: Transaction, session: Object, params: Params) -> Object:
    url = f"/v1/checkout/sessions/{session['id']}/line_items"
    return page_of(lines_of(transaction, session), params, url)


INCLUDES = {("checkout.session", "line_items"): _included_lines}
"""See `expansion.Includes`."""


# The shopper's part.


def paid_by(
    transaction: Transaction, session: Object, method: Object | None, shopper: Object
) -> Object:
    """The shopper tries to pay, or to have a method set up; the session, maybe complete.

    `method` is none where there is nothing to pay; `shopper` has the `email` and `name` that were
    entered. Where something is left to do, the intent says so by its `next_action`. Raises
    CardError, whose effects stay, and UnexpectedState where the session is not open.
    """
    if session["status"] != "open":
        raise UnexpectedState(f"This session is {session['status']}")
    private = transaction.private(session["id"]) | {"shopper": shopper}
    transaction.keep_private(session["id"], private)
    if method is None:
        session["customer"] = _payer(transaction, session)
        return _complete(transaction, session)
    how = Confirmation(
        hosted=True, return_url=f"{transaction.public_url}/c/pay/{session['id']}/return"
    )
    if session["mode"] == "setup":
        intent = transaction.get("setup_intent", session["setup_intent"])
        intent["customer"] = _payer(transaction, session)
        intent = setup_intents.confirm(
            transaction, setup_intents.chosen(transaction, intent, method), how
        )
    else:
        intent = _intent(transaction, session)
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
        intent = payment_intents.confirm(transaction, intent, how)
    return followed(transaction, intent) or session


def _intent(transaction: Transaction, session: Object) -> Object:
    """The payment intent of the session; made at the first try."""
    if session["payment_intent"] is not None:
        return transaction.get("payment_intent", session["payment_intent"])
    intent = payment_intents.new_intent(
        transaction,
        {
            "amount": session["amount_total"],
            "currency": session["currency"],
            "payment_method_types": session["payment_method_types"],
            "payment_method_options": session["payment_method_options"],
            **transaction.private(session["id"])["intent"],
            "customer": _payer(transaction, session),
        },
    )
    transaction.keep_private(intent["id"], {"session": session["id"]})
    session["payment_intent"] = intent["id"]
    transaction.save(session)
    return intent


def _payer(transaction: Transaction, session: Object) -> str | None:
    """The customer who pays, made where the session asks for one."""
    private = transaction.private(session["id"])
    known: str | None = session["customer"] or private.get("customer")
    if known is not None or session["customer_creation"] != "always":
        return known
    made: str = new_customer(transaction, private["shopper"])["id"]
    transaction.keep_private(session["id"], private | {"customer": made})
    return made


def _details(email: str | None, name: str | None) -> Object:
    return {
        "address": None,
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": name,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }


def followed(transaction: Transaction, intent: Object) -> Object | None:
    """The session of an intent, completed if its shopper has done their part by now.

    None if the intent is of no session that is open.
    """
    name = transaction.private(intent["id"]).get("session")
    if name is None:
        return None
    session = transaction.get("checkout.session", name)
    if intent["status"] in attempts.PAID:
        # What is left to do, to capture or cancel what is held, is done on the intent itself.
        transaction.keep_private(intent["id"], {})
        return _complete(transaction, session, intent)
    return session


def _complete(transaction: Transaction, session: Object, intent: Object | None = None) -> Object:
    shopper = transaction.private(session["id"])["shopper"]
    session |= {
        "customer_details": _details(shopper["email"], shopper["name"]),
        "customer": intent["customer"] if intent else session["customer"],
        "status": "complete",
        "url": None,
    }
    if session["mode"] == "payment" and intent is not None and intent["status"] == "succeeded":
        session["payment_status"] = "paid"
    transaction.save(session)
    _tell_email(transaction, session["customer"], shopper["email"])
    announce(transaction, "checkout.session.completed", session)
    return session


def _tell_email(transaction: Transaction, name: str | None, email: str) -> None:
    """A customer without an email address has the one that was entered."""
    customer = transaction.find(name) if name else None
    if customer is not None and customer["email"] is None:
        customer["email"] = email
        transaction.save(customer)
        announce(transaction, "customer.updated", customer, {"email": None})


# What nobody does.


def settle(transaction: Transaction, name: str) -> None:
    """A bank debit arrives, or comes back; its session says so, if it has one."""
    before = transaction.get("payment_intent", name)["status"]
    attempts.settle(transaction, name)
    after = transaction.get("payment_intent", name)["status"]
    if before != "processing":
        return
    for session in transaction.all_of("checkout.session", payment_intent=name):
        if after == "succeeded":
            session["payment_status"] = "paid"
            transaction.save(session)
            announce(transaction, "checkout.session.async_payment_succeeded", session)
        else:
            announce(transaction, "checkout.session.async_payment_failed", session)


def expire(transaction: Transaction, name: str) -> None:
    """A session that was not completed in its time ends."""
    session = transaction.get("checkout.session", name)
    if session["status"] == "open":
        _expired(transaction, session)


def _expired(transaction: Transaction, session: Object) -> Object:
    """Nothing can be paid any more; what its intent began is cancelled."""
    if session["payment_intent"] is not None:
        intent = transaction.get("payment_intent", session["payment_intent"])
        payment_intents.cancel(transaction, intent, "automatic")
    if session["setup_intent"] is not None:
        intent = transaction.get("setup_intent", session["setup_intent"])
        setup_intents.cancel(transaction, intent, None)
    session |= {"status": "expired", "url": None}
    transaction.save(session)
    announce(transaction, "checkout.session.expired", session)
    return session


# Operations.


def _expire(transaction: Transaction, ids: Ids, params: Params) -> Object:
    session = _retrieve(transaction, ids, {})
    if session["status"] != "open":
        raise InvalidRequest(
            f"Only a session that is open can be expired; this one is {session['status']}"
        )
    return _expired(transaction, session)


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return transaction.get("checkout.session", ids["session"], "session")


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    session = _retrieve(transaction, ids, {})
    if "metadata" in params:
        session["metadata"] = merged_metadata(session["metadata"], params["metadata"])
    transaction.save(session)
    return session


def _lines(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return _page_of_lines(transaction, _retrieve(transaction, ids, {}), params)


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    fields: dict[str, Any] = given(params, "payment_link", "status")
    if "customer_details" in params:
        fields["customer_details.email"] = params["customer_details"]["email"]
    return list_of(transaction, "checkout.session", params, "/v1/checkout/sessions", **fields)


OPERATIONS = {
    "POST /v1/checkout/sessions": heeding(
        _create,
        *line_items.HEEDED,
        *_PLAIN,
        *(f"payment_intent_data.{name}" for name in _OF_INTENTS),
        "cancel_url",
        "currency",
        "customer",
        "customer_creation",
        "customer_email",
        "excluded_payment_method_types",
        "expires_at",
        "metadata",
        "mode",
        "payment_method_options.card.request_three_d_secure",
        "payment_method_types",
        "return_url",
        "setup_intent_data.description",
        "setup_intent_data.metadata",
        "success_url",
        "ui_mode",
    ),
    "GET /v1/checkout/sessions": heeding(
        _list,
        *LISTED,
        "customer",
        "customer_details.email",
        "payment_intent",
        "payment_link",
        "status",
    ),
    "GET /v1/checkout/sessions/{session}": heeding(_retrieve),
    "POST /v1/checkout/sessions/{session}": heeding(_update, "metadata"),
    "POST /v1/checkout/sessions/{session}/expire": heeding(_expire),
    "GET /v1/checkout/sessions/{session}/line_items": heeding(
        _lines, "limit", "starting_after", "ending_before"
    ),
}
