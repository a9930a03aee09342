"""What is always true of stock, over random commands that repeat and overtake each other.

The commands are decided without the recorded replies that messaging keeps in front of them: the
business keys alone must make a repeated or late command harmless.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TypeVar, assert_never
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from contracts.messages.inventory import (
    CommitReservation,
    ExtendReservation,
    ReleaseStock,
    ReserveStock,
    StockMoved,
    StockRejected,
    StockReserved,
)
from contracts.messages.parts import StockLine
from inventory_service import domain
from inventory_service.domain import (
    AdjustStock,
    Allotment,
    Level,
    Movement,
    MovementKind,
    Outcome,
    ReceiveStock,
    Reservation,
    ReservationKey,
    Short,
    Status,
    Stock,
    StockChange,
)

SKUS = ("A", "B", "b")
WAREHOUSES = ("main", "north", "south")
CHECKOUTS = tuple(UUID(int=number) for number in range(1, 4))
START = datetime(2026, 3, 1, tzinfo=UTC)

Command = ReserveStock | CommitReservation | ReleaseStock | ExtendReservation

skus = st.sampled_from(SKUS)
warehouses = st.sampled_from(WAREHOUSES)
rounds = st.integers(1, 2)
checkouts = st.sampled_from(CHECKOUTS)
moments = st.integers(0, 100).map(lambda minutes: START + timedelta(minutes=minutes))
stock_lines = st.lists(
    st.builds(StockLine, sku=skus, quantity=st.integers(1, 4)), min_size=1, max_size=4
).map(tuple)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        ReserveStock, checkout_id=checkouts, round=rounds, lines=stock_lines, expires_at=moments
    ),
    st.builds(CommitReservation, checkout_id=checkouts, round=rounds, lines=stock_lines),
    st.builds(ReleaseStock, checkout_id=checkouts, round=rounds, reason=st.just("cancelled")),
    st.builds(
        ExtendReservation,
        checkout_id=checkouts,
        round=rounds,
        reservation_round=rounds,
        expires_at=moments,
    ),
)


def changes(quantities: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[StockChange, ...]]:
    one = st.builds(StockChange, sku=skus, warehouse=warehouses, quantity=quantities)
    return st.lists(one, min_size=1, max_size=5).map(tuple)


R = TypeVar("R")


class Shelf(RuleBasedStateMachine):
    """A shop's stock: rows as the database would keep them, changed only by outcomes."""

    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.operations = 0
        self.stock = {
            sku: Stock("main", sku, tuple(Level(name, 0, 0) for name in WAREHOUSES)) for sku in SKUS
        }
        self.reservations: dict[ReservationKey, Reservation] = {}
        self.allotments: dict[ReservationKey, Allotment] = {}
        self.movements: dict[tuple[UUID, int, str, int], Movement] = {}
        self.events: list[StockMoved] = []
        self.decided: list[Command] = []
        self.released: set[ReservationKey] = set()
        self.told: dict[str, tuple[int, int]] = {}

    # what happens

    @rule(lines=changes(st.integers(1, 6)))
    def receive(self, lines: tuple[StockChange, ...]) -> None:
        command = ReceiveStock("main", self.operation(), None, lines)
        outcome = domain.receive(command, self.stock, self.tick())
        assert isinstance(outcome, Outcome)
        self.take(outcome)

    @rule(lines=changes(st.integers(-6, 3).filter(bool)))
    def adjust(self, lines: tuple[StockChange, ...]) -> None:
        command = AdjustStock("main", self.operation(), "count", lines)
        outcome = domain.adjust(command, self.stock, self.tick())
        if isinstance(outcome, Outcome):
            self.take(outcome)

    @rule(target=sent, command=commands)
    def ask(self, command: Command) -> Command:
        self.decide(command)
        return command

    @rule(command=sent)
    def ask_again(self, command: Command) -> None:
        before = dict(self.stock)
        self.decide(command)
        assert self.stock == before, "a repeated command moved stock"

    @rule(command=sent, at=moments)
    def remind(self, command: Command, at: datetime) -> None:
        reservation = self.reservations.get(("main", command.checkout_id, command.round))
        if reservation is None or reservation.status is not Status.HELD:
            return
        asked, _ = domain.ask(
            reservation, at, first_backoff=timedelta(1), longest_backoff=timedelta(4)
        )
        self.take(Outcome((asked,)))

    # how rows are kept

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def operation(self) -> UUID:
        self.operations += 1
        return UUID(int=1000 + self.operations)

    def decide(self, command: Command) -> None:
        now = self.tick()
        round_ = (
            command.reservation_round if isinstance(command, ExtendReservation) else command.round
        )
        key = ("main", command.checkout_id, round_)
        reservation = self.reservations.get(key, Reservation(*key))
        match command:
            case ReserveStock():
                outcome = domain.reserve(command, reservation, self.stock, now)
                self.check_reserved(command, key, outcome)
            case CommitReservation():
                outcome = domain.commit(command, reservation, self.stock, now)
            case ReleaseStock():
                outcome = domain.release(command, reservation, self.stock, now)
                self.released.add(key)
            case ExtendReservation():
                outcome = domain.extend(command, reservation, now)
            case unreachable:
                assert_never(unreachable)
        self.take(outcome)

    def check_reserved(self, command: ReserveStock, key: ReservationKey, outcome: Outcome) -> None:
        (answer,) = outcome.messages
        if key in self.released:
            assert isinstance(answer, StockRejected)
        given = rows(outcome, Allotment)
        if given:
            assert isinstance(answer, StockReserved)
            wanted: Counter[str] = Counter()
            for line in command.lines:
                wanted[line.sku] += line.quantity
            taken: Counter[str] = Counter()
            for allocation in given[0].lines:
                taken[allocation.sku] += allocation.quantity
            assert taken == wanted, "not all lines, or more than them"

    def take(self, outcome: Outcome) -> None:
        for stock in rows(outcome, Stock):
            self.stock[stock.sku] = stock
        for reservation in rows(outcome, Reservation):
            self.reservations[reservation.key] = reservation
        for allotment in rows(outcome, Allotment):
            assert allotment.key not in self.allotments, "lines are given once"
            self.allotments[allotment.key] = allotment
        for movement in rows(outcome, Movement):
            booked = (movement.operation_id, movement.round, movement.kind, movement.line)
            assert booked not in self.movements, "a movement is booked once"
            self.movements[booked] = movement
        self.events.extend(one for one in outcome.messages if isinstance(one, StockMoved))

    # what is always true

    @invariant()
    def on_hand_is_the_sum_of_movements(self) -> None:
        ledger: Counter[tuple[str, str]] = Counter()
        for movement in self.movements.values():
            ledger[movement.sku, movement.warehouse] += movement.quantity
            assert movement.on_hand == ledger[movement.sku, movement.warehouse]
        assert self.per_level("on_hand") == +ledger

    @invariant()
    def reserved_is_the_sum_of_what_is_held(self) -> None:
        taken: Counter[tuple[str, str]] = Counter()
        for reservation in self.reservations.values():
            if reservation.status is Status.HELD:
                for line in reservation.lines:
                    taken[line.sku, line.warehouse] += line.quantity
        assert self.per_level("reserved") == taken

    @invariant()
    def nothing_is_reserved_that_is_not_there(self) -> None:
        for stock in self.stock.values():
            for level in stock.levels:
                assert 0 <= level.reserved <= level.on_hand

    @invariant()
    def events_count_the_movements_of_a_sku_without_gaps(self) -> None:
        for sku, stock in self.stock.items():
            counted = [event.event_seq for event in self.events if event.sku == sku]
            assert counted == list(range(1, stock.event_seq + 1))

    @invariant()
    def a_round_is_sold_once_and_after_its_release_it_keeps_nothing(self) -> None:
        for key, reservation in self.reservations.items():
            moved: Counter[MovementKind] = Counter()
            for movement in self.movements.values():
                if (movement.operation_id, movement.round) == key[1:]:
                    moved[movement.kind] += movement.quantity
            taken = sum(line.quantity for line in reservation.lines)
            assert moved[MovementKind.SALE] in {0, -taken}
            if key in self.released:
                assert reservation.status is not Status.HELD
                assert sum(moved.values()) == 0

    @invariant()
    def only_what_is_held_is_asked_about(self) -> None:
        for reservation in self.reservations.values():
            asked = reservation.next_question_at is not None
            assert asked == (reservation.status is Status.HELD)

    @invariant()
    def the_feed_says_what_is_left_and_never_goes_back(self) -> None:
        for message in domain.availability(self.stock.values()):
            available, version = self.told.get(message.sku, (0, 0))
            assert message.available != available
            assert message.version > version
            self.told[message.sku] = (message.available, message.version)
        for sku, stock in self.stock.items():
            assert self.told.get(sku, (0, 0))[0] == stock.available
            self.stock[sku] = reloaded(stock)

    def per_level(self, field: str) -> Counter[tuple[str, str]]:
        return +Counter(
            {
                (sku, level.warehouse): getattr(level, field)
                for sku, stock in self.stock.items()
                for level in stock.levels
            }
        )


def rows(outcome: Outcome, kind: type[R]) -> list[R]:
    return [row for row in outcome.changed if isinstance(row, kind)]


def reloaded(stock: Stock) -> Stock:
    """The stock as the next batch loads it: what is available now has been announced."""
    return Stock(
        stock.shop_id,
        stock.sku,
        stock.levels,
        stock.event_seq,
        stock.availability_version,
        stock.available,
    )


TestShelf = Shelf.TestCase
TestShelf.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, print_blob=True
)


def shelves(most: int) -> st.SearchStrategy[Mapping[str, Stock]]:
    level = st.tuples(st.integers(0, most), st.integers(0, most)).map(
        lambda pair: (max(pair), min(pair))
    )
    levels = st.dictionaries(warehouses, level, max_size=len(WAREHOUSES)).map(
        lambda chosen: tuple(Level(name, *chosen[name]) for name in WAREHOUSES if name in chosen)
    )
    return st.dictionaries(skus, levels).map(
        lambda chosen: MappingProxyType(
            {sku: Stock("main", sku, levels) for sku, levels in chosen.items()}
        )
    )


@given(
    wanted=st.dictionaries(skus, st.integers(1, 12), min_size=1),
    stock=shelves(most=9),
)
@settings(max_examples=300, deadline=None, print_blob=True)
def test_an_allocation_takes_exactly_what_is_wanted_from_what_is_there(
    wanted: dict[str, int], stock: Mapping[str, Stock]
) -> None:
    left = {sku: stock[sku].available if sku in stock else 0 for sku in wanted}
    allocated = domain.allocate(wanted, stock)
    if isinstance(allocated, Short):
        assert {short.sku: short.available for short in allocated.shortages} == {
            sku: left[sku] for sku, quantity in wanted.items() if left[sku] < quantity
        }
        return
    assert all(left[sku] >= quantity for sku, quantity in wanted.items())
    taken: Counter[str] = Counter()
    for line in allocated:
        level = stock[line.sku].level(line.warehouse)
        assert level is not None
        assert 0 < line.quantity <= level.available
        taken[line.sku] += line.quantity
    assert taken == wanted
    assert len({(line.sku, line.warehouse) for line in allocated}) == len(allocated)
    assert_fewest_warehouses(wanted, stock, {line.warehouse for line in allocated})


def assert_fewest_warehouses(
    wanted: Mapping[str, int], stock: Mapping[str, Stock], used: Iterable[str]
) -> None:
    """Where any single warehouse could have served everything, a single one does."""
    able = [
        name
        for name in WAREHOUSES
        if all(
            (level := stock[sku].level(name)) is not None and level.available >= quantity
            for sku, quantity in wanted.items()
        )
    ]
    if able:
        assert set(used) == {able[0]}
