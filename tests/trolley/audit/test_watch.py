"""The audit that goes on: it sees what changed, whoever commits how late, and asks no more."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from contracts.topics import ORDER_EVENTS
from messaging.settings import KafkaSettings
from tests.trolley.audit.test_auditor import CATALOG_KNOWN, only
from tests.trolley.audit.test_invariants import VIOLATIONS, Violation
from tests.trolley.audit.world import (
    Shop,
    World,
    in_outbox,
    named,
    payment_of,
    publish,
    sku_key,
)
from trolley.audit import AuditSettings, Sources
from trolley.audit.findings import Findings
from trolley.audit.invariant import Source
from trolley.audit.watch import Watch

pytestmark = pytest.mark.integration

SETTINGS = AuditSettings(audit_settle_seconds=0, audit_overlap_seconds=60)

TOUCHED = {
    Source.CART: (
        "UPDATE carts SET changed_at = now()",
        "UPDATE stock_availability SET version = version",
    ),
    Source.INVENTORY: (
        "UPDATE reservations SET changed_at = now()",
        "UPDATE movements SET moved_at = now()",
        "UPDATE stock_items SET event_seq = event_seq",
    ),
    Source.ORDER: (
        "UPDATE checkouts SET changed_at = now()",
        "UPDATE orders SET changed_at = now()",
    ),
    Source.PAYMENT: (
        "UPDATE payments SET updated_at = now()",
        "UPDATE operations SET updated_at = now()",
    ),
}
"""What a service's own write would have marked as changed."""


async def touch(world: World) -> None:
    for source, statements in TOUCHED.items():
        for statement in statements:
            await world.run(source, statement)


@pytest.fixture
def findings(tmp_path: Path) -> Findings:
    """The file of findings, empty."""
    return Findings(tmp_path / "audit.sqlite", resolved_kept=timedelta(days=1))


@pytest.fixture
async def watch(
    migrated: dict[Source, str], published: KafkaSettings, world: World, findings: Findings
) -> AsyncIterator[Watch]:
    """A watch that has looked at everything once, and again at what was under way."""
    del world
    async with Watch.opened(Sources(migrated, published), findings, SETTINGS) as watch:
        assert (await watch.look()).whole
        yield watch


def entities(watch: Watch, invariant: str) -> set[str]:
    return {known.entity for known in watch.findings.open() if known.invariant == invariant}


async def test_at_rest_nothing_is_looked_at_and_nothing_found(watch: Watch) -> None:
    looked = await watch.look()

    assert not looked.whole
    assert watch.findings.open() == []


async def test_an_order_in_flight_is_no_finding(watch: Watch, world: World) -> None:
    await touch(world)

    for _ in range(3):
        looked = await watch.look()

    assert looked.suspected == 1  # the provider has taken what we have not heard of
    assert watch.findings.open() == []


@pytest.mark.parametrize("violation", [pytest.param(v, id=v.id) for v in VIOLATIONS])
async def test_a_violation_is_found_among_the_changes(
    watch: Watch, world: World, violation: Violation
) -> None:
    await violation.plant(world)
    await touch(world)

    await watch.look()
    await watch.look()

    assert violation.entity in entities(watch, violation.invariant)


async def test_a_finding_that_is_mended_is_resolved(watch: Watch, world: World) -> None:
    invariant = "money.amounts-are-sum-of-ledger"
    wrong = "UPDATE payments SET captured_minor = captured_minor {} 1, updated_at = now()"
    where = " WHERE payment_id = $1"
    await world.run(Source.PAYMENT, wrong.format("-") + where, payment_of("paid"))
    found = await watch.look()
    again = await watch.look()
    await world.run(Source.PAYMENT, wrong.format("+") + where, payment_of("paid"))
    mended = await watch.look()

    assert invariant in {known.invariant for known in found.news.new}
    # Between two services it is certain at the second look only, and is told then.
    assert invariant not in {known.invariant for known in again.news.new}
    assert again.news.resolved == ()
    assert invariant in {known.invariant for known in mended.news.resolved}
    assert entities(watch, invariant) == set()
    assert invariant in {
        known.invariant for known in watch.findings.page(resolved=True, after=None, most=100)
    }


async def test_a_commit_that_comes_late_is_not_missed(
    watch: Watch, world: World, migrated: dict[Source, str]
) -> None:
    late = await asyncpg.connect(migrated[Source.PAYMENT])
    try:
        transaction = late.transaction()
        await transaction.start()
        # Its rows carry the moment at which it began, and two looks pass by before it commits.
        await late.execute(
            "UPDATE payments SET captured_minor = captured_minor - 1, updated_at = now()"
            " WHERE payment_id = $1",
            payment_of("paid"),
        )
        for _ in range(2):
            # Others commit meanwhile, with later numbers and later moments.
            await world.run(
                Source.PAYMENT,
                "UPDATE payments SET updated_at = now() WHERE payment_id = $1",
                payment_of("refunded"),
            )
            await watch.look()
        assert watch.findings.open() == []
        await transaction.commit()
    finally:
        await late.close()

    await watch.look()

    assert entities(watch, "money.amounts-are-sum-of-ledger") == {str(payment_of("paid"))}


async def test_rows_that_were_looked_at_are_not_looked_at_again_for_their_overlap(
    watch: Watch, world: World
) -> None:
    await touch(world)
    changed = await watch.look()

    rested = await watch.look()

    assert changed.keys > 10
    assert rested.keys == 1  # what was under way at the look before


async def test_what_comes_onto_a_topic_is_looked_at(
    migrated: dict[Source, str],
    fresh_topics: Callable[[], Awaitable[KafkaSettings]],
    world: World,
    findings: Findings,
) -> None:
    del world
    kafka, events = await fresh_topics(), Shop().events
    await publish(kafka, events)
    async with Watch.opened(Sources(migrated, kafka), findings, SETTINGS) as watch:
        await watch.look()
        assert watch.findings.open() == []
        again = next(event for event in events if event.topic is ORDER_EVENTS)
        await publish(kafka, [replace(again, message_id=named("again"))])

        await watch.look()
        await watch.look()

        assert entities(watch, "events.order-events-are-gapless") == {again.correlation_id}


async def test_a_flood_of_changes_makes_more_looks_and_not_larger_ones(
    migrated: dict[Source, str], published: KafkaSettings, world: World, findings: Findings
) -> None:
    few = SETTINGS.model_copy(update={"audit_look_keys": 2})
    async with Watch.opened(Sources(migrated, published), findings, few) as watch:
        await watch.look()
        await watch.look()
        at_rest = await watch.look()
        await world.run(
            Source.PAYMENT,
            "UPDATE payments SET authorized_minor = authorized_minor + 1, updated_at = now()"
            " WHERE captured_minor > 0",
        )
        await touch(world)
        looks = [await watch.look()]
        while looks[-1].due:
            looks.append(await watch.look())

    assert len(looks) > 1
    assert all(one.keys <= 2 * 4 for one in looks)
    # What is asked does not grow with what changed: the rest is what breaks, read once a rule.
    assert max(one.statements for one in looks) < 2 * at_rest.statements + 60
    assert {str(payment_of("paid")), str(payment_of("refunded"))} <= {
        known.entity for known in findings.open()
    }


async def test_what_is_known_outlives_the_program(
    watch: Watch,
    world: World,
    migrated: dict[Source, str],
    published: KafkaSettings,
    tmp_path: Path,
) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET captured_minor = captured_minor - 1, updated_at = now()"
        " WHERE payment_id = $1",
        payment_of("paid"),
    )
    await watch.look()
    before = {known.id: known.first_seen for known in watch.findings.open()}
    again = Findings(tmp_path / "audit.sqlite", resolved_kept=timedelta(days=1))

    async with Watch.opened(Sources(migrated, published), again, SETTINGS) as other:
        looked = await other.look()

    assert before
    assert before.items() <= {known.id: known.first_seen for known in again.open()}.items()
    assert not {known.id for known in looked.news.new} & before.keys()


async def test_what_is_too_much_to_be_looked_at_again_is_told(
    world: World, migrated: dict[Source, str], published: KafkaSettings, findings: Findings
) -> None:
    await world.run(Source.CART, "UPDATE catalog_items SET version = 1")
    await in_outbox(world, Source.CATALOG, sku_key("APPLE"))
    settings = SETTINGS.model_copy(update={"audit_candidates_kept": 1})
    sources, rules = Sources(migrated, published), only(CATALOG_KNOWN)

    async with Watch.opened(sources, findings, settings, rules) as watch:
        looked = await watch.look()

    assert (looked.unjudged, looked.suspected) == (1, 1)
