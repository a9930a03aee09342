"""The report of a run: what was done, what came of it, and whether everything held."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from trolley.audit.report import AuditReport
from trolley.chaos.accounts import Accounts
from trolley.chaos.campaign import Blow
from trolley.chaos.faults import Kind, meaning
from trolley.chaos.measures import fresh_after, longest_stall, slowest_plain
from trolley.chaos.shoppers import Journey


@dataclass(frozen=True, slots=True)
class Run:
    """All that a run brought; times without a date are readings of the monotonic clock."""

    command: str
    seed: int
    minutes: float
    replicas: int
    shoppers_per_second: float
    began: datetime
    opened_at: float
    closed_at: float
    cores: int
    load_before: float
    load_after: float
    interrupted: bool
    blows: Sequence[Blow]
    troubles: Sequence[str]
    journeys: Sequence[Journey]
    accounts: Accounts
    audit: AuditReport


@dataclass(frozen=True, slots=True)
class OfKind:
    """How faults of one kind went. Faults that struck together share their times.

    `sold_again`: from the strike until a shopper who came after it had paid. `recovery`: from
    the end of the fault until all was ready and one who came after that had paid. `slowest`: the
    slowest of the plain checkouts that were under way meanwhile.
    """

    kind: Kind
    sold_again: tuple[float, ...]
    recovery: tuple[float, ...]
    slowest: tuple[float, ...]

    @property
    def count(self) -> int:
        """How many were injected."""
        return len(self.recovery)


@dataclass(frozen=True, slots=True)
class Report:
    """What is told of a run."""

    run: Run
    kinds: tuple[OfKind, ...]
    outcomes: Mapping[str, int]
    errands: Mapping[str, int]
    stall_seconds: float
    stall_after_seconds: float
    """When the longest stall began, counted from the opening."""
    kafka_back: tuple[float, ...]
    postgres_back: tuple[float, ...]
    partitions_moved: tuple[float, ...]

    @property
    def violations(self) -> int:
        """Everything that must not be: 0 when all held."""
        accounts = self.run.accounts
        return (
            self.run.audit.violations
            + self.run.audit.unjudged
            + len(self.run.audit.open_items)
            + len(accounts.lost)
            + len(accounts.doubled)
            + sum(not check.held for check in accounts.checks)
            + len(self.run.troubles)
        )

    @property
    def held(self) -> bool:
        """Whether shoppers bought, faults struck, and nothing is wrong."""
        return self.violations == 0 and self.run.accounts.accepted > 0 and bool(self.run.blows)

    @property
    def faults(self) -> int:
        """How many were injected."""
        return sum(one.count for one in self.kinds)


def report(run: Run) -> Report:
    """Reads the figures off a run."""
    stall = longest_stall(run.journeys, run.opened_at, run.closed_at)
    injected = [one for blow in run.blows for one in blow.injected]
    back = {
        kind: tuple(
            one.server_back_seconds
            for one in injected
            if one.fault.kind is kind and one.server_back_seconds is not None
        )
        for kind in (Kind.KILL_KAFKA, Kind.KILL_POSTGRES)
    }
    return Report(
        run=run,
        kinds=tuple(_of_kind(kind, run) for kind in Kind),
        outcomes=Counter(one.state for one in run.journeys),
        errands=Counter(one.errand for one in run.journeys),
        stall_seconds=stall.seconds,
        stall_after_seconds=stall.from_at - run.opened_at,
        kafka_back=back[Kind.KILL_KAFKA],
        postgres_back=back[Kind.KILL_POSTGRES],
        partitions_moved=tuple(
            one.partitions_moved_seconds
            for one in injected
            if one.partitions_moved_seconds is not None
        ),
    )


def _of_kind(kind: Kind, run: Run) -> OfKind:
    struck = [blow for blow in run.blows for one in blow.injected if one.fault.kind is kind]
    return OfKind(
        kind,
        sold_again=tuple(_sold_again(blow, run) for blow in struck),
        recovery=tuple(blow.recovery_seconds for blow in struck),
        slowest=tuple(
            slowest_plain(run.journeys, blow.struck_at, blow.recovered_at) for blow in struck
        ),
    )


def _sold_again(blow: Blow, run: Run) -> float:
    fresh = fresh_after(run.journeys, blow.struck_at)
    return (blow.recovered_at if fresh is None else fresh) - blow.struck_at


def as_json(report: Report) -> dict[str, Any]:
    """The whole report for programs."""
    run = report.run
    return {
        "held": report.held,
        "violations": report.violations,
        "command": run.command,
        "seed": run.seed,
        "minutes": run.minutes,
        "interrupted": run.interrupted,
        "began": run.began.isoformat(),
        "open_seconds": _rounded(run.closed_at - run.opened_at),
        "replicas": run.replicas,
        "shoppers_per_second": run.shoppers_per_second,
        "cores": run.cores,
        "load_before": _rounded(run.load_before),
        "load_after": _rounded(run.load_after),
        "faults": {
            one.kind.value: {
                "count": one.count,
                "sold_again_seconds": _summary(one.sold_again),
                "recovery_seconds": _summary(one.recovery),
                "slowest_checkout_seconds": _summary(one.slowest),
            }
            for one in report.kinds
        },
        "strikes": [_strike(blow, run) for blow in run.blows],
        "troubles": list(run.troubles),
        "kafka_back_seconds": [_rounded(each) for each in report.kafka_back],
        "postgres_back_seconds": [_rounded(each) for each in report.postgres_back],
        "partitions_moved_seconds": [_rounded(each) for each in report.partitions_moved],
        "checkouts": {
            "accepted": run.accounts.accepted,
            "outcomes": dict(report.outcomes),
            "errands": dict(report.errands),
            "lost": list(run.accounts.lost),
            "doubled": list(run.accounts.doubled),
            "without_an_end": [one.trouble for one in run.journeys if one.trouble is not None],
            "checks": [check.as_json() for check in run.accounts.checks],
        },
        "longest_stall_seconds": _rounded(report.stall_seconds),
        "longest_stall_began_seconds": _rounded(report.stall_after_seconds),
        "audit": run.audit.as_json(),
    }


def _strike(blow: Blow, run: Run) -> dict[str, Any]:
    return {
        "number": blow.strike.number,
        "after_seconds": _rounded(blow.struck_at - run.opened_at),
        "faults": [
            {
                "kind": one.fault.kind.value,
                "victim": one.victim,
                "lasted_seconds": _rounded(one.over_at - one.struck_at),
                "connections_ended": one.connections,
            }
            for one in blow.injected
        ],
        "sold_again_seconds": _rounded(_sold_again(blow, run)),
        "ready_seconds": _rounded(blow.ready_at - blow.over_at),
        "recovery_seconds": _rounded(blow.recovery_seconds),
    }


def _summary(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": _rounded(median(values)), "longest": _rounded(max(values))}


def _rounded(seconds: float) -> float:
    return round(seconds, 2)


def write_json(path: Path, report: Report) -> None:
    """Writes the report for programs, readable by people too."""
    path.write_bytes(orjson.dumps(as_json(report), option=orjson.OPT_INDENT_2) + b"\n")


def write_markdown(path: Path, report: Report) -> None:
    """Writes the report for people."""
    path.write_text("\n".join(markdown(report)) + "\n")


def markdown(report: Report) -> Iterator[str]:
    """The report's lines."""
    run = report.run
    yield "# Chaos: faults in real processes while shoppers buy"
    yield ""
    yield f"    {run.command}"
    yield ""
    yield from _told(report)
    yield ""
    yield "## Faults"
    yield ""
    yield "| fault | what happens | count | sold again, s | recovery, s | slowest checkout, s |"
    yield "|---|---|---:|---:|---:|---:|"
    for one in report.kinds:
        yield (
            f"| {one.kind} | {meaning(one.kind)} | {one.count} | {_span(one.sold_again)} | "
            f"{_span(one.recovery)} | {_span(one.slowest)} |"
        )
    together = sum(len(blow.injected) > 1 for blow in run.blows)
    yield ""
    yield (
        "Each pair is the median and the longest. *Sold again*: from the strike until a shopper "
        "who came after it had paid. *Recovery*: from the end of the fault until every process "
        "was ready and a shopper who came after that had paid; a frozen or removed replica "
        "is away before that. *Slowest checkout*: of those that wanted to pay at once and were "
        f"under way meanwhile. {together} of {len(run.blows)} strikes were two faults at a time, "
        "which share their figures."
    )
    yield ""
    yield "| figure | median | longest |"
    yield "|---|---:|---:|"
    for name, values in (
        ("Kafka answers a client after SIGKILL, s", report.kafka_back),
        ("PostgreSQL answers a client after SIGKILL, s", report.postgres_back),
        ("others read the partitions of a removed replica, s", report.partitions_moved),
    ):
        yield f"| {name} | {_median(values)} | {_longest(values)} |"
    yield ""
    yield "## Checkouts"
    yield ""
    yield "| outcome | shoppers |"
    yield "|---|---:|"
    for state, count in sorted(report.outcomes.items()):
        yield f"| {state} | {count:,} |"
    yield ""
    yield "| errand | shoppers |"
    yield "|---|---:|"
    for errand, count in sorted(report.errands.items(), key=lambda pair: -pair[1]):
        yield f"| {errand} | {count:,} |"
    yield ""
    yield "| check | expected | found |"
    yield "|---|---:|---:|"
    yield f"| accepted checkouts that are lost | 0 | {len(run.accounts.lost)} |"
    yield f"| accepted checkouts that are doubled | 0 | {len(run.accounts.doubled)} |"
    for check in run.accounts.checks:
        yield f"| {check.what} | {check.expectation} | {check.finding} |"
    yield ""
    yield "## Audit"
    yield ""
    yield (
        f"{run.audit.facts_checked:,} facts under {len(run.audit.checked)} invariants: "
        f"{run.audit.violations} violations, {run.audit.unjudged} not judged, "
        f"{len(run.audit.open_items)} kinds of open items."
    )
    for item in run.audit.open_items:
        yield f"- open: {item.count} {item.what} ({item.where})"
    for finding in run.audit.findings:
        yield f"- violated: {finding.invariant}, {finding.entity}"


def _told(report: Report) -> Iterator[str]:
    """The run in a paragraph."""
    run = report.run
    verdict = "Everything held" if report.held else f"NOT everything held: {report.violations}"
    yield (
        f"{verdict}. Seed {run.seed}, {run.began:%Y-%m-%d}: {report.faults} faults in "
        f"{(run.closed_at - run.opened_at) / 60:.1f} minutes on {run.replicas} replicas of every "
        f"service, {run.accounts.accepted:,} checkouts accepted, {len(run.accounts.lost)} lost, "
        f"{len(run.accounts.doubled)} doubled. The longest time in which no checkout was paid was "
        f"{report.stall_seconds:.1f} s."
    )
    yield (
        f"The machine had {run.cores} cores. Its load average, with whatever else used it, was "
        f"{run.load_before:.1f} before the start and {run.load_after:.1f} when the last fault was "
        f"over; shoppers came in at {run.shoppers_per_second:g} a second."
    )
    if run.interrupted:
        yield f"It was interrupted before its {run.minutes:g} minutes were over."
    for trouble in run.troubles:
        yield f"- {trouble}"
    for one in run.journeys:
        if one.trouble is not None:
            yield f"- a shopper who {one.errand}: {one.trouble}"


def _span(values: Sequence[float]) -> str:
    return f"{_median(values)} / {_longest(values)}"


def _median(values: Sequence[float]) -> str:
    return f"{median(values):.1f}" if values else "-"


def _longest(values: Sequence[float]) -> str:
    return f"{max(values):.1f}" if values else "-"
