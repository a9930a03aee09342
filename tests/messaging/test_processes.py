"""Replicas as processes: one that dies for good is replaced, one that only seems to live ends."""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from contracts.topics import INVENTORY_COMMANDS
from messaging.consumer import ConsumerStuck
from messaging.settings import ConsumerSettings
from tests.messaging.example import Example, addressed, checkouts_by_partition, reserve
from tests.messaging.service_process import started

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]


@contextmanager
def ended(process: BaseProcess) -> Iterator[BaseProcess]:
    """A process that does not outlive the block."""
    try:
        yield process
    finally:
        process.kill()
        process.join()


async def test_another_replica_takes_over_from_one_that_was_killed_for_good(
    example: Example, wait_until: WaitUntil, tmp_path: Path
) -> None:
    checkouts = checkouts_by_partition(10 * INVENTORY_COMMANDS.partitions)
    session_ms = ConsumerSettings().session_timeout_ms
    async with example.running(0, session_timeout_ms=session_ms) as stays:

        async def handled(round_: int) -> bool:
            counts = await example.counts()
            return all(counts.get(one, (0, []))[1][-1:] == [round_] for one in checkouts)

        async def shared() -> bool:
            return 0 < stays.assigned(INVENTORY_COMMANDS) < INVENTORY_COMMANDS.partitions

        log = tmp_path / "log"
        with ended(started(example, log, slot=1, session_timeout_ms=session_ms)) as goes:
            await wait_until(shared, what="both replicas' partitions")
            await example.send(*(addressed(reserve(one, 1)) for one in checkouts))
            await wait_until(lambda: handled(1), what="what both handle")
            goes.kill()
            await example.send(*(addressed(reserve(one, 2)) for one in checkouts))
        await wait_until(lambda: handled(2), what="the other's partitions")
        assert stays.assigned(INVENTORY_COMMANDS) == INVENTORY_COMMANDS.partitions
    assert await example.counts() == {one: (2, [1, 2]) for one in checkouts}


def test_what_a_take_over_waits_for_is_less_than_ten_seconds() -> None:
    settings = ConsumerSettings()
    assert settings.session_timeout_ms + settings.heartbeat_ms < 10_000


async def test_a_process_whose_consumer_stopped_polling_ends_with_a_code_and_a_word(
    example: Example, wait_until: WaitUntil, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    (checkout,) = checkouts_by_partition(INVENTORY_COMMANDS.partitions)[:1]
    with ended(started(example, log, hangs=True, stuck_seconds=1)) as process:
        await example.send(addressed(reserve(checkout)))

        async def is_over() -> bool:
            return not process.is_alive()

        await wait_until(is_over, what="the end of the process")
        assert process.exitcode == 1
    said = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    errors = [one.get("error") for one in said if one["level"] == "critical"]
    assert errors[:1] == [ConsumerStuck.__name__]
    async with example.running():

        async def done() -> bool:
            return await example.counts() == {checkout: (1, [1])}

        await wait_until(done, what="what it had not handled")
