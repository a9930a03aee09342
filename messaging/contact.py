"""Whether Kafka can be reached, for a service that has no consumer to ask it with."""

import asyncio

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from messaging.kafka import client_options
from messaging.relay.producers import left
from messaging.settings import KafkaSettings
from messaging.waiting import answers


class KafkaContact:
    """A connection that only asks. It is kept: a slow machine may take long to open one."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._client: AIOKafkaClient | None = None
        self._asking = asyncio.Lock()
        self._goodbyes: set[asyncio.Task[bool]] = set()

    async def reaches_kafka(self) -> bool:
        """Whether the cluster answers now."""
        try:
            await answers(self._ask)
        except (KafkaError, OSError, TimeoutError):
            # Kafka may come back elsewhere, which a client that has begun never looks for.
            self._drop()
            return False
        return True

    async def close(self) -> None:
        """Say goodbye; whoever asks again begins anew."""
        self._drop()
        await asyncio.gather(*self._goodbyes)

    def _drop(self) -> None:
        """Without waiting: who asks whether we are ready has waited long enough."""
        client, self._client = self._client, None
        if client is not None:
            goodbye = asyncio.create_task(left(client.close()))
            self._goodbyes.add(goodbye)
            goodbye.add_done_callback(self._goodbyes.discard)

    async def _ask(self) -> None:
        async with self._asking:
            if self._client is None:
                client = AIOKafkaClient(**client_options(self._settings), client_id=self._client_id)
                await client.bootstrap()  # one that has not come so far holds nothing
                self._client = client
            await self._client.fetch_all_metadata()
