"""Saying goodbye to a client of Kafka that is not needed any more, or not trusted."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from messaging.relay.lead import CLOSE_SECONDS
from messaging.waiting import is_cancelled


async def left(stopping: Awaitable[None]) -> bool:
    """Wait for a client's end, not for long; whether it came.

    aiokafka's `stop` and `close` may raise the cancellation of one of their own tasks: taken for
    ours it would end whoever says goodbye, without a word.
    """
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await stopping
    except (KafkaError, TimeoutError):
        return False
    except asyncio.CancelledError:
        if is_cancelled():
            raise
        return False
    return True


async def close(producer: AIOKafkaProducer) -> None:
    """Close a producer; what it still holds is in the outbox, so nothing waits for it.

    A producer that has something unsent never stops by itself, and would send it later, behind
    newer rows: it is cut.
    """
    stopped = False
    try:
        stopped = await left(producer.stop())
    finally:
        if not stopped:
            await _cut(producer)


async def _cut(producer: AIOKafkaProducer) -> None:
    with suppress(KafkaError):
        await producer.client.close()
    # Its first cancellation waits for the requests that are under way.
    sending = producer._sender.sender_task
    for _ in range(2):
        sending.cancel()
        await asyncio.wait([sending], timeout=CLOSE_SECONDS / 2)
