"""`trolley payments reconcile`, as an operator runs it, against a payment service that answers."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from messaging.clock import utc_now
from payment_service.reconciliation import reconcile
from stripe_sandbox.app import Running
from stripe_sandbox.faults import RequestFault, Rule
from tests.payment_service.cashdesk import KEY, CashDesk
from tests.payment_service.test_reconciliation import at_stripe, paid
from tests.serving import served

pytestmark = pytest.mark.integration

WaitUntil = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int | None
    out: str
    errors: str


async def command(home: Path, *arguments: str) -> Said:
    """Run it in a process of its own."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trolley", "payments", "reconcile"),
        *("--home", str(home), *arguments),
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TROLLEY_SIGNING_KEY": KEY.get_secret_value(), "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await program.communicate()
    return Said(program.returncode, out.decode(), errors.decode())


@pytest.fixture
async def desk(payment_databases: tuple[str, str], sandbox: Running) -> AsyncIterator[CashDesk]:
    desk = CashDesk(
        *payment_databases,
        stripe_api_key="sk_test_sandbox",
        stripe_base_url=sandbox.url,
        reconcile_margin_seconds=0,
        reconcile_settle_seconds=10,
    )
    await desk.empty()
    act = reconcile(desk.settings, desk.providers)
    while await act(desk.database):
        pass  # what the schedule asks for, so that it does not come between
    yield desk
    await desk.close()


@asynccontextmanager
async def answering(desk: CashDesk) -> AsyncIterator[str]:
    """The service on a port, with a process that makes the runs asked for; gives its address."""
    act = reconcile(desk.settings, desk.providers)

    async def make_runs() -> None:
        while True:
            await act(desk.database)
            await asyncio.sleep(0.05)

    async with desk.pumping(), served(desk.service.app) as url:
        runs = asyncio.create_task(make_runs())
        try:
            yield url
        finally:
            runs.cancel()
            await asyncio.gather(runs, return_exceptions=True)


async def test_books_that_agree_are_told_so(
    desk: CashDesk, wait_until: WaitUntil, tmp_path: Path
) -> None:
    desk.worker().start()
    await paid(desk, wait_until)

    async with answering(desk) as url:
        said = await command(tmp_path, "--url", url)

    assert said.code == 0, said
    assert "stripe: 1 payments compared. 0 differ, 0 of them repaired." in said.out
    assert "simulated: 0 payments compared. 0 differ" in said.out


async def test_what_differs_is_shown_and_repaired(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil, tmp_path: Path
) -> None:
    desk.worker().start()
    payment = await desk.payment(await paid(desk, wait_until))
    name = payment.attempts[0].provider_payment_id or ""
    await at_stripe(sandbox, "refunds", payment_intent=name, amount="400")

    async with answering(desk) as url:
        said = await command(tmp_path, "--url", url, "--provider", "stripe")

    assert said.code == 0, said
    assert "1 differ, 1 of them repaired." in said.out
    assert re.search("given_back_differs +repaired +given back 0 here, 400 there", said.out)
    assert "simulated" not in said.out


async def test_what_cannot_be_repaired_is_reported_and_fails(
    desk: CashDesk, sandbox: Running, tmp_path: Path
) -> None:
    ours = {"metadata[charge_key]": "somebody:1:charge"}
    paying = {"payment_method": "pm_card_visa", "confirm": "true", "return_url": "https://a.shop"}
    await at_stripe(sandbox, "payment_intents", amount="700", currency="gbp", **paying, **ours)

    async with answering(desk) as url:
        said = await command(tmp_path, "--url", url, "--provider", "stripe", "--json")

    assert said.code == 1, said
    (run,) = json.loads(said.out)
    assert [(one["name"], one["kind"], one["state"]) for one in run["found"]] == [
        ("somebody:1:charge", "unknown_here", "reported")
    ]


async def test_books_that_cannot_be_read_are_told_and_fail(
    desk: CashDesk, sandbox: Running, tmp_path: Path
) -> None:
    operation = "GET /v1/payment_intents"
    sandbox.faults.add(Rule(fault=RequestFault.ERROR_BEFORE_EFFECT, operation=operation))

    async with answering(desk) as url:
        said = await command(tmp_path, "--url", url, "--provider", "stripe")

    assert said.code == 1, said
    assert "its books could not be read: http_500" in said.out


@pytest.mark.parametrize("since", ["3h", None])
async def test_it_looks_back_as_far_as_it_is_told(
    desk: CashDesk, tmp_path: Path, since: str | None
) -> None:
    async with answering(desk) as url:
        said = await command(tmp_path, "--url", url, *(("--since", since) if since else ()))

    assert said.code == 0, said
    rows = await desk.query("SELECT since FROM reconciliations WHERE requested_by <> 'schedule'")
    wanted = utc_now() - timedelta(hours=3 if since else 24)
    assert len(rows) == 2
    assert all(abs(row["since"] - wanted) < timedelta(minutes=2) for row in rows)


async def test_a_time_that_no_run_reaches_is_refused(desk: CashDesk, tmp_path: Path) -> None:
    async def ask(*arguments: str) -> Said:
        return await command(tmp_path, "--url", url, *arguments)

    async with answering(desk) as url:
        too_far = await ask("--since", "2020-01-01")
        ahead = await ask("--since", (utc_now() + timedelta(days=1)).isoformat())
        nobody = await ask("--provider", "nobody")

    refused = "trolley: A run reaches back into the past, and at most so far.\n"
    assert [(one.code, one.errors) for one in (too_far, ahead)] == [(1, refused)] * 2
    assert (nobody.code, nobody.errors) == (1, "trolley: There is no such provider.\n")


@pytest.mark.parametrize("since", ["yesterday", "", "12", "3 days", "-3d", "999999d"])
async def test_what_is_no_time_is_refused(tmp_path: Path, since: str) -> None:
    said = await command(tmp_path, f"--since={since}")

    assert said.code == 2, said
    assert "--since" in said.errors
    assert "Traceback" not in said.errors


async def test_where_nothing_runs_it_says_so(tmp_path: Path) -> None:
    said = await command(tmp_path)

    assert said.code == 1, said
    assert "Nothing runs in" in said.errors
