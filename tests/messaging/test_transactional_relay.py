"""What the transactional lane promises: every public event once on the topic, in order per key.

Its readers know nothing of message ids; they only read what is committed.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess

import psutil
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

import messaging.relay.transactional
from contracts.ids import new_id
from contracts.messages.inventory import StockMoved
from contracts.topics import INVENTORY_EVENTS, RELAY_POSITIONS
from contracts.values import replace
from messaging.database import Database
from messaging.outbox import Outgoing, address, write_outgoing
from messaging.points import Point, listen
from messaging.relay import Relay, TransactionalRelay
from messaging.relay.positions import last_position
from messaging.relay.producers import close
from messaging.waiting import happens
from tests.messaging import relay_process
from tests.messaging.example import Example, relaying

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]

DEADLY = (
    Point.ROWS_READ,
    Point.LANE_FENCED,
    Point.LANE_CAUGHT_UP,
    Point.LANE_SENT,
    Point.LANE_COMMITTED,
    Point.LANE_DELETED,
)
KILLS_AT_EACH = 4
TORTURED_KILLS_AT_EACH = 35
KEYS = 7


def test_the_lane_is_killed_at_every_point_of_its_cycle() -> None:
    own = {point for point in Point if point.name.startswith("LANE_")}
    assert {*own, Point.ROWS_READ} == set(DEADLY)


def moved(sku: str, seq: int, *, padding: int = 0) -> Outgoing:
    """An event in its envelope."""
    event = StockMoved(
        sku=sku,
        event_seq=seq,
        warehouse="w" * (padding + 1),
        kind="receipt",
        quantity=1,
        on_hand=seq,
        movement_id=new_id(),
        moved_at=datetime.now(UTC),
    )
    return address(event, source="inventory", now=datetime.now(UTC))


class Writer:
    """Commits events of several keys, each counted from 1, in small transactions."""

    def __init__(self, example: Example) -> None:
        self.database = Database(example.database_url, pool_connections=1, application_name="load")
        self.written: Counter[str] = Counter()

    async def write(self, keys: Iterable[str], *, padding: int = 0) -> None:
        rows = []
        for key in keys:
            self.written[key] += 1
            rows.append(moved(key, self.written[key], padding=padding))
        async with self.database.transaction() as connection:
            await write_outgoing(connection, rows)

    async def keep_writing(self, pace_seconds: float, stop: asyncio.Event) -> None:
        while not await happens(stop, pace_seconds):
            await self.write(f"SKU-{number}" for number in range(KEYS))


@pytest.fixture
async def writer(example: Example) -> AsyncIterator[Writer]:
    writer = Writer(example)
    yield writer
    await writer.database.close()


def relay_of(example: Example) -> TransactionalRelay:
    return TransactionalRelay(
        "inventory", example.database_url, example.kafka, example.relay_settings()
    )


async def seqs_by_key(example: Example) -> dict[str, list[int]]:
    """What a reader of committed records gets, in its order."""
    seqs: dict[str, list[int]] = {}
    for record in await example.read_all(INVENTORY_EVENTS):
        event = StockMoved.model_validate_json(record.value)  # type: ignore[attr-defined]
        seqs.setdefault(event.sku, []).append(event.event_seq)
    return seqs


async def assert_all_is_there_once(example: Example, writer: Writer) -> None:
    seqs = await seqs_by_key(example)
    assert seqs == {key: list(range(1, count + 1)) for key, count in writer.written.items()}


async def carry_the_rest(example: Example, wait_until: WaitUntil) -> None:
    async with relaying(relay_of(example)):
        await wait_until(example.idle, seconds=60, what="an empty outbox")


async def death_of(process: BaseProcess, wait_until: WaitUntil) -> None:
    async def dead() -> bool:
        return process.exitcode is not None

    await wait_until(dead, seconds=60, what="the relay's death")


async def test_events_arrive_once_in_order_with_their_envelope(
    example: Example, writer: Writer, wait_until: WaitUntil
) -> None:
    for _ in range(30):
        await writer.write(f"SKU-{number}" for number in range(KEYS))
    await carry_the_rest(example, wait_until)
    await assert_all_is_there_once(example, writer)
    records = await example.read_all(INVENTORY_EVENTS)
    headers = dict(records[0].headers)  # type: ignore[attr-defined]
    assert headers["ce_type"] == StockMoved.type.encode()
    assert await last_position(example.kafka, f"{example.kafka.topic_prefix}inventory.events")


async def test_a_relay_killed_at_any_point_under_load_neither_loses_nor_doubles_an_event(
    example: Example, writer: Writer, wait_until: WaitUntil, torture: bool
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    kills = [*DEADLY] * (TORTURED_KILLS_AT_EACH if torture else KILLS_AT_EACH)
    random.Random(seed).shuffle(kills)  # noqa: S311 - no secret
    stop = asyncio.Event()
    load = asyncio.create_task(writer.keep_writing(0.01, stop))
    try:
        for point in kills:
            process = relay_process.started(example.database_url, example.kafka, dies_at=point)
            await death_of(process, wait_until)
            assert process.exitcode == -signal.SIGKILL
    finally:
        stop.set()
        await load
    await carry_the_rest(example, wait_until)
    await assert_all_is_there_once(example, writer)


@pytest.mark.parametrize("point", [Point.ROWS_READ, Point.LANE_SENT, Point.LANE_COMMITTED])
async def test_a_frozen_relay_that_wakes_up_after_its_successor_doubles_nothing(
    example: Example, writer: Writer, wait_until: WaitUntil, point: Point
) -> None:
    await writer.write(["SKU-1", "SKU-2"])
    frozen = relay_process.started(example.database_url, example.kafka, dies_at=point, freezes=True)
    assert frozen.pid is not None
    process = psutil.Process(frozen.pid)

    async def is_frozen() -> bool:
        return process.status() == psutil.STATUS_STOPPED

    try:
        await wait_until(is_frozen, what="the freeze")
        # What its silence does after `frozen_seconds`, at once.
        await example.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database() AND application_name LIKE '%relay'"
        )
        await writer.write(["SKU-1", "SKU-2"])
        async with relaying(relay_of(example)):
            await wait_until(example.idle, what="an empty outbox")
            process.resume()
            await writer.write(["SKU-1", "SKU-2"])
            await wait_until(example.idle, what="an empty outbox")
    finally:
        frozen.kill()
    await writer.write(["SKU-1", "SKU-2"])
    await carry_the_rest(example, wait_until)
    await assert_all_is_there_once(example, writer)


async def test_a_session_that_says_nothing_is_ended_with_its_lock(
    example: Example, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TransactionalRelay, "frozen_seconds", 1)
    silent, other = relay_of(example), relay_of(example)

    async def say_nothing(_connection: object, stop: asyncio.Event) -> None:
        await stop.wait()

    monkeypatch.setattr(silent, "_lead", say_nothing)

    async def leads(relay: Relay) -> bool:
        return relay.leads

    async with relaying(silent):
        await wait_until(lambda: leads(silent), what="the leader")
        async with relaying(other):
            await wait_until(lambda: leads(other), what="the successor")


async def test_an_unknown_outcome_of_the_commit_is_settled_by_the_position(
    example: Example, writer: Writer, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = iter([True, False] * 3)

    class Producer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no types
        async def commit_transaction(self) -> None:
            commits = next(outcomes, None)
            if commits is not False:
                await super().commit_transaction()
            if commits is not None:
                raise KafkaTimeoutError

    monkeypatch.setattr(messaging.relay.transactional, "AIOKafkaProducer", Producer)
    async with relaying(relay_of(example)):
        for _ in range(6):
            await writer.write(["SKU-1", "SKU-2"])
            await wait_until(example.idle, what="an empty outbox")
    await assert_all_is_there_once(example, writer)


async def test_ids_that_mean_other_messages_after_a_restore_are_not_taken_for_published(
    example: Example, writer: Writer, wait_until: WaitUntil
) -> None:
    await writer.write(["SKU-1", "SKU-2", "SKU-3"])
    await carry_the_rest(example, wait_until)
    await example.query("ALTER TABLE outbox ALTER id RESTART")
    await writer.write(["SKU-1", "SKU-2", "SKU-3"])
    await carry_the_rest(example, wait_until)
    await assert_all_is_there_once(example, writer)


async def test_a_position_behind_anothers_open_transaction_is_waited_for(
    example: Example, writer: Writer, wait_until: WaitUntil
) -> None:
    process = relay_process.started(
        example.database_url, example.kafka, dies_at=Point.LANE_COMMITTED, times=2
    )
    await writer.write(["SKU-1", "SKU-2"])
    await wait_until(example.idle, what="an empty outbox")
    other = AIOKafkaProducer(
        bootstrap_servers=example.kafka.bootstrap_servers,
        transactional_id=f"{example.kafka.topic_prefix}other",
    )
    await other.start()
    await other.begin_transaction()
    await other.send_and_wait(example.name_of(RELAY_POSITIONS), b"{}", key=b"other", partition=0)
    await writer.write(["SKU-1", "SKU-2"])
    await death_of(process, wait_until)
    knows = asyncio.Event()

    async def note(point: Point, _service: str, _types: Iterable[str]) -> None:
        if point == Point.LANE_CAUGHT_UP:
            knows.set()

    listen(note)
    try:
        async with relaying(relay_of(example)):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await knows.wait()
            await writer.write(["SKU-1", "SKU-2"])
            await other.commit_transaction()
            await wait_until(example.idle, what="an empty outbox")
    finally:
        listen(None)
        await other.stop()
    await assert_all_is_there_once(example, writer)


async def test_an_event_too_large_for_its_topic_is_flagged_with_its_key_and_the_others_go(
    example: Example, writer: Writer, wait_until: WaitUntil
) -> None:
    await writer.write(["SKU-1", "SKU-2", "SKU-3"])
    rows: Sequence[Outgoing] = [
        moved("SKU-LARGE", 1),
        replace(moved("SKU-LARGE", 2), payload=b"x" * 5_000_000),
        moved("SKU-LARGE", 3),
    ]
    async with writer.database.transaction() as connection:
        await write_outgoing(connection, rows)
    await writer.write(["SKU-1", "SKU-2", "SKU-3"])
    await carry_the_rest_but(example, 2, wait_until)
    seqs = await seqs_by_key(example)
    assert seqs.pop("SKU-LARGE") == [1]
    assert seqs == {"SKU-1": [1, 2], "SKU-2": [1, 2], "SKU-3": [1, 2]}
    flagged = await example.query("SELECT flag_reason FROM outbox WHERE flagged_at IS NOT NULL")
    assert [row["flag_reason"].partition(":")[0] for row in flagged] == ["MessageSizeTooLargeError"]


async def test_a_partition_that_cannot_be_written_holds_up_no_other_for_long(
    example: Example, writer: Writer, wait_until: WaitUntil
) -> None:
    nowhere = replace(moved("SKU-NOWHERE", 1), partition=99)
    async with writer.database.transaction() as connection:
        await write_outgoing(connection, [nowhere])
    async with relaying(relay_of(example)):
        for left in range(2, 6):
            await writer.write([f"SKU-{number}" for number in range(KEYS)])

            async def only_that_is_left() -> bool:
                return len(await example.query("SELECT 1 FROM outbox")) == 1

            await wait_until(only_that_is_left, what=f"the others, {left}")
    await assert_all_is_there_once(example, writer)


async def test_a_producer_with_something_unsent_is_cut_when_it_is_closed(
    example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = asyncio.all_tasks()
    producer = AIOKafkaProducer(bootstrap_servers=example.kafka.bootstrap_servers)
    await producer.start()

    async def never_answered(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(producer._sender, "_send_produce_req", never_answered)
    await producer.send(example.name_of(INVENTORY_EVENTS), b"{}", partition=0)
    await close(producer)
    left = {str(task.get_coro()) for task in asyncio.all_tasks() - before}
    assert not {coroutine for coroutine in left if "_sender_routine" in coroutine}


async def carry_the_rest_but(example: Example, left: int, wait_until: WaitUntil) -> None:
    async def done() -> bool:
        return len(await example.query("SELECT 1 FROM outbox")) == left

    async with relaying(relay_of(example)):
        await wait_until(done, seconds=60, what=f"{left} rows left")


async def test_every_point_is_one_that_the_relay_comes_to(
    example: Example, writer: Writer, wait_until: WaitUntil
) -> None:
    reached: set[Point] = set()

    async def note(point: Point, _service: str, _types: Iterable[str]) -> None:
        reached.add(point)

    listen(note)
    try:
        await writer.write(["SKU-1"])
        await carry_the_rest(example, wait_until)
    finally:
        listen(None)
    assert set(DEADLY) <= reached
