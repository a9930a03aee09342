"""Commands on a real database: batches, repeats, races."""

import pytest

from contracts.ids import new_id
from contracts.messages.inventory import StockReserved
from tests.inventory_service.stockroom import Stockroom, commit, release, reserve

pytestmark = pytest.mark.integration


async def test_a_checkout_from_reservation_to_sale(stockroom: Stockroom) -> None:
    checkout = new_id()
    await stockroom.receive(TEAPOT=3, CUP=6)
    await stockroom.send(reserve(checkout, TEAPOT=1, CUP=6))
    assert await stockroom.levels() == {("TEAPOT", "main"): (3, 1), ("CUP", "main"): (6, 6)}
    assert len(await stockroom.sent(StockReserved)) == 1
    await stockroom.send(commit(checkout, TEAPOT=1, CUP=6))
    assert await stockroom.levels() == {("TEAPOT", "main"): (2, 0), ("CUP", "main"): (0, 0)}
    await stockroom.send(release(checkout))
    assert await stockroom.levels() == {("TEAPOT", "main"): (3, 0), ("CUP", "main"): (6, 0)}
    assert not any((await stockroom.violations()).values())
