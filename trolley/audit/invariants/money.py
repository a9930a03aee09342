"""Money: payments within our database, and our ledger against the provider's own books."""

from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from trolley.audit.invariant import Read, Source, between, within
from trolley.audit.subjects import CHECKOUT, PAYMENT


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
        WHERE only(payment_id)
        GROUP BY l.payment_id
    ), live AS (
        SELECT payment_id, count(*) AS attempts
        FROM attempts
        WHERE status IN ('requested', 'processing', 'action_required', 'authorized', 'unknown')
            AND only(payment_id)
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
    WHERE only(payment_id)
    """,
    PAYMENT,
    order="payment_id",
)


class Attempt(NamedTuple):
    """An attempt, beside what its ledger says: set aside and not taken, and taken."""

    key: str
    since: datetime | None
    payment_id: str
    status: str
    amount_minor: int
    held_minor: int
    captured_minor: int


ATTEMPTS = Read(
    Source.PAYMENT,
    Attempt,
    """
    SELECT (payment_id || ' ' || attempt) COLLATE "C" AS key,
        a.updated_at AS since, payment_id::text AS payment_id, a.status,
        a.amount_minor, coalesce(held, 0)::bigint AS held_minor,
        coalesce(captured, 0)::bigint AS captured_minor
    FROM attempts a LEFT JOIN (
        SELECT payment_id, attempt,
            sum(CASE kind WHEN 'authorized' THEN amount_minor
                WHEN 'voided' THEN -amount_minor WHEN 'captured' THEN -amount_minor
                ELSE 0 END) AS held,
            sum(amount_minor) FILTER (WHERE kind = 'captured') AS captured
        FROM ledger WHERE only(payment_id) GROUP BY payment_id, attempt
    ) AS booked USING (payment_id, attempt)
    WHERE only(payment_id)
    """,
    PAYMENT,
    subject_key=attrgetter("payment_id"),
)


class Refund(NamedTuple):
    """A refund, beside what its ledger says; a row without a status is in the ledger alone."""

    key: str
    since: datetime | None
    payment_id: str
    status: str | None
    amount_minor: int | None
    requested_minor: int
    refunded_minor: int
    failed_minor: int


REFUNDS = Read(
    Source.PAYMENT,
    Refund,
    """
    SELECT refund_id::text AS key, coalesce(r.updated_at, booked.since) AS since,
        coalesce(r.payment_id, booked.payment_id)::text AS payment_id, status,
        amount_minor, coalesce(requested, 0)::bigint AS requested_minor,
        coalesce(refunded, 0)::bigint AS refunded_minor,
        coalesce(failed, 0)::bigint AS failed_minor
    FROM (SELECT * FROM refunds WHERE only(payment_id)) AS r FULL JOIN (
        SELECT refund_id, max(recorded_at) AS since, min(payment_id::text)::uuid AS payment_id,
            sum(amount_minor) FILTER (WHERE kind = 'refund_requested') AS requested,
            sum(amount_minor) FILTER (WHERE kind = 'refunded') AS refunded,
            sum(amount_minor) FILTER (WHERE kind = 'refund_failed') AS failed
        FROM ledger WHERE refund_id IS NOT NULL AND only(payment_id) GROUP BY refund_id
    ) AS booked USING (refund_id)
    """,
    PAYMENT,
    order="refund_id",
    subject_key=attrgetter("payment_id"),
)


class Reply(NamedTuple):
    """What payment last answered about an attempt, beside that attempt."""

    key: str
    since: datetime | None
    checkout_id: str
    reply: str
    status: str | None


REPLIES = Read(
    Source.PAYMENT,
    Reply,
    """
    SELECT (r.checkout_id || ' ' || step || ' ' || round) COLLATE "C" AS key,
        a.updated_at AS since, r.checkout_id::text AS checkout_id, r.type AS reply, a.status
    FROM recorded_replies r
    CROSS JOIN LATERAL (SELECT convert_from(payload, 'UTF8')::jsonb AS said) AS reply
    LEFT JOIN attempts a
        ON a.payment_id = (said->>'payment_id')::uuid AND a.attempt = (said->>'attempt')::int
    WHERE step IN ('charge', 'capture', 'close_payment') AND only(r.checkout_id)
    """,
    CHECKOUT,
    subject_key=attrgetter("checkout_id"),
)

_AFTER_REPLY = """
    CASE WHEN reply = 'payment.succeeded.v1' THEN coalesce(status = 'succeeded', false)
    WHEN reply IN ('payment.declined.v1', 'payment.cancelled.v1', 'payment.closed.v1',
        'payment.no_payment_due.v1')
    THEN coalesce(status IN ('declined', 'cancelled', 'never_created', 'capture_failed',
        'not_due'), false) END
"""
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
            WHERE {where} AND only(payment_id)
            GROUP BY payment_id, what
            HAVING sum(f.amount) <> 0
        ) AS amounts
        GROUP BY payment_id
        """,  # noqa: S608 - built from the constants below
        PAYMENT,
        order="payment_id",
    )


OUR_BOOKS = _books(Source.PAYMENT, "recorded_at", "provider = 'simulated'")
PROVIDERS_BOOKS = _books(Source.SIMULATED_PROVIDER, "booked_at", "true")


class Effect(NamedTuple):
    """How often one idempotency key took each effect at the provider."""

    key: str
    since: datetime | None
    payment_id: str
    authorized: int
    captured: int
    voided: int
    refunded: int


EFFECTS = Read(
    Source.SIMULATED_PROVIDER,
    Effect,
    """
    SELECT coalesce(refund_key, charge_key) COLLATE "C" AS key, max(booked_at) AS since,
        min(payment_id::text) AS payment_id,
        count(*) FILTER (WHERE kind = 'authorized') AS authorized,
        count(*) FILTER (WHERE kind = 'captured') AS captured,
        count(*) FILTER (WHERE kind = 'voided') AS voided,
        count(*) FILTER (WHERE kind = 'refunded') AS refunded
    FROM ledger WHERE only(payment_id) GROUP BY key
    """,
    PAYMENT,
    subject_key=attrgetter("payment_id"),
)


_ATTEMPT_AGREES = """
    captured_minor + held_minor <= amount_minor AND CASE
    WHEN status = 'succeeded' THEN captured_minor > 0 AND held_minor = 0
    WHEN status = 'authorized' THEN captured_minor = 0 AND held_minor > 0
    -- Perhaps about the capture or the close of what is set aside.
    WHEN status IN ('unknown', 'processing') THEN captured_minor = 0 AND held_minor >= 0
    ELSE captured_minor = 0 AND held_minor = 0 END
"""

_REFUND_AGREES = """
    CASE WHEN status IN ('requested', 'unknown', 'refund_pending') THEN
        requested_minor = amount_minor AND refunded_minor = 0 AND failed_minor = 0
    WHEN status = 'refunded' THEN
        requested_minor = amount_minor AND refunded_minor = amount_minor AND failed_minor = 0
    -- One that was refused before it was asked for was never booked.
    WHEN status = 'refund_failed' THEN
        refunded_minor = 0 AND requested_minor = failed_minor
            AND requested_minor IN (amount_minor, 0)
    ELSE false END
"""


INVARIANTS = (
    within(
        "money.amounts-in-order",
        "Per payment, 0 <= refunded + refund pending <= captured <= authorized.",
        PAYMENTS,
        "0 <= least(refunded_minor, refund_pending_minor)"
        " AND refunded_minor + refund_pending_minor <= captured_minor"
        " AND captured_minor <= authorized_minor",
    ),
    within(
        "money.amounts-are-sum-of-ledger",
        "Per payment, every amount is the sum of its ledger's facts.",
        PAYMENTS,
        """
        (authorized_minor, captured_minor, refund_pending_minor, refunded_minor)
        = (ledger_authorized_minor, ledger_captured_minor, ledger_refund_pending_minor,
            ledger_refunded_minor)
        """,
    ),
    within(
        "money.ledger-is-gapless",
        "Per payment, the ledger is numbered from 1 without a gap, in the payment's currency.",
        PAYMENTS,
        "entries = last_entry AND foreign_entries = 0",
    ),
    within(
        "money.one-live-attempt",
        "At most one attempt of a payment may still bring money.",
        PAYMENTS,
        "live_attempts <= 1",
    ),
    within(
        "money.attempts-agree-with-ledger",
        "An attempt has taken money exactly when it succeeded, holds some while it is authorized, "
        "and never more than it asked for.",
        ATTEMPTS,
        _ATTEMPT_AGREES,
    ),
    within(
        "money.refunds-agree-with-ledger",
        "A refund is booked as asked for, made or refused, as its status says.",
        REFUNDS,
        _REFUND_AGREES,
    ),
    within(
        "money.replies-say-what-was-done",
        "What payment answered to a saga for good is what became of the attempt.",
        REPLIES,
        _AFTER_REPLY,
    ),
    within(
        "money.one-effect-per-key",
        "An idempotency key takes each of its effects at the provider once.",
        EFFECTS,
        "greatest(authorized, captured, voided, refunded) <= 1",
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
