"""The lean rig ends in the state that its figures speak of, or has no figure."""

import asyncpg
import pytest

from bench.progress import WrongState
from bench.rig.run import Rig, running, settled
from bench.servers import OwnServers
from tests.conftest import Infrastructure

pytestmark = pytest.mark.integration


@pytest.fixture
def servers(infrastructure: Infrastructure) -> OwnServers:
    """The pair of this test run, whose processes nobody measures."""
    return OwnServers(infrastructure.kafka, infrastructure.postgres, {})


async def test_every_checkout_of_a_backlog_is_paid_once(servers: OwnServers) -> None:
    async with running(servers, batch_records=50) as rig:
        await rig.place(200)
        await rig.finish("rig")
        await rig.follow_one()
        await settled(rig)


@pytest.mark.parametrize(
    ("name", "amiss"),
    [
        ("order", "UPDATE orders SET state = 'charging'"),
        ("inventory", "UPDATE levels SET reserved = reserved + 1 WHERE sku = 'SKU-1'"),
        ("payment", "UPDATE payments SET amount_minor = amount_minor + 1"),
    ],
)
async def test_a_wrong_state_has_no_figure(servers: OwnServers, name: str, amiss: str) -> None:
    async with running(servers) as rig:
        await rig.place(3)
        await rig.finish("rig")
        await settled(rig)
        await _run(rig, name, amiss)
        with pytest.raises(WrongState):
            await rig.check()


async def _run(rig: Rig, name: str, statement: str) -> None:
    connection = await asyncpg.connect(rig.urls[name])  # type: ignore[index]  # a parameter's name
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
