"""Deadlines on the row become messages: once by every sweep, by one replica, until they act."""

import asyncio
from datetime import timedelta

import pytest

from contracts.messages.base import Step
from contracts.messages.inventory import ReserveStock
from contracts.messages.order import DeadlinePassed, PaymentWindowClosed
from contracts.messages.payment import ClosePayment
from messaging.clock import utc_now
from order_service.checkout import State
from order_service.exploration import start
from order_service.store.placeholders import UNSEEN
from order_service.sweeper import BLOCKED, CHECKOUTS, LATE, count_states
from tests.order_service.office import Office, of, some_checkouts, start_of
from tests.order_service.story import (
    blocked,
    cart_closed,
    closed,
    committed,
    declined,
    released,
    reserved,
    restored,
    succeeded,
)

pytestmark = pytest.mark.integration


async def test_before_its_deadline_nothing_is_noted(office: Office) -> None:
    await office.tell(start())
    assert await office.sweep() == 0
    assert await office.sent(DeadlinePassed) == []


async def test_a_passed_deadline_is_noted_with_step_round_and_time(office: Office) -> None:
    await office.tell(start())
    await office.time_passes()
    due_at = (await office.checkout()).deadline_at
    assert await office.sweep() == 1
    (noted,) = await office.sent(DeadlinePassed)
    assert (noted.step, noted.round, noted.due_at) == (Step.RESERVE, 1, due_at)


async def test_it_is_not_noted_again_before_the_repeat_interval(office: Office) -> None:
    await office.tell(start())
    await office.time_passes()
    assert [await office.sweep(), await office.sweep()] == [1, 0]
    ((again,),) = await office.query("SELECT deadline_at FROM checkouts")
    repeat = timedelta(seconds=office.settings.deadline_repeat_seconds)
    assert utc_now() < again <= utc_now() + repeat


async def test_a_noted_deadline_that_nobody_heard_is_noted_again(office: Office) -> None:
    await office.tell(start())
    await office.time_passes()
    await office.sweep()
    await office.query("UPDATE checkouts SET deadline_at = now() - interval '1 s'")
    assert await office.sweep() == 1
    assert len(await office.sent(DeadlinePassed)) == 2


async def test_the_step_is_asked_again_and_a_second_note_is_stale(office: Office) -> None:
    await office.tell(start())
    await office.time_passes()
    await office.sweep()
    await office.query("UPDATE checkouts SET deadline_at = now() - interval '1 s'")
    await office.sweep()
    await office.hear_itself()
    assert len(await office.sent(ReserveStock)) == 2
    assert [entry[1] for entry in await office.history()] == ["moved", "moved", "stale"]
    assert await office.value("SELECT late FROM checkouts")


async def test_the_window_closes_and_everything_comes_back(office: Office) -> None:
    await office.tell(start(), reserved(), cart_closed(), declined())
    await office.time_passes()
    await office.sweep()
    assert len(await office.sent(PaymentWindowClosed)) == 1
    await office.hear_itself()
    assert len(await office.sent(ClosePayment)) == 1
    await office.tell(closed(), released(), restored())
    assert await office.value("SELECT state FROM checkouts WHERE final") == "cancelled"
    assert await office.sweep() == 0


async def test_a_blocked_checkout_is_left_alone(office: Office) -> None:
    await office.tell(start(), blocked(Step.RESERVE))
    await office.time_passes()
    assert await office.sweep() == 0


async def test_replicas_share_what_is_due(office: Office, order_database: str) -> None:
    other = Office(order_database)
    many = some_checkouts(30)
    await office.send(*(start_of(one) for one in many))
    await office.time_passes()
    noted = await asyncio.gather(*(each.sweep() for each in (office, other) * 3))
    await other.close()
    assert sum(noted) == 30
    assert len(await office.sent(DeadlinePassed)) == 30


async def test_a_sweep_is_bounded(office: Office, order_database: str) -> None:
    small = Office(order_database, sweep_rows=4)
    many = some_checkouts(10)
    await office.send(*(start_of(one) for one in many))
    await office.time_passes()
    assert [await small.sweep() for _ in range(4)] == [4, 4, 2, 0]
    await small.close()


async def test_a_sweep_waits_for_nobody(office: Office) -> None:
    one, two = some_checkouts(2)
    await office.send(start_of(one), start_of(two))
    await office.time_passes()
    async with office.service.database.transaction() as connection:
        await office.lock(connection, one)
        assert await office.sweep() == 1
    (noted,) = await office.sent(DeadlinePassed)
    assert noted.checkout_id == two


async def test_silence_ends_in_a_given_up_checkout(office: Office) -> None:
    """Inventory never answers: the budget is used up by deadlines alone."""
    await office.tell(start())
    for _ in range(office.settings.reserve_sends):
        await office.time_passes()
        assert await office.sweep() == 1
        await office.hear_itself()
    assert (await office.checkout()).state is State.RELEASING
    assert len(await office.sent(ReserveStock)) == office.settings.reserve_sends


async def test_silence_about_money_ends_in_attention(office: Office) -> None:
    await office.tell(start(), reserved(), cart_closed(), succeeded())
    for _ in range(office.settings.commit_sends):
        await office.time_passes()
        assert await office.sweep() == 1
        await office.hear_itself()
    assert (await office.checkout()).state is State.NEEDS_ATTENTION
    await office.time_passes()
    assert await office.sweep() == 0
    await office.tell(committed())
    assert (await office.checkout()).state is State.PAID


async def test_unfinished_checkouts_are_counted_by_state(office: Office) -> None:
    one, two, three, four = some_checkouts(4)
    await office.send(start_of(one), start_of(two), start_of(three))
    await office.send(of(one, reserved()))
    await office.send(of(three, blocked(Step.RESERVE)))
    await office.send(start_of(four).model_copy(update={"total_minor": 1}))
    await office.tell(
        DeadlinePassed(
            checkout_id=two,
            step=Step.RESERVE,
            due_at=(await office.checkout(two)).waits[0].due_at,
        )
    )
    await count_states(office.service.database)
    counts = {state: CHECKOUTS.labels(state)._value.get() for state in (UNSEEN, *State)}
    assert {state: many for state, many in counts.items() if many} == {
        State.RESERVING: 2,
        State.PAYING: 1,
        UNSEEN: 1,
    }
    assert (LATE._value.get(), BLOCKED._value.get()) == (1, 1)
