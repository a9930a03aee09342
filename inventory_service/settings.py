"""Settings of the inventory service; environment prefix `INVENTORY_`."""

from typing import Self

from pydantic import Field, model_validator

from messaging.settings import ServiceSettings, service_settings


class InventorySettings(ServiceSettings):
    """What the inventory service needs beyond what every service does."""

    model_config = service_settings("INVENTORY_")

    booking_lines: int = Field(
        10_000,
        ge=1,
        description="Most lines of a receipt or adjustment; all of them are one transaction.",
    )
    booking_body_bytes: int = Field(
        4 * 1024 * 1024,
        ge=1,
        description="Largest body of a receipt or adjustment; others have HTTP_BODY_BYTES.",
    )
    booking_line_pieces: int = Field(
        1_000_000_000,
        ge=1,
        description="Most pieces in one line of a receipt or adjustment: beyond it, a slip.",
    )
    warehouses_per_shop: int = Field(
        100, ge=1, description="Most warehouses of a shop; a SKU's levels are read together."
    )
    rounds_listed: int = Field(
        100, ge=1, description="Most reservation rounds that are shown of one checkout."
    )
    sweep_interval_seconds: float = Field(
        1, gt=0, description="How often the service looks for reservations that are due."
    )
    sweep_rows: int = Field(
        500, ge=1, description="Most due reservations that are asked about in one transaction."
    )
    question_first_backoff_seconds: float = Field(
        30, gt=0, description="A due reservation is asked about again after so long."
    )
    question_longest_backoff_seconds: float = Field(
        900, gt=0, description="The longest wait between two questions; each doubles the last."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.question_longest_backoff_seconds < self.question_first_backoff_seconds:
            raise ValueError("the longest backoff is shorter than the first")
        return self
