"""A handler is a fold: lock and load what a batch needs, decide each message, save, emit.

The same fold serves a batch from Kafka (`messaging.consumer`) and a single REST command
(`apply`), so that both take the same locks and reach the same decisions.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

import structlog

from contracts.envelope import Envelope
from contracts.messages.base import Message, SagaCommand, SagaMessage, SagaReply
from contracts.values import Struct
from messaging import replies
from messaging.database import Connection
from messaging.outbox import Outgoing, address, write_outgoing
from messaging.points import Point, reach
from messaging.replies import Question, RecordedReply

log = structlog.get_logger()

M = TypeVar("M")
"""What a handler decides: messages from Kafka, or the requests of a REST API."""


class Row(Protocol):
    """A frozen dataclass that stands for one row; `key` is unique within its class."""

    @property
    def key(self) -> Hashable:
        """What identifies the row among those of its class."""


R = TypeVar("R", bound=Row)


class MissingRow(KeyError):
    """A row that the handler should have locked or loaded is not there."""


class Rows:
    """What a batch works on: rows by class and key, as of the messages folded so far."""

    cause: Envelope | None = None
    """What the message came in that is decided now; None for one that did not travel."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._kinds: dict[type, dict[Hashable, Any]] = {}
        for row in rows:
            self._take(type(row), row.key, row)

    def find(self, kind: type[R], key: Hashable) -> R | None:
        """The row, or None."""
        rows = self._kinds.get(kind)
        row: R | None = None if rows is None else rows.get(key)
        return row

    def get(self, kind: type[R], key: Hashable) -> R:
        """The row. Raises `MissingRow`."""
        row = self.find(kind, key)
        if row is None:
            raise MissingRow(kind.__name__, key)
        return row

    def of(self, kind: type[R]) -> Mapping[Hashable, R]:
        """All rows of one class, read only."""
        return MappingProxyType(self._kinds.get(kind, {}))

    def copy(self) -> "Rows":
        """The same rows, to be changed apart from these."""
        copied = Rows()
        copied._kinds = {kind: rows.copy() for kind, rows in self._kinds.items()}
        return copied

    def _take(self, kind: type, key: Hashable, row: Row) -> None:
        rows = self._kinds.get(kind)
        if rows is None:
            rows = self._kinds[kind] = {}
        rows[key] = row


class Decision(Struct, frozen=True):
    """What one message leads to: new versions of rows, and messages to send.

    `result` is for the caller of a REST command; the consumer ignores it.
    """

    changed: tuple[Row, ...] = ()
    messages: tuple[Message, ...] = ()
    result: object = None


class Handler(ABC, Generic[M]):
    """How one service handles the messages of a topic; holds no state of its own."""

    keeps_sagas: ClassVar[bool] = False
    """True for the saga's own handler: what its steps are blocked by it decides at once."""

    @abstractmethod
    async def lock(self, connection: Connection, messages: Sequence[M]) -> None:
        """Lock every row that the batch may change, class by class, sorted within a class.

        Rows that do not exist yet are inserted first, on conflict do nothing.
        """

    @abstractmethod
    async def load(self, connection: Connection, messages: Sequence[M]) -> Rows:
        """Read what the batch needs, set-based, in statements later than the locks."""

    @abstractmethod
    def decide(self, rows: Rows, message: M, now: datetime) -> Decision:
        """What this message changes and sends. Pure; a raise dead-letters this message alone."""

    def announce(self, rows: Rows, changed: Sequence[Row], now: datetime) -> Sequence[Message]:
        """Messages about the batch as a whole, such as one availability per SKU it touched."""
        return ()

    @abstractmethod
    async def save(self, connection: Connection, changed: Sequence[Row]) -> None:
        """Write the last version of each changed row, in the order of first change."""

    def overtaken(self, message: M, later: M) -> bool:
        """Whether `later` takes back what `message` asks for.

        A replayed message that is overtaken by one parked behind it is left without effect.
        """
        return False


class Incoming(Struct, frozen=True):
    """A decoded message with its envelope; REST commands have none, and need not travel."""

    body: object
    envelope: Envelope | None = None


@dataclass(slots=True)
class Fold:
    """The working state of one batch."""

    rows: Rows
    recorded: dict[Question, RecordedReply]
    source: str
    now: datetime
    types: frozenset[str] = frozenset()
    """What kinds of messages it is about."""
    changed: dict[tuple[type, Hashable], Row] = field(default_factory=dict)
    outgoing: list[Outgoing] = field(default_factory=list)
    answered: dict[Question, RecordedReply] = field(default_factory=dict)

    def step(self, handler: Handler[Any], incoming: Incoming) -> Decision:
        """Decide one message and take its results over; a raise leaves the fold as it was."""
        body = incoming.body
        if isinstance(body, SagaCommand):
            question = Question.of(body)
            recorded = self.recorded.get(question)
            if recorded is not None:
                self.outgoing.append(
                    self.addressed(recorded.message, incoming.envelope, recorded.reply_id)
                )
                return Decision()
        cause = self.rows.cause = incoming.envelope
        decision = handler.decide(self.rows, body, self.now)
        outgoing = [self.addressed(message, cause) for message in decision.messages]
        for row in decision.changed:
            kind, key = type(row), row.key
            self.rows._take(kind, key, row)
            self.changed[kind, key] = row
        if outgoing:
            self._send(decision.messages, outgoing)
        return decision

    def foresee(self, handler: Handler[Any], messages: Iterable[object]) -> list[Sequence[Row]]:
        """What each of these messages would change behind the others; the fold stays as it is.

        Nothing, where `decide` raises: that is found when the message is decided in earnest.
        """
        rows, foreseen = self.rows.copy(), list[Sequence[Row]]()
        for body in messages:
            changed: Sequence[Row] = ()
            if not (isinstance(body, SagaCommand) and Question.of(body) in self.recorded):
                with suppress(Exception):
                    changed = handler.decide(rows, body, self.now).changed
            for row in changed:
                rows._take(type(row), row.key, row)
            foreseen.append(changed)
        return foreseen

    def tell(self, handler: Handler[Any], note: SagaMessage, cause: Envelope | None) -> None:
        """Tell the saga: by message, or at once where this is the saga's own handler."""
        if not handler.keeps_sagas:
            self.outgoing.append(self.addressed(note, cause))
            return
        try:
            self.step(handler, Incoming(note, cause))
        except Exception as error:
            log.error("a saga does not take a note", note=note.type, exc_info=error)

    def addressed(
        self, message: Message, cause: Envelope | None = None, message_id: UUID | None = None
    ) -> Outgoing:
        """The message in its envelope, as it is to stand in the outbox."""
        return address(
            message, source=self.source, now=self.now, cause=cause, message_id=message_id
        )

    def _send(self, messages: Sequence[Message], outgoing: list[Outgoing]) -> None:
        for message, sent in zip(messages, outgoing, strict=True):
            if isinstance(message, SagaReply):
                question = Question.of(message)
                reply = RecordedReply(question, sent.message_id, message)
                self.recorded[question] = reply
                self.answered[question] = reply
        self.outgoing.extend(outgoing)

    async def save(self, connection: Connection, handler: Handler[Any]) -> None:
        """Write what changed, what was answered and what is to be sent."""
        changed = list(self.changed.values())
        if changed:
            await handler.save(connection, changed)
            await reach(Point.STATE_WRITTEN, self.source, self.types)
            self.outgoing.extend(
                self.addressed(message)
                for message in handler.announce(self.rows, changed, self.now)
            )
        await replies.record(connection, list(self.answered.values()))
        await write_outgoing(connection, self.outgoing)
        await reach(Point.OUTBOX_WRITTEN, self.source, self.types)


async def open_fold(
    connection: Connection,
    handler: Handler[Any],
    messages: Sequence[object],
    *,
    source: str,
    now: datetime,
) -> Fold:
    """Lock, then load: the beginning of every fold."""
    rows = Rows()
    if messages:
        await handler.lock(connection, messages)
        rows = await handler.load(connection, messages)
    questions = {Question.of(body) for body in messages if isinstance(body, SagaCommand)}
    recorded = await replies.recorded(connection, questions)
    types = frozenset(getattr(body, "type", type(body).__name__) for body in messages)
    await reach(Point.STATE_READ, source, types)
    return Fold(rows=rows, recorded=recorded, source=source, now=now, types=types)


async def apply(
    connection: Connection,
    handler: Handler[M],
    message: M,
    now: datetime,
    *,
    source: str,
) -> Decision:
    """Decide one command at once, in the caller's transaction: the fold with a batch of one.

    What `decide` raises goes to the caller, whose transaction then rolls back.
    """
    fold = await open_fold(connection, handler, [message], source=source, now=now)
    decision = fold.step(handler, Incoming(message))
    await fold.save(connection, handler)
    return decision
