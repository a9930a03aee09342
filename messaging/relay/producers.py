"""Saying goodbye to a producer that is not needed any more, or not trusted."""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from messaging.relay.lead import CLOSE_SECONDS


async def close(producer: AIOKafkaProducer) -> None:
    """Close a producer; what it still holds is in the outbox, so nothing waits for it."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await producer.stop()
    except (KafkaError, TimeoutError):
        pass
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # else it was one of the producer's own tasks that was cancelled
