"""Forms are read as Stripe reads them, and what Stripe refuses is refused with its error."""

import contextlib
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe._api_version import _ApiVersion
from stripe._encode import _api_encode

from stripe_sandbox.parameters import (
    API_VERSION,
    FORM_BYTES,
    FORM_NAME_LEVELS,
    FORM_PAIRS,
    METADATA_KEY_CHARACTERS,
    METADATA_KEYS,
    METADATA_VALUE_CHARACTERS,
    OPERATIONS,
    BlankString,
    EmptyParameter,
    EmptyString,
    InvalidChoice,
    InvalidInteger,
    InvalidMetadata,
    InvalidParameter,
    MalformedForm,
    MissingParameter,
    TooLong,
    UnknownParameter,
    WrongType,
    checked,
    decode_form,
)

INTENT = "POST /v1/payment_intents"
AMOUNT = {"amount": 2000, "currency": "eur"}


def encoded(params: dict[str, Any]) -> bytes:
    """The body that the SDK sends for `params`."""
    return urlencode(list(_api_encode(params))).encode()


def sent(operation: str, params: dict[str, Any]) -> dict[str, Any]:
    """What the sandbox understands when the SDK sends `params`."""
    return checked(operation, decode_form(encoded(params)))


def refused(operation: str, params: dict[str, Any]) -> InvalidParameter:
    """The error for `params`."""
    with pytest.raises(InvalidParameter) as caught:
        sent(operation, params)
    return caught.value


# Forms


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"", {}),
        (b"&a=1&&", {"a": "1"}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a", {"a": ""}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a[b]=1&a[c][d]=2", {"a": {"b": "1", "c": {"d": "2"}}}),
        (b"a%5Bb%5D=1", {"a": {"b": "1"}}),
        (b"expand[]=x&expand[]=y", {"expand": ["x", "y"]}),
        (b"expand[0]=x&expand[1]=y", {"expand": ["x", "y"]}),
        (b"expand[1]=y&expand[0]=x", {"expand": ["x", "y"]}),
        (b"a[0][b]=1&a[1][b]=2&a[0][c]=3", {"a": [{"b": "1", "c": "3"}, {"b": "2"}]}),
        (b"a[][b]=1&a[][c]=2&a[][b]=3", {"a": [{"b": "1", "c": "2"}, {"b": "3"}]}),
        (b"a[][b][]=1&a[][b][]=2&a[][c]=3", {"a": [{"b": ["1", "2"], "c": "3"}]}),
        (b"a[3]=x&a[7]=y", {"a": {"3": "x", "7": "y"}}),
        (b"0=x", {"0": "x"}),
        (b"name=J%C3%BCrgen+M%C3%BCller%2B1", {"name": "Jürgen Müller+1"}),
        ("name=Jürgen".encode(), {"name": "Jürgen"}),
        (b"discount=100%", {"discount": "100%"}),
    ],
)
def test_forms_nest_as_their_brackets_say(body: bytes, form: dict[str, Any]) -> None:
    assert decode_form(body) == form


@pytest.mark.parametrize(
    "body",
    [
        b"name=%FF",
        b"name=\xff",
        b"na%FFme=1",
        b"=1",
        b"[a]=1",
        b"a[b=1",
        b"a]=1",
        b"a[b]c=1",
        b"a[[b]]=1",
        b"metadata[a[b]]=1",
        b"a=1&a=2",
        b"a[0]=1&a[0]=2",
        b"a=1&a[b]=2",
        b"a[b]=1&a=2",
        b"a[]=1&a[b]=2",
        b"a[]=1&a[0]=2",
        b"a[]=1&a[][b]=2",
        b"a[][b]=1&a[]=2",
        b"a" + b"[b]" * FORM_NAME_LEVELS + b"=1",
        b"a" * 501 + b"=1",
        b"a[]=1&" * FORM_PAIRS,
        b"a=" + b"1" * FORM_BYTES,
    ],
    ids=lambda body: body[:20].decode(errors="replace"),
)
def test_a_form_that_cannot_be_understood_is_not_guessed_at(body: bytes) -> None:
    with pytest.raises(MalformedForm) as caught:
        decode_form(body)
    assert caught.value.code is None
    assert str(caught.value)


def test_a_form_at_its_limits_is_still_read() -> None:
    assert len(decode_form(b"&".join(b"a%d=1" % n for n in range(FORM_PAIRS)))) == FORM_PAIRS
    assert decode_form(b"a" + b"[b]" * (FORM_NAME_LEVELS - 1) + b"=1")
    assert decode_form(b"a=" + b"1" * (FORM_BYTES - 2))


def keys() -> st.SearchStrategy[str]:
    """What may stand between brackets."""
    return st.text(
        st.characters(codec="utf-8", exclude_characters="[]"),
        min_size=1,
        max_size=8,
    )


def names() -> st.SearchStrategy[str]:
    """Names that are not numbers: a form cannot tell those apart from places in a list."""
    return keys().filter(lambda name: not name.isdigit())


def nested(levels: int) -> st.SearchStrategy[Any]:
    """What the SDK may be given as the value of a parameter."""
    leaves = st.text(max_size=12) | st.integers()
    if levels == 0:
        return leaves
    inner = nested(levels - 1)
    return (
        leaves
        | st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(names(), inner, min_size=1, max_size=3)
    )


def as_text(value: Any) -> Any:
    """`value` with the strings that the SDK sends for it."""
    match value:
        case dict():
            return {key: as_text(each) for key, each in value.items()}
        case list():
            return [as_text(each) for each in value]
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


@given(st.dictionaries(names(), nested(levels=3), max_size=4))
def test_what_the_sdk_encodes_is_decoded_to_the_same(params: dict[str, Any]) -> None:
    assert decode_form(encoded(params)) == as_text(params)


@given(st.booleans())
def test_the_sdk_and_the_sandbox_agree_on_booleans(confirm: bool) -> None:
    assert sent(INTENT, {**AMOUNT, "confirm": confirm})["confirm"] is confirm


@given(
    st.dictionaries(
        keys(),
        st.text(min_size=1, max_size=12),
        max_size=8,
    )
)
def test_metadata_survives_whatever_its_keys_are(metadata: dict[str, str]) -> None:
    assert sent(INTENT, {**AMOUNT, "metadata": metadata}).get("metadata", {}) == metadata


@given(st.binary(max_size=200) | st.text("ab01[]=&+%", max_size=60).map(str.encode))
def test_no_body_does_worse_than_be_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidParameter):
        checked(INTENT, decode_form(body))


# Values


def test_an_intent_is_read_with_the_types_that_its_parameters_have() -> None:
    assert sent(
        INTENT,
        {
            **AMOUNT,
            "confirm": True,
            "payment_method_types": ["card", "link"],
            "metadata": {"order": "1"},
            "shipping": {"name": "A", "address": {"line1": "B", "country": "DE"}},
            "mandate_data": {
                "customer_acceptance": {
                    "type": "online",
                    "online": {"ip_address": "127.0.0.1", "user_agent": "x"},
                }
            },
        },
    ) == {
        "amount": 2000,
        "currency": "eur",
        "confirm": True,
        "payment_method_types": ["card", "link"],
        "metadata": {"order": "1"},
        "shipping": {"name": "A", "address": {"line1": "B", "country": "DE"}},
        "mandate_data": {
            "customer_acceptance": {
                "type": "online",
                "online": {"ip_address": "127.0.0.1", "user_agent": "x"},
            }
        },
    }


def test_a_checkout_session_with_prices_of_its_own_is_read() -> None:
    line = {
        "price_data": {
            "currency": "kwd",
            "unit_amount": 1_000,
            "product_data": {"name": "Tea", "metadata": {"sku": "T-1"}},
        },
        "quantity": 2,
    }
    session = {"mode": "payment", "line_items": [line, line], "success_url": "https://a.example/"}
    assert sent("POST /v1/checkout/sessions", session) == session


def test_a_query_is_checked_like_a_form() -> None:
    query = {"limit": 3, "created": {"gte": 1_700_000_000}, "expand": ["data.customer"]}
    assert sent("GET /v1/charges", query) == query
    assert sent("GET /v1/charges", {"created": 5}) == {"created": 5}
    assert refused("GET /v1/charges", {"created": {"after": 5}}).param == "created[after]"
    assert refused("GET /v1/charges/search", {}).param == "query"


def test_a_token_stands_for_a_card_where_card_details_may_also_stand() -> None:
    card = {"type": "card", "card": {"token": "tok_visa"}}
    assert sent("POST /v1/payment_methods", card) == card
    error = refused("POST /v1/payment_methods", {"card": {"number": "4", "exp_month": 1}})
    assert (error.code, error.param) == ("parameter_missing", "card[exp_year]")


def test_off_session_is_a_boolean_or_one_of_two_words() -> None:
    assert sent(INTENT, {**AMOUNT, "off_session": True})["off_session"] is True
    assert sent(INTENT, {**AMOUNT, "off_session": "one_off"})["off_session"] == "one_off"
    assert isinstance(refused(INTENT, {**AMOUNT, "off_session": "yes"}), InvalidChoice)


def test_the_gaps_of_a_list_close_and_its_order_is_that_of_its_numbers() -> None:
    form = decode_form(b"amount=1&currency=eur&expand[7]=b&expand[3]=a")
    assert checked(INTENT, form)["expand"] == ["a", "b"]


def test_an_empty_string_unsets_what_may_be_unset() -> None:
    update = "POST /v1/payment_intents/{intent}"
    assert sent(update, {"receipt_email": "", "metadata": "", "shipping": ""}) == {
        "receipt_email": None,
        "metadata": None,
        "shipping": None,
    }
    assert sent(update, {"metadata": {"order": ""}}) == {"metadata": {"order": None}}
    assert sent(update, {"setup_future_usage": ""}) == {"setup_future_usage": None}


def test_an_empty_string_does_not_unset_what_cannot_be_unset() -> None:
    for name in ("customer", "confirm", "payment_method_types", "payment_method_data"):
        error = refused(INTENT, {**AMOUNT, name: ""})
        assert isinstance(error, EmptyParameter)
        assert (error.code, error.param) == ("parameter_invalid_empty", name)


def test_an_empty_element_of_a_list_is_no_attempt_to_unset() -> None:
    error = refused("POST /v1/products", {"name": "Tea", "images": ["https://a.example/", ""]})
    assert isinstance(error, EmptyString)
    assert (error.code, error.param) == ("parameter_invalid_string_empty", "images[1]")


def test_a_required_name_of_blanks_is_no_name() -> None:
    error = refused("POST /v1/products", {"name": " \t"})
    assert isinstance(error, BlankString)
    assert (error.code, error.param) == ("parameter_invalid_string_blank", "name")


@pytest.mark.parametrize(
    "amount", ["1.5", "", "abc", "1e3", " 5", "+5", "--5", "0x10", "NaN", "٣", "1" * 19, "5\n"]
)
def test_only_decimal_digits_are_an_amount(amount: str) -> None:
    error = refused(INTENT, {"amount": amount, "currency": "eur"})
    assert isinstance(error, InvalidInteger)
    assert (error.code, error.param) == ("parameter_invalid_integer", "amount")


def test_a_negative_amount_is_an_integer_whose_meaning_is_not_checked_here() -> None:
    assert sent(INTENT, {"amount": -5, "currency": "eur"})["amount"] == -5


@pytest.mark.parametrize("confirm", ["True", "1", "yes", "FALSE"])
def test_booleans_are_lower_case_words(confirm: str) -> None:
    error = refused(INTENT, {**AMOUNT, "confirm": confirm})
    assert isinstance(error, WrongType)
    assert (error.code, error.param, error.expected) == (None, "confirm", "boolean")


def test_percentages_and_decimals_are_numbers() -> None:
    link = "POST /v1/payment_links"
    error = refused(link, {"application_fee_percent": "1,5"})
    assert isinstance(error, WrongType)
    assert error.expected == "number"
    price = {"currency": "eur", "product": "prod_1", "unit_amount_decimal": "12.345"}
    assert sent("POST /v1/prices", price) == price
    error = refused("POST /v1/prices", {**price, "unit_amount_decimal": "1/3"})
    assert isinstance(error, WrongType)
    assert error.expected == "decimal"


def test_an_unknown_name_is_refused_on_the_top_and_within() -> None:
    error = refused(INTENT, {**AMOUNT, "amout": 1})
    assert isinstance(error, UnknownParameter)
    assert (error.code, error.param, error.nearest) == ("parameter_unknown", "amout", "amount")
    error = refused(INTENT, {**AMOUNT, "shipping": {"address": {"line3": "x"}}})
    assert isinstance(error, UnknownParameter)
    assert error.param == "shipping[address][line3]"
    assert error.nearest in ("shipping[address][line1]", "shipping[address][line2]")
    lines = {"line_items": [{"price": "price_1"}, {"colour": "red"}]}
    error = refused("POST /v1/checkout/sessions", lines)
    assert (error.code, error.param) == ("parameter_unknown", "line_items[1][colour]")


def test_a_missing_name_is_told_in_full() -> None:
    error = refused(INTENT, {"amount": 5})
    assert isinstance(error, MissingParameter)
    assert (error.code, error.param) == ("parameter_missing", "currency")
    lines = {"line_items": [{"price_data": {"unit_amount": 5}}]}
    error = refused("POST /v1/checkout/sessions", lines)
    assert (error.code, error.param) == (
        "parameter_missing",
        "line_items[0][price_data][currency]",
    )
    error = refused(INTENT, {**AMOUNT, "payment_method_data": {"link": {"a": "b"}}})
    assert error.param == "payment_method_data[link][a]"
    error = refused(INTENT, {**AMOUNT, "payment_method_data": {"metadata": {"a": "b"}}})
    assert error.param == "payment_method_data[type]"


def test_a_choice_that_there_is_not_names_those_that_there_are() -> None:
    error = refused(INTENT, {**AMOUNT, "capture_method": "later"})
    assert isinstance(error, InvalidChoice)
    assert (error.code, error.param) == (None, "capture_method")
    assert error.allowed == ("automatic", "automatic_async", "manual")
    assert "automatic, automatic_async or manual" in error.message
    assert "later" not in error.message


def test_texts_have_limits() -> None:
    suffix = "statement_descriptor_suffix"
    assert sent(INTENT, {**AMOUNT, suffix: "x" * 22})[suffix] == "x" * 22
    error = refused(INTENT, {**AMOUNT, suffix: "x" * 23})
    assert isinstance(error, TooLong)
    assert (error.param, error.maximum) == (suffix, 22)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"customer": {"id": "cus_1"}}, "string"),
        ({"customer": ["cus_1"]}, "string"),
        ({"expand": "customer"}, "array"),
        ({"expand": {"a": "customer"}}, "array"),
        ({"shipping": "somewhere"}, "object"),
        ({"shipping": ["somewhere"]}, "object"),
        ({"metadata": "x"}, "object"),
        ({"confirm": {"a": "true"}}, "boolean"),
    ],
)
def test_a_value_of_another_shape_is_told_what_it_should_be(
    params: dict[str, Any], expected: str
) -> None:
    error = refused(INTENT, {**AMOUNT, **params})
    assert isinstance(error, WrongType)
    assert (error.code, error.param, error.expected) == (None, next(iter(params)), expected)


@pytest.mark.parametrize(
    "metadata",
    [
        {f"k{n}": "v" for n in range(METADATA_KEYS + 1)},
        {"k" * (METADATA_KEY_CHARACTERS + 1): "v"},
        {"k": "v" * (METADATA_VALUE_CHARACTERS + 1)},
        {"k": {"nested": "v"}},
        {"k": ["v"]},
    ],
    ids=["keys", "key", "value", "object", "list"],
)
def test_metadata_beyond_its_limits_is_refused(metadata: dict[str, Any]) -> None:
    error = refused(INTENT, {**AMOUNT, "metadata": metadata})
    assert isinstance(error, InvalidMetadata)
    assert (error.code, error.param) == (None, "metadata")


def test_metadata_at_its_limits_is_taken() -> None:
    metadata = {f"{n:0{METADATA_KEY_CHARACTERS}}": "ü" * 500 for n in range(METADATA_KEYS)}
    assert sent(INTENT, {**AMOUNT, "metadata": metadata})["metadata"] == metadata


def test_no_message_repeats_a_value() -> None:
    card = "4242424242424242"
    for params in (
        {"amount": card + ".0"},
        {"capture_method": card},
        {"confirm": card},
        {"shipping": card},
        {"expand": card},
        {"metadata": {"card": card * 50}},
        {"statement_descriptor_suffix": card * 2},
    ):
        assert card not in str(refused(INTENT, {**AMOUNT, **params}))


# The data


def test_the_sdk_speaks_the_version_whose_parameters_these_are() -> None:
    assert API_VERSION == _ApiVersion.CURRENT


def test_each_operation_takes_an_answer_to_be_expanded_unless_it_deletes() -> None:
    for operation in OPERATIONS:
        if not operation.startswith("DELETE "):
            with contextlib.suppress(MissingParameter):
                assert checked(operation, {"expand": ["x"]}) == {"expand": ["x"]}


def test_an_operation_that_the_sandbox_has_not_is_an_error_of_the_caller() -> None:
    with pytest.raises(KeyError, match=re.escape("POST /v1/charges")):
        checked("POST /v1/charges", {})


def test_what_is_unknown_or_missing_is_told_in_stripes_words() -> None:
    assert str(refused(INTENT, {"amount": 1})) == "Missing required param: currency."
    for name, hint in (("amout", ". Did you mean amount?"), ("colour", "")):
        told = str(refused(INTENT, {**AMOUNT, name: 1}))
        assert told == f"Received unknown parameter: {name}{hint}"
