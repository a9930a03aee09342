"""The lines of a page: what is bought, or one line of the whole where Stripe cannot show that.

Stripe counts a line as a price times a quantity. Ours carry discounts and taxes, so that their
amount is not always a multiple: then all of its pieces are sold as one, "3 x Mug".

Source: Stripe API reference, "Checkout Sessions" (`line_items`).
"""

from collections.abc import Sequence

from stripe.params.checkout import SessionCreateParamsLineItem

from contracts.messages.parts import ChargedLine
from contracts.money import provider_limit
from payment_service.providers.port import Charge

MOST_LINES = 100
"""Of one page in payment mode; documented."""

LONGEST_NAME = 250
"""Characters of a product's name; nothing published settles it (assumed)."""


def line_items_of(request: Charge) -> list[SessionCreateParamsLineItem]:
    """The line items of a charge, which come to its amount: the same ones whenever it is made."""
    unit = provider_limit("stripe", request.currency).rounding_unit_minor
    if _can_be_shown(request.lines, request.amount_minor, unit):
        return [_item(line, request.currency, unit) for line in request.lines]
    name = f"Order {request.order_number}" if request.order_number else "Your order"
    return [_priced(name, request.amount_minor, 1, request.currency)]


def _can_be_shown(lines: Sequence[ChargedLine], amount_minor: int, unit: int) -> bool:
    """Are there as many as fit, each with a name and a price, and do they come to the amount?"""
    return (
        0 < len(lines) <= MOST_LINES
        and sum(line.amount_minor for line in lines) == amount_minor
        and all(line.name.strip() and line.amount_minor % unit == 0 for line in lines)
    )


def _item(line: ChargedLine, currency: str, unit: int) -> SessionCreateParamsLineItem:
    if line.amount_minor % (line.quantity * unit) == 0:
        return _priced(line.name, line.amount_minor // line.quantity, line.quantity, currency)
    return _priced(f"{line.quantity} x {line.name}", line.amount_minor, 1, currency)


def _priced(
    name: str, price_minor: int, quantity: int, currency: str
) -> SessionCreateParamsLineItem:
    return {
        "price_data": {
            "currency": currency.lower(),
            "unit_amount": price_minor,
            "product_data": {"name": _shortened(name)},
        },
        "quantity": quantity,
    }


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
