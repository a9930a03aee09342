"""Settings of the cart service; environment prefix `CART_`."""

from datetime import timedelta
from functools import cached_property
from typing import Annotated, Self

from pydantic import Field, model_validator

from cart_service.domain.carts import Limits
from cart_service.domain.checkouts import Terms
from contracts.money import PROVIDER_LIMITS
from messaging.settings import ServiceSettings, service_settings

Provider = Annotated[str, Field(min_length=1)]


class CartSettings(ServiceSettings):
    """What the cart service needs beyond what every service does."""

    model_config = service_settings("CART_")

    order_base_url: str = Field(
        "http://127.0.0.1:8003",
        description="Where shoppers reach the order service; status URLs of checkouts begin so.",
    )
    max_lines: int = Field(
        1000, ge=1, le=1000, description="Most lines in a cart; a record on Kafka holds no more."
    )
    max_pieces_per_line: int = Field(
        10_000, ge=1, le=1_000_000, description="Most pieces of one SKU in a cart."
    )
    payment_providers: tuple[Provider, ...] = Field(
        ("simulated",),
        min_length=1,
        validation_alias="TROLLEY_PAYMENT_PROVIDERS",
        description="Providers that the shop takes payments through, the usual one first; a JSON "
        "list in the environment. Prices are rounded so that each of them can charge them.",
    )
    payment_window_seconds: int = Field(
        1800, ge=1, description="How long a shopper may try to pay, unless the checkout says."
    )
    payment_window_shortest_seconds: int = Field(
        2, ge=1, description="The shortest payment window that a checkout may ask for."
    )
    payment_window_longest_seconds: int = Field(
        86_400, ge=1, description="The longest one: stock is held for as long."
    )
    quote_valid_seconds: int = Field(600, ge=1, description="How long an accept token is good for.")
    start_resend_first_seconds: float = Field(
        5, gt=0, description="StartCheckout is sent again after so long, then ever more slowly."
    )
    start_resend_longest_seconds: float = Field(
        300, gt=0, description="Longest wait before StartCheckout is sent again; it never ends."
    )
    start_resend_batch_rows: int = Field(
        100, ge=1, description="Most checkouts that are sent again in one transaction."
    )
    start_unanswered_sends: int = Field(
        4,
        ge=1,
        description="A StartCheckout that was sent more often than this without an answer, by "
        "default for over a minute, is counted as unanswered.",
    )
    unanswered_interval_seconds: float = Field(
        5, gt=0, description="How often the unanswered StartCheckouts are counted for the metrics."
    )
    sweep_interval_seconds: float = Field(
        1, gt=0, description="How often the service looks for checkouts to send again."
    )
    guest_key_shortest: int = Field(
        20,
        ge=8,
        description="Fewest characters of the Idempotency-Key that opens a guest's cart: whoever "
        "knows it can have the answer, and with it the cart's token, again.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if unknown := set(self.payment_providers) - set(PROVIDER_LIMITS):
            raise ValueError(f"unknown payment providers: {', '.join(sorted(unknown))}")
        shortest, longest = (
            self.payment_window_shortest_seconds,
            self.payment_window_longest_seconds,
        )
        if not shortest <= self.payment_window_seconds <= longest:
            raise ValueError("the payment window lies outside of its own bounds")
        return self

    @cached_property
    def limits(self) -> Limits:
        """How much fits into one cart."""
        return Limits(lines=self.max_lines, pieces_per_line=self.max_pieces_per_line)

    @cached_property
    def terms(self) -> Terms:
        """What the shop grants and asks of a checkout."""
        return Terms(
            providers=self.payment_providers,
            shortest_window_seconds=self.payment_window_shortest_seconds,
            longest_window_seconds=self.payment_window_longest_seconds,
            quote_valid=timedelta(seconds=self.quote_valid_seconds),
            resend_first=timedelta(seconds=self.start_resend_first_seconds),
            resend_longest=timedelta(seconds=self.start_resend_longest_seconds),
        )
