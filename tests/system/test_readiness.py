"""A service whose Kafka or PostgreSQL is away says so, waits, and goes on by itself."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import httpx
import pytest

from tests.system.town import Town
from trolley.services import SERVICES

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]

NAMES = tuple(service.name for service in SERVICES)
"""The catalog among them, which reads no topic and needs Kafka for its relay alone."""

WAITING: dict[str, dict[str, bool]] = {
    "kafka": {"database": True, "relay": True, "kafka": False},
    "postgres": {"database": False, "relay": False, "kafka": True},
}
"""What a service's checks come to while a server is away."""


async def readiness(town: Town, service: str) -> tuple[int, Any]:
    """Status and body of `/health/ready`."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.get(f"{town.runtime.url(service)}/health/ready")
    return answer.status_code, answer.json()


@pytest.mark.parametrize("server", ["kafka", "postgres"])
async def test_readiness_names_what_is_away_and_comes_back_without_a_restart(
    town: Town, server: Literal["kafka", "postgres"], wait_until: WaitUntil
) -> None:
    runtime = town.runtime
    stop, start = {
        "kafka": (runtime.stop_kafka, runtime.start_kafka),
        "postgres": (runtime.stop_postgres, runtime.start_postgres),
    }[server]
    article = await town.offer(1)
    pids = {service: runtime.pid(service) for service in NAMES}
    away = (503, {"status": "waiting", "checks": WAITING[server]})

    await stop()
    try:
        for service in NAMES:

            async def says_so(service: str = service) -> bool:
                return await readiness(town, service) == away

            await wait_until(says_so, what=f"{service} names {server}")
    finally:
        await start()
    await runtime.wait_ready()

    ready = (200, {"status": "ready", "checks": dict.fromkeys(WAITING[server], True)})
    for service in NAMES:

        async def is_back(service: str = service) -> bool:
            return await readiness(town, service) == ready

        await wait_until(is_back, what=f"{service} is ready again")
    assert {service: runtime.pid(service) for service in NAMES} == pids
    shopper, checkout = await town.check_out(article)
    assert (await shopper.follow(checkout))["state"] == "paid"
