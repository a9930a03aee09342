"""Every message arrives a second time: under its own id, and as a re-send under a new one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from contracts.ids import new_id
from contracts.topics import (
    CART_COMMANDS,
    INVENTORY_COMMANDS,
    ORDER_COMMANDS,
    ORDER_REPLIES,
    PAYMENT_COMMANDS,
)
from tests.system.town import Town

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]
SAGA_TOPICS = (CART_COMMANDS, INVENTORY_COMMANDS, ORDER_COMMANDS, ORDER_REPLIES, PAYMENT_COMMANDS)

# What shoppers, shop and provider would notice, per database.
STATE = {
    "cart": ("SELECT cart_id, status, event_seq FROM carts ORDER BY 1",),
    "inventory": (
        "SELECT * FROM stock_levels ORDER BY 1, 2, 3",
        "SELECT count(*), sum(quantity) FROM movements",
    ),
    "order": ("SELECT checkout_id, state FROM checkouts ORDER BY 1",),
    "payment": ("SELECT payment_id, status, event_seq FROM payments ORDER BY 1",),
}


async def records_of(town: Town) -> list[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=town.runtime.bootstrap_servers, auto_offset_reset="earliest"
    )
    async with consumer:
        places = [TopicPartition(t.name, p) for t in SAGA_TOPICS for p in range(t.partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        records: list[Any] = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            for group in (await consumer.getmany(timeout_ms=200)).values():
                records.extend(group)
    return records


async def send_again(town: Town, records: list[Any], *, fresh_ids: bool) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=town.runtime.bootstrap_servers,
        enable_idempotence=True,
        max_request_size=8_000_000,
    ) as producer:
        sent = []
        for record in records:
            headers = [
                (name, str(new_id()).encode() if fresh_ids and name == "ce_id" else value)
                for name, value in record.headers
            ]
            sent.append(
                await producer.send(
                    record.topic,
                    record.value,
                    key=record.key,
                    partition=record.partition,
                    headers=headers,
                )
            )
        await asyncio.gather(*sent)


async def state_of(town: Town) -> dict[str, list[Any]]:
    state: dict[str, list[Any]] = {}
    for database, statements in STATE.items():
        state[database] = [
            [tuple(row) for row in await town.rows(database, statement)] for statement in statements
        ]
    return state


@pytest.mark.parametrize("fresh_ids", [False, True], ids=["duplicates", "re-sends"])
async def test_every_message_a_second_time_changes_nothing(
    town: Town, wait_until: WaitUntil, fresh_ids: bool
) -> None:
    async def nothing_happens() -> None: ...

    await town.sell_while(20, nothing_happens)
    before = await state_of(town)
    assert all(any(rows) for rows in before.values())
    records = await records_of(town)
    assert len(records) > 20 * 10
    await send_again(town, records, fresh_ids=fresh_ids)
    await wait_until(town.all_is_read, seconds=60, what="reading everything")
    assert await state_of(town) == before
    for database in STATE:
        letters = await town.rows(
            database, "SELECT 1 FROM dead_letters WHERE status NOT IN ('done', 'discarded')"
        )
        assert letters == [], f"{len(letters)} dead letters in {database}"
    await town.audit()
