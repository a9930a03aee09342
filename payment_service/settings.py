"""Settings of the payment service; environment prefix `PAYMENT_`."""

from datetime import timedelta
from typing import Self

from pydantic import Field, SecretStr, model_validator

from messaging.settings import ServiceSettings, service_settings
from payment_service.domain.breaker import BreakerRules
from payment_service.providers.stripe.keys import checked_key
from payment_service.providers.stripe.slow_methods import SlowMethod

LEASE_MARGIN_SECONDS = 5.0
"""By how much a lease outlasts its call: the record's transaction, and clocks that disagree."""


class PaymentSettings(ServiceSettings):
    """What the payment service needs beside what every service has."""

    model_config = service_settings("PAYMENT_")

    database_url: SecretStr = Field(
        SecretStr("postgresql://postgres@127.0.0.1:5432/payment"),
        description="postgresql://user:password@host:port/database",
    )
    simulated_database_url: SecretStr = Field(
        SecretStr("postgresql://postgres@127.0.0.1:5432/simulated_provider"),
        description="The simulated provider's own database.",
    )
    simulated_database_connections: int = Field(
        4, ge=2, description="Pool of the simulated provider; its calls share transactions."
    )
    stripe_api_key: SecretStr | None = Field(
        None, description="Secret or restricted key of Stripe; without it Stripe is not offered."
    )
    stripe_base_url: str | None = Field(
        None, description="What answers instead of Stripe, `stripe_sandbox` say; takes test keys."
    )
    stripe_webhook_secrets: tuple[SecretStr, ...] = Field(
        (),
        max_length=2,
        description="Signing secrets of the webhook endpoint, two while they are changed; a JSON "
        "list in the environment. Without one webhooks are not taken, and Stripe is only asked.",
    )
    stripe_return_url: str | None = Field(
        None,
        description="Where the shopper's bank sends the browser back to. Without it, a page of "
        "this service.",
    )
    stripe_slow_methods: tuple[SlowMethod, ...] = Field(
        (),
        description="Ways to pay whose money takes days that may hold stock so long, by Stripe's "
        "names (`us_bank_account`, `sepa_debit`); a JSON list in the environment. No other one of "
        "them is offered.",
    )
    stripe_call_seconds: float = Field(
        8, gt=0, description="Longest a call to Stripe takes; shorter than `call_timeout_seconds`."
    )
    webhook_again_after_seconds: float = Field(
        5, gt=0, description="A webhook whose payment is not here is looked at again then."
    )
    webhook_give_up_seconds: float = Field(
        3 * 24 * 3600, gt=0, description="And given up then: Stripe has stopped sending it, too."
    )
    webhook_kept_seconds: float = Field(
        30 * 24 * 3600, gt=0, description="How long it is known that a webhook came before."
    )
    webhook_rows: int = Field(500, ge=1, description="Most webhooks looked at again at once.")
    forget_method_seconds: float = Field(
        5, gt=0, description="How often providers are told of saved methods that were deleted."
    )
    forget_method_rows: int = Field(
        50, ge=1, description="Most of them at once, one after the other."
    )
    reconcile_interval_seconds: float = Field(
        3600, gt=0, description="How often our ledger is compared with each provider's books."
    )
    reconcile_overlap_seconds: float = Field(
        900, gt=0, description="By how much a run reaches back into the time of the one before."
    )
    reconcile_margin_seconds: float = Field(
        60,
        ge=0,
        description="What moved here so lately may not stand in the provider's lists yet.",
    )
    reconcile_settle_seconds: float = Field(
        15, ge=0, description="How long a run waits for reviews to repair what it found."
    )
    reconcile_lease_seconds: float = Field(
        120, gt=0, description="A run whose process was not heard of for so long begins anew."
    )
    reconcile_poll_seconds: float = Field(
        2, gt=0, description="How often is looked for a run that was asked for."
    )
    reconcile_rows: int = Field(100, ge=1, description="Most payments compared in one transaction.")
    reconciliation_kept_seconds: float = Field(
        30 * 24 * 3600, gt=0, description="How long runs and their differences are kept."
    )
    production: bool = Field(
        False, description="Whether money is meant: a test key of Stripe is refused then."
    )
    public_base_url: str | None = Field(
        None,
        description="Where shoppers reach this service; begins the links they are sent. "
        "Without it, host and port it listens on.",
    )
    calls_in_flight: int = Field(
        128,
        ge=1,
        description="Calls of each provider at a time; each holds a lease while it runs.",
    )
    call_timeout_seconds: float = Field(
        10, gt=0, description="Hard end of a provider call; its outcome is unknown then."
    )
    lease_seconds: float = Field(
        30, gt=0, description="How long a call is this worker's alone; longer than its timeout."
    )
    record_results: int = Field(500, ge=1, description="Most results recorded in one transaction.")
    worker_poll_seconds: float = Field(
        0.25, gt=0, description="Backstop of the wake-up after each commit; finds what became due."
    )
    worker_drain_seconds: float = Field(
        4, gt=0, lt=7, description="How long calls in flight may finish at stop; the rest is asked."
    )
    stripe_requests_per_second: float = Field(
        25,
        gt=0,
        description="Requests that Stripe takes from the account: 25 in test mode, and of each "
        "endpoint; 100 in live mode, of which a charge has two endpoints at 25 each.",
    )
    provider_rate_share: float = Field(
        1,
        gt=0,
        le=1,
        description="What part of a provider's rate this replica may use: 0.5 with two of them.",
    )
    breaker_window_seconds: float = Field(
        30, gt=0, description="How far back calls count that a provider did not answer."
    )
    breaker_least_calls: int = Field(
        10,
        ge=1,
        description="Fewer calls in the window show nothing: one payment alone is asked about "
        "seven times in it.",
    )
    breaker_failure_share: float = Field(
        0.5, gt=0, le=1, description="Part of them, unanswered, at which it is not called any more."
    )
    breaker_cool_down_seconds: float = Field(
        2, gt=0, description="It is tried again then; doubles while it does not answer."
    )
    breaker_longest_cool_down_seconds: float = Field(
        30, gt=0, description="Longest wait before it is tried; bounds how late its return is seen."
    )
    breaker_probes: int = Field(
        3, ge=1, description="Calls it is tried with; so many answers, and it is called as ever."
    )
    breaker_answer_seconds: float = Field(
        5,
        ge=0,
        description="A charge that nobody has called is not left to wait longer for a provider "
        "that is away: the shopper is told, and may pay later or otherwise.",
    )
    breaker_answer_rows: int = Field(500, ge=1, description="Most charges answered so at once.")
    ask_first_seconds: float = Field(
        0.5, gt=0, description="Wait before a provider is asked (again); doubles each time."
    )
    ask_longest_seconds: float = Field(
        60, gt=0, description="Longest wait between questions; asked until known."
    )
    ask_bank_longest_seconds: float = Field(
        3600,
        gt=0,
        description="The same about what takes a bank days: a debit or a refund on its way.",
    )
    report_resend_seconds: float = Field(
        30, gt=0, description="A report not decided upon for so long is sent again."
    )
    report_resend_longest_seconds: float = Field(
        3600, gt=0, description="Longest wait between two sendings of a report."
    )
    report_resend_rows: int = Field(500, ge=1, description="Most reports sent again at once.")

    @property
    def link_base_url(self) -> str:
        """What links for shoppers begin with."""
        return self.public_base_url or f"http://{self.http_host}:{self.http_port}"

    @property
    def webhook_again_after(self) -> timedelta:
        """`webhook_again_after_seconds` as a duration."""
        return timedelta(seconds=self.webhook_again_after_seconds)

    @property
    def ask_first(self) -> timedelta:
        """`ask_first_seconds` as a duration."""
        return timedelta(seconds=self.ask_first_seconds)

    @property
    def ask_longest(self) -> timedelta:
        """`ask_longest_seconds` as a duration."""
        return timedelta(seconds=self.ask_longest_seconds)

    @property
    def ask_bank_longest(self) -> timedelta:
        """`ask_bank_longest_seconds` as a duration."""
        return timedelta(seconds=self.ask_bank_longest_seconds)

    @property
    def breaker_rules(self) -> BreakerRules:
        """When a provider is not called any more, and when again."""
        return BreakerRules(
            window=timedelta(seconds=self.breaker_window_seconds),
            least_calls=self.breaker_least_calls,
            share=self.breaker_failure_share,
            cool_down=timedelta(seconds=self.breaker_cool_down_seconds),
            longest_cool_down=timedelta(seconds=self.breaker_longest_cool_down_seconds),
            probes=self.breaker_probes,
        )

    def most_per_second(self, provider: str) -> float | None:
        """Requests that this replica may send a provider; None where there is no limit."""
        if provider != "stripe":
            return None
        return self.stripe_requests_per_second * self.provider_rate_share

    @property
    def stripe_returns_to(self) -> str:
        """Where the shopper's bank sends the browser back to."""
        return self.stripe_return_url or f"{self.link_base_url}/returned"

    @model_validator(mode="after")
    def _stripe_key_fits(self) -> Self:
        if self.stripe_api_key is not None:
            checked_key(self.stripe_api_key, self.stripe_base_url, production=self.production)
        if self.stripe_call_seconds >= self.call_timeout_seconds:
            raise ValueError("stripe_call_seconds must be less than call_timeout_seconds")
        return self

    @model_validator(mode="after")
    def _lease_outlasts_call(self) -> Self:
        if self.lease_seconds < self.call_timeout_seconds + LEASE_MARGIN_SECONDS:
            raise ValueError(
                "lease_seconds must exceed call_timeout_seconds by at least "
                f"{LEASE_MARGIN_SECONDS:g}"
            )
        return self
