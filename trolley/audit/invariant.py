"""What an invariant is: a sentence, the rows it speaks of, and a rule over them.

An invariant is declared as a value. Its rows come from reads, which are SQL over the tables that
a look has taken in; its rule is a condition in SQL over the columns of one read, or over pairs of
rows of two reads with the same key. There is one text of each, for a look at everything and for
one at a few keys.

Within one source all rows are of one snapshot, so what breaks a rule is a finding. Between two it
may only be under way, until a second look.

A rule answers NULL for rows that the invariant does not speak of. Only the others count as facts,
so an invariant that had nothing to check shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from contracts.topics import Topic


class Source(StrEnum):
    """Where rows come from: a database, by its name in `trolley.services`, the event topics, or
    the books of Stripe."""

    CATALOG = "catalog"
    CART = "cart"
    INVENTORY = "inventory"
    ORDER = "order"
    PAYMENT = "payment"
    SIMULATED_PROVIDER = "simulated_provider"
    PUBLISHED = "published"
    STRIPE = "stripe"


DATABASES = tuple(source for source in Source if source not in (Source.PUBLISHED, Source.STRIPE))


@dataclass(frozen=True, slots=True, eq=False)
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


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Columns of a database's table, as a look takes them in under `name`.

    `everything` is the statement that gives all rows, `of` those that give the rows of the keys
    of a subject that the database was told.
    """

    name: str
    source: Source
    everything: str
    of: Mapping[Subject, str]


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Rows that a rule calls `name`: what one source says of one thing, once per key.

    Columns of `sql` are, among those that a rule asks, `key`, which names the thing by the same
    text wherever it is known, and `since`: when its state last changed, as far as that is
    recorded; it gives a finding its age. The column `of` holds the key of the subject.
    """

    name: str
    source: Source
    sql: str
    tables: tuple[Table, ...] = ()
    subject: Subject | None = None
    of: str = "key"


@dataclass(frozen=True, slots=True, eq=False)
class Within:
    """An invariant over the rows of one read; `id` is stable, `says` is one sentence."""

    id: str
    says: str
    read: Read
    holds: str

    @property
    def reads(self) -> tuple[Read, ...]:
        """All that it reads."""
        return (self.read,)

    @property
    def subject(self) -> Subject | None:
        """What it is about."""
        return self.read.subject


@dataclass(frozen=True, slots=True, eq=False)
class Between:
    """An invariant over two reads, joined by key; what one of them lacks is NULL there."""

    id: str
    says: str
    one: Read
    other: Read
    holds: str

    @property
    def reads(self) -> tuple[Read, ...]:
        """All that it reads."""
        return (self.one, self.other)

    @property
    def subject(self) -> Subject | None:
        """What it is about."""
        return self.one.subject


Invariant = Within | Between
