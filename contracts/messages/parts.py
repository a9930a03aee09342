"""Values that several messages share: lines, addresses, payment methods."""

from decimal import Decimal
from typing import Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from contracts.messages.base import Count, Value


class Discount(Value):
    """A discount's share of one line, with where it came from (a coupon, a sale)."""

    source: str
    amount_minor: int = Field(ge=0)


class Tax(Value):
    """A tax on one line. `rate` is a fraction (0.2 is 20 %); inclusive tax is inside the price."""

    rate: Decimal = Field(ge=0)
    inclusive: bool
    amount_minor: int = Field(ge=0)


class PricedLine(Value):
    """What one line costs, all of it. Goods - discounts = net + inclusive tax; gross is paid.

    net = unit price x quantity - discounts - inclusive taxes; gross = net + all taxes.
    """

    unit_price_minor: int = Field(ge=0)
    quantity: Count
    discounts: tuple[Discount, ...] = ()
    taxes: tuple[Tax, ...] = ()
    net_minor: int = Field(ge=0)
    gross_minor: int = Field(ge=0)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        goods = self.unit_price_minor * self.quantity
        inclusive = taxes = 0
        for discount in self.discounts:
            goods -= discount.amount_minor
        for tax in self.taxes:
            taxes += tax.amount_minor
            if tax.inclusive:
                inclusive += tax.amount_minor
        if self.net_minor != goods - inclusive or self.gross_minor != self.net_minor + taxes:
            raise ValueError("the parts of the line do not add up to its net and gross")
        return self


class OrderLine(PricedLine):
    """A line of an order: so many pieces of one SKU, under the name the shopper saw."""

    sku: str
    name: str


class ShippingLine(PricedLine):
    """A shipping cost of an order, priced like any line."""

    method: str
    name: str


class ChargedLine(Value):
    """What a page of the provider's shows of one order line: so many pieces for so much."""

    name: str
    quantity: Count
    amount_minor: int = Field(ge=0)


class RefundedLine(Value):
    """What went back of one order line, for so many pieces or for none in particular.

    Lines are counted from 1: the goods as ordered, then what shipping cost. net + taxes = gross.
    """

    line_no: int = Field(ge=1)
    sku: str | None = None
    name: str
    quantity: int = Field(ge=0)
    net_minor: int
    taxes: tuple[Tax, ...] = ()
    gross_minor: int = Field(ge=0)


class LinePieces(Value):
    """So many pieces of one order line."""

    line_no: int = Field(ge=1)
    quantity: Count


class ReturnedPieces(LinePieces):
    """Pieces that came back, or never left: to be sold again, or written off."""

    write_off: bool = False
    unshipped: bool = False


class StockLine(Value):
    """So many pieces of one SKU."""

    sku: str
    quantity: Count


class Shortage(Value):
    """A line that stock cannot serve: `available` is what is left for this shopper."""

    sku: str
    requested: int
    available: int


class Address(Value):
    """Where the goods go."""

    name: str
    line1: str
    line2: str = ""
    city: str
    postal_code: str = ""
    region: str = ""
    country: str = Field(min_length=2, max_length=60)


ON_PAGE = "hosted"
"""In the place of a token where the shopper chooses the method on the provider's page."""

ON_FILE = "saved"
"""In the place of a token where the method is one that the customer saved."""


class PaymentMethod(Value):
    """How one attempt is to be paid: a provider, its token for the method, and the flow.

    A token names a method at the provider; a card number never stands here. `hosted` has the
    shopper pay on a page of the provider's. The token is `ON_PAGE` then: a reader that does not
    know of pages takes it for a method that there is not, and declines. So it is `ON_FILE` where
    `saved_method_id` names one that the customer saved, who need not be there. `save` is the
    customer's consent to keep this method for later. `capture` says when money that was set aside
    (`authorize`) is taken; a reader that does not know of shipping takes it at once.
    """

    provider: str = "simulated"
    token: str = Field(min_length=1, max_length=255)
    flow: Literal["automatic", "authorize"] = "automatic"
    capture: Literal["at_once", "at_shipping"] = "at_once"
    hosted: bool = False
    save: bool = False
    saved_method_id: UUID | None = None

    @property
    def captured_at_shipping(self) -> bool:
        """Is its money set aside first, and taken when the goods leave the house?"""
        return self.flow == "authorize" and self.capture == "at_shipping"


class NextAction(Value):
    """What the shopper must do before the attempt can go on, such as a 3-D Secure challenge."""

    type: str
    url: str | None = None
    expires_at: AwareDatetime | None = None
    client_secret: str | None = None
