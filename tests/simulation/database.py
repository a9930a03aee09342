"""A service's database: committed rows, inbox, recorded replies and outbox, and one transaction."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast
from uuid import UUID

from contracts.envelope import Envelope
from contracts.messages.base import Message
from messaging.fold import Decision, Fold, Handler, Incoming, Row, Rows
from messaging.outbox import Outgoing
from messaging.replies import Question, RecordedReply
from tests.simulation.broker import Letter

R = TypeVar("R", bound=Row)

Kind: TypeAlias = dict[Hashable, Any]
"""All rows of one class by key."""


class Tables:
    """Committed rows by class and key."""

    __slots__ = ("_kinds",)

    def __init__(self, kept: Collection[type]) -> None:
        self._kinds: dict[type, Kind] = {kind: {} for kind in kept}

    def of(self, kind: type[R]) -> dict[Hashable, R]:
        """All rows of one class."""
        return self._kinds[kind]

    def find(self, kind: type[R], key: Hashable) -> R | None:
        """The row, or None."""
        row: R | None = self._kinds[kind].get(key)
        return row

    def put(self, row: Row) -> None:
        """Write a row."""
        self._kinds[type(row)][row.key] = row

    def shared(self) -> dict[type, Kind]:
        """The very rows, for a transaction to work on; of other classes it begins with none."""
        return defaultdict(dict, self._kinds)


class View(Rows):
    """What a transaction sees and writes: the committed rows themselves, and how they were.

    Transactions follow each other here one by one, so it needs no rows of its own, except of
    classes that are not kept: those only tell a store what to insert.
    """

    def __init__(self, tables: Tables) -> None:
        self._kinds = tables.shared()
        self._before: list[tuple[Row, Row | None]] = []
        self._inserted: list[Row] = []

    def insert(self, row: Row) -> None:
        """Have a row that `lock` inserts where it is missing."""
        self._kinds[type(row)][row.key] = row
        self._inserted.append(row)

    def changes(self) -> Iterator[Row | None]:
        """What each changed row was before, in the order of changes."""
        return iter([before for _, before in self._before])

    def undo(self) -> None:
        """Nothing of this transaction ever was."""
        for row, before in reversed(self._before):
            rows = self._kinds[type(row)]
            if before is None:
                del rows[row.key]
            else:
                rows[row.key] = before
        for row in self._inserted:
            del self._kinds[type(row)][row.key]

    def _take(self, kind: type, key: Hashable, row: Row) -> None:
        rows = self._kinds[kind]
        self._before.append((row, rows.get(key)))
        rows[key] = row


@dataclass(slots=True, kw_only=True)
class ObjectFold(Fold):
    """The product's fold; what it sends travels as an object instead of as bytes."""

    ids: Iterator[UUID] = field()
    """Ids of messages: counted, so that every run of a seed has the same."""
    decisions: list[Decision] = field(default_factory=list)
    """What was decided, on messages and on what the saga was told of those put aside."""

    def step(self, handler: Handler[Any], incoming: Incoming) -> Decision:
        """See `Fold.step`."""
        decision = Fold.step(self, handler, incoming)  # `super()` knows no class with slots
        self.decisions.append(decision)
        return decision

    def addressed(
        self, message: Message, cause: Envelope | None = None, message_id: UUID | None = None
    ) -> Outgoing:
        """The message as it is, under its id."""
        return cast("Outgoing", Letter(message_id or next(self.ids), message))


class Database:
    """One service's database. The inbox is per consumer: per topic, by message id."""

    __slots__ = ("answered", "inbox", "outbox", "replies", "tables")

    def __init__(self, kept: Collection[type]) -> None:
        self.tables = Tables(kept)
        self.inbox: dict[str, set[UUID]] = {}
        self.answered: set[int] = set()
        """Keys of the requests that took effect; what they were answered, nobody looks at here."""
        self.replies: dict[Question, RecordedReply] = {}
        self.outbox: list[Letter] = []
