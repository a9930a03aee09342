"""What the auditor makes of a disagreement: a finding, or something that is still under way."""

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from contracts.partitioning import partition_of
from contracts.topics import CART_EVENTS, CATALOG_ITEMS, ORDER_EVENTS, ORDER_REPLIES, Topic
from messaging.settings import KafkaSettings
from tests.trolley.audit.conftest import SETTINGS, environment_of
from tests.trolley.audit.world import (
    CURRENCY,
    T0,
    TOTAL,
    Shop,
    World,
    in_outbox,
    named,
    payment_of,
    publish,
    sku_key,
)
from trolley.audit import AuditReport, AuditSettings, Sources, audit
from trolley.audit.engine import TYPES
from trolley.audit.invariant import Invariant, Source, Table
from trolley.audit.invariants import INVARIANTS
from trolley.audit.published import TopicMissing
from trolley.audit.settings import AUDIT_UNANSWERED_SENDS
from trolley.audit.snapshots import DatabaseNotNamed, DatabaseNotReadable, database_urls
from trolley.runtime.errors import DatabaseUnavailable
from trolley.topics import admin_client

pytestmark = pytest.mark.integration

Audited = Callable[..., Awaitable[AuditReport]]
FreshTopics = Callable[[], Awaitable[KafkaSettings]]

LINES_BACK = "carts.lines-come-back-once-cancelled"
CATALOG_KNOWN = "read-models.cart-knows-the-catalog"
BOTH_LEDGERS = "money.every-unit-is-at-both-sides"


def only(*ids: str) -> list[Invariant]:
    return [invariant for invariant in INVARIANTS if invariant.id in ids]


async def lose_lines(world: World) -> None:
    """A disagreement between order and cart about the checkout `declined`."""
    await world.run(
        Source.CART, "DELETE FROM restorations WHERE checkout_id = $1", named("declined")
    )


async def misprice(world: World) -> None:
    """A disagreement between catalog and cart about one SKU."""
    await world.run(Source.CART, "UPDATE catalog_items SET version = 1 WHERE sku = 'APPLE'")


# Under way, or not.


async def test_what_both_looks_see_alike_and_nothing_moves_is_a_finding(
    world: World, audited: Audited
) -> None:
    await lose_lines(world)

    report = await audited(invariants=only(LINES_BACK))

    (finding,) = report.findings
    assert finding.entity == str(named("declined"))
    order, cart = finding.evidence["order"], finding.evidence["cart"]
    assert order is not None
    assert cart is not None
    assert (order["state"], cart["restored"]) == ("cancelled", False)
    age = finding.age_seconds(report.at)
    assert age is not None
    assert 500 < age < 3600
    assert report.looks == 2


async def test_what_agrees_at_the_second_look_was_under_way(world: World, audited: Audited) -> None:
    await lose_lines(world)

    async def arrive(candidates: int) -> None:
        assert candidates == 1
        await world.insert(Source.CART, "restorations", _restoration())

    report = await audited(invariants=only(LINES_BACK), before_second_look=arrive)

    assert report.clean
    assert [one.under_way for one in report.checked] == [1]


async def test_what_moves_between_the_looks_is_not_judged(world: World, audited: Audited) -> None:
    await misprice(world)

    async def move(candidates: int) -> None:
        await world.run(Source.CATALOG, "UPDATE variants SET version = 7 WHERE sku = 'APPLE'")

    report = await audited(invariants=only(CATALOG_KNOWN), before_second_look=move)

    assert report.clean
    assert [one.under_way for one in report.checked] == [1]


async def test_at_rest_one_look_is_enough(audited: Audited) -> None:
    report = await audited(invariants=only(LINES_BACK, CATALOG_KNOWN))

    assert report.clean
    assert report.looks == 1


OUTBOXES = [
    *((source, "declined", lose_lines, LINES_BACK) for source in (Source.CART, Source.INVENTORY)),
    *((source, "declined", lose_lines, LINES_BACK) for source in (Source.ORDER, Source.PAYMENT)),
    *((source, None, misprice, CATALOG_KNOWN) for source in (Source.CATALOG, Source.INVENTORY)),
]


@pytest.mark.parametrize(("source", "checkout", "disagree", "invariant"), OUTBOXES)
async def test_nothing_is_found_while_a_message_of_it_waits_in_an_outbox(
    world: World,
    audited: Audited,
    source: Source,
    checkout: str | None,
    disagree: Callable[[World], Awaitable[None]],
    invariant: str,
) -> None:
    await disagree(world)
    await in_outbox(world, source, str(named(checkout)) if checkout else sku_key("APPLE"))

    report = await audited(invariants=only(invariant))

    assert report.clean
    assert [one.under_way for one in report.checked] == [1]


async def test_nothing_is_found_while_the_saga_waits_for_a_step(
    world: World, audited: Audited
) -> None:
    await world.run(
        Source.CART,
        "UPDATE carts SET order_id = $1 WHERE checkout_id = $2",
        named("another order"),
        named("paid"),
    )
    await world.run(
        Source.ORDER,
        "UPDATE checkouts SET final = false, deadline_at = now() WHERE checkout_id = $1",
        named("paid"),
    )

    report = await audited(invariants=only("carts.bought-with-their-order"))

    assert report.clean
    assert [one.under_way for one in report.checked] == [1]


async def test_nothing_is_found_while_the_cart_starts_its_checkout_again(
    world: World, audited: Audited
) -> None:
    await world.run(
        Source.INVENTORY,
        "UPDATE reservations SET owner_id = $1 WHERE owner_id = $2",
        named("received"),
        named("paying"),
    )

    report = await audited(invariants=only("orders.ended-ones-hold-no-stock"))

    assert report.clean
    assert [one.under_way for one in report.checked] == [1]


async def test_nothing_is_found_while_the_provider_is_asked(world: World, audited: Audited) -> None:
    await world.run(
        Source.SIMULATED_PROVIDER, "DELETE FROM ledger WHERE payment_id = $1", payment_of("paid")
    )
    assert not (await audited(invariants=only(BOTH_LEDGERS))).clean

    await world.run(
        Source.PAYMENT,
        "UPDATE operations SET status = 'due' WHERE payment_id = $1",
        payment_of("paid"),
    )

    assert (await audited(invariants=only(BOTH_LEDGERS))).clean


@pytest.mark.parametrize(
    ("topic", "group", "key", "disagree", "invariant"),
    [
        (ORDER_REPLIES, "order.order.replies", str(named("declined")), lose_lines, LINES_BACK),
        (CATALOG_ITEMS, "cart.catalog.items", sku_key("APPLE"), misprice, CATALOG_KNOWN),
    ],
)
async def test_nothing_is_found_while_a_record_of_it_is_unread(
    world: World,
    audited: Audited,
    fresh_topics: FreshTopics,
    topic: Topic,
    group: str,
    key: str,
    disagree: Callable[[World], Awaitable[None]],
    invariant: str,
) -> None:
    kafka = await fresh_topics()
    await disagree(world)
    place = TopicPartition(
        kafka.topic_prefix + topic.name, partition_of(key.encode(), topic.partitions)
    )
    await _send(kafka, place)
    await _commit(kafka, group, place, 0)

    behind = await audited(kafka=kafka, invariants=only(invariant))
    await _commit(kafka, group, place, 1)
    caught_up = await audited(kafka=kafka, invariants=only(invariant))

    assert behind.clean
    assert [one.under_way for one in behind.checked] == [1]
    assert caught_up.violations == 1


# More than can be kept.


async def test_violations_within_a_database_are_all_counted_and_some_are_kept(
    world: World, audited: Audited
) -> None:
    await world.run(Source.INVENTORY, "UPDATE stock_levels SET on_hand = on_hand + 1")

    report = await audited(
        invariants=only("stock.on-hand-is-sum-of-movements"), settings=_keeping(1)
    )

    assert report.violations == 2
    assert len(list(report.findings)) == 1


async def test_candidates_that_cannot_be_looked_at_again_are_not_passed_over(
    world: World, audited: Audited
) -> None:
    await world.run(Source.CART, "UPDATE catalog_items SET version = 1")
    await in_outbox(world, Source.CATALOG, sku_key("APPLE"))

    report = await audited(invariants=only(CATALOG_KNOWN), settings=_keeping(1))

    assert (report.violations, report.unjudged) == (0, 1)
    assert not report.clean


# Event topics.


async def test_an_event_that_stands_twice_on_its_topic_is_a_violation(
    audited: Audited, fresh_topics: FreshTopics
) -> None:
    kafka = await fresh_topics()
    events = Shop().events
    again = next(event for event in events if event.topic is ORDER_EVENTS)
    await publish(kafka, [*events, again])

    report = await audited(kafka=kafka)

    assert [(one.invariant, one.violations) for one in report.checked if one.violations] == [
        ("events.order-events-are-gapless", 1)
    ]


async def test_what_retention_has_taken_is_not_missed_and_what_is_left_is_checked(
    audited: Audited, fresh_topics: FreshTopics
) -> None:
    kafka = await fresh_topics()
    events = Shop().events
    await publish(kafka, events)
    cart = str(named("paid cart"))
    await _delete_first(kafka, CART_EVENTS, of=cart)
    assert (await audited(kafka=kafka)).clean

    last = next(event for event in events if event.key == cart and event.event_seq == 2)
    await publish(kafka, [replace(last, event_seq=4)])
    report = await audited(kafka=kafka)

    assert [finding.entity for finding in report.findings] == [cart]


# Open items.


async def test_open_items_are_told_and_are_no_violation(world: World, audited: Audited) -> None:
    await world.run(
        Source.CART,
        "INSERT INTO dead_letters (id, consumer, topic, partition, record_offset, message_id,"
        " headers, error_type, error_text, fingerprint, attempts, created_at)"
        " VALUES ($1, 'cart.cart.commands', 'cart.commands', 0, 0, $1, '', 'E', 'e', 'f', 2,"
        " now() - interval '1 hour')",
        named("dead"),
    )
    await world.run(
        Source.ORDER,
        "UPDATE checkouts SET state = 'needs_attention' WHERE checkout_id = $1",
        named("paying"),
    )

    report = await audited()

    items = {(item.what, item.where): item for item in report.open_items}
    dead = items["dead letters", "cart"]
    assert dead.count == 1
    assert dead.oldest_seconds is not None
    assert 3600 <= dead.oldest_seconds < 3700
    assert items["checkouts that need attention", "order"].count == 1
    assert items["provider operations", "payment"].count == 1
    assert report.clean


async def test_a_checkout_that_nobody_takes_over_is_told_and_is_no_violation(
    world: World, audited: Audited
) -> None:
    what = "checkouts that nobody takes over"
    for sends, count in ((AUDIT_UNANSWERED_SENDS, 0), (AUDIT_UNANSWERED_SENDS + 1, 1)):
        await world.run(
            Source.CART,
            "UPDATE carts SET start_sends = $2 WHERE checkout_id = $1",
            named("received"),
            sends,
        )

        report = await audited()

        assert sum(item.count for item in report.open_items if item.what == what) == count
        assert report.clean


async def test_what_was_given_back_twice_is_told_and_is_no_violation(
    world: World, audited: Audited
) -> None:
    await world.insert(
        Source.PAYMENT,
        "ledger",
        *(
            {
                "payment_id": payment_of("refunded"), "attempt": 1, "seq": seq, "kind": kind,
                "amount_minor": TOTAL, "currency": CURRENCY, "provider": "by_hand",
                "provider_reference": "by_hand", "operation_id": named("refunded refund"),
                "recorded_at": T0,
            }
            for seq, kind in ((5, "refund_requested"), (6, "refunded"))
        ),
    )  # fmt: skip
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET over_refunded_minor = $1 WHERE payment_id = $2",
        TOTAL,
        payment_of("refunded"),
    )
    await world.run(
        Source.ORDER,
        "INSERT INTO after_sales (checkout_id, facts, refunded_minor, credited_minor,"
        " refund_pending_minor, disputed_minor, dispute_lost_minor, blocked, needs_attention,"
        " changed_at) VALUES ($1, '{}', $2, 0, 0, 0, 0, false, false, $3)",
        named("refunded"),
        TOTAL,
        T0,
    )

    report = await audited()

    items = {item.what: item.count for item in report.open_items}
    assert items["payments given back twice: by hand and at the provider"] == 1
    assert report.clean, report.findings


# What cannot be read.


def test_a_database_that_no_setting_names_is_named_in_the_error() -> None:
    with pytest.raises(DatabaseNotNamed, match="CATALOG_DATABASE_URL"):
        database_urls({})


async def test_a_database_that_is_away_is_told_without_its_password(
    migrated: dict[Source, str], published: KafkaSettings
) -> None:
    urls = {**migrated, Source.CART: "postgresql://cart:secret@127.0.0.1:1/cart"}

    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1/cart") as raised:
        await audit(Sources(urls, published), SETTINGS)

    assert "secret" not in str(raised.value)


async def test_a_database_without_tables_is_told_to_be_migrated(
    migrated: dict[Source, str],
    published: KafkaSettings,
    database: Callable[[str], Awaitable[str]],
) -> None:
    urls = {**migrated, Source.INVENTORY: await database("empty")}

    with pytest.raises(DatabaseNotReadable, match="trolley migrate"):
        await audit(Sources(urls, published), SETTINGS)


async def test_topics_that_are_not_there_are_named(
    migrated: dict[Source, str], published: KafkaSettings
) -> None:
    nowhere = published.model_copy(update={"topic_prefix": "nowhere."})

    with pytest.raises(TopicMissing, match=r"nowhere\.order\.events"):
        await audit(Sources(migrated, nowhere), SETTINGS)


# The command.


async def test_the_command_ends_with_0_only_without_violations(
    world: World, migrated: dict[Source, str], published: KafkaSettings, tmp_path: Path
) -> None:
    clean = _run(migrated, published, tmp_path, "--json")
    await world.run(
        Source.INVENTORY, "UPDATE stock_levels SET on_hand = on_hand + 1 WHERE sku = 'APPLE'"
    )
    broken = _run(migrated, published, tmp_path)

    assert clean.returncode == 0, clean.stderr
    report = json.loads(clean.stdout)
    assert report["clean"]
    assert report["facts_checked"] > 100
    assert {one["id"] for one in report["invariants"]} == {one.id for one in INVARIANTS}
    assert broken.returncode == 1, broken.stderr
    assert "on_hand=" in broken.stdout
    assert "2 violations" in broken.stdout  # the cart shows what was on hand


# Reads.


TABLES = {
    table.name: table
    for invariant in INVARIANTS
    for read in invariant.reads
    for table in read.tables
}


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
async def test_every_table_gives_the_same_columns_however_it_is_asked(
    connections: dict[Source, asyncpg.Connection], table: Table
) -> None:
    statements = (table.everything, *table.of.values())
    columns = set()
    for sql in statements:
        prepared = await connections[table.source].prepare(sql)
        columns.add(tuple((one.name, TYPES[one.type.name]) for one in prepared.get_attributes()))

    assert len(columns) == 1


def _keeping(candidates: int) -> AuditSettings:
    return AuditSettings(audit_settle_seconds=0, audit_candidates_kept=candidates)


def _restoration() -> dict[str, Any]:
    (row,) = [
        row
        for row in Shop().rows[Source.CART, "restorations"]
        if row["checkout_id"] == named("declined")
    ]
    return row


async def _send(kafka: KafkaSettings, place: TopicPartition) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    await producer.start()
    try:
        await producer.send_and_wait(
            place.topic, b"unread", key=b"unread", partition=place.partition
        )
    finally:
        await producer.stop()


async def _commit(kafka: KafkaSettings, group: str, place: TopicPartition, offset: int) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=kafka.topic_prefix + group,
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        consumer.assign([place])
        await consumer.commit({place: offset})
    finally:
        await consumer.stop()


async def _delete_first(kafka: KafkaSettings, topic: Topic, *, of: str) -> None:
    """Take all events of the first aggregate on this key's partition away, as retention does."""
    partition = partition_of(of.encode(), topic.partitions)
    place = TopicPartition(kafka.topic_prefix + topic.name, partition)
    async with admin_client(kafka) as admin:
        await admin.delete_records({place: RecordsToDelete(2)})


def _run(
    urls: dict[Source, str], kafka: KafkaSettings, home: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    settings = {**environment_of(urls, kafka), "COLUMNS": "120"}
    return subprocess.run(
        [
            *(sys.executable, "-m", "trolley", "audit", "--home", str(home)),
            *("--settle-seconds", "0", *options),
        ],
        env={**os.environ, **settings},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
