"""The payment service, with a bug or without (see `tests.system.buggy`)."""

from datetime import datetime
from typing import Any

from contracts.messages.payment import ChargePayment
from messaging.fold import Decision, Rows
from payment_service.app import build
from payment_service.handlers import PaymentHandler
from tests.system.buggy import Bug, bug

AMOUNT = bug()
_decide = PaymentHandler.decide


def _refusing(handler: PaymentHandler, rows: Rows, message: Any, now: datetime) -> Decision:
    if isinstance(message, ChargePayment) and str(message.amount_minor) == AMOUNT:
        raise Bug(f"cannot charge {AMOUNT}")
    return _decide(handler, rows, message, now)


if __name__ == "__main__":
    PaymentHandler.decide = _refusing  # type: ignore[method-assign, assignment]  # the bug
    build().run()
