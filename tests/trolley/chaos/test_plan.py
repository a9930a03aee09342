"""The plan of faults: repeatable, complete, and within its bounds."""

from itertools import islice

import pytest

from trolley.chaos.faults import Fault, Kind, Strike, meaning
from trolley.chaos.plan import BESIDE, NAMES, READERS, strikes
from trolley.chaos.settings import ChaosSettings

SETTINGS = ChaosSettings()
SESSION_SECONDS = 10.0
ROUND = len(Kind)
SEEDS = range(20)


def first(count: int, seed: int) -> list[Strike]:
    return list(islice(strikes(seed, SETTINGS, session_seconds=SESSION_SECONDS), count))


def test_the_same_seed_gives_the_same_plan() -> None:
    assert first(200, seed=3) == first(200, seed=3)


def test_another_seed_gives_another_plan() -> None:
    assert first(20, seed=3) != first(20, seed=4)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_strikes_once_in_every_round(seed: int) -> None:
    plan = first(5 * ROUND, seed)

    for start in range(0, len(plan), ROUND):
        assert {one.fault.kind for one in plan[start : start + ROUND]} == set(Kind)
    assert [one.number for one in plan] == list(range(1, len(plan) + 1))


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_stays_within_its_bounds(seed: int) -> None:
    for strike in first(10 * ROUND, seed):
        assert (
            SETTINGS.pause_shortest_seconds
            <= strike.pause_seconds
            <= SETTINGS.pause_longest_seconds
        )
        assert 0 <= strike.beside_after_seconds <= SETTINGS.beside_longest_seconds
        for fault in strike.faults:
            assert fault.service is None or fault.service in NAMES
            assert fault.slot is None or 0 <= fault.slot < SETTINGS.replicas


@pytest.mark.parametrize("seed", SEEDS)
def test_a_freeze_outlasts_the_session(seed: int) -> None:
    freezes = [one.fault for one in first(10 * ROUND, seed) if one.fault.kind.startswith("freeze-")]

    assert len(freezes) == 40
    assert all(one.lasts_seconds > SESSION_SECONDS for one in freezes)


@pytest.mark.parametrize("seed", SEEDS)
def test_only_replicas_that_read_something_are_scaled(seed: int) -> None:
    scaled = {
        one.fault.service for one in first(20 * ROUND, seed) if one.fault.kind is Kind.SCALE_SERVICE
    }

    assert scaled == set(READERS)


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_that_overlap_leave_somebody_to_work(seed: int) -> None:
    pairs = [(one.fault, one.beside) for one in first(20 * ROUND, seed) if one.beside is not None]

    assert {fault.kind for fault, _ in pairs} == set(BESIDE)
    for fault, beside in pairs:
        assert beside.kind in BESIDE[fault.kind]
        assert beside.kind.server is None
        assert beside.lasts_seconds == 0
        assert beside.service != fault.service


@pytest.mark.parametrize("seed", SEEDS)
def test_a_service_fault_strikes_while_kafka_restarts_in_every_second_round(seed: int) -> None:
    kafka = [one for one in first(10 * ROUND, seed) if one.fault.kind is Kind.KILL_KAFKA]

    assert sum(one.beside is not None for one in kafka) == 5


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_meaning(kind: Kind) -> None:
    assert meaning(kind)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(Kind.KILL_SERVICE, "order", 1), "kill-service order-1"),
        (Fault(Kind.DROP_CONNECTIONS, "cart"), "drop-connections cart"),
        (Fault(Kind.DROP_KAFKA_CONNECTIONS, "cart"), "drop-kafka-connections cart"),
        (Fault(Kind.KILL_KAFKA), "kill-kafka Kafka"),
        (Fault(Kind.FREEZE_POSTGRES), "freeze-postgres PostgreSQL"),
        (
            Fault(Kind.KILL_RELAY, "order", lane="plain"),
            "kill-relay order, leader of the plain lane",
        ),
    ],
)
def test_a_fault_names_its_victim(fault: Fault, said: str) -> None:
    assert str(fault) == said
