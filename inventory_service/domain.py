"""The rules of stock: levels, reservations, and the append-only ledger of movements.

Pure: a command and the rows that it concerns go in, an `Outcome` comes out. Per SKU and warehouse
0 <= reserved <= on hand, on hand is the sum of the movements, and reserved is the sum of what
held reservations took.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from contracts.ids import derived_id
from contracts.messages.base import Message
from contracts.messages.inventory import (
    CommitReservation,
    ExtendReservation,
    ReleaseStock,
    ReservationCommitted,
    ReservationDue,
    ReservationExtended,
    ReservationNotHeld,
    ReserveStock,
    ReturnStock,
    StockAvailability,
    StockMoved,
    StockRejected,
    StockReleased,
    StockReserved,
    StockReturned,
)
from contracts.messages.parts import Shortage, StockLine
from contracts.values import Struct, replace


class ImpossibleLevel(ValueError):
    """A level that may not exist: more reserved than on hand, or less than nothing."""

    def __init__(self, warehouse: str, on_hand: int, reserved: int) -> None:
        super().__init__(f"{reserved} reserved of {on_hand} on hand in {warehouse}")
        self.warehouse = warehouse
        self.on_hand = on_hand
        self.reserved = reserved


class NotSold(ValueError):
    """Pieces are said to have come back that this round of the checkout has not sold."""

    def __init__(self, checkout_id: UUID, round_: int, sku: str | None = None) -> None:
        super().__init__(f"round {round_} of {checkout_id} has not sold {sku or 'anything'}")
        self.sku = sku


class UnknownLevel(KeyError):
    """A reservation took pieces from a warehouse in which the SKU has no level."""


class Level(Struct, frozen=True):
    """The pieces of one SKU in one warehouse. Raises `ImpossibleLevel`."""

    warehouse: str
    on_hand: int
    reserved: int

    def __post_init__(self) -> None:
        if not 0 <= self.reserved <= self.on_hand:
            raise ImpossibleLevel(self.warehouse, self.on_hand, self.reserved)

    @property
    def available(self) -> int:
        """How many pieces can still be reserved here."""
        return self.on_hand - self.reserved


class Stock(Struct, frozen=True):
    """One SKU of one shop: its levels, by priority of the warehouses, and its counters.

    `event_seq` counts its movements. `availability_version` grows with every change of what is
    available, and `announced` is what readers of the availability feed were last told.
    """

    shop_id: str
    sku: str
    levels: tuple[Level, ...] = ()
    event_seq: int = 0
    availability_version: int = 0
    announced: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Unique among stock."""
        return self.shop_id, self.sku

    @property
    def available(self) -> int:
        """How many pieces can still be reserved, over all warehouses."""
        total = 0
        for level in self.levels:
            total += level.on_hand - level.reserved
        return total

    def level(self, warehouse: str) -> Level | None:
        """The level of one warehouse, or None."""
        for level in self.levels:
            if level.warehouse == warehouse:
                return level
        return None

    def on_hand_in(self, warehouse: str) -> int:
        """How many pieces are in one warehouse."""
        level = self.level(warehouse)
        return level.on_hand if level else 0

    def changed(self, warehouse: str, *, on_hand: int = 0, reserved: int = 0) -> "Stock":
        """This stock with so many more (negative: fewer) pieces on hand and reserved there.

        A change of what is on hand is one movement, and so one event. Raises `ImpossibleLevel`
        and `UnknownLevel`.
        """
        before = self.level(warehouse)
        if before is None:
            raise UnknownLevel(self.shop_id, self.sku, warehouse)
        after = Level(warehouse, before.on_hand + on_hand, before.reserved + reserved)
        return Stock(
            self.shop_id,
            self.sku,
            tuple([after if level is before else level for level in self.levels]),
            self.event_seq + (on_hand != 0),
            self.availability_version + (on_hand != reserved),
            self.announced,
        )


class Owner(StrEnum):
    """What kind of thing a reservation belongs to."""

    CHECKOUT = "checkout"
    CART = "cart"


class Status(StrEnum):
    """Where a reservation stands. Only what is `HELD` counts as reserved."""

    NEW = "new"
    """Nothing is decided: its row is there to be locked."""
    HELD = "held"
    """Its pieces are reserved."""
    COMMITTED = "committed"
    """Its pieces are sold."""
    RELEASED = "released"
    """Given back before a sale; without lines, a tombstone: released before it was ever held."""
    BOOKED_BACK = "booked_back"
    """Sold, and given back before it was shipped."""
    REJECTED = "rejected"
    """Refused: the stock did not suffice when it was asked for."""
    NOT_HELD = "not_held"
    """Asked to commit without being held, and the stock did not suffice to take it then."""


class Allocation(Struct, frozen=True):
    """So many pieces of one SKU from one warehouse."""

    sku: str
    warehouse: str
    quantity: int


class Reservation(Struct, frozen=True):
    """What one round of a checkout holds, has held, or was refused.

    `lines` are set once and stay. `next_question_at` is set while it is held: when to ask the
    saga whether it is still wanted; `questions` counts those asked since the expiry was last
    moved. `shortages` say why it was rejected or not held, `reason` why it was released.
    """

    shop_id: str
    owner_id: UUID
    round: int
    status: Status = Status.NEW
    lines: tuple[Allocation, ...] = ()
    shortages: tuple[Shortage, ...] = ()
    expires_at: datetime | None = None
    next_question_at: datetime | None = None
    questions: int = 0
    reason: str | None = None
    changed_at: datetime | None = None
    owner: Owner = Owner.CHECKOUT

    @property
    def key(self) -> "ReservationKey":
        """Unique among reservations."""
        return self.shop_id, self.owner_id, self.round

    @property
    def id(self) -> UUID:
        """Its own id, derived from owner and round: the same wherever it is computed."""
        return derived_id(self.owner_id, f"reservation:{self.round}")


ReservationKey = tuple[str, UUID, int]
"""Shop, owner and round."""


class Allotment(Struct, frozen=True):
    """The lines that a reservation was given: written once, with it, and never changed."""

    key: ReservationKey
    lines: tuple[Allocation, ...]


class MovementKind(StrEnum):
    """Why pieces came to or left a warehouse."""

    RECEIPT = "receipt"
    ADJUSTMENT = "adjustment"
    SALE = "sale"
    RETURN = "return"


class Movement(Struct, frozen=True):
    """An entry of the ledger: `quantity` pieces came (negative: went), then `on_hand` were there.

    `event_seq` is its number among the movements of its SKU, from 1 and without gaps. It was
    line `line` of an operation: a receipt or an adjustment, or a checkout with the round of its
    reservation (0 elsewhere).
    """

    shop_id: str
    sku: str
    event_seq: int
    warehouse: str
    kind: MovementKind
    quantity: int
    on_hand: int
    operation_id: UUID
    round: int
    line: int
    reason: str | None
    moved_at: datetime

    @property
    def key(self) -> tuple[str, str, int]:
        """Unique among movements."""
        return self.shop_id, self.sku, self.event_seq

    @property
    def id(self) -> UUID:
        """Derived from the line of the operation: no operation books a line twice."""
        return derived_id(self.operation_id, f"{self.kind}:{self.round}:{self.line}")


Changed = Reservation | Allotment | Stock | Movement


class Outcome(Struct, frozen=True):
    """What a command leads to: new versions of rows, and the messages to send."""

    changed: tuple[Changed, ...] = ()
    messages: tuple[Message, ...] = ()


# --- allocation ---------------------------------------------------------------------------------


class Short(Struct, frozen=True):
    """The stock does not suffice: per SKU that falls short, what is left."""

    shortages: tuple[Shortage, ...]


def pieces_by_sku(lines: Iterable[StockLine]) -> dict[str, int]:
    """The pieces wanted of each SKU; several lines of one SKU want their sum."""
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    return wanted


def allocate(
    wanted: Mapping[str, int], stock: Mapping[str, Stock]
) -> tuple[Allocation, ...] | Short:
    """Choose warehouses for all that is wanted, or say what falls short.

    One warehouse for everything if there is one, the first by priority; else one for each SKU;
    else a SKU is split, the fullest warehouse first, which makes the fewest parts.
    """
    shortages = tuple(
        Shortage(sku=sku, requested=quantity, available=available)
        for sku, quantity in wanted.items()
        if (available := stock[sku].available if sku in stock else 0) < quantity
    )
    if shortages:
        return Short(shortages)
    warehouse = _warehouse_for_all(wanted, stock)
    if warehouse is not None:
        return tuple(Allocation(sku, warehouse, quantity) for sku, quantity in wanted.items())
    return tuple(
        allocation
        for sku, quantity in wanted.items()
        for allocation in _allocate_sku(stock[sku], quantity)
    )


def _warehouse_for_all(wanted: Mapping[str, int], stock: Mapping[str, Stock]) -> str | None:
    candidates: list[str] | None = None
    for sku, quantity in wanted.items():
        serving = [level.warehouse for level in stock[sku].levels if level.available >= quantity]
        candidates = serving if candidates is None else [c for c in candidates if c in serving]
        if not candidates:
            return None
    return candidates[0] if candidates else None


def _allocate_sku(stock: Stock, quantity: int) -> Iterable[Allocation]:
    for level in stock.levels:
        if level.available >= quantity:
            yield Allocation(stock.sku, level.warehouse, quantity)
            return
    for level in sorted(stock.levels, key=lambda level: level.available, reverse=True):
        part = min(quantity, level.available)
        if part == 0:
            return
        yield Allocation(stock.sku, level.warehouse, part)
        quantity -= part


# --- the saga's commands ------------------------------------------------------------------------


def reserve(
    command: ReserveStock, reservation: Reservation, stock: Mapping[str, Stock], now: datetime
) -> Outcome:
    """Hold all lines, or none and say what is left.

    A round is reserved once: asked again it gets the same answer, and after its release, even
    one that came first, it is refused.
    """
    match reservation.status:
        case Status.NEW:
            return _hold_or_reject(command, reservation, stock, now)
        case Status.HELD | Status.COMMITTED:
            return Outcome(messages=(_reserved(command, reservation),))
        case Status.REJECTED:
            return Outcome(messages=(_rejected(command, reservation),))
        case Status.RELEASED | Status.BOOKED_BACK | Status.NOT_HELD:
            return Outcome(messages=(_rejected(command, None),))
        case unreachable:
            assert_never(unreachable)


def _hold_or_reject(
    command: ReserveStock,
    reservation: Reservation,
    stock: Mapping[str, Stock],
    now: datetime,
) -> Outcome:
    lines = allocate(pieces_by_sku(command.lines), stock)
    if isinstance(lines, Short):
        rejected = replace(
            reservation, status=Status.REJECTED, shortages=lines.shortages, changed_at=now
        )
        return Outcome((rejected,), (_rejected(command, rejected),))
    held = replace(
        reservation,
        status=Status.HELD,
        lines=lines,
        expires_at=command.expires_at,
        next_question_at=command.expires_at,
        changed_at=now,
    )
    return Outcome(
        (held, Allotment(held.key, lines), *_with_reserved(lines, stock, sign=1)),
        (_reserved(command, held),),
    )


def _with_reserved(
    lines: Sequence[Allocation], stock: Mapping[str, Stock], *, sign: int
) -> Iterable[Stock]:
    changed: dict[str, Stock] = {}
    for line in lines:
        before = changed.get(line.sku) or stock[line.sku]
        changed[line.sku] = before.changed(line.warehouse, reserved=sign * line.quantity)
    return changed.values()


def _reserved(command: ReserveStock, reservation: Reservation) -> StockReserved:
    return StockReserved(
        shop_id=command.shop_id,
        checkout_id=command.checkout_id,
        round=command.round,
        expires_at=reservation.expires_at or command.expires_at,
    )


def _rejected(command: ReserveStock, rejected: Reservation | None) -> StockRejected:
    return StockRejected(
        shop_id=command.shop_id,
        checkout_id=command.checkout_id,
        round=command.round,
        reason="out_of_stock" if rejected else "released",
        shortages=rejected.shortages if rejected else (),
    )


def commit(
    command: CommitReservation,
    reservation: Reservation,
    stock: Mapping[str, Stock],
    now: datetime,
) -> Outcome:
    """Take the reserved pieces off the shelf for good.

    What is not held is taken now if the stock suffices, unless this round was released: a
    release is the last word of its round.
    """
    match reservation.status:
        case Status.HELD:
            return _sell(command, reservation, stock, now)
        case Status.COMMITTED:
            return Outcome(messages=(_committed(command),))
        case Status.NEW | Status.REJECTED:
            return _take_and_sell(command, reservation, stock, now)
        case Status.RELEASED | Status.BOOKED_BACK | Status.NOT_HELD:
            return Outcome(messages=(_not_held(command, reservation.shortages),))
        case unreachable:
            assert_never(unreachable)


def _sell(
    command: CommitReservation,
    held: Reservation,
    stock: Mapping[str, Stock],
    now: datetime,
) -> Outcome:
    sold = replace(held, status=Status.COMMITTED, next_question_at=None, changed_at=now)
    moved = _move(
        stock,
        [(line.sku, line.warehouse, -line.quantity, -line.quantity) for line in held.lines],
        MovementKind.SALE,
        operation_id=held.owner_id,
        round_=held.round,
        moved_at=now,
    )
    return Outcome((sold, *moved.changed), (_committed(command), *moved.messages))


def _take_and_sell(
    command: CommitReservation,
    reservation: Reservation,
    stock: Mapping[str, Stock],
    now: datetime,
) -> Outcome:
    lines = allocate(pieces_by_sku(command.lines), stock)
    if isinstance(lines, Short):
        not_held = replace(
            reservation, status=Status.NOT_HELD, shortages=lines.shortages, changed_at=now
        )
        return Outcome((not_held,), (_not_held(command, lines.shortages),))
    sold = replace(reservation, status=Status.COMMITTED, lines=lines, shortages=(), changed_at=now)
    moved = _move(
        stock,
        [(line.sku, line.warehouse, -line.quantity, 0) for line in lines],
        MovementKind.SALE,
        operation_id=sold.owner_id,
        round_=sold.round,
        moved_at=now,
    )
    return Outcome(
        (sold, Allotment(sold.key, lines), *moved.changed),
        (_committed(command), *moved.messages),
    )


def _committed(command: CommitReservation) -> ReservationCommitted:
    return ReservationCommitted(
        shop_id=command.shop_id, checkout_id=command.checkout_id, round=command.round
    )


def _not_held(
    command: CommitReservation | ExtendReservation, shortages: tuple[Shortage, ...] = ()
) -> ReservationNotHeld:
    return ReservationNotHeld(
        shop_id=command.shop_id,
        checkout_id=command.checkout_id,
        step=command.step,
        round=command.round,
        shortages=shortages,
    )


def release(
    command: ReleaseStock,
    reservation: Reservation,
    stock: Mapping[str, Stock],
    now: datetime,
) -> Outcome:
    """Give back what the round holds; what it has sold is booked back by movements.

    Of a round that never held anything it leaves a tombstone, which refuses what comes late.
    Whether sold pieces have shipped is the saga's to know: it asks only before that.
    """
    match reservation.status:
        case Status.NEW | Status.REJECTED:
            tombstone = _ended(reservation, Status.RELEASED, command.reason, now)
            return Outcome((tombstone,), (_released(command, tombstone),))
        case Status.HELD:
            released = _ended(reservation, Status.RELEASED, command.reason, now)
            returned = _with_reserved(reservation.lines, stock, sign=-1)
            return Outcome((released, *returned), (_released(command, released),))
        case Status.COMMITTED:
            back = _ended(reservation, Status.BOOKED_BACK, command.reason, now)
            moved = _move(
                stock,
                [(line.sku, line.warehouse, line.quantity, 0) for line in reservation.lines],
                MovementKind.RETURN,
                operation_id=reservation.owner_id,
                round_=reservation.round,
                moved_at=now,
                reason=command.reason,
            )
            return Outcome((back, *moved.changed), (_released(command, back), *moved.messages))
        case Status.RELEASED | Status.BOOKED_BACK | Status.NOT_HELD:
            return Outcome(messages=(_released(command, reservation),))
        case unreachable:
            assert_never(unreachable)


def _ended(reservation: Reservation, status: Status, reason: str, now: datetime) -> Reservation:
    return replace(reservation, status=status, next_question_at=None, reason=reason, changed_at=now)


def _released(command: ReleaseStock, ended: Reservation) -> StockReleased:
    booked_back = ended.status is Status.BOOKED_BACK
    return StockReleased(
        shop_id=command.shop_id,
        checkout_id=command.checkout_id,
        round=command.round,
        outcome="booked_back" if booked_back else "released" if ended.lines else "nothing_held",
    )


def take_back(
    command: ReturnStock,
    reservation: Reservation,
    stock: Mapping[str, Stock],
    now: datetime,
) -> Outcome:
    """Book sold pieces in where they came from, and what is written off out again.

    How many of a line may come back is the saga's to know. Raises `NotSold`.
    """
    if reservation.status is not Status.COMMITTED:
        raise NotSold(command.checkout_id, command.reservation_round)
    warehouses: dict[str, str] = {}
    for sold in reservation.lines:
        warehouses.setdefault(sold.sku, sold.warehouse)
    for line in (*command.lines, *command.written_off):
        if line.sku not in warehouses:
            raise NotSold(command.checkout_id, command.reservation_round, line.sku)
    came = _move(
        stock,
        [(line.sku, warehouses[line.sku], line.quantity, 0) for line in command.lines],
        MovementKind.RETURN,
        operation_id=command.checkout_id,
        round_=command.round,
        moved_at=now,
        reason=command.reason,
    )
    after = {**stock, **{one.sku: one for one in came.changed if isinstance(one, Stock)}}
    gone = _move(
        after,
        [(line.sku, warehouses[line.sku], -line.quantity, 0) for line in command.written_off],
        MovementKind.ADJUSTMENT,
        operation_id=command.checkout_id,
        round_=command.round,
        moved_at=now,
        reason=f"written off: {command.reason}",
    )
    returned = StockReturned(
        shop_id=command.shop_id, checkout_id=command.checkout_id, round=command.round
    )
    return Outcome((*came.changed, *gone.changed), (returned, *came.messages, *gone.messages))


def extend(command: ExtendReservation, reservation: Reservation, now: datetime) -> Outcome:
    """Hold the reservation longer, never shorter: an older extension may come late.

    Of pieces that are sold already nothing can expire, so the answer is Extended.
    """
    match reservation.status:
        case Status.HELD:
            expires_at = max(reservation.expires_at or command.expires_at, command.expires_at)
            if expires_at == reservation.expires_at:
                return Outcome(messages=(_extended(command, expires_at),))
            held = replace(
                reservation,
                expires_at=expires_at,
                next_question_at=expires_at,
                questions=0,
                changed_at=now,
            )
            return Outcome((held,), (_extended(command, expires_at),))
        case Status.COMMITTED:
            return Outcome(messages=(_extended(command, command.expires_at),))
        case Status.NEW | Status.REJECTED | Status.RELEASED | Status.BOOKED_BACK | Status.NOT_HELD:
            return Outcome(messages=(_not_held(command),))
        case unreachable:
            assert_never(unreachable)


def _extended(command: ExtendReservation, expires_at: datetime) -> ReservationExtended:
    return ReservationExtended(
        shop_id=command.shop_id,
        checkout_id=command.checkout_id,
        round=command.round,
        expires_at=expires_at,
    )


# --- the backstop -------------------------------------------------------------------------------


def ask(
    due: Reservation, now: datetime, *, first_backoff: timedelta, longest_backoff: timedelta
) -> tuple[Reservation, ReservationDue]:
    """Ask the saga what is to become of a reservation whose expiry was reached.

    It stays held: only the saga's answer ends it. The next question waits twice as long as the
    one before, up to the longest.
    """
    wait = first_backoff
    for _ in range(due.questions):
        if wait >= longest_backoff:
            break
        wait *= 2
    asked = replace(
        due, next_question_at=now + min(wait, longest_backoff), questions=due.questions + 1
    )
    question = ReservationDue(
        shop_id=due.shop_id,
        checkout_id=due.owner_id,
        round=due.round,
        expires_at=due.expires_at or now,
    )
    return asked, question


# --- receipts and adjustments -------------------------------------------------------------------


class StockChange(Struct, frozen=True):
    """So many pieces of one SKU more in one warehouse (in an adjustment, negative: fewer)."""

    sku: str
    warehouse: str
    quantity: int


class ReceiveStock(Struct, frozen=True):
    """Goods came in. A request: decided at once, it never travels."""

    shop_id: str
    operation_id: UUID
    reason: str | None
    lines: tuple[StockChange, ...]


class AdjustStock(Struct, frozen=True):
    """The books are set right, after a count or a loss. A request: it never travels."""

    shop_id: str
    operation_id: UUID
    reason: str
    lines: tuple[StockChange, ...]


class UnknownWarehouses(Struct, frozen=True):
    """Nothing is moved: the shop has no warehouse of these codes."""

    codes: tuple[str, ...]


class Overdraw(Struct, frozen=True):
    """A line of an adjustment that would take more than what is available.

    `line` counts from 0; on hand and reserved are as the lines before it would leave them.
    """

    line: int
    sku: str
    warehouse: str
    quantity: int
    on_hand: int
    reserved: int


class Overdrawn(Struct, frozen=True):
    """Nothing is adjusted: these lines would go below what is reserved, or below nothing."""

    lines: tuple[Overdraw, ...]


def receive(
    command: ReceiveStock, stock: Mapping[str, Stock], now: datetime
) -> Outcome | UnknownWarehouses:
    """Book goods in, line by line."""
    unknown = _unknown_warehouses(command.lines, stock)
    return unknown or _move(
        stock,
        [(line.sku, line.warehouse, line.quantity, 0) for line in command.lines],
        MovementKind.RECEIPT,
        operation_id=command.operation_id,
        moved_at=now,
        reason=command.reason,
    )


def adjust(
    command: AdjustStock, stock: Mapping[str, Stock], now: datetime
) -> Outcome | UnknownWarehouses | Overdrawn:
    """Correct the books, line by line, all lines or none; never below what is reserved."""
    unknown = _unknown_warehouses(command.lines, stock)
    if unknown is not None:
        return unknown
    overdrawn = _overdrawn(command.lines, stock)
    return overdrawn or _move(
        stock,
        [(line.sku, line.warehouse, line.quantity, 0) for line in command.lines],
        MovementKind.ADJUSTMENT,
        operation_id=command.operation_id,
        moved_at=now,
        reason=command.reason,
    )


def _unknown_warehouses(
    lines: Sequence[StockChange], stock: Mapping[str, Stock]
) -> UnknownWarehouses | None:
    codes = {
        line.warehouse
        for line in lines
        if line.sku not in stock or stock[line.sku].level(line.warehouse) is None
    }
    return UnknownWarehouses(tuple(sorted(codes))) if codes else None


def _overdrawn(lines: Sequence[StockChange], stock: Mapping[str, Stock]) -> Overdrawn | None:
    left: dict[tuple[str, str], Level] = {
        (sku, level.warehouse): level for sku in stock for level in stock[sku].levels
    }
    overdraws = []
    for number, line in enumerate(lines):
        level = left[line.sku, line.warehouse]
        if level.available + line.quantity < 0:
            overdraws.append(
                Overdraw(
                    number, line.sku, line.warehouse, line.quantity, level.on_hand, level.reserved
                )
            )
        else:
            left[line.sku, line.warehouse] = replace(level, on_hand=level.on_hand + line.quantity)
    return Overdrawn(tuple(overdraws)) if overdraws else None


# --- movements and the feed ---------------------------------------------------------------------


def _move(
    stock: Mapping[str, Stock],
    moves: Iterable[tuple[str, str, int, int]],
    kind: MovementKind,
    *,
    operation_id: UUID,
    round_: int = 0,
    moved_at: datetime,
    reason: str | None = None,
) -> Outcome:
    """Book moves of (SKU, warehouse, pieces on hand, pieces reserved): one movement for each."""
    changed: dict[str, Stock] = {}
    movements: list[Movement] = []
    for line, (sku, warehouse, on_hand, reserved) in enumerate(moves):
        after = (changed.get(sku) or stock[sku]).changed(
            warehouse, on_hand=on_hand, reserved=reserved
        )
        changed[sku] = after
        movements.append(
            Movement(
                after.shop_id,
                sku,
                after.event_seq,
                warehouse,
                kind,
                quantity=on_hand,
                on_hand=after.on_hand_in(warehouse),
                operation_id=operation_id,
                round=round_,
                line=line,
                reason=reason,
                moved_at=moved_at,
            )
        )
    return Outcome((*changed.values(), *movements), tuple(map(_stock_moved, movements)))


def _stock_moved(movement: Movement) -> StockMoved:
    return StockMoved(
        shop_id=movement.shop_id,
        sku=movement.sku,
        warehouse=movement.warehouse,
        kind=movement.kind.value,
        quantity=movement.quantity,
        on_hand=movement.on_hand,
        movement_id=movement.id,
        moved_at=movement.moved_at,
        event_seq=movement.event_seq,
    )


def availability(changed: Iterable[Stock]) -> list[StockAvailability]:
    """What to tell the readers of the availability feed: one message for each SKU that changed."""
    return [
        StockAvailability(
            shop_id=stock.shop_id,
            sku=stock.sku,
            available=stock.available,
            version=stock.availability_version,
        )
        for stock in changed
        if stock.available != stock.announced
    ]
