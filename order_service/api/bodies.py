"""What requests may say."""

from typing import Annotated, Literal

from pydantic import Field

from contracts.messages.parts import PaymentMethod
from messaging.http.bodies import RequestBody, ShortText

USUAL_PROVIDER = "simulated"


class PaymentBody(RequestBody):
    """How to pay: the provider's token of a method, never a card number."""

    token: ShortText
    provider: ShortText = USUAL_PROVIDER
    flow: Literal["automatic", "authorize"] = "automatic"

    def method(self) -> PaymentMethod:
        """The method as messages carry it."""
        return PaymentMethod(provider=self.provider, token=self.token, flow=self.flow)


class NewPayment(RequestBody):
    """One more attempt to pay. `replace` first closes the live attempt at its provider."""

    payment: PaymentBody
    replace: Annotated[bool, Field(strict=True)] = False


class NewCancel(RequestBody):
    """Gives an order or a checkout up."""

    reason: ShortText = "cancelled"
