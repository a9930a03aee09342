"""The first answer to a request is the answer to the same request, under the same key, for a day.

A request that was refused before anything was carried out (parameters that are wrong, no such key,
too many requests) leaves nothing behind. One that was begun does, errors of the server included:
its answer is kept in the transaction of its effects, so neither is ever there without the other.

Source: Stripe API reference, "Idempotent requests".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from stripe_sandbox.database import Database, Transaction
from stripe_sandbox.errors import KeyInUse, KeyReused

KEPT_SECONDS = 24 * 3600
LONGEST_KEY = 255

SWEPT_AT_ONCE = 2
"""So many expired answers go when one comes: the table shrinks and no request waits for it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer that was given."""

    status: int
    body: bytes


class Keys:
    """The keys that requests hold right now. A process that ends holds none any more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, bytes] = {}

    @contextmanager
    def hold(self, key: str, request: bytes) -> Iterator[Stored | None]:
        """The answer given before, or none: then the key is held until the block ends.

        `request` is all that makes two requests the same. Raises KeyReused and KeyInUse.
        """
        digest = sha256(request).digest()
        with self._database.transaction() as transaction:
            row = transaction.sql(
                "SELECT request, status, body FROM answers WHERE key = ? AND created > ?",
                (key, transaction.now - KEPT_SECONDS),
            ).fetchone()
        first = row[0] if row else self._held.get(key)
        if first not in (None, digest):
            raise KeyReused(key)
        if row is not None:
            yield Stored(row[1], row[2])
            return
        if key in self._held:
            raise KeyInUse(key)
        self._held[key] = digest
        try:
            yield None
        finally:
            del self._held[key]


def keep(transaction: Transaction, key: str, request: bytes, answer: Stored) -> None:
    """Keep the answer to a request, in the transaction that has its effects."""
    transaction.sql(
        "DELETE FROM answers WHERE key IN"
        " (SELECT key FROM answers WHERE created <= ? ORDER BY created LIMIT ?)",
        (transaction.now - KEPT_SECONDS, SWEPT_AT_ONCE),
    )
    transaction.sql(
        "INSERT OR REPLACE INTO answers (key, request, created, status, body)"
        " VALUES (?, ?, ?, ?, ?)",
        (key, sha256(request).digest(), transaction.now, answer.status, answer.body),
    )
