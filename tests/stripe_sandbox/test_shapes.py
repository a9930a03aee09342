"""The checker of shapes takes what Stripe returns, and nothing else."""

from typing import Any

import pytest
from stripe._api_version import _ApiVersion

from tests.stripe_sandbox import extract
from tests.stripe_sandbox.shapes import API_VERSION, DATA, assert_error_shape, assert_shape

Object = dict[str, Any]

CUSTOMER: Object = {
    "id": "cus_1",
    "object": "customer",
    "created": 1_700_000_000,
    "livemode": False,
    "address": None,
    "email": "a@example.com",
    "metadata": {"order": "1"},
}
PAYMENT_METHOD: Object = {
    "id": "pm_1",
    "object": "payment_method",
    "billing_details": {
        "address": None,
        "email": None,
        "name": "A",
        "phone": None,
        "tax_id": None,
    },
    "card": {
        "brand": "visa",
        "checks": None,
        "country": "US",
        "exp_month": 12,
        "exp_year": 2040,
        "fingerprint": "f",
        "funding": "credit",
        "generated_from": None,
        "last4": "4242",
        "networks": {"available": ["visa"], "preferred": None},
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    },
    "created": 1_700_000_000,
    "customer": None,
    "livemode": False,
    "metadata": {},
    "type": "card",
}
INTENT: Object = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 2000,
    "created": 1_700_000_000,
    "currency": "eur",
    "customer": "cus_1",
    "livemode": False,
    "metadata": {},
    "payment_method": None,
    "payment_method_types": ["card"],
    "status": "requires_payment_method",
}
DELETED: Object = {"id": "cus_1", "object": "customer", "deleted": True}
ERROR: Object = {
    "error": {
        "type": "invalid_request_error",
        "code": "parameter_missing",
        "message": "m",
        "param": "amount",
    }
}


def listed(*elements: Object, **more: Any) -> Object:
    """A page of `elements`."""
    page: Object = {"object": "list", "url": "/v1/x", "has_more": False, "data": list(elements)}
    return page | more


def event(about: Object) -> Object:
    """An event about an object."""
    return {
        "id": "evt_1",
        "object": "event",
        "api_version": API_VERSION,
        "created": 1_700_000_000,
        "data": {"object": about, "previous_attributes": {"amount": 1}},
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": "req_1", "idempotency_key": None},
        "type": "payment_intent.created",
    }


def differences(answer: Object) -> str:
    """What the checker says of an answer that it refuses."""
    with pytest.raises(AssertionError) as caught:
        assert_shape(answer)
    return str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        CUSTOMER,
        DELETED,
        PAYMENT_METHOD,
        INTENT,
        {**INTENT, "customer": CUSTOMER, "payment_method": PAYMENT_METHOD},
        {**INTENT, "customer": DELETED},
        {**INTENT, "last_payment_error": {**ERROR["error"], "payment_method": PAYMENT_METHOD}},
        listed(),
        listed(CUSTOMER, CUSTOMER),
        listed(INTENT, object="search_result", next_page=None, total_count=1),
        event(INTENT),
        event({**INTENT, "customer": None}),
    ],
)
def test_what_stripe_returns_passes(answer: Object) -> None:
    assert_shape(answer)


@pytest.mark.parametrize(
    ("answer", "difference"),
    [
        ({**CUSTOMER, "mail": "x"}, "$: Stripe's object has no field mail"),
        ({**DELETED, "email": None}, "$: Stripe's object has no field email"),
        ({**INTENT, "amount": "2000"}, '$.amount: "2000" is not of the type integer'),
        ({**INTENT, "amount": 1.5}, "$.amount: 1.5 is not of the type integer"),
        ({**INTENT, "metadata": {"n": 1}}, "$.metadata.n: 1 is not of the type string"),
        (
            {key: INTENT[key] for key in INTENT if key != "status"},
            "$: missing status",
        ),
        (
            {**INTENT, "customer": {**CUSTOMER, "mail": "x"}},
            "$.customer: Stripe's object has no field mail",
        ),
        (
            {**INTENT, "customer": {**DELETED, "email": "x"}},
            "$.customer: Stripe's object has no field email",
        ),
        (
            {**INTENT, "customer": 5},
            "$.customer: 5 is none of ['string', '#/$defs/customer', '#/$defs/deleted_customer',"
            " 'null']",
        ),
        (
            {**INTENT, "last_payment_error": {**ERROR["error"], "reason": "x"}},
            "$.last_payment_error: Stripe's object has no field reason",
        ),
        (
            {**PAYMENT_METHOD, "card": {**PAYMENT_METHOD["card"], "exp_year": None}},
            "$.card.exp_year: null is not of the type integer",
        ),
        ({**PAYMENT_METHOD, "klarna": {}}, "$: Stripe's object has no field klarna"),
        (
            listed(CUSTOMER, {**CUSTOMER, "mail": "x"}),
            "$.data[1]: Stripe's object has no field mail",
        ),
        (
            listed(CUSTOMER, INTENT),
            "$.data: objects of several kinds in one list: customer, payment_intent",
        ),
        (listed(CUSTOMER, page=1), "$: Stripe's object has no field page"),
        (listed({"id": 1}), "$.data[0]: not an object of a kind that the sandbox has: None"),
        (
            event({**INTENT, "amont": 1}),
            "$.data.object: Stripe's object has no field amont",
        ),
        ({"object": "invoice"}, "$: not an object of a kind that the sandbox has: 'invoice'"),
    ],
)
def test_what_stripe_does_not_return_fails_with_its_path_and_reason(
    answer: Object, difference: str
) -> None:
    assert differences(answer) == difference


def test_all_differences_are_told_at_once() -> None:
    assert differences({**INTENT, "amount": "x", "mail": 1}).splitlines() == [
        '$.amount: "x" is not of the type integer',
        "$: Stripe's object has no field mail",
    ]


def test_an_unknown_state_fails() -> None:
    assert differences({**INTENT, "status": "paid"}).startswith("$.status: 'paid' is not one of")


def test_resources_that_the_sandbox_has_not_are_refused() -> None:
    card = {"object": "card", "id": "card_1"}
    assert_shape({**CUSTOMER, "sources": listed()})
    assert differences({**CUSTOMER, "sources": listed(card)}) == (
        "$.sources.data[0]: the sandbox does not have what is here: "
        '{"object": "card", "id": "card_1"}'
    )
    error = {**ERROR["error"], "source": card}
    assert differences({**INTENT, "last_payment_error": error}) == (
        "$.last_payment_error.source: the sandbox does not have what is here: "
        '{"object": "card", "id": "card_1"}'
    )


def test_an_error_has_stripes_shape_or_fails() -> None:
    assert_error_shape(ERROR)
    with pytest.raises(AssertionError, match="no field detail"):
        assert_error_shape({"error": {**ERROR["error"], "detail": "x"}})
    with pytest.raises(AssertionError, match=r"^\$\.error: missing type$"):
        assert_error_shape({"error": {"message": "m"}})
    with pytest.raises(AssertionError, match="missing error"):
        assert_error_shape({})


def test_the_sdk_speaks_the_version_whose_shapes_these_are() -> None:
    assert API_VERSION == _ApiVersion.CURRENT


def test_each_object_of_the_sandbox_has_a_schema() -> None:
    names = {name for kind in DATA["objects"].values() for name in kind}
    assert names < DATA["$defs"].keys()
    assert DATA["objects"] == extract.RESOURCES | {kind: [kind] for kind in extract.LISTS}


@pytest.mark.parametrize(
    ("schema", "extracted"),
    [
        ({"type": "string", "enum": ["", "a"]}, {"type": "string", "enum": ["a"], "unset": True}),
        (
            {"anyOf": [{"type": "integer"}, {"type": "string", "enum": [""]}], "description": "x"},
            {"type": "integer", "unset": True},
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": "metadata"},
        ),
        (
            {"type": "object", "properties": {"description": {"type": "boolean"}}},
            {"type": "object", "properties": {"description": {"type": "boolean"}}},
        ),
    ],
)
def test_parameters_are_extracted_without_prose(schema: Object, extracted: Object) -> None:
    assert extract.parameter(schema) == extracted
