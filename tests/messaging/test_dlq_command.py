"""`trolley dlq`, as an operator runs it, against a service that answers."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from contracts.ids import new_id
from contracts.messages.inventory import ReserveStock
from messaging.clock import utc_now
from tests.messaging.bench import FIXED, KEY, Bench
from tests.messaging.example import RAISES, CountingHandler, Example, reserve
from tests.serving import served

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Olga:
    """An operator at her command line, who asks the service at this address."""

    home: Path
    url: str

    async def runs(self, command: str, *arguments: str, editor: str = "false") -> tuple[int, str]:
        """Run `trolley dlq` in a process of its own: its exit code, and what it printed."""
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "trolley", "dlq", command, *arguments),
            *("--home", str(self.home), "--as", "olga", "--url", f"inventory={self.url}"),
            cwd=Path(__file__).parents[2],
            env={
                **os.environ,
                "TROLLEY_SIGNING_KEY": KEY.get_secret_value(),
                "VISUAL": editor,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await program.communicate()
        assert program.returncode is not None
        return program.returncode, printed.decode()

    async def reads(self, command: str, *arguments: str) -> Any:
        """What the command prints as JSON."""
        _, printed = await self.runs(command, *arguments, "--json")
        return json.loads(printed)


@pytest.fixture
async def olga(bench: Bench, tmp_path: Path) -> AsyncIterator[Olga]:
    """At a service that only answers: nothing comes from Kafka, and no replay has its turn."""
    async with served(bench.service.app) as url:
        yield Olga(tmp_path, url)


@pytest.fixture
async def olga_at_work(example: Example, bench: Bench, tmp_path: Path) -> AsyncIterator[Olga]:
    """At a service that runs, with the fault of its forerunner mended."""
    handler = CountingHandler(mended=True)
    async with example.running(handler=handler) as service, served(service.app) as url:
        yield Olga(tmp_path, url)


async def put_aside(bench: Bench) -> tuple[UUID, str]:
    """One message that fails: its checkout, and its dead letter."""
    checkout = new_id()
    await bench.tell(reserve(checkout, sku=RAISES))
    *_, letter = await bench.letters()
    return checkout, str(letter["id"])


async def test_ten_thousand_are_listed_a_line_each(bench: Bench, olga: Olga) -> None:
    await bench.put_aside(10_000)
    code, printed = await olga.runs("list", "--most", "100000")
    title, *lines = printed.splitlines()
    assert (code, title.split()[:3], len(lines)) == (1, ["id", "age", "service"], 10_000)
    assert all("RuntimeError: cannot reserve raises" in line for line in lines)


async def test_stats_tell_what_fails_and_how_much_waits_behind_it(bench: Bench, olga: Olga) -> None:
    assert await olga.runs("stats") == (0, "There are no dead letters.\n")
    checkout, _ = await put_aside(bench)
    await bench.tell(reserve(checkout, 2), reserve(new_id(), sku=RAISES))
    (fault,) = await olga.reads("stats")
    assert (fault["service"], fault["dead"], fault["waiting"]) == ("inventory", 2, 1)
    code, printed = await olga.runs("stats")
    assert code == 0
    assert fault["fingerprint"] in printed
    assert "RuntimeError: cannot reserve raises" in printed


async def test_a_letter_is_shown_whole(bench: Bench, olga: Olga) -> None:
    checkout, letter = await put_aside(bench)
    await bench.tell(reserve(checkout, 2))
    code, printed = await olga.runs("show", letter)
    assert code == 0
    for part in (letter, str(checkout), "cannot reserve raises", '"sku": "raises"'):
        assert part in printed
    assert "waits behind it" in printed
    assert "ce_correlationid" in printed
    shown = await olga.reads("show", letter)
    assert (shown["service"], shown["type"]) == ("inventory", ReserveStock.type)
    assert len(shown["waiting"]) == 1


async def test_a_letter_that_nobody_has_is_told_in_a_sentence(olga: Olga) -> None:
    unknown = str(new_id())
    for command in (("show",), ("diff",), ("edit", "--reason", "to try it")):
        code, printed = await olga.runs(*command, unknown)
        assert (code, printed) == (2, f"trolley: No service has a dead letter {unknown}.\n")


async def test_an_edit_from_a_file_is_shown_as_a_difference(
    bench: Bench, olga: Olga, tmp_path: Path
) -> None:
    checkout, letter = await put_aside(bench)
    assert await olga.runs("diff", letter) == (0, "It was not edited.\n")
    file = tmp_path / "value.json"
    file.write_text(reserve(checkout, sku="SOUND").model_dump_json())
    why = ("--reason", "the SKU has another name")
    code, printed = await olga.runs("edit", letter, "--value", str(file), *why)
    assert code == 0
    changed = [line.split() for line in printed.splitlines() if line[:1] in "+-"]
    assert ["-", '"sku":', '"raises",'] in changed
    assert ["+", '"sku":', '"SOUND",'] in changed
    assert await olga.runs("diff", letter) == (0, printed)
    (entry,) = (await olga.reads("show", letter))["history"]
    told = (entry["who"], entry["action"], entry["reason"])
    assert told == ("olga", "edited", "the SKU has another name")


async def test_an_edit_in_an_editor_takes_what_was_written(bench: Bench, olga: Olga) -> None:
    _, letter = await put_aside(bench)
    edit = ("edit", letter, "--reason", "the SKU has another name")
    assert await olga.runs(*edit, editor="true") == (0, "Nothing was edited.\n")
    assert await olga.runs("diff", letter) == (0, "It was not edited.\n")
    code, printed = await olga.runs(*edit, editor="sed -i s/raises/SOUND/")
    assert code == 0
    assert "SOUND" in printed


async def test_an_edit_that_is_no_such_message_is_refused(
    bench: Bench, olga: Olga, tmp_path: Path
) -> None:
    _, letter = await put_aside(bench)
    file = tmp_path / "value.json"
    for value in ("no JSON", "{}", reserve(new_id()).model_dump_json()):
        file.write_text(value)
        code, _ = await olga.runs("edit", letter, "--value", str(file), "--reason", "to try it")
        assert code == 2
    assert await olga.runs("diff", letter) == (0, "It was not edited.\n")


async def test_a_run_must_say_which_letters(bench: Bench, olga: Olga) -> None:
    await put_aside(bench)
    for command in ("replay", "discard"):
        code, printed = await olga.runs(command, "--reason", FIXED)
        assert (code, printed.startswith("trolley: Say which: ")) == (2, True)
    assert await bench.statuses() == [("dead", 1)]


async def test_a_replay_by_time_takes_only_what_was_put_aside_then(
    bench: Bench, olga_at_work: Olga
) -> None:
    moments, checkouts = [], []
    for _ in range(3):
        checkout, _ = await put_aside(bench)
        checkouts.append(checkout)
        moments.append(utc_now().isoformat())
    window = ("--since", moments[0], "--until", moments[1])
    code, printed = await olga_at_work.runs("replay", *window, "--reason", FIXED)
    assert code == 0, printed
    assert "1 of 1" in printed
    assert [await bench.rounds(one) for one in checkouts] == [[], [1], []]
    code, printed = await olga_at_work.runs("replay", "--since", moments[1], "--reason", FIXED)
    assert code == 0, printed
    assert [await bench.rounds(one) for one in checkouts] == [[], [1], [1]]
    assert [status for status, _ in await bench.statuses()] == ["dead", "done", "done"]
    code, printed = await olga_at_work.runs("replay", "--until", "1h", "--reason", FIXED)
    assert code == 2
    assert "There are no such dead letters" in printed
    assert [status for status, _ in await bench.statuses()] == ["dead", "done", "done"]


async def test_a_discarded_letter_says_who_gave_it_up_and_why(
    bench: Bench, olga_at_work: Olga
) -> None:
    checkout, letter = await put_aside(bench)
    await bench.tell(reserve(checkout, 2))
    why = ("--reason", "sold on another way")
    code, printed = await olga_at_work.runs("discard", letter, *why)
    assert code == 0, printed
    assert "olga: sold on another way" in printed
    assert (await bench.example.counts())[checkout] == (1, [2])
    shown = await olga_at_work.reads("show", letter)
    assert shown["status"] == "discarded"
    assert {(entry["who"], entry["reason"]) for entry in shown["history"]} == {
        ("olga", "sold on another way")
    }
    assert await olga_at_work.runs("list") == (0, "There are no dead letters.\n")
