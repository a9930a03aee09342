"""Saying goodbye to a producer that is not needed any more, or not trusted."""

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from messaging.relay.lead import CLOSE_SECONDS


async def close(producer: AIOKafkaProducer) -> None:
    """Close a producer; what it still holds is in the outbox, so nothing waits for it.

    A producer that has something unsent never stops by itself, and would send it later, behind
    newer rows: it is cut.
    """
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await producer.stop()
    except (KafkaError, TimeoutError):
        await _cut(producer)
    except asyncio.CancelledError:
        await _cut(producer)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # else it was one of the producer's own tasks that was cancelled


async def _cut(producer: AIOKafkaProducer) -> None:
    with suppress(KafkaError):
        await producer.client.close()
    # Its first cancellation waits for the requests that are under way.
    sending = producer._sender.sender_task
    for _ in range(2):
        sending.cancel()
        await asyncio.wait([sending], timeout=CLOSE_SECONDS / 2)
