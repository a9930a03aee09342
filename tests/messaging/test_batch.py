"""How a batch that the database rejects is settled: what is blamed, and what only was a race."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import pytest

from contracts.ids import new_id
from contracts.messages.base import LARGEST_COUNT
from contracts.messages.inventory import ReserveStock
from contracts.messages.order import StepBlocked
from contracts.topics import INVENTORY_COMMANDS
from messaging.batch import BatchProcessor
from messaging.database import Connection, Database, sql
from messaging.delivery import Delivery, Subscription, deliver
from messaging.fold import Row
from messaging.points import Listener, Point
from messaging.records import Record
from messaging.settings import ConsumerSettings
from tests.messaging.example import (
    REJECTED_BY_DATABASE,
    CountingHandler,
    Example,
    addressed,
    reserve,
)

pytestmark = pytest.mark.integration

UNLOCKABLE = "unlockable"


class RacingHandler(CountingHandler):
    """Loses races: another's row is there before its own, at each of the first `losses` attempts.

    The database rejects it for that, and another race is about another row.
    """

    def __init__(self, losses: int) -> None:
        super().__init__()
        self._losses = losses

    async def save(self, connection: Connection, changed: Sequence[Row]) -> None:
        await super().save(connection, changed)
        if self._losses > 0:
            self._losses -= 1
            twice = sql("INSERT INTO counts (checkout_id) VALUES (:id), (:id)")
            await connection.execute(twice, {"id": new_id()})


@pytest.fixture
async def database(example: Example) -> AsyncIterator[Database]:
    """The example's database."""
    database = Database(example.database_url, pool_connections=2, application_name="test")
    yield database
    await database.close()


def delivery(message: ReserveStock, offset: int) -> Delivery:
    sent = addressed(message)
    assert sent.envelope is not None
    headers = tuple(sent.envelope.headers())
    record = Record(INVENTORY_COMMANDS.name, 0, offset, sent.key, sent.payload, headers)
    return deliver(record, INVENTORY_COMMANDS)


def processor_of(database: Database, handler: CountingHandler) -> BatchProcessor:
    subscription = Subscription(INVENTORY_COMMANDS, handler)
    return BatchProcessor("inventory", subscription, database, ConsumerSettings(retry_first_ms=1))


async def settle(database: Database, handler: CountingHandler, *messages: ReserveStock) -> None:
    await settle_with(processor_of(database, handler), *messages)


async def settle_with(processor: BatchProcessor, *messages: ReserveStock) -> None:
    deliveries = [delivery(message, offset) for offset, message in enumerate(messages)]
    assert await processor.settle(deliveries, asyncio.Event())


class LockingHandler(CountingHandler):
    """Does not even come to lock what some messages are about."""

    async def lock(self, connection: Connection, messages: Sequence[ReserveStock]) -> None:
        if any(message.lines[0].sku == UNLOCKABLE for message in messages):
            raise LookupError(UNLOCKABLE)
        await super().lock(connection, messages)


@pytest.mark.parametrize(("messages", "losses"), [(1, 1), (3, 1), (3, 2), (3, 3), (3, 4)])
async def test_a_race_that_is_lost_is_nobodys_fault_when_it_is_won_later(
    example: Example, database: Database, messages: int, losses: int
) -> None:
    checkouts = [new_id() for _ in range(messages)]
    await settle(database, RacingHandler(losses), *(reserve(c) for c in checkouts))
    assert await example.counts() == {c: (1, [1]) for c in checkouts}
    assert await example.query("SELECT 1 FROM dead_letters") == []


async def test_a_storm_of_poison_is_found_in_three_transactions_and_keeps_the_order_of_keys(
    example: Example, database: Database
) -> None:
    good, bad = [new_id() for _ in range(30)], [new_id() for _ in range(10)]
    messages = [reserve(c) for c in good]
    for place, checkout in enumerate(bad):
        messages.insert(place * 4, reserve(checkout, 1, sku="rejected"))
    # One key each where the good message comes first, and where it comes behind.
    messages += [reserve(good[0], 2), reserve(good[0], 3, sku="rejected"), reserve(bad[0], 2)]
    said: list[str] = []
    database.watch(said.append)
    await settle(database, CountingHandler(), *messages)
    claims = [text for text in said if "INSERT INTO inbox" in text]
    assert len(claims) == len(("refused", "searched, and settled without suspects", "suspects"))
    assert await example.counts() == {
        **dict.fromkeys(bad, (0, [])),
        **dict.fromkeys(good, (1, [1])),
        good[0]: (2, [1, 2]),
    }
    letters = await example.query(
        "SELECT key, status, attempts, error_type FROM dead_letters ORDER BY seq"
    )
    dead = [one for one in letters if one["status"] == "dead"]
    assert [one["key"].decode() for one in dead] == [str(c) for c in (*bad, good[0])]
    assert {(one["attempts"], "CheckViolation" in one["error_type"]) for one in dead} == {(2, True)}
    assert [one["key"].decode() for one in letters if one["status"] == "parked"] == [str(bad[0])]


async def test_a_batch_after_a_storm_is_tried_whole_again(
    example: Example, database: Database
) -> None:
    processor = processor_of(database, CountingHandler())
    said: list[str] = []
    database.watch(said.append)
    await settle_with(processor, reserve(new_id(), sku="rejected"), reserve(new_id()))
    for times in (2, 1):  # tried and written, then written
        said.clear()
        await settle_with(processor, reserve(new_id()), reserve(new_id()))
        assert len([text for text in said if "UPDATE counts" in text]) == 2 * times


async def test_what_cannot_be_locked_is_dead_lettered_alone(
    example: Example, database: Database
) -> None:
    good = [new_id() for _ in range(3)]
    messages = [reserve(c) for c in good]
    messages.insert(1, reserve(new_id(), sku=UNLOCKABLE))
    await settle(database, LockingHandler(), *messages)
    assert await example.counts() == dict.fromkeys(good, (1, [1]))
    assert len(await example.query("SELECT 1 FROM dead_letters")) == 1


async def test_what_is_rejected_again_and_again_is_dead_lettered_after_two_attempts(
    example: Example, database: Database
) -> None:
    await settle(database, CountingHandler(), reserve(new_id(), sku=REJECTED_BY_DATABASE))
    (letter,) = await example.query("SELECT attempts, error_type FROM dead_letters")
    assert letter["attempts"] == 2
    assert "CheckViolation" in letter["error_type"]


AT_A_BURIAL = tuple(
    point for point in Point if point.name.startswith(("BURIAL_", "LETTERS_", "OUTBOX_"))
)


class Stumble:
    """Fails once at a point of a burial: what comes by before its claim is another attempt's."""

    def __init__(self, at: Point) -> None:
        self._at = at
        self._buries = False
        self.stumbled = False

    async def __call__(self, point: Point, service: str, under_way: Iterable[str]) -> None:
        self._buries |= point is Point.BURIAL_CLAIMED
        if self._buries and point is self._at and not self.stumbled:
            self.stumbled = True
            raise RuntimeError("nobody thought of this")


@pytest.mark.parametrize("point", AT_A_BURIAL, ids=lambda point: point.name.lower())
async def test_a_burial_that_fails_once_still_tells_the_saga(
    example: Example,
    database: Database,
    at_points: Callable[[Listener], None],
    point: Point,
) -> None:
    stumble = Stumble(point)
    at_points(stumble)
    await settle(database, CountingHandler(), reserve(new_id(), sku=REJECTED_BY_DATABASE))
    assert stumble.stumbled
    (letter,) = await example.query("SELECT attempts FROM dead_letters")
    assert letter["attempts"] == 2
    assert len(await example.query("SELECT 1 FROM parked_keys")) == 1
    blocked = "SELECT 1 FROM outbox WHERE type = $1"
    assert len(await example.query(blocked, StepBlocked.type)) == 1


async def test_a_letter_is_buried_even_when_its_saga_cannot_be_told(
    example: Example, database: Database
) -> None:
    await example.query(
        f"ALTER TABLE outbox ADD CONSTRAINT untold CHECK (type <> '{StepBlocked.type}')"
    )
    async with asyncio.timeout(60):
        await settle(database, CountingHandler(), reserve(new_id(), sku=REJECTED_BY_DATABASE))
    assert len(await example.query("SELECT 1 FROM dead_letters")) == 1


async def test_a_sum_beyond_its_column_is_the_fault_of_the_message_that_makes_it(
    example: Example, database: Database
) -> None:
    good, full = new_id(), new_id()
    async with asyncio.timeout(60):
        await settle(
            database,
            CountingHandler(),
            reserve(full, quantity=LARGEST_COUNT),
            reserve(full, 2),
            reserve(good),
        )
    assert await example.counts() == {full: (LARGEST_COUNT, [1]), good: (1, [1])}
    assert len(await example.query("SELECT 1 FROM dead_letters")) == 1
