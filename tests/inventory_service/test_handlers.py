"""Commands on a real database: what they change and answer, in batches, repeated and at once."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from contracts.ids import new_id
from contracts.messages.base import LARGEST_COUNT, Message
from contracts.messages.inventory import (
    ReservationCommitted,
    ReservationExtended,
    ReservationNotHeld,
    StockAvailability,
    StockMoved,
    StockRejected,
    StockReleased,
    StockReserved,
)
from contracts.messages.parts import Shortage
from inventory_service.domain import (
    AdjustStock,
    Outcome,
    Overdrawn,
    ReceiveStock,
    StockChange,
)
from inventory_service.handlers import SERVICE, StockCommand, StockHandler
from messaging.clock import utc_now
from messaging.database import sql
from messaging.fold import Incoming, open_fold
from tests.inventory_service.stockroom import (
    LATER,
    Stockroom,
    commit,
    extend,
    release,
    reserve,
)

pytestmark = pytest.mark.integration

WaitUntil = Callable[..., Awaitable[None]]


async def assert_in_order(stockroom: Stockroom) -> None:
    violations = await stockroom.violations()
    assert not any(violations.values()), violations
    assert await stockroom.dead_letters() == 0


class TestOneCheckout:
    async def test_from_reservation_to_sale_and_back(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3, "CUP": 6})
        await stockroom.send(reserve(checkout, {"TEAPOT": 1, "CUP": 6}))
        assert await stockroom.levels() == {("TEAPOT", "main"): (3, 1), ("CUP", "main"): (6, 6)}
        await stockroom.send(commit(checkout, {"TEAPOT": 1, "CUP": 6}))
        assert await stockroom.levels() == {("TEAPOT", "main"): (2, 0), ("CUP", "main"): (0, 0)}
        await stockroom.send(release(checkout))
        assert await stockroom.levels() == {("TEAPOT", "main"): (3, 0), ("CUP", "main"): (6, 0)}
        assert await stockroom.answers() == [
            StockReserved.type,
            ReservationCommitted.type,
            StockReleased.type,
        ]
        (released,) = await stockroom.sent(StockReleased)
        assert released.outcome == "booked_back"
        await assert_in_order(stockroom)

    async def test_all_steps_may_come_in_one_batch(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3})
        await stockroom.send(
            reserve(checkout, {"TEAPOT": 2}),
            extend(checkout, by=timedelta(days=40_000)),
            commit(checkout, {"TEAPOT": 2}),
            release(checkout),
            reserve(checkout, {"TEAPOT": 3}, 2),
        )
        assert await stockroom.level("TEAPOT") == (3, 3)
        assert await stockroom.statuses() == {(checkout, 1): "booked_back", (checkout, 2): "held"}
        await assert_in_order(stockroom)

    async def test_a_refusal_says_what_is_left_and_holds_nothing(
        self, stockroom: Stockroom
    ) -> None:
        await stockroom.receive({"TEAPOT": 3, "CUP": 2})
        await stockroom.send(reserve(new_id(), {"TEAPOT": 3, "CUP": 6, "SAUCER": 1}))
        (rejected,) = await stockroom.sent(StockRejected)
        assert rejected.shortages == (
            Shortage(sku="CUP", requested=6, available=2),
            Shortage(sku="SAUCER", requested=1, available=0),
        )
        assert await stockroom.levels() == {("TEAPOT", "main"): (3, 0), ("CUP", "main"): (2, 0)}
        await assert_in_order(stockroom)

    async def test_a_quantity_beyond_all_stock_is_only_refused(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3})
        await stockroom.send(reserve(checkout, {"TEAPOT": LARGEST_COUNT}))
        await stockroom.query("DELETE FROM recorded_replies")
        await stockroom.send(reserve(checkout, {"TEAPOT": LARGEST_COUNT}))
        assert [one.shortages[0].requested for one in await stockroom.sent(StockRejected)] == [
            LARGEST_COUNT,
            LARGEST_COUNT,
        ]
        await assert_in_order(stockroom)

    async def test_a_thousand_lines_are_held_and_sold_together(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        quantities = {f"SKU-{number}": number % 7 + 1 for number in range(1000)}
        await stockroom.receive(quantities)
        await stockroom.send(reserve(checkout, quantities))
        assert set(await stockroom.sent(StockReserved)) == {
            StockReserved(checkout_id=checkout, expires_at=LATER)
        }
        await stockroom.send(commit(checkout, quantities))
        assert set((await stockroom.levels()).values()) == {(0, 0)}
        await assert_in_order(stockroom)

    async def test_an_extension_moves_the_question(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3})
        soon = utc_now() + timedelta(minutes=1)
        await stockroom.send(reserve(checkout, {"TEAPOT": 1}, expires_at=soon))
        await stockroom.send(extend(checkout, by=timedelta(hours=1)))
        (answer,) = await stockroom.sent(ReservationExtended)
        ((expires_at, next_question_at),) = await stockroom.query(
            "SELECT expires_at, next_question_at FROM reservations"
        )
        assert answer.expires_at == expires_at == next_question_at > soon

    async def test_what_was_never_reserved_cannot_be_extended_and_leaves_no_trace(
        self, stockroom: Stockroom
    ) -> None:
        await stockroom.send(extend(new_id(), by=timedelta(hours=1)))
        assert await stockroom.answers() == [ReservationNotHeld.type]
        assert await stockroom.statuses() == {}


class TestWarehouses:
    async def test_one_warehouse_that_has_everything_is_preferred_to_priority(
        self, stockroom: Stockroom
    ) -> None:
        await stockroom.open_warehouse("north", 5)
        await stockroom.open_warehouse("south", 1)
        await stockroom.receive({"TEAPOT": 5})
        await stockroom.receive({"TEAPOT": 5, "CUP": 5}, warehouse="north")
        await stockroom.receive({"TEAPOT": 5, "CUP": 2}, warehouse="south")
        await stockroom.send(
            reserve(new_id(), {"TEAPOT": 1, "CUP": 2}), reserve(new_id(), {"TEAPOT": 1})
        )
        assert await stockroom.levels() == {
            ("TEAPOT", "main"): (5, 1),
            ("TEAPOT", "north"): (5, 0),
            ("TEAPOT", "south"): (5, 1),
            ("CUP", "north"): (5, 0),
            ("CUP", "south"): (2, 2),
        }

    async def test_what_was_split_is_sold_and_booked_back_where_it_was_taken(
        self, stockroom: Stockroom
    ) -> None:
        checkout = new_id()
        await stockroom.open_warehouse("north", 1)
        await stockroom.receive({"TEAPOT": 2})
        await stockroom.receive({"TEAPOT": 3}, warehouse="north")
        await stockroom.send(reserve(checkout, {"TEAPOT": 4}))
        before = await stockroom.levels()
        assert before == {("TEAPOT", "main"): (2, 1), ("TEAPOT", "north"): (3, 3)}
        await stockroom.send(commit(checkout, {"TEAPOT": 4}))
        after = await stockroom.levels()
        assert after == {("TEAPOT", "main"): (1, 0), ("TEAPOT", "north"): (0, 0)}
        await stockroom.send(release(checkout))
        assert await stockroom.levels() == {("TEAPOT", "main"): (2, 0), ("TEAPOT", "north"): (3, 0)}
        await assert_in_order(stockroom)

    async def test_another_shop_has_its_own_stock(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3})
        theirs = reserve(checkout, {"TEAPOT": 1}).model_copy(update={"shop_id": "other"})
        await stockroom.send(theirs)
        assert await stockroom.answers() == [StockRejected.type]
        assert await stockroom.level("TEAPOT") == (3, 0)


class TestBatches:
    async def test_a_hundred_reservations_of_a_hot_sku_take_as_many_statements_as_one(
        self, stockroom: Stockroom
    ) -> None:
        await stockroom.receive({"HOT": 1000})
        taken = []
        for size in (1, 100):
            stockroom.statements.clear()
            await stockroom.send(*(reserve(new_id(), {"HOT": 1}) for _ in range(size)))
            taken.append(len(stockroom.statements))
        assert taken[0] == taken[1] > 0
        assert await stockroom.level("HOT") == (1000, 101)

    async def test_and_are_told_of_once(self, stockroom: Stockroom) -> None:
        await stockroom.receive({"HOT": 1000, "COLD": 5})
        await stockroom.send(*(reserve(new_id(), {"HOT": 1}) for _ in range(100)))
        await stockroom.send(*(reserve(new_id(), {"HOT": 1, "COLD": 1}) for _ in range(5)))
        told = await stockroom.sent(StockAvailability)
        assert [(one.sku, one.available) for one in told if one.sku == "HOT"] == [
            ("HOT", 1000),
            ("HOT", 900),
            ("HOT", 895),
        ]
        assert [one.available for one in told if one.sku == "COLD"] == [5, 0]
        versions = [one.version for one in told if one.sku == "HOT"]
        assert versions == sorted(set(versions))

    async def test_a_sale_changes_nothing_of_what_is_available(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3})
        await stockroom.send(reserve(checkout, {"TEAPOT": 1}))
        before = await stockroom.sent(StockAvailability)
        await stockroom.send(commit(checkout, {"TEAPOT": 1}))
        assert await stockroom.sent(StockAvailability) == before

    async def test_when_the_stock_runs_out_in_the_middle_the_first_have_it(
        self, stockroom: Stockroom
    ) -> None:
        checkouts = [new_id() for _ in range(6)]
        await stockroom.receive({"LAST": 7})
        await stockroom.send(*(reserve(checkout, {"LAST": 2}) for checkout in checkouts))
        assert [one.checkout_id for one in await stockroom.sent(StockReserved)] == checkouts[:3]
        assert [one.shortages[0].available for one in await stockroom.sent(StockRejected)] == [
            1
        ] * 3
        assert await stockroom.level("LAST") == (7, 6)
        await assert_in_order(stockroom)

    async def test_movements_of_a_sku_are_counted_without_gaps_over_batches(
        self, stockroom: Stockroom
    ) -> None:
        checkouts = [new_id() for _ in range(4)]
        await stockroom.receive({"TEAPOT": 9})
        await stockroom.send(*(reserve(checkout, {"TEAPOT": 1}) for checkout in checkouts))
        await stockroom.send(*(commit(checkout, {"TEAPOT": 1}) for checkout in checkouts[:3]))
        await stockroom.send(release(checkouts[0]), commit(checkouts[3], {"TEAPOT": 1}))
        events = await stockroom.sent(StockMoved)
        assert [(one.event_seq, one.kind, one.quantity, one.on_hand) for one in events] == [
            (1, "receipt", 9, 9),
            (2, "sale", -1, 8),
            (3, "sale", -1, 7),
            (4, "sale", -1, 6),
            (5, "return", 1, 7),
            (6, "sale", -1, 6),
        ]
        assert len({one.movement_id for one in events}) == 6
        await assert_in_order(stockroom)

    async def test_what_the_database_cannot_take_is_set_aside_alone(
        self, stockroom: Stockroom
    ) -> None:
        checkouts = [new_id() for _ in range(5)]
        await stockroom.receive({"TEAPOT": 9})
        poisoned = reserve(new_id(), {"TEA\x00POT": 1})
        await stockroom.send(
            *(reserve(checkout, {"TEAPOT": 1}) for checkout in checkouts[:3]),
            poisoned,
            *(reserve(checkout, {"TEAPOT": 1}) for checkout in checkouts[3:]),
        )
        assert await stockroom.dead_letters() == 1
        assert {one.checkout_id for one in await stockroom.sent(StockReserved)} == set(checkouts)
        assert await stockroom.level("TEAPOT") == (9, 5)


class TestRepeats:
    """Every command of a checkout, delivered again in every way it can be."""

    def story(self, checkout: UUID) -> Sequence[Message]:
        return (
            reserve(checkout, {"TEAPOT": 2}),
            extend(checkout, by=timedelta(days=40_000)),
            commit(checkout, {"TEAPOT": 2}),
            release(checkout),
            reserve(checkout, {"TEAPOT": 1}, 2),
            release(checkout, 2),
            reserve(checkout, {"TEAPOT": 99}, 3),
            commit(checkout, {"TEAPOT": 1}, 4),
            commit(checkout, {"TEAPOT": 99}, 5),
            release(checkout, 6),
        )

    async def snapshot(self, stockroom: Stockroom) -> object:
        return (
            await stockroom.levels(),
            await stockroom.statuses(),
            await stockroom.query("SELECT * FROM stock_items ORDER BY sku"),
            await stockroom.query("SELECT * FROM movements ORDER BY sku, event_seq"),
        )

    async def test_a_record_delivered_twice_has_one_effect_and_one_answer(
        self, stockroom: Stockroom
    ) -> None:
        await stockroom.receive({"TEAPOT": 9})
        for message in self.story(new_id()):
            record = stockroom.record(message)
            await stockroom.handle([record, record])
            before = await self.snapshot(stockroom), await stockroom.answers()
            await stockroom.handle([record])
            assert (await self.snapshot(stockroom), await stockroom.answers()) == before
        await assert_in_order(stockroom)

    async def test_a_command_sent_again_is_answered_again_under_the_same_id(
        self, stockroom: Stockroom
    ) -> None:
        await stockroom.receive({"TEAPOT": 9})
        for message in self.story(new_id()):
            await stockroom.send(message)
            before = await self.snapshot(stockroom)
            await stockroom.send(message, message)
            assert await self.snapshot(stockroom) == before
        ids = await stockroom.query(
            "SELECT message_id, count(*) FROM outbox WHERE topic = 'order.replies' GROUP BY 1"
        )
        assert [row[1] for row in ids] == [3] * 10
        await assert_in_order(stockroom)

    async def test_even_when_nobody_remembers_the_answer(self, stockroom: Stockroom) -> None:
        await stockroom.receive({"TEAPOT": 9})
        for message in self.story(new_id()):
            await stockroom.send(message)
            before = await self.snapshot(stockroom)
            (answer,) = await stockroom.query(
                "SELECT type, payload FROM outbox ORDER BY id DESC LIMIT 1"
            )
            del answer
            await stockroom.query("DELETE FROM recorded_replies")
            await stockroom.send(message)
            assert await self.snapshot(stockroom) == before
        await assert_in_order(stockroom)

    async def test_the_whole_story_again_and_backwards_changes_nothing(
        self, stockroom: Stockroom
    ) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 9})
        await stockroom.send(*self.story(checkout))
        before = await self.snapshot(stockroom)
        await stockroom.query("DELETE FROM recorded_replies")
        await stockroom.send(*self.story(checkout), *reversed(self.story(checkout)))
        assert await self.snapshot(stockroom) == before
        await assert_in_order(stockroom)


class TestOvertaking:
    @pytest.mark.parametrize("together", [True, False])
    async def test_a_release_that_comes_first_refuses_the_late_reservation(
        self, stockroom: Stockroom, together: bool
    ) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3})
        messages = (release(checkout), reserve(checkout, {"TEAPOT": 1}))
        if together:
            await stockroom.send(*messages)
        else:
            for message in messages:
                await stockroom.send(message)
        (released,) = await stockroom.sent(StockReleased)
        (rejected,) = await stockroom.sent(StockRejected)
        assert released.outcome == "nothing_held"
        assert (rejected.reason, rejected.shortages) == ("released", ())
        assert await stockroom.level("TEAPOT") == (3, 0)
        await assert_in_order(stockroom)

    async def test_but_not_the_reservation_of_a_new_round(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3})
        await stockroom.send(release(checkout), reserve(checkout, {"TEAPOT": 1}, 2))
        assert await stockroom.statuses() == {(checkout, 1): "released", (checkout, 2): "held"}

    async def test_a_commit_of_what_is_not_held_takes_it_if_it_is_there(
        self, stockroom: Stockroom
    ) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3})
        await stockroom.send(commit(checkout, {"TEAPOT": 2}))
        assert await stockroom.answers() == [ReservationCommitted.type]
        assert await stockroom.level("TEAPOT") == (1, 0)
        (told,) = (await stockroom.sent(StockAvailability))[1:]
        assert told.available == 1
        await stockroom.send(reserve(checkout, {"TEAPOT": 2}))
        assert await stockroom.level("TEAPOT") == (1, 0)
        await assert_in_order(stockroom)

    async def test_and_otherwise_says_what_is_left_for_good(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 1})
        await stockroom.send(commit(checkout, {"TEAPOT": 2}))
        await stockroom.receive({"TEAPOT": 1})
        await stockroom.query("DELETE FROM recorded_replies")
        await stockroom.send(commit(checkout, {"TEAPOT": 2}), reserve(checkout, {"TEAPOT": 2}))
        refused = await stockroom.sent(ReservationNotHeld)
        assert [one.shortages for one in refused] == [
            (Shortage(sku="TEAPOT", requested=2, available=1),)
        ] * 2
        assert await stockroom.level("TEAPOT") == (2, 0)
        await assert_in_order(stockroom)

    async def test_a_commit_after_its_release_sells_nothing(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3})
        await stockroom.send(reserve(checkout, {"TEAPOT": 2}), release(checkout))
        await stockroom.send(commit(checkout, {"TEAPOT": 2}))
        assert (await stockroom.answers())[-1] == ReservationNotHeld.type
        assert await stockroom.level("TEAPOT") == (3, 0)


class TestInterleaved:
    """Two transactions, the second sent while the first has read but not yet written."""

    async def interleave(
        self, stockroom: Stockroom, first: StockCommand, second: StockCommand, wait_until: WaitUntil
    ) -> None:
        database = stockroom.service.database
        async with database.transaction() as connection:
            fold = await open_fold(
                connection, StockHandler(), [first], source=SERVICE, now=utc_now()
            )
            overtaking = asyncio.create_task(stockroom.do(second))

            async def waits_or_is_done() -> bool:
                return overtaking.done() or await stockroom.somebody_waits()

            await wait_until(waits_or_is_done, what="the second transaction at a lock")
            assert not overtaking.done(), "the second did not wait for the first"
            fold.step(StockHandler(), Incoming(first))
            await fold.save(connection, StockHandler())
        await overtaking

    @pytest.mark.parametrize("swapped", [False, True])
    @pytest.mark.parametrize(
        "pair",
        [
            ("reserve", "reserve"),
            ("reserve", "commit"),
            ("reserve", "release"),
            ("reserve", "receive"),
            ("reserve", "adjust"),
            ("commit", "release"),
            ("commit", "receive"),
            ("commit", "commit of nothing"),
            ("release", "adjust"),
            ("receive", "adjust"),
            ("receive", "receive"),
        ],
        ids=" and ".join,
    )
    async def test_commands_on_one_sku_take_turns(
        self,
        stockroom: Stockroom,
        wait_until: WaitUntil,
        pair: tuple[str, str],
        swapped: bool,
    ) -> None:
        held = [new_id() for _ in range(2)]
        await stockroom.receive({"TEAPOT": 10})
        await stockroom.send(*(reserve(checkout, {"TEAPOT": 1}) for checkout in held))
        more, fewer = ((StockChange("TEAPOT", "main", quantity),) for quantity in (1, -1))
        made: list[StockCommand] = []
        for name, checkout in zip(pair, held, strict=True):
            commands: dict[str, StockCommand] = {
                "reserve": reserve(new_id(), {"TEAPOT": 1}),
                # Only the reservation itself says that these are about teapots.
                "commit": commit(checkout, {"OTHER": 1}),
                "release": release(checkout),
                "commit of nothing": commit(new_id(), {"TEAPOT": 1}),
                "receive": ReceiveStock("main", new_id(), None, more),
                "adjust": AdjustStock("main", new_id(), "loss", fewer),
            }
            made.append(commands[name])
        if swapped:
            made.reverse()
        await self.interleave(stockroom, made[0], made[1], wait_until)
        await assert_in_order(stockroom)
        effects = {
            "reserve": (0, 1),
            "commit": (-1, -1),
            "release": (0, -1),
            "commit of nothing": (-1, 0),
            "receive": (1, 0),
            "adjust": (-1, 0),
        }
        on_hand, reserved = (
            sum(each) for each in zip(*(effects[name] for name in pair), strict=True)
        )
        assert await stockroom.level("TEAPOT") == (10 + on_hand, 2 + reserved)

    @pytest.mark.parametrize("swapped", [False, True])
    @pytest.mark.parametrize(
        ("pair", "known"),
        [
            (("extend", "release"), True),
            (("extend", "commit"), True),
            (("commit", "release"), True),
            (("release", "release"), True),
            (("reserve", "release"), True),
            (("commit", "release"), False),
            (("release", "release"), False),
            (("reserve", "release"), False),
        ],
    )
    async def test_commands_on_one_reservation_take_turns(
        self,
        stockroom: Stockroom,
        wait_until: WaitUntil,
        pair: tuple[str, str],
        swapped: bool,
        known: bool,
    ) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 10})
        if known:
            await stockroom.send(reserve(checkout, {"TEAPOT": 1}))
        commands: dict[str, StockCommand] = {
            "reserve": reserve(checkout, {"TEAPOT": 1}),
            "extend": extend(checkout, by=timedelta(days=40_000)),
            "commit": commit(checkout, {"TEAPOT": 1}),
            "release": release(checkout),
        }
        made = [commands[name] for name in pair]
        if swapped:
            made.reverse()
        await self.interleave(stockroom, made[0], made[1], wait_until)
        await assert_in_order(stockroom)
        if "release" in pair:
            assert await stockroom.level("TEAPOT") == (10, 0)

    async def test_a_sku_that_is_just_being_opened_is_waited_for(
        self, stockroom: Stockroom, wait_until: WaitUntil
    ) -> None:
        await stockroom.open_warehouse("north", 1)
        both = [
            ReceiveStock("main", new_id(), None, (StockChange("NEW", warehouse, 1),))
            for warehouse in ("main", "north")
        ]
        await self.interleave(stockroom, both[0], both[1], wait_until)
        assert await stockroom.levels() == {("NEW", "main"): (1, 0), ("NEW", "north"): (1, 0)}
        assert [one.available for one in await stockroom.sent(StockAvailability)] == [1, 2]
        await assert_in_order(stockroom)


class TestAtOnce:
    """Several transactions at once, as two replicas, operators and zombies would open them."""

    @pytest.fixture(autouse=True)
    def nothing_tried_again(self, stockroom: Stockroom) -> Iterator[None]:
        """A deadlock heals by being tried again, and would hide."""
        before = stockroom.retried_batches()
        yield
        assert stockroom.retried_batches() == before

    async def test_batches_on_hot_skus_never_oversell_and_never_deadlock(
        self, stockroom: Stockroom
    ) -> None:
        seed = random.randrange(2**32)  # noqa: S311 - no secret
        print(f"seed {seed}")
        chance = random.Random(seed)  # noqa: S311 - no secret
        skus = [f"HOT-{number}" for number in range(6)]
        await stockroom.open_warehouse("north", 1)
        await stockroom.receive(dict.fromkeys(skus, 40))
        await stockroom.receive(dict.fromkeys(skus, 40), warehouse="north")

        async def shoppers() -> None:
            for _ in range(4):
                wanted = {
                    new_id(): {sku: chance.randint(1, 3) for sku in chance.sample(skus, 3)}
                    for _ in range(15)
                }
                await stockroom.send(*(reserve(one, lines) for one, lines in wanted.items()))
                ends = [
                    chance.choice([commit(one, lines), release(one), reserve(one, lines, 2)])
                    for one, lines in wanted.items()
                ]
                chance.shuffle(ends)
                await stockroom.send(*ends)

        async def operators() -> None:
            for _ in range(8):
                chosen = chance.sample(skus, 4)
                await stockroom.receive(dict.fromkeys(chosen, 1), warehouse="north")
                taken = tuple(StockChange(sku, "main", -1) for sku in reversed(chosen))
                result = await stockroom.book(AdjustStock("main", new_id(), "loss", taken))
                assert isinstance(result, Outcome | Overdrawn)

        await asyncio.gather(*(shoppers() for _ in range(4)), operators(), operators())
        assert Counter(await stockroom.answers())[StockRejected.type] > 0
        await assert_in_order(stockroom)

    async def test_one_reservation_ends_once_whoever_comes_first(
        self, stockroom: Stockroom
    ) -> None:
        checkouts = [new_id() for _ in range(300)]
        await stockroom.receive({"TEAPOT": 300})
        await stockroom.send(*(reserve(checkout, {"TEAPOT": 1}) for checkout in checkouts))
        await asyncio.gather(
            stockroom.send(*(commit(checkout, {"TEAPOT": 1}) for checkout in checkouts)),
            stockroom.send(*(release(checkout) for checkout in reversed(checkouts))),
            stockroom.send(*(commit(checkout, {"TEAPOT": 1}) for checkout in reversed(checkouts))),
            stockroom.send(*(release(checkout) for checkout in checkouts)),
        )
        assert set((await stockroom.statuses()).values()) <= {"released", "booked_back"}
        assert await stockroom.level("TEAPOT") == (300, 0)
        await assert_in_order(stockroom)

    async def test_an_unknown_round_asked_for_twice_at_once_is_reserved_once(
        self, stockroom: Stockroom
    ) -> None:
        checkouts = [new_id() for _ in range(20)]
        await stockroom.receive({"TEAPOT": 100})
        await asyncio.gather(
            *(
                stockroom.send(
                    *(
                        reserve(one, {"TEAPOT": 1})
                        for one in random.sample(checkouts, len(checkouts))
                    )
                )
                for _ in range(5)
            )
        )
        assert await stockroom.level("TEAPOT") == (100, 20)
        await assert_in_order(stockroom)

    async def test_new_skus_received_at_once_are_opened_once(self, stockroom: Stockroom) -> None:
        skus = [f"NEW-{number}" for number in range(500)]
        await asyncio.gather(
            *(
                stockroom.receive(dict.fromkeys(random.sample(skus, len(skus)), 1))
                for _ in range(5)
            ),
            stockroom.send(reserve(new_id(), dict.fromkeys(skus, 1))),
        )
        assert {level[0] for level in (await stockroom.levels()).values()} == {5}
        await assert_in_order(stockroom)

    async def test_missing_rows_are_inserted_in_the_order_of_the_locks(
        self, stockroom: Stockroom
    ) -> None:
        checkouts = [new_id() for _ in range(200)]
        skus = [f"NEW-{number}" for number in range(200)]
        await stockroom.query("TRUNCATE reservations, stock_items, stock_levels")
        shuffled = random.sample(skus, len(skus))
        lines = tuple(StockChange(sku, "main", 1) for sku in shuffled)
        async with stockroom.service.database.transaction() as connection:
            await StockHandler().lock(
                connection,
                [
                    ReceiveStock("main", new_id(), None, lines),
                    *(reserve(one, {"CUP": 1}) for one in random.sample(checkouts, len(checkouts))),
                ],
            )
            # In tables that were empty, the place of a row tells when it came.
            reservations = await connection.fetch_column(
                sql("SELECT owner_id FROM reservations ORDER BY ctid")
            )
            items = await connection.fetch_column(sql("SELECT sku FROM stock_items ORDER BY ctid"))
            assert list(reservations) == sorted(checkouts)
            assert list(items) == sorted(skus)
