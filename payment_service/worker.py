"""The worker: makes provider calls under leases, outside the consumer and any transaction.

    claim    many operations at once, each under a lease; that commits. Each provider has a lane
             of its own: room for so many calls, so that one that hangs stops no other, fewer where
             it bounds their rate, and none while it is away
    call     all of them at the same time, each bounded by a hard timeout; before money can move,
             the provider's name of the payment is committed
    record   whatever has come in, many results at once, each fenced by its lease's token; what is
             news is reported through the outbox in the same transaction
    answer   charges that nobody has called, of a provider that is away: they are withdrawn, by a
             report as well, so that their shoppers hear of it

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
from payment_service.domain.declines import PROVIDER_UNAVAILABLE, declined
from payment_service.domain.outcomes import (
    NAMES,
    Authorized,
    Declined,
    Outcome,
    RefundPending,
    Succeeded,
    Unknown,
)
from payment_service.domain.pace import LONGEST_HOLD
from payment_service.domain.payment import NextCall, OperationKind
from payment_service.domain.rules import Rules
from payment_service.domain.saved_methods import KeptMethod
from payment_service.lane import Lane, LaneState
from payment_service.providers.port import (
    RATE_LIMITED,
    Capture,
    Charge,
    Close,
    NotTaken,
    PaymentQuestion,
    Provider,
    Refund,
    RefundQuestion,
    Review,
)
from payment_service.settings import PaymentSettings
from payment_service.store import operations as store
from payment_service.store.saved_methods import keep_customer

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
WITHDRAWN = prometheus_client.Counter(
    "trolley_provider_unavailable_charges",
    "Charges that were answered without a call, because their provider is away.",
)
NOT_TAKEN = "not_taken"


class ProviderWorker:
    """The leased worker of one instance."""

    def __init__(
        self, providers: Mapping[str, Provider], rules: Rules, settings: PaymentSettings
    ) -> None:
        self._providers = providers
        self._rules = rules
        self._settings = settings
        self._instance = f"payment-{settings.instance_slot}"
        self._lanes = {
            name: Lane(name, settings.breaker_rules, settings.most_per_second(name), utc_now())
            for name in providers
        }
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

    def lanes(self) -> list[LaneState]:
        """How each provider is called now, by this process."""
        now = utc_now()
        return [lane.state(now) for lane in self._lanes.values()]

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
                    await self._answer(database)
                except Exception as error:
                    if not heals_with_time(error):
                        raise
                    # Calls in flight go on; their results wait for the database.
                    log.warning("worker waits for the database", error=type(error).__name__)
                    await happens(stop, RETRY_SECONDS)
                    continue
                if not may_be_more and not self._results:
                    await happens(self._awake, self._pause())
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
                self._call(call, self._lanes[call.provider].epoch, database),
                name=f"call {call.idempotency_key}",
            )
            self._in_flight[task] = call
            task.add_done_callback(self._ended)
        IN_FLIGHT.set(len(self._in_flight))
        of = {name: [call for call in calls if call.provider == name] for name in rooms}
        for name, room in rooms.items():
            self._lanes[name].begun(of[name], room)
        return any(len(of[name]) == room for name, room in rooms.items())

    def _rooms(self) -> dict[str, int]:
        """How many calls each provider may still have: a slow one leaves the others theirs."""
        running = Counter(call.provider for call in self._in_flight.values())
        most, now = self._settings.calls_in_flight, utc_now()
        rooms = {name: lane.room(most - running[name], now) for name, lane in self._lanes.items()}
        return {name: room for name, room in rooms.items() if room > 0}

    def _pause(self) -> float:
        """How long to wait for a wake-up: until the next poll, or until a rate has room again."""
        now = utc_now()
        ready = [lane.ready_in(now) for lane in self._lanes.values()]
        waits = [wait.total_seconds() for wait in ready if wait is not None]
        return min([self._settings.worker_poll_seconds, *waits])

    async def _answer(self, database: Database) -> None:
        """Answer charges that have waited long enough for a provider that is not called."""
        away = [name for name, lane in self._lanes.items() if not lane.is_closed]
        if not away:
            return
        now = utc_now()
        async with database.transaction() as connection:
            reports = await store.withdraw(
                connection,
                providers=away,
                due_since=now - timedelta(seconds=self._settings.breaker_answer_seconds),
                answer=declined(PROVIDER_UNAVAILABLE, None),
                most=self._settings.breaker_answer_rows,
                resend_after=timedelta(seconds=self._settings.report_resend_seconds),
                now=now,
            )
            await emit(connection, reports, source=SOURCE, now=now)
        WITHDRAWN.inc(len(reports))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._in_flight[task]
        IN_FLIGHT.set(len(self._in_flight))
        self._awake.set()

    async def _call(self, call: LeasedCall, epoch: int, database: Database) -> None:
        lane = self._lanes[call.provider]
        outcome: Outcome = RATE_LIMITED
        kept: KeptMethod | None = None
        refusal: NotTaken | None = None
        try:
            outcome, kept = await self._outcome(call, database)
        except NotTaken as not_taken:
            refusal = not_taken
        again_after, now = self._rules.ask_delay(call.asks, outcome), utc_now()
        if refusal is not None:
            again_after = max(again_after, min(refusal.retry_after or timedelta(), LONGEST_HOLD))
        if outcome == RATE_LIMITED and (refusal is None or refusal.too_many):
            lane.refused(refusal.retry_after if refusal else None, now)
        lane.ended(epoch, outcome, now)
        self._results.append(
            store.Result(call, outcome, again_after, is_taken=refusal is None, kept=kept)
        )

    async def _outcome(
        self, call: LeasedCall, database: Database
    ) -> tuple[Outcome, KeptMethod | None]:
        """What the provider says; unknown whatever went wrong, because the effect may be there.

        Raises `NotTaken`.
        """
        labels = (call.provider, call.kind.value, call.call.value)
        outcome: Outcome
        kept = None
        with CALL_SECONDS.labels(*labels).time():
            try:
                provider = self._providers[call.provider]
                async with asyncio.timeout(self._settings.call_timeout_seconds):
                    named = await self._named(provider, call, database)
                    outcome = (
                        await answer_of(provider, named) if isinstance(named, LeasedCall) else named
                    )
                    if call.saves and isinstance(outcome, Succeeded | Authorized):
                        kept = await provider.kept_method(
                            replace(
                                charge_of(call), provider_payment_id=outcome.provider_payment_id
                            )
                        )
            except NotTaken:
                CALLS.labels(*labels, NOT_TAKEN).inc()
                raise
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
        return outcome, kept

    async def _named(
        self, provider: Provider, call: LeasedCall, database: Database
    ) -> LeasedCall | Declined | Unknown:
        """The call with the provider's name of its payment, committed, where a charge needs one."""
        is_charge = call.kind is OperationKind.CHARGE and call.call is NextCall.MAKE
        if not is_charge or call.provider_payment_id is not None:
            return call
        known = await self._with_customer(provider, call, database)
        if not isinstance(known, LeasedCall):
            return known
        call = known
        name = await provider.prepare(charge_of(call))
        if isinstance(name, Declined | Unknown):
            return name
        if name is not None:
            async with database.transaction() as connection:
                if not await store.name(connection, call, name, utc_now()):
                    return Unknown("lease ended")
            call = replace(call, provider_payment_id=name)
        await reach(Point.PAYMENT_PREPARED, SOURCE, [call.kind])
        return call

    async def _with_customer(
        self, provider: Provider, call: LeasedCall, database: Database
    ) -> LeasedCall | Unknown:
        """The call with the provider's name of its payer, committed, where a method is saved."""
        payer = call.payer
        if not call.saves or payer is None or payer.provider_customer_id is not None:
            return call
        made = await provider.customer(payer)
        if isinstance(made, Unknown):
            return made
        async with database.transaction() as connection:
            noted = await keep_customer(connection, call.provider, payer, made)
        return replace(call, payer=replace(payer, provider_customer_id=noted))

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
        hosted=call.hosted,
        window_closes_at=call.window_closes_at,
        order_number=call.order_number,
        lines=call.lines,
        payer=call.payer,
        save=call.saves,
        off_session=call.off_session,
    )


async def answer_of(provider: Provider, call: LeasedCall) -> Outcome:
    """The provider's answer to the call, or to the question what became of it."""
    if call.kind is OperationKind.REVIEW:
        return await provider.review(Review(charge_of(call)))
    if call.call is NextCall.ASK:
        return await _asked(provider, call)
    charge, key = charge_of(call), call.idempotency_key
    match call.kind:
        case OperationKind.CHARGE:
            return await provider.charge(charge)
        case OperationKind.CAPTURE:
            return await provider.capture(Capture(charge, key, call.amount_minor, call.began_at))
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
