"""What happens by itself, when its time has come: each entry once, in the order of their times."""

from collections.abc import Callable, Mapping

from stripe_sandbox import search
from stripe_sandbox.database import Database, Transaction
from stripe_sandbox.errors import ResourceMissing
from stripe_sandbox.resources import attempts, charges, disputes, refunds, sessions

HAPPENINGS: Mapping[str, Callable[[Transaction, str], None]] = {
    "charge.book": charges.book,
    "charge.dispute": disputes.begin,
    "checkout.session.expire": sessions.expire,
    "dispute.decide": disputes.decide,
    "dispute.past_due": disputes.past_due,
    "payment_intent.expire": attempts.expire,
    "payment_intent.settle": sessions.settle,
    "refund.pending": refunds.succeed,
    "refund.fails": refunds.fail,
    "search.index": search.index,
}

AT_ONCE = 500
"""Most entries of one transaction."""


def run(database: Database) -> int:
    """Let happen what is due; how much that was."""
    with database.transaction() as transaction:
        due = transaction.sql(
            "DELETE FROM agenda WHERE number IN"
            " (SELECT number FROM agenda WHERE due <= ? ORDER BY due, number LIMIT ?)"
            " RETURNING due, number, what, id",
            (transaction.now, AT_ONCE),
        ).fetchall()
        for _, _, what, name in sorted(due):
            try:
                HAPPENINGS[what](transaction, name)
            except ResourceMissing:
                continue  # deleted meanwhile
    return len(due)


def next_due(database: Database) -> int | None:
    """When the next entry is due."""
    with database.transaction() as transaction:
        row: tuple[int | None] = transaction.sql("SELECT min(due) FROM agenda").fetchone()
    return row[0]
