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


async def settle(database: Database, handler: CountingHandler, *messages: ReserveStock) -> None:
    subscription = Subscription(INVENTORY_COMMANDS, handler)
    settings = ConsumerSettings(retry_first_ms=1)
    processor = BatchProcessor("inventory", subscription, database, settings)
    deliveries = [delivery(message, offset) for offset, message in enumerate(messages)]
    assert await processor.settle(deliveries, asyncio.Event())


@pytest.mark.parametrize("messages", [1, 3])
async def test_a_race_that_is_lost_once_is_nobodys_fault(
    example: Example, database: Database, messages: int
) -> None:
    checkouts = [new_id() for _ in range(messages)]
    await settle(database, RacingHandler(losses=1), *(reserve(c) for c in checkouts))
    assert await example.counts() == {c: (1, [1]) for c in checkouts}
    assert await example.query("SELECT 1 FROM dead_letters") == []


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
