"""Money at Stripe: our ledger against its own books, wherever payments are made with it."""

from trolley.audit.invariant import Between, Read, Source
from trolley.audit.invariants.money import balanced, balances
from trolley.audit.subjects import PAYMENT
from trolley.audit.tables import LEDGER, STRIPE_ATTEMPTS

# A payment that was tried at Stripe, and what our ledger has of it there. `amounts` is NULL where
# that is nothing; `intents` name it there.
OURS = Read(
    "ours",
    Source.PAYMENT,
    f"""
    SELECT payment_id AS key, greatest(tried.since, booked.since) AS since, began, intents, digest,
        amounts
    FROM (
        SELECT payment_id, min(created_at) AS began, max(updated_at) AS since,
            string_agg(provider_payment_id, ' ' ORDER BY provider_payment_id) AS intents
        FROM stripe_attempts GROUP BY payment_id
    ) AS tried
    LEFT JOIN ({balanced(balances(LEDGER, "recorded_at", "provider = 'stripe'"))}) AS booked
        ON booked.key = payment_id
    """,  # noqa: S608 - constants
    (STRIPE_ATTEMPTS, LEDGER),
    PAYMENT,
)

_CHARGED = """
    SELECT payment AS payment_id, made_at AS since, attempt, currency, balance, amount
    FROM stripe_amounts JOIN stripe_charges USING (charge)
"""

# A payment with money at Stripe, by our label on its charges; what has no label, by its intent.
THEIRS = Read(
    "theirs",
    Source.STRIPE,
    f"""
    SELECT booked.*, intents FROM ({balanced(_CHARGED)}) AS booked
    JOIN (
        SELECT payment, string_agg(DISTINCT intent, ' ' ORDER BY intent) AS intents
        FROM stripe_charges GROUP BY payment
    ) AS charged ON payment = key
    """,  # noqa: S608 - constants
    subject=PAYMENT,
)

_IS_READ = "ours.began >= (SELECT since FROM stripe_read)"
"""Older payments may be read in part."""

INVARIANTS = (
    Between(
        "money.at-stripe-is-of-a-payment",
        "All money at Stripe is that of a payment here which was tried there.",
        OURS,
        THEIRS,
        "CASE WHEN theirs.key IS NOT NULL THEN ours.key IS NOT NULL END",
    ),
    Between(
        "money.of-payments-is-at-stripe",
        "A payment that took money through Stripe has money there.",
        OURS,
        THEIRS,
        f"CASE WHEN ours.amounts IS NOT NULL AND {_IS_READ} THEN theirs.key IS NOT NULL END",
    ),
    Between(
        "money.is-the-same-at-stripe",
        "What is held, taken, given back and disputed of a payment is the same here and at Stripe.",
        OURS,
        THEIRS,
        f"""
        CASE WHEN ours.key IS NOT NULL AND theirs.key IS NOT NULL AND {_IS_READ}
            THEN coalesce(ours.digest = theirs.digest, false) END
        """,
    ),
)
