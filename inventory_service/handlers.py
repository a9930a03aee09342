"""The fold of everything that changes stock: the saga's commands, receipts and adjustments."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar, assert_never

from contracts.messages.base import Message
from contracts.messages.inventory import (
    CommitReservation,
    ExtendReservation,
    ReleaseStock,
    ReserveStock,
    ReturnStock,
)
from inventory_service import domain
from inventory_service.domain import (
    AdjustStock,
    Allotment,
    Movement,
    Outcome,
    Overdrawn,
    ReceiveStock,
    Reservation,
    ReservationKey,
    Stock,
    UnknownWarehouses,
)
from inventory_service.store import stock as store
from messaging.database import Connection
from messaging.fold import Decision, Handler, Row, Rows

SERVICE = "inventory"

SagaStockCommand = ReserveStock | CommitReservation | ReleaseStock | ExtendReservation | ReturnStock
StockBooking = ReceiveStock | AdjustStock
StockCommand = SagaStockCommand | StockBooking

R = TypeVar("R", bound=Row)


class StockHandler(Handler[StockCommand]):
    """Commands on stock. Locks reservations first, then the stock of every SKU in question."""

    async def lock(self, connection: Connection, messages: Sequence[StockCommand]) -> None:
        """Lock what the batch may change; reservations and booked levels are inserted if missing.

        Which SKUs a commit or a release changes stands in the reservation, which is locked by
        then: its lines are looked up where they cannot change any more.
        """
        saga = [message for message in messages if not isinstance(message, StockBooking)]
        await store.lock_reservations(
            connection,
            {_reservation_key(message) for message in saga},
            missing={
                _reservation_key(message)
                for message in saga
                if not isinstance(message, ExtendReservation | ReturnStock)
            },
        )
        await store.lock_stock(
            connection,
            {(message.shop_id, sku) for message in messages for sku in _skus(message)},
            reservations=_ending(messages),
            missing={
                (message.shop_id, line.sku, line.warehouse)
                for message in messages
                if isinstance(message, StockBooking)
                for line in message.lines
            },
        )

    async def load(self, connection: Connection, messages: Sequence[StockCommand]) -> Rows:
        """Read reservations with their lines, and the stock of all SKUs in question."""
        reservations = await store.read_reservations(
            connection,
            {
                _reservation_key(message)
                for message in messages
                if not isinstance(message, StockBooking)
            },
        )
        ending = _ending(messages)
        skus = {(message.shop_id, sku) for message in messages for sku in _skus(message)}
        skus.update(
            (one.shop_id, line.sku)
            for one in reservations
            if one.key in ending
            for line in one.lines
        )
        return Rows((*reservations, *await store.read_stock(connection, skus)))

    def decide(self, rows: Rows, message: StockCommand, now: datetime) -> Decision:
        """Decide one command by the rules of `domain`; a refused booking is the result."""
        outcome = _decide(rows, message, now)
        if isinstance(outcome, Outcome):
            return Decision(outcome.changed, outcome.messages, outcome)
        return Decision(result=outcome)

    def announce(self, rows: Rows, changed: Sequence[Row], now: datetime) -> Sequence[Message]:
        """One availability for each SKU whose availability the batch changed."""
        return domain.availability(_of(Stock, changed))

    def overtaken(self, message: StockCommand, later: StockCommand) -> bool:
        """A reservation that is released already takes no stock any more."""
        return (
            isinstance(message, ReserveStock)
            and isinstance(later, ReleaseStock)
            and _reservation_key(later) == _reservation_key(message)
        )

    async def save(self, connection: Connection, changed: Sequence[Row]) -> None:
        """Write each kind of row with one statement."""
        await store.write_reservations(connection, _of(Reservation, changed))
        await store.insert_lines(connection, _of(Allotment, changed))
        await store.write_stock(connection, _of(Stock, changed))
        await store.insert_movements(connection, _of(Movement, changed))


def _decide(
    rows: Rows, message: StockCommand, now: datetime
) -> Outcome | UnknownWarehouses | Overdrawn:
    if isinstance(message, StockBooking):
        stock = _stock(rows, message.shop_id, _skus(message))
        if isinstance(message, ReceiveStock):
            return domain.receive(message, stock, now)
        return domain.adjust(message, stock, now)
    key = _reservation_key(message)
    reservation = rows.find(Reservation, key) or Reservation(*key)
    skus = {*_skus(message), *(line.sku for line in reservation.lines)}
    stock = _stock(rows, message.shop_id, skus)
    match message:
        case ReserveStock():
            return domain.reserve(message, reservation, stock, now)
        case CommitReservation():
            return domain.commit(message, reservation, stock, now)
        case ReleaseStock():
            return domain.release(message, reservation, stock, now)
        case ExtendReservation():
            return domain.extend(message, reservation, now)
        case ReturnStock():
            return domain.take_back(message, reservation, stock, now)
        case unreachable:
            assert_never(unreachable)


def _reservation_key(message: SagaStockCommand) -> ReservationKey:
    round_ = message.round
    if isinstance(message, ExtendReservation | ReturnStock):
        round_ = message.reservation_round
    return message.shop_id, message.checkout_id, round_


def _ending(messages: Iterable[StockCommand]) -> set[ReservationKey]:
    """The reservations whose own lines say what stock may change."""
    return {
        _reservation_key(message)
        for message in messages
        if isinstance(message, CommitReservation | ReleaseStock)
    }


def _skus(message: StockCommand) -> set[str]:
    if isinstance(message, ReleaseStock | ExtendReservation):
        return set()
    return {line.sku for line in message.lines}


def _stock(rows: Rows, shop_id: str, skus: Iterable[str]) -> dict[str, Stock]:
    found = ((sku, rows.find(Stock, (shop_id, sku))) for sku in skus)
    return {sku: stock for sku, stock in found if stock is not None}


def _of(kind: type[R], changed: Sequence[Row]) -> list[R]:
    return [row for row in changed if isinstance(row, kind)]
