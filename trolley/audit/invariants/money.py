"""Money: payments within our database, and our ledger against the provider's own books."""

from datetime import datetime
from typing import NamedTuple

from trolley.audit.invariant import Read, Source, between, within
from trolley.audit.subjects import PAYMENT


class Payment(NamedTuple):
    """A payment's amounts, beside those that its ledger, refunds and attempts add up to."""

    key: str
    since: datetime | None
    currency: str | None
    authorized_minor: int
    captured_minor: int
    refund_pending_minor: int
    refunded_minor: int
    ledger_authorized_minor: int
    ledger_captured_minor: int
    ledger_refund_pending_minor: int
    ledger_refunded_minor: int
    entries: int
    last_entry: int
    foreign_entries: int
    live_attempts: int


PAYMENTS = Read(
    Source.PAYMENT,
    Payment,
    """
    WITH booked AS (
        SELECT l.payment_id, count(*) AS entries, max(seq) AS last,
            count(*) FILTER (WHERE l.currency IS DISTINCT FROM p.currency) AS foreign_entries,
            sum(amount_minor) FILTER (WHERE kind = 'authorized') AS authorized,
            sum(amount_minor) FILTER (WHERE kind = 'voided') AS voided,
            sum(amount_minor) FILTER (WHERE kind = 'captured') AS captured,
            sum(amount_minor) FILTER (WHERE kind = 'refund_requested') AS requested,
            sum(amount_minor) FILTER (WHERE kind = 'refunded') AS refunded,
            sum(amount_minor) FILTER (WHERE kind = 'refund_failed') AS failed
        FROM ledger l JOIN payments p USING (payment_id)
        GROUP BY l.payment_id
    ), live AS (
        SELECT payment_id, count(*) AS attempts
        FROM attempts
        WHERE status IN ('requested', 'processing', 'action_required', 'authorized', 'unknown')
        GROUP BY payment_id
    )
    SELECT payment_id::text AS key, updated_at AS since, currency, authorized_minor,
        captured_minor, refund_pending_minor, refunded_minor,
        (coalesce(authorized, 0) - coalesce(voided, 0))::bigint AS ledger_authorized_minor,
        coalesce(captured, 0)::bigint AS ledger_captured_minor,
        (coalesce(requested, 0) - coalesce(refunded, 0) - coalesce(failed, 0))::bigint
            AS ledger_refund_pending_minor,
        coalesce(refunded, 0)::bigint AS ledger_refunded_minor,
        coalesce(entries, 0) AS entries, coalesce(last, 0) AS last_entry,
        coalesce(foreign_entries, 0) AS foreign_entries,
        coalesce(live.attempts, 0) AS live_attempts
    FROM payments LEFT JOIN booked USING (payment_id) LEFT JOIN live USING (payment_id)
    ORDER BY payment_id
    """,
)


class Attempt(NamedTuple):
    """An attempt, beside what its ledger says: set aside and not taken, and taken."""

    key: str
    since: datetime | None
    status: str
    amount_minor: int
    held_minor: int
    captured_minor: int


ATTEMPTS = Read(
    Source.PAYMENT,
    Attempt,
    """
    SELECT (payment_id || ' ' || attempt) COLLATE "C" AS key,
        a.updated_at AS since, a.status, a.amount_minor, coalesce(held, 0)::bigint AS held_minor,
        coalesce(captured, 0)::bigint AS captured_minor
    FROM attempts a LEFT JOIN (
        SELECT payment_id, attempt,
            sum(CASE kind WHEN 'authorized' THEN amount_minor
                WHEN 'voided' THEN -amount_minor WHEN 'captured' THEN -amount_minor
                ELSE 0 END) AS held,
            sum(amount_minor) FILTER (WHERE kind = 'captured') AS captured
        FROM ledger GROUP BY payment_id, attempt
    ) AS booked USING (payment_id, attempt)
    ORDER BY key
    """,
)


class Refund(NamedTuple):
    """A refund, beside what its ledger says; a row without a status is in the ledger alone."""

    key: str
    since: datetime | None
    status: str | None
    amount_minor: int | None
    requested_minor: int
    refunded_minor: int
    failed_minor: int


REFUNDS = Read(
    Source.PAYMENT,
    Refund,
    """
    SELECT refund_id::text AS key, coalesce(r.updated_at, booked.since) AS since, status,
        amount_minor, coalesce(requested, 0)::bigint AS requested_minor,
        coalesce(refunded, 0)::bigint AS refunded_minor,
        coalesce(failed, 0)::bigint AS failed_minor
    FROM refunds r FULL JOIN (
        SELECT refund_id, max(recorded_at) AS since,
            sum(amount_minor) FILTER (WHERE kind = 'refund_requested') AS requested,
            sum(amount_minor) FILTER (WHERE kind = 'refunded') AS refunded,
            sum(amount_minor) FILTER (WHERE kind = 'refund_failed') AS failed
        FROM ledger WHERE refund_id IS NOT NULL GROUP BY refund_id
    ) AS booked USING (refund_id)
    ORDER BY refund_id
    """,
)


class Reply(NamedTuple):
    """What payment last answered about an attempt, beside that attempt."""

    key: str
    since: datetime | None
    reply: str
    status: str | None


REPLIES = Read(
    Source.PAYMENT,
    Reply,
    """
    SELECT (r.checkout_id || ' ' || step || ' ' || round) COLLATE "C" AS key,
        a.updated_at AS since, r.type AS reply, a.status
    FROM recorded_replies r
    CROSS JOIN LATERAL (SELECT convert_from(payload, 'UTF8')::jsonb AS said) AS reply
    LEFT JOIN attempts a
        ON a.payment_id = (said->>'payment_id')::uuid AND a.attempt = (said->>'attempt')::int
    WHERE step IN ('charge', 'capture', 'close_payment')
    ORDER BY key
    """,
)

_NO_MONEY = frozenset({"declined", "cancelled", "never_created", "capture_failed", "not_due"})
_FINAL_REPLIES = {
    "payment.succeeded.v1": frozenset({"succeeded"}),
    "payment.declined.v1": _NO_MONEY,
    "payment.cancelled.v1": _NO_MONEY,
    "payment.closed.v1": _NO_MONEY,
    "payment.no_payment_due.v1": _NO_MONEY,
}
"""Where an attempt can stand once payment has given this answer about it; others are passing."""


class Books(NamedTuple):
    """What one side has of one payment: amounts by attempt, kind and currency."""

    key: str
    since: datetime | None
    amounts: str


def _books(source: Source, booked_at: str, where: str) -> Read[Books]:
    """A refund that is asked for is pending until it is made or refused, on either side."""
    return Read(
        source,
        Books,
        f"""
        SELECT payment_id::text AS key, max(since) AS since,
            jsonb_object_agg(what, amount)::text AS amounts
        FROM (
            SELECT payment_id, max({booked_at}) AS since, sum(f.amount) AS amount,
                attempt || ' ' || f.kind || ' ' || currency AS what
            FROM ledger CROSS JOIN LATERAL (VALUES
                (CASE kind WHEN 'refund_requested' THEN 'refund_pending'
                    WHEN 'refund_failed' THEN 'refund_pending' ELSE kind END,
                 CASE kind WHEN 'refund_failed' THEN -amount_minor ELSE amount_minor END),
                ('refund_pending', CASE kind WHEN 'refunded' THEN -amount_minor ELSE 0 END)
            ) AS f (kind, amount)
            WHERE {where}
            GROUP BY payment_id, what
            HAVING sum(f.amount) <> 0
        ) AS amounts
        GROUP BY payment_id
        ORDER BY payment_id
        """,  # noqa: S608 - built from the constants below
    )


OUR_BOOKS = _books(Source.PAYMENT, "recorded_at", "provider = 'simulated'")
PROVIDERS_BOOKS = _books(Source.SIMULATED_PROVIDER, "booked_at", "true")


class Effect(NamedTuple):
    """How often one idempotency key took each effect at the provider."""

    key: str
    since: datetime | None
    authorized: int
    captured: int
    voided: int
    refunded: int


EFFECTS = Read(
    Source.SIMULATED_PROVIDER,
    Effect,
    """
    SELECT coalesce(refund_key, charge_key) COLLATE "C" AS key, max(booked_at) AS since,
        count(*) FILTER (WHERE kind = 'authorized') AS authorized,
        count(*) FILTER (WHERE kind = 'captured') AS captured,
        count(*) FILTER (WHERE kind = 'voided') AS voided,
        count(*) FILTER (WHERE kind = 'refunded') AS refunded
    FROM ledger GROUP BY key ORDER BY key
    """,
)


def _attempt_agrees(attempt: Attempt) -> bool:
    captured, held = attempt.captured_minor, attempt.held_minor
    if captured + held > attempt.amount_minor:
        return False
    match attempt.status:
        case "succeeded":
            return captured > 0 and held == 0
        case "authorized":
            return captured == 0 and held > 0
        case "unknown" | "processing":
            # Perhaps about the capture or the close of what is set aside.
            return captured == 0 and held >= 0
        case _:
            return captured == held == 0


def _refund_agrees(refund: Refund) -> bool:
    booked = (refund.requested_minor, refund.refunded_minor, refund.failed_minor)
    amount = refund.amount_minor or 0
    match refund.status:
        case "requested" | "unknown" | "refund_pending":
            return booked == (amount, 0, 0)
        case "refunded":
            return booked == (amount, amount, 0)
        case "refund_failed":
            # One that was refused before it was asked for was never booked.
            return booked in {(amount, 0, amount), (0, 0, 0)}
        case _:
            return False


INVARIANTS = (
    within(
        "money.amounts-in-order",
        "Per payment, 0 <= refunded + refund pending <= captured <= authorized.",
        PAYMENTS,
        lambda payment: (
            min(payment.refunded_minor, payment.refund_pending_minor) >= 0
            and payment.refunded_minor + payment.refund_pending_minor
            <= payment.captured_minor
            <= payment.authorized_minor
        ),
    ),
    within(
        "money.amounts-are-sum-of-ledger",
        "Per payment, every amount is the sum of its ledger's facts.",
        PAYMENTS,
        lambda payment: (
            (
                payment.authorized_minor,
                payment.captured_minor,
                payment.refund_pending_minor,
                payment.refunded_minor,
            )
            == (
                payment.ledger_authorized_minor,
                payment.ledger_captured_minor,
                payment.ledger_refund_pending_minor,
                payment.ledger_refunded_minor,
            )
        ),
    ),
    within(
        "money.ledger-is-gapless",
        "Per payment, the ledger is numbered from 1 without a gap, in the payment's currency.",
        PAYMENTS,
        lambda payment: payment.entries == payment.last_entry and payment.foreign_entries == 0,
    ),
    within(
        "money.one-live-attempt",
        "At most one attempt of a payment may still bring money.",
        PAYMENTS,
        lambda payment: payment.live_attempts <= 1,
    ),
    within(
        "money.attempts-agree-with-ledger",
        "An attempt has taken money exactly when it succeeded, holds some while it is authorized, "
        "and never more than it asked for.",
        ATTEMPTS,
        _attempt_agrees,
    ),
    within(
        "money.refunds-agree-with-ledger",
        "A refund is booked as asked for, made or refused, as its status says.",
        REFUNDS,
        _refund_agrees,
    ),
    within(
        "money.replies-say-what-was-done",
        "What payment answered to a saga for good is what became of the attempt.",
        REPLIES,
        lambda answer: (
            answer.status in _FINAL_REPLIES[answer.reply]
            if answer.reply in _FINAL_REPLIES
            else None
        ),
    ),
    within(
        "money.one-effect-per-key",
        "An idempotency key takes each of its effects at the provider once.",
        EFFECTS,
        lambda effect: max(effect[2:]) <= 1,
    ),
    between(
        "money.every-unit-is-at-both-sides",
        "Our ledger is the provider's, unit by unit: what one has, the other has too.",
        OUR_BOOKS,
        PROVIDERS_BOOKS,
        lambda ours, theirs: (
            ours is not None and theirs is not None and ours.amounts == theirs.amounts
        ),
        about=PAYMENT,
    ),
)
