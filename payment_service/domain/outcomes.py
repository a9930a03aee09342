"""What a payment provider can answer: a closed set, the same for every provider.

Every call about a payment answers with the state of that payment at the provider, so a charge,
a capture, a close and a plain question are read alike.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_origin

from contracts.values import quick


@quick
@dataclass(frozen=True, slots=True)
class Succeeded:
    """The money is captured; `amount_minor` of it."""

    provider_payment_id: str
    amount_minor: int


@quick
@dataclass(frozen=True, slots=True)
class Authorized:
    """The money is set aside, to be captured before `capture_before`."""

    provider_payment_id: str
    amount_minor: int
    capture_before: datetime


@quick
@dataclass(frozen=True, slots=True)
class Processing:
    """The provider is at it, for days with some methods."""

    provider_payment_id: str
    expected_by: datetime


@quick
@dataclass(frozen=True, slots=True)
class ActionRequired:
    """The shopper must act first, until `expires_at`."""

    provider_payment_id: str
    action_type: str
    url: str | None
    expires_at: datetime


@quick
@dataclass(frozen=True, slots=True)
class Declined:
    """A final no. `provider_payment_id` is None when the provider made no payment of it.

    `retryable`: the same again may work, the trouble passes. `same_method_allowed`: the shopper
    may use this method again, perhaps after correcting something.
    """

    provider_payment_id: str | None
    code: str
    retryable: bool
    same_method_allowed: bool


@quick
@dataclass(frozen=True, slots=True)
class Cancelled:
    """Given up before any money came, or expired; nothing can come of it any more.

    `released_minor` had been set aside by then and is given back; we may not have known of it.
    """

    provider_payment_id: str | None
    reason: Literal["cancelled", "expired"]
    released_minor: int = 0


@quick
@dataclass(frozen=True, slots=True)
class NeverCreated:
    """The provider's word that this payment does not exist and will not: a late charge fails."""


@quick
@dataclass(frozen=True, slots=True)
class CaptureFailed:
    """The authorized money could not be taken, and the authorization is gone."""

    provider_payment_id: str
    code: str


@quick
@dataclass(frozen=True, slots=True)
class NotFound:
    """The provider knows nothing of it yet; a call of ours may still be on its way."""


@quick
@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, or none that says what happened: the effect may be there or not."""

    reason: str


@quick
@dataclass(frozen=True, slots=True)
class RefundPending:
    """The provider has taken the refund; the money is on its way."""

    provider_refund_id: str


@quick
@dataclass(frozen=True, slots=True)
class Refunded:
    """The money is back with the shopper."""

    provider_refund_id: str


@quick
@dataclass(frozen=True, slots=True)
class RefundFailed:
    """A final no to the refund; the provider keeps the money."""

    provider_refund_id: str | None
    code: str


@quick
@dataclass(frozen=True, slots=True)
class Requested:
    """No outcome yet: the intent is recorded, the provider has not answered."""


@quick
@dataclass(frozen=True, slots=True)
class NotDue:
    """No outcome to come: nothing is to be paid, no provider is asked."""


SettledPayment: TypeAlias = Succeeded | Declined | Cancelled | NeverCreated | CaptureFailed
"""States of a payment that only a refund or a dispute can follow."""

PaymentState: TypeAlias = SettledPayment | Authorized | Processing | ActionRequired
"""States of a payment at its provider."""

PaymentOutcome: TypeAlias = PaymentState | NotFound | Unknown
"""What a call about a payment can answer."""

RefundState: TypeAlias = RefundPending | Refunded | RefundFailed
"""States of a refund at its provider."""

RefundOutcome: TypeAlias = RefundState | NotFound | Unknown
"""What a call about a refund can answer."""


@quick
@dataclass(frozen=True, slots=True)
class SeenRefund:
    """A refund as the provider has it; `refund_key` is our name of it, if we asked for it."""

    provider_refund_id: str
    refund_key: str | None
    amount_minor: int
    state: RefundState


@quick
@dataclass(frozen=True, slots=True)
class SeenDispute:
    """A dispute that has withdrawn money from us, for now (`open`) or for good (`lost`)."""

    provider_dispute_id: str
    amount_minor: int
    status: Literal["open", "won", "lost"]


@quick
@dataclass(frozen=True, slots=True)
class Reviewed:
    """Everything that the provider has of one payment, however it came about."""

    payment: PaymentState
    refunds: tuple[SeenRefund, ...] = ()
    disputes: tuple[SeenDispute, ...] = ()


ReviewOutcome: TypeAlias = Reviewed | NotFound | Unknown
"""What a call for a review can answer."""

Outcome: TypeAlias = PaymentOutcome | RefundOutcome | Reviewed
"""Everything that a provider can answer."""

AttemptState: TypeAlias = Requested | NotDue | Unknown | PaymentState
"""Where an attempt stands with us."""

RefundProgress: TypeAlias = Requested | Unknown | RefundState
"""Where a refund stands with us."""

State: TypeAlias = Outcome | Requested | NotDue

OUTCOMES: Mapping[str, type[Outcome]] = {
    "succeeded": Succeeded,
    "authorized": Authorized,
    "processing": Processing,
    "action_required": ActionRequired,
    "declined": Declined,
    "cancelled": Cancelled,
    "never_created": NeverCreated,
    "capture_failed": CaptureFailed,
    "not_found": NotFound,
    "unknown": Unknown,
    "refund_pending": RefundPending,
    "refunded": Refunded,
    "refund_failed": RefundFailed,
    "reviewed": Reviewed,
}
"""Outcomes by the name under which they travel in `ProviderReported`."""

STATES: Mapping[str, type[State]] = {**OUTCOMES, "requested": Requested, "not_due": NotDue}
"""States by the name under which they stand in tables: the status of attempts and refunds."""

NAMES: Mapping[type[State], str] = {kind: name for name, kind in STATES.items()}

_FIELDS: Mapping[type[Any], tuple[Field[Any], ...]] = {
    kind: fields(kind) for kind in (*STATES.values(), SeenRefund, SeenDispute)
}


class UnknownOutcomeName(ValueError):
    """A report names an outcome that is none of the closed set."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no outcome is named {name!r}")
        self.name = name


class MalformedOutcome(ValueError):
    """A report's facts are not those of its outcome."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"malformed {name}: {why}")
        self.name = name


def facts_of(state: State | SeenRefund | SeenDispute) -> dict[str, Any]:
    """The fields of an outcome or state as JSON values; times in ISO 8601."""
    return {field.name: _plain(getattr(state, field.name)) for field in _FIELDS[type(state)]}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if type(value) in NAMES:
        return {"outcome": NAMES[type(value)], "facts": facts_of(value)}
    return facts_of(value) if type(value) in _FIELDS else value


def outcome_from(name: str, facts: Mapping[str, Any]) -> Outcome:
    """The outcome that `NAMES` and `facts_of` took apart; facts a newer writer added are ignored.

    Raises `UnknownOutcomeName`, `MalformedOutcome`.
    """
    if name not in OUTCOMES:
        raise UnknownOutcomeName(name)
    return _made(name, OUTCOMES[name], facts)


def state_from(name: str, facts: Mapping[str, Any]) -> State:
    """The state that `NAMES` and `facts_of` took apart. Raises as `outcome_from` does."""
    if name not in STATES:
        raise UnknownOutcomeName(name)
    return _made(name, STATES[name], facts)


S = TypeVar("S", bound=State | SeenRefund | SeenDispute)


def _made(name: str, kind: type[S], facts: Mapping[str, Any]) -> S:
    values: dict[str, Any] = {}
    for field in _FIELDS[kind]:
        if field.name not in facts:
            if field.default is not MISSING:
                continue  # an older writer did not know it
            raise MalformedOutcome(name, f"{field.name} is missing")
        values[field.name] = _value(name, field.name, field.type, facts[field.name])
    return kind(**values)


def _value(outcome: str, name: str, annotation: Any, value: Any) -> Any:
    if annotation is datetime:
        try:
            return datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise MalformedOutcome(outcome, f"{name} is no time") from None
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple and isinstance(value, list):
        return tuple(_value(outcome, name, arguments[0], part) for part in value)
    if isinstance(value, Mapping):
        return _nested(outcome, name, arguments or (annotation,), value)
    if not arguments:
        fits = type(value) is annotation
    elif all(isinstance(argument, str) for argument in arguments):
        fits = value in arguments
    else:
        fits = type(value) in arguments
    if not fits:
        raise MalformedOutcome(outcome, f"{name} is out of its type")
    return value


def _nested(outcome: str, name: str, kinds: tuple[Any, ...], value: Mapping[str, Any]) -> Any:
    """A value with facts of its own: of the one kind there is, or a state by its name."""
    if kinds[0] in (SeenRefund, SeenDispute):
        return _made(outcome, kinds[0], value)
    state = state_from(value.get("outcome", ""), value.get("facts", {}))
    if type(state) not in kinds:
        raise MalformedOutcome(outcome, f"{name} is out of its type")
    return state
