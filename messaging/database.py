"""A service's database: one pool, one way to open a transaction, one way to say a statement.

Statements go to asyncpg as they are. Between the two, SQLAlchemy's execution cost three times
the driver's own (decision 0008); its tables and migrations stay.
"""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from operator import itemgetter
from typing import Any, ClassVar

import asyncpg

from contracts.topics import Lane

CONNECT_SECONDS = 10

CLOSE_SECONDS = 5
"""How long connections may take to close before they are cut."""

IDLE_SECONDS = 1800
"""Idle connections are closed half-hourly, so that a moved database is found in time."""

_KEEPALIVE = {
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 2,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 10_000,
}
"""Seconds, seconds, probes, milliseconds: silence is noticed after about ten seconds (tcp(7))."""

FIRST_GENERATED_OID = 10_000
"""Types with lower numbers are PostgreSQL's own, the same everywhere (`access/transam.h`)."""

Values = Mapping[str, Any]

_NAMED = re.compile(r"(?<![:\w]):([a-z]\w*)")


class Statement:
    """SQL with `:name` for each value, made into the `$1` of PostgreSQL once."""

    __slots__ = ("names", "text")

    def __init__(self, text: str) -> None:
        numbers: dict[str, int] = {}

        def numbered(found: re.Match[str]) -> str:
            return f"${numbers.setdefault(found[1], len(numbers) + 1)}"

        self.text = _NAMED.sub(numbered, text)
        self.names = tuple(numbers)

    def arguments(self, values: Values) -> list[Any]:
        """The values in the order of their numbers. Raises `KeyError` when one is missing."""
        return [values[name] for name in self.names]


def sql(text: str) -> Statement:
    """A statement, to be made once and used often."""
    return Statement(text)


class Record(asyncpg.Record):
    """A row; its columns are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            value = self[name]
        except KeyError:
            raise AttributeError(name) from None
        # From now on without this method, which takes eight times as long.
        setattr(Record, name, property(itemgetter(name)))
        return value


class Connection:
    """A connection for the length of one transaction, or of some reading."""

    def __init__(self, driver: Any, watchers: Sequence[Callable[[str], None]]) -> None:
        self._driver = driver
        self._watchers = watchers
        self._lanes: set[Lane] = set()
        self._failed = False
        self._wakes: dict[Callable[[], None], None] = {}
        self._last: list[Callable[[], Awaitable[None]]] = []

    def note_emitted(self, lanes: Collection[Lane]) -> None:
        """This transaction wrote to these lanes of the outbox: its commit wakes their relays."""
        self._lanes.update(lanes)

    def after_commit(self, wake: Callable[[], None]) -> None:
        """Call `wake` once when this transaction has committed, never when it rolls back."""
        self._wakes[wake] = None

    def before_commit(self, work: Callable[[], Awaitable[None]]) -> None:
        """Have this done behind everything else of this transaction, just before it commits.

        It is for rows that everybody waits for: what is locked last is held shortest. What `work`
        raises rolls the transaction back.
        """
        self._last.append(work)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """A point of this transaction, and the way back to it, as often as it is wanted.

        Going back undoes what was done in this block, an error of the database included.
        """
        kept = self._lanes.copy(), self._wakes.copy(), self._last.copy()

        async def go_back() -> None:
            await self._driver.execute("ROLLBACK TO SAVEPOINT trial")
            lanes, wakes, last = kept
            self._lanes, self._wakes, self._last = lanes.copy(), wakes.copy(), last.copy()
            self._failed = False

        await self._driver.execute("SAVEPOINT trial")
        yield go_back
        await self._driver.execute("RELEASE SAVEPOINT trial")

    async def execute(self, statement: Statement, values: Values | None = None) -> int:
        """Run a statement; answers how many rows it touched."""
        status: str = await self._run(self._driver.execute, statement, values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def append(
        self, table: str, columns: Collection[str], rows: Collection[Sequence[Any]]
    ) -> None:
        """Insert rows in this order, each with its values in the order of the columns.

        By COPY, which takes half of what an INSERT from arrays takes on either side (decision
        0104); one row costs the same both ways.
        """
        if rows:
            await self._ask(
                f"COPY {table}",
                partial(self._driver.copy_records_to_table, table, records=rows, columns=columns),
            )

    async def fetch(self, statement: Statement, values: Values | None = None) -> list[Record]:
        """All rows of a statement."""
        rows: list[Record] = await self._run(self._driver.fetch, statement, values)
        return rows

    async def fetch_one(self, statement: Statement, values: Values | None = None) -> Record | None:
        """The first row, or None."""
        rows = await self.fetch(statement, values)
        return rows[0] if rows else None

    async def fetch_column(self, statement: Statement, values: Values | None = None) -> list[Any]:
        """The first column of all rows."""
        return [row[0] for row in await self.fetch(statement, values)]

    async def fetch_value(self, statement: Statement, values: Values | None = None) -> Any:
        """The first column of the first row; None when there is no row."""
        row = await self.fetch_one(statement, values)
        return None if row is None else row[0]

    async def _run(
        self, ask: Callable[..., Awaitable[Any]], statement: Statement, values: Values | None
    ) -> Any:
        text, arguments = statement.text, statement.arguments(values or {})
        return await self._ask(text, partial(ask, text, *arguments))

    async def _ask(self, text: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        for see in self._watchers:
            see(text)
        try:
            return await ask()
        except asyncpg.PostgresError:
            self._failed = True
            raise


class _Driver(asyncpg.Connection):
    """asyncpg's connection, which asks for the make of PostgreSQL's own types once a process.

    It would ask on every connection, for each kind of array that a statement is the first to
    use, by a query that takes the server ten milliseconds to plan.
    """

    _known: ClassVar[dict[frozenset[int], Any]] = {}

    async def _introspect_types(self, typeoids: Collection[int], *rest: Any) -> Any:
        asked = frozenset(typeoids)
        if asked not in self._known:
            ask = super()._introspect_types  # type: ignore[misc]  # not in the stubs
            answer = await ask(typeoids, *rest)
            if max(asked) >= FIRST_GENERATED_OID:
                return answer
            self._known[asked] = answer
        return self._known[asked]


def _session_settings(application_name: str) -> dict[str, str]:
    """What every session of ours asks of the server.

    Pages come from memory or from disks without heads, so an index costs what a scan costs. By the
    default of 4 the plans that a session keeps, those of its foreign keys above all, were scans of
    tables that had been small when they were made.
    """
    return {"application_name": application_name, "jit": "off", "random_page_cost": "1.1"}


async def connect(url: str, application_name: str, idle_seconds: int | None = None) -> Any:
    """A connection of the driver's own, for a session that lasts: the relay's, a slot's guard.

    With `idle_seconds` the server ends the session when nothing is asked for so long: a frozen
    process holds its locks no longer.
    """
    server_settings = _session_settings(application_name)
    if idle_seconds is not None:
        server_settings["idle_session_timeout"] = str(idle_seconds * 1000)
    driver = await asyncpg.connect(
        url,
        connection_class=_Driver,
        timeout=CONNECT_SECONDS,
        server_settings=server_settings,
    )
    notice_silence(driver)
    return driver


class NoFreeConnection(TimeoutError):
    """No connection in time: all of the pool are taken, or the server gives no new one."""


class FailedTransaction(RuntimeError):
    """A transaction was to be committed though one of its statements had failed.

    PostgreSQL would answer such a COMMIT with a ROLLBACK, without an error.
    """


class Database:
    """A pool of connections to one PostgreSQL database, READ COMMITTED throughout."""

    def __init__(
        self,
        url: str,
        *,
        pool_connections: int,
        application_name: str,
        pool_wait_seconds: float = 30,
        lock_timeout_ms: int | None = None,
    ) -> None:
        """A pool of at most `pool_connections`; connects when first used.

        Who finds all of them taken waits `pool_wait_seconds`, then gets `NoFreeConnection`.
        `lock_timeout_ms` bounds every wait for a lock on these connections (requests have it,
        consumers wait). asyncpg reads the `postgresql://` URL, options such as `sslmode`
        included. Raises `ValueError` for another scheme.
        """
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("a database URL starts with postgresql://")
        server_settings = _session_settings(application_name)
        if lock_timeout_ms is not None:
            server_settings["lock_timeout"] = str(lock_timeout_ms)
        self._pool_options: dict[str, Any] = {
            "dsn": url,
            "min_size": 0,
            "max_size": pool_connections,
            "max_inactive_connection_lifetime": IDLE_SECONDS,
            "timeout": CONNECT_SECONDS,
            "server_settings": server_settings,
            "connection_class": _Driver,
            "record_class": Record,
            # Nothing outlives a transaction here, so there is nothing to reset: a round trip less.
            "reset": _keep,
            "init": _make_ready,
        }
        self._wait_seconds = pool_wait_seconds
        self._pool: asyncpg.Pool[Record] | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._after_emit: list[tuple[Lane, Callable[[], None]]] = []
        self._watchers: list[Callable[[str], None]] = []

    def after_emit(self, lane: Lane, wake: Callable[[], None]) -> None:
        """Call `wake` after each commit of a transaction that wrote to this lane of the outbox."""
        self._after_emit.append((lane, wake))

    def watch(self, see: Callable[[str], None]) -> None:
        """Call `see` with the text of every statement, for those who count them."""
        self._watchers.append(see)

    def unwatch(self, see: Callable[[str], None]) -> None:
        """End what `watch` began."""
        self._watchers.remove(see)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction: commits at the end of the block, rolls back when it raises."""
        async with self._driver() as driver:
            connection = Connection(driver, self._watchers)
            try:
                async with driver.transaction(isolation="read_committed"):
                    yield connection
                    if connection._failed:
                        raise FailedTransaction
                    for work in connection._last:
                        await work()
            finally:
                # Even when cancelled in the commit, which may have taken place; a needless
                # wake-up costs a look.
                for lane, wake in self._after_emit:
                    if lane in connection._lanes:
                        wake()
        for wake in connection._wakes:
            wake()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection to read from; each statement sees what was committed before it."""
        async with self._driver() as driver:
            yield Connection(driver, self._watchers)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """A connection to read from; all statements see what was committed before the first."""
        async with (
            self._driver() as driver,
            driver.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield Connection(driver, self._watchers)

    @asynccontextmanager
    async def _driver(self) -> AsyncIterator[Any]:
        pool = self._pool or await self._opened()
        try:
            driver = await pool.acquire(timeout=self._wait_seconds)
        except TimeoutError as error:
            raise NoFreeConnection from error
        try:
            yield driver
        finally:
            await pool.release(driver)

    async def _opened(self) -> "asyncpg.Pool[Record]":
        async with self._opening:
            if self._closed:
                raise asyncpg.InterfaceError("the database is closed")
            if self._pool is None:
                self._pool = await asyncpg.create_pool(**self._pool_options)
            return self._pool

    async def close(self) -> None:
        """Close the pool; what is still open after a moment is cut."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await pool.close()
        except TimeoutError:
            pool.terminate()


async def _make_ready(driver: Any) -> None:
    notice_silence(driver)
    await _decode_json(driver)


def notice_silence(driver: Any) -> None:
    """Let the kernel end a connection whose other side has gone without a word.

    After a failover or a lost network nothing closes old connections, and a statement on one
    would wait for as long as the kernel's defaults have it: two hours.
    """
    link = driver._transport.get_extra_info("socket")
    if link is None or link.family not in (socket.AF_INET, socket.AF_INET6):
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # they differ by platform
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _decode_json(driver: Any) -> None:
    """JSON is read as what it says; it is written as text, by the statement's own cast.

    The standard parser, because orjson makes floats of integers beyond 64 bits. As bytes, because
    COPY takes nothing else; those of `jsonb` begin with the number of their version, 1.
    """
    for name, version in (("json", b""), ("jsonb", b"\x01")):
        await driver.set_type_codec(
            name,
            schema="pg_catalog",
            encoder=partial(_json_bytes, version),
            decoder=partial(_json_value, len(version)),
            format="binary",
        )


def _json_bytes(version: bytes, text: str) -> bytes:
    return version + text.encode()


def _json_value(skipped: int, data: bytes) -> Any:
    return json.loads(data[skipped:])


async def _keep(driver: Any) -> None:
    """Give a connection back to its pool as it is."""
