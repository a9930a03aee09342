"""The example service on fresh topics and a fresh database."""

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count

import pytest

from messaging.points import Listener, listen
from messaging.settings import KafkaSettings
from tests.conftest import Infrastructure
from tests.messaging.bench import Bench
from tests.messaging.example import Example, create_tables, create_topics

_numbers = count(1)


@pytest.fixture
async def example(infrastructure: Infrastructure) -> AsyncIterator[Example]:
    """An example service of this test's own; nothing runs yet."""
    number = next(_numbers)
    kafka = KafkaSettings(
        bootstrap_servers=infrastructure.kafka, topic_prefix=f"{infrastructure.prefix}m{number}."
    )
    async with infrastructure.database(f"m{number}") as url:
        await create_tables(url)
        await create_topics(kafka)
        yield Example(kafka, url)


@pytest.fixture
async def bench(example: Example) -> AsyncIterator[Bench]:
    """The example service of this test, taken apart."""
    bench = Bench(example)
    yield bench
    await bench.close()


@pytest.fixture
def at_points() -> Iterator[Callable[[Listener], None]]:
    """Has a listener of this test called at every point, until the test ends."""
    yield listen
    listen(None)
