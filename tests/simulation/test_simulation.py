"""Everything at once holds its invariants, repeats by its seed, and finds bugs made on purpose."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import fields

import pytest

from contracts.messages.base import Message, Step
from contracts.messages.inventory import ReserveStock
from contracts.messages.order import CancelCheckout, DeadlinePassed, ResolveCheckout
from contracts.messages.parts import StockLine
from messaging.fold import Decision
from order_service.checkout import Checkout, State
from order_service.checkout.facts import Hold, Stock, StockStatus, Wait
from order_service.exploration import CHECKOUT_ID, start
from order_service.store.checkouts import Entry, NewHistory
from tests.simulation.__main__ import main
from tests.simulation.faults import Faults
from tests.simulation.invariants import ASKED, ENDS, EVENTS, LEVELS, MONEY, ONCE, Violation
from tests.simulation.mutants import Mutant
from tests.simulation.search import WORLD_CHECKOUTS, Failed, Passed, run_world
from tests.simulation.world import BEGINNING, World

SEEDS = range(1, 11)
"""Worlds of the suite: ten thousand checkouts."""

FEW = 200
"""Checkouts within which a mutant has to be caught, in one of its seeds."""

CAUGHT_BY = {
    Mutant.NO_INBOX: ONCE,
    Mutant.OUTBOX_AFTER_COMMIT: EVENTS,
    Mutant.REPLY_NOT_RESENT: ENDS,
    Mutant.ANSWER_NOT_STORED: ASKED,
    Mutant.RELEASED_TWICE: LEVELS,
    Mutant.NEW_KEY: MONEY,
}
"""The invariant that each mutant breaks."""


MUTANT_SEEDS = (1, 2, 3, 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_invariant_holds_whatever_goes_wrong(seed: int) -> None:
    result = run_world(seed, WORLD_CHECKOUTS)
    assert isinstance(result, Passed), str(result)


@pytest.mark.parametrize("mutant", Mutant, ids=lambda mutant: mutant.name.lower())
def test_a_bug_on_purpose_is_found_by_the_invariant_it_breaks(mutant: Mutant) -> None:
    results = (run_world(seed, FEW, mutant) for seed in MUTANT_SEEDS)
    failed = next((result for result in results if isinstance(result, Failed)), None)
    assert failed is not None, f"{mutant} lives"
    assert failed.violation.invariant == CAUGHT_BY[mutant], str(failed)


def test_without_a_bug_on_purpose_the_same_worlds_hold_and_meet_every_fault_and_every_end() -> None:
    injected: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for seed in MUTANT_SEEDS:
        result = run_world(seed, FEW)
        assert isinstance(result, Passed), str(result)
        injected.update(result.injected)
        ended.update(result.ended)
    assert set(injected) == {fault.name for fault in fields(Faults)}
    assert (
        {"paid", "cancelled", "rejected"}
        <= set(ended)
        <= {
            "paid",
            "cancelled",
            "rejected",
            "needs_attention",
        }
    )


def test_a_blocked_step_that_is_asked_again_or_times_out_is_found() -> None:
    wait = Wait(Step.RESERVE, 1, BEGINNING, hold=Hold.BLOCKED)
    stock = Stock(1, StockStatus.ASKED, BEGINNING)
    blocked = Checkout(CHECKOUT_ID, start(), State.RESERVING, stock, waits=(wait,))
    again = ReserveStock(
        checkout_id=CHECKOUT_ID, lines=(StockLine(sku="TEAPOT", quantity=1),), expires_at=BEGINNING
    )
    books = World(1, 1).books

    def left_alone(message_type: str, *messages: Message) -> None:
        entry = Entry(CHECKOUT_ID, BEGINNING, message_type, "reserve", 1, "moved", "reserving", "")
        history = NewHistory(CHECKOUT_ID, (entry,))
        books.left_alone(blocked, blocked, Decision((blocked, history), messages))

    left_alone(CancelCheckout.type)
    left_alone(ResolveCheckout.type, again)
    with pytest.raises(Violation, match="was sent again"):
        left_alone(CancelCheckout.type, again)
    with pytest.raises(Violation, match="timed out"):
        left_alone(DeadlinePassed.type)


def test_a_seed_repeats_its_run_exactly_in_any_process() -> None:
    here = run_world(7, 100)
    assert isinstance(here, Passed), str(here)
    there = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed=7", "--checkouts=100", "--digests"],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.splitlines()[0] == f"7 {here.digest}"


def test_a_failure_prints_its_seed_and_a_shortened_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--seed=1", "--checkouts=200", "--mutant=NEW_KEY"]) == 1
    *story, _, violated, again = capsys.readouterr().out.splitlines()
    assert sum("bank" in line and "make charge 1" in line for line in story) > 1
    assert violated.startswith(f"violated: {MONEY}")
    assert again.startswith("again:    python -m tests.simulation --seed 1 --checkouts ")
    assert again.endswith(" --mutant NEW_KEY")
