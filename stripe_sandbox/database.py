"""Every object that the sandbox knows, in one SQLite file.

One process has the file for itself and works on it in one thread, so a transaction never waits for
another. What is committed outlives a killed process (write-ahead log; a power failure may cost the
last moments, which nobody's money hangs on here).
"""

import secrets
import sqlite3
import string
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from stripe_sandbox.errors import ReferenceMissing, ResourceMissing

Object: TypeAlias = dict[str, Any]
"""An object of the API as it travels, references to others by their ids."""

_ALPHABET = string.ascii_letters + string.digits

FILTERS = ("customer", "payment_intent", "charge", "payment_method", "source", "type", "product")
"""Fields by which objects are found; each has an index."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    object TEXT NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_newest ON objects (object, created, number);
CREATE TABLE IF NOT EXISTS searchable (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, object TEXT NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS private (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS agenda (
    number INTEGER PRIMARY KEY,
    due INTEGER NOT NULL,
    what TEXT NOT NULL,
    id TEXT NOT NULL,
    UNIQUE (id, what)
);
CREATE INDEX IF NOT EXISTS agenda_due ON agenda (due, number);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    request BLOB NOT NULL,
    created INTEGER NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_oldest ON answers (created);
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY,
    event TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    due REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'pending',
    status INTEGER,
    fault TEXT
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due, number) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_of_event ON deliveries (event);
CREATE INDEX IF NOT EXISTS deliveries_to ON deliveries (endpoint) WHERE state = 'pending';
CREATE TABLE IF NOT EXISTS faults (
    number INTEGER PRIMARY KEY, body TEXT NOT NULL, times_left INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS clock (one INTEGER PRIMARY KEY CHECK (one = 1), ahead INTEGER NOT NULL);
INSERT OR IGNORE INTO clock VALUES (1, 0);
""" + "".join(
    f"CREATE INDEX IF NOT EXISTS objects_by_{field} ON objects"
    f" (object, body ->> '$.{field}', number) WHERE body ->> '$.{field}' IS NOT NULL;"
    for field in FILTERS
)


class StateInUse(Exception):
    """Another process has the state."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is in use by another sandbox")
        self.path = path


class StateUnreadable(Exception):
    """The state is no SQLite file, or none that may be read and written here."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot hold the state: {reason}")
        self.path = path


@dataclass(frozen=True, slots=True)
class Cause:
    """The request that brings something about, as events name it.

    `webhook_fault` is what is to go wrong with the deliveries of its events, as its header says it.
    """

    request_id: str
    idempotency_key: str | None
    webhook_fault: str | None = None


class Database:
    """The file. Its clock can be put forward, so that a week need not be waited for.

    Raises StateInUse and StateUnreadable.
    """

    def __init__(self, path: Path, search_lag_seconds: int = 2) -> None:
        self.search_lag_seconds = search_lag_seconds
        self.public_url = ""
        """How browsers reach the pages; known once the port is."""
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=0)
        except sqlite3.Error as error:
            raise StateUnreadable(path, str(error)) from None
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
            self._ahead: int = self._connection.execute("SELECT ahead FROM clock").fetchone()[0]
        except sqlite3.Error as error:
            self._connection.close()
            if error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise StateInUse(path) from None
            raise StateUnreadable(path, str(error)) from None

    def close(self) -> None:
        """Let another process have the state."""
        self._connection.close()

    @property
    def now(self) -> int:
        """Seconds since 1970 by the sandbox's clock."""
        return int(time.time()) + self._ahead

    def put_forward(self, seconds: int) -> None:
        """It is so much later from now on, also after a restart."""
        self._connection.execute("UPDATE clock SET ahead = ahead + ?", (seconds,))
        self._ahead += seconds

    @contextmanager
    def transaction(self, cause: Cause | None = None) -> Iterator["Transaction"]:
        """All of it, or nothing where an exception leaves the block."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield Transaction(connection, self, cause)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk, say, has SQLite end it by itself
                connection.execute("ROLLBACK")
            raise


class Transaction:
    """What an operation works with: objects, the clock, and what is to happen later."""

    def __init__(
        self, connection: sqlite3.Connection, database: Database, cause: Cause | None
    ) -> None:
        self.now = database.now
        self.public_url = database.public_url
        self.cause = cause
        self.sql = connection.execute
        self._search_lag = database.search_lag_seconds

    @contextmanager
    def part(self) -> Iterator[None]:
        """All of the block, or nothing of it where an exception leaves it; the rest stays."""
        self.sql("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self.sql("ROLLBACK TO part")
            raise
        finally:
            self.sql("RELEASE part")

    @staticmethod
    def new_id(prefix: str, characters: int = 24) -> str:
        """An id of an object of some kind."""
        return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(characters))}"

    def save(self, one: Object) -> None:
        """Keep an object as it is now; search finds it after its lag.

        Payment links do not tell when they were created; they are listed by it all the same.
        """
        self.sql(
            "INSERT INTO objects (id, object, created, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (one["id"], one["object"], one.get("created", self.now), orjson.dumps(one).decode()),
        )
        if one["object"] in SEARCHED:
            self.later(self.now + self._search_lag, "search.index", one["id"])

    def find(self, name: str) -> Object | None:
        """The object of this id, of whatever kind."""
        row = self.sql("SELECT body FROM objects WHERE id = ?", (name,)).fetchone()
        return orjson.loads(row[0]) if row else None

    def get(self, kind: str, name: str, param: str | None = None) -> Object:
        """The object of this kind and id. Raises ResourceMissing, which names the parameter."""
        found = self.find(name)
        if found is None or found["object"] != kind:
            raise ResourceMissing(kind, name, param or kind.rpartition(".")[2])
        return found

    def referenced(self, kind: str, name: str, param: str | None = None) -> Object:
        """The object that a parameter refers to. Raises ReferenceMissing, no 404."""
        try:
            return self.get(kind, name, param)
        except ResourceMissing as error:
            raise ReferenceMissing(kind, name, error.param or kind) from None

    def all_of(self, kind: str, **fields: str) -> list[Object]:
        """The objects of a kind with these values in fields of `FILTERS`, the oldest first."""
        conditions, values = _conditions(fields)
        rows = self.sql(
            f"SELECT body FROM objects WHERE object = ?{conditions} ORDER BY number",  # noqa: S608 - names of ours
            (kind, *values),
        )
        return [orjson.loads(body) for (body,) in rows]

    def delete(self, name: str) -> None:
        """Forget an object, but for the fact that it was there."""
        row = self.sql("DELETE FROM objects WHERE id = ? RETURNING object", (name,)).fetchone()
        self.sql("DELETE FROM searchable WHERE id = ?", (name,))
        if row is not None:
            self.keep_private(name, {"deleted": row[0]})

    def deleted(self, name: str) -> Object | None:
        """What the API tells of an object that was deleted."""
        kind = self.private(name).get("deleted")
        return None if kind is None else {"id": name, "object": kind, "deleted": True}

    def keep_private(self, name: str, facts: Mapping[str, Any]) -> None:
        """Keep what the API does not show of an object: which test card it is, say."""
        self.sql(
            "INSERT INTO private VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
            (name, orjson.dumps(facts).decode()),
        )

    def private(self, name: str) -> Object:
        """What was kept private of an object."""
        row = self.sql("SELECT body FROM private WHERE id = ?", (name,)).fetchone()
        return orjson.loads(row[0]) if row else {}

    def later(self, due: int, what: str, name: str) -> None:
        """Something happens to the object of this id by itself, once (see `agenda`)."""
        self.sql(
            "INSERT INTO agenda (due, what, id) VALUES (?, ?, ?)"
            " ON CONFLICT (id, what) DO UPDATE SET due = min(due, excluded.due)",
            (due, what, name),
        )


SEARCHED = frozenset({"customer", "payment_intent", "charge", "price", "product"})
"""Kinds that Stripe has a search for, as far as they are here."""


def _conditions(fields: Mapping[str, str]) -> tuple[str, Sequence[str]]:
    unknown = fields.keys() - set(FILTERS)
    if unknown:
        raise ValueError(f"no index for {sorted(unknown)}")
    return "".join(f" AND body ->> '$.{field}' = ?" for field in fields), tuple(fields.values())
