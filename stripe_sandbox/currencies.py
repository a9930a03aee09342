"""What Stripe takes as an amount: currencies, decimals, steps, least and largest charges.

Source: docs.stripe.com/currencies and the `amount` parameter of the API reference, version
2026-08-26.dahlia. Amounts are integers in Stripe's minor unit, which for ISK and UGX differs
from ISO 4217. Codes are upper case here; Stripe answers them in lower case.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from stripe_sandbox.certainty import Certainty

ZERO_DECIMAL = frozenset(
    {
        "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV",
        "XAF", "XOF", "XPF",
    }
)  # fmt: skip
"""Currencies whose amount is the number of whole units."""

THREE_DECIMAL = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
"""Currencies with thousandths; their last digit must be 0."""

TWO_DECIMAL_WITHOUT_FRACTIONS = frozenset({"ISK", "UGX"})
"""Zero-decimal by now, still sent with two decimals that must be 00."""

PAYOUTS_IN_WHOLE_UNITS = frozenset({"HUF", "TWD"})
"""Charged with two decimals, paid out in whole units only (amounts divisible by 100)."""

PRESENTMENT = (
    ZERO_DECIMAL
    | THREE_DECIMAL
    | TWO_DECIMAL_WITHOUT_FRACTIONS
    | PAYOUTS_IN_WHOLE_UNITS
    | frozenset(
        {
            "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD",
            "BDT", "BGN", "BMD", "BND", "BOB", "BRL", "BSD", "BWP", "BYN", "BZD", "CAD", "CDF",
            "CHF", "CNY", "COP", "CRC", "CVE", "CZK", "DKK", "DOP", "DZD", "EGP", "ETB", "EUR",
            "FJD", "FKP", "GBP", "GEL", "GIP", "GMD", "GTQ", "GYD", "HKD", "HNL", "HTG", "IDR",
            "ILS", "INR", "JMD", "KES", "KGS", "KHR", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD",
            "LSL", "MAD", "MDL", "MKD", "MMK", "MNT", "MOP", "MUR", "MVR", "MWK", "MXN", "MYR",
            "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP", "PKR",
            "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SBD", "SCR", "SEK", "SGD", "SHP", "SLE",
            "SOS", "SRD", "STD", "SZL", "THB", "TJS", "TOP", "TRY", "TTD", "TZS", "UAH", "USD",
            "UYU", "UZS", "WST", "XCD", "XCG", "YER", "ZAR", "ZMW",
        }
    )
)  # fmt: skip
"""Every currency a charge may be in. An account's country narrows it; the sandbox does not."""

MINIMUM_MINOR: Mapping[str, int] = MappingProxyType(
    {
        "AED": 200, "ARS": 50, "AUD": 50, "BRL": 50, "CAD": 50, "CHF": 50, "COP": 50,
        "CZK": 1500, "DKK": 250, "EUR": 50, "GBP": 30, "HKD": 400, "HUF": 17500, "IDR": 50,
        "ILS": 50, "INR": 50, "JPY": 50, "KRW": 50, "MXN": 1000, "MYR": 200, "NOK": 300,
        "NZD": 50, "PHP": 50, "PLN": 200, "RON": 200, "RUB": 50, "SEK": 300, "SGD": 50,
        "THB": 1000, "USD": 50, "ZAR": 50,
    }
)  # fmt: skip
"""Least charge by settlement currency. The sandbox settles every charge in its own currency;
an account that converts would have to reach the minimum of its settlement currency instead."""

USUAL_MAXIMUM_DIGITS = 8
"""Digits that `amount` may have, 99999999: the API reference names no currency here."""

MAXIMUM_DIGITS: Mapping[str, int] = MappingProxyType({"IDR": 12, "COP": 10, "INR": 9})
"""Currencies with a larger maximum. The guide's limit of the card networks (12 digits, 9 on
American Express) is not applied: an amount is checked before its payment method is known."""

CERTAINTY: Mapping[str, Certainty] = MappingProxyType(
    {
        "zero_decimal": Certainty.DOCUMENTED,
        "three_decimal_step": Certainty.DOCUMENTED,
        "special_cases": Certainty.DOCUMENTED,
        "presentment_currencies": Certainty.DOCUMENTED,
        "minimum": Certainty.DOCUMENTED,
        "minimum_of_other_currencies": Certainty.ASSUMED,
        "maximum": Certainty.DOCUMENTED,
        "maximum_before_the_method_is_known": Certainty.ASSUMED,
        "amount_too_small": Certainty.DOCUMENTED,
        "amount_too_large": Certainty.DOCUMENTED,
        "code_of_zero_and_negative": Certainty.ASSUMED,
        "code_of_wrong_step": Certainty.ASSUMED,
        "unknown_currency_has_no_code": Certainty.ASSUMED,
        "upper_case_currency_taken": Certainty.ASSUMED,
    }
)
"""How sure each rule of this module is."""

_SIGNS: Mapping[str, str] = MappingProxyType(
    {"AUD": "A$", "CAD": "CA$", "EUR": "€", "GBP": "£", "INR": "₹", "JPY": "¥", "USD": "$"}
)


class AmountRefused(ValueError):
    """The root of what Stripe says to an amount it does not take: HTTP 400 invalid_request_error.

    `code` is Stripe's error code, None where it sends none; `param` names the parameter.
    """

    code: ClassVar[str | None]
    param: ClassVar[str] = "amount"


class UnknownCurrency(AmountRefused):
    """Stripe has no such currency."""

    code = None
    param = "currency"

    def __init__(self, currency: str) -> None:
        known = ", ".join(sorted(code.lower() for code in PRESENTMENT))
        super().__init__(
            f"Invalid currency: {currency.lower()}. "
            f"Stripe currently supports these currencies: {known}"
        )
        self.currency = currency


class AmountNotPositive(AmountRefused):
    """Zero or less."""

    code = "parameter_invalid_integer"

    def __init__(self, amount: int) -> None:
        super().__init__("This value must be greater than or equal to 1.")
        self.amount = amount


class AmountTooSmall(AmountRefused):
    """Under the least charge of its currency."""

    code = "amount_too_small"

    def __init__(self, amount: int, currency: str, minimum: int) -> None:
        super().__init__(f"Amount must be at least {_written(minimum, currency)}")
        self.amount = amount
        self.currency = currency
        self.minimum = minimum


class AmountTooLarge(AmountRefused):
    """More digits than Stripe takes in this currency."""

    code = "amount_too_large"

    def __init__(self, amount: int, currency: str, maximum: int) -> None:
        super().__init__(f"Amount must be no more than {_written(maximum, currency)}")
        self.amount = amount
        self.currency = currency
        self.maximum = maximum


class AmountNotInSteps(AmountRefused):
    """Finer than the currency can be charged: KWD only in tens, ISK and UGX only in hundreds."""

    code = "invalid_charge_amount"

    def __init__(self, amount: int, currency: str, step: int) -> None:
        super().__init__(
            f"Invalid amount: amounts in {currency.lower()} must be divisible by {step}."
        )
        self.amount = amount
        self.currency = currency
        self.step = step


def decimals(currency: str) -> int:
    """Decimal places of Stripe's minor unit of `currency`, an upper-case code: 0, 2 or 3."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def step_minor(currency: str) -> int:
    """The number that every amount charged in `currency`, an upper-case code, is divisible by."""
    if currency in THREE_DECIMAL:
        return 10
    return 100 if currency in TWO_DECIMAL_WITHOUT_FRACTIONS else 1


def minimum_minor(currency: str) -> int:
    """The least charge in `currency`, an upper-case code: one step where Stripe names none."""
    return MINIMUM_MINOR.get(currency, step_minor(currency))


def maximum_minor(currency: str) -> int:
    """The largest amount in `currency`, an upper-case code."""
    return int("9" * MAXIMUM_DIGITS.get(currency, USUAL_MAXIMUM_DIGITS))


def check_currency(currency: str) -> str:
    """The currency as Stripe answers it, in lower case. Raises `UnknownCurrency`."""
    if currency.upper() not in PRESENTMENT:
        raise UnknownCurrency(currency)
    return currency.lower()


def check_amount(amount: int, currency: str) -> None:
    """Refuse what Stripe refuses as the amount of a charge.

    The currency may be in either case. Raises `UnknownCurrency`, `AmountNotPositive`,
    `AmountTooLarge`, `AmountNotInSteps` or `AmountTooSmall`, in this order.
    """
    code = check_currency(currency).upper()
    if amount < 1:
        raise AmountNotPositive(amount)
    if amount > (maximum := maximum_minor(code)):
        raise AmountTooLarge(amount, code, maximum)
    if amount % (step := step_minor(code)):
        raise AmountNotInSteps(amount, code, step)
    if amount < (minimum := minimum_minor(code)):
        raise AmountTooSmall(amount, code, minimum)


def _written(amount: int, currency: str) -> str:
    places = decimals(currency)
    whole, fraction = divmod(amount, 10**places)
    digits = f"{whole:,}.{fraction:0{places}d}" if places else f"{whole:,}"
    return f"{_SIGNS.get(currency, '')}{digits} {currency.lower()}"
