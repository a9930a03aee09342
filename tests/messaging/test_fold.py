"""The fold takes a decision over whole or not at all."""

from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from contracts.ids import new_id
from contracts.messages.base import Step
from contracts.messages.inventory import ReserveStock, StockReserved
from contracts.values import Struct, replace
from messaging.fold import Decision, Fold, Handler, Incoming, MissingRow, Row, Rows
from messaging.outbox import MessageTooLarge, address
from tests.messaging.example import LATER, reserve

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Tally(Struct, frozen=True):
    checkout_id: UUID
    value: int

    @property
    def key(self) -> Hashable:
        return self.checkout_id


class Adding(Handler[ReserveStock]):
    async def lock(self, connection: Any, messages: Sequence[ReserveStock]) -> None: ...

    async def load(self, connection: Any, messages: Sequence[ReserveStock]) -> Rows:
        return Rows()

    async def save(self, connection: Any, changed: Sequence[Row]) -> None: ...

    def decide(self, rows: Rows, message: ReserveStock, now: datetime) -> Decision:
        tally = rows.get(Tally, message.checkout_id)
        quantity = message.lines[0].quantity
        reply = StockReserved(
            checkout_id=message.checkout_id, round=message.round, expires_at=LATER
        )
        if message.lines[0].sku == "huge reply":
            reply = reply.model_copy(update={"shop_id": "x" * 3_000_000})
        return Decision((replace(tally, value=tally.value + quantity),), (reply,))


def a_fold(checkout: UUID) -> Fold:
    return Fold(rows=Rows([Tally(checkout, 0)]), recorded={}, source="inventory", now=NOW)


def test_each_message_sees_what_those_before_it_changed() -> None:
    checkout = new_id()
    fold = a_fold(checkout)
    for round_ in (1, 2, 3):
        fold.step(Adding(), Incoming(reserve(checkout, round_, quantity=round_)))
    assert fold.rows.get(Tally, checkout).value == 6
    assert list(fold.changed.values()) == [Tally(checkout, 6)]
    assert [sent.envelope.round for sent in fold.outgoing if sent.envelope] == [1, 2, 3]


def test_a_message_that_fails_leaves_nothing_of_itself() -> None:
    checkout = new_id()
    fold = a_fold(checkout)
    fold.step(Adding(), Incoming(reserve(checkout, 1)))
    with pytest.raises(MissingRow):
        fold.step(Adding(), Incoming(reserve(new_id())))
    with pytest.raises(MessageTooLarge):
        fold.step(Adding(), Incoming(reserve(checkout, 2, sku="huge reply")))
    assert list(fold.changed.values()) == [Tally(checkout, 1)]
    assert len(fold.outgoing) == len(fold.answered) == 1


def test_the_same_question_within_a_batch_is_answered_again_without_a_second_effect() -> None:
    checkout = new_id()
    fold = a_fold(checkout)
    for _ in range(3):
        fold.step(Adding(), Incoming(reserve(checkout)))
    assert fold.rows.get(Tally, checkout).value == 1
    assert len(fold.outgoing) == 3
    assert len({sent.message_id for sent in fold.outgoing}) == 1


def test_a_reply_carries_what_led_to_it() -> None:
    checkout = new_id()
    cause = address(reserve(checkout), source="order", now=NOW).envelope
    assert cause is not None
    cause = replace(cause, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    fold = a_fold(checkout)
    fold.step(Adding(), Incoming(reserve(checkout), cause))
    envelope = fold.outgoing[0].envelope
    assert envelope is not None
    assert envelope.causation_id == cause.id
    assert envelope.correlation_id == str(checkout)
    assert envelope.traceparent == cause.traceparent
    assert (envelope.step, envelope.round) == (Step.RESERVE, 1)
    assert envelope.source == "/trolley/inventory"
