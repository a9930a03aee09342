"""Payment methods: test cards and test bank accounts, by their names and tokens.

`pm_card_visa` and the like are taken wherever a payment method is; each time a new one is made.
No number of a card is taken by the API; the hosted page alone takes those of test cards.

Source: Stripe API reference, "Payment Methods"; guide "Testing".
"""

from hashlib import sha256
from typing import Any

from stripe_sandbox.cards import (
    TestBankAccount,
    TestCard,
    UnknownTestCard,
    bank_account_of_name,
    bank_account_of_number,
    card_of_name,
    card_of_number,
)
from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import (
    InvalidRequest,
    NotAttached,
    RawCardNumber,
    ReferenceMissing,
    ResourceMissing,
)
from stripe_sandbox.lists import list_of
from stripe_sandbox.operations import LISTED, Ids, Params, heeding, merged_metadata
from stripe_sandbox.resources.declines import facts_of
from stripe_sandbox.resources.events import announce

Account = TestCard | TestBankAccount
"""What a payment method stands for."""

EXPIRES_AFTER_YEARS = 4
"""A test card by name is good for so long."""
SECONDS_OF_A_YEAR = 31_556_952


def new_method(
    transaction: Transaction,
    account: Account,
    *,
    billing: Object | None = None,
    metadata: dict[str, str] | None = None,
    cvc_given: bool = False,
    expiry: tuple[int, int] | None = None,
) -> Object:
    """A payment method that stands for a test account; saved, attached to nobody.

    `expiry` is month and year of a card.
    """
    given = billing or {}
    method: Object = {
        "id": transaction.new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            name: given.get(name) for name in ("address", "email", "name", "phone", "tax_id")
        },
        "created": transaction.now,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": metadata or {},
    }
    if isinstance(account, TestCard):
        year = 1970 + transaction.now // SECONDS_OF_A_YEAR + EXPIRES_AFTER_YEARS
        month_and_year = expiry or (transaction.now // (SECONDS_OF_A_YEAR // 12) % 12 + 1, year)
        method |= {"type": "card", "card": _card(account, cvc_given, *month_and_year)}
    else:
        method |= {"type": account.kind, account.kind: _bank_account(account)}
    transaction.save(method)
    transaction.keep_private(method["id"], {"account": _name_of(account)})
    return method


def _name_of(account: Account) -> str:
    """By what `account_of` finds it again: its number, or a name where it has none."""
    if isinstance(account, TestCard) and account.number is None:
        return account.payment_methods[0]
    return account.number or ""


def _card(card: TestCard, cvc_given: bool, month: int, year: int) -> Object:
    return {
        "brand": card.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": card.behaviour.checks.cvc if cvc_given else None,
        },
        "country": card.country,
        "display_brand": card.brand,
        "exp_month": month,
        "exp_year": year,
        "fingerprint": _fingerprint(card.number or card.stems[0]),
        "funding": card.funding,
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": list(card.networks), "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def _bank_account(account: TestBankAccount) -> Object:
    if account.kind == "sepa_debit":
        return {
            "bank_code": account.number[4:9],
            "branch_code": "",
            "country": account.country,
            "fingerprint": _fingerprint(account.number),
            "generated_from": {"charge": None, "setup_attempt": None},
            "last4": account.last4,
        }
    return {
        "account_holder_type": "individual",
        "account_type": "checking",
        "bank_name": "STRIPE TEST BANK",
        "financial_connections_account": None,
        "fingerprint": _fingerprint(account.number),
        "last4": account.last4,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": "110000000",
        "status_details": {},
    }


def _fingerprint(number: str) -> str:
    return sha256(number.encode()).hexdigest()[:16]


def account_of(transaction: Transaction, method: Object) -> Account:
    """The test account that a payment method stands for."""
    kept: str = transaction.private(method["id"])["account"]
    if method["type"] == "card":
        return card_of_number(kept) if kept.isdigit() else card_of_name(kept)
    return bank_account_of_number(kept)


def usable(
    transaction: Transaction, name: str, customer: str | None, param: str = "payment_method"
) -> Object:
    """The payment method of an id, or a new one of a test name. Raises InvalidRequest."""
    account = _test_account(name)
    if account is not None:
        return _made(transaction, account)
    method = transaction.referenced("payment_method", name, param)
    if method["customer"] is not None and method["customer"] != customer:
        raise InvalidRequest(
            f"{name} belongs to a customer; the payment has to name that customer", param=param
        )
    if transaction.private(name).get("consumed"):
        raise InvalidRequest(
            f"{name} was used for a payment without being attached to a customer, and may not"
            " be used again",
            param=param,
        )
    return method


def _made(transaction: Transaction, account: Account) -> Object:
    if isinstance(account, TestBankAccount) and account.creation_error is not None:
        raise InvalidRequest("The bank takes no debits", code=account.creation_error)
    return new_method(transaction, account)


def _test_account(name: str) -> Account | None:
    for find in (card_of_name, bank_account_of_name):
        try:
            return find(name)
        except UnknownTestCard:
            continue
    return None


def consumed(transaction: Transaction, method: Object) -> None:
    """A method that nobody keeps has paid, and may not pay again."""
    private = transaction.private(method["id"])
    transaction.keep_private(method["id"], private | {"consumed": True})


def attached_to(transaction: Transaction, name: str, customer: str) -> Object:
    """Keep a method for a customer. Raises NotAttached and InvalidRequest."""
    method = usable(transaction, name, customer)
    if method["customer"] == customer:
        return method
    account = account_of(transaction, method)
    if isinstance(account, TestCard) and not account.behaviour.attaches:
        decline = account.behaviour.decline
        assert decline is not None  # noqa: S101 - a card that does not attach says why
        raise NotAttached(decline.message, **facts_of(decline))
    method["customer"] = customer
    transaction.save(method)
    announce(transaction, "payment_method.attached", method)
    return method


def _create(transaction: Transaction, ids: Ids, params: Params) -> Object:
    kind = params.get("type")
    facts = params.get(kind or "", {})
    if kind == "card":
        if facts.keys() != {"token"}:
            raise RawCardNumber
        account = _test_account(facts["token"])
        named = facts["token"].startswith("tok_")
    elif kind in ("us_bank_account", "sepa_debit"):
        number = facts.get("account_number") or facts.get("iban", "").replace(" ", "")
        account = _test_bank_account(number)
        named = account is not None and account.kind == kind
    else:
        raise InvalidRequest(f"The sandbox has no payment method of type {kind}", param="type")
    if account is None or not named:
        raise InvalidRequest("Not one of Stripe's test accounts", param=kind)
    if isinstance(account, TestBankAccount) and account.creation_error is not None:
        raise InvalidRequest("The bank takes no debits", code=account.creation_error, param=kind)
    return new_method(
        transaction,
        account,
        billing=params.get("billing_details"),
        metadata=merged_metadata(None, params.get("metadata", {})),
    )


def _test_bank_account(number: str) -> TestBankAccount | None:
    try:
        return bank_account_of_number(number)
    except UnknownTestCard:
        return None


def _retrieve(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return transaction.get("payment_method", ids["payment_method"], "payment_method")


def _of_customer(transaction: Transaction, ids: Ids, params: Params) -> Object:
    method = _retrieve(transaction, ids, params)
    if method["customer"] != ids["customer"]:
        raise ResourceMissing("payment_method", method["id"], "payment_method")
    return method


def _update(transaction: Transaction, ids: Ids, params: Params) -> Object:
    method = _retrieve(transaction, ids, {})
    before: dict[str, Any] = {}
    if "metadata" in params:
        before["metadata"] = method["metadata"]
        method["metadata"] = merged_metadata(method["metadata"], params["metadata"])
    if "billing_details" in params:
        before["billing_details"] = method["billing_details"]
        method["billing_details"] = method["billing_details"] | params["billing_details"]
    transaction.save(method)
    announce(transaction, "payment_method.updated", method, before)
    return method


def _attach(transaction: Transaction, ids: Ids, params: Params) -> Object:
    if "customer" not in params:
        raise InvalidRequest(
            "A method is attached to a customer", code="parameter_missing", param="customer"
        )
    customer = transaction.referenced("customer", params["customer"])["id"]
    try:
        return attached_to(transaction, ids["payment_method"], customer)
    except ReferenceMissing:
        raise ResourceMissing("payment_method", ids["payment_method"], "payment_method") from None


def _detach(transaction: Transaction, ids: Ids, params: Params) -> Object:
    method = _retrieve(transaction, ids, {})
    if method["customer"] is None:
        raise InvalidRequest("The payment method is attached to no customer")
    before, method["customer"] = method["customer"], None
    transaction.save(method)
    consumed(transaction, method)
    _no_default_any_more(transaction, before, method["id"])
    announce(transaction, "payment_method.detached", method, {"customer": before})
    return method


def _no_default_any_more(transaction: Transaction, customer: str, name: str) -> None:
    """A customer whose default method was detached has none."""
    owner = transaction.get("customer", customer)
    if owner["invoice_settings"]["default_payment_method"] == name:
        owner["invoice_settings"]["default_payment_method"] = None
        transaction.save(owner)


def _list(transaction: Transaction, ids: Ids, params: Params) -> Object:
    return list_of(transaction, "payment_method", params, "/v1/payment_methods")


OPERATIONS = {
    "POST /v1/payment_methods": heeding(
        _create,
        "type",
        "card",
        "us_bank_account",
        "sepa_debit",
        "billing_details",
        "metadata",
    ),
    "GET /v1/payment_methods": heeding(_list, *LISTED, "customer", "type"),
    "GET /v1/payment_methods/{payment_method}": heeding(_retrieve),
    "POST /v1/payment_methods/{payment_method}": heeding(_update, "metadata", "billing_details"),
    "POST /v1/payment_methods/{payment_method}/attach": heeding(_attach, "customer"),
    "POST /v1/payment_methods/{payment_method}/detach": heeding(_detach),
    "GET /v1/customers/{customer}/payment_methods/{payment_method}": heeding(_of_customer),
}
