"""A provider that is away, or too busy: who waits for it, who is told, and what is never done."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from contracts.ids import derived_id, new_id
from contracts.messages.payment import PaymentDeclined, PaymentUnknown
from messaging.clock import utc_now
from payment_service.domain.declines import PROVIDER_UNAVAILABLE, declined
from payment_service.store import operations as store
from stripe_sandbox.app import Running, running
from stripe_sandbox.database import Object
from stripe_sandbox.faults import RequestFault, Rule
from stripe_sandbox.settings import SandboxSettings
from tests.payment_service.cashdesk import CashDesk, settled, soon
from tests.payment_service.story import capture, close, refund

pytestmark = pytest.mark.integration

WaitUntil = Callable[..., Awaitable[None]]
CREATE = "POST /v1/payment_intents"
CONFIRM = "POST /v1/payment_intents/{intent}/confirm"
CAPTURE = "POST /v1/payment_intents/{intent}/capture"
CANCEL = "POST /v1/payment_intents/{intent}/cancel"
REFUND = "POST /v1/refunds"
NEVER = 3600.0


@asynccontextmanager
async def with_stripe(
    databases: tuple[str, str], sandbox: Running, **settings: Any
) -> AsyncIterator[CashDesk]:
    """The service with the sandbox for Stripe."""
    desk = CashDesk(
        *databases,
        stripe_api_key="sk_test_sandbox",
        stripe_base_url=sandbox.url,
        **{"stripe_requests_per_second": 1000, **settings},
    )
    await desk.empty()
    try:
        yield desk
    finally:
        await desk.close()


@pytest.fixture
async def desk(payment_databases: tuple[str, str], sandbox: Running) -> AsyncIterator[CashDesk]:
    """A service that gives a provider up after four calls in trouble, and tries it again soon."""
    async with with_stripe(
        payment_databases,
        sandbox,
        breaker_least_calls=4,
        breaker_cool_down_seconds=0.05,
        breaker_longest_cool_down_seconds=0.2,
        breaker_answer_seconds=0.1,
    ) as desk:
        yield desk


def by_stripe(checkout: UUID, **how: Any) -> Any:
    """A charge through Stripe."""
    return soon(checkout, method="pm_card_visa", provider="stripe", **how)


def goes_away(sandbox: Running) -> None:
    """Whoever calls is cut off, before anything is done."""
    sandbox.faults.add(Rule(fault=RequestFault.RESET_BEFORE_EFFECT, times=1_000_000))


def intents(sandbox: Running) -> list[Object]:
    """What Stripe has."""
    with sandbox.database.transaction() as transaction:
        return transaction.all_of("payment_intent")


def keys(sandbox: Running) -> set[str]:
    """The idempotency keys that Stripe has seen."""
    with sandbox.database.transaction() as transaction:
        return {key for (key,) in transaction.sql("SELECT key FROM answers")}


async def breakers(desk: CashDesk) -> list[str]:
    """How each worker calls Stripe."""
    return [
        lane.breaker
        for worker in desk.workers
        for lane in worker.worker.lanes()
        if lane.provider == "stripe"
    ]


async def found_away(desk: CashDesk, sandbox: Running, wait_until: WaitUntil) -> None:
    """Stripe goes away, and its workers have noticed, by two charges that they then ask about."""
    goes_away(sandbox)
    await desk.tell(by_stripe(new_id()), by_stripe(new_id()))

    async def noticed() -> bool:
        return "closed" not in await breakers(desk)

    await wait_until(noticed, what="the breaker")


async def test_away_it_is_not_called_and_the_shopper_is_told_while_another_goes_on(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker(breaker_cool_down_seconds=NEVER, breaker_longest_cool_down_seconds=NEVER).start()
    async with desk.pumping():
        await found_away(desk, sandbox, wait_until)
        await wait_until(lambda: unknown(desk, 2), what="the charges in doubt")
        seen = sandbox.limit.taken

        await desk.tell(*(by_stripe(new_id()) for _ in range(5)))
        await desk.tell(*(soon(new_id()) for _ in range(5)))

        async def all_heard() -> bool:
            heard = Counter(name for name, _, _ in await desk.replies())
            return heard["PaymentSucceeded"] == heard["PaymentDeclined"] == 5

        await wait_until(all_heard, what="an answer to each shopper")

    assert sandbox.limit.taken == seen
    assert {
        (told.code, told.retryable, told.same_method_allowed)
        for told in await desk.sent(PaymentDeclined)
    } == {("provider_unavailable", True, True)}
    assert Counter(await desk.statuses()) == {"done": 5, "withdrawn": 5, "due": 2}


async def unknown(desk: CashDesk, charges: int) -> bool:
    """Whether so many shoppers know that nobody knows."""
    return len(await desk.sent(PaymentUnknown)) == charges


async def test_back_again_it_is_tried_then_everything_finishes_under_its_own_key(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    async with desk.pumping():
        await found_away(desk, sandbox, wait_until)
        sandbox.faults.clear()
        await wait_until(lambda: settled(desk), what="the end of all that was in doubt")
        await desk.tell(*(by_stripe(new_id()) for _ in range(5)))
        await wait_until(lambda: settled(desk), what="what came after")

    assert await breakers(desk) == ["closed"]
    assert Counter(name for name, _, _ in await desk.replies())["PaymentSucceeded"] == 7
    assert [intent["amount_received"] for intent in intents(sandbox)] == [1000] * 7


async def test_a_charge_in_doubt_is_neither_withdrawn_nor_repeated_under_another_key(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    """Its money was taken, and the answer lost: only Stripe can tell, once it is back."""
    checkout = new_id()
    sandbox.faults.add(Rule(fault=RequestFault.RESET_AFTER_EFFECT, operation=CONFIRM))
    goes_away_after = Rule(
        fault=RequestFault.RESET_BEFORE_EFFECT, operation="GET *", times=1_000_000
    )
    sandbox.faults.add(goes_away_after)
    desk.worker().start()
    async with desk.pumping():
        await desk.tell(by_stripe(checkout))

        async def tried_in_vain() -> bool:
            (lane,) = [one for one in desk.workers[0].worker.lanes() if one.provider == "stripe"]
            return lane.trips >= 3

        await wait_until(tried_in_vain, what="probes without an answer")
        assert await desk.replies() == [("PaymentUnknown", "charge", 1)]
        sandbox.faults.clear()
        await wait_until(lambda: settled(desk), what="Stripe's word")

    key = f"{derived_id(checkout, 'payment')}:1:charge"
    assert keys(sandbox) == {key, f"{key}:create"}
    assert await desk.replies() == [
        ("PaymentUnknown", "charge", 1),
        ("PaymentSucceeded", "charge", 1),
    ]
    assert [intent["amount_received"] for intent in intents(sandbox)] == [1000]


async def test_two_replicas_notice_it_each_for_itself_and_answer_each_shopper_once(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    for slot in (0, 1):
        desk.worker(slot=slot, calls_in_flight=4).start()
    goes_away(sandbox)
    async with desk.pumping():
        await desk.tell(*(by_stripe(new_id()) for _ in range(40)))

        async def all_heard() -> bool:
            told = [*await desk.sent(PaymentDeclined), *await desk.sent(PaymentUnknown)]
            return len({one.payment_id for one in told}) == 40

        await wait_until(all_heard, what="an answer, or that there is none")
        assert PROVIDER_UNAVAILABLE in {told.code for told in await desk.sent(PaymentDeclined)}
        sandbox.faults.clear()
        await wait_until(lambda: settled(desk), what="the end of what was in doubt")

    rows = await desk.query("SELECT status, makes FROM operations")
    assert all((row["makes"] == 0) == (row["status"] == "withdrawn") for row in rows)
    ends = Counter(name for name, _, _ in await desk.replies() if name != "PaymentUnknown")
    assert ends["PaymentSucceeded"] + ends["PaymentDeclined"] == 40
    assert len(intents(sandbox)) == ends["PaymentSucceeded"]
    assert sum(intent["amount_received"] for intent in intents(sandbox)) == 1000 * len(
        intents(sandbox)
    )


async def test_what_is_withdrawn_is_never_claimed_and_what_is_claimed_never_withdrawn(
    desk: CashDesk,
) -> None:
    await desk.tell(*(by_stripe(new_id()) for _ in range(200)))
    now, answer = utc_now(), declined(PROVIDER_UNAVAILABLE, None)
    claimed: list[UUID] = []
    withdrawn: list[UUID] = []

    async def claim(slot: int) -> None:
        while True:
            async with desk.database.transaction() as connection:
                calls = await store.claim(
                    connection,
                    instance=f"payment-{slot}",
                    rooms={"stripe": 7},
                    lease=timedelta(seconds=30),
                    now=now,
                )
            claimed.extend(call.operation_id for call in calls)
            if not calls:
                return

    async def withdraw() -> None:
        while True:
            async with desk.database.transaction() as connection:
                reports = await store.withdraw(
                    connection,
                    providers=["stripe"],
                    due_since=now,
                    answer=answer,
                    most=7,
                    resend_after=timedelta(seconds=30),
                    now=now,
                )
            withdrawn.extend(report.operation_id for report in reports)
            if not reports:
                return

    await asyncio.gather(claim(0), withdraw(), claim(1), withdraw())

    assert len(claimed) + len(withdrawn) == len({*claimed, *withdrawn}) == 200
    assert claimed
    assert withdrawn
    rows = await desk.query("SELECT operation_id FROM operations WHERE makes > 0")
    assert {row["operation_id"] for row in rows} == set(claimed)


async def test_what_waits_for_another_reason_than_its_first_call_is_left_to_wait(
    desk: CashDesk,
) -> None:
    """A lease that was given up: nobody knows whether the call was made."""
    await desk.tell(by_stripe(new_id()))
    now = utc_now()
    async with desk.database.transaction() as connection:
        calls = await store.claim(
            connection,
            instance="payment-0",
            rooms={"stripe": 1},
            lease=timedelta(seconds=30),
            now=now,
        )
        await store.give_up(connection, calls, now)
        reports = await store.withdraw(
            connection,
            providers=["stripe"],
            due_since=now,
            answer=declined(PROVIDER_UNAVAILABLE, None),
            most=10,
            resend_after=timedelta(seconds=30),
            now=now,
        )

    assert reports == []
    assert await desk.statuses() == ["due"]


# --- too many requests ----------------------------------------------------------------------


@asynccontextmanager
async def bounded(path: Path, requests_per_second: int) -> AsyncIterator[Running]:
    """A sandbox with a limit, as Stripe has one."""
    settings = SandboxSettings(
        http_port=0, state=path / "bounded.sqlite3", requests_per_second=requests_per_second
    )
    async with running(settings) as sandbox:
        yield sandbox


@pytest.mark.parametrize(
    ("told", "replicas", "most_refused"),
    [(60, 1, 0.1), (60, 2, 0.1), (90, 1, 0.3)],
    ids=["right", "shared", "wrong"],
)
async def test_many_at_once_are_no_storm(
    payment_databases: tuple[str, str],
    tmp_path: Path,
    wait_until: WaitUntil,
    told: int,
    replicas: int,
    most_refused: float,
) -> None:
    """The limit is 60 requests a second; `told` is what the service takes it for."""
    async with (
        bounded(tmp_path, 60) as sandbox,
        with_stripe(
            payment_databases,
            sandbox,
            stripe_requests_per_second=told,
            provider_rate_share=1 / replicas,
        ) as desk,
    ):
        for slot in range(replicas):
            desk.worker(slot=slot).start()
        async with desk.pumping():
            await desk.tell(*(by_stripe(new_id()) for _ in range(200)))
            await wait_until(lambda: settled(desk), what="200 charges")

        assert [name for name, _, _ in await desk.replies()] == ["PaymentSucceeded"] * 200
        assert len(intents(sandbox)) == 200
        assert sandbox.limit.taken == 400
        sent = sandbox.limit.taken + sandbox.limit.refused
        assert sandbox.limit.refused <= most_refused * sent


async def test_a_call_that_was_not_taken_is_made_again_and_nobody_is_alarmed(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    for operation in (CREATE, CONFIRM, CONFIRM):
        sandbox.faults.add(Rule(fault=RequestFault.RATE_LIMIT, operation=operation))
    desk.worker().start()
    async with desk.pumping():
        await desk.tell(by_stripe(new_id()))
        await wait_until(lambda: settled(desk), what="the charge")

    assert await desk.replies() == [("PaymentSucceeded", "charge", 1)]
    ((makes, asks),) = await desk.query("SELECT makes, asks FROM operations")
    assert (makes, asks) == (4, 0)
    assert [intent["amount_received"] for intent in intents(sandbox)] == [1000]


async def test_a_question_that_was_not_taken_is_asked_again(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    sandbox.faults.add(Rule(fault=RequestFault.RESET_AFTER_EFFECT, operation=CONFIRM))
    sandbox.faults.add(Rule(fault=RequestFault.RATE_LIMIT, operation="GET *", times=2))
    desk.worker().start()
    async with desk.pumping():
        await desk.tell(by_stripe(new_id()))
        await wait_until(lambda: settled(desk), what="the charge")

    ((makes, asks),) = await desk.query("SELECT makes, asks FROM operations")
    assert (makes, asks) == (1, 3)
    assert [intent["amount_received"] for intent in intents(sandbox)] == [1000]


async def test_a_close_that_waits_for_a_call_which_was_not_taken_goes_on(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    worker = desk.worker()
    worker.gates["stripe"].before.clear()
    worker.start()
    await desk.tell(by_stripe(checkout))

    async def leased() -> bool:
        return await desk.statuses() == ["leased"]

    await wait_until(leased, what="the lease")
    await desk.tell(close(checkout=checkout))
    sandbox.faults.add(Rule(fault=RequestFault.RATE_LIMIT, operation=CONFIRM))
    worker.gates["stripe"].open()
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the close")

    assert (await desk.replies())[-1] == ("PaymentClosed", "close_payment", 1)
    assert [intent["status"] for intent in intents(sandbox)] == ["canceled"]


# --- tried again, under the same key --------------------------------------------------------

LOST = [
    RequestFault.RESET_BEFORE_EFFECT,
    RequestFault.RESET_AFTER_EFFECT,
    RequestFault.ERROR_BEFORE_EFFECT,
    RequestFault.ERROR_AFTER_EFFECT,
]


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("operation", [CREATE, CONFIRM, CAPTURE, REFUND, CANCEL])
async def test_what_was_not_answered_is_asked_about_and_done_once_under_its_key(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil, fault: RequestFault, operation: str
) -> None:
    paid, dropped = new_id(), new_id()
    desk.worker(breaker_least_calls=1000).start()
    async with desk.pumping():
        sandbox.faults.add(Rule(fault=fault, operation=operation, milliseconds=50))
        await desk.tell(by_stripe(paid, flow="authorize"), by_stripe(dropped, flow="authorize"))

        async def held() -> bool:
            return Counter(name for name, _, _ in await desk.replies())["PaymentAuthorized"] == 2

        await wait_until(held, what="the holds")
        await desk.tell(capture(checkout=paid), close(checkout=dropped))
        await wait_until(lambda: settled(desk), what="the capture and the close")
        await desk.tell(refund(amount=400, checkout=paid))
        await wait_until(lambda: settled(desk), what="the refund")

    assert sandbox.faults.left() == []
    assert sorted(intent["amount_received"] for intent in intents(sandbox)) == [0, 1000]
    with sandbox.database.transaction() as transaction:
        refunds = transaction.all_of("refund")  # what is held and let go is one, too
    assert [one["amount"] for one in refunds if one["metadata"]] == [400]
    first, second = (derived_id(checkout, "payment") for checkout in (paid, dropped))
    ours = {
        f"{first}:1:charge:create",
        f"{first}:1:charge",
        f"{first}:1:capture",
        f"{first}:refund:{derived_id(paid, 'refund:1')}",
        f"{second}:1:charge:create",
        f"{second}:1:charge",
        f"{second}:1:close",
    }
    # What Stripe has kept an error of its own under is good for nothing any more.
    spoilt = keys(sandbox) - ours
    assert len(spoilt) == (fault is RequestFault.ERROR_BEFORE_EFFECT)
    assert all(key.removesuffix(":again:2") in ours for key in spoilt)


# --- operators ------------------------------------------------------------------------------


async def test_operators_see_how_each_provider_is_called_and_what_waits(
    desk: CashDesk,
) -> None:
    await desk.tell(by_stripe(new_id()))

    answer = await desk.http.get("/payments/providers", headers=desk.token("operator"))

    assert answer.status_code == 200
    shown = {one["provider"]: one for one in answer.json()["items"]}
    assert shown["simulated"] == {
        "provider": "simulated",
        "breaker": "closed",
        "open_until": None,
        "trips": 0,
        "requests_per_second": None,
        "waiting": 0,
        "waiting_since": None,
    }
    assert (shown["stripe"]["requests_per_second"], shown["stripe"]["waiting"]) == (1000, 1)
    refused = await desk.http.get("/payments/providers", headers=desk.token())
    assert refused.status_code == 403
