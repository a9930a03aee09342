"""What requests may say, strictly; bounds that are settings are checked by the routes."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from contracts.codes import LONGEST_CODE, is_code
from inventory_service.domain import StockChange
from messaging.http.bodies import RequestBody, WholeNumber

DEFAULT_WAREHOUSE = "main"
LONGEST_NAME = 255
LONGEST_REASON = 255
LARGEST_PRIORITY = 1_000_000


def _code(text: str) -> str:
    if not is_code(text):
        raise ValueError("must be printable, without slashes, and without blanks at its ends")
    return text


Code = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=LONGEST_CODE),
    AfterValidator(_code),
]
"""A SKU or the code of a warehouse; case-sensitive."""

Reason = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=LONGEST_REASON),
]
Name = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=LONGEST_NAME),
]


def _not_zero(quantity: int) -> int:
    if quantity == 0:
        raise ValueError("must not be zero")
    return quantity


class NewWarehouse(RequestBody):
    """Opens a warehouse. Among several that could serve, the least priority goes first."""

    code: Code
    name: Name
    priority: Annotated[WholeNumber, Field(ge=0, le=LARGEST_PRIORITY)] = 0


class ReceivedLine(RequestBody):
    """So many pieces of one SKU came in."""

    sku: Code
    warehouse: Code = DEFAULT_WAREHOUSE
    quantity: Annotated[WholeNumber, Field(ge=1, description="Pieces.")]

    def change(self) -> StockChange:
        """The line as the domain knows it."""
        return StockChange(self.sku, self.warehouse, self.quantity)


class AdjustedLine(RequestBody):
    """So many pieces of one SKU more than the books say or, negative, fewer."""

    sku: Code
    warehouse: Code = DEFAULT_WAREHOUSE
    quantity: Annotated[WholeNumber, AfterValidator(_not_zero)]

    def change(self) -> StockChange:
        """The line as the domain knows it."""
        return StockChange(self.sku, self.warehouse, self.quantity)


class Receipt(RequestBody):
    """Goods that came in together; all lines are booked, or none."""

    reason: Reason | None = None
    lines: Annotated[tuple[ReceivedLine, ...], Field(min_length=1)]


class Adjustment(RequestBody):
    """A correction of the books, after a count or a loss; all lines are booked, or none."""

    reason: Reason
    lines: Annotated[tuple[AdjustedLine, ...], Field(min_length=1)]
