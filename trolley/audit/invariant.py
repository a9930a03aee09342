"""What an invariant is: a sentence, the rows it speaks of, and a rule over them.

An invariant is declared as a value. Within one source it speaks of the rows of one read, all of
one snapshot; its rule is a condition in SQL over the columns of that read, so that the database
judges its own rows and only what breaks the rule travels. What breaks it is a finding. Between two
sources it speaks of pairs of rows with the same key, and its rule is a predicate over such a pair;
what breaks it may only be under way, until a second look.

A rule answers NULL, or None, for rows that the invariant does not speak of. Only the others count
as facts, so an invariant that had nothing to check shows it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
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
class Subject:
    """What facts are about: something with a key that several sources know.

    Its messages travel on `topics` under its key. Each statement of `under_way` gives those of
    the keys in the text array $1 of which something is open in that database. Each statement of
    `changed` gives the keys of which rows were written by a transaction that counts as $2 or
    later, at the moment $1 or later by the row's own time, where it has one.
    """

    name: str
    topics: tuple[Topic, ...]
    under_way: tuple[tuple[Source, str], ...]
    changed: tuple[tuple[Source, str], ...]
    published: tuple[Topic, ...]
    """The event topics on which something is told of it, under its key as correlation."""
    pair: bool = False
    """Whether the key is `shop/SKU` rather than a UUID."""


@dataclass(frozen=True, slots=True)
class Read(Generic[R]):
    """Rows of one source: one per key, in byte order of the keys when ordered by `order`.

    The columns of `sql` are the fields of `row`, in their order. In `sql`, `only(columns)` stands
    wherever rows can be narrowed to some keys of the subject that these columns hold; without a
    subject there is nothing to narrow. `subject_key` says which subject a row is of. `topic` is
    set where the rows are what was published on it.
    """

    source: Source
    row: Callable[..., R]
    sql: str
    subject: Subject | None = None
    order: str = "key"
    subject_key: Callable[[R], str] = attrgetter("key")
    topic: Topic | None = None


@dataclass(frozen=True, slots=True)
class Within:
    """An invariant over the rows of one read; `id` is stable, `says` is one sentence."""

    id: str
    says: str
    read: Read[Any]
    holds: str

    @property
    def reads(self) -> tuple[Read[Any], ...]:
        """All that it reads."""
        return (self.read,)

    @property
    def subject(self) -> Subject | None:
        """What it is about."""
        return self.read.subject


@dataclass(frozen=True, slots=True)
class Between:
    """An invariant over two reads, joined by key; None stands for what one of them lacks."""

    id: str
    says: str
    one: Read[Any]
    other: Read[Any]
    holds: Callable[[Any, Any], bool | None]
    subject: Subject

    @property
    def reads(self) -> tuple[Read[Any], ...]:
        """All that it reads."""
        return (self.one, self.other)


Invariant = Within | Between


def within(invariant_id: str, says: str, read: Read[A], holds: str) -> Within:
    """An invariant over the rows of one read."""
    return Within(invariant_id, says, read, holds)


def between(
    invariant_id: str,
    says: str,
    one: Read[A],
    other: Read[B],
    holds: Callable[[A | None, B | None], bool | None],
    *,
    about: Subject,
) -> Between:
    """An invariant over two reads, joined by key."""
    return Between(invariant_id, says, one, other, holds, about)
