"""The worker on real PostgreSQL: it dies, hangs and doubles, and money moves once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from contracts.ids import derived_id, new_id
from contracts.messages.payment import PaymentUnknown, ProviderReported
from tests.payment_service.cashdesk import CashDesk, settled, soon
from tests.payment_service.story import capture, close, refund

pytestmark = pytest.mark.integration

WaitUntil = Callable[..., Awaitable[None]]


async def reported(desk: CashDesk) -> bool:
    """Whether everything wanted of the provider is answered, and not yet decided upon."""
    return set(await desk.statuses()) == {"reported"}


async def test_a_charge_goes_through(desk: CashDesk, wait_until: WaitUntil) -> None:
    checkout = new_id()
    desk.worker().start()

    await desk.tell(soon(checkout))
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the charge")

    assert await desk.replies() == [("PaymentSucceeded", "charge", 1)]
    assert await desk.calls() == {"charge": 1}
    assert await desk.events(derived_id(checkout, "payment")) == [1]
    assert await desk.differences() == []


async def test_a_commit_wakes_the_worker_at_once(desk: CashDesk, wait_until: WaitUntil) -> None:
    """The poll is far off: only the wake-up can have done it."""
    desk.worker(worker_poll_seconds=3600).start()
    await desk.tell(soon(new_id()))
    await wait_until(lambda: reported(desk), what="the first charge")
    await desk.tell(soon(new_id()))
    await wait_until(lambda: reported(desk), what="the second charge")


async def test_killed_between_effect_and_record_it_asks_and_records_once(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    first = desk.worker()
    first.gate.after.clear()
    first.start()
    await desk.tell(soon(new_id()))

    async def took_effect() -> bool:
        return await desk.captured_at_bank() == 1000

    await wait_until(took_effect, what="the effect")
    assert await desk.statuses() == ["leased"]
    await first.kill()
    assert await desk.statuses() == ["leased"]

    desk.worker().start()  # the same instance: it takes its leases back at once
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the answer")

    assert await desk.calls() == {"charge": 1, "ask": 1}
    assert await desk.replies() == [("PaymentSucceeded", "charge", 1)]
    assert len(await desk.sent(ProviderReported)) == 1
    assert await desk.differences() == []


async def test_killed_before_the_effect_it_asks_and_calls_under_the_same_key(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    first = desk.worker()
    first.gate.before.clear()
    first.start()
    await desk.tell(soon(new_id()))

    async def leased() -> bool:
        return await desk.statuses() == ["leased"]

    await wait_until(leased, what="the lease")
    await first.kill()

    desk.worker().start()
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the charge")

    assert await desk.calls() == {"ask": 1, "charge": 1}
    assert await desk.replies() == [("PaymentSucceeded", "charge", 1)]
    assert await desk.differences() == []


async def test_many_killed_at_once_are_each_recorded_once(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    first = desk.worker()
    first.gate.after.clear()
    first.start()
    await desk.tell(*(soon(new_id()) for _ in range(60)))

    async def all_took_effect() -> bool:
        return await desk.captured_at_bank() == 60_000

    await wait_until(all_took_effect, what="60 effects")
    await first.kill()
    desk.worker().start()
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="60 answers")

    assert await desk.calls() == {"charge": 60, "ask": 60}
    assert sorted(await desk.replies()) == [("PaymentSucceeded", "charge", 1)] * 60
    assert await desk.differences() == []


async def test_an_ended_lease_is_taken_over_and_its_holder_fenced(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    slow = desk.worker(slot=0)
    slow.gate.after.clear()
    slow.start()
    await desk.tell(soon(new_id()))

    async def took_effect() -> bool:
        return await desk.captured_at_bank() == 1000

    await wait_until(took_effect, what="the effect")
    desk.worker(slot=1).start()
    await desk.leases_run_out()
    await wait_until(lambda: reported(desk), what="the answer to the other's question")

    slow.gate.open()
    await slow.drain()  # it has tried to record what it knows

    assert len(await desk.sent(ProviderReported)) == 1
    await desk.pump()
    assert await desk.calls() == {"charge": 1, "ask": 1}
    assert await desk.replies() == [("PaymentSucceeded", "charge", 1)]
    assert await desk.differences() == []


async def test_a_lease_that_runs_is_left_alone(desk: CashDesk, wait_until: WaitUntil) -> None:
    slow = desk.worker(slot=0, calls_in_flight=1)
    slow.gate.before.clear()
    slow.start()
    await desk.tell(soon(new_id()))

    async def leased() -> bool:
        return await desk.statuses() == ["leased"]

    await wait_until(leased, what="the lease")
    desk.worker(slot=1).start()
    await desk.tell(soon(new_id()))

    async def other_is_done() -> bool:
        return sorted(await desk.statuses()) == ["leased", "reported"]

    await wait_until(other_is_done, what="the other's charge")
    assert await desk.calls() == {"charge": 1}


async def test_two_workers_share_the_work_and_make_each_call_once(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    for slot in (0, 1):
        desk.worker(slot=slot, calls_in_flight=7).start()
    checkouts = [new_id() for _ in range(100)]

    async with desk.pumping():
        for part in range(0, 100, 10):
            await desk.tell(*(soon(checkout) for checkout in checkouts[part : part + 10]))
        await wait_until(lambda: settled(desk), what="100 charges")

    assert await desk.calls() == {"charge": 100}
    assert sorted(await desk.replies()) == [("PaymentSucceeded", "charge", 1)] * 100
    assert await desk.differences() == []


async def test_calls_in_flight_are_bounded(desk: CashDesk, wait_until: WaitUntil) -> None:
    worker = desk.worker(calls_in_flight=3)
    worker.gate.before.clear()
    worker.start()
    await desk.tell(*(soon(new_id()) for _ in range(10)))

    async def three() -> bool:
        return sorted(await desk.statuses()) == ["due"] * 7 + ["leased"] * 3

    await wait_until(three, what="three leases")
    worker.gate.open()
    await wait_until(lambda: reported(desk), what="all ten")


async def test_a_provider_that_hangs_does_not_stop_another(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    desk.offer("other", desk.provider)
    worker = desk.worker(calls_in_flight=3)
    worker.gates["other"].before.clear()
    worker.start()
    await desk.tell(*(soon(new_id(), provider="other") for _ in range(10)))

    async def full() -> bool:
        return (await desk.statuses()).count("leased") == 3

    await wait_until(full, what="all that the provider may have")
    await desk.tell(*(soon(new_id()) for _ in range(10)))

    async def others_are_done() -> bool:
        return (await desk.statuses()).count("reported") == 10

    await wait_until(others_are_done, what="the other provider's charges")
    assert (await desk.statuses()).count("leased") == 3


async def test_what_a_provider_is_to_do_that_is_not_offered_any_more_waits(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    desk.offer("other", desk.provider)
    await desk.tell(soon(new_id(), provider="other"), soon(new_id()))
    del desk.providers["other"]
    desk.worker().start()

    async def one_is_done() -> bool:
        return "reported" in await desk.statuses()

    await wait_until(one_is_done, what="the charge of the provider that is there")
    assert sorted(await desk.statuses()) == ["due", "reported"]


async def test_a_call_without_an_answer_is_unknown_then_asked_about(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    desk.worker(call_timeout_seconds=2).start()

    await desk.tell(soon(new_id(), method="pm_slow_after_effect_60000"))
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the answer")

    assert await desk.replies() == [
        ("PaymentUnknown", "charge", 1),
        ("PaymentSucceeded", "charge", 1),
    ]
    assert await desk.calls() == {"charge": 1, "ask": 1}
    assert await desk.differences() == []


@pytest.mark.parametrize(
    ("method", "replies", "calls"),
    [
        ("pm_timeout_after_effect", ["PaymentUnknown", "PaymentSucceeded"], (1, 1)),
        ("pm_timeout_before_effect", ["PaymentUnknown", "PaymentSucceeded"], (2, 1)),
        ("pm_timeout_before_effect_2", ["PaymentUnknown", "PaymentSucceeded"], (3, 2)),
        ("pm_timeout_after_effect+ask_timeout_3", ["PaymentUnknown", "PaymentSucceeded"], (1, 4)),
        (
            "pm_declined_stolen_card+timeout_after_effect",
            ["PaymentUnknown", "PaymentDeclined"],
            (1, 1),
        ),
    ],
)
async def test_an_unknown_outcome_is_asked_until_known(
    desk: CashDesk,
    wait_until: WaitUntil,
    method: str,
    replies: list[str],
    calls: tuple[int, int],
) -> None:
    desk.worker().start()

    await desk.tell(soon(new_id(), method=method))
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the outcome")

    assert [name for name, _, _ in await desk.replies()] == replies
    assert await desk.calls() == {"charge": calls[0], "ask": calls[1]}
    assert await desk.differences() == []


async def test_a_provider_that_raises_leaves_the_outcome_unknown(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    payment_id = derived_id(checkout, "payment")
    charge = soon(checkout)
    await desk.tell(charge)
    await desk.query(  # another amount under its key, as only a mistake of ours could send
        "UPDATE attempts SET amount_minor = 999 WHERE payment_id = $1", payment_id
    )
    first = desk.worker()
    first.gate.after.clear()
    first.start()

    async def took_effect() -> bool:
        return await desk.captured_at_bank() == 999

    await wait_until(took_effect, what="the effect")
    await first.kill()
    await desk.query("UPDATE attempts SET amount_minor = 1000")
    await desk.query(
        "UPDATE operations SET status = 'due', next_call = 'make',"
        " claimable_at = now(), lease_token = NULL, lease_instance = NULL"
    )
    desk.worker().start()
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the outcome")

    assert [name for name, _, _ in await desk.replies()] == ["PaymentUnknown", "PaymentSucceeded"]
    assert (await desk.payment(payment_id)).amounts.captured_minor == 999


async def test_drained_it_finishes_what_it_can_and_gives_the_rest_up(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    worker = desk.worker(worker_drain_seconds=8).start()
    await desk.tell(
        soon(new_id(), method="pm_slow_50"), soon(new_id(), method="pm_slow_after_effect_60000")
    )

    async def both_leased() -> bool:
        return await desk.statuses() == ["leased"] * 2

    await wait_until(both_leased, what="both leases")
    await worker.drain()

    rows = await desk.query("SELECT status, next_call FROM operations ORDER BY status")
    assert [tuple(row) for row in rows] == [("due", "ask"), ("reported", "ask")]

    desk.worker(slot=1).start()  # any other instance takes it at once
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the answers")
    assert await desk.calls() == {"charge": 2, "ask": 1}
    assert await desk.differences() == []


async def test_a_report_that_was_lost_is_sent_again(desk: CashDesk, wait_until: WaitUntil) -> None:
    desk.worker().start()
    await desk.tell(soon(new_id()))
    await wait_until(lambda: reported(desk), what="the report")
    lost = (await desk.sent(ProviderReported))[0]
    await desk.query("DELETE FROM outbox")
    assert await desk.resend_reports() == 0
    await desk.query(
        "UPDATE operations SET claimable_at = now(), reported_at = now() - interval '1 minute'"
    )

    assert await desk.resend_reports() == 1
    assert await desk.resend_reports() == 0
    ((wait,),) = await desk.query("SELECT extract(epoch FROM claimable_at - now()) FROM operations")
    assert 50 < wait < 70  # twice as long as it has waited by now
    (again,) = await desk.sent(ProviderReported)
    assert again.model_copy(update={"reported_at": lost.reported_at}) == lost

    await desk.pump()
    await desk.tell(lost)  # the lost one arrives after all
    assert await desk.replies() == [("PaymentSucceeded", "charge", 1)]
    assert await desk.differences() == []


async def test_an_unknown_outcome_is_told_under_its_own_question(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    desk.worker().start()
    async with desk.pumping():
        await desk.tell(
            soon(
                checkout,
                method="pm_authorize+capture_timeout_after_effect+refund_timeout_after_effect",
                flow="authorize",
            )
        )

        async def authorized() -> bool:
            return ("PaymentAuthorized", "charge", 1) in await desk.replies()

        await wait_until(authorized, what="the authorization")
        await desk.tell(capture(checkout=checkout))

        async def captured() -> bool:
            return ("PaymentSucceeded", "capture", 1) in await desk.replies()

        await wait_until(captured, what="the capture")
        await desk.tell(refund(checkout=checkout))

        async def refunded() -> bool:
            return ("Refunded", "refund", 1) in await desk.replies()

        await wait_until(refunded, what="the refund")

    assert await desk.replies() == [
        ("PaymentAuthorized", "charge", 1),
        ("PaymentUnknown", "capture", 1),
        ("PaymentSucceeded", "capture", 1),
        ("RefundPending", "refund", 1),
        ("Refunded", "refund", 1),
    ]
    assert len(await desk.sent(PaymentUnknown)) == 1
    assert await desk.calls() == {"charge": 1, "capture": 1, "refund": 1, "ask": 2}
    assert await desk.differences() == []


async def test_a_close_of_unknown_outcome_is_asked_until_known(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    desk.worker().start()
    async with desk.pumping():
        await desk.tell(soon(checkout, method="pm_action_required+close_timeout_before_effect"))

        async def waits_for_the_shopper() -> bool:
            return ("PaymentActionRequired", "charge", 1) in await desk.replies()

        await wait_until(waits_for_the_shopper, what="the action")
        await desk.tell(close(checkout=checkout))
        await wait_until(lambda: settled(desk), what="the close")

    replies = [reply for reply in await desk.replies() if reply[1] == "close_payment"]
    assert replies == [
        ("PaymentUnknown", "close_payment", 1),
        ("PaymentClosed", "close_payment", 1),
    ]
    assert (await desk.calls())["close"] == 2
    assert await desk.captured_at_bank() == 0


async def test_the_worker_outlives_a_database_that_is_away_for_a_while(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    worker = desk.worker()
    worker.gate.after.clear()
    worker.start()
    await desk.tell(soon(new_id()))

    async def took_effect() -> bool:
        return await desk.captured_at_bank() == 1000

    await wait_until(took_effect, what="the effect")
    await desk.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    worker.gate.open()
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the answer")

    assert await desk.calls() == {"charge": 1}
    assert await desk.replies() == [("PaymentSucceeded", "charge", 1)]


async def test_many_are_claimed_and_recorded_by_few_statements(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    worker = desk.worker(calls_in_flight=500)
    worker.gate.after.clear()
    await desk.tell(*(soon(new_id()) for _ in range(300)))
    desk.statements.clear()
    worker.start()

    async def all_took_effect() -> bool:
        return await desk.captured_at_bank() == 300_000

    await wait_until(all_took_effect, what="the effects")
    claims = sum("UPDATE operations" in statement for statement in desk.statements)
    worker.gate.open()
    await wait_until(lambda: reported(desk), what="the reports")
    records = sum("UPDATE operations" in statement for statement in desk.statements) - claims

    polls = 100  # claims of nothing, while the test looks on
    assert claims < polls
    assert records < polls


async def test_a_hundred_waits_are_one_event_loop(desk: CashDesk, wait_until: WaitUntil) -> None:
    """Slow calls do not hold up quick ones."""
    desk.worker(calls_in_flight=128).start()
    await desk.tell(*(soon(new_id(), method="pm_slow_60000") for _ in range(100)))
    await desk.tell(soon(new_id()))

    async def quick_one_is_done() -> bool:
        return await desk.captured_at_bank() == 1000

    await wait_until(quick_one_is_done, what="the quick charge")
    assert (await desk.statuses()).count("leased") >= 100


def test_a_lease_outlasts_its_call() -> None:
    with pytest.raises(ValueError, match="lease_seconds"):
        CashDesk(
            "postgresql://nobody@localhost/none",
            "postgresql://nobody@localhost/none",
            call_timeout_seconds=30,
            lease_seconds=30,
        )


async def test_nothing_is_left_running(desk: CashDesk, wait_until: WaitUntil) -> None:
    worker = desk.worker().start()
    await desk.tell(soon(new_id(), method="pm_slow_60000"))

    async def leased() -> bool:
        return await desk.statuses() == ["leased"]

    await wait_until(leased, what="the lease")
    await worker.kill()

    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("call ")]
