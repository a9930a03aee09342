"""What a line costs: exact integers, rounded once, to what every offered provider can charge."""

from collections.abc import Mapping, Sequence
from math import lcm

from contracts.messages.parts import OrderLine
from contracts.money import LARGEST_AMOUNT_MINOR, provider_limit
from contracts.values import Struct


class Offer(Struct, frozen=True):
    """What the shop offers a SKU at, in one currency, as its read models last heard.

    `unit_price_minor` is None where the SKU has no price in the currency; `available` is None
    where inventory has said nothing yet, which stands in nobody's way: inventory decides.
    """

    sku: str
    name: str
    active: bool
    unit_price_minor: int | None
    available: int | None


Offers = Mapping[str, Offer]
"""Offers by SKU, all in the currency of one cart."""


def rounding_unit_minor(providers: Sequence[str], currency: str) -> int:
    """The step that amounts in `currency` have at every one of the offered providers."""
    return lcm(*(provider_limit(name, currency).rounding_unit_minor for name in providers))


def least_total_minor(providers: Sequence[str], currency: str) -> int:
    """The least total that one of these providers can charge in `currency`."""
    return min(provider_limit(name, currency).minimum_minor for name in providers)


def rounded_minor(amount_minor: int, unit_minor: int) -> int:
    """The nearest multiple of the unit, halves upwards; what costs something stays above zero."""
    if amount_minor == 0:
        return 0
    return max((amount_minor + unit_minor // 2) // unit_minor, 1) * unit_minor


def sellable_price_minor(offer: Offer | None, quantity: int) -> int | None:
    """The unit price at which so many pieces are sold now; None when they are not."""
    if offer is None or not offer.active or offer.unit_price_minor is None:
        return None
    if offer.unit_price_minor * quantity > LARGEST_AMOUNT_MINOR:
        return None
    return offer.unit_price_minor


def priced_line(sku: str, name: str, quantity: int, unit_price_minor: int) -> OrderLine:
    """The line as an order carries it, all of its parts adding up to what is paid for it."""
    goods_minor = unit_price_minor * quantity
    return OrderLine(
        sku=sku,
        name=name,
        unit_price_minor=unit_price_minor,
        quantity=quantity,
        net_minor=goods_minor,
        gross_minor=goods_minor,
    )


def total_minor(lines: Sequence[OrderLine]) -> int:
    """What all lines cost together: the sum of their gross amounts."""
    return sum(line.gross_minor for line in lines)
