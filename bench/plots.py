"""Pictures of a report: what is how fast, how long things take, and how long under load."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.markdown import CHECKOUTS, PER_SECOND
from bench.report import CaseReport, Report

QUANTILES = ("latency", "http", "shop")
"""Cases whose series are quantiles of waits."""


def draw(report: Report, directory: Path, name: str) -> list[Path]:
    """Writes the pictures that a report has figures for; needs the group `bench`."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        return []
    matplotlib.use("agg")
    from matplotlib import pyplot

    pictures: dict[str, Callable[[Report, Any], bool]] = {
        "throughput": _throughput,
        "latency": _latency,
        "load": _load,
    }
    written = []
    for what, picture in pictures.items():
        figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
        if picture(report, axes):
            path = directory / f"{name}-{what}.png"
            figure.savefig(path, dpi=120, metadata={"Software": None})
            written.append(path)
        pyplot.close(figure)
    return written


def _throughput(report: Report, axes: Any) -> bool:
    bars = [
        (f"{case.name}: {one.name}", one)
        for case in report.cases
        for one in case.spreads()
        if one.unit == PER_SECOND and any(word in one.name for word in CHECKOUTS)
    ]
    if not bars:
        return False
    medians = [one.median for _, one in bars]
    lows = [one.median - one.low for _, one in bars]
    highs = [one.high - one.median for _, one in bars]
    axes.barh([name for name, _ in bars], medians, xerr=[lows, highs], capsize=3)
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("a second; median of the turns, with the least and the most")
    return True


def _latency(report: Report, axes: Any) -> bool:
    drawn = False
    for case in _with_quantiles(report):
        turn = case.counting[len(case.counting) // 2]
        for name, points in turn.series.items():
            axes.plot(*zip(*points, strict=True), label=f"{case.name}: {name}")
            drawn = True
    axes.set_yscale("log")
    axes.set_xlabel("so many percent took")
    axes.set_ylabel("ms at most (one turn)")
    if drawn:
        axes.legend(fontsize=7)
    return drawn


def _load(report: Report, axes: Any) -> bool:
    case = report.case("latency")
    if case is None or not case.counting:
        return False
    medians = {one.name: one.median for one in case.spreads()}
    suffix = ", checkouts a second"
    shares = [name.removesuffix(suffix) for name in medians if name.endswith(suffix)]
    rates = [medians[share + suffix] for share in shares]
    for mark in ("p50", "p99"):
        axes.plot(rates, [medians[f"{share}, {mark}"] for share in shares], "o-", label=mark)
    axes.set_xlabel("checkouts a second, as they come")
    axes.set_ylabel("ms from the intended POST to paid, medians of the turns")
    axes.set_ylim(bottom=0)
    axes.legend()
    return True


def _with_quantiles(report: Report) -> Iterator[CaseReport]:
    return (one for one in report.cases if one.name in QUANTILES and one.counting)
