"""Amounts that the sandbox takes and refuses, as Stripe's currency guide tells them."""

import pytest

from contracts.money import EXPONENTS, exponent, provider_limit
from stripe_sandbox.certainty import Certainty
from stripe_sandbox.currencies import (
    CERTAINTY,
    MAXIMUM_DIGITS,
    MINIMUM_MINOR,
    PRESENTMENT,
    AmountNotInSteps,
    AmountNotPositive,
    AmountRefused,
    AmountTooLarge,
    AmountTooSmall,
    UnknownCurrency,
    check_amount,
    check_currency,
    decimals,
    maximum_minor,
    minimum_minor,
    step_minor,
)
from tests.stripe_sandbox.sdk_literals import error_codes


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        (50, "usd"),
        (30, "gbp"),
        (50, "jpy"),
        (17500, "huf"),
        (10, "kwd"),
        (5120, "kwd"),
        (500, "isk"),
        (99_999_999, "usd"),
        (999_999_999, "inr"),
        (999_999_999_999, "idr"),
        (1045, "twd"),
        (50, "USD"),
    ],
)
def test_an_amount_within_the_documented_limits_is_taken(amount: int, currency: str) -> None:
    check_amount(amount, currency)


@pytest.mark.parametrize(
    ("amount", "currency", "refusal"),
    [
        (49, "usd", AmountTooSmall),
        (29, "gbp", AmountTooSmall),
        (49, "jpy", AmountTooSmall),
        (1499, "czk", AmountTooSmall),
        (100_000_000, "usd", AmountTooLarge),
        (100_000_000, "jpy", AmountTooLarge),
        (1_000_000_000, "inr", AmountTooLarge),
        (5124, "kwd", AmountNotInSteps),
        (550, "isk", AmountNotInSteps),
        (1, "ugx", AmountNotInSteps),
        (0, "eur", AmountNotPositive),
        (-500, "eur", AmountNotPositive),
        (500, "zzz", UnknownCurrency),
        (500, "", UnknownCurrency),
        (0, "zzz", UnknownCurrency),
    ],
)
def test_an_amount_beyond_them_is_refused(
    amount: int, currency: str, refusal: type[AmountRefused]
) -> None:
    with pytest.raises(refusal):
        check_amount(amount, currency)


def test_a_refusal_carries_the_facts_and_reads_like_stripes() -> None:
    with pytest.raises(AmountTooSmall) as small:
        check_amount(49, "usd")
    assert (small.value.code, small.value.param) == ("amount_too_small", "amount")
    assert (small.value.amount, small.value.currency, small.value.minimum) == (49, "USD", 50)
    assert str(small.value) == "Amount must be at least $0.50 usd"

    with pytest.raises(AmountTooLarge) as large:
        check_amount(10**8, "jpy")
    assert (large.value.code, large.value.maximum) == ("amount_too_large", 99_999_999)
    assert str(large.value) == "Amount must be no more than ¥99,999,999 jpy"

    with pytest.raises(UnknownCurrency) as unknown:
        check_amount(500, "ZZZ")
    assert (unknown.value.code, unknown.value.param) == (None, "currency")
    assert str(unknown.value).startswith("Invalid currency: zzz. ")


def test_a_currency_is_answered_in_lower_case() -> None:
    assert check_currency("EUR") == check_currency("eur") == "eur"


def test_every_limit_belongs_to_a_known_currency_and_keeps_its_own_step() -> None:
    assert set(MINIMUM_MINOR) | set(MAXIMUM_DIGITS) <= PRESENTMENT
    for currency in PRESENTMENT:
        assert minimum_minor(currency) % step_minor(currency) == 0
        assert minimum_minor(currency) < maximum_minor(currency)
        check_amount(minimum_minor(currency), currency)


def test_the_codes_are_codes_of_the_sdk() -> None:
    refusals = AmountRefused.__subclasses__()
    assert {refusal.code for refusal in refusals} - {None} <= error_codes()


def test_no_rule_of_money_goes_without_its_certainty() -> None:
    assert set(CERTAINTY.values()) == set(Certainty)


@pytest.mark.parametrize("currency", sorted(EXPONENTS))
def test_our_own_tables_agree_with_stripes(currency: str) -> None:
    limit = provider_limit("stripe", currency)
    assert currency in PRESENTMENT
    assert decimals(currency) == exponent(currency)
    assert step_minor(currency) == limit.rounding_unit_minor
    assert minimum_minor(currency) == limit.minimum_minor
