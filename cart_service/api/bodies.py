"""What requests may say, strictly: shapes and bounds that need no look at any cart."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from contracts.messages.parts import ON_FILE, ON_PAGE, Address, PaymentMethod
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
    """How the first attempt is to be paid: by the provider's token of a method, or on its page.

    By default through the shop's usual provider.
    """

    token: ShortText | None = None
    provider: ShortText | None = None
    flow: Literal["automatic", "authorize"] = "automatic"
    capture: Annotated[
        Literal["at_once", "at_shipping"],
        Field(description="When money that is set aside (`authorize`) is taken."),
    ] = "at_once"
    hosted: Annotated[bool, Field(strict=True)] = False
    save: Annotated[
        bool, Field(strict=True, description="The customer agrees that it is kept for later.")
    ] = False
    saved_method_id: UUID | None = None

    @model_validator(mode="after")
    def _one_way_to_pay(self) -> Self:
        if [self.token is not None, self.hosted, self.saved_method_id is not None].count(True) != 1:
            raise ValueError("one of: a token, `hosted`, `saved_method_id`")
        if self.save and self.saved_method_id is not None:
            raise ValueError("it is saved already")
        if self.capture == "at_shipping" and self.flow != "authorize":
            raise ValueError("captured at shipping is what was authorized: `flow: authorize`")
        return self

    def method(self, usual_provider: str) -> PaymentMethod:
        """The method as messages carry it."""
        return PaymentMethod(
            provider=self.provider or usual_provider,
            token=self.token or (ON_PAGE if self.hosted else ON_FILE),
            flow=self.flow,
            capture=self.capture,
            hosted=self.hosted,
            save=self.save,
            saved_method_id=self.saved_method_id,
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
