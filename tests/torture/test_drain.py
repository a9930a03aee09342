"""A service that gets SIGTERM in the middle of work leaves nothing half done and nothing held."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.topics import PAYMENT_COMMANDS
from tests.conftest import Infrastructure
from tests.torture import goods
from tests.torture.city import City, StubbornClient, city
from trolley.demo.crowd import crowd
from trolley.demo.pace import Pace
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Shop
from trolley.demo.shopper import PAID, PAYS, Shopper
from trolley.services import SERVICES
from trolley.topics import admin_client, kafka_settings

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]

PAYMENT = next(service for service in SERVICES if service.name == "payment")
DRAINED_SECONDS = 10
"""What is promised: a bound on what a drain waits for, not a measure of how fast it is."""

SKU = "drained"
SHOPPERS, AT_ONCE = 30, 10
ENDS_MEANWHILE = "pm_slow_after_effect_3000"
OUTLASTS_IT = "pm_slow_after_effect_9000"
"""Longer than a drain lets calls finish, shorter than a call may take."""

_CALLS = """
    SELECT method_token, operations.status FROM operations
    JOIN attempts USING (payment_id, attempt) WHERE method_token = ANY($1)
"""
_SESSIONS = """
    SELECT application_name, state FROM pg_stat_activity
    WHERE datname = current_database() AND application_name <> 'torture'
"""
_HANDLED = "SELECT count(*) AS messages FROM inbox WHERE consumer = 'payment.payment.commands'"


async def calls(town: City) -> dict[str, str]:
    """Where the calls stand that take long, by payment method."""
    rows = await town.query("payment", _CALLS, [ENDS_MEANWHILE, OUTLASTS_IT])
    return {row["method_token"]: row["status"] for row in rows}


async def groups(town: City) -> dict[str, tuple[list[str], int]]:
    """The groups of payment: their static members, and how many records they are through with."""
    settings = kafka_settings(town.environment)
    found = {}
    async with admin_client(settings) as admin:
        for group, *_ in await admin.list_consumer_groups():
            if not group.startswith(f"{settings.topic_prefix}payment."):
                continue
            (described,) = await admin.describe_consumer_groups([group])
            members = [member[0] for answer in described.groups for member in answer[5]]
            committed: dict[Any, Any] = await admin.list_consumer_group_offsets(group)
            name = group.removeprefix(settings.topic_prefix)
            found[name] = members, sum(max(0, one.offset) for one in committed.values())
    return found


async def test_sigterm_ends_work_in_the_middle_and_keeps_only_the_membership(
    infrastructure: Infrastructure, tmp_path: Path, wait_until: WaitUntil
) -> None:
    settings = DemoSettings(follow_shortest_seconds=0.05, follow_longest_seconds=0.2)
    async with (
        city(infrastructure, tmp_path) as town,
        StubbornClient(town.urls, settings) as client,
    ):
        pace = Pace(0.1, shortest=0.05, longest=0.2)
        shop = Shop(client, town.environment["TROLLEY_SIGNING_KEY"], pace)
        await goods.offer(shop, settings, [SKU], SHOPPERS)

        async def buy(method: str) -> str:
            shopper = Shopper(shop, settings, name="Somebody")
            await shopper.open_cart()
            await shopper.put({SKU: 1})
            return str((await shopper.follow(await shopper.check_out(method)))["state"])

        methods = [ENDS_MEANWHILE, OUTLASTS_IT, *(SHOPPERS - 2) * [PAYS]]
        buying = asyncio.create_task(crowd(methods, buy, at_once=AT_ONCE))

        async def both_are_called() -> bool:
            return await calls(town) == dict.fromkeys((ENDS_MEANWHILE, OUTLASTS_IT), "leased")

        await wait_until(both_are_called, what="calls of the provider under way")
        members = {name: ours for name, (ours, _) in (await groups(town)).items()}

        async with asyncio.timeout(DRAINED_SECONDS):
            code = await town.drain(PAYMENT)

        assert code in (0, -signal.SIGTERM)
        assert "stopped while still at work" not in (tmp_path / "payment.log").read_text()

        async def nobody_is_left() -> bool:
            return not await town.query("payment", _SESSIONS)

        # The locks of relays and of the slot are those of sessions.
        await wait_until(nobody_is_left, what="the end of every session")
        assert await calls(town) == {ENDS_MEANWHILE: "reported", OUTLASTS_IT: "due"}
        left = await groups(town)
        assert {name: ours for name, (ours, _) in left.items()} == members
        assert all(ours for ours in members.values())
        (handled,) = await town.query("payment", _HANDLED)
        assert left[f"payment.{PAYMENT_COMMANDS.name}"][1] == handled["messages"]
        assert not buying.done()

        town.keep(PAYMENT)
        assert await buying == SHOPPERS * [PAID]
        await town.audit()
