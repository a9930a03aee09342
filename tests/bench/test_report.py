"""A report says what was found, against what, and which turns do not count."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.dissection import A_BATCH, A_BATCH_ALONE, broken_bounds
from bench.load import Load
from bench.markdown import markdown
from bench.report import CaseReport, Figure, Goal, Report, Turn
from bench.session import conditions
from bench.settings import BenchSettings

HALF_OF_RIG = Goal("sagas a second", at_least=0.5, part_of="rig: sagas a second")


def turn(speed: float, void: str | None = None) -> Turn:
    return Turn((Figure("sagas a second", "1/s", speed),), spin_ms=60, load=1.5, void=void)


def report(*saga: Turn, failed: str | None = None) -> Report:
    made = Report(
        command="trolley bench saga",
        began=datetime(2026, 1, 2, tzinfo=UTC),
        revision="abc",
        machine={"processors": "2"},
        conditions={},
        cases=[
            CaseReport("rig", "The rig.", (), turns=[turn(6_000), turn(8_000), turn(10_000)]),
            CaseReport("saga", "A backlog.", (HALF_OF_RIG,), turns=list(saga)),
        ],
    )
    if failed is not None:
        made.cases[1].failed.append(failed)
    return made


@pytest.mark.parametrize(("speed", "verdict"), [(4_000, "0.50 | met"), (3_900, "0.49 | not met")])
def test_a_goal_that_is_a_part_is_held_against_the_other_case(speed: float, verdict: str) -> None:
    assert f"| >= 0.5 of rig: sagas a second | {verdict} |" in markdown(report(turn(speed)))


def test_a_goal_that_was_not_measured_says_so() -> None:
    assert "| >= 0.5 of rig: sagas a second | not measured |  |" in markdown(report())


def test_least_median_and_most_of_all_turns_stand_beside_each_other() -> None:
    page = markdown(report(turn(3_000), turn(5_000), turn(4_000)))
    assert "| sagas a second | 1/s | 3,000 | 4,000 | 5,000 | 0.50 |  |" in page


def test_a_void_turn_does_not_count_and_says_why() -> None:
    page = markdown(report(turn(4_000), turn(9_000, void="the generator was late")))
    assert "| sagas a second | 1/s | 4,000 | 4,000 | 4,000 |" in page
    assert "**Void**: the generator was late" in page


def test_a_wrong_state_has_no_figure_and_is_told() -> None:
    made = report(failed="turn 1: two orders are missing")
    assert not made.is_right
    assert "**No figure**, turn 1: two orders are missing" in markdown(made)


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = report(turn(4_000), turn(5_000, void="late"), failed="turn 3: wrong")
    made.cases[1].turns.append(Turn((), 50, 1, series={"alone": [(0.0, 1.5), (100.0, 9.0)]}))
    (tmp_path / "report.json").write_bytes(made.as_json())
    assert Report.read(tmp_path / "report.json") == made


@pytest.mark.parametrize(("late_ms", "is_void"), [(4.0, False), (6.0, True)])
def test_a_generator_that_is_late_voids_its_turn(late_ms: float, is_void: bool) -> None:
    load = Load(lags=[late_ms / 1e3] * 100)
    assert (load.late(5) is not None) is is_void


def test_more_messages_or_statements_than_there_may_be_are_told() -> None:
    numbers = {"messages": 23.0, A_BATCH_ALONE: 22.0, A_BATCH: 38.0, "rows": 99.0}
    made = report()
    made.broken = list(broken_bounds(numbers))
    assert made.broken == [
        "messages: 23.0, at most 22",
        "statements for each batch: 38.0, at most 1.5 times the 22.0 alone",
    ]
    assert not made.is_right
    assert list(broken_bounds({"messages": 20.0, A_BATCH_ALONE: 22.0, A_BATCH: 30.0})) == []


def test_no_password_of_a_server_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROLLEY_BENCH_KAFKA", "127.0.0.1:9092")
    monkeypatch.setenv("TROLLEY_BENCH_POSTGRES", "postgresql://postgres:secret@127.0.0.1/postgres")
    told = conditions(BenchSettings())
    assert "Kafka, PostgreSQL" in told
    assert "secret" not in str(told)
