"""Line items: what a Checkout Session or a payment link sells, how many, and at what price.

Source: Stripe API reference, "Checkout Sessions" (`line_items`).
"""

from collections.abc import Sequence
from typing import Any

from stripe_sandbox.currencies import AmountRefused, check_amount
from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest
from stripe_sandbox.operations import merged_metadata
from stripe_sandbox.resources.prices import new_price

MOST_LINES = 100
"""Of one session in payment mode; documented."""
MOST_LINES_OF_A_LINK = 20
"""Documented, too."""
LINES_INCLUDED = 10
"""Lines that an expanded `line_items` shows; the documentation calls it a handful (assumed)."""

_OF_PRODUCTS = ("description", "images", "metadata", "name", "unit_label")
HEEDED = (
    "line_items.metadata",
    "line_items.price",
    "line_items.price_data.currency",
    "line_items.price_data.product",
    *(f"line_items.price_data.product_data.{name}" for name in _OF_PRODUCTS),
    "line_items.price_data.unit_amount",
    "line_items.quantity",
)
"""Parameters that `new_lines` acts on."""


def new_lines(
    transaction: Transaction, given: Sequence[Any], most: int = MOST_LINES
) -> list[Object]:
    """What was asked for, with its prices, all in one currency. Raises InvalidRequest."""
    if not given:
        raise InvalidRequest(
            "There is nothing to pay for: line_items is required",
            code="parameter_missing",
            param="line_items",
        )
    if len(given) > most:
        raise InvalidRequest(
            f"There are at most {most} line items, not {len(given)}", param="line_items"
        )
    lines = [_line(transaction, one, f"line_items[{place}]") for place, one in enumerate(given)]
    for place, line in enumerate(lines):
        if line["currency"] != lines[0]["currency"]:
            raise InvalidRequest(
                f"All line items are in one currency: {lines[0]['currency']} or {line['currency']}",
                param=f"line_items[{place}]",
            )
    _check_total(lines)
    return lines


def _line(transaction: Transaction, given: Any, param: str) -> Object:
    price = _price(transaction, given, param)
    quantity = given.get("quantity")
    if quantity is None:
        raise InvalidRequest(
            f"{param}[quantity] is required", code="parameter_missing", param=f"{param}[quantity]"
        )
    if quantity < 1:
        raise InvalidRequest(
            "A line is of at least one piece",
            code="parameter_invalid_integer",
            param=f"{param}[quantity]",
        )
    amount = price["unit_amount"] * quantity
    return {
        "id": transaction.new_id("li"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": transaction.get("product", price["product"])["name"],
        "metadata": merged_metadata(None, given.get("metadata", {})),
        "price": price,
        "quantity": quantity,
    }


def _price(transaction: Transaction, given: Any, param: str) -> Object:
    named, described = given.get("price"), given.get("price_data")
    if (named is None) == (described is None):
        raise InvalidRequest(
            "A line has either price or price_data",
            code="parameter_missing" if named is None else "parameters_exclusive",
            param=param,
        )
    if described is not None:
        return new_price(transaction, described, f"{param}[price_data]", active=False)
    price = transaction.find(named)
    if price is None or price["object"] != "price":
        raise InvalidRequest(
            f"No such price: {named!r}", code="resource_missing", param=f"{param}[price]"
        )
    if not price["active"]:
        raise InvalidRequest(
            f"{named} is not active, so nothing can be sold at it", param=f"{param}[price]"
        )
    return price


def _check_total(lines: Sequence[Object]) -> None:
    """The total can be charged, or is nothing at all."""
    amount = total(lines)
    if amount == 0:
        return
    try:
        check_amount(amount, lines[0]["currency"])
    except AmountRefused as refused:
        raise InvalidRequest(str(refused), code=refused.code, param="line_items") from None


def total(lines: Sequence[Object]) -> int:
    """What all lines cost together, in minor units."""
    return sum(line["amount_total"] for line in lines)


def copied(transaction: Transaction, lines: Sequence[Object]) -> list[Object]:
    """The same lines for another order."""
    return [line | {"id": transaction.new_id("li")} for line in lines]
