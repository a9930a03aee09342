"""Bounds of the demo, each with one home here."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from trolley.settings import ClientSettings


class DemoSettings(ClientSettings):
    """How hard the demo drives the stack and how long it waits; prefix `TROLLEY_DEMO_`."""

    model_config = SettingsConfigDict(env_prefix="TROLLEY_DEMO_", extra="ignore")

    shoppers_at_once: int = Field(
        default=12,
        ge=1,
        description="Shoppers under way at a time: enough to keep two cores busy, few enough that "
        "the customer with 34 invoices, one after the other, is not what all wait for.",
    )
    catalog_rows_per_call: int = Field(
        default=10_000, ge=1, description="Most rows sent in one import of the catalog."
    )
    receipt_lines_per_call: int = Field(
        default=5_000, ge=1, description="Most SKUs sent in one receipt."
    )
    window_lines: int = Field(
        default=1_000,
        ge=1,
        description="Most SKUs looked at through one cart; a cart holds as many.",
    )

    follow_expected_seconds: float = Field(
        default=0.5,
        gt=0,
        description="How long checkouts are thought to take before any of them has ended.",
    )
    follow_shortest_seconds: float = Field(
        default=0.05,
        gt=0,
        description="Shortest wait before a checkout is looked at again: a look costs the stack "
        "as much as a tenth of the checkout itself.",
    )
    follow_longest_seconds: float = Field(
        default=1, gt=0, description="Longest wait before a checkout is looked at again."
    )
    finish_seconds: float = Field(
        default=90, gt=0, description="A checkout that takes longer to its end counts as stuck."
    )
    settle_seconds: float = Field(
        default=30, gt=0, description="How long a figure may take to become what it must be."
    )
    settle_poll_seconds: float = Field(
        default=0.1, gt=0, description="How often such a figure is looked at."
    )

    seed: int = Field(
        default=1_000, description="What chance begins with: the same orders come back each time."
    )
    returns_one_in: int = Field(
        default=10, ge=1, description="One in so many orders comes back, whole or in part."
    )

    currency_shoppers: int = Field(
        default=24, ge=3, description="Shoppers who pay in other currencies, of each as many."
    )
    currency_most_pieces: int = Field(
        default=6, ge=1, description="Most pieces that one of them buys."
    )

    race_shoppers: int = Field(default=200, ge=2, description="Shoppers in the race.")
    race_pieces: int = Field(default=10, ge=1, description="Pieces they race for.")
    race_insisting: int = Field(
        default=120,
        ge=1,
        description="How many of them accept what the cart tells them and try all the same, so "
        "that inventory itself has to refuse.",
    )
    race_shoppers_at_once: int = Field(
        default=100, ge=1, description="Shoppers who check out at a time in the race."
    )
    race_refused_by_inventory: int = Field(
        default=50, ge=0, description="At least so many must be refused by inventory itself."
    )

    decline_shoppers: int = Field(
        default=20, ge=2, description="Shoppers whose first card is declined; half pay again."
    )
    decline_window_seconds: int = Field(
        default=5,
        ge=1,
        description="The payment window of those who let it close: long enough on a busy machine "
        "for the three requests of a decline.",
    )
    decline_patient_window_seconds: int = Field(
        default=300, ge=1, description="The payment window of those who pay again."
    )

    provider_call_seconds: float = Field(
        default=4,
        gt=0,
        description="How long the shop waits for an answer of Stripe: less than it does by "
        "default, for the demo has to wait for one that never comes.",
    )
    trouble_shoppers: int = Field(
        default=3, ge=1, description="Shoppers who run into each kind of trouble in paying."
    )

    crash_checkouts: int = Field(default=100, ge=1, description="Checkouts under way in the crash.")
    crash_in_doubt: int = Field(
        default=10,
        ge=1,
        description="At least so many provider calls must be cut off between effect and record.",
    )
    crash_rounds: int = Field(
        default=4, ge=1, description="So many rounds are tried to cut off that many calls."
    )
    crash_slow_ms: int = Field(
        default=1_500, ge=1, description="How long the provider waits between effect and answer."
    )
    crash_aim_in_doubt: int = Field(
        default=15,
        ge=1,
        description="A service is killed when so many calls stand between effect and record.",
    )
    crash_aim_seconds: float = Field(
        default=60, gt=0, description="A kill waits no longer for such a moment."
    )
    crash_aim_poll_seconds: float = Field(
        default=0.02, gt=0, description="How often the books are looked at for that moment."
    )
