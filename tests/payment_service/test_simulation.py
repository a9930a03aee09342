"""Payment and provider together, with every delay, loss and repetition that can happen. Pure.

Commands come in any order and more than once; workers take operations and die; calls are lost
before or after their effect, or arrive long after they were given up; reports are repeated. At
the end everything is asked until known, and our ledger must be the provider's, unit by unit.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from contracts.messages import payment as messages
from contracts.messages.base import Step
from contracts.values import replace
from payment_service.domain.calls import LeasedCall
from payment_service.domain.commands import NotAuthorized
from payment_service.domain.decisions import PaymentMessage
from payment_service.domain.outcomes import Outcome, Unknown
from payment_service.domain.payment import (
    BESIDE,
    NextCall,
    Operation,
    OperationKind,
    OperationStatus,
)
from payment_service.providers.port import (
    Capture,
    Close,
    PaymentQuestion,
    Refund,
    RefundQuestion,
    Review,
)
from payment_service.providers.simulated.account import (
    Account,
    BankDisputed,
    ClerkRefunded,
    DisputeStatus,
    ProviderCall,
    ProviderPayment,
    ShopperActed,
    Status,
    answered,
    opens_account,
)
from payment_service.worker import charge_of
from tests.payment_service.story import (
    CHECKOUT,
    PAYMENT,
    Flow,
    Story,
    capture,
    charge,
    close,
    refund,
    review,
)

METHODS = (
    "pm_ok",
    "pm_ok",
    "pm_declined_insufficient_funds",
    "pm_action_required_10000000",
    "pm_action_required_10000000",
    "pm_processing_20000",
    "pm_processing_20000_then_declined",
    "pm_processing_20000+uncloseable",
    "pm_ok+capture_fails",
    "pm_ok+refund_pending_20000",
    "pm_ok+refund_pending_20000_then_fails",
    "pm_ok+refund_fails",
    "pm_ok+refund_returns_20000",
)
ATTEMPTS = st.sampled_from((1, 1, 1, 2))
SELDOM = st.sampled_from((False, False, True))
DISPUTES: tuple[DisputeStatus, ...] = ("open", "won", "lost")
FLOWS: tuple[Flow, ...] = ("automatic", "authorize")
STANDING = {
    "refund_requested": (("refund_pending", 1),),
    "refund_failed": (("refund_pending", -1),),
    "refunded": (("refund_pending", -1), ("refunded", 1)),
    "refund_returned": (("refunded", -1),),
    "dispute_won": (("disputed", -1),),
    "dispute_lost": (("disputed", -1), ("dispute_lost", 1)),
}
Fate = Literal["answered", "answer lost", "call lost", "call late"]
FATES: tuple[Fate, ...] = ("answered", "answered", "answer lost", "call lost", "call late")


@dataclass
class Bank:
    """The provider: its accounts by charge key."""

    accounts: dict[str, Account]

    def serve(self, call: ProviderCall, story: Story) -> Outcome:
        """What the provider makes of a call that reaches it now."""
        key = call.charge_key
        if key not in self.accounts and opens_account(call):
            self.accounts[key] = Account(ProviderPayment(charge_key=key))
        account, outcome = answered(self.accounts.get(key), call, story.now, f"secret-{key}")
        if account is not None:
            self.accounts[key] = account
        return outcome

    def booked(self) -> Counter[tuple[str, str]]:
        """Sums of its ledger by charge key and kind."""
        sums: Counter[tuple[str, str]] = Counter()
        for key, account in self.accounts.items():
            for entry in account.entries:
                sums[(key, entry.kind.value)] += entry.amount_minor
        return sums


def standing(booked: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """What stands after all: a refund that failed before anybody looked never was."""
    sums: Counter[tuple[str, str]] = Counter()
    for (key, kind), amount in booked.items():
        for name, sign in STANDING.get(kind, ((kind, 1),)):
            sums[(key, name)] += sign * amount
    return {what: amount for what, amount in sums.items() if amount}


class PaymentsAndProvider(RuleBasedStateMachine):
    """Commands, workers, calls and reports in any order hypothesis finds."""

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.bank = Bank({})
        self.reports: list[messages.ProviderReported] = []
        self.late: list[ProviderCall] = []
        self.last: dict[object, Outcome] = {}
        self.asked: set[tuple[Step, int]] = set()
        self.calls: dict[object, NextCall] = {}
        self.ledger_length = 0

    # --- what happens

    def decide(self, message: PaymentMessage) -> None:
        try:
            self.story.when(message)
        except NotAuthorized:
            return  # dead-lettered: nothing asked, nothing changed
        if not isinstance(message, messages.ProviderReported | messages.ReviewPayment):
            self.asked.add((message.step, message.round))

    @initialize(method=st.sampled_from(METHODS), flow=st.sampled_from(FLOWS), well=st.booleans())
    def begin(self, method: str, flow: Flow, well: bool) -> None:
        self.decide(charge(method=method, flow=flow))
        if well:
            self.all_goes_well()

    @rule(attempt=ATTEMPTS, method=st.sampled_from(METHODS), flow=st.sampled_from(FLOWS))
    def charge(self, attempt: int, method: str, flow: Flow) -> None:
        self.decide(charge(attempt, method=method, flow=flow))

    @rule(attempt=ATTEMPTS, amount=st.sampled_from((1000, 1000, 600, 2000)))
    def capture(self, attempt: int, amount: int) -> None:
        self.decide(capture(attempt, amount))

    @rule(attempt=ATTEMPTS, really=SELDOM)
    def close(self, attempt: int, really: bool) -> None:
        if really:
            self.decide(close(attempt))

    @rule(number=st.integers(1, 4), attempt=ATTEMPTS, amount=st.sampled_from((1000, 400, 300)))
    def refund(self, number: int, attempt: int, amount: int) -> None:
        known = self.story.payment.refund(refund(number).refund_id)
        if known is not None:  # a repetition says the same
            attempt, amount = known.attempt, known.amount_minor
        self.decide(refund(number, amount, attempt=attempt))

    @rule(attempt=ATTEMPTS)
    def something_may_have_happened(self, attempt: int) -> None:
        self.decide(review(attempt))

    @precondition(lambda self: self.bank.accounts)
    @rule(
        data=st.data(),
        number=st.integers(1, 3),
        amount=st.sampled_from((1000, 400, 300)),
        told=st.booleans(),
    )
    def the_provider_gives_money_back(
        self, data: st.DataObject, number: int, amount: int, told: bool
    ) -> None:
        key = data.draw(st.sampled_from(sorted(self.bank.accounts)))
        self.bank.serve(ClerkRefunded(key, f"{key}:clerk:{number}", amount), self.story)
        if told:
            self.decide(review(1 if key.endswith(":1:charge") else 2))

    @precondition(lambda self: self.bank.accounts)
    @rule(data=st.data(), status=st.sampled_from(DISPUTES), told=st.booleans())
    def the_bank_disputes(self, data: st.DataObject, status: DisputeStatus, told: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.bank.accounts)))
        self.bank.serve(BankDisputed(key, f"{key}:dispute", 400, status), self.story)
        if told:
            self.decide(review(1 if key.endswith(":1:charge") else 2))

    def with_status(self, status: OperationStatus) -> list[Operation]:
        return [op for op in self.story.payment.operations if op.status is status]

    @precondition(lambda self: self.with_status(OperationStatus.DUE))
    @rule(data=st.data())
    def worker_takes(self, data: st.DataObject) -> None:
        self.take(data.draw(st.sampled_from(self.with_status(OperationStatus.DUE))))

    @precondition(lambda self: self.with_status(OperationStatus.DUE))
    @rule()
    def all_goes_well(self) -> None:
        for operation in self.with_status(OperationStatus.DUE):
            self.end(self.take(operation), "answered", worker_dies=False)
        for report in self.reports[-4:]:
            self.decide(report)

    def take(self, operation: Operation) -> Operation:
        making = operation.next_call is NextCall.MAKE
        leased = replace(
            operation,
            status=OperationStatus.LEASED,
            next_call=NextCall.ASK,
            makes=operation.makes + making,
            asks=operation.asks + (not making),
        )
        self.story.payment = self.story.payment.with_operation(leased)
        self.calls[operation.operation_id] = operation.next_call
        if making:
            self.last.pop(operation.operation_id, None)
        return leased

    @precondition(lambda self: self.with_status(OperationStatus.LEASED))
    @rule(
        data=st.data(),
        fate=st.sampled_from(FATES),
        worker_dies=SELDOM,
    )
    def call_ends(self, data: st.DataObject, fate: Fate, worker_dies: bool) -> None:
        operation = data.draw(st.sampled_from(self.with_status(OperationStatus.LEASED)))
        self.end(operation, fate, worker_dies)

    def end(self, operation: Operation, fate: Fate, worker_dies: bool) -> None:
        call = self.leased(operation)
        request = self.request(call)
        outcome: Outcome = Unknown("timeout")
        match fate:
            case "answered":
                outcome = self.bank.serve(request, self.story)
            case "answer lost":
                self.bank.serve(request, self.story)
            case "call late":
                self.late.append(request)
            case "call lost":
                pass
        if worker_dies:  # the lease runs out, another worker asks
            after = replace(operation, status=OperationStatus.DUE)
        elif call.is_news(outcome) or operation.waited_for:
            after = replace(
                operation,
                status=OperationStatus.REPORTED,
                reports=operation.reports + 1,
                answered=operation.answered or call.answers(outcome),
            )
            self.last[operation.operation_id] = outcome
            self.reports.append(call.report(outcome, after.reports, self.story.now))
        else:
            answered_now = operation.answered or call.answers(outcome)
            after = replace(operation, status=OperationStatus.DUE, answered=answered_now)
        self.story.payment = self.story.payment.with_operation(after)

    @precondition(lambda self: self.with_status(OperationStatus.DUE))
    @rule(data=st.data(), fate=st.sampled_from(FATES))
    def close_crosses(self, data: st.DataObject, fate: Fate) -> None:
        operation = self.take(data.draw(st.sampled_from(self.with_status(OperationStatus.DUE))))
        self.decide(close(operation.attempt))
        leased = self.story.payment.operation(operation.operation_id)
        assert leased is not None
        self.end(leased, fate, worker_dies=False)

    @precondition(lambda self: self.reports)
    @rule(data=st.data())
    def report_is_read(self, data: st.DataObject) -> None:
        self.decide(data.draw(st.sampled_from(self.reports)))

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def late_call_arrives(self, data: st.DataObject) -> None:
        self.bank.serve(data.draw(st.sampled_from(self.late)), self.story)

    @precondition(lambda self: self.bank.accounts)
    @rule(data=st.data(), completed=st.booleans())
    def shopper_acts(self, data: st.DataObject, completed: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.bank.accounts)))
        self.bank.serve(ShopperActed(key, completed), self.story)

    @rule(seconds=st.sampled_from((1, 15, 600, 3600)))
    def time_passes(self, seconds: int) -> None:
        self.story.now += timedelta(seconds=seconds)

    # --- what a worker knows

    def leased(self, operation: Operation) -> LeasedCall:
        attempt = self.story.attempt(operation.attempt)
        assert attempt.method is not None
        return LeasedCall(
            operation_id=operation.operation_id,
            lease_token=operation.operation_id,
            payment_id=PAYMENT,
            checkout_id=CHECKOUT,
            shop_id="main",
            attempt=operation.attempt,
            kind=operation.kind,
            call=self.calls[operation.operation_id],
            provider=operation.provider,
            idempotency_key=operation.idempotency_key,
            charge_key=attempt.charge_key,
            amount_minor=operation.amount_minor,
            began_at=operation.created_at,
            charge_minor=attempt.amount_minor,
            charge_began_at=attempt.created_at,
            currency="GBP",
            method_token=attempt.method.token,
            flow=attempt.method.flow,
            provider_payment_id=attempt.provider_payment_id,
            asks=operation.asks,
            reports=operation.reports,
            last=self.last.get(operation.operation_id),
        )

    def request(self, call: LeasedCall) -> ProviderCall:
        key, charge = call.idempotency_key, charge_of(call)
        match call.kind, call.call:
            case OperationKind.REVIEW, _:
                return Review(charge)
            case OperationKind.REFUND, NextCall.ASK:
                return RefundQuestion(charge, key, None)
            case _, NextCall.ASK:
                return PaymentQuestion(charge)
            case OperationKind.CHARGE, _:
                return charge
            case OperationKind.CAPTURE, _:
                return Capture(charge, key, call.amount_minor, call.began_at)
            case OperationKind.CLOSE, _:
                return Close(charge, key)
            case _:
                return Refund(charge, key, call.amount_minor, call.began_at)

    # --- what must always be true

    @invariant()
    def at_most_one_attempt_is_live(self) -> None:
        assert sum(attempt.is_live for attempt in self.story.payment.attempts) <= 1

    @invariant()
    def at_most_one_operation_of_an_attempt_is_open(self) -> None:
        open_of = Counter(
            op.attempt for op in self.story.open_operations() if op.kind not in BESIDE
        )
        assert all(count == 1 for count in open_of.values())

    @invariant()
    def amounts_agree_and_the_ledger_only_grows(self) -> None:
        authorized, captured, pending, refunded = self.story.amounts()  # raises when they do not
        assert 0 <= pending + refunded <= captured <= authorized
        assert len(self.story.payment.ledger) >= self.ledger_length
        self.ledger_length = len(self.story.payment.ledger)
        assert [fact.seq for fact in self.story.payment.ledger] == list(
            range(1, self.ledger_length + 1)
        )

    @invariant()
    def the_provider_never_has_money_of_two_attempts(self) -> None:
        paid = [a for a in self.bank.accounts.values() if a.payment.captured_minor > 0]
        given_back = [a for a in paid if a.given_back_minor == a.payment.captured_minor]
        assert len(paid) - len(given_back) <= 1

    @invariant()
    def a_closed_attempt_brings_no_money(self) -> None:
        for reply in self.story.sent:
            if isinstance(reply, messages.PaymentClosed):
                attempt = self.story.attempt(reply.attempt)
                account = self.bank.accounts.get(attempt.charge_key)
                assert account is None or account.payment.status not in {
                    Status.SUCCEEDED,
                    Status.AUTHORIZED,
                    Status.PROCESSING,
                    Status.ACTION_REQUIRED,
                }

    # --- how it ends

    def teardown(self) -> None:
        """All is asked until known; then all late calls arrive, and change nothing more."""
        self.ask_until(
            lambda: all(
                attempt.close_reason is None or not attempt.is_live
                for attempt in self.story.payment.attempts
            ),
            timedelta(minutes=1),
        )
        self.ask_until(lambda: not self.story.open_operations(), timedelta(hours=1))
        for call in self.late:
            self.bank.serve(call, self.story)
        self.story.now += timedelta(hours=1)
        for attempt in self.story.payment.attempts:
            self.decide(review(attempt.number))
        self.ask_until(lambda: not self.story.open_operations(), timedelta(hours=1))
        self.amounts_agree_and_the_ledger_only_grows()
        self.a_closed_attempt_brings_no_money()
        self.our_ledger_is_the_providers()
        self.every_question_is_answered()

    def ask_until(self, over: Callable[[], bool], wait: timedelta) -> None:
        """Nothing is lost any more: what is asked about must come to its end by itself."""
        for _ in range(40):
            if over():
                return
            self.story.now += wait
            for operation in self.with_status(OperationStatus.DUE):
                self.take(operation)
            for operation in self.with_status(OperationStatus.LEASED):
                self.end(operation, "answered", worker_dies=False)
            for report in list(self.reports):
                self.decide(report)
        raise AssertionError("something is asked about for ever")

    def our_ledger_is_the_providers(self) -> None:
        ours: Counter[tuple[str, str]] = Counter()
        for fact in self.story.payment.ledger:
            key = self.story.attempt(fact.attempt).charge_key
            ours[(key, fact.kind.value)] += fact.amount_minor
        assert standing(ours) == standing(self.bank.booked())

    def every_question_is_answered(self) -> None:
        answers: dict[tuple[Step, int], messages.PaymentReply] = {}
        for reply in self.story.sent:
            if isinstance(reply, messages.PaymentReply):
                answers[(reply.step, reply.round)] = reply
        for question in self.asked:
            answer = answers.get(question)
            if answer is None and question[0] is Step.CHARGE:
                # withdrawn, or closed before it was answered: the close has the answer
                answer = answers.get((Step.CLOSE_PAYMENT, question[1]))
            assert answer is not None, question
            if question[0] is Step.CLOSE_PAYMENT:
                assert isinstance(answer, messages.PaymentClosed | messages.PaymentSucceeded)
            if question[0] in {Step.CAPTURE, Step.REFUND}:
                assert not isinstance(answer, messages.PaymentUnknown | messages.RefundPending)


TestPaymentsAndProvider = PaymentsAndProvider.TestCase
TestPaymentsAndProvider.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
