"""What a payment provider can answer: a closed set, the same for every provider.

Every call about a payment answers with the state of that payment at the provider, so a charge,
a capture, a close and a plain question are read alike.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_origin

from contracts.values import NODEFAULT, FieldInfo, Struct, fields


class Succeeded(Struct, frozen=True):
    """The money is captured; `amount_minor` of it."""

    provider_payment_id: str
    amount_minor: int


class Authorized(Struct, frozen=True):
    """The money is set aside, to be captured before `capture_before`."""

    provider_payment_id: str
    amount_minor: int
    capture_before: datetime


class Processing(Struct, frozen=True):
    """The provider is at it, for days with some methods."""

    provider_payment_id: str
    expected_by: datetime


class ActionRequired(Struct, frozen=True):
    """The shopper must act first, until `expires_at`: at `url`, or on the shop's own page.

    There the provider's script goes on by `client_secret`, which is for that browser only.
    """

    provider_payment_id: str
    action_type: str
    url: str | None
    expires_at: datetime
    client_secret: str | None = None


class Declined(Struct, frozen=True):
    """A final no. `provider_payment_id` is None when the provider made no payment of it.

    `retryable`: the same again may work, the trouble passes. `same_method_allowed`: the shopper
    may use this method again, perhaps after correcting something.
    """

    provider_payment_id: str | None
    code: str
    retryable: bool
    same_method_allowed: bool


class Cancelled(Struct, frozen=True):
    """Given up before any money came, or expired; nothing can come of it any more.

    `released_minor` had been set aside by then and is given back; we may not have known of it.
    """

    provider_payment_id: str | None
    reason: Literal["cancelled", "expired"]
    released_minor: int = 0


class NeverCreated(Struct, frozen=True):
    """The provider's word that this payment does not exist and will not: a late charge fails."""


class CaptureFailed(Struct, frozen=True):
    """The authorized money could not be taken, and the authorization is gone."""

    provider_payment_id: str
    code: str


class NotFound(Struct, frozen=True):
    """The provider knows nothing of it yet; a call of ours may still be on its way."""


class Unknown(Struct, frozen=True):
    """No answer, or none that says what happened: the effect may be there or not."""

    reason: str


class RefundPending(Struct, frozen=True):
    """The provider has taken the refund; the money is on its way."""

    provider_refund_id: str


class Refunded(Struct, frozen=True):
    """The money is back with the shopper."""

    provider_refund_id: str


class RefundFailed(Struct, frozen=True):
    """A final no to the refund; the provider keeps the money."""

    provider_refund_id: str | None
    code: str


class Requested(Struct, frozen=True):
    """No outcome yet: the intent is recorded, the provider has not answered."""


class NotDue(Struct, frozen=True):
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


class SeenRefund(Struct, frozen=True):
    """A refund as the provider has it; `refund_key` is our name of it, if we asked for it."""

    provider_refund_id: str
    refund_key: str | None
    amount_minor: int
    state: RefundState


class SeenDispute(Struct, frozen=True):
    """A dispute that has withdrawn money from us, for now (`open`) or for good (`lost`)."""

    provider_dispute_id: str
    amount_minor: int
    status: Literal["open", "won", "lost"]


class Reviewed(Struct, frozen=True):
    """Everything that the provider has of one payment, however it came about.

    The currency is None where it was not told.
    """

    payment: PaymentState
    refunds: tuple[SeenRefund, ...] = ()
    disputes: tuple[SeenDispute, ...] = ()
    currency: str | None = None


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

_FIELDS: Mapping[type[Any], tuple[FieldInfo, ...]] = {
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
            if field.default is not NODEFAULT:
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
