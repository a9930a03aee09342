"""The rules of stock, one example each."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from contracts.ids import derived_id
from contracts.messages.base import Step
from contracts.messages.inventory import (
    CommitReservation,
    ExtendReservation,
    ReleaseStock,
    ReservationCommitted,
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
from contracts.values import replace
from inventory_service import domain
from inventory_service.domain import (
    AdjustStock,
    Allocation,
    Allotment,
    ImpossibleLevel,
    Level,
    Movement,
    MovementKind,
    NotSold,
    Outcome,
    Overdraw,
    Overdrawn,
    ReceiveStock,
    Reservation,
    Short,
    Status,
    Stock,
    StockChange,
    UnknownLevel,
    UnknownWarehouses,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CHECKOUT = UUID("0195a1b2-0000-7000-8000-000000000001")
OPERATION = UUID("0195a1b2-0000-7000-8000-000000000002")

NEW = Reservation("main", CHECKOUT, 1)
ENDED = (Status.RELEASED, Status.BOOKED_BACK, Status.NOT_HELD)


def stock(sku: str, **levels: tuple[int, int]) -> Stock:
    """Stock of `sku` with (on hand, reserved) per warehouse, by priority; announced as it is."""
    made = Stock("main", sku, tuple(Level(name, *level) for name, level in levels.items()))
    return Stock("main", sku, made.levels, announced=made.available)


def shelf(*stocks: Stock) -> dict[str, Stock]:
    return {one.sku: one for one in stocks}


def lines(**quantities: int) -> tuple[StockLine, ...]:
    return tuple(StockLine(sku=sku, quantity=quantity) for sku, quantity in quantities.items())


def reserve_command(*wanted: StockLine, round_: int = 1) -> ReserveStock:
    return ReserveStock(checkout_id=CHECKOUT, round=round_, lines=wanted, expires_at=LATER)


def commit_command(*wanted: StockLine) -> CommitReservation:
    return CommitReservation(checkout_id=CHECKOUT, lines=wanted)


RELEASE = ReleaseStock(checkout_id=CHECKOUT, reason="cancelled")


def extend_command(expires_at: datetime, round_: int = 1) -> ExtendReservation:
    return ExtendReservation(
        checkout_id=CHECKOUT, round=round_, reservation_round=1, expires_at=expires_at
    )


def held(*taken: Allocation) -> Reservation:
    return Reservation(
        "main",
        CHECKOUT,
        1,
        Status.HELD,
        taken,
        expires_at=LATER,
        next_question_at=LATER,
    )


def having(status: Status, *taken: Allocation, **fields: Any) -> Reservation:
    return Reservation("main", CHECKOUT, 1, status, taken, **fields)


def changed(outcome: Outcome, kind: type) -> list[Any]:
    return [row for row in outcome.changed if isinstance(row, kind)]


class TestLevels:
    @pytest.mark.parametrize(("on_hand", "reserved"), [(1, 2), (-1, 0), (0, -1), (-2, -1)])
    def test_an_impossible_level_does_not_construct(self, on_hand: int, reserved: int) -> None:
        with pytest.raises(ImpossibleLevel):
            Level("main", on_hand, reserved)

    def test_available_is_on_hand_less_reserved_over_all_warehouses(self) -> None:
        assert stock("A", main=(5, 2), north=(4, 4)).available == 3

    def test_a_change_on_hand_counts_an_event_and_a_change_of_available_a_version(self) -> None:
        before = stock("A", main=(5, 2))
        received = before.changed("main", on_hand=1)
        reserved = before.changed("main", reserved=1)
        sold = before.changed("main", on_hand=-1, reserved=-1)
        assert (received.event_seq, received.availability_version) == (1, 1)
        assert (reserved.event_seq, reserved.availability_version) == (0, 1)
        assert (sold.event_seq, sold.availability_version) == (1, 0)

    def test_a_warehouse_without_a_level_cannot_change(self) -> None:
        with pytest.raises(UnknownLevel):
            stock("A", main=(5, 2)).changed("north", on_hand=1)


class TestAllocation:
    def test_one_warehouse_serves_everything_where_one_can(self) -> None:
        given = shelf(stock("A", first=(9, 0), second=(9, 0)), stock("B", second=(1, 0)))
        assert domain.allocate({"A": 2, "B": 1}, given) == (
            Allocation("A", "second", 2),
            Allocation("B", "second", 1),
        )

    def test_among_warehouses_that_serve_everything_the_first_by_priority_does(self) -> None:
        given = shelf(stock("A", first=(2, 0), second=(9, 0)))
        assert domain.allocate({"A": 2}, given) == (Allocation("A", "first", 2),)

    def test_otherwise_each_sku_comes_from_one_warehouse(self) -> None:
        given = shelf(stock("A", first=(1, 0), second=(9, 0)), stock("B", first=(5, 0)))
        assert domain.allocate({"A": 3, "B": 5}, given) == (
            Allocation("A", "second", 3),
            Allocation("B", "first", 5),
        )

    def test_a_sku_is_split_only_where_it_must_be_and_fullest_first(self) -> None:
        given = shelf(stock("A", first=(2, 0), second=(7, 1), third=(4, 0), fourth=(3, 3)))
        assert domain.allocate({"A": 11}, given) == (
            Allocation("A", "second", 6),
            Allocation("A", "third", 4),
            Allocation("A", "first", 1),
        )

    def test_every_sku_that_falls_short_is_named_with_what_is_left(self) -> None:
        given = shelf(stock("A", main=(5, 2)), stock("B", main=(1, 0), north=(1, 0)))
        assert domain.allocate({"A": 4, "B": 2, "C": 1}, given) == Short(
            (
                Shortage(sku="A", requested=4, available=3),
                Shortage(sku="C", requested=1, available=0),
            )
        )


class TestReserve:
    def test_all_lines_are_held(self) -> None:
        outcome = domain.reserve(
            reserve_command(*lines(A=2, B=1)),
            NEW,
            shelf(stock("A", main=(5, 0)), stock("B", main=(1, 0))),
            NOW,
        )
        taken = (Allocation("A", "main", 2), Allocation("B", "main", 1))
        assert changed(outcome, Reservation) == [replace(held(*taken), changed_at=NOW)]
        assert changed(outcome, Allotment) == [Allotment(NEW.key, taken)]
        assert [one.levels for one in changed(outcome, Stock)] == [
            (Level("main", 5, 2),),
            (Level("main", 1, 1),),
        ]
        assert outcome.messages == (StockReserved(checkout_id=CHECKOUT, expires_at=LATER),)

    def test_or_none_of_them_and_the_answer_says_what_is_left(self) -> None:
        outcome = domain.reserve(
            reserve_command(*lines(A=2, B=2)),
            NEW,
            shelf(stock("A", main=(5, 0)), stock("B", main=(1, 0))),
            NOW,
        )
        shortages = (Shortage(sku="B", requested=2, available=1),)
        assert outcome == Outcome(
            (having(Status.REJECTED, shortages=shortages, changed_at=NOW),),
            (StockRejected(checkout_id=CHECKOUT, reason="out_of_stock", shortages=shortages),),
        )

    def test_lines_of_the_same_sku_want_their_sum(self) -> None:
        twice = reserve_command(
            StockLine(sku="A", quantity=2),
            StockLine(sku="B", quantity=1),
            StockLine(sku="A", quantity=2),
        )
        outcome = domain.reserve(
            twice, NEW, shelf(stock("A", main=(3, 0)), stock("B", main=(1, 0))), NOW
        )
        assert changed(outcome, Reservation)[0].shortages == (
            Shortage(sku="A", requested=4, available=3),
        )

    def test_a_sku_split_over_warehouses_is_reserved_in_each(self) -> None:
        outcome = domain.reserve(
            reserve_command(*lines(A=5)), NEW, shelf(stock("A", main=(3, 0), north=(2, 0))), NOW
        )
        assert changed(outcome, Stock)[0].levels == (Level("main", 3, 3), Level("north", 2, 2))

    def test_skus_are_case_sensitive(self) -> None:
        outcome = domain.reserve(
            reserve_command(*lines(a=1)), NEW, shelf(stock("A", main=(5, 0))), NOW
        )
        assert changed(outcome, Reservation)[0].status is Status.REJECTED

    @pytest.mark.parametrize("status", [Status.HELD, Status.COMMITTED])
    def test_asked_again_it_answers_again_and_takes_nothing(self, status: Status) -> None:
        before = having(status, Allocation("A", "main", 2), expires_at=LATER)
        outcome = domain.reserve(
            reserve_command(*lines(A=2)), before, shelf(stock("A", main=(5, 2))), NOW
        )
        assert outcome == Outcome(messages=(StockReserved(checkout_id=CHECKOUT, expires_at=LATER),))

    def test_refused_once_it_stays_refused_though_stock_has_come_since(self) -> None:
        shortages = (Shortage(sku="A", requested=2, available=1),)
        before = having(Status.REJECTED, shortages=shortages)
        outcome = domain.reserve(
            reserve_command(*lines(A=2)), before, shelf(stock("A", main=(5, 0))), NOW
        )
        assert outcome == Outcome(
            messages=(
                StockRejected(checkout_id=CHECKOUT, reason="out_of_stock", shortages=shortages),
            )
        )

    @pytest.mark.parametrize("status", ENDED)
    def test_a_round_that_ended_refuses_the_late_original(self, status: Status) -> None:
        outcome = domain.reserve(
            reserve_command(*lines(A=2)), having(status), shelf(stock("A", main=(5, 0))), NOW
        )
        assert outcome == Outcome(
            messages=(StockRejected(checkout_id=CHECKOUT, reason="released"),)
        )


class TestCommit:
    taken = (Allocation("A", "main", 2), Allocation("B", "north", 1))
    given = shelf(stock("A", main=(5, 3)), stock("B", main=(0, 0), north=(4, 1)))
    command = commit_command(*lines(A=2, B=1))

    def test_what_is_held_leaves_the_shelf_with_a_movement_for_each_line(self) -> None:
        outcome = domain.commit(self.command, held(*self.taken), self.given, NOW)
        assert changed(outcome, Reservation) == [
            having(Status.COMMITTED, *self.taken, expires_at=LATER, changed_at=NOW)
        ]
        assert changed(outcome, Allotment) == []
        assert [one.levels for one in changed(outcome, Stock)] == [
            (Level("main", 3, 1),),
            (Level("main", 0, 0), Level("north", 3, 0)),
        ]
        assert changed(outcome, Movement) == [
            Movement(
                shop_id="main",
                sku=sku,
                event_seq=1,
                warehouse=warehouse,
                kind=MovementKind.SALE,
                quantity=quantity,
                on_hand=on_hand,
                operation_id=CHECKOUT,
                round=1,
                line=number,
                reason=None,
                moved_at=NOW,
            )
            for number, (sku, warehouse, quantity, on_hand) in enumerate(
                [("A", "main", -2, 3), ("B", "north", -1, 3)]
            )
        ]
        committed, *moved = outcome.messages
        assert committed == ReservationCommitted(checkout_id=CHECKOUT)
        assert moved[0] == StockMoved(
            sku="A",
            warehouse="main",
            kind="sale",
            quantity=-2,
            on_hand=3,
            movement_id=derived_id(CHECKOUT, "sale:1:0"),
            moved_at=NOW,
            event_seq=1,
        )

    def test_asked_again_it_answers_again_and_sells_nothing(self) -> None:
        before = having(Status.COMMITTED, *self.taken)
        outcome = domain.commit(self.command, before, self.given, NOW)
        assert outcome == Outcome(messages=(ReservationCommitted(checkout_id=CHECKOUT),))

    @pytest.mark.parametrize("status", [Status.NEW, Status.REJECTED])
    def test_what_is_not_held_is_taken_now_if_it_is_there(self, status: Status) -> None:
        outcome = domain.commit(self.command, having(status), self.given, NOW)
        (sold,) = changed(outcome, Reservation)
        assert (sold.status, sold.lines) == (Status.COMMITTED, self.taken)
        assert changed(outcome, Allotment) == [Allotment(sold.key, self.taken)]
        assert [one.levels for one in changed(outcome, Stock)] == [
            (Level("main", 3, 3),),
            (Level("main", 0, 0), Level("north", 3, 1)),
        ]
        assert len(changed(outcome, Movement)) == 2
        assert outcome.messages[0] == ReservationCommitted(checkout_id=CHECKOUT)

    @pytest.mark.parametrize("status", [Status.NEW, Status.REJECTED])
    def test_and_if_it_is_not_there_the_answer_says_what_is_left(self, status: Status) -> None:
        outcome = domain.commit(commit_command(*lines(A=3, B=1)), having(status), self.given, NOW)
        shortages = (Shortage(sku="A", requested=3, available=2),)
        assert outcome == Outcome(
            (having(Status.NOT_HELD, shortages=shortages, changed_at=NOW),),
            (ReservationNotHeld(checkout_id=CHECKOUT, shortages=shortages),),
        )

    @pytest.mark.parametrize("status", ENDED)
    def test_a_round_that_ended_sells_nothing_any_more(self, status: Status) -> None:
        outcome = domain.commit(self.command, having(status, *self.taken), self.given, NOW)
        assert outcome == Outcome(messages=(ReservationNotHeld(checkout_id=CHECKOUT),))


class TestRelease:
    taken = (Allocation("A", "main", 2), Allocation("A", "north", 1))
    given = shelf(stock("A", main=(5, 2), north=(1, 1)))

    def test_what_is_held_can_be_reserved_again(self) -> None:
        outcome = domain.release(RELEASE, held(*self.taken), self.given, NOW)
        assert changed(outcome, Reservation) == [
            having(
                Status.RELEASED, *self.taken, expires_at=LATER, reason="cancelled", changed_at=NOW
            )
        ]
        assert changed(outcome, Stock)[0].levels == (Level("main", 5, 0), Level("north", 1, 0))
        assert changed(outcome, Movement) == []
        assert outcome.messages == (StockReleased(checkout_id=CHECKOUT, outcome="released"),)

    def test_what_is_sold_is_booked_back_by_movements(self) -> None:
        outcome = domain.release(RELEASE, having(Status.COMMITTED, *self.taken), self.given, NOW)
        assert changed(outcome, Reservation)[0].status is Status.BOOKED_BACK
        assert changed(outcome, Stock)[0].levels == (Level("main", 7, 2), Level("north", 2, 1))
        assert [
            (one.kind, one.warehouse, one.quantity, one.on_hand, one.event_seq, one.reason)
            for one in changed(outcome, Movement)
        ] == [
            ("return", "main", 2, 7, 1, "cancelled"),
            ("return", "north", 1, 2, 2, "cancelled"),
        ]
        released, *moved = outcome.messages
        assert released == StockReleased(checkout_id=CHECKOUT, outcome="booked_back")
        assert [one.event_seq for one in moved if isinstance(one, StockMoved)] == [1, 2]

    @pytest.mark.parametrize("status", [Status.NEW, Status.REJECTED])
    def test_of_what_was_never_held_it_leaves_a_tombstone(self, status: Status) -> None:
        outcome = domain.release(RELEASE, having(status), self.given, NOW)
        assert outcome == Outcome(
            (having(Status.RELEASED, reason="cancelled", changed_at=NOW),),
            (StockReleased(checkout_id=CHECKOUT, outcome="nothing_held"),),
        )

    @pytest.mark.parametrize(
        ("before", "answer"),
        [
            (having(Status.RELEASED, *taken), "released"),
            (having(Status.RELEASED), "nothing_held"),
            (having(Status.BOOKED_BACK, *taken), "booked_back"),
            (having(Status.NOT_HELD), "nothing_held"),
        ],
    )
    def test_asked_again_it_answers_again_and_gives_nothing_back(
        self, before: Reservation, answer: Any
    ) -> None:
        outcome = domain.release(RELEASE, before, self.given, NOW)
        assert outcome == Outcome(messages=(StockReleased(checkout_id=CHECKOUT, outcome=answer),))


class TestExtend:
    def test_what_is_held_is_held_longer_and_asked_about_later(self) -> None:
        asked = having(
            Status.HELD, expires_at=NOW, next_question_at=NOW + timedelta(minutes=4), questions=3
        )
        outcome = domain.extend(extend_command(LATER, round_=2), asked, NOW)
        assert outcome == Outcome(
            (having(Status.HELD, expires_at=LATER, next_question_at=LATER, changed_at=NOW),),
            (ReservationExtended(checkout_id=CHECKOUT, round=2, expires_at=LATER),),
        )

    def test_an_older_extension_that_comes_late_shortens_nothing(self) -> None:
        outcome = domain.extend(extend_command(NOW), held(), NOW)
        assert outcome == Outcome(
            messages=(ReservationExtended(checkout_id=CHECKOUT, expires_at=LATER),)
        )

    def test_what_is_sold_cannot_expire(self) -> None:
        outcome = domain.extend(extend_command(LATER), having(Status.COMMITTED), NOW)
        assert outcome == Outcome(
            messages=(ReservationExtended(checkout_id=CHECKOUT, expires_at=LATER),)
        )

    @pytest.mark.parametrize("status", [Status.NEW, Status.REJECTED, *ENDED])
    def test_what_is_not_held_cannot_be_extended(self, status: Status) -> None:
        outcome = domain.extend(extend_command(LATER, round_=2), having(status), NOW)
        assert outcome == Outcome(
            messages=(ReservationNotHeld(checkout_id=CHECKOUT, step=Step.EXTEND, round=2),)
        )


class TestBackstop:
    first = timedelta(seconds=30)
    longest = timedelta(minutes=10)

    def ask(self, due: Reservation) -> Reservation:
        asked, question = domain.ask(
            due, NOW, first_backoff=self.first, longest_backoff=self.longest
        )
        assert (question.checkout_id, question.round) == (CHECKOUT, 1)
        assert (question.step, question.expires_at) == (Step.RESERVE, LATER)
        return asked

    def test_a_due_reservation_stays_held_and_the_saga_is_asked_ever_more_rarely(self) -> None:
        due = held(Allocation("A", "main", 1))
        waits = []
        for _ in range(7):
            due = self.ask(due)
            assert due.status is Status.HELD
            assert due.next_question_at is not None
            waits.append((due.next_question_at - NOW).total_seconds())
        assert waits == [30, 60, 120, 240, 480, 600, 600]

    def test_any_number_of_questions_is_safe(self) -> None:
        asked = self.ask(having(Status.HELD, expires_at=LATER, questions=10**9))
        assert asked.next_question_at == NOW + self.longest


class TestReceipts:
    def receipt(self, *changes: tuple[str, str, int]) -> ReceiveStock:
        return ReceiveStock(
            shop_id="main",
            operation_id=OPERATION,
            reason="delivery 7",
            lines=tuple(
                StockChange(sku=sku, warehouse=warehouse, quantity=quantity)
                for sku, warehouse, quantity in changes
            ),
        )

    def test_goods_are_booked_in_line_by_line(self) -> None:
        outcome = domain.receive(
            self.receipt(("A", "main", 3), ("A", "main", 4)),
            shelf(stock("A", main=(1, 1))),
            NOW,
        )
        assert isinstance(outcome, Outcome)
        (after,) = changed(outcome, Stock)
        assert after.levels == (Level("main", 8, 1),)
        assert [
            (one.kind, one.quantity, one.on_hand, one.event_seq, one.reason)
            for one in changed(outcome, Movement)
        ] == [("receipt", 3, 4, 1, "delivery 7"), ("receipt", 4, 8, 2, "delivery 7")]
        assert len({one.id for one in changed(outcome, Movement)}) == 2
        assert [type(message) for message in outcome.messages] == [StockMoved, StockMoved]

    def test_unknown_warehouses_are_all_named(self) -> None:
        refused = domain.receive(
            self.receipt(("A", "south", 3), ("A", "main", 1), ("B", "east", 1)),
            shelf(stock("A", main=(1, 1))),
            NOW,
        )
        assert refused == UnknownWarehouses(("east", "south"))


class TestAdjustments:
    def adjustment(self, *changes: tuple[str, str, int]) -> AdjustStock:
        return AdjustStock(
            shop_id="main",
            operation_id=OPERATION,
            reason="count",
            lines=tuple(
                StockChange(sku=sku, warehouse=warehouse, quantity=quantity)
                for sku, warehouse, quantity in changes
            ),
        )

    def test_the_books_are_set_right_in_both_directions(self) -> None:
        outcome = domain.adjust(
            self.adjustment(("A", "main", -3), ("A", "north", 2)),
            shelf(stock("A", main=(5, 2), north=(0, 0))),
            NOW,
        )
        assert isinstance(outcome, Outcome)
        assert changed(outcome, Stock)[0].levels == (Level("main", 2, 2), Level("north", 2, 0))
        assert [(one.kind, one.quantity, one.reason) for one in changed(outcome, Movement)] == [
            ("adjustment", -3, "count"),
            ("adjustment", 2, "count"),
        ]

    def test_never_below_what_is_reserved_and_each_such_line_is_named(self) -> None:
        refused = domain.adjust(
            self.adjustment(("A", "main", -2), ("B", "main", -1), ("A", "main", -2)),
            shelf(stock("A", main=(5, 2)), stock("B", main=(0, 0))),
            NOW,
        )
        assert refused == Overdrawn(
            (
                Overdraw(1, "B", "main", -1, on_hand=0, reserved=0),
                Overdraw(2, "A", "main", -2, on_hand=3, reserved=2),
            )
        )

    def test_unknown_warehouses_are_named_first(self) -> None:
        refused = domain.adjust(
            self.adjustment(("A", "south", -2)), shelf(stock("A", main=(5, 2))), NOW
        )
        assert refused == UnknownWarehouses(("south",))


class TestAvailabilityFeed:
    def test_a_sku_is_told_once_with_what_is_left_in_the_end(self) -> None:
        before = stock("A", main=(5, 0), north=(1, 0))
        after = before.changed("main", reserved=2).changed("north", reserved=1)
        assert domain.availability([after]) == [StockAvailability(sku="A", available=3, version=2)]

    def test_what_is_available_as_before_is_not_told(self) -> None:
        before = stock("A", main=(5, 2))
        sold = before.changed("main", on_hand=-1, reserved=-1)
        undone = before.changed("main", reserved=1).changed("main", reserved=-1)
        assert domain.availability([sold, undone]) == []


def return_command(*came: StockLine, broken: tuple[StockLine, ...] = ()) -> ReturnStock:
    return ReturnStock(
        checkout_id=CHECKOUT,
        round=1_002,
        reservation_round=1,
        lines=came,
        written_off=broken,
        reason="too big",
    )


class TestReturns:
    SOLD = having(Status.COMMITTED, Allocation("CUP", "SOUTH", 3))

    def test_pieces_go_back_to_where_they_came_from(self) -> None:
        shelves = shelf(stock("CUP", NORTH=(9, 0), SOUTH=(2, 1)))

        outcome = domain.take_back(return_command(*lines(CUP=2)), self.SOLD, shelves, NOW)

        (after,) = changed(outcome, Stock)
        assert after.level("SOUTH") == Level("SOUTH", 4, 1)
        (movement,) = changed(outcome, Movement)
        assert (movement.kind, movement.quantity) == (MovementKind.RETURN, 2)
        assert outcome.messages[0] == StockReturned(checkout_id=CHECKOUT, round=1_002)
        assert changed(outcome, Reservation) == []

    def test_what_is_broken_comes_in_and_goes_out_again(self) -> None:
        shelves = shelf(stock("CUP", SOUTH=(2, 0)))
        command = return_command(*lines(CUP=2), broken=lines(CUP=1))

        outcome = domain.take_back(command, self.SOLD, shelves, NOW)

        assert changed(outcome, Stock)[-1].level("SOUTH") == Level("SOUTH", 3, 0)
        came, gone = changed(outcome, Movement)
        assert (came.kind, came.quantity, came.event_seq) == (MovementKind.RETURN, 2, 1)
        assert (gone.kind, gone.quantity, gone.event_seq) == (MovementKind.ADJUSTMENT, -1, 2)
        assert gone.reason == "written off: too big"

    @pytest.mark.parametrize(
        "reservation", [NEW, held(Allocation("CUP", "SOUTH", 3)), having(Status.BOOKED_BACK)]
    )
    def test_what_was_not_sold_does_not_come_back(self, reservation: Reservation) -> None:
        shelves = shelf(stock("CUP", SOUTH=(2, 0)))

        with pytest.raises(NotSold):
            domain.take_back(return_command(*lines(CUP=1)), reservation, shelves, NOW)

    def test_a_sku_that_was_not_in_the_order_does_not_come_back(self) -> None:
        shelves = shelf(stock("CUP", SOUTH=(2, 0)), stock("POT", SOUTH=(2, 0)))

        with pytest.raises(NotSold):
            domain.take_back(return_command(*lines(POT=1)), self.SOLD, shelves, NOW)
