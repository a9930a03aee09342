"""The payment service: its handler, and its worker with its leases and calls."""

from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from contracts.messages.base import Message
from contracts.messages.payment import ChargePayment, ClosePayment, ProviderReported
from contracts.topics import PAYMENT_COMMANDS
from contracts.values import replace
from messaging.fold import Decision, Row
from payment_service.domain.calls import LeasedCall
from payment_service.domain.outcomes import NAMES, Outcome, Unknown, facts_of
from payment_service.domain.payment import (
    NextCall,
    Operation,
    OperationKind,
    OperationStatus,
    Payment,
)
from payment_service.domain.rules import Rules
from payment_service.handlers import PaymentHandler
from payment_service.settings import PaymentSettings
from payment_service.worker import answer_of
from tests.simulation.alarms import Alarms
from tests.simulation.bank import Bank
from tests.simulation.database import View
from tests.simulation.mutants import Mutant
from tests.simulation.service import SECOND_US, Service

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

CALL_US = 300_000
"""Most time a call takes that goes well."""

SETTINGS = PaymentSettings.model_construct()

RESTART_US = 2 * SECOND_US
"""How soon a worker is back that died, and takes its own leases back."""


@dataclass(slots=True)
class Lease:
    """What the worker's own columns of an operation hold."""

    token: UUID
    last: Outcome | None = None
    reported_at: datetime | None = None


class Payments(Service):
    """The payments, and the one worker that calls the bank."""

    name = "payment"
    kept = frozenset({Payment})

    def __init__(self, world: "World", bank: Bank) -> None:
        super().__init__(world)
        self._bank = bank
        self._rules = Rules(
            frozenset({bank.name}),
            SETTINGS.ask_first,
            SETTINGS.ask_longest,
            SETTINGS.ask_bank_longest,
        )
        self._lease = timedelta(seconds=SETTINGS.lease_seconds)
        self._timeout_us = int(SETTINGS.call_timeout_seconds * SECOND_US)
        self._resend_first = timedelta(seconds=SETTINGS.report_resend_seconds)
        self._resend_longest = timedelta(seconds=SETTINGS.report_resend_longest_seconds)
        self._leases: dict[str, Lease] = {}
        self._due: Alarms[str] = Alarms(world, self._ring)
        self._places: dict[str, tuple[UUID, UUID]] = {}
        """Payment and id of each operation by its idempotency key, which hashes in C."""
        self.open_operations: dict[str, UUID] = {}
        """Open operations by idempotency key, with the checkout of each."""
        self.subscribe(PAYMENT_COMMANDS.name, PaymentHandler(self._rules, lambda: None))

    def insert_missing(self, view: View, message: Message) -> None:
        """An empty payment for a charge or a close that finds none."""
        if not isinstance(message, ChargePayment | ClosePayment):
            return
        if view.find(Payment, message.payment_id) is None:
            view.insert(
                Payment(
                    payment_id=message.payment_id,
                    shop_id=message.shop_id,
                    checkout_id=message.checkout_id,
                    created_at=self.world.now,
                )
            )

    def saved(self, row: Row, before: Row | None, decision: Decision) -> None:
        """Check the amounts, and watch the operations."""
        assert isinstance(row, Payment)
        if row is before:
            return
        self.world.books.payment_moved(row)
        for operation in row.operations:
            self._watch(row, operation)

    def _watch(self, payment: Payment, operation: Operation) -> None:
        key = operation.idempotency_key
        if operation.is_open:
            self.open_operations[key] = payment.checkout_id
            self._places[key] = payment.payment_id, operation.operation_id
            self._due.set(key, self.world.us_of(operation.claimable_at))
        else:
            self.open_operations.pop(key, None)

    def _ring(self, key: str) -> None:
        payment, operation = self._find(*self._places[key])
        if not operation.is_open:
            return
        if operation.claimable_at > self.world.now:
            self._due.set(key, self.world.us_of(operation.claimable_at))
        elif operation.status is OperationStatus.REPORTED:
            self._report_again(payment, operation)
        else:
            self._claim(payment, operation)

    def _find(self, payment_id: UUID, operation_id: UUID) -> tuple[Payment, Operation]:
        payment = self.database.tables.find(Payment, payment_id)
        assert payment is not None
        operation = payment.operation(operation_id)
        assert operation is not None
        return payment, operation

    def _put(self, payment: Payment, operation: Operation) -> Payment:
        payment = payment.with_operation(operation)
        self.database.tables.put(payment)
        self._watch(payment, operation)
        return payment

    # The worker.

    def _claim(self, payment: Payment, operation: Operation) -> None:
        """Lease the operation, as the statement of `store.operations.claim` does, and call."""
        makes = operation.next_call is NextCall.MAKE
        lease = Lease(next(self.world.message_ids))
        known = self._leases.get(operation.idempotency_key)
        lease.last = None if makes or known is None else known.last
        self._leases[operation.idempotency_key] = lease
        leased = replace(
            operation,
            status=OperationStatus.LEASED,
            claimable_at=self.world.now + self._lease,
            next_call=NextCall.ASK,
            hinted=False,
            makes=operation.makes + makes,
            asks=operation.asks + (not makes),
        )
        self._put(payment, leased)
        attempt = payment.attempt(operation.attempt)
        assert attempt is not None
        assert attempt.method is not None
        call = LeasedCall(
            operation_id=operation.operation_id,
            lease_token=lease.token,
            payment_id=payment.payment_id,
            checkout_id=payment.checkout_id,
            shop_id=payment.shop_id,
            attempt=attempt.number,
            kind=operation.kind,
            call=operation.next_call,
            provider=operation.provider,
            idempotency_key=operation.idempotency_key,
            charge_key=attempt.charge_key,
            amount_minor=operation.amount_minor,
            began_at=operation.created_at,
            charge_minor=attempt.amount_minor,
            charge_began_at=attempt.created_at,
            currency=payment.currency or "",
            method_token=attempt.method.token,
            flow=attempt.method.flow,
            provider_payment_id=attempt.provider_payment_id,
            asks=leased.asks,
            reports=leased.reports,
            last=lease.last,
        )
        if self.world.mutant is Mutant.NEW_KEY and call.kind is OperationKind.CHARGE and not makes:
            key = f"{call.idempotency_key}:{leased.asks}"
            call = replace(call, call=NextCall.MAKE, idempotency_key=key, charge_key=key)
        self._call(call)

    def _call(self, call: LeasedCall) -> None:
        """Call the bank: what comes back when, and whether it had its effect."""
        world = self.world
        whose = call.checkout_id.int
        soon_us = world.now_us + int(world.random.random() * CALL_US)
        timeout_us = world.now_us + self._timeout_us
        if world.strikes("call_lost", whose):
            world.at(timeout_us, self._record, call, Unknown("timeout"))
        elif world.strikes("call_late", whose):
            late_us = int(world.random.random() * 6 * self._timeout_us)
            world.at(timeout_us, self._record, call, Unknown("timeout"))
            world.at(timeout_us + late_us, self._answer, call)
        elif world.strikes("answer_lost", whose):
            self._answer(call)
            world.at(timeout_us, self._record, call, Unknown("timeout"))
        elif world.strikes("worker_crash", whose):
            if world.random.random() < 0.5:
                self._answer(call)
            if world.random.random() < 0.5:
                world.at(world.now_us + RESTART_US, self._take_back, call)
        elif world.strikes("worker_frozen", whose):
            frozen_us = int(world.random.random() * 6 * self._timeout_us)
            world.at(soon_us + frozen_us, self._record, call, self._answer(call))
        else:
            world.at(soon_us, self._record, call, self._answer(call))

    def _answer(self, call: LeasedCall) -> Outcome:
        """What the bank answers; the call is noted first, because it may be what breaks a rule."""
        world, what = self.world, f"{call.call} {call.kind} {call.attempt}"
        world.note("bank", what, call.checkout_id.int, call.idempotency_key)
        return _finished(answer_of(self._bank, call))

    def _take_back(self, call: LeasedCall) -> None:
        """The worker is back: its own leases are due at once."""
        payment, operation = self._find(call.payment_id, call.operation_id)
        if self._holds(call, operation):
            due = replace(operation, status=OperationStatus.DUE, claimable_at=self.world.now)
            self._put(payment, due)

    def _holds(self, call: LeasedCall, operation: Operation) -> bool:
        leased = operation.status is OperationStatus.LEASED
        return leased and self._leases[operation.idempotency_key].token == call.lease_token

    def _record(self, call: LeasedCall, outcome: Outcome) -> None:
        """Record the result, as the statement of `store.operations.record` does."""
        world, whose = self.world, call.checkout_id.int
        payment, operation = self._find(call.payment_id, call.operation_id)
        if not self._holds(call, operation):
            return
        name = NAMES[type(outcome)]
        world.note("worker", f"{call.call} {call.kind}", whose, name)
        now, lease = world.now, self._leases[operation.idempotency_key]
        answered = operation.answered or call.answers(outcome)
        if not (call.is_news(outcome) or operation.waited_for):
            asks_at = now if operation.hinted else now + self._rules.ask_delay(call.asks)
            due = replace(
                operation, status=OperationStatus.DUE, claimable_at=asks_at, answered=answered
            )
            self._put(payment, due)
            return
        lease.last, lease.reported_at = outcome, now
        reported = replace(
            operation,
            status=OperationStatus.REPORTED,
            reports=operation.reports + 1,
            answered=answered,
            claimable_at=now + self._resend_first,
        )
        self._put(payment, reported)
        self.emit(call.report(outcome, reported.reports, now))

    def _report_again(self, payment: Payment, operation: Operation) -> None:
        """Send again what nobody decided upon: `store.operations.overdue_reports`."""
        now, lease = self.world.now, self._leases[operation.idempotency_key]
        assert lease.last is not None
        assert lease.reported_at is not None
        wait = min(max(now - lease.reported_at, self._resend_first), self._resend_longest)
        self._put(payment, replace(operation, claimable_at=now + wait))
        self.emit(
            ProviderReported(
                shop_id=payment.shop_id,
                checkout_id=payment.checkout_id,
                payment_id=payment.payment_id,
                attempt=operation.attempt,
                operation_id=operation.operation_id,
                report=operation.reports,
                outcome=NAMES[type(lease.last)],
                facts=facts_of(lease.last),
                reported_at=lease.reported_at,
            )
        )

    def hint(self, payment_id: UUID, charge_key: str) -> None:
        """A webhook: ask at once, or right after what runs."""
        payment = self.database.tables.find(Payment, payment_id)
        if payment is None:
            return
        for operation in payment.operations:
            attempt = payment.attempt(operation.attempt)
            if not operation.is_open or attempt is None or attempt.charge_key != charge_key:
                continue
            hinted = replace(operation, hinted=True)
            if operation.status is OperationStatus.DUE and operation.next_call is NextCall.ASK:
                soonest = min(operation.claimable_at, self.world.now)
                hinted = replace(hinted, claimable_at=soonest)
            payment = self._put(payment, hinted)


def _finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # of the coroutine's own type
    raise AssertionError("the bank answers at once")
