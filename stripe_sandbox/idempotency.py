"""The first answer to a request is the answer to the same request, under the same key, for a day.

A request that was refused before anything was carried out (parameters that are wrong, no such key,
too many requests) leaves nothing behind. One that was begun does, errors of the server included.

Source: Stripe API reference, "Idempotent requests".
"""

from dataclasses import dataclass
from hashlib import sha256

from stripe_sandbox.database import Database, Transaction
from stripe_sandbox.errors import KeyInUse, KeyReused

KEPT_SECONDS = 24 * 3600
LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer that was given."""

    status: int
    body: bytes


def begin(database: Database, key: str, request: bytes) -> Stored | None:
    """The answer given before, or none: then the key is taken until `end` or `forget`.

    `request` is all that makes two requests the same. Raises KeyReused and KeyInUse.
    """
    digest = sha256(request).digest()
    with database.transaction() as transaction:
        row = transaction.sql(
            "SELECT request, created, status, body FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if row is None or row[1] + KEPT_SECONDS <= transaction.now:
            transaction.sql(
                "INSERT OR REPLACE INTO answers (key, request, created) VALUES (?, ?, ?)",
                (key, digest, transaction.now),
            )
            return None
    if row[0] != digest:
        raise KeyReused(key)
    if row[2] is None:
        raise KeyInUse(key)
    return Stored(row[2], row[3])


def end(transaction: Transaction, key: str, answer: Stored) -> None:
    """The answer, kept in the transaction that has its effects."""
    transaction.sql(
        "UPDATE answers SET status = ?, body = ? WHERE key = ?", (answer.status, answer.body, key)
    )


def forget(database: Database, key: str) -> None:
    """Nothing was carried out: the key is free."""
    with database.transaction() as transaction:
        transaction.sql("DELETE FROM answers WHERE key = ? AND status IS NULL", (key,))


def forget_all_begun(database: Database) -> None:
    """What an earlier process had begun and not ended had no effect."""
    with database.transaction() as transaction:
        transaction.sql("DELETE FROM answers WHERE status IS NULL")
