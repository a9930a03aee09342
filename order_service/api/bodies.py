"""What requests may say."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from contracts.messages.parts import ON_FILE, ON_PAGE, PaymentMethod
from contracts.money import LARGEST_AMOUNT_MINOR
from messaging.http.bodies import RequestBody, ShortText

LARGEST_LINE_NO = 1_100
"""A cart has at most a thousand lines; shipping costs come on top."""

LARGEST_QUANTITY = 1_000_000


class PaymentBody(RequestBody):
    """How to pay: by the provider's token of a method, never a card number; or on its page.

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

    @property
    def is_for_customers(self) -> bool:
        """Whether a guest cannot pay so, who could neither use it again nor delete it."""
        return self.save or self.saved_method_id is not None

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


class NewPayment(RequestBody):
    """One more attempt to pay. `replace` first closes the live attempt at its provider."""

    payment: PaymentBody
    replace: Annotated[bool, Field(strict=True)] = False


class NewCancel(RequestBody):
    """Gives an order or a checkout up."""

    reason: ShortText = "cancelled"


class NewResolution(RequestBody):
    """What an operator decides about a checkout that needs attention."""

    decision: Annotated[
        Literal["retry", "refunded_by_hand"],
        Field(
            description="`retry` asks again what ran out and refunds anew what failed; "
            "`refunded_by_hand` books failed refunds as made on another way."
        ),
    ]
    reason: ShortText


class PiecesBody(RequestBody):
    """So many pieces of one line of the order; lines are counted from 1, shipping costs last."""

    line_no: Annotated[int, Field(ge=1, le=LARGEST_LINE_NO, strict=True)]
    quantity: Annotated[int, Field(ge=1, le=LARGEST_QUANTITY, strict=True)]


class ReturnedBody(PiecesBody):
    """Pieces that came back, or never left: to be sold again, unless they are written off."""

    write_off: Annotated[bool, Field(strict=True)] = False
    unshipped: Annotated[
        bool,
        Field(
            strict=True,
            description="They are among those still to be shipped, and never will be; "
            "else those that were shipped come back first.",
        ),
    ] = False


class NewRefund(RequestBody):
    """Gives money back: an amount, or what pieces of lines cost; without either, all the rest."""

    amount_minor: Annotated[int, Field(ge=1, le=LARGEST_AMOUNT_MINOR, strict=True)] | None = None
    lines: Annotated[tuple[PiecesBody, ...], Field(max_length=LARGEST_LINE_NO)] = ()
    reason: ShortText

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.amount_minor is not None and self.lines:
            raise ValueError("give an amount or lines, not both")
        return self


class NewReturn(RequestBody):
    """Takes goods back, with their money unless `refund` is false."""

    lines: Annotated[list[ReturnedBody], Field(min_length=1, max_length=LARGEST_LINE_NO)]
    refund: Annotated[bool, Field(strict=True)] = True
    reason: ShortText


class NewShipment(RequestBody):
    """Goods have left the house: the pieces of these lines; without lines, all that was left."""

    carrier: Annotated[str, Field(max_length=100)] = ""
    tracking: Annotated[str, Field(max_length=200)] = ""
    lines: Annotated[tuple[PiecesBody, ...], Field(max_length=LARGEST_LINE_NO)] = ()


class NewRefundResolution(RequestBody):
    """What an operator decides about a refund that failed, or whose answer never came."""

    decision: Annotated[
        Literal["retry", "refunded_by_hand", "withdrawn"],
        Field(
            description="`retry` asks for it again, `refunded_by_hand` books it as made on "
            "another way, `withdrawn` gives it up."
        ),
    ]
    reason: ShortText


NO_REASON = NewCancel()
"""What a cancel without a body says."""
