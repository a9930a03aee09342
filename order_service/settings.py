"""Settings of the order service; environment prefix `ORDER_`."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from contracts.messages.base import Step
from contracts.money import PROVIDER_LIMITS
from messaging.settings import ServiceSettings, service_settings
from order_service.checkout import Lapse, LateSuccess, Policy
from order_service.documents.domain import Seller

Provider = Annotated[str, Field(min_length=1)]


class OrderSettings(ServiceSettings):
    """What the order service needs beyond what every service does."""

    model_config = service_settings("ORDER_")

    payment_providers: tuple[Provider, ...] = Field(
        ("simulated",),
        min_length=1,
        validation_alias="TROLLEY_PAYMENT_PROVIDERS",
        description="Providers that an order may be paid through, the usual one first; a JSON list "
        "in the environment, the one that the cart reads too: prices are rounded for those.",
    )
    public_base_url: str | None = Field(
        None,
        description="Where shoppers reach this service; begins the links to pay by. "
        "Without it, host and port it listens on.",
    )
    payment_link_told_seconds: float = Field(
        30 * 24 * 3600,
        ge=0,
        description="How long after the payment window a link to pay still says what came of it.",
    )
    resend_first_seconds: float = Field(
        10,
        gt=0,
        description="An unanswered step is asked again after so long. Nothing is lost on Kafka, so "
        "a backlog must not be answered with more of the same.",
    )
    resend_longest_seconds: float = Field(
        120, gt=0, description="The longest wait between two sends; each doubles the last."
    )
    reserve_sends: int = Field(
        6, ge=1, description="Most sends of ReserveStock: about 4 minutes, then it is given up."
    )
    extend_sends: int = Field(
        4, ge=1, description="Most sends of ExtendReservation; inventory asks before it expires."
    )
    charge_sends: int = Field(
        6, ge=1, description="Most sends of ChargePayment: about 4 minutes, then it is closed."
    )
    capture_sends: int = Field(
        12, ge=1, description="Most sends of CapturePayment: about 18 minutes, then attention."
    )
    close_payment_sends: int = Field(
        12, ge=1, description="Most sends of ClosePayment: about 18 minutes, then attention."
    )
    commit_sends: int = Field(
        12, ge=1, description="Most sends of CommitReservation: about 18 minutes, then attention."
    )
    refund_sends: int = Field(
        12, ge=1, description="Most sends of RefundPayment: about 18 minutes, then attention."
    )
    release_sends: int = Field(
        12, ge=1, description="Most sends of ReleaseStock: about 18 minutes, then attention."
    )
    reservation_backstop_seconds: float = Field(
        3 * 3600,
        gt=0,
        description="How long a reservation outlives the payment window: the budget for unknown "
        "outcomes, after which inventory asks.",
    )
    unknown_patience_seconds: float = Field(
        3600, gt=0, description="How long an outcome may stay unknown before somebody must look."
    )
    attempt_grace_seconds: float = Field(
        300,
        gt=0,
        description="How long after its own expiry an attempt may still be settled by the "
        "provider's word.",
    )
    refund_patience_seconds: float = Field(
        10 * 24 * 3600,
        gt=0,
        description="How long a refund may be pending at the provider before somebody must look.",
    )
    capture_ahead_seconds: float = Field(
        24 * 3600,
        gt=0,
        description="How long before the provider gives back money that was set aside for an "
        "order something is done about it, shipped or not; at most half of the time there is.",
    )
    authorization_lapse: Lapse = Field(
        Lapse.CAPTURE,
        description="What is done then: capture, authorize_again (by a method that the customer "
        "saved; captured where there is none), or cancel.",
    )
    attempts_per_order: int = Field(20, ge=1, description="Most attempts to pay one order.")
    refunds_per_order: int = Field(
        20, ge=1, le=1_000, description="Most refunds of a whole attempt asked for one order."
    )
    claims_per_order: int = Field(
        200, ge=1, description="Most refunds in part and returns of one order."
    )
    shipments_per_order: int = Field(
        100,
        ge=1,
        description="Most shipments of one order: all of them stand in its facts, which each "
        "message about it reads and writes whole.",
    )
    reservation_rounds: int = Field(
        5, ge=1, description="Most reservation rounds of one checkout (late money reserves again)."
    )
    success_at_window_close: LateSuccess = Field(
        LateSuccess.KEEP, description="Money that crosses the window's close, stock still held."
    )
    success_at_cancel: LateSuccess = Field(
        LateSuccess.REFUND, description="Money that crosses a cancel, stock still held."
    )
    success_after_release: LateSuccess = Field(
        LateSuccess.REFUND, description="Money that comes when the stock was given back."
    )

    sellers: dict[str, Seller] = Field(
        default_factory=dict,
        description="Who sells, by shop, as invoices say it: name, address (a list of lines), "
        "tax_id, email; time_zone (IANA, of the year and day of a document), invoice_series and "
        "credit_note_series (the beginnings of their numbers). JSON in the environment. Documents "
        "keep what stood here when they were issued.",
    )
    pdf_renders_at_once: int = Field(
        1,
        ge=1,
        description="PDFs in the making; more wait. Each takes a thread and most of a processor.",
    )

    sweep_interval_seconds: float = Field(
        0.25, gt=0, description="How often due deadlines are looked for."
    )
    sweep_rows: int = Field(
        500, ge=1, description="Most checkouts whose deadlines are noted in one transaction."
    )
    deadline_repeat_seconds: float = Field(
        10, gt=0, description="A deadline that nobody acted on is noted again after so long."
    )
    states_interval_seconds: float = Field(
        5, gt=0, description="How often the checkouts are counted by state for the metrics."
    )
    unseen_late_seconds: float = Field(
        60,
        gt=0,
        description="A checkout that its cart issued so long ago and the saga has not seen yet is "
        "shown as late: its StartCheckout is stuck, or a dead letter.",
    )
    history_entries: int = Field(
        500, ge=1, description="Most entries of a checkout's history that are shown: the newest."
    )

    @property
    def link_base_url(self) -> str:
        """What links for shoppers begin with."""
        return self.public_base_url or f"http://{self.http_host}:{self.http_port}"

    @property
    def payment_link_told(self) -> timedelta:
        """`payment_link_told_seconds` as a duration."""
        return timedelta(seconds=self.payment_link_told_seconds)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if unknown := set(self.payment_providers) - set(PROVIDER_LIMITS):
            raise ValueError(f"unknown payment providers: {', '.join(sorted(unknown))}")
        if self.resend_longest_seconds < self.resend_first_seconds:
            raise ValueError("the longest wait is shorter than the first")
        self.policy()
        return self

    def policy(self) -> Policy:
        """The saga's bounds and choices. Raises `InconsistentPolicy`."""
        return Policy(
            resend_first_seconds=self.resend_first_seconds,
            resend_longest_seconds=self.resend_longest_seconds,
            sends={
                Step.RESERVE: self.reserve_sends,
                Step.EXTEND: self.extend_sends,
                Step.CHARGE: self.charge_sends,
                Step.CAPTURE: self.capture_sends,
                Step.CLOSE_PAYMENT: self.close_payment_sends,
                Step.COMMIT: self.commit_sends,
                Step.REFUND: self.refund_sends,
                Step.RELEASE: self.release_sends,
            },
            reservation_backstop_seconds=self.reservation_backstop_seconds,
            unknown_patience_seconds=self.unknown_patience_seconds,
            attempt_grace_seconds=self.attempt_grace_seconds,
            refund_patience_seconds=self.refund_patience_seconds,
            capture_ahead_seconds=self.capture_ahead_seconds,
            attempts_limit=self.attempts_per_order,
            refunds_limit=self.refunds_per_order,
            claims_limit=self.claims_per_order,
            shipments_limit=self.shipments_per_order,
            reservation_rounds_limit=self.reservation_rounds,
            success_at_window_close=self.success_at_window_close,
            success_at_cancel=self.success_at_cancel,
            success_after_release=self.success_after_release,
            authorization_lapse=self.authorization_lapse,
        )
