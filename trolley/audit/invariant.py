"""What an invariant is: a sentence, the rows it speaks of, and a predicate over them.

An invariant is declared as a value. Within one database it speaks of the rows of one read, all of
one snapshot, and what breaks it is a finding. Between two it speaks of pairs of rows with the
same key; what breaks it may only be under way, so it also says what it is about.

The predicate answers None for rows that the invariant does not speak of. Only the others count as
facts, so an invariant that had nothing to check shows it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from contracts.topics import Topic


class Source(StrEnum):
    """Where rows come from: a database, by its name in `trolley.services`, or the event topics."""

    CATALOG = "catalog"
    CART = "cart"
    INVENTORY = "inventory"
    ORDER = "order"
    PAYMENT = "payment"
    SIMULATED_PROVIDER = "simulated_provider"
    PUBLISHED = "published"


DATABASES = tuple(source for source in Source if source is not Source.PUBLISHED)


class Row(Protocol):
    """What one source says of one thing; in practice a NamedTuple.

    `key` names the thing by the same text wherever it is known. `since` is when its state last
    changed, as far as that is recorded: it gives a finding its age.
    """

    @property
    def key(self) -> str: ...
    @property
    def since(self) -> datetime | None: ...
    def _asdict(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Row)
A = TypeVar("A", bound=Row)
B = TypeVar("B", bound=Row)


@dataclass(frozen=True, slots=True)
class Read(Generic[R]):
    """Rows of one source: one per key, in byte order of the keys.

    The columns of `sql` are the fields of `row`, in their order. `topic` is set where the rows
    are what was published on it.
    """

    source: Source
    row: Callable[..., R]
    sql: str
    topic: Topic | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a fact between services is about, and how to see that something of it is under way.

    Its messages travel on `topics` under its key. Each statement of `under_way` gives those of
    the keys in the text array $1 of which something is open in that database.
    """

    name: str
    topics: tuple[Topic, ...]
    under_way: tuple[tuple[Source, str], ...]


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that must always be true; `id` is stable, `says` is one sentence."""

    id: str
    says: str
    reads: tuple[Read[Any], ...]
    holds: Callable[..., bool | None]
    about: Subject | None = None


def within(
    invariant_id: str, says: str, read: Read[A], holds: Callable[[A], bool | None]
) -> Invariant:
    """An invariant over the rows of one read."""
    return Invariant(invariant_id, says, (read,), holds)


def between(
    invariant_id: str,
    says: str,
    one: Read[A],
    other: Read[B],
    holds: Callable[[A | None, B | None], bool | None],
    *,
    about: Subject,
) -> Invariant:
    """An invariant over two reads, joined by key; None stands for what one of them lacks."""
    return Invariant(invariant_id, says, (one, other), holds, about)
