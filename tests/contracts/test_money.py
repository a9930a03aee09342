"""Money: every split sums up, every text parses back, nothing is ever rounded away."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.money import (
    EXPONENTS,
    LARGEST_AMOUNT_MINOR,
    NO_LIMIT,
    PROVIDER_LIMITS,
    Money,
    NotAnAmount,
    UnknownCurrency,
    allocate,
    exponent,
    format_minor,
    parse_minor,
    provider_limit,
)

currencies = st.sampled_from(sorted(EXPONENTS))
amounts = st.integers(-LARGEST_AMOUNT_MINOR, LARGEST_AMOUNT_MINOR)
weights = st.lists(st.integers(0, 10**9), min_size=1, max_size=40)


@given(total=amounts, weights=weights)
def test_the_parts_of_a_split_sum_to_the_total(total: int, weights: list[int]) -> None:
    parts = allocate(total, weights)
    assert len(parts) == len(weights)
    assert sum(parts) == total


@given(total=amounts, weights=weights.filter(any))
def test_no_part_is_a_whole_unit_away_from_its_exact_share(total: int, weights: list[int]) -> None:
    whole = sum(weights)
    for part, weight in zip(allocate(total, weights), weights, strict=True):
        assert abs(part * whole - total * weight) < whole


@given(total=st.integers(0, LARGEST_AMOUNT_MINOR), weights=weights.filter(any))
def test_the_odd_units_go_to_the_largest_remainders_and_ties_to_the_earlier_part(
    total: int, weights: list[int]
) -> None:
    whole = sum(weights)
    parts = allocate(total, weights)
    gets = [part - total * weight // whole for part, weight in zip(parts, weights, strict=True)]
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    assert [gets[i] for i in order] == sorted(gets, reverse=True)
    assert set(gets) <= {0, 1}


@given(total=amounts, weights=weights)
def test_a_negative_total_is_split_as_its_mirror_image(total: int, weights: list[int]) -> None:
    assert allocate(-total, weights) == tuple(-part for part in allocate(total, weights))


@given(unit=st.integers(0, 10**6), quantity=st.integers(1, 200), discount=st.integers(0, 10**6))
def test_returning_every_unit_one_at_a_time_gives_back_exactly_what_was_paid(
    unit: int, quantity: int, discount: int
) -> None:
    paid = unit * quantity - min(discount, unit * quantity)
    per_unit = allocate(paid, [1] * quantity)
    assert sum(per_unit) == paid
    assert max(per_unit) - min(per_unit) <= 1


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (100, [1, 1, 1], (34, 33, 33)),
        (10, [0, 0], (10, 0)),
        (5, [3, 0, 1], (4, 0, 1)),
        (-100, [1, 1, 1], (-34, -33, -33)),
        (0, [2, 3], (0, 0)),
    ],
)
def test_splits(total: int, weights: list[int], parts: tuple[int, ...]) -> None:
    assert allocate(total, weights) == parts


@pytest.mark.parametrize("weights", [[], [1, -1]])
def test_a_split_over_nothing_or_over_a_negative_weight_is_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        allocate(100, weights)


@given(amount=amounts, currency=currencies)
def test_what_is_written_is_read_back(amount: int, currency: str) -> None:
    number, _, unit = format_minor(amount, currency).partition(" ")
    assert unit == currency
    assert parse_minor(number.replace(",", ""), currency) == amount


@given(amount=amounts, currency=currencies)
def test_a_text_stands_for_its_exact_decimal_value(amount: int, currency: str) -> None:
    places = exponent(currency)
    text = str(Decimal(amount).scaleb(-places))
    assert parse_minor(text, currency) == amount


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("2.55", "GBP", 255),
        (" 2.550 ", "GBP", 255),
        ("0", "GBP", 0),
        ("-0.01", "EUR", -1),
        ("1200", "JPY", 1200),
        ("1.234", "KWD", 1234),
        (".5", "GBP", 50),
        ("5.", "GBP", 500),
        ("+0002.50", "GBP", 250),
        ("10000000000000.00", "GBP", LARGEST_AMOUNT_MINOR),
    ],
)
def test_texts(text: str, currency: str, amount: int) -> None:
    assert parse_minor(text, currency) == amount


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("2.555", "GBP"),
        ("0.1", "JPY"),
        ("1.2345", "KWD"),
        ("", "GBP"),
        ("two", "GBP"),
        ("1,000.00", "GBP"),
        ("NaN", "GBP"),
        ("Infinity", "GBP"),
        ("10000000000000.01", "GBP"),
        ("1." + 40 * "0" + "1", "GBP"),
        (5000 * "9", "GBP"),
        ("1e3", "GBP"),
        ("1_000", "GBP"),
        ("\u0661", "GBP"),  # a digit, but not an ASCII one
        (".", "GBP"),
        ("--1", "GBP"),
    ],
)
def test_a_text_that_is_no_amount_of_the_currency_is_refused(text: str, currency: str) -> None:
    with pytest.raises(NotAnAmount):
        parse_minor(text, currency)


def test_a_currency_that_trolley_does_not_take_is_refused() -> None:
    with pytest.raises(UnknownCurrency):
        parse_minor("1", "XXX")


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1250, "GBP", "12.50 GBP"),
        (-5, "GBP", "-0.05 GBP"),
        (123456789, "USD", "1,234,567.89 USD"),
        (1234, "JPY", "1,234 JPY"),
        (1, "KWD", "0.001 KWD"),
    ],
)
def test_amounts_as_people_write_them(amount: int, currency: str, text: str) -> None:
    assert format_minor(amount, currency) == text


def test_money_is_an_integer_amount_of_one_currency() -> None:
    with pytest.raises(ValueError, match="currency"):
        Money(amount_minor=1, currency="gbp")
    with pytest.raises(ValueError, match="amount_minor"):
        Money.model_validate({"amount_minor": 1.5, "currency": "GBP"})


def test_the_limits_of_a_provider_are_amounts_it_would_take_itself() -> None:
    for limits in PROVIDER_LIMITS.values():
        for currency, limit in limits.items():
            assert currency in EXPONENTS
            assert limit.minimum_minor > 0
            assert limit.minimum_minor % limit.rounding_unit_minor == 0


def test_three_decimal_currencies_are_taken_by_stripe_in_tens() -> None:
    for currency, places in EXPONENTS.items():
        if places == 3:
            assert provider_limit("stripe", currency).rounding_unit_minor == 10


def test_a_provider_or_currency_without_limits_has_none() -> None:
    assert provider_limit("simulated", "GBP") == NO_LIMIT
    assert provider_limit("nobody", "GBP") == NO_LIMIT
