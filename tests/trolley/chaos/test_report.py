"""What a run says of itself."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trolley.audit.report import AuditReport, Checked, OpenItem
from trolley.chaos.accounts import Accounts
from trolley.chaos.campaign import Blow
from trolley.chaos.errands import PLAIN
from trolley.chaos.faults import Fault, Kind, Strike
from trolley.chaos.injection import Injected
from trolley.chaos.report import Run, markdown, report, write_json, write_markdown
from trolley.chaos.shoppers import NO_END, Journey
from trolley.demo.checks import Check
from trolley.demo.shopper import CANCELLED, PAID, Checkout

KAFKA = Fault(Kind.KILL_KAFKA)
CART = Fault(Kind.KILL_SERVICE, "cart", 0)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def journey(began_at: float, ended_at: float, state: str = PAID) -> Journey:
    return Journey(PLAIN, Checkout("c", "/c", 1), state, "o", began_at, ended_at)


def blow(
    number: int, struck_at: float, over_at: float, recovered_at: float, *faults: Fault
) -> Blow:
    injected = tuple(
        Injected(
            each,
            each.victim,
            struck_at,
            over_at,
            server_back_seconds=over_at - struck_at if each.kind is Kind.KILL_KAFKA else None,
        )
        for each in faults
    )
    strike = Strike(number, faults[0], 1.0, faults[1] if len(faults) > 1 else None)
    return Blow(strike, injected, struck_at, over_at, recovered_at - 1, recovered_at)


AUDIT = AuditReport(NOW, (), (Checked("x", "X holds.", 7),), (), looks=1, seconds=1)
RUN = Run(
    command="trolley chaos --minutes 1 --seed 1",
    seed=1,
    minutes=1,
    replicas=2,
    shoppers_per_second=3,
    began=NOW,
    opened_at=0,
    closed_at=60,
    cores=2,
    load_before=3.5,
    load_after=6.0,
    interrupted=False,
    blows=[blow(1, 10, 14, 16, KAFKA, CART), blow(2, 30, 30, 31, CART)],
    troubles=[],
    journeys=[journey(1, 2), journey(11, 15), journey(30.5, 32), journey(50, 51, CANCELLED)],
    accounts=Accounts(4, (), (), (Check("pieces reserved", 0, 0),)),
    audit=AUDIT,
)


def test_figures_are_read_off_the_run() -> None:
    made = report(RUN)
    by_kind = {one.kind: one for one in made.kinds}

    assert made.faults == 3
    assert by_kind[Kind.KILL_SERVICE].recovery == (2, 1)
    assert by_kind[Kind.KILL_KAFKA].sold_again == (5,)
    assert by_kind[Kind.KILL_POSTGRES].count == 0
    assert made.kafka_back == (4,)
    assert (made.stall_seconds, made.stall_after_seconds) == (28, 32)
    assert made.outcomes == {PAID: 3, CANCELLED: 1}
    assert made.held


@pytest.mark.parametrize(
    "wrong",
    [
        replace(RUN, accounts=replace(RUN.accounts, lost=("c",))),
        replace(RUN, accounts=replace(RUN.accounts, doubled=("c",))),
        replace(RUN, accounts=replace(RUN.accounts, checks=(Check("pieces reserved", 0, 1),))),
        replace(RUN, troubles=["kill-kafka Kafka: not ready 120 s after its end"]),
        replace(RUN, audit=replace(AUDIT, checked=(Checked("x", "X.", 7, violations=1),))),
        replace(RUN, audit=replace(AUDIT, open_items=(OpenItem("dead letters", "order", 1),))),
    ],
)
def test_anything_that_is_wrong_is_a_violation(wrong: Run) -> None:
    made = report(wrong)

    assert made.violations == 1
    assert not made.held


def test_a_run_that_showed_nothing_does_not_hold() -> None:
    assert not report(replace(RUN, blows=[])).held
    assert not report(replace(RUN, accounts=replace(RUN.accounts, accepted=0))).held


def test_it_is_told_in_markdown(tmp_path: Path) -> None:
    write_markdown(tmp_path / "chaos.md", report(RUN))

    text = (tmp_path / "chaos.md").read_text()
    assert "    trolley chaos --minutes 1 --seed 1\n" in text
    assert "Everything held. Seed 1, 2026-01-02: 3 faults in 1.0 minutes" in text
    assert "was 3.5 before the start and 6.0 when the last fault was over" in text
    assert "| kill-service | SIGKILL to a replica of a service | 2 |" in text
    assert "| Kafka answers a client after SIGKILL, s | 4.0 | 4.0 |" in text
    assert "7 facts under 1 invariants: 0 violations" in text


def test_what_went_wrong_stands_first() -> None:
    lost = Journey(PLAIN, None, NO_END, None, 1, 2, trouble="POST /carts: 500")
    wrong = replace(RUN, troubles=["kill-kafka Kafka: not back"], journeys=[*RUN.journeys, lost])

    told = list(markdown(report(wrong)))

    assert "- kill-kafka Kafka: not back" in told
    assert f"- a shopper who {PLAIN}: POST /carts: 500" in told


def test_programs_read_the_same(tmp_path: Path) -> None:
    write_json(tmp_path / "chaos.json", report(RUN))

    read = json.loads((tmp_path / "chaos.json").read_text())
    assert (read["held"], read["violations"], read["seed"]) == (True, 0, 1)
    assert read["faults"]["kill-kafka"] == {
        "count": 1,
        "sold_again_seconds": {"median": 5.0, "longest": 5.0},
        "recovery_seconds": {"median": 2.0, "longest": 2.0},
        "slowest_checkout_seconds": {"median": 4.0, "longest": 4.0},
    }
    assert read["strikes"][0]["faults"][1]["victim"] == "cart-0"
    assert read["longest_stall_seconds"] == 28
