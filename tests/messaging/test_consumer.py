"""What the consumer promises: every message takes effect once, whatever comes with it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from contracts.ids import new_id
from contracts.topics import INVENTORY_COMMANDS, ORDER_REPLIES, dead_letter_topic
from messaging.consumer import ConsumerStuck, TopicConsumer
from messaging.service import Service
from tests.messaging.example import (
    RAISES,
    REJECTED_BY_DATABASE,
    Example,
    addressed,
    checkouts_by_partition,
    reserve,
)

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]


async def test_every_message_takes_effect_once_and_in_order_per_key(
    example: Example, wait_until: WaitUntil
) -> None:
    checkouts = checkouts_by_partition(40)
    await example.send(
        *(addressed(reserve(c, round_)) for round_ in range(1, 11) for c in checkouts)
    )
    async with example.running():

        async def done() -> bool:
            counts = await example.counts()
            return sum(reserved for reserved, _ in counts.values()) >= 400 and await example.idle()

        await wait_until(done)
    counts = await example.counts()
    assert counts == {c: (10, list(range(1, 11))) for c in checkouts}
    replies = await example.read_all(ORDER_REPLIES)
    assert len(replies) == 400


async def test_a_doubled_message_takes_effect_once(example: Example, wait_until: WaitUntil) -> None:
    checkout = new_id()
    records = [addressed(reserve(checkout, round_)) for round_ in (1, 2, 3)]
    async with example.running():
        await example.send(*records, *records)

        async def first_three() -> bool:
            return (await example.counts()).get(checkout, (0, []))[0] >= 3

        await wait_until(first_three)
        await example.send(*records, addressed(reserve(checkout, 4)))

        async def all_four() -> bool:
            return (await example.counts())[checkout][0] >= 4 and await example.idle()

        await wait_until(all_four)
    assert await example.counts() == {checkout: (4, [1, 2, 3, 4])}
    assert len(await example.read_all(ORDER_REPLIES)) == 4


async def test_a_resent_command_gets_the_recorded_reply_under_its_first_id(
    example: Example, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    async with example.running():
        await example.send(addressed(reserve(checkout)), addressed(reserve(checkout)))
        await example.send(addressed(reserve(checkout)))

        async def three_replies() -> bool:
            return len(await example.read_all(ORDER_REPLIES)) == 3

        await wait_until(three_replies)
    assert await example.counts() == {checkout: (1, [1])}
    replies = await example.read_all(ORDER_REPLIES)
    assert len({dict(reply.headers)["ce_id"] for reply in replies}) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("poison", [RAISES, REJECTED_BY_DATABASE])
async def test_a_poisonous_message_is_dead_lettered_and_only_its_own_key_waits(
    example: Example, wait_until: WaitUntil, poison: str
) -> None:
    checkouts = checkouts_by_partition(40)
    bad = {c for i, c in enumerate(checkouts) if i % 7 == 3}
    await example.send(
        *(addressed(reserve(c, sku=poison if c in bad else "SKU")) for c in checkouts),
        *(addressed(reserve(c, 2)) for c in checkouts),
    )
    async with example.running():

        async def done() -> bool:
            counts = await example.counts()
            letters = await example.query("SELECT 1 FROM dead_letters")
            handled = sum(len(rounds) for _, rounds in counts.values())
            return handled >= 80 - 2 * len(bad) and len(letters) == 2 * len(bad)

        await wait_until(done)
    counts = {c: count for c, count in (await example.counts()).items() if count[0]}
    assert counts == {c: (2, [1, 2]) for c in checkouts if c not in bad}
    letters = await example.query("SELECT * FROM dead_letters WHERE status = 'dead'")
    assert {letter["key"].decode() for letter in letters} == {str(c) for c in bad}
    assert len({letter["fingerprint"] for letter in letters}) == 1


async def test_offsets_follow_the_database_and_nothing_is_lost_by_a_restart(
    example: Example, wait_until: WaitUntil
) -> None:
    checkouts = checkouts_by_partition(80)
    await example.send(*(addressed(reserve(c)) for c in checkouts))
    async with example.running(batch_records=3):

        async def some() -> bool:
            return len(await example.counts()) >= 6

        await wait_until(some)
    async with example.running():

        async def all_there() -> bool:
            return len(await example.counts()) >= 80 and await example.idle()

        await wait_until(all_there)
    assert await example.counts() == {c: (1, [1]) for c in checkouts}
    assert len(await example.read_all(ORDER_REPLIES)) == 80


async def test_two_replicas_share_the_partitions_and_a_rebalance_loses_nothing(
    example: Example, wait_until: WaitUntil
) -> None:
    checkouts = checkouts_by_partition(400)

    async def settled(least: int) -> bool:
        return sum(reserved for reserved, _ in (await example.counts()).values()) >= least

    async with example.running(0, batch_records=5):
        await example.send(*(addressed(reserve(c)) for c in checkouts))
        await wait_until(lambda: settled(20))
        async with example.running(1, batch_records=5):
            await example.send(*(addressed(reserve(c, 2)) for c in checkouts))
            await wait_until(lambda: settled(800), seconds=60)

            async def relayed() -> bool:
                return await example.idle()

            await wait_until(relayed)
    assert await example.counts() == {c: (2, [1, 2]) for c in checkouts}
    assert len(await example.read_all(ORDER_REPLIES)) == 800


async def test_a_restart_has_its_partitions_back_and_nobody_else_is_rebalanced(
    example: Example, wait_until: WaitUntil
) -> None:
    half = INVENTORY_COMMANDS.partitions // 2

    def place(service: Service) -> tuple[int, frozenset[object]]:
        """The generation of the group that the member is in, and what it reads."""
        consumer = service._consumers[0]
        member: Any = consumer._consumer
        return member._coordinator.generation, frozenset(member.assignment())

    async with example.running(1) as other:
        async with example.running(0) as first:

            async def shared() -> bool:
                return (first.assigned(INVENTORY_COMMANDS), other.assigned(INVENTORY_COMMANDS)) == (
                    half,
                    half,
                )

            await wait_until(shared)
            before = place(first), place(other)
        async with example.running(0) as again:

            async def back() -> bool:
                return again.assigned(INVENTORY_COMMANDS) == half

            await wait_until(back)
            assert (place(again), place(other)) == before
            checkouts = checkouts_by_partition(INVENTORY_COMMANDS.partitions)
            await example.send(*(addressed(reserve(c)) for c in checkouts))

            async def all_there() -> bool:
                return len(await example.counts()) == len(checkouts)

            await wait_until(all_there)
            assert (place(again), place(other)) == before


async def test_what_an_aborted_transaction_wrote_is_never_handled(
    example: Example, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    aborted, committed = addressed(reserve(checkout, 1)), addressed(reserve(checkout, 2))
    producer = AIOKafkaProducer(
        bootstrap_servers=example.kafka.bootstrap_servers,
        transactional_id=f"{example.kafka.topic_prefix}aborts",
    )
    async with producer:
        for row, ends in ((aborted, producer.abort_transaction), (committed, None)):
            assert row.envelope is not None
            await producer.begin_transaction()
            await producer.send_and_wait(
                example.name_of(INVENTORY_COMMANDS),
                row.payload,
                key=row.key,
                partition=row.partition,
                headers=row.envelope.headers(),
            )
            await (ends or producer.commit_transaction)()
    async with example.running():

        async def second_handled() -> bool:
            return 2 in (await example.counts()).get(checkout, (0, []))[1]

        await wait_until(second_handled)
    assert await example.counts() == {checkout: (1, [2])}


async def test_records_that_are_no_messages_land_in_the_dead_letters_with_their_bytes(
    example: Example, wait_until: WaitUntil
) -> None:
    good = addressed(reserve(new_id()))
    assert good.envelope is not None
    headers = good.envelope.headers()
    without = {name: [h for h in headers if h[0] != name] for name, _ in headers}
    future = [*without["ce_type"], ("ce_type", b"inventory.reserve_stock.v9")]
    foreign = [*without["ce_type"], ("ce_type", b"order.paid.v1")]
    bad: dict[str, tuple[bytes | None, list[tuple[str, bytes]]]] = {
        "undecodable": (b"\xff\x00not json", headers),
        "wrong schema": (b'{"checkout_id": "no"}', headers),
        "unknown version": (good.payload, future),
        "type of another topic": (good.payload, foreign),
        "no headers": (good.payload, []),
        "no type": (good.payload, without["ce_type"]),
        "header not UTF-8": (
            good.payload,
            [*without["ce_subject"], ("ce_subject", b"\xff\xfe")],
        ),
        "null value": (None, headers),
        "oversized": (b'{"x": "' + b"y" * INVENTORY_COMMANDS.largest_record_bytes + b'"}', headers),
    }
    name = example.name_of(INVENTORY_COMMANDS)
    async with example.producer() as producer:
        for case, (value, case_headers) in bad.items():
            fresh = [(n, str(new_id()).encode() if n == "ce_id" else v) for n, v in case_headers]
            await producer.send(name, value, key=case.encode(), partition=0, headers=fresh)
    after = checkouts_by_partition(4)
    await example.send(*(addressed(reserve(c)) for c in after))
    async with example.running():

        async def went_on() -> bool:
            return len(await example.counts()) == 4 and await example.idle()

        await wait_until(went_on)
    published = await example.read_all(dead_letter_topic("inventory"))
    values = {record.key.decode(): record.value for record in published}  # type: ignore[attr-defined]
    assert values == {case: value for case, (value, _) in bad.items()}
    for record in published:
        case = record.key.decode()  # type: ignore[attr-defined]
        original = [h for h in record.headers if not h[0].startswith("dead-letter-")]  # type: ignore[attr-defined]
        assert [n for n, _ in original] == [n for n, _ in bad[case][1]]
        assert dict(record.headers)["dead-letter-fingerprint"]  # type: ignore[attr-defined]


async def test_a_consumer_whose_polling_hangs_is_noticed(
    example: Example, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(TopicConsumer, "_hand_over", hang)
    faults: list[BaseException] = []
    service = example.service(stuck_seconds=1)
    monkeypatch.setattr(service, "fail", faults.append)
    await example.send(addressed(reserve(new_id())))
    async with service.app.router.lifespan_context(service.app):

        async def noticed() -> bool:
            return [type(fault) for fault in faults] == [ConsumerStuck]

        await wait_until(noticed, what="the watchdog")
