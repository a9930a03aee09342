"""The worker: makes provider calls under leases, outside the consumer and any transaction.

    claim    many operations at once, each under a lease; that commits. Each provider has room for
             so many calls of its own, so that one that hangs stops no other
    call     all of them at the same time, each bounded by a hard timeout; before money can move,
             the provider's name of the payment is committed
    record   whatever has come in, many results at once, each fenced by its lease's token; what is
             news is reported through the outbox in the same transaction

It is woken in process after each commit that makes something due; a slow poll is the backstop
and finds leases of dead instances. An operation under an ended lease is asked about, never
called again, until the provider says that it does not have it.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import assert_never

import prometheus_client
import structlog
from prometheus_client import Gauge, Histogram

from contracts.values import replace
from messaging.clock import utc_now
from messaging.database import Database
from messaging.faults import heals_with_time
from messaging.outbox import emit
from messaging.points import Point, reach
from messaging.waiting import happens
from payment_service.domain.calls import LeasedCall
from payment_service.domain.decisions import Rules
from payment_service.domain.outcomes import NAMES, Declined, Outcome, RefundPending, Unknown
from payment_service.domain.payment import NextCall, OperationKind
from payment_service.providers.port import (
    Capture,
    Charge,
    Close,
    PaymentQuestion,
    Provider,
    Refund,
    RefundQuestion,
)
from payment_service.settings import PaymentSettings
from payment_service.store import operations as store

log = structlog.get_logger()

SOURCE = "payment"
RETRY_SECONDS = 0.2

CALLS = prometheus_client.Counter(
    "trolley_provider_calls",
    "Provider calls that ended, by what was called and what came of it.",
    ["provider", "operation", "call", "outcome"],
)
CALL_SECONDS = Histogram(
    "trolley_provider_call_seconds",
    "Time a provider call took.",
    ["provider", "operation", "call"],
    buckets=(0.005, 0.02, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30),
)
IN_FLIGHT = Gauge("trolley_provider_calls_in_flight", "Provider calls running in this process.")


class ProviderWorker:
    """The leased worker of one instance."""

    def __init__(
        self, providers: Mapping[str, Provider], rules: Rules, settings: PaymentSettings
    ) -> None:
        self._providers = providers
        self._rules = rules
        self._settings = settings
        self._instance = f"payment-{settings.instance_slot}"
        self._awake = asyncio.Event()
        self._in_flight: dict[asyncio.Task[None], LeasedCall] = {}
        self._results: list[store.Result] = []

    def wake(self) -> None:
        """Something is due now."""
        self._awake.set()

    @property
    def in_flight(self) -> int:
        """Calls that run now."""
        return len(self._in_flight)

    async def run(self, database: Database, stop: asyncio.Event) -> None:
        """Claim, call and record until `stop`; then let what is in flight finish for a while."""
        async with database.transaction() as connection:
            taken_back = await store.take_back(connection, instance=self._instance, now=utc_now())
        if taken_back:
            log.info("leases of an earlier life taken back", operations=taken_back)
        waking = asyncio.create_task(self._wake_at_stop(stop))
        try:
            while not stop.is_set():
                self._awake.clear()
                try:
                    await self._record(database)
                    may_be_more = await self._claim(database)
                except Exception as error:
                    if not heals_with_time(error):
                        raise
                    # Calls in flight go on; their results wait for the database.
                    log.warning("worker waits for the database", error=type(error).__name__)
                    await happens(stop, RETRY_SECONDS)
                    continue
                if not may_be_more and not self._results:
                    await happens(self._awake, self._settings.worker_poll_seconds)
            await self._drain(database)
        finally:
            waking.cancel()
            await self._abandon()

    async def _wake_at_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._awake.set()

    async def _claim(self, database: Database) -> bool:
        """Lease what is due and start its calls; whether there may be more."""
        rooms = self._rooms()
        if not rooms:
            return False
        async with database.transaction() as connection:
            calls = await store.claim(
                connection,
                instance=self._instance,
                rooms=rooms,
                lease=timedelta(seconds=self._settings.lease_seconds),
                now=utc_now(),
            )
        if calls:
            await reach(Point.CALLS_LEASED, SOURCE, [call.kind for call in calls])
        for call in calls:
            task = asyncio.create_task(
                self._call(call, database), name=f"call {call.idempotency_key}"
            )
            self._in_flight[task] = call
            task.add_done_callback(self._ended)
        IN_FLIGHT.set(len(self._in_flight))
        claimed = Counter(call.provider for call in calls)
        return any(claimed[provider] == room for provider, room in rooms.items())

    def _rooms(self) -> dict[str, int]:
        """How many calls each provider may still have: a slow one leaves the others theirs."""
        running = Counter(call.provider for call in self._in_flight.values())
        most = self._settings.calls_in_flight
        return {name: most - running[name] for name in self._providers if running[name] < most}

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._in_flight[task]
        IN_FLIGHT.set(len(self._in_flight))
        self._awake.set()

    async def _call(self, call: LeasedCall, database: Database) -> None:
        outcome = await self._outcome(call, database)
        ask_after = self._rules.ask_delay(call.asks)
        self._results.append(store.Result(call, outcome, ask_after))

    async def _outcome(self, call: LeasedCall, database: Database) -> Outcome:
        """What the provider says; unknown whatever went wrong, because the effect may be there."""
        labels = (call.provider, call.kind.value, call.call.value)
        outcome: Outcome
        with CALL_SECONDS.labels(*labels).time():
            try:
                provider = self._providers[call.provider]
                async with asyncio.timeout(self._settings.call_timeout_seconds):
                    named = await self._named(provider, call, database)
                    outcome = (
                        await answer_of(provider, named) if isinstance(named, LeasedCall) else named
                    )
            except TimeoutError:
                outcome = Unknown("timeout")
            except Exception as error:
                log.error(
                    "provider call failed",
                    operation=str(call.operation_id),
                    error=type(error).__name__,
                    exc_info=error,
                )
                outcome = Unknown(type(error).__name__)
        CALLS.labels(*labels, NAMES[type(outcome)]).inc()
        return outcome

    async def _named(
        self, provider: Provider, call: LeasedCall, database: Database
    ) -> LeasedCall | Declined | Unknown:
        """The call with the provider's name of its payment, committed, where a charge needs one."""
        is_charge = call.kind is OperationKind.CHARGE and call.call is NextCall.MAKE
        if not is_charge or call.provider_payment_id is not None:
            return call
        name = await provider.prepare(charge_of(call))
        if name is None:
            return call
        if not isinstance(name, str):
            return name
        async with database.transaction() as connection:
            if not await store.name(connection, call, name, utc_now()):
                return Unknown("lease ended")
        return replace(call, provider_payment_id=name)

    async def _record(self, database: Database) -> None:
        """Record what has come in, and report what of it is news."""
        while self._results:
            most = self._settings.record_results
            results = self._results[:most]
            now = utc_now()
            await reach(Point.CALL_ANSWERED, SOURCE, [one.call.kind for one in results])
            async with database.transaction() as connection:
                reports = await store.record(
                    connection,
                    results,
                    resend_after=timedelta(seconds=self._settings.report_resend_seconds),
                    now=now,
                )
                await emit(connection, reports, source=SOURCE, now=now)
            # Only now: what the database refused is recorded again.
            del self._results[: len(results)]
            await reach(Point.RESULTS_RECORDED, SOURCE, [one.call.kind for one in results])

    async def _drain(self, database: Database) -> None:
        """Let calls finish and record them; give the leases of the others up."""
        if self._in_flight:
            await asyncio.wait(list(self._in_flight), timeout=self._settings.worker_drain_seconds)
        unfinished = list(self._in_flight.values())
        await self._abandon()
        try:
            await self._record(database)
            async with database.transaction() as connection:
                await store.give_up(connection, unfinished, utc_now())
        except Exception as error:
            if not heals_with_time(error):
                raise
            # Our next life takes the leases back; without one they run out.
            log.warning("leases stay at stop", error=type(error).__name__)

    async def _abandon(self) -> None:
        """Stop the calls that still run; their leases stay, and are asked about later."""
        tasks = list(self._in_flight)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def charge_of(call: LeasedCall) -> Charge:
    """The charge that a call is about."""
    return Charge(
        idempotency_key=call.charge_key,
        payment_id=call.payment_id,
        attempt=call.attempt,
        amount_minor=call.charge_minor,
        currency=call.currency,
        method_token=call.method_token,
        flow=call.flow,
        began_at=call.charge_began_at,
        provider_payment_id=call.provider_payment_id,
    )


async def answer_of(provider: Provider, call: LeasedCall) -> Outcome:
    """The provider's answer to the call, or to the question what became of it."""
    if call.call is NextCall.ASK:
        return await _asked(provider, call)
    charge, key = charge_of(call), call.idempotency_key
    match call.kind:
        case OperationKind.CHARGE:
            return await provider.charge(charge)
        case OperationKind.CAPTURE:
            return await provider.capture(Capture(charge, key, call.amount_minor))
        case OperationKind.CLOSE:
            return await provider.close(Close(charge, key))
        case OperationKind.REFUND:
            return await provider.refund(Refund(charge, key, call.amount_minor, call.began_at))
        case _:
            assert_never(call.kind)


async def _asked(provider: Provider, call: LeasedCall) -> Outcome:
    charge = charge_of(call)
    if call.kind is OperationKind.REFUND:
        known = call.last.provider_refund_id if isinstance(call.last, RefundPending) else None
        return await provider.retrieve_refund(RefundQuestion(charge, call.idempotency_key, known))
    return await provider.retrieve(PaymentQuestion(charge))
