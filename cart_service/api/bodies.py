"""What requests may say, strictly: shapes and bounds that need no look at any cart."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from contracts.messages.parts import Address, PaymentMethod
from messaging.http.bodies import RequestBody, ShortText, WholeNumber

LONGEST_ACCEPT_TOKEN = 32 * 1024
"""A token over 1,000 lines of large prices takes half of it."""

Quantity = Annotated[WholeNumber, Field(ge=1, description="Pieces.")]
Email = Annotated[
    str, StringConstraints(strict=True, max_length=254, pattern=r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$")
]
OptionalText = Annotated[str, StringConstraints(strict=True, max_length=255)]


class NewCart(RequestBody):
    """Opens a cart in one currency."""

    currency: Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Z]{3}$")]


class NewLine(RequestBody):
    """So many pieces of one SKU; the price is the shop's to say."""

    sku: ShortText
    quantity: Quantity


class NewLines(RequestBody):
    """Several lines: all of them are added, or none."""

    lines: Annotated[tuple[NewLine, ...], Field(min_length=1)]


def _one_or_several(body: Any) -> str:
    return "several" if isinstance(body, dict) and "lines" in body else "one"


LinesToAdd = Annotated[
    Annotated[NewLine, Tag("one")] | Annotated[NewLines, Tag("several")],
    Discriminator(_one_or_several),
]


class NewQuantity(RequestBody):
    """How many pieces the line is to have."""

    quantity: Quantity


class AddressBody(RequestBody):
    """Where the goods go."""

    name: ShortText
    line1: ShortText
    line2: OptionalText = ""
    city: ShortText
    postal_code: OptionalText = ""
    region: OptionalText = ""
    country: Annotated[str, StringConstraints(strict=True, min_length=2, max_length=60)]

    def address(self) -> Address:
        """The address as messages carry it."""
        return Address(**self.model_dump())


class PaymentBody(RequestBody):
    """How the first attempt is to be paid; by default through the shop's usual provider."""

    provider: ShortText | None = None
    token: ShortText
    flow: Literal["automatic", "authorize"] = "automatic"

    def method(self, usual_provider: str) -> PaymentMethod:
        """The method as messages carry it."""
        return PaymentMethod(
            provider=self.provider or usual_provider, token=self.token, flow=self.flow
        )


class CheckoutBody(RequestBody):
    """Buys what is in the cart.

    Without `payment` the order waits for its first attempt. `accept_token` comes from a 409 and
    agrees to the quote given there.
    """

    email: Email
    address: AddressBody
    payment: PaymentBody | None = None
    payment_window_seconds: WholeNumber | None = None
    accept_token: Annotated[
        str | None, StringConstraints(strict=True, max_length=LONGEST_ACCEPT_TOKEN)
    ] = None
