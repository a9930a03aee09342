"""What an operator is told of one checkout, and of those that are stuck."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from contracts.ids import new_id
from tests.system.town import Bought, Town
from trolley.operators import operator

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]


async def trolley(town: Town, *arguments: str) -> tuple[int | None, str]:
    """The command's exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trolley", "checkout", *arguments),
        *("--home", str(town.runtime.home.path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


async def asked(town: Town, path: str) -> Any:
    """What the operations service answers to an operator."""
    operators = operator(town.runtime.home, "olga", "operations", ["operations"])
    async with operators as olga:
        return (await olga.client.get("operations", path, headers=olga.headers)).body


async def in_peace() -> None:
    """No fault."""


async def sold(town: Town) -> UUID:
    bought: list[Bought] = await town.sell_while(1, in_peace)
    return UUID(bought[0].checkout.checkout_id)


async def test_the_story_of_a_checkout_is_told_over_all_services(town: Town) -> None:
    checkout_id = await sold(town)
    code, printed = await trolley(town, "show", str(checkout_id), "--json")
    story: dict[str, Any] = json.loads(printed)
    assert code == 0
    assert (story["state"], story["final"], story["late"]) == ("paid", True, False)
    assert (story["waits"], story["open_items"]) == ([], [])
    told = [(entry["service"], entry["does"], entry["step"]) for entry in story["entries"]]
    assert told[0] == ("order", "takes in", "start")
    assert {
        ("inventory", "answers", "reserve"),
        ("payment", "calls the provider", None),
        ("payment", "answers", "charge"),
        ("inventory", "answers", "commit"),
        ("cart", "answers", "close_cart"),
    } <= set(told)
    taken_in = [entry for entry in story["entries"] if entry["does"] == "takes in"]
    assert all(entry["message_id"] and entry["waited_seconds"] > 0 for entry in taken_in)
    asked_once = {e["step"] for e in story["entries"] if e["attempts"] == 1 and e["step"]}
    assert {"reserve", "charge", "commit", "close_cart"} <= asked_once
    (charged,) = [e for e in taken_in if e["step"] == "charge"]
    (answer,) = [e for e in story["entries"] if (e["does"], e["step"]) == ("answers", "charge")]
    assert (answer["message_id"], answer["attempts"]) == (charged["message_id"], 1)
    moments = [entry["at"] for entry in story["entries"]]
    assert moments == sorted(moments)
    assert [e["state"] for e in story["entries"] if e["service"] == "order"][-1] == "paid"

    code, printed = await trolley(town, "show", str(checkout_id))
    assert code == 0
    assert f"Checkout {checkout_id}: paid, final" in printed
    assert (await asked(town, f"/checkouts/{checkout_id}")) == story


async def test_what_is_stuck_is_listed_with_the_reason_until_it_goes_on(
    town: Town, wait_until: WaitUntil
) -> None:
    for slot in range(2):
        await town.runtime.stop_service("payment", slot)
    selling = asyncio.create_task(town.sell_while(1, in_peace))
    found: list[dict[str, Any]] = []

    async def is_stuck() -> bool:
        code, printed = await trolley(town, "stuck", "--json")
        found[:] = json.loads(printed)
        assert code == (1 if found else 0)
        return bool(found)

    try:
        await wait_until(is_stuck, seconds=60, what="a stuck checkout")
        (stuck,) = found
        assert stuck["state"] == "paying"
        assert stuck["why"].startswith("charge 1 was asked ")
        _, printed = await trolley(town, "show", stuck["checkout_id"], "--json")
        (wait,) = json.loads(printed)["waits"]
        assert (wait["step"], wait["round"], wait["hold"]) == ("charge", 1, None)
        assert "asked again" in wait["next"]
        (told,) = (await asked(town, "/checkouts/stuck"))["items"]
        assert (told["checkout_id"], told["state"]) == (stuck["checkout_id"], "paying")
    finally:
        for slot in range(2):
            town.runtime.start_service("payment", slot)
    await town.runtime.wait_ready()
    await selling
    assert await trolley(town, "stuck") == (0, "No checkout is stuck.\n")


async def test_a_checkout_that_goes_on_by_itself_takes_no_decision(town: Town) -> None:
    checkout_id = await sold(town)
    decision = ("resolve", str(checkout_id), "--as", "retry", "--reason", "just so")
    code, printed = await trolley(town, *decision, "--who", "olga")
    assert code == 1
    assert "nothing waits for that decision while paid" in printed


async def test_an_order_that_an_operator_gives_up_says_who_and_why(
    town: Town, wait_until: WaitUntil
) -> None:
    checkout_id = await sold(town)
    decision = ("resolve", str(checkout_id), "--as", "cancelled", "--reason", "looks stolen")
    code, printed = await trolley(town, *decision, "--who", "olga")
    assert (code, printed) == (0, "The checkout is refunding now.\n")
    story: dict[str, Any] = {}

    async def is_over() -> bool:
        story.update(await asked(town, f"/checkouts/{checkout_id}"))
        return bool(story["final"] and not story["open_items"])

    await wait_until(is_over, seconds=60, what="the end of a cancelled order")
    assert story["state"] == "cancelled"
    (decided,) = [entry for entry in story["entries"] if entry["does"] == "decides"]
    assert (decided["service"], decided["what"]) == ("operator", "cancelled")
    assert decided["note"] == "olga: looks stolen"
    _, printed = await trolley(town, "show", str(checkout_id), "--json")
    assert decided in json.loads(printed)["entries"]


async def test_a_checkout_that_nobody_knows_is_told_in_a_sentence(town: Town) -> None:
    unknown = new_id()
    code, printed = await trolley(town, "show", str(unknown))
    assert (code, printed) == (1, f"trolley: No service knows the checkout {unknown}.\n")
