"""The simulated provider keeps the contract of the port, and books of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from pydantic import SecretStr

from contracts.ids import new_id
from messaging.clock import utc_now
from messaging.database import Database
from messaging.migrations import upgrade
from payment_service.domain.outcomes import NotFound, Refunded, RefundFailed, Succeeded, Unknown
from payment_service.providers.port import Charge
from payment_service.providers.simulated.account import DisputeStatus
from payment_service.providers.simulated.bank import Bank
from payment_service.providers.simulated.provider import SimulatedProvider
from tests.conftest import Infrastructure
from tests.payment_service.provider_contract import AMOUNT, Bench, Methods, ProviderContract

pytestmark = pytest.mark.integration

METHODS = Methods(
    ok="pm_ok",
    declined="pm_declined_insufficient_funds",
    declined_code="insufficient_funds",
    action_required="pm_action_required",
    always_asks="pm_action_required",
    processing="pm_processing_100",
    processing_then_declined="pm_processing_100_then_declined",
    capture_fails="pm_ok+capture_fails",
    refund_pending="pm_ok+refund_pending_100",
    refund_fails="pm_ok+refund_fails",
    refund_returns="pm_ok+refund_returns_100",
    times_out_before_effect="pm_timeout_before_effect",
    times_out_after_effect="pm_timeout_after_effect",
    slow_after_effect="pm_slow_after_effect_60000",
)


@pytest.fixture(scope="module")
async def bank_url(infrastructure: Infrastructure) -> AsyncIterator[str]:
    async with infrastructure.database("bank") as url:
        await asyncio.to_thread(upgrade, "payment_service.providers.simulated", url)
        yield url


@pytest.fixture
async def provider(bank_url: str) -> AsyncIterator[SimulatedProvider]:
    provider = opened(bank_url)
    yield provider
    await provider.bank.close()


def opened(url: str) -> SimulatedProvider:
    """A process's own provider on these books."""
    database = Database(url, pool_connections=3, application_name="bank")
    return SimulatedProvider(Bank(database, SecretStr("k" * 32)), "http://shop.example")


@pytest.fixture
async def bench(provider: SimulatedProvider, query: "Query") -> Bench:
    async def act(charge_key: str, completed: bool) -> None:
        await provider.shopper_acted(charge_key, completed=completed)

    async def captured(charge_key: str) -> int:
        ((amount,),) = await query(
            "SELECT coalesce(sum(amount_minor), 0) FROM ledger"
            " WHERE kind = 'captured' AND charge_key = $1",
            charge_key,
        )
        return int(amount)

    async def give_back(charge_key: str, amount_minor: int) -> None:
        await provider.clerk_refunded(charge_key, f"{charge_key}:clerk", amount_minor)

    async def disputed(bench: Bench) -> str:
        key, _ = await bench.charged(METHODS.ok)
        await provider.bank_disputed(key, f"{key}:dispute", AMOUNT, "open")
        return key

    return Bench(provider, METHODS, act, captured, give_back, disputed)


Query = Callable[..., Awaitable[list[asyncpg.Record]]]


@pytest.fixture
async def query(bank_url: str) -> AsyncIterator[Query]:
    connection = await asyncpg.connect(bank_url)
    one_at_a_time = asyncio.Lock()

    async def fetch(statement: str, *arguments: object) -> list[asyncpg.Record]:
        async with one_at_a_time:
            return list(await connection.fetch(statement, *arguments))

    yield fetch
    await connection.close()


class TestSimulatedProvider(ProviderContract):
    """The contract."""


async def test_calls_are_counted_with_their_repetitions(bench: Bench, query: Query) -> None:
    request = bench.charge("pm_timeout_before_effect_2")
    key = request.idempotency_key

    for _ in range(4):
        await bench.provider.charge(request)
    await bench.state(key)

    calls = await query("SELECT call, calls FROM calls WHERE charge_key = $1 ORDER BY call", key)
    assert [tuple(row) for row in calls] == [("ask", 1), ("charge", 4)]
    assert await bench.captured(key) == AMOUNT


async def test_two_processes_share_the_books(bench: Bench, bank_url: str) -> None:
    other = opened(bank_url)
    request = bench.charge("pm_ok")
    try:
        outcomes = await asyncio.gather(
            *(bench.provider.charge(request) for _ in range(5)),
            *(other.charge(request) for _ in range(5)),
        )
        assert await other.charge(request) == outcomes[0]
    finally:
        await other.bank.close()

    assert len(set(outcomes)) == 1
    assert await bench.captured(request.idempotency_key) == AMOUNT


async def test_the_first_answer_is_given_again_whatever_came_since(bench: Bench) -> None:
    request = bench.charge("pm_action_required")
    first = await bench.provider.charge(request)
    await bench.act(request.idempotency_key, True)

    assert await bench.provider.charge(request) == first
    assert isinstance(await bench.state(request.idempotency_key), Succeeded)


async def test_questions_can_go_unanswered(bench: Bench) -> None:
    key, outcome = await bench.charged("pm_timeout_after_effect+ask_timeout_2")

    assert isinstance(outcome, Unknown)
    assert isinstance(await bench.state(key), Unknown)
    assert isinstance(await bench.state(key), Unknown)
    assert isinstance(await bench.state(key), Succeeded)


async def test_a_bank_that_is_away_leaves_the_outcome_unknown(
    infrastructure: Infrastructure,
) -> None:
    away = opened(infrastructure.database_url("bank_that_is_not_there"))
    try:
        request = Charge("p:1:charge", new_id(), 1, 100, "GBP", "pm_ok", "automatic", utc_now())
        assert isinstance(await away.charge(request), Unknown)
    finally:
        await away.bank.close()


async def test_a_caller_that_hangs_holds_nobody_up(bench: Bench) -> None:
    slow = asyncio.ensure_future(bench.provider.charge(bench.charge("pm_slow_60000")))

    assert isinstance((await bench.charged("pm_ok"))[1], Succeeded)
    assert not slow.done()
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)


async def test_a_slow_call_that_was_given_up_has_no_effect(bench: Bench) -> None:
    request = bench.charge("pm_slow_60000")
    slow = asyncio.ensure_future(bench.provider.charge(request))
    assert isinstance(
        (await bench.charged("pm_ok"))[1], Succeeded
    )  # the slow one is waiting by now
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)

    assert await bench.state(request.idempotency_key) == NotFound()


@pytest.mark.parametrize(
    ("end", "refunded"), [("won", Refunded), ("lost", RefundFailed)], ids=["won", "lost"]
)
async def test_what_a_bank_has_decided_stays_decided(
    bench: Bench, query: Query, end: DisputeStatus, refunded: type[Refunded | RefundFailed]
) -> None:
    assert isinstance(bench.provider, SimulatedProvider)
    key = await bench.disputed(bench)

    for word in (end, "open", "won", "lost"):
        await bench.provider.bank_disputed(key, f"{key}:dispute", AMOUNT, word)

    (seen,) = await bench.disputes(key)
    assert (seen.amount_minor, seen.status) == (AMOUNT, end)
    booked = await query("SELECT kind FROM ledger WHERE charge_key = $1 ORDER BY id", key)
    assert [row["kind"] for row in booked][2:] == ["disputed", f"dispute_{end}"]
    assert isinstance(await bench.refund(key), refunded)


async def test_a_bank_withdraws_no_more_than_was_taken(bench: Bench) -> None:
    assert isinstance(bench.provider, SimulatedProvider)
    held, _ = await bench.charged("pm_ok", "authorize")
    taken, _ = await bench.charged("pm_ok")

    await bench.provider.bank_disputed(held, f"{held}:dispute", AMOUNT, "open")
    await bench.provider.bank_disputed(taken, f"{taken}:dispute", AMOUNT + 1, "open")

    assert await bench.disputes(held) == await bench.disputes(taken) == ()


async def test_the_ledger_is_append_only(bench: Bench, query: Query) -> None:
    key, _ = await bench.charged("pm_ok")

    for change in ("UPDATE ledger SET amount_minor = 1", "DELETE FROM ledger"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await query(f"{change} WHERE charge_key = $1", key)


async def test_calls_that_wait_share_a_transaction(bench: Bench, query: Query) -> None:
    requests = [bench.charge("pm_ok") for _ in range(200)]
    ((before,),) = await query("SELECT pg_current_xact_id()::text::bigint")

    await asyncio.gather(*(bench.provider.charge(request) for request in requests))

    ((after,),) = await query("SELECT pg_current_xact_id()::text::bigint")
    assert len({request.payment_id for request in requests}) == 200
    assert after - before < 50
