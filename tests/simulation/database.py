"""A service's database: committed rows, inbox, recorded replies and outbox, and one transaction."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from uuid import UUID

from contracts.envelope import Envelope
from contracts.messages.base import Message
from messaging.fold import Fold, Row, Rows
from messaging.outbox import Outgoing
from messaging.replies import Question, RecordedReply
from tests.simulation.broker import Letter

R = TypeVar("R", bound=Row)


class Tables:
    """Committed rows by class and key."""

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds: dict[type, dict[Hashable, Any]] = {}

    def of(self, kind: type[R]) -> dict[Hashable, R]:
        """All rows of one class."""
        return cast("dict[Hashable, R]", self._kinds.setdefault(kind, {}))

    def find(self, kind: type[R], key: Hashable) -> R | None:
        """The row, or None."""
        rows = self._kinds.get(kind)
        return None if rows is None else cast("R | None", rows.get(key))

    def put(self, row: Row) -> None:
        """Write a row."""
        self._kinds.setdefault(type(row), {})[row.key] = row


class View(Rows):
    """What a transaction sees: what it changed itself, else what is committed.

    It stands for `lock` and `load`: transactions follow each other here, one by one.
    """

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self._tables = tables

    def find(self, kind: type[R], key: Hashable) -> R | None:
        """The row, or None."""
        return super().find(kind, key) or self._tables.find(kind, key)

    def put(self, row: Row) -> None:
        """Have a row that `lock` inserts where it is missing."""
        self._take(row)


@dataclass(slots=True, kw_only=True)
class ObjectFold(Fold):
    """The product's fold; what it sends travels as an object instead of as bytes."""

    ids: Iterator[UUID] = field()
    """Ids of messages: counted, so that every run of a seed has the same."""

    def addressed(
        self, message: Message, cause: Envelope | None = None, message_id: UUID | None = None
    ) -> Outgoing:
        """The message as it is, under its id."""
        return Letter(message_id or next(self.ids), message)


class Database:
    """One service's database. The inbox is per consumer: per topic, by message id."""

    __slots__ = ("inbox", "outbox", "replies", "tables")

    def __init__(self) -> None:
        self.tables = Tables()
        self.inbox: set[tuple[str, int]] = set()
        self.replies: dict[Question, RecordedReply] = {}
        self.outbox: list[Letter] = []
