"""Money as integer minor units with an ISO 4217 currency; no float ever touches it.

Exponents follow ISO 4217. Provider minima and rounding units follow Stripe's published
tables ("Minimum and maximum charge amounts", "Zero-decimal and three-decimal currencies").
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field

EXPONENTS: Mapping[str, int] = MappingProxyType(
    {
        "AUD": 2, "BHD": 3, "BRL": 2, "CAD": 2, "CHF": 2, "CLP": 0, "CNY": 2, "CZK": 2, "DKK": 2,
        "EUR": 2, "GBP": 2, "HKD": 2, "HUF": 2, "INR": 2, "JOD": 3, "JPY": 0, "KRW": 0, "KWD": 3,
        "MXN": 2, "NOK": 2, "NZD": 2, "OMR": 3, "PLN": 2, "SEK": 2, "SGD": 2, "TND": 3, "USD": 2,
        "VND": 0, "ZAR": 2,
    }
)  # fmt: skip
"""Decimal places of every currency Trolley takes (ISO 4217)."""

LARGEST_AMOUNT_MINOR = 10**15
"""No amount of one order is larger: it keeps every sum well inside 64-bit integers."""

_AMOUNT = re.compile(
    r"(?P<sign>[+-])?(?:(?P<whole>[0-9]+)(?:\.(?P<fraction>[0-9]*))?|\.(?P<only_fraction>[0-9]+))"
)


class MoneyError(ValueError):
    """The root of everything that can be wrong with an amount of money."""


class UnknownCurrency(MoneyError):
    """The currency is not one that Trolley takes."""

    def __init__(self, currency: str) -> None:
        super().__init__(f"unknown currency {currency!r}")
        self.currency = currency


class NotAnAmount(MoneyError):
    """The text is no amount of this currency: no number, or more decimals than it has."""

    def __init__(self, text: str, currency: str) -> None:
        super().__init__(f"{text!r} is no amount in {currency}")
        self.text = text
        self.currency = currency


class Money(BaseModel):
    """An amount in minor units (cents, yen, fils) of one currency; may be negative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount_minor: int
    currency: str = Field(pattern=r"^[A-Z]{3}$")


def exponent(currency: str) -> int:
    """Decimal places of `currency`. Raises `UnknownCurrency`."""
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise UnknownCurrency(currency) from None


def parse_minor(text: str, currency: str) -> int:
    """The minor units that a decimal text such as "2.55" stands for.

    ASCII digits with a decimal point, no grouping and no exponent. Trailing zeros beyond the
    currency's decimals are harmless ("2.550" GBP is 255); any other extra decimal is refused
    rather than rounded. Raises `NotAnAmount`, `UnknownCurrency`.
    """
    places = exponent(currency)
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise NotAnAmount(text, currency)
    fraction = (match["fraction"] or match["only_fraction"] or "").rstrip("0")
    digits = ((match["whole"] or "") + fraction.ljust(places, "0")).lstrip("0")
    if len(fraction) > places or len(digits) > len(str(LARGEST_AMOUNT_MINOR)):
        raise NotAnAmount(text, currency)
    value = int(digits or "0")
    if value > LARGEST_AMOUNT_MINOR:
        raise NotAnAmount(text, currency)
    return -value if match["sign"] == "-" else value


def format_minor(amount_minor: int, currency: str) -> str:
    """The amount as people write it, with the currency behind it: "12.50 GBP"."""
    places = exponent(currency)
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).rjust(places + 1, "0")
    whole, fraction = (digits[:-places], digits[-places:]) if places else (digits, "")
    grouped = f"{int(whole):,}"
    return f"{sign}{grouped}.{fraction} {currency}" if places else f"{sign}{grouped} {currency}"


def allocate(total_minor: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Split a total over weights by largest remainder; the parts always sum to the total.

    Ties go to the earlier part, so the same input always gives the same split. Weights are not
    negative; when all are zero the whole total goes to the first part. A negative total is
    split as its mirror image. Raises `ValueError` for no weights or a negative one.
    """
    if not weights or min(weights) < 0:
        raise ValueError("weights must be given and must not be negative")
    if total_minor < 0:
        return tuple(-part for part in allocate(-total_minor, weights))
    whole = sum(weights)
    if whole == 0:
        return (total_minor, *([0] * (len(weights) - 1)))
    parts = [total_minor * weight // whole for weight in weights]
    remainders = [total_minor * weight % whole for weight in weights]
    missing = total_minor - sum(parts)
    for index in sorted(range(len(weights)), key=lambda i: (-remainders[i], i))[:missing]:
        parts[index] += 1
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class ProviderLimit:
    """What a payment provider accepts in one currency: the least charge and the step of amounts."""

    minimum_minor: int
    rounding_unit_minor: int = 1


NO_LIMIT = ProviderLimit(minimum_minor=1)

PROVIDER_LIMITS: Mapping[str, Mapping[str, ProviderLimit]] = MappingProxyType(
    {
        "simulated": MappingProxyType({}),
        "stripe": MappingProxyType(
            {
                "AUD": ProviderLimit(50),
                "BRL": ProviderLimit(50),
                "CAD": ProviderLimit(50),
                "CHF": ProviderLimit(50),
                "CZK": ProviderLimit(1500),
                "DKK": ProviderLimit(250),
                "EUR": ProviderLimit(50),
                "GBP": ProviderLimit(30),
                "HKD": ProviderLimit(400),
                "HUF": ProviderLimit(17500),
                "INR": ProviderLimit(50),
                "JPY": ProviderLimit(50),
                "KRW": ProviderLimit(50),
                "KWD": ProviderLimit(10, rounding_unit_minor=10),
                "BHD": ProviderLimit(10, rounding_unit_minor=10),
                "JOD": ProviderLimit(10, rounding_unit_minor=10),
                "OMR": ProviderLimit(10, rounding_unit_minor=10),
                "TND": ProviderLimit(10, rounding_unit_minor=10),
                "MXN": ProviderLimit(1000),
                "NOK": ProviderLimit(300),
                "NZD": ProviderLimit(50),
                "PLN": ProviderLimit(200),
                "SEK": ProviderLimit(300),
                "SGD": ProviderLimit(50),
                "USD": ProviderLimit(50),
                "ZAR": ProviderLimit(50),
            }
        ),
    }
)
"""Least charge and rounding unit per provider and currency; absent means `NO_LIMIT`."""


def provider_limit(provider: str, currency: str) -> ProviderLimit:
    """The limit of `provider` in `currency`, `NO_LIMIT` where it has none."""
    return PROVIDER_LIMITS.get(provider, {}).get(currency, NO_LIMIT)
