"""The rules of stock are held by constraints as well, whatever the code does."""

import asyncpg
import pytest

from contracts.ids import new_id
from inventory_service.tables import Table
from tests.inventory_service.stockroom import Stockroom, reserve
from tests.migrations import differences

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stock_levels SET reserved = on_hand + 1",
        "UPDATE stock_levels SET reserved = -1",
        "UPDATE movements SET quantity = 5",
        "DELETE FROM movements",
        "TRUNCATE movements",
        "UPDATE reservations SET next_question_at = NULL",
        "UPDATE reservations SET status = 'released'",
        "UPDATE reservations SET status = 'lost', next_question_at = NULL",
        "UPDATE reservation_lines SET quantity = 0",
        "INSERT INTO movements SELECT shop_id, sku, event_seq + 1, warehouse, kind, quantity,"
        " on_hand, operation_id, round, line, reason, moved_at FROM movements",
        "INSERT INTO movements SELECT shop_id, sku, event_seq, warehouse, kind, quantity,"
        " on_hand, gen_random_uuid(), round, line, reason, moved_at FROM movements",
        "INSERT INTO movements SELECT shop_id, sku, event_seq + 1, warehouse, 'sale', quantity,"
        " on_hand, gen_random_uuid(), round, line, reason, moved_at FROM movements",
        "INSERT INTO reservations SELECT * FROM reservations",
        "INSERT INTO stock_levels VALUES ('main', 'TEAPOT', 'nowhere', 0, 0)",
    ],
)
async def test_the_database_itself_refuses_what_cannot_be(
    stockroom: Stockroom, statement: str
) -> None:
    await stockroom.receive({"TEAPOT": 3})
    await stockroom.send(reserve(new_id(), {"TEAPOT": 2}))
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await stockroom.query(statement)
    assert await stockroom.level("TEAPOT") == (3, 2)


async def test_the_migrated_database_is_what_the_tables_declare(stockroom: Stockroom) -> None:
    assert await differences(stockroom.database_url, Table.metadata) == []
