"""What happens by itself, when its time has come: each entry once, in the order of their times."""

from collections.abc import Callable, Mapping

import structlog

from stripe_sandbox import search
from stripe_sandbox.database import Database, Transaction
from stripe_sandbox.errors import ResourceMissing
from stripe_sandbox.resources import attempts, balance, charges, disputes, refunds, sessions

log = structlog.get_logger()

HAPPENINGS: Mapping[str, Callable[[Transaction, str], None]] = {
    "balance_transaction.available": balance.become_available,
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

AT_ONCE = 200
"""Most entries of one transaction; requests wait for it."""

AGAIN_AFTER_SECONDS = 60
"""An entry that fails stands back for so long; the others do not wait for it."""


def run(database: Database) -> int:
    """Let happen what is due; how many entries that were."""
    with database.transaction() as transaction:
        due = transaction.sql(
            "SELECT number, what, id FROM agenda WHERE due <= ? ORDER BY due, number LIMIT ?",
            (transaction.now, AT_ONCE),
        ).fetchall()
        for number, what, name in due:
            _let_happen(transaction, number, what, name)
    return len(due)


def _let_happen(transaction: Transaction, number: int, what: str, name: str) -> None:
    """One entry, whole or not at all; it is gone before, so that it may enter itself again."""
    try:
        with transaction.part():
            transaction.sql("DELETE FROM agenda WHERE number = ?", (number,))
            HAPPENINGS[what](transaction, name)
    except ResourceMissing:  # deleted meanwhile
        transaction.sql("DELETE FROM agenda WHERE number = ?", (number,))
    except Exception:
        log.exception("what was to happen by itself failed", what=what, id=name)
        transaction.sql(
            "UPDATE agenda SET due = ? WHERE number = ?",
            (transaction.now + AGAIN_AFTER_SECONDS, number),
        )
