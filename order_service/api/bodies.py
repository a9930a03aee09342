"""What requests may say."""

from typing import Annotated, Literal

from pydantic import Field

from contracts.messages.parts import PaymentMethod
from messaging.http.bodies import RequestBody, ShortText


class PaymentBody(RequestBody):
    """How to pay: the provider's token of a method, never a card number.

    By default through the shop's usual provider.
    """

    token: ShortText
    provider: ShortText | None = None
    flow: Literal["automatic", "authorize"] = "automatic"

    def method(self, usual_provider: str) -> PaymentMethod:
        """The method as messages carry it."""
        return PaymentMethod(
            provider=self.provider or usual_provider, token=self.token, flow=self.flow
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


NO_REASON = NewCancel()
"""What a cancel without a body says."""
