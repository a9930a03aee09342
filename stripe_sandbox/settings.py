"""Settings of the sandbox; environment prefix `STRIPE_SANDBOX_`."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

API_VERSION = "2026-08-26.dahlia"
"""The one version of Stripe's API that is spoken here."""

TEST_KEYS = ("sk_test_", "rk_test_")


class SandboxSettings(BaseSettings):
    """Where the sandbox listens, what it keeps, and how quick it is."""

    model_config = SettingsConfigDict(env_prefix="STRIPE_SANDBOX_", extra="ignore")

    http_host: str = Field(
        "127.0.0.1", description="Address it listens on; loopback unless asked for."
    )
    http_port: int = Field(
        12111, ge=0, le=65535, description="Port it listens on; 0 takes a free one."
    )
    state: Path = Field(
        Path("stripe-sandbox.sqlite3"), description="The file that everything is kept in."
    )
    api_key: SecretStr = Field(
        SecretStr("sk_test_sandbox"), description="The secret key that it takes; a test key."
    )
    public_url: str | None = Field(
        None, description="How shoppers' browsers reach its pages. Without it, host and port."
    )
    search_lag_seconds: int = Field(
        2, ge=0, description="How long search does not know what has changed."
    )
    webhook_base_url: str | None = Field(
        None, description="A program that is told of every event, at `webhook_path`."
    )
    webhook_path: str = Field("/webhooks/stripe", description="Where that program takes them.")
    webhook_secret: SecretStr = Field(
        SecretStr("whsec_sandbox"), description="What its webhooks are signed with."
    )
    webhook_timeout_seconds: float = Field(
        10, gt=0, description="An endpoint that has not answered by then gets the event again."
    )
    webhook_first_retry_seconds: float = Field(
        2, gt=0, description="Wait before an event is sent again; doubles each time."
    )
    webhook_attempts: int = Field(
        12, ge=1, le=100, description="An event is sent so often at most."
    )
    webhooks_in_flight: int = Field(32, ge=1, description="Deliveries at a time.")
    requests_per_second: int | None = Field(
        None,
        ge=1,
        description="More requests within a second are refused (429). Without it, none are; "
        "Stripe takes 25 in test mode.",
    )
    timeout_seconds: float = Field(
        60, gt=0, description="How long a request hangs that is made to time out."
    )
    largest_body_bytes: int = Field(1_000_000, ge=1000, description="Longest request body.")

    @model_validator(mode="after")
    def _takes_no_live_key(self) -> Self:
        if not self.api_key.get_secret_value().startswith(TEST_KEYS):
            raise ValueError("api_key must be a test key (sk_test_... or rk_test_...)")
        return self
