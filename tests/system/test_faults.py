"""Two of everything, and everything that can break does: every checkout still ends, once."""

import asyncio
import signal

import pytest

from messaging.settings import ConsumerSettings
from tests.system.town import Town
from trolley.services import SERVICES

pytestmark = pytest.mark.integration
SHOPPERS = 60
LONGER_THAN_A_SESSION_SECONDS = ConsumerSettings().session_timeout_ms / 1000 + 2


async def test_replicas_that_leave_and_come_back_lose_and_double_nothing(town: Town) -> None:
    async def rebalance() -> None:
        for service in SERVICES:
            await town.runtime.stop_service(service.name, 1)
        for service in SERVICES:
            town.runtime.start_service(service.name, 1)

    await town.sell_while(SHOPPERS, rebalance)


async def test_replicas_that_go_for_good_lose_and_double_nothing(town: Town) -> None:
    async def scale_down() -> None:
        for service in SERVICES:
            await town.runtime.retire_service(service.name, 1)

    try:
        await town.sell_while(SHOPPERS, scale_down, replicas=1)
    finally:
        for service in SERVICES:
            town.runtime.start_service(service.name, 1)
        await town.runtime.wait_ready()


async def test_replicas_that_are_killed_lose_and_double_nothing(town: Town) -> None:
    async def kill() -> None:
        for slot in (0, 1):
            for service in SERVICES:
                await town.runtime.kill(service.name, slot)

    await town.sell_while(SHOPPERS, kill)


async def test_a_replica_that_freezes_for_longer_than_its_session_loses_and_doubles_nothing(
    town: Town,
) -> None:
    frozen = ("order", "inventory", "payment")

    async def freeze() -> None:
        for service in frozen:
            town.runtime.signal(service, signal.SIGSTOP, 1)
        try:
            await asyncio.sleep(LONGER_THAN_A_SESSION_SECONDS)
        finally:
            for service in frozen:
                town.runtime.signal(service, signal.SIGCONT, 1)

    await town.sell_while(SHOPPERS, freeze)


async def test_kafka_killed_under_load_loses_and_doubles_nothing(town: Town) -> None:
    await town.sell_while(SHOPPERS, lambda: town.runtime.restart_kafka(kill=True))


async def test_postgresql_killed_under_load_loses_and_doubles_nothing(town: Town) -> None:
    await town.sell_while(SHOPPERS, lambda: town.runtime.restart_postgres(kill=True))


async def test_a_provider_whose_answers_are_lost_charges_nobody_twice(town: Town) -> None:
    async def kill_payment() -> None:
        await town.runtime.kill("payment", 0)
        await town.runtime.kill("payment", 1)

    await town.sell_while(SHOPPERS // 2, kill_payment, method="pm_slow_after_effect_400")
