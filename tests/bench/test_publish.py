"""A page of the documentation is made of a report, with its pictures where they are."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.publish import publish
from bench.report import CaseReport, Figure, Report, Turn


def test_pictures_of_what_was_measured_are_shown(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figures = [Figure("alone, p50", "ms", 20), Figure("most checkouts a second", "1/s", 900)]
    for share in ("10%", "60%"):
        name = f"{share} of the maximum"
        figures += [Figure(f"{name}, checkouts a second", "1/s", 90)]
        figures += [Figure(f"{name}, {mark}", "ms", 30) for mark in ("p50", "p99")]
    turn = Turn(tuple(figures), 60, 1, series={"alone": [(0.0, 10.0), (100.0, 40.0)]})
    report = Report(
        command="trolley bench latency",
        began=datetime(2026, 1, 2, tzinfo=UTC),
        revision="abc",
        machine={},
        conditions={},
        cases=[CaseReport("latency", "Waits.", (), turns=[turn])],
    )
    (tmp_path / "benchmarks").mkdir()
    source = tmp_path / "benchmarks" / "report.json"
    source.write_bytes(report.as_json())
    publish(source, tmp_path / "benchmarks.md")
    page = (tmp_path / "benchmarks.md").read_text()
    for name in ("throughput", "latency", "load"):
        assert f"(benchmarks/report-{name}.png)" in page
        assert (tmp_path / "benchmarks" / f"report-{name}.png").stat().st_size > 1_000
