"""`payment.commands`: lock and load the payments a batch names, decide each message, save."""

from collections.abc import Callable, Sequence
from datetime import datetime

from contracts.messages.payment import ChargePayment, ClosePayment, ProviderReported
from messaging.database import Connection
from messaging.fold import Decision, Handler, Row, Rows
from payment_service.domain.decisions import PaymentMessage, decide
from payment_service.domain.ledger import Fact
from payment_service.domain.payment import Attempt, Operation, OperationStatus, Payment, Refund
from payment_service.domain.rules import Rules
from payment_service.domain.saved_methods import SavedMethod, saved_by
from payment_service.store import payments as store
from payment_service.store import saved_methods


class PaymentHandler(Handler[PaymentMessage]):
    """Commands of the saga and reports of providers, one fold for both.

    `wake` tells this process's worker, once the batch is committed, that something is due.
    """

    def __init__(self, rules: Rules, wake: Callable[[], None]) -> None:
        self._rules = rules
        self._wake = wake

    async def lock(self, connection: Connection, messages: Sequence[PaymentMessage]) -> None:
        """Payments first, those that a charge or close may open inserted before; then operations.

        Operations are a class of their own because workers change them without the payment.
        """
        openings = {
            store.Opening(message.payment_id, message.shop_id, message.checkout_id)
            for message in messages
            if isinstance(message, ChargePayment | ClosePayment)
        }
        await store.open_payments(connection, openings)
        await store.lock_payments(connection, {message.payment_id for message in messages})

    async def load(self, connection: Connection, messages: Sequence[PaymentMessage]) -> Rows:
        """The payments of the batch, with all their parts."""
        ids = {message.payment_id for message in messages}
        return Rows(await store.load_payments(connection, ids))

    def decide(self, rows: Rows, message: PaymentMessage, now: datetime) -> Decision:
        """See `payment_service.domain.decisions.decide`."""
        before = rows.find(Payment, message.payment_id)
        decided = decide(before, message, now, self._rules)
        if decided.payment is None:
            return Decision(messages=decided.messages)
        changed: tuple[Row, ...] = decided.payment.changes_since(before)
        if isinstance(message, ProviderReported):
            saved = saved_by(decided.payment, message)
            changed += () if saved is None else (saved,)
        return Decision(changed, decided.messages, result=decided.payment)

    def overtaken(self, message: PaymentMessage, later: PaymentMessage) -> bool:
        """A charge whose attempt, or a later one, is to be closed takes no money any more."""
        return (
            isinstance(message, ChargePayment)
            and isinstance(later, ClosePayment)
            and later.payment_id == message.payment_id
            and later.round >= message.round
        )

    async def save(self, connection: Connection, changed: Sequence[Row]) -> None:
        """Every part by its own statement, parents first."""
        operations = [row for row in changed if isinstance(row, Operation)]
        await store.save_payments(connection, [row for row in changed if isinstance(row, Payment)])
        await store.save_attempts(connection, [row for row in changed if isinstance(row, Attempt)])
        await store.save_refunds(connection, [row for row in changed if isinstance(row, Refund)])
        await store.save_operations(connection, operations)
        await store.save_facts(connection, [row for row in changed if isinstance(row, Fact)])
        saved = [row for row in changed if isinstance(row, SavedMethod)]
        await saved_methods.save_methods(connection, saved)
        if any(operation.status is OperationStatus.DUE for operation in operations):
            connection.after_commit(self._wake)
