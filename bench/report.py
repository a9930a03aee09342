"""The words of every case: a figure, a turn that found some, and the report of all turns."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import orjson

Series = Sequence[tuple[float, float]]
"""Points of a plot."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that was measured, once."""

    name: str
    unit: str
    value: float


@dataclass(frozen=True, slots=True)
class Goal:
    """What the median of a figure has to be, itself or as a part of another case's figure."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None
    part_of: str | None = None
    """`case: figure`; None where the figure itself is meant."""

    def is_met_by(self, value: float) -> bool:
        """Whether a median, or its part of the other one, is good enough."""
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )

    def __str__(self) -> str:
        bound = f">= {self.at_least:,g}" if self.at_most is None else f"<= {self.at_most:,g}"
        return bound if self.part_of is None else f"{bound} of {self.part_of}"


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a case whose state was right."""

    figures: tuple[Figure, ...]
    spin_ms: float
    """What a fixed loop of Python took beside it: hosts change their speed."""
    load: float
    """The load average of the machine at its end."""
    series: Mapping[str, Series] = field(default_factory=dict)
    void: str | None = None
    """Why its figures do not count."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all turns that count."""

    name: str
    unit: str
    low: float
    median: float
    high: float


@dataclass(slots=True)
class CaseReport:
    """All turns of a case."""

    name: str
    says: str
    goals: tuple[Goal, ...]
    turns: list[Turn] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Turns without a figure, because what they left was wrong."""

    @property
    def counting(self) -> list[Turn]:
        """Turns that are not void."""
        return [turn for turn in self.turns if turn.void is None]

    def spreads(self) -> Iterator[Spread]:
        """Every figure in the order in which it was first found."""
        found: dict[tuple[str, str], list[float]] = {}
        for turn in self.counting:
            for one in turn.figures:
                found.setdefault((one.name, one.unit), []).append(one.value)
        for (name, unit), values in found.items():
            yield Spread(name, unit, min(values), statistics.median(values), max(values))

    def median(self, figure: str) -> float | None:
        """The median of a figure, if there is one."""
        return next((one.median for one in self.spreads() if one.name == figure), None)

    @property
    def spin_ms(self) -> float | None:
        """The median of the spin loop beside its turns."""
        return statistics.median(turn.spin_ms for turn in self.turns) if self.turns else None


@dataclass(slots=True)
class Report:
    """What was measured in one session."""

    command: str
    began: datetime
    revision: str
    machine: Mapping[str, str]
    conditions: Mapping[str, str]
    """What a figure rests on: replication, flushes, sizes."""
    checkout: Mapping[str, float] = field(default_factory=dict)
    """What a checkout consists of, in numbers."""
    broken: list[str] = field(default_factory=list)
    """Bounds of these numbers that do not hold: they depend on no machine's speed."""
    cases: list[CaseReport] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether every turn left the right state, and a checkout has no more in it than it may."""
        return not self.broken and not any(case.failed for case in self.cases)

    def case(self, name: str) -> CaseReport | None:
        """The case of that name, if it was measured."""
        return next((case for case in self.cases if case.name == name), None)

    def part(self, case: CaseReport, figure: str, of: str) -> float | None:
        """The median of a figure as a part of `case: figure`; None where one is not there."""
        name, _, other = of.partition(": ")
        whole = (found := self.case(name)) and found.median(other)
        mine = case.median(figure)
        return mine / whole if mine is not None and whole else None

    def held_against(self, case: CaseReport, goal: Goal) -> float | None:
        """What is to be compared with the goal; None where it was not measured."""
        if goal.part_of is None:
            return case.median(goal.figure)
        return self.part(case, goal.figure, goal.part_of)

    def as_json(self) -> bytes:
        """All of it."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `as_json` wrote."""
        content = orjson.loads(path.read_bytes())
        cases = [_case(one) for one in content.pop("cases")]
        began = datetime.fromisoformat(content.pop("began")).astimezone(UTC)
        return cls(**content, began=began, cases=cases)


def _case(content: Mapping[str, Any]) -> CaseReport:
    turns = [
        Turn(
            **{
                **turn,
                "figures": tuple(Figure(**one) for one in turn["figures"]),
                "series": {
                    name: [(x, y) for x, y in points] for name, points in turn["series"].items()
                },
            }
        )
        for turn in content["turns"]
    ]
    goals = tuple(Goal(**goal) for goal in content["goals"])
    return CaseReport(
        content["name"], content["says"], goals, turns=turns, failed=list(content["failed"])
    )
