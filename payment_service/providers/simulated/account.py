"""The simulated provider's own rules, pure: what each call does to what it holds.

An account is everything under one charge key. It knows nothing of Trolley's state: it can be
asked, and its ledger compared, as a real provider's could.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, TypeAlias, assert_never
from uuid import NAMESPACE_URL, UUID

from contracts.ids import derived_id
from contracts.values import Struct, field, replace
from payment_service.domain.declines import declined
from payment_service.domain.outcomes import (
    ActionRequired,
    Authorized,
    Cancelled,
    CaptureFailed,
    NeverCreated,
    NotFound,
    Outcome,
    PaymentOutcome,
    Processing,
    Refunded,
    RefundFailed,
    RefundOutcome,
    RefundPending,
    RefundState,
    Reviewed,
    ReviewOutcome,
    SeenDispute,
    SeenRefund,
    Succeeded,
    Unknown,
)
from payment_service.providers.port import (
    Capture,
    Charge,
    Close,
    IdempotencyConflict,
    PaymentQuestion,
    Refund,
    RefundQuestion,
    Review,
)
from payment_service.providers.simulated.methods import (
    CAPTURE_WITHIN_MS,
    INVALID_METHOD,
    NO_FAULT,
    Behaviour,
    Call,
    Fault,
    UnknownMethod,
    behaviour_of,
    behaviour_on_page,
)

ACTION_TYPE = "redirect_to_url"

ACTION_FAILED = "authentication_required"
"""The decline code after a failed challenge."""


class Status(StrEnum):
    """Where a payment stands at the simulated provider."""

    UNKNOWN = "unknown"
    """Named by a call that had no effect yet."""
    SUCCEEDED = "succeeded"
    AUTHORIZED = "authorized"
    PROCESSING = "processing"
    ACTION_REQUIRED = "action_required"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    NEVER_CREATED = "never_created"
    CAPTURE_FAILED = "capture_failed"


class RefundStatus(StrEnum):
    """Where a refund stands at the simulated provider."""

    PENDING = "pending"
    REFUNDED = "refunded"
    FAILED = "failed"


class EntryKind(StrEnum):
    """Kinds of ledger entries; named as in Trolley's own ledger, so that both compare by SQL."""

    AUTHORIZED = "authorized"
    VOIDED = "voided"
    CAPTURED = "captured"
    REFUND_REQUESTED = "refund_requested"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    REFUND_RETURNED = "refund_returned"
    DISPUTED = "disputed"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"


class ProviderPayment(Struct, frozen=True):
    """A payment at the simulated provider.

    `released_minor` was set aside and is given back. `due_at` is when it moves by itself:
    processing ends, an action or authorization expires.
    """

    charge_key: str
    status: Status = Status.UNKNOWN
    payment_id: UUID | None = None
    attempt: int | None = None
    method_token: str = ""
    flow: str = "automatic"
    amount_minor: int = 0
    captured_minor: int = 0
    released_minor: int = 0
    currency: str = ""
    code: str | None = None
    action_secret: str | None = None
    due_at: datetime | None = None

    @property
    def provider_payment_id(self) -> str:
        """The provider's own id: derived, so that the same payment has it in every run."""
        return f"sim_pay_{derived_id(NAMESPACE_URL, self.charge_key).hex}"

    @property
    def behaviour(self) -> Behaviour:
        """What its method asks for; nothing special for one that is not known."""
        try:
            return behaviour_of(self.method_token)
        except UnknownMethod:
            return Behaviour()


class ProviderRefund(Struct, frozen=True):
    """A refund at the simulated provider.

    `due_at` is when a pending one ends, or when the bank sends one back. `is_ours`: asked for
    through the port, not by somebody here.
    """

    refund_key: str
    charge_key: str
    amount_minor: int
    status: RefundStatus
    code: str | None = None
    due_at: datetime | None = None
    is_ours: bool = True

    @property
    def provider_refund_id(self) -> str:
        """The provider's own id."""
        return f"sim_ref_{derived_id(NAMESPACE_URL, self.refund_key).hex}"


DisputeStatus: TypeAlias = Literal["open", "won", "lost"]

DECIDED = {"won": EntryKind.DISPUTE_WON, "lost": EntryKind.DISPUTE_LOST}
"""What is booked at the end of a dispute."""


class ProviderDispute(Struct, frozen=True):
    """Money that the shopper's bank has withdrawn: for now, not after all, or for good."""

    dispute_key: str
    charge_key: str
    amount_minor: int
    status: DisputeStatus

    @property
    def provider_dispute_id(self) -> str:
        """The provider's own id."""
        return f"sim_dis_{derived_id(NAMESPACE_URL, self.dispute_key).hex}"


class Entry(Struct, frozen=True):
    """A new entry of the provider's ledger."""

    kind: EntryKind
    amount_minor: int
    refund_key: str | None = None


class Answer(Struct, frozen=True):
    """The first answer to an unsafe call: the same key gets it again, whatever came since."""

    idempotency_key: str
    call: Call
    fingerprint: str
    outcome: Outcome


class Account(Struct, frozen=True):
    """What the provider holds under one charge key; `entries` are those not written yet."""

    payment: ProviderPayment
    refunds: Mapping[str, ProviderRefund] = field(default_factory=dict)
    disputes: Mapping[str, ProviderDispute] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()

    @property
    def given_back_minor(self) -> int:
        """Refunded or on its way there."""
        return sum(
            refund.amount_minor
            for refund in self.refunds.values()
            if refund.status is not RefundStatus.FAILED
        )

    @property
    def withdrawn_minor(self) -> int:
        """Disputed, and not won."""
        return sum(
            dispute.amount_minor for dispute in self.disputes.values() if dispute.status != "won"
        )

    def paying(self, payment: ProviderPayment, *entries: Entry) -> "Account":
        """The account with this payment and further entries; entries of zero are none."""
        booked = tuple(entry for entry in entries if entry.amount_minor)
        return replace(self, payment=payment, entries=self.entries + booked)

    def refunding(self, refund: ProviderRefund, *kinds: EntryKind) -> "Account":
        """The account with this refund, and an entry of each kind for its amount."""
        entries = tuple(Entry(kind, refund.amount_minor, refund.refund_key) for kind in kinds)
        refunds = {**self.refunds, refund.refund_key: refund}
        return replace(self, refunds=refunds, entries=self.entries + entries)

    def disputing(self, dispute: ProviderDispute, kind: EntryKind) -> "Account":
        """The account with this dispute, and an entry for its amount."""
        disputes = {**self.disputes, dispute.dispute_key: dispute}
        entries = (*self.entries, Entry(kind, dispute.amount_minor))
        return replace(self, disputes=disputes, entries=entries)


class ShopperActed(Struct, frozen=True):
    """The shopper completed the required action, or failed it."""

    charge_key: str
    completed: bool


class ShopperLooked(Struct, frozen=True):
    """The shopper looks where the required action stands."""

    charge_key: str


class ClerkRefunded(Struct, frozen=True):
    """Somebody at the provider gives money back, without being asked through the port."""

    charge_key: str
    refund_key: str
    amount_minor: int


class BankDisputed(Struct, frozen=True):
    """The shopper's bank withdraws money (`open`), or decides about what it has withdrawn."""

    charge_key: str
    dispute_key: str
    amount_minor: int
    status: DisputeStatus


ProviderCall: TypeAlias = (
    Charge
    | Capture
    | Close
    | Refund
    | PaymentQuestion
    | RefundQuestion
    | Review
    | ShopperActed
    | ShopperLooked
    | ClerkRefunded
    | BankDisputed
)


def call_kind(call: ProviderCall) -> Call:
    """Which kind of call it is."""
    match call:
        case Charge():
            return Call.CHARGE
        case Capture():
            return Call.CAPTURE
        case Close():
            return Call.CLOSE
        case Refund():
            return Call.REFUND
        case PaymentQuestion() | RefundQuestion() | Review():
            return Call.ASK
        case ShopperActed() | ShopperLooked() | ClerkRefunded() | BankDisputed():
            return Call.ASK
        case _:
            assert_never(call)


def call_key(call: ProviderCall) -> str:
    """The key under which calls are counted: the idempotency key, or what is asked about."""
    match call:
        case Charge() | Capture() | Close() | Refund():
            return call.idempotency_key
        case PaymentQuestion() | Review() | ShopperActed() | ShopperLooked():
            return call.charge_key
        case RefundQuestion() | ClerkRefunded():
            return call.refund_key
        case BankDisputed():
            return call.dispute_key
        case _:
            assert_never(call)


def opens_account(call: ProviderCall) -> bool:
    """Whether the call makes an account where there is none."""
    return isinstance(call, Charge | Close)


def fault_of(account: Account | None, call: ProviderCall) -> Fault:
    """What goes wrong with this call, by the method of its payment."""
    if isinstance(call, ShopperActed | ShopperLooked | ClerkRefunded | BankDisputed):
        return NO_FAULT
    token = call.method_token if isinstance(call, Charge) else None
    if token is None:
        token = account.payment.method_token if account else ""
    try:
        return behaviour_of(token).fault(call_kind(call))
    except UnknownMethod:
        return NO_FAULT


def answered(
    account: Account | None, call: ProviderCall, now: datetime, action_secret: str
) -> tuple[Account | None, Outcome]:
    """The account after a call, and the answer. Raises `IdempotencyConflict`.

    `action_secret` is what a required action of this account is to be reached by.
    """
    if account is None:
        return None, NotFound()
    account = _come_due(account, now)
    match call:
        case PaymentQuestion() | ShopperLooked():
            return account, state_of(account.payment)
        case RefundQuestion():
            return account, _asked_refund(account.refunds.get(call.refund_key))
        case Review():
            return account, _review(account)
        case ClerkRefunded():
            return _refunded(account, call.refund_key, call.amount_minor, now, is_ours=False)
        case BankDisputed():
            account = _disputed(account, call)
            return account, _review(account)
        case ShopperActed():
            account = _acted(account, call.completed, now)
            return account, state_of(account.payment)
        case Charge() | Capture() | Close() | Refund():
            return _answered_once(account, call, now, action_secret)
        case _:
            assert_never(call)


def _answered_once(
    account: Account, call: Charge | Capture | Close | Refund, now: datetime, action_secret: str
) -> tuple[Account, Outcome]:
    fingerprint = _fingerprint(call)
    stored = account.answers.get(call.idempotency_key)
    if stored is not None:
        if stored.fingerprint != fingerprint:
            raise IdempotencyConflict(call.idempotency_key)
        return account, stored.outcome
    outcome: Outcome
    match call:
        case Charge():
            account = _charged(account, call, now, action_secret)
            outcome = state_of(account.payment)
        case Capture():
            account = _captured(account, call)
            outcome = state_of(account.payment)
        case Close():
            account = _closed(account)
            outcome = state_of(account.payment)
        case Refund():
            key = call.idempotency_key
            account, outcome = _refunded(account, key, call.amount_minor, now, is_ours=True)
        case _:
            assert_never(call)
    answer = Answer(call.idempotency_key, call_kind(call), fingerprint, outcome)
    answers = {**account.answers, call.idempotency_key: answer}
    return replace(account, answers=answers), outcome


def _fingerprint(call: Charge | Capture | Close | Refund) -> str:
    """What must be the same under the same key: neither times nor the name we happen to know."""
    charge = call if isinstance(call, Charge) else call.charge
    amount_minor = None if isinstance(call, Close) else call.amount_minor
    asked = (charge.charge_key, charge.payment_id, charge.attempt, charge.amount_minor)
    how = (charge.currency, charge.method_token, charge.flow, *("hosted",) * charge.hosted)
    return repr((call_kind(call).value, amount_minor, *asked, *how))


def _come_due(account: Account, now: datetime) -> Account:
    """The account after everything that time alone brings."""
    payment = account.payment
    if payment.due_at is not None and now >= payment.due_at:
        match payment.status:
            case Status.PROCESSING if payment.behaviour.processing_declines:
                account = _declined(account, payment, "card_declined")
            case Status.PROCESSING:
                account = _paid(account, payment, now)
            case Status.ACTION_REQUIRED:
                account = account.paying(replace(payment, status=Status.EXPIRED, due_at=None))
            case Status.AUTHORIZED:
                account = _voided(account, Status.EXPIRED)
    for refund in account.refunds.values():
        if refund.due_at is None or now < refund.due_at:
            continue
        if refund.status is RefundStatus.PENDING:
            account = _refund_ended(account, refund, refund.due_at)
        elif refund.status is RefundStatus.REFUNDED:
            failed = replace(refund, status=RefundStatus.FAILED, code="account_closed", due_at=None)
            account = account.refunding(failed, EntryKind.REFUND_RETURNED)
    return account


def _charged(account: Account, call: Charge, now: datetime, action_secret: str) -> Account:
    if account.payment.status is not Status.UNKNOWN:
        return account  # closed before it came
    payment = replace(
        account.payment,
        payment_id=call.payment_id,
        attempt=call.attempt,
        method_token=call.method_token,
        flow=call.flow,
        amount_minor=call.amount_minor,
        currency=call.currency,
    )
    try:
        read = behaviour_on_page if call.hosted else behaviour_of
        behaviour = read(call.method_token)
    except UnknownMethod:
        return _declined(account, payment, INVALID_METHOD)
    if behaviour.decline_code is not None:
        return _declined(account, payment, behaviour.decline_code)
    if behaviour.action_open_ms is not None and call.off_session:
        return _declined(account, payment, ACTION_FAILED)  # nobody is there to act
    if behaviour.action_open_ms is not None:
        due_at = now + timedelta(milliseconds=behaviour.action_open_ms)
        return account.paying(
            replace(
                payment, status=Status.ACTION_REQUIRED, due_at=due_at, action_secret=action_secret
            )
        )
    if behaviour.processing_ms is not None:
        due_at = now + timedelta(milliseconds=behaviour.processing_ms)
        return account.paying(replace(payment, status=Status.PROCESSING, due_at=due_at))
    return _paid(account, payment, now)


def _paid(account: Account, payment: ProviderPayment, now: datetime) -> Account:
    """The account with the money captured, or set aside, as the flow asks."""
    authorized = Entry(EntryKind.AUTHORIZED, payment.amount_minor)
    if payment.flow == "authorize":
        within_ms = payment.behaviour.capture_within_ms or CAPTURE_WITHIN_MS
        due_at = now + timedelta(milliseconds=within_ms)
        return account.paying(replace(payment, status=Status.AUTHORIZED, due_at=due_at), authorized)
    paid = replace(
        payment, status=Status.SUCCEEDED, captured_minor=payment.amount_minor, due_at=None
    )
    return account.paying(paid, authorized, Entry(EntryKind.CAPTURED, payment.amount_minor))


def _declined(account: Account, payment: ProviderPayment, code: str) -> Account:
    return account.paying(replace(payment, status=Status.DECLINED, code=code, due_at=None))


def _voided(account: Account, status: Status, code: str | None = None) -> Account:
    """The account with its authorization given back."""
    released = account.payment.amount_minor
    payment = replace(
        account.payment, status=status, code=code, released_minor=released, due_at=None
    )
    return account.paying(payment, Entry(EntryKind.VOIDED, released))


def _captured(account: Account, call: Capture) -> Account:
    payment = account.payment
    if payment.status is not Status.AUTHORIZED:
        return account
    if payment.behaviour.capture_fails:
        return _voided(account, Status.CAPTURE_FAILED, "capture_declined")
    if not 0 < call.amount_minor <= payment.amount_minor:
        return _voided(account, Status.CAPTURE_FAILED, "amount_too_large")
    taken = replace(payment, status=Status.SUCCEEDED, captured_minor=call.amount_minor, due_at=None)
    rest = payment.amount_minor - call.amount_minor
    return account.paying(
        taken, Entry(EntryKind.CAPTURED, call.amount_minor), Entry(EntryKind.VOIDED, rest)
    )


def _closed(account: Account) -> Account:
    payment = account.payment
    match payment.status:
        case Status.UNKNOWN:
            # The tombstone that a late charge under this key meets.
            return account.paying(replace(payment, status=Status.NEVER_CREATED))
        case Status.ACTION_REQUIRED:
            return account.paying(replace(payment, status=Status.CANCELLED, due_at=None))
        case Status.PROCESSING if payment.behaviour.closeable:
            return account.paying(replace(payment, status=Status.CANCELLED, due_at=None))
        case Status.AUTHORIZED:
            return _voided(account, Status.CANCELLED)
        case _:
            return account


def _acted(account: Account, completed: bool, now: datetime) -> Account:
    payment = account.payment
    if payment.status is not Status.ACTION_REQUIRED:
        return account
    if completed:
        return _paid(account, payment, now)
    return _declined(account, payment, ACTION_FAILED)


def _refunded(
    account: Account, refund_key: str, amount_minor: int, now: datetime, *, is_ours: bool
) -> tuple[Account, RefundOutcome]:
    payment = account.payment
    if refund_key in account.refunds:
        return account, _refund_state(account.refunds[refund_key])
    if payment.status is not Status.SUCCEEDED:
        return account, RefundFailed(None, "charge_not_captured")
    if account.withdrawn_minor:
        return account, RefundFailed(None, "charge_disputed")
    if not 0 < amount_minor <= payment.captured_minor - account.given_back_minor:
        return account, RefundFailed(None, "amount_exceeds_charge")
    refund = ProviderRefund(
        refund_key=refund_key,
        charge_key=payment.charge_key,
        amount_minor=amount_minor,
        status=RefundStatus.PENDING,
        is_ours=is_ours,
    )
    pending_ms = payment.behaviour.refund_pending_ms
    if pending_ms is not None:
        refund = replace(refund, due_at=now + timedelta(milliseconds=pending_ms))
        account = account.refunding(refund, EntryKind.REFUND_REQUESTED)
    else:
        account = account.refunding(refund, EntryKind.REFUND_REQUESTED)
        account = _refund_ended(account, refund, now)
    return account, _refund_state(account.refunds[refund.refund_key])


def _refund_ended(account: Account, refund: ProviderRefund, now: datetime) -> Account:
    if account.payment.behaviour.refund_fails:
        failed = replace(refund, status=RefundStatus.FAILED, code="refund_declined", due_at=None)
        return account.refunding(failed, EntryKind.REFUND_FAILED)
    returns_ms = account.payment.behaviour.refund_returns_ms
    comes_back_at = None if returns_ms is None else now + timedelta(milliseconds=returns_ms)
    done = replace(refund, status=RefundStatus.REFUNDED, due_at=comes_back_at)
    return account.refunding(done, EntryKind.REFUNDED)


def _disputed(account: Account, call: BankDisputed) -> Account:
    """The account after a word of the bank's. What it has decided stays decided."""
    dispute = account.disputes.get(call.dispute_key)
    if dispute is None:
        if not 0 < call.amount_minor <= account.payment.captured_minor - account.withdrawn_minor:
            return account
        dispute = ProviderDispute(call.dispute_key, call.charge_key, call.amount_minor, "open")
        account = account.disputing(dispute, EntryKind.DISPUTED)
    if dispute.status != "open" or call.status == "open":
        return account
    return account.disputing(replace(dispute, status=call.status), DECIDED[call.status])


def state_of(payment: ProviderPayment) -> PaymentOutcome:
    """The state of a payment as the port tells it."""
    name = payment.provider_payment_id
    match payment.status:
        case Status.UNKNOWN:
            return NotFound()
        case Status.SUCCEEDED:
            return Succeeded(name, payment.captured_minor)
        case Status.AUTHORIZED:
            return Authorized(name, payment.amount_minor, _due(payment))
        case Status.PROCESSING:
            return Processing(name, _due(payment))
        case Status.ACTION_REQUIRED:
            url = f"/simulated/actions/{payment.action_secret}"
            return ActionRequired(name, ACTION_TYPE, url, _due(payment))
        case Status.DECLINED:
            return declined(payment.code or INVALID_METHOD, name)
        case Status.CANCELLED:
            return Cancelled(name, "cancelled", payment.released_minor)
        case Status.EXPIRED:
            return Cancelled(name, "expired", payment.released_minor)
        case Status.NEVER_CREATED:
            return NeverCreated()
        case Status.CAPTURE_FAILED:
            return CaptureFailed(name, payment.code or "capture_declined")
        case _:
            assert_never(payment.status)


def _due(payment: ProviderPayment) -> datetime:
    assert payment.due_at is not None  # noqa: S101 - the table's constraint says so
    return payment.due_at


def _review(account: Account) -> ReviewOutcome:
    state = state_of(account.payment)
    if isinstance(state, NotFound | Unknown):
        return NotFound()
    refunds = tuple(
        SeenRefund(
            refund.provider_refund_id,
            refund.refund_key if refund.is_ours else None,
            refund.amount_minor,
            _refund_state(refund),
        )
        for refund in account.refunds.values()
    )
    disputes = tuple(
        SeenDispute(dispute.provider_dispute_id, dispute.amount_minor, dispute.status)
        for dispute in account.disputes.values()
    )
    return Reviewed(state, refunds, disputes, account.payment.currency or None)


def _asked_refund(refund: ProviderRefund | None) -> RefundOutcome:
    return NotFound() if refund is None else _refund_state(refund)


def _refund_state(refund: ProviderRefund) -> RefundState:
    match refund.status:
        case RefundStatus.PENDING:
            return RefundPending(refund.provider_refund_id)
        case RefundStatus.REFUNDED:
            return Refunded(refund.provider_refund_id)
        case RefundStatus.FAILED:
            return RefundFailed(refund.provider_refund_id, refund.code or "refund_declined")
        case _:
            assert_never(refund.status)
