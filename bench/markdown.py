"""A report as a page: `docs/benchmarks.md` is one.

python -m bench.markdown REPORT.json PAGE.md
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.report import CaseReport, Goal, Report

MARKS = (("rig", "sagas a second"), ("floor", "checkouts a second"))
"""What every figure of so many checkouts a second is also given as a part of."""
PER_SECOND = "1/s"
CHECKOUTS = ("sagas", "checkouts")


def markdown(report: Report, pictures: Sequence[str] = ()) -> str:
    """The page, with pictures at these paths."""
    return "\n".join(_lines(report, pictures)) + "\n"


def _lines(report: Report, pictures: Sequence[str]) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield (
        f"Made from a report of `{report.command}` at {report.began:%Y-%m-%d %H:%M} UTC, commit "
        f"`{report.revision}`, on "
        + ", ".join(f"{value} ({name})" for name, value in report.machine.items())
        + ". The same command measures it again."
    )
    yield ""
    yield (
        "Ratios are what counts: the floor, the lean rig and the cases took turns in one session. "
        "Absolute figures are those of this machine on that day, whose speed the spin (a fixed "
        "loop of Python) tells. The state was checked after every turn; a wrong one has no figure."
    )
    if goals := list(_goals(report)):
        yield ""
        yield "## Goals"
        yield ""
        yield from _table(("case", "figure", "goal", "found", ""), goals)
    for picture in pictures:
        yield ""
        yield f"![{Path(picture).stem}]({picture})"
    for case in report.cases:
        yield from _case(report, case)
    if report.checkout:
        yield ""
        yield "## What a checkout consists of"
        yield ""
        for why in report.broken:
            yield f"**Too many**: {why}"
            yield ""
        numbers = [(name, f"{value:,.2f}") for name, value in report.checkout.items()]
        yield from _table(("", "number"), numbers)
    yield ""
    yield "## Conditions"
    yield ""
    yield from _table(("", ""), list(report.conditions.items()))


def _goals(report: Report) -> Iterator[Sequence[str]]:
    for case in report.cases:
        for goal in case.goals:
            found = report.held_against(case, goal)
            yield case.name, goal.figure, str(goal), *_held(goal, found)


def _held(goal: Goal, found: float | None) -> tuple[str, str]:
    if found is None:
        return "not measured", ""
    return _number(found), "met" if goal.is_met_by(found) else "not met"


def _case(report: Report, case: CaseReport) -> Iterator[str]:
    yield ""
    yield f"## {case.name}"
    yield ""
    yield case.says
    for why in case.failed:
        yield ""
        yield f"**No figure**, {why}"
    for turn in case.turns:
        if turn.void is not None:
            yield ""
            yield f"**Void**: {turn.void}"
    if not case.counting:
        return
    yield ""
    rows = [
        (
            one.name,
            one.unit,
            *(_number(value) for value in (one.low, one.median, one.high)),
            *_parts(report, case, one.name, one.unit),
        )
        for one in case.spreads()
    ]
    titles = ("figure", "unit", "min", "median", "max", *(f"of {name}" for name, _ in MARKS))
    yield from _table(titles, rows)
    yield ""
    yield (
        f"{len(case.counting)} turns; spin {case.spin_ms:.0f} ms; load average "
        + ", ".join(f"{turn.load:.1f}" for turn in case.turns)
        + "."
    )


def _parts(report: Report, case: CaseReport, name: str, unit: str) -> Iterator[str]:
    counts = unit == PER_SECOND and any(word in name for word in CHECKOUTS)
    for mark, figure in MARKS:
        part = report.part(case, name, f"{mark}: {figure}") if counts else None
        yield "" if part is None else f"{part:.2f}"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(titles) + " |"
    yield "|" + "|".join("---" if number == 0 else "---:" for number in range(len(titles))) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
