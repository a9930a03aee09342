"""Messages to inventory, its replies to the saga, its read-model topic and its events."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime

from contracts.messages.base import Event, Message, Number, SagaCommand, SagaReply, Step
from contracts.messages.parts import Shortage, StockLine
from contracts.topics import (
    INVENTORY_AVAILABILITY,
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    ORDER_COMMANDS,
    ORDER_REPLIES,
    Topic,
)


class ReserveStock(SagaCommand):
    """Reserve all lines or none, until `expires_at` (a backstop: inventory asks, never releases).

    The round is the reservation round: reserving again after a release is a new one.
    """

    type: ClassVar[str] = "inventory.reserve_stock.v1"
    topic: ClassVar[Topic] = INVENTORY_COMMANDS

    step: Literal[Step.RESERVE] = Step.RESERVE
    lines: tuple[StockLine, ...]
    expires_at: AwareDatetime


class CommitReservation(SagaCommand):
    """The money is here: take the reserved pieces off the shelf for good.

    The round is the reservation round. `lines` lets inventory try to take the stock again when
    the reservation is not held any more.
    """

    type: ClassVar[str] = "inventory.commit_reservation.v1"
    topic: ClassVar[Topic] = INVENTORY_COMMANDS

    step: Literal[Step.COMMIT] = Step.COMMIT
    lines: tuple[StockLine, ...]


class ReleaseStock(SagaCommand):
    """Give the reservation of this round back.

    Of an unknown round it leaves a tombstone that refuses the late original; of a committed one
    that is not shipped it books the pieces back by a movement. `line_count` tells how many lines
    the reservation has, for the reader to bound its batches by.
    """

    type: ClassVar[str] = "inventory.release_stock.v1"
    topic: ClassVar[Topic] = INVENTORY_COMMANDS

    step: Literal[Step.RELEASE] = Step.RELEASE
    reason: str
    line_count: int = 1


class ExtendReservation(SagaCommand):
    """Hold reservation round `reservation_round` until `expires_at`; the round counts these."""

    type: ClassVar[str] = "inventory.extend_reservation.v1"
    topic: ClassVar[Topic] = INVENTORY_COMMANDS

    step: Literal[Step.EXTEND] = Step.EXTEND
    reservation_round: Number
    expires_at: AwareDatetime


class ReturnStock(SagaCommand):
    """Sold pieces came back: book them in, and what is written off out again.

    The round counts the returns of the checkout from 1,001 on, beyond those of reservations;
    `reservation_round` says which of these the pieces were sold under, and so where they come
    back to.
    """

    type: ClassVar[str] = "inventory.return_stock.v1"
    topic: ClassVar[Topic] = INVENTORY_COMMANDS

    step: Literal[Step.RELEASE] = Step.RELEASE
    reservation_round: Number
    lines: tuple[StockLine, ...]
    written_off: tuple[StockLine, ...] = ()
    reason: str


class StockReturned(SagaReply):
    """The pieces are in the books."""

    type: ClassVar[str] = "inventory.stock_returned.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    step: Literal[Step.RELEASE] = Step.RELEASE


class StockReserved(SagaReply):
    """All lines are held for this checkout."""

    type: ClassVar[str] = "inventory.stock_reserved.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    step: Literal[Step.RESERVE] = Step.RESERVE
    expires_at: AwareDatetime


class StockRejected(SagaReply):
    """Nothing is held: per line that does not fit, what is left.

    `reason` is `released` when a release of this round came first (a tombstone), with no
    shortages then.
    """

    type: ClassVar[str] = "inventory.stock_rejected.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    step: Literal[Step.RESERVE] = Step.RESERVE
    reason: Literal["out_of_stock", "released"]
    shortages: tuple[Shortage, ...] = ()


class ReservationCommitted(SagaReply):
    """The pieces are sold: on hand and reserved are both lowered, the movement is written."""

    type: ClassVar[str] = "inventory.reservation_committed.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    step: Literal[Step.COMMIT] = Step.COMMIT


class ReservationNotHeld(SagaReply):
    """The reservation is gone and its stock could not be taken again (commit, or extend)."""

    type: ClassVar[str] = "inventory.reservation_not_held.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    step: Literal[Step.COMMIT, Step.EXTEND] = Step.COMMIT
    shortages: tuple[Shortage, ...] = ()


class ReservationExtended(SagaReply):
    """The reservation is held until `expires_at`."""

    type: ClassVar[str] = "inventory.reservation_extended.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    step: Literal[Step.EXTEND] = Step.EXTEND
    expires_at: AwareDatetime


class StockReleased(SagaReply):
    """The round holds nothing any more; `outcome` says what was given back."""

    type: ClassVar[str] = "inventory.stock_released.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    step: Literal[Step.RELEASE] = Step.RELEASE
    outcome: Literal["released", "nothing_held", "booked_back"]


class ReservationDue(SagaCommand):
    """The backstop's question: this reservation reached its expiry; extend, commit or release?

    Asked again, with backoff, until the saga's answer changes the reservation.
    """

    type: ClassVar[str] = "order.reservation_due.v1"
    topic: ClassVar[Topic] = ORDER_COMMANDS

    step: Literal[Step.RESERVE] = Step.RESERVE
    expires_at: AwareDatetime


class StockAvailability(Message):
    """The latest availability of one SKU over all warehouses; applied only when newer.

    Compacted by SKU: the topic alone is enough to build a read model from nothing.
    """

    type: ClassVar[str] = "inventory.availability.v1"
    topic: ClassVar[Topic] = INVENTORY_AVAILABILITY

    sku: str
    available: int
    version: int

    @property
    def key(self) -> str:
        return f"{self.shop_id}/{self.sku}"


class StockMoved(Event):
    """On hand of one SKU in one warehouse changed: received, adjusted, sold or returned."""

    type: ClassVar[str] = "inventory.stock_moved.v1"
    topic: ClassVar[Topic] = INVENTORY_EVENTS

    sku: str
    warehouse: str
    kind: Literal["receipt", "adjustment", "sale", "return"]
    quantity: int
    on_hand: int
    movement_id: UUID
    moved_at: AwareDatetime

    @property
    def key(self) -> str:
        return f"{self.shop_id}/{self.sku}"
