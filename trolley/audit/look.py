"""One look: tables are taken in from one snapshot of each database, and every rule is judged.

A look is at everything, or at some keys of each subject. Then each subject is looked at by itself,
in a space that has only the rows of its keys.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from trolley.audit import checkpoints
from trolley.audit.engine import TYPES, Engine, Space
from trolley.audit.invariant import Invariant, Read, Source, Subject, Table
from trolley.audit.published import Published, events_on
from trolley.audit.report import Finding
from trolley.audit.snapshots import Snapshots
from trolley.audit.stripe_books import StripeBooks
from trolley.audit.subjects import PAYMENT, SKU, is_id
from trolley.audit.tables import MOVEMENTS, TELL, VERIFIED
from trolley.together import together

Scope = Mapping[Subject, Sequence[str]]
"""The keys that a look is at, of each subject; what has no subject is always looked at."""


@dataclass(slots=True)
class Tally:
    """What a look found of one invariant: how many facts, and what breaks it, by entity."""

    facts: int = 0
    broken: int = 0
    candidates: dict[str, Finding] = field(default_factory=dict)


async def look(
    invariants: Iterable[Invariant],
    engine: Engine,
    snapshots: Snapshots,
    published: Published | None,
    books: StripeBooks | None,
    *,
    kept: int,
    scope: Scope | None = None,
) -> dict[Invariant, Tally]:
    """Ask invariants; at most `kept` candidates of each are kept, all are counted.

    Without a scope everything is looked at, and the topics are read to their end meanwhile, and
    Stripe's books; with one, they have been. `published` and `books` are None where no invariant
    that is asked reads of them.

    Raises DatabaseUnavailable, DatabaseNotReadable, KafkaUnavailable, StripeUnavailable and
    AuditTooLarge.
    """
    asked: defaultdict[Subject | None, list[Invariant]] = defaultdict(list)
    for one in invariants:
        if scope is None:
            asked[None].append(one)
        elif one.subject is None or scope.get(one.subject):
            asked[one.subject].append(one)
    tallies: dict[Invariant, Tally] = {}
    await engine.share_out(rows_are_many=scope is None)
    async with AsyncExitStack() as stack:
        parts = [
            _Part(
                engine,
                books,
                await stack.enter_async_context(engine.space()),
                rules,
                subject,
                scope[subject] if scope and subject else None,
            )
            for subject, rules in asked.items()
        ]
        told = []
        if scope is None and published is not None:
            told.append(published.read_to_end())
        if scope is None and books is not None:
            told.append(books.read_all())
        await together((*told, *(part.take_in(snapshots) for part in parts)))
        await together(part.judge(kept, tallies) for part in parts)
    return tallies


@dataclass(frozen=True, slots=True)
class _Part:
    """Rules about one subject, over the rows of these keys of it; or all rules, over all rows."""

    engine: Engine
    books: StripeBooks | None
    space: Space
    rules: Sequence[Invariant]
    subject: Subject | None
    keys: Sequence[str] | None

    async def take_in(self, snapshots: Snapshots) -> None:
        """Every table of which the rules read, from all databases at once."""
        wanted: defaultdict[Source, dict[Table, None]] = defaultdict(dict)
        for rule in self.rules:
            for table in (table for read in rule.reads for table in read.tables):
                wanted[table.source][table] = None
        lists = await self._lists()

        async def take_in(source: Source, tables: Iterable[Table]) -> None:
            for name, listed in lists.items():
                await snapshots.fetch(source, TELL, name, listed)
            for table in tables:
                path = self.space.path(table.name)
                types = await self._types(table, snapshots)
                sql = table.of[self.subject] if self.subject else table.everything
                await snapshots.copy(source, sql, path)
                await self.space.take_in(table.name, types, path)

        await together(take_in(source, tables) for source, tables in wanted.items())

    async def _lists(self) -> Mapping[str, Sequence[str]]:
        """What the databases are told. What came from a topic may be no id: no row has it then."""
        lists: dict[str, Sequence[str]] = {}
        if self.subject is not None and self.keys is not None:
            keys = self.keys if self.subject.pair else filter(is_id, self.keys)
            lists[self.subject.name] = list(keys)
        if self._is_at_movements:
            lists[VERIFIED] = [str(one) for one in await checkpoints.reached(self.space, self.keys)]
        return lists

    async def _types(self, table: Table, snapshots: Snapshots) -> Mapping[str, str]:
        """The types of a table's columns, asked once."""
        known = self.engine.types
        if table.name not in known:
            columns = await snapshots.columns(table.source, table.everything)
            known[table.name] = {column: TYPES[kind] for column, kind in columns.items()}
        return known[table.name]

    async def judge(self, kept: int, tallies: dict[Invariant, Tally]) -> None:
        """Note what the rules say of the rows."""
        for topic in self.subject.published if self.subject else ():
            await self.space.run(
                f"CREATE TABLE {self.space.name}.{events_on(topic)} AS"
                f" FROM main.{events_on(topic)} WHERE key IN (SELECT unnest(?))",
                (list(self.keys or ()),),
            )
        if self.books is not None and self.subject is PAYMENT:
            await self.books.narrow(self.space, self.keys or ())
        alike: defaultdict[tuple[Read, ...], list[Invariant]] = defaultdict(list)
        for rule in self.rules:
            alike[rule.reads].append(rule)
        for reads, rules in alike.items():
            counts = (await self.space.run(_counted(reads, rules)))[0]
            for rule, facts, broken in zip(rules, counts[::2], counts[1::2], strict=True):
                tallies[rule] = Tally(facts, broken)
                if broken:
                    for rows in await self.space.run(_breaking(reads, rule, kept)):
                        finding = _finding(rule, rows)
                        tallies[rule].candidates[finding.entity] = finding
        if self._is_at_movements:
            await checkpoints.advance(self.space, _wrong_skus(tallies))

    @property
    def _is_at_movements(self) -> bool:
        """Whether the rules are about the movements of SKUs."""
        reads = [read for rule in self.rules if rule.subject is SKU for read in rule.reads]
        return any(MOVEMENTS in read.tables for read in reads)


def _wrong_skus(tallies: Mapping[Invariant, Tally]) -> set[str] | None:
    """The SKUs that break a rule; None where not all that do were kept."""
    about = [tally for rule, tally in tallies.items() if rule.subject is SKU]
    if any(tally.broken > len(tally.candidates) for tally in about):
        return None
    return {one.subject_key or "" for tally in about for one in tally.candidates.values()}


def _rows(reads: Sequence[Read]) -> str:
    """The rows of a read, or pairs of two with the same key; one that came from a topic is text."""
    named = [f"({read.sql}\n) AS {read.name}" for read in reads]
    if len(reads) == 1:
        return named[0]
    keys = " = ".join(f"{read.name}.key::VARCHAR" for read in reads)
    return f"{' FULL JOIN '.join(named)} ON {keys}"


def _counted(reads: Sequence[Read], rules: Sequence[Invariant]) -> str:
    """Two columns for each rule: how many facts it speaks of, and how many break it."""
    counts = ", ".join(
        f"count(r{number}), count(*) FILTER (WHERE NOT r{number})" for number in range(len(rules))
    )
    verdicts = ", ".join(f"({rule.holds}\n) AS r{number}" for number, rule in enumerate(rules))
    return f"SELECT {counts} FROM (SELECT {verdicts} FROM {_rows(reads)})"  # noqa: S608 - constants


def _breaking(reads: Sequence[Read], rule: Invariant, most: int) -> str:
    """The first rows, or pairs of them, that break a rule."""
    names = ", ".join(read.name for read in reads)
    keys = ", ".join(f"{read.name}.key::VARCHAR" for read in reads)
    return (
        f"SELECT {names} FROM {_rows(reads)} WHERE NOT ({rule.holds}\n)"  # noqa: S608 - constants
        f" ORDER BY coalesce({keys}) LIMIT {most}"
    )


def _finding(rule: Invariant, rows: Sequence[Mapping[str, Any]]) -> Finding:
    said: list[tuple[Read, dict[str, Any] | None]] = [
        (
            read,
            None
            if row["key"] is None
            else {column: _plain(value) for column, value in row.items()},
        )
        for read, row in zip(rule.reads, rows, strict=True)
    ]
    known = [(read, row) for read, row in said if row is not None]
    changes = [row["since"] for _, row in known if row["since"] is not None]
    read, row = known[0]
    return Finding(
        rule.id,
        row["key"],
        {str(read.source): row for read, row in said},
        max(changes, default=None),
        row[read.of] if rule.subject is not None else None,
    )


def _plain(value: Any) -> Any:
    """Ids as text, and times with their zone."""
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.replace(tzinfo=UTC)
        case _:
            return value
