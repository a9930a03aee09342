"""`trolley checkout resolve`, as an operator runs it, against an order service that answers."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from messaging.clock import utc_now
from order_service.exploration import CHECKOUT_ID, start
from tests.order_service.office import KEY, Office
from tests.order_service.story import (
    cancel,
    cart_closed,
    committed,
    refund_failed,
    reserved,
    succeeded,
)
from tests.serving import served
from trolley.checkouts.command import Decision

pytestmark = pytest.mark.integration

WHY = "the bank says so: 4711"


async def resolve(home: Path, url: str, decision: Decision) -> tuple[int | None, str]:
    """Olga decides, in a process of her own: its exit code, and what it printed."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trolley", "checkout", "resolve", str(CHECKOUT_ID)),
        *("--home", str(home), "--url", url),
        *("--as", decision.value, "--reason", WHY, "--who", "olga"),
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TROLLEY_SIGNING_KEY": KEY.get_secret_value()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await program.communicate()
    return program.returncode, printed.decode()


@pytest.mark.parametrize("decision", Decision)
async def test_every_decision_is_kept_with_who_made_it_when_and_why(
    office: Office, tmp_path: Path, decision: Decision
) -> None:
    await office.tell(start(), reserved(), cart_closed(), succeeded(), committed(), cancel())
    await office.tell(refund_failed())
    assert await office.states() == {CHECKOUT_ID: "needs_attention"}
    before = utc_now()

    async with served(office.service.app) as url:
        code, printed = await resolve(tmp_path, url, decision)

    assert (code, printed) == (0, "The checkout is refunding now.\n")
    (row,) = await office.query("SELECT * FROM resolutions")
    kept = (row["checkout_id"], row["decision"], row["requested_by"], row["reason"])
    assert kept == (CHECKOUT_ID, decision.value, "olga", WHY)
    assert before <= row["at"] <= utc_now()


@pytest.mark.parametrize("decision", Decision)
async def test_a_decision_that_is_refused_is_told_and_leaves_nothing(
    office: Office, tmp_path: Path, decision: Decision
) -> None:
    await office.tell(cancel(), start())
    assert await office.states() == {CHECKOUT_ID: "cancelled"}

    async with served(office.service.app) as url:
        code, _ = await resolve(tmp_path, url, decision)

    assert code == 1
    assert await office.query("SELECT 1 FROM resolutions") == []
