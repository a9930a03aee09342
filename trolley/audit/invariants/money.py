"""Money: payments within our database, and our ledger against the provider's own books."""

from trolley.audit.invariant import Between, Read, Source, Table, Within
from trolley.audit.subjects import CHECKOUT, PAYMENT
from trolley.audit.tables import (
    ATTEMPTS,
    LEDGER,
    PAYMENT_REPLIES,
    PAYMENTS,
    PROVIDER_LEDGER,
    REFUNDS,
)

LIVE = "status IN ('requested', 'processing', 'action_required', 'authorized', 'unknown')"
"""Where an attempt stands that may still bring money."""

# A payment's amounts, beside those that its ledger, refunds and attempts add up to.
BOOKED = Read(
    "payment",
    Source.PAYMENT,
    f"""
    WITH booked AS (
        SELECT l.payment_id, count(*) AS entries, max(seq) AS last,
            count(*) FILTER (WHERE l.currency IS DISTINCT FROM p.currency) AS foreign_entries,
            sum(amount_minor) FILTER (WHERE kind = 'authorized')::BIGINT AS authorized,
            sum(amount_minor) FILTER (WHERE kind = 'voided')::BIGINT AS voided,
            sum(amount_minor) FILTER (WHERE kind = 'captured')::BIGINT AS captured,
            sum(amount_minor) FILTER (WHERE kind = 'refund_requested')::BIGINT AS requested,
            sum(amount_minor) FILTER (WHERE kind = 'refunded')::BIGINT AS refunded,
            sum(amount_minor) FILTER (WHERE kind = 'refund_failed')::BIGINT AS failed,
            sum(amount_minor) FILTER (WHERE kind = 'refund_returned')::BIGINT AS returned,
            sum(amount_minor) FILTER (WHERE kind = 'refunded' AND provider = 'by_hand')::BIGINT
                AS by_hand,
            sum(amount_minor) FILTER (WHERE kind = 'disputed')::BIGINT AS disputed,
            sum(amount_minor) FILTER (WHERE kind = 'dispute_won')::BIGINT AS won,
            sum(amount_minor) FILTER (WHERE kind = 'dispute_lost')::BIGINT AS lost
        FROM ledger l JOIN payments p USING (payment_id)
        GROUP BY l.payment_id
    ), live AS (
        SELECT payment_id, count(*) AS attempts FROM attempts WHERE {LIVE} GROUP BY payment_id
    )
    SELECT payment_id AS key, updated_at AS since, currency, authorized_minor,
        captured_minor, refund_pending_minor, refunded_minor, disputed_minor, dispute_lost_minor,
        over_refunded_minor, coalesce(by_hand, 0) AS by_hand_minor,
        coalesce(authorized, 0) - coalesce(voided, 0) AS ledger_authorized_minor,
        coalesce(captured, 0) AS ledger_captured_minor,
        coalesce(requested, 0) - coalesce(refunded, 0) - coalesce(failed, 0)
            AS ledger_refund_pending_minor,
        coalesce(refunded, 0) - coalesce(returned, 0) AS ledger_refunded_minor,
        coalesce(disputed, 0) - coalesce(won, 0) - coalesce(lost, 0) AS ledger_disputed_minor,
        coalesce(lost, 0) AS ledger_dispute_lost_minor,
        coalesce(entries, 0) AS entries, coalesce(last, 0) AS last_entry,
        coalesce(foreign_entries, 0) AS foreign_entries,
        coalesce(live.attempts, 0) AS live_attempts
    FROM payments LEFT JOIN booked USING (payment_id) LEFT JOIN live USING (payment_id)
    """,  # noqa: S608 - constants
    (PAYMENTS, LEDGER, ATTEMPTS),
    PAYMENT,
)

# An attempt, beside what its ledger says: set aside and not taken, and taken.
TRIED = Read(
    "attempt",
    Source.PAYMENT,
    """
    SELECT payment_id || ' ' || attempt AS key, updated_at AS since, payment_id, status,
        amount_minor, coalesce(held, 0) AS held_minor, coalesce(captured, 0) AS captured_minor
    FROM attempts LEFT JOIN (
        SELECT payment_id, attempt,
            sum(CASE kind WHEN 'authorized' THEN amount_minor
                WHEN 'voided' THEN -amount_minor WHEN 'captured' THEN -amount_minor
                ELSE 0 END)::BIGINT AS held,
            sum(amount_minor) FILTER (WHERE kind = 'captured')::BIGINT AS captured
        FROM ledger GROUP BY payment_id, attempt
    ) AS booked USING (payment_id, attempt)
    """,
    (ATTEMPTS, LEDGER),
    PAYMENT,
    of="payment_id",
)

# A refund, beside what its ledger says; a row without a status is in the ledger alone.
REFUNDED = Read(
    "refund",
    Source.PAYMENT,
    """
    SELECT refund_id AS key, coalesce(r.updated_at, booked.since) AS since,
        coalesce(r.payment_id, booked.payment_id) AS payment_id, status, amount_minor,
        coalesce(requested, 0) AS requested_minor, coalesce(refunded, 0) AS refunded_minor,
        coalesce(failed, 0) AS failed_minor, coalesce(returned, 0) AS returned_minor
    FROM refunds AS r FULL JOIN (
        SELECT refund_id, max(recorded_at) AS since, min(payment_id) AS payment_id,
            sum(amount_minor) FILTER (WHERE kind = 'refund_requested')::BIGINT AS requested,
            sum(amount_minor) FILTER (WHERE kind = 'refunded')::BIGINT AS refunded,
            sum(amount_minor) FILTER (WHERE kind = 'refund_failed')::BIGINT AS failed,
            sum(amount_minor) FILTER (WHERE kind = 'refund_returned')::BIGINT AS returned
        FROM ledger WHERE refund_id IS NOT NULL GROUP BY refund_id
    ) AS booked USING (refund_id)
    """,
    (REFUNDS, LEDGER),
    PAYMENT,
    of="payment_id",
)

# What payment last answered about an attempt, beside that attempt.
REPLIES = Read(
    "answer",
    Source.PAYMENT,
    """
    SELECT checkout_id || ' ' || step || ' ' || round AS key, updated_at AS since, checkout_id,
        type AS reply, status
    FROM payment_replies LEFT JOIN attempts USING (payment_id, attempt)
    """,
    (PAYMENT_REPLIES, ATTEMPTS),
    CHECKOUT,
    of="checkout_id",
)

_AFTER_REPLY = """
    CASE WHEN reply = 'payment.succeeded.v1' THEN coalesce(status = 'succeeded', false)
    WHEN reply IN ('payment.declined.v1', 'payment.cancelled.v1', 'payment.closed.v1',
        'payment.no_payment_due.v1')
    THEN coalesce(status IN ('declined', 'cancelled', 'never_created', 'capture_failed',
        'not_due'), false) END
"""
"""Where an attempt can stand once payment has given this answer about it; others are passing."""


_SIDES = (
    ("authorized", "authorized", 1),
    ("voided", "voided", 1),
    ("captured", "captured", 1),
    ("refund_requested", "refund_pending", 1),
    ("refund_failed", "refund_pending", -1),
    ("refunded", "refund_pending", -1),
    ("refunded", "refunded", 1),
    ("refund_returned", "refunded", -1),
    ("disputed", "disputed", 1),
    ("dispute_won", "disputed", -1),
    ("dispute_lost", "disputed", -1),
    ("dispute_lost", "dispute_lost", 1),
)
"""What a fact of a ledger does to which balance; a kind that is not here is a balance itself."""

_SIDE_ROWS = ", ".join(f"('{kind}', '{balance}', {sign})" for kind, balance, sign in _SIDES)


def balances(table: Table, booked_at: str, where: str) -> str:
    """The rows of a ledger as what they add to the balances of a payment's attempts."""
    return f"""
        SELECT payment_id, {booked_at} AS since, attempt, currency,
            coalesce(balance, kind) AS balance, coalesce(sign, 1) * amount_minor AS amount
        FROM {table.name} LEFT JOIN (VALUES {_SIDE_ROWS}) AS side (kind, balance, sign) USING (kind)
        WHERE {where}
    """  # noqa: S608 - constants


def balanced(rows: str) -> str:
    """What such rows come to, payment by payment: what is not zero, by attempt and currency.

    `digest` is of all amounts, in no order: sides that have the same have the same digest.
    """
    return f"""
        SELECT payment_id AS key, max(since) AS since, bit_xor(hash(what)) AS digest,
            string_agg(what, ', ' ORDER BY what) AS amounts
        FROM (
            SELECT payment_id, max(since) AS since,
                attempt || ' ' || balance || ' ' || currency || ' ' || sum(amount)::BIGINT AS what
            FROM ({rows})
            GROUP BY payment_id, attempt, balance, currency
            HAVING sum(amount) <> 0
        )
        GROUP BY payment_id
    """  # noqa: S608 - constants


def _books(name: str, table: Table, booked_at: str, where: str) -> Read:
    """What one side has of one payment."""
    sql = balanced(balances(table, booked_at, where))
    return Read(name, table.source, sql, (table,), PAYMENT)


OUR_BOOKS = _books("ours", LEDGER, "recorded_at", "provider = 'simulated'")
PROVIDERS_BOOKS = _books("theirs", PROVIDER_LEDGER, "booked_at", "true")

# How often one idempotency key took each effect at the provider.
EFFECTS = Read(
    "effect",
    Source.SIMULATED_PROVIDER,
    """
    SELECT coalesce(refund_key, charge_key) AS key, max(booked_at) AS since,
        min(payment_id) AS payment_id,
        count(*) FILTER (WHERE kind = 'authorized') AS authorized,
        count(*) FILTER (WHERE kind = 'captured') AS captured,
        count(*) FILTER (WHERE kind = 'voided') AS voided,
        count(*) FILTER (WHERE kind = 'refunded') AS refunded
    FROM provider_ledger GROUP BY coalesce(refund_key, charge_key)
    """,
    (PROVIDER_LEDGER,),
    PAYMENT,
    of="payment_id",
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
    WHEN status = 'refunded' THEN refunded_minor - returned_minor = amount_minor
        AND requested_minor = refunded_minor + failed_minor
    -- One that was refused before it was asked for was never booked.
    WHEN status = 'refund_failed' THEN refunded_minor = returned_minor
        AND requested_minor = refunded_minor + failed_minor
        AND (amount_minor = 0 OR requested_minor % amount_minor = 0)
    ELSE false END
"""


INVARIANTS = (
    Within(
        "money.amounts-in-order",
        "Per payment, 0 <= refunded + refund pending <= captured <= authorized.",
        BOOKED,
        "0 <= least(refunded_minor, refund_pending_minor)"
        " AND refunded_minor + refund_pending_minor <= captured_minor"
        " AND captured_minor <= authorized_minor",
    ),
    Within(
        "money.amounts-are-sum-of-ledger",
        "Per payment, every amount is the sum of its ledger's facts.",
        BOOKED,
        """
        (authorized_minor, captured_minor, refund_pending_minor,
            refunded_minor + over_refunded_minor, disputed_minor, dispute_lost_minor)
        = (ledger_authorized_minor, ledger_captured_minor, ledger_refund_pending_minor,
            ledger_refunded_minor, ledger_disputed_minor, ledger_dispute_lost_minor)
        -- What went back beyond what was taken went back by hand, too.
        AND over_refunded_minor = least(by_hand_minor, greatest(0,
            ledger_refunded_minor + ledger_refund_pending_minor - ledger_captured_minor))
        """,
    ),
    Within(
        "money.ledger-is-gapless",
        "Per payment, the ledger is numbered from 1 without a gap, in the payment's currency.",
        BOOKED,
        "entries = last_entry AND foreign_entries = 0",
    ),
    Within(
        "money.one-live-attempt",
        "At most one attempt of a payment may still bring money.",
        BOOKED,
        "live_attempts <= 1",
    ),
    Within(
        "money.attempts-agree-with-ledger",
        "An attempt has taken money exactly when it succeeded, holds some while it is authorized, "
        "and never more than it asked for.",
        TRIED,
        _ATTEMPT_AGREES,
    ),
    Within(
        "money.refunds-agree-with-ledger",
        "A refund is booked as asked for, made or refused, as its status says.",
        REFUNDED,
        _REFUND_AGREES,
    ),
    Within(
        "money.replies-say-what-was-done",
        "What payment answered to a saga for good is what became of the attempt.",
        REPLIES,
        _AFTER_REPLY,
    ),
    Within(
        "money.one-effect-per-key",
        "An idempotency key takes each of its effects at the provider once.",
        EFFECTS,
        "greatest(authorized, captured, voided, refunded) <= 1",
    ),
    Between(
        "money.every-unit-is-at-both-sides",
        "Our ledger is the provider's, unit by unit: what one has, the other has too.",
        OUR_BOOKS,
        PROVIDERS_BOOKS,
        "coalesce(ours.digest = theirs.digest, false)",
    ),
)
