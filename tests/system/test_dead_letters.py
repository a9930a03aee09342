"""A release with a bug: what it cannot handle waits, the rest goes on, and a replay mends it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.town import Town
from trolley.demo.shop import Level
from trolley.demo.shopper import Status

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]

BROKEN = 3
SOUND = 4
RESENT_AFTER_SECONDS = 10
"""The saga asks an unanswered step again after so long."""


@dataclass
class Release:
    """What runs: a release with the bug, or without."""

    town: Town
    service: str
    bug_file: Path

    async def deploy(self, bug: str | None) -> None:
        """Restart every replica, one after the other."""
        if bug is None:
            self.bug_file.unlink(missing_ok=True)
        else:
            self.bug_file.write_text(bug)
        for slot in range(2):
            await self.town.runtime.stop_service(self.service, slot)
            self.town.runtime.start_service(self.service, slot)
            await self.town.runtime.wait_ready()

    @classmethod
    @asynccontextmanager
    async def mended(cls, town: Town, service: str) -> AsyncIterator["Release"]:
        """The release that runs; at the end the one without a bug does."""
        release = cls(town, service, town.bug_files[service])
        yield release
        if release.bug_file.exists():
            await release.deploy(None)


@pytest.fixture
async def inventory(town: Town) -> AsyncIterator[Release]:
    async with Release.mended(town, "inventory") as release:
        yield release


@pytest.fixture
async def payment(town: Town) -> AsyncIterator[Release]:
    async with Release.mended(town, "payment") as release:
        yield release


async def trolley(town: Town, *arguments: str) -> tuple[int | None, str]:
    """The exit code of `trolley dlq` and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trolley", "dlq", *arguments),
        *("--home", str(town.runtime.home.path), "--as", "olga"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, said = await process.communicate()
    return process.returncode, printed.decode() or said.decode()


async def listed(town: Town) -> list[dict[str, Any]]:
    """What is open, oldest first."""
    _, printed = await trolley(town, "list", "--json")
    found: list[dict[str, Any]] = json.loads(printed)
    return found[::-1]


def is_blocked(status: Status) -> bool:
    return bool(status["blocked"])


async def test_a_bug_is_fixed_and_its_orders_are_finished_by_a_replay(
    town: Town, inventory: Release, wait_until: WaitUntil
) -> None:
    refused, sold = await town.offer(BROKEN + 1), await town.offer(SOUND)
    await inventory.deploy(bug=refused.sku)
    broken = [await town.check_out(refused) for _ in range(BROKEN + 1)]
    sound = [await town.check_out(sold) for _ in range(SOUND)]

    # Others go on; those that met the bug show it, and neither ask again nor time out.
    for shopper, checkout in sound:
        assert (await shopper.follow(checkout))["state"] == "paid"
    for shopper, checkout in broken:
        status = await shopper.follow(checkout, is_blocked)
        assert status["state"] == "reserving"
    cancelled, *kept = broken
    await cancelled[0].cancel(cancelled[1])
    await wait_until(lambda: _open_are(town, {"dead": BROKEN + 1, "parked": 1}))
    await asyncio.sleep(RESENT_AFTER_SECONDS + 2)
    letters = await listed(town)
    assert [one["status"] for one in letters].count("dead") == BROKEN + 1
    assert {one["type"] for one in letters if one["status"] == "dead"} == {
        "inventory.reserve_stock.v1"
    }
    rows = await town.rows(
        "order", "SELECT deadline_at, facts->>'waits' AS waits FROM checkouts WHERE blocked"
    )
    assert len(rows) == BROKEN + 1
    assert all(row["deadline_at"] is None for row in rows)
    assert {wait["sends"] for row in rows for wait in json.loads(row["waits"])} == {1}
    await town.audit()

    # Too early: the bug is there still. The first that fails stops the rest.
    (fingerprint,) = {one["fault"]["fingerprint"] for one in letters if one["fault"]}
    code, printed = await trolley(town, "dry-run", "--fingerprint", fingerprint, "--json")
    assert code == 1
    assert {one["outcome"] for one in json.loads(printed)} == {"overtaken", "fails"}
    code, printed = await trolley(
        town, "replay", "--fingerprint", fingerprint, "--reason", "is it fixed?"
    )
    assert code == 1
    assert "stopped" in printed

    await inventory.deploy(bug=None)
    code, _ = await trolley(town, "dry-run", "--fingerprint", fingerprint)
    assert code == 0
    code, printed = await trolley(
        town, "replay", "--fingerprint", fingerprint, "--reason", "fixed", "--rate", "20"
    )
    assert code == 0, printed
    for shopper, checkout in kept:
        assert (await shopper.follow(checkout))["state"] == "paid"
    shopper, checkout = cancelled
    assert (await shopper.follow(checkout))["state"] == "cancelled"

    assert await listed(town) == []
    assert (await trolley(town, "list")) == (0, "There are no dead letters.\n")
    outcomes = await town.rows("inventory", "SELECT outcome FROM dead_letters ORDER BY seq")
    assert not await town.rows("inventory", "SELECT 1 FROM parked_keys")
    assert [row["outcome"] for row in outcomes].count(
        "overtaken by inventory.release_stock.v1"
    ) == 1
    assert await town.level(refused) == Level(on_hand=1, reserved=0)
    assert await town.level(sold) == Level(on_hand=0, reserved=0)
    await town.audit()


async def test_a_replayed_charge_of_a_cancelled_order_takes_no_money(
    town: Town, payment: Release, wait_until: WaitUntil
) -> None:
    article = await town.offer(2, price_minor=4242)
    await payment.deploy(bug=str(article.price_minor))
    cancelled, kept = [await town.check_out(article) for _ in range(2)]
    for shopper, checkout in (cancelled, kept):
        status = await shopper.follow(checkout, is_blocked)
        assert status["state"] == "paying"
    await cancelled[0].cancel(cancelled[1])
    await wait_until(lambda: _open_are(town, {"dead": 2, "parked": 1}))

    await payment.deploy(bug=None)
    code, printed = await trolley(
        town, "replay", "--type", "payment.charge_payment.v1", "--reason", "fixed"
    )
    assert code == 0, printed
    shopper, checkout = kept
    assert (await shopper.follow(checkout))["state"] == "paid"
    shopper, checkout = cancelled
    assert (await shopper.follow(checkout))["state"] == "cancelled"
    calls = await town.rows(
        "payment",
        "SELECT kind FROM operations JOIN payments USING (payment_id) WHERE checkout_id = $1::uuid",
        checkout.checkout_id,
    )
    assert "charge" not in {row["kind"] for row in calls}
    assert await town.level(article) == Level(on_hand=1, reserved=0)
    await town.audit()


async def _open_are(town: Town, wanted: dict[str, int]) -> bool:
    found = [one["status"] for one in await listed(town)]
    return {status: found.count(status) for status in wanted} == wanted
