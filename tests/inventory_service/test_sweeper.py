"""The backstop: what is due is asked about, and stays held whatever happens."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from contracts.ids import new_id
from contracts.messages.base import Step
from contracts.messages.inventory import ReservationDue
from messaging.clock import utc_now
from tests.inventory_service.stockroom import Stockroom, commit, extend, release, reserve

pytestmark = pytest.mark.integration


async def reserve_until(stockroom: Stockroom, expires_at: datetime, count: int = 1) -> list[UUID]:
    checkouts = [new_id() for _ in range(count)]
    await stockroom.receive({"TEAPOT": count})
    await stockroom.send(
        *(reserve(checkout, {"TEAPOT": 1}, expires_at=expires_at) for checkout in checkouts)
    )
    return checkouts


async def wait_is_over(stockroom: Stockroom) -> None:
    """As if the time until the next question had passed."""
    await stockroom.query(
        "UPDATE reservations SET next_question_at = now() - interval '1 second'"
        " WHERE next_question_at IS NOT NULL"
    )


async def next_wait(stockroom: Stockroom) -> float:
    """Seconds until the next question, to the nearest ten."""
    ((wait,),) = await stockroom.query(
        "SELECT extract(epoch FROM next_question_at - now())::float FROM reservations"
    )
    return float(round(wait, -1))


async def test_a_reservation_at_its_expiry_becomes_a_question_and_stays_held(
    stockroom: Stockroom,
) -> None:
    expired = utc_now() - timedelta(seconds=1)
    (checkout,) = await reserve_until(stockroom, expired)
    assert await stockroom.sweep() == 1
    (question,) = await stockroom.sent(ReservationDue)
    assert (question.checkout_id, question.step, question.round) == (checkout, Step.RESERVE, 1)
    assert question.expires_at == expired
    ((topic, source),) = await stockroom.query(
        "SELECT topic, source FROM outbox WHERE type = $1", ReservationDue.type
    )
    assert (topic, source) == ("order.commands", "/trolley/inventory")
    assert await stockroom.statuses() == {(checkout, 1): "held"}
    assert await stockroom.level("TEAPOT") == (1, 1)


async def test_before_its_expiry_nothing_is_asked(stockroom: Stockroom) -> None:
    await reserve_until(stockroom, utc_now() + timedelta(seconds=30))
    assert await stockroom.sweep() == 0
    assert await stockroom.sent(ReservationDue) == []


async def test_the_question_is_asked_again_ever_more_rarely(stockroom: Stockroom) -> None:
    await reserve_until(stockroom, utc_now() - timedelta(seconds=1))
    waits = []
    for _ in range(7):
        assert await stockroom.sweep() == 1
        assert await stockroom.sweep() == 0
        waits.append(await next_wait(stockroom))
        await wait_is_over(stockroom)
    assert waits == [30, 60, 120, 240, 480, 900, 900]
    assert len(await stockroom.sent(ReservationDue)) == 7


async def test_an_extension_silences_it_until_the_new_expiry(stockroom: Stockroom) -> None:
    (checkout,) = await reserve_until(stockroom, utc_now() - timedelta(seconds=1))
    assert await stockroom.sweep() == 1
    await stockroom.send(extend(checkout, by=timedelta(hours=1)))
    assert await next_wait(stockroom) == 3600
    await wait_is_over(stockroom)
    assert await stockroom.sweep() == 1
    assert await next_wait(stockroom) == 30


@pytest.mark.parametrize("ending", ["commit", "release"])
async def test_what_has_ended_is_not_asked_about(stockroom: Stockroom, ending: str) -> None:
    (checkout,) = await reserve_until(stockroom, utc_now() - timedelta(seconds=1))
    end = commit(checkout, {"TEAPOT": 1}) if ending == "commit" else release(checkout)
    await stockroom.send(end)
    assert await stockroom.sweep() == 0


async def test_sweepers_of_several_replicas_share_the_work(stockroom: Stockroom) -> None:
    checkouts = await reserve_until(stockroom, utc_now() - timedelta(seconds=1), 30)
    swept = await asyncio.gather(*(stockroom.sweep() for _ in range(4)))
    assert sum(swept) == 30
    questions = await stockroom.sent(ReservationDue)
    assert sorted(question.checkout_id for question in questions) == checkouts


async def test_a_sweep_is_bounded_and_the_longest_due_come_first(
    inventory_database: str, stockroom: Stockroom
) -> None:
    now = utc_now()
    later = await reserve_until(stockroom, now - timedelta(seconds=1), 2)
    sooner = await reserve_until(stockroom, now - timedelta(seconds=9), 3)
    small = Stockroom(inventory_database, sweep_rows=3)
    try:
        assert [await small.sweep() for _ in range(3)] == [3, 2, 0]
    finally:
        await small.close()
    asked = [question.checkout_id for question in await stockroom.sent(ReservationDue)]
    assert (set(asked[:3]), set(asked[3:])) == (set(sooner), set(later))


async def test_a_reservation_that_is_just_being_ended_is_left_alone(stockroom: Stockroom) -> None:
    (checkout,) = await reserve_until(stockroom, utc_now() - timedelta(seconds=1))
    async with stockroom.service.database.transaction() as connection:
        await stockroom.lock(connection, release(checkout))
        async with asyncio.timeout(60):
            assert await stockroom.sweep() == 0
    assert await stockroom.sweep() == 1
