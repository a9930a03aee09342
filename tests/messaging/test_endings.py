"""How the parts of a service end: never without a word."""

import asyncio

import pytest
from pydantic import SecretStr

from messaging.relay.producers import left
from messaging.service import Service
from messaging.settings import ServiceSettings


async def cancelled_by_a_library() -> None:
    """As aiokafka's `stop` does at times: one of its own tasks was cancelled."""
    raise asyncio.CancelledError


async def test_a_cancellation_that_nobody_asked_for_ends_the_process() -> None:
    settings = ServiceSettings(TROLLEY_SIGNING_KEY=SecretStr("k" * 32))
    service = Service("inventory", settings, title="Inventory")
    failed: list[BaseException] = []
    service.fail = failed.append  # type: ignore[method-assign,assignment]  # to see it called

    await service._guarded(cancelled_by_a_library())

    assert [type(error) for error in failed] == [asyncio.CancelledError]


async def test_saying_goodbye_is_not_ended_by_the_library() -> None:
    assert not await left(cancelled_by_a_library())


async def test_saying_goodbye_can_be_cancelled() -> None:
    goodbye = asyncio.create_task(left(asyncio.sleep(60)))
    await asyncio.sleep(0)
    goodbye.cancel()
    with pytest.raises(asyncio.CancelledError):
        await goodbye
