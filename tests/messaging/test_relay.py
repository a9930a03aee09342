"""What the relay promises: everything committed reaches Kafka, in order per key."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

import messaging.relay.plain
import messaging.relay.rows
from contracts.ids import new_id
from contracts.topics import INVENTORY_COMMANDS, ORDER_REPLIES
from contracts.values import replace
from messaging.database import Database
from messaging.outbox import Outgoing, write_outgoing
from messaging.records import pack_headers
from messaging.relay import PlainRelay, Relay
from messaging.settings import RelaySettings
from tests.messaging.example import (
    Example,
    addressed,
    checkouts_by_partition,
    relaying,
    reserve,
)

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]


async def commit(example: Example, rows: Sequence[Outgoing], *wakes: Relay) -> None:
    database = Database(example.database_url, pool_connections=1, application_name="test")
    for relay in wakes:
        database.after_emit(relay.lane, relay.wake)
    async with database.transaction() as connection:
        await write_outgoing(connection, rows)
    await database.close()


def rounds_by_key(records: Sequence[Any]) -> dict[str, list[int]]:
    rounds: dict[str, list[int]] = {}
    for record in records:
        rounds.setdefault(record.key.decode(), []).append(int(dict(record.headers)["ce_round"]))
    return rounds


Fault = Callable[[], Awaitable[Any]]


class Line:
    """What lies between the relay and Kafka: makes the faults of a test, and notes what is sent.

    `faults` are by the number of the batch among those for its partition, from 0; a batch with a
    fault never comes to Kafka.
    """

    def __init__(self) -> None:
        self.faults: dict[tuple[int, int], Fault] = {}
        self.sent_over: dict[int, list[AIOKafkaProducer]] = {}

    def producer(self) -> type[AIOKafkaProducer]:
        line = self

        class Producer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no types
            async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
                sent_over = line.sent_over.setdefault(partition, [])
                sent_over.append(self)
                fault = line.faults.get((partition, len(sent_over) - 1))
                if fault is not None:
                    return await fault()
                return await super().send_batch(batch, topic, partition=partition)

        return Producer


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    """A line under the relays of this test, whose batches have one row each."""
    line = Line()
    monkeypatch.setattr(messaging.relay.plain, "AIOKafkaProducer", line.producer())
    monkeypatch.setattr(messaging.relay.rows, "LARGEST_BATCH_BYTES", 1)
    return line


async def refused() -> Any:
    raise KafkaTimeoutError


async def denied() -> Any:
    confirmation = asyncio.get_running_loop().create_future()
    confirmation.set_exception(KafkaTimeoutError())
    return confirmation


async def never_confirmed() -> Any:
    return asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("fault", [refused, denied, never_confirmed])
async def test_no_later_row_of_a_partition_is_sent_after_a_batch_of_it_failed(
    example: Example, wait_until: WaitUntil, line: Line, fault: Fault
) -> None:
    checkout = new_id()
    rows = [addressed(reserve(checkout, round_)) for round_ in range(1, 7)]
    partition = rows[0].partition
    failing = (1, 2, 5)
    line.faults = {(partition, number): fault for number in failing}
    settings = RelaySettings(poll_seconds=0.2, send_timeout_seconds=3, retry_longest_ms=100)
    relay = PlainRelay("inventory", example.database_url, example.kafka, settings)
    async with relaying(relay):
        await commit(example, rows, relay)
        await wait_until(example.idle)
    records = await example.read_all(INVENTORY_COMMANDS)
    assert rounds_by_key(records) == {str(checkout): [1, 2, 3, 4, 5, 6]}
    sent_over = line.sent_over[partition]
    assert len(sent_over) == len(rows) + len(failing)
    # A producer that failed may still hold the batch, so it takes no other.
    for number in failing:
        assert sent_over[number + 1] is not sent_over[number]


async def test_no_later_row_of_a_partition_is_sent_while_an_earlier_one_is_under_way(
    example: Example, wait_until: WaitUntil, line: Line
) -> None:
    slow, other = checkouts_by_partition(INVENTORY_COMMANDS.partitions)[:2]
    first, second = addressed(reserve(slow, 1)), addressed(reserve(slow, 2))
    under_way, fails = asyncio.Event(), asyncio.Event()

    async def late_fault() -> Any:
        under_way.set()
        await fails.wait()
        raise KafkaTimeoutError

    line.faults = {(first.partition, 0): late_fault}
    relay = example.relay()

    async def only_the_slow_ones_are_left() -> bool:
        rows = await example.query("SELECT DISTINCT key FROM outbox")
        return [row["key"].decode() for row in rows] == [str(slow)]

    async with relaying(relay):
        await commit(example, [first], relay)
        async with asyncio.timeout(60):
            await under_way.wait()
        for round_ in range(1, 4):
            await commit(example, [addressed(reserve(other, round_)), *([second][: round_ == 1])])
            relay.wake()
            await wait_until(only_the_slow_ones_are_left)
        assert len(line.sent_over[first.partition]) == 1
        fails.set()
        await wait_until(example.idle)
    rounds = rounds_by_key(await example.read_all(INVENTORY_COMMANDS))
    assert rounds == {str(slow): [1, 2], str(other): [1, 2, 3]}


async def test_rows_arrive_in_order_per_key_with_their_envelope(
    example: Example, wait_until: WaitUntil
) -> None:
    checkouts = checkouts_by_partition(20)
    sent = [addressed(reserve(c, r)) for r in range(1, 51) for c in checkouts]
    relay = example.relay()
    async with relaying(relay):
        for start in range(0, len(sent), 100):
            await commit(example, sent[start : start + 100], relay)
        await wait_until(example.idle)
    records: list[Any] = await example.read_all(INVENTORY_COMMANDS)
    assert rounds_by_key(records) == {str(c): list(range(1, 51)) for c in checkouts}
    by_id = {dict(record.headers)["ce_id"]: record for record in records}
    for row in sent:
        assert row.envelope is not None
        record = by_id[str(row.message_id).encode()]
        assert list(record.headers) == row.envelope.headers()
        assert (record.value, record.partition) == (row.payload, row.partition)


async def test_a_standby_takes_over_and_passes_wake_ups_on(
    example: Example, wait_until: WaitUntil
) -> None:
    first, second = example.relay(), example.relay()

    async def leads(relay: Relay) -> bool:
        return relay.leads

    checkout = new_id()
    async with relaying(first) as leader:
        await wait_until(lambda: leads(first))
        async with relaying(second):
            await commit(example, [addressed(reserve(checkout, 1))], second)
            await wait_until(example.idle)
            assert not second.leads
            leader.cancel()
            await wait_until(lambda: leads(second))
            await commit(example, [addressed(reserve(checkout, 2))], second)
            await wait_until(example.idle)
    records = await example.read_all(INVENTORY_COMMANDS)
    assert rounds_by_key(records) == {str(checkout): [1, 2]}


async def test_losing_the_connection_that_holds_the_lock_stops_the_relay_until_it_is_back(
    example: Example, wait_until: WaitUntil
) -> None:
    relay = example.relay()
    checkout = new_id()

    async def leads() -> bool:
        return relay.leads

    connections = (
        "FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'inventory-plain-relay'"
    )

    async with relaying(relay):
        await wait_until(leads)
        (lost,) = await example.query(f"SELECT pid, pg_terminate_backend(pid) {connections}")

        async def leads_over_another_connection() -> bool:
            pids = {row["pid"] for row in await example.query(f"SELECT pid {connections}")}
            return bool(pids) and lost["pid"] not in pids and relay.leads

        await wait_until(leads_over_another_connection)
        await commit(example, [addressed(reserve(checkout))])
        await wait_until(example.idle)
    assert rounds_by_key(await example.read_all(INVENTORY_COMMANDS)) == {str(checkout): [1]}


async def test_a_topic_that_cannot_be_written_holds_up_no_other(
    example: Example, wait_until: WaitUntil
) -> None:
    missing = replace(addressed(reserve(new_id())), topic="order.events")
    checkouts = checkouts_by_partition(8)
    relay = example.relay()
    async with relaying(relay):
        await commit(example, [missing, *(addressed(reserve(c)) for c in checkouts)], relay)

        async def only_the_missing_one_is_left() -> bool:
            rows = await example.query("SELECT topic FROM outbox")
            return [row["topic"] for row in rows] == ["order.events"]

        await wait_until(only_the_missing_one_is_left)
    assert len(await example.read_all(INVENTORY_COMMANDS)) == 8


async def test_a_row_that_can_never_be_sent_is_flagged_with_its_key_and_starves_nobody(
    example: Example, wait_until: WaitUntil
) -> None:
    stuck, other = checkouts_by_partition(INVENTORY_COMMANDS.partitions * 2)[:2]
    too_large = replace(
        addressed(reserve(stuck, 1)),
        payload=b"x" * (INVENTORY_COMMANDS.broker_max_message_bytes + 1),
    )
    rows = [
        addressed(reserve(other, 1)),
        too_large,
        addressed(reserve(stuck, 2)),
        addressed(reserve(other, 2)),
    ]
    assert {row.partition for row in rows} == {rows[0].partition}
    relay = example.relay()
    async with relaying(relay):
        await commit(example, rows, relay)

        async def two_left() -> bool:
            return len(await example.query("SELECT 1 FROM outbox")) == 2

        await wait_until(two_left)
    left = await example.query("SELECT key, flag_reason FROM outbox ORDER BY id")
    assert [row["key"].decode() for row in left] == [str(stuck)] * 2
    assert "TooLarge" in left[0]["flag_reason"]
    records = await example.read_all(INVENTORY_COMMANDS)
    assert rounds_by_key(records) == {str(other): [1, 2]}


async def test_raw_headers_are_passed_on_as_they_are(
    example: Example, wait_until: WaitUntil
) -> None:
    headers = (("a", b"\xff\xfe"), ("b", b""), ("a", b"again"))
    raw = Outgoing(
        message_id=new_id(),
        topic=ORDER_REPLIES.name,
        partition=0,
        key=None,
        payload=b"\x00bytes",
        time=datetime.now(UTC),
        raw_headers=pack_headers(headers),
    )
    relay = example.relay()
    async with relaying(relay):
        await commit(example, [raw], relay)
        await wait_until(example.idle)
    (record,) = await example.read_all(ORDER_REPLIES)
    assert (record.key, record.value, tuple(record.headers)) == (None, b"\x00bytes", headers)  # type: ignore[attr-defined]


async def test_rows_committed_out_of_id_order_are_all_sent(
    example: Example, wait_until: WaitUntil
) -> None:
    early, late = addressed(reserve(new_id())), addressed(reserve(new_id()))
    database = Database(example.database_url, pool_connections=2, application_name="test")
    relay = example.relay()
    async with relaying(relay):
        async with database.transaction() as slow:
            await write_outgoing(slow, [early])
            await commit(example, [late], relay)
            await wait_until(example.idle)
        await wait_until(example.idle)
    await database.close()
    assert len(await example.read_all(INVENTORY_COMMANDS)) == 2
