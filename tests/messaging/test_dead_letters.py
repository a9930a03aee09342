"""Dead letters: what waits behind them, and what operators do about them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from contracts.ids import new_id
from contracts.messages.inventory import ReserveStock, StockReserved
from contracts.messages.order import StepBlocked, StepUnblocked
from messaging.clock import utc_now
from messaging.database import Connection
from messaging.dead_letters.aside import Aside
from messaging.dead_letters.upkeep import call_stalled, count_open, forget_settled
from messaging.metrics import DEAD_LETTERS
from messaging.points import Listener, Point
from messaging.records import Record
from tests.messaging.bench import FIXED, Bench, authorized
from tests.messaging.example import (
    RAISES,
    REJECTED_BY_DATABASE,
    CountingHandler,
    Example,
    addressed,
    reserve,
)

pytestmark = pytest.mark.integration

WaitUntil = Callable[..., Awaitable[None]]


class TestParking:
    async def test_what_comes_later_of_its_key_waits_and_others_go_on(self, bench: Bench) -> None:
        bad, good = new_id(), new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2), reserve(good))
        await bench.tell(reserve(bad, 3), reserve(good, 2))
        assert await bench.rounds(bad) == []
        assert await bench.rounds(good) == [1, 2]
        assert await bench.statuses() == [("dead", 1), ("parked", 0), ("parked", 0)]

    async def test_what_came_before_it_in_the_batch_was_handled(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad), reserve(bad, 2, sku=RAISES), reserve(bad, 3))
        assert await bench.rounds(bad) == [1]

    @pytest.mark.parametrize("sku", [RAISES, REJECTED_BY_DATABASE])
    async def test_the_saga_is_told_of_every_step_that_waits(self, bench: Bench, sku: str) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=sku), reserve(bad, 2))
        assert await bench.told() == [("StepBlocked", 1), ("StepBlocked", 2)]
        rows = await bench.example.query(
            "SELECT payload FROM outbox WHERE type = $1", StepBlocked.type
        )
        (letter, _) = await bench.letters()
        notes = [StepBlocked.model_validate_json(row["payload"]) for row in rows]
        assert {str(note.dead_letter_id) for note in notes} == {letter["id"]}

    async def test_a_command_that_is_asked_again_is_kept_once_and_answered_again(
        self, bench: Bench
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2))
        for _ in range(3):
            await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2))
        assert await bench.statuses() == [("dead", 1), ("parked", 0)]
        assert await bench.told() == 4 * [("StepBlocked", 1), ("StepBlocked", 2)]

    async def test_a_newer_version_blocks_the_step_that_its_envelope_names(
        self, bench: Bench
    ) -> None:
        def newer(record: Record) -> Record:
            kept = tuple(pair for pair in record.headers if pair[0] != "ce_type")
            return replace(record, headers=(*kept, ("ce_type", b"inventory.reserve_stock.v2")))

        checkout = new_id()
        await bench.hand(bench.delivery(reserve(checkout, 7), newer))
        assert await bench.told() == [("StepBlocked", 7)]
        (letter,) = await bench.letters()
        assert "is newer than version 1, the last one known here" in letter["fault"]["error_text"]

    async def test_the_same_bytes_under_another_key_are_no_copy(self, bench: Bench) -> None:
        def under(key: bytes) -> Callable[[Record], Record]:
            return lambda record: replace(record, key=key, value=b"null")

        await bench.hand(*(bench.delivery(reserve(new_id()), under(key)) for key in (b"a", b"b")))
        assert await bench.statuses() == [("dead", 1), ("dead", 1)]

    async def test_a_record_without_a_key_parks_nothing(self, bench: Bench) -> None:
        deliveries = [
            bench.delivery(reserve(new_id(), sku=sku), lambda record: replace(record, key=None))
            for sku in (RAISES, "SKU", RAISES)
        ]
        await bench.hand(*deliveries)
        assert await bench.statuses() == [("dead", 1), ("dead", 1)]
        assert await bench.parked() == 0

    async def test_a_key_longer_than_an_index_takes_parks_like_any_other(
        self, bench: Bench
    ) -> None:
        def long(record: Record) -> Record:
            return replace(record, key=b"k" * 100_000)

        await bench.hand(*(bench.delivery(reserve(new_id(), sku=RAISES), long) for _ in range(2)))
        assert await bench.statuses() == [("dead", 1), ("parked", 0)]

    async def test_a_message_that_comes_twice_is_put_aside_once(self, bench: Bench) -> None:
        dead, parked = (bench.delivery(reserve(new_id(), sku=RAISES)) for _ in range(2))
        behind = replace(parked, record=replace(parked.record, key=dead.record.key))
        await bench.hand(dead, behind)
        await bench.hand(dead, behind)
        assert await bench.statuses() == [("dead", 1), ("parked", 0)]


class TestReplays:
    @pytest.mark.parametrize("sku", [RAISES, REJECTED_BY_DATABASE])
    async def test_the_letter_and_what_waits_behind_it_take_effect_in_order(
        self, bench: Bench, sku: str
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=sku), reserve(bad, 2), reserve(bad, 3))
        bench.handler.mended = True
        run = await bench.run(fingerprint=await bench.fingerprint())
        await bench.give_turns()
        assert await bench.rounds(bad) == [1, 2, 3]
        assert {status for status, _ in await bench.statuses()} == {"done"}
        assert await bench.parked() == 0
        assert await bench.figures(run) == {
            "status": "finished",
            "chosen": 1,
            "done": 1,
            "failed": 0,
            "untried": 0,
            "drained": 2,
        }

    async def test_the_saga_has_its_answers_and_goes_on(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2))
        bench.handler.mended = True
        await bench.run(key=str(bad))
        await bench.give_turns()
        assert (await bench.told())[2:] == [
            ("StockReserved", 1),
            ("StepUnblocked", 1),
            ("StockReserved", 2),
            ("StepUnblocked", 2),
        ]

    async def test_afterwards_the_key_is_like_any_other(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES))
        bench.handler.mended = True
        await bench.run(key=str(bad))
        await bench.give_turns()
        await bench.tell(reserve(bad, 2))
        assert await bench.rounds(bad) == [1, 2]

    async def test_replaying_twice_is_harmless(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2))
        bench.handler.mended = True
        await bench.run(key=str(bad))
        refused = await bench.post("/runs", action="replay", reason=FIXED, key=str(bad))
        assert refused.status_code == 409
        turns = await bench.turns()
        for _ in range(3):
            assert await bench.replays().settle(turns, asyncio.Event())
        assert await bench.rounds(bad) == [1, 2]

    async def test_a_replay_cut_off_behind_its_letter_goes_on_when_it_comes_again(
        self, bench: Bench
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2), reserve(bad, 3))
        bench.handler.mended = True
        run = await bench.run(key=str(bad))
        (turn,) = await bench.turns()
        assert turn.incoming is not None
        async with bench.service.database.transaction() as connection:
            letter_id = turn.incoming.body.dead_letter_id  # type: ignore[attr-defined]
            await bench.service.replayer.take_turn(connection, letter_id, None, utc_now())
        assert await bench.rounds(bad) == [1]
        assert await bench.replays().settle([turn], asyncio.Event())
        assert await bench.rounds(bad) == [1, 2, 3]
        assert (await bench.figures(run))["drained"] == 2

    async def test_a_batch_that_meets_a_replay_waits_for_it(
        self, bench: Bench, wait_until: WaitUntil
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES))
        bench.handler.mended = True
        await bench.run(key=str(bad))
        (turn,) = await bench.turns()
        assert turn.incoming is not None
        letter_id = turn.incoming.body.dead_letter_id  # type: ignore[attr-defined]
        async with bench.service.database.transaction() as connection:
            await bench.service.replayer.take_turn(connection, letter_id, None, utc_now())
            later = asyncio.create_task(bench.tell(reserve(bad, 2)))
            await wait_until(bench.lock_is_waited_for)
        await later
        assert await bench.rounds(bad) == [1, 2]
        assert await bench.statuses() == [("done", 1)]

    async def test_a_replay_that_meets_a_batch_takes_along_what_that_parks(
        self, bench: Bench, wait_until: WaitUntil
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES))
        bench.handler.mended = True
        await bench.run(key=str(bad))
        later = bench.delivery(reserve(bad, 2))
        async with bench.service.database.transaction() as connection:
            aside = Aside("inventory", bench.batches.consumer, parks=True, now=utc_now())
            await aside.lock(connection, [later])
            aside.put(later, None)
            await aside.save(connection)
            replaying = asyncio.create_task(bench.give_turns())
            await wait_until(bench.lock_is_waited_for)
        await replaying
        assert await bench.rounds(bad) == [1, 2]
        assert await bench.statuses() == [("done", 1), ("done", 0)]

    async def test_a_turn_of_what_is_parked_waits_for_the_letter_before_it(
        self, bench: Bench
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2))
        (_, parked) = await bench.letters()
        async with bench.service.database.transaction() as connection:
            turn = await bench.service.replayer.take_turn(
                connection, UUID(parked["id"]), None, utc_now()
            )
        assert not turn.tried
        assert await bench.rounds(bad) == []

    @pytest.mark.parametrize("sku", [RAISES, REJECTED_BY_DATABASE])
    async def test_a_letter_that_fails_again_is_dead_again_and_its_key_waits(
        self, bench: Bench, sku: str
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=sku), reserve(bad, 2))
        (before, _) = await bench.statuses()
        await bench.run(key=str(bad))
        await bench.give_turns()
        (after, waits) = await bench.statuses()
        assert after == ("dead", before[1] + 1)
        assert waits == ("parked", 0)
        assert await bench.parked() == 1
        assert (await bench.told())[-1] == ("StepBlocked", 1)

    async def test_a_turn_that_fails_once_still_tells_the_saga_that_its_letter_died(
        self, bench: Bench, at_points: Callable[[Listener], None]
    ) -> None:
        stumbled: list[Point] = []

        async def stumble(point: Point, service: str, under_way: Iterable[str]) -> None:
            if point is Point.BATCH_WRITTEN and not stumbled:
                stumbled.append(point)
                raise RuntimeError("nobody thought of this")

        bad = new_id()
        await bench.tell(reserve(bad, sku=REJECTED_BY_DATABASE))
        await bench.run(key=str(bad))
        at_points(stumble)
        await bench.give_turns()
        assert stumbled
        assert await bench.told() == 2 * [("StepBlocked", 1)]

    async def test_the_first_that_fails_as_before_stops_the_run(self, bench: Bench) -> None:
        await bench.tell(*(reserve(new_id(), sku=RAISES) for _ in range(5)))
        run = await bench.run(fingerprint=await bench.fingerprint())
        await bench.give_turns()
        assert await bench.figures(run) == {
            "status": "stopped",
            "chosen": 5,
            "done": 0,
            "failed": 1,
            "untried": 4,
            "drained": 0,
        }
        assert await bench.statuses() == [("dead", 2), *(4 * [("dead", 1)])]

    async def test_another_fault_than_the_chosen_ones_stops_nothing(self, bench: Bench) -> None:
        skus = (RAISES, REJECTED_BY_DATABASE, RAISES)
        await bench.tell(*(reserve(new_id(), sku=sku) for sku in skus))
        first, second, third = await bench.letters()
        bench.handler.mended = True
        broken = dict(reserve(UUID(first["key"])).model_dump(mode="json"), lines=[])
        # An empty order makes another fault: its first line is not there.
        answer = await bench.post(f"/{first['id']}/edits", value=broken, reason="to see it fail")
        assert answer.status_code == 200
        run = await bench.run(ids=[one["id"] for one in (first, second, third)])
        await bench.give_turns()
        assert await bench.figures(run) == {
            "status": "finished",
            "chosen": 3,
            "done": 2,
            "failed": 1,
            "untried": 0,
            "drained": 0,
        }

    async def test_what_waited_may_die_in_its_turn_and_the_rest_waits_on(
        self, bench: Bench
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2, sku=RAISES), reserve(bad, 3))
        (first, second, _) = await bench.letters()
        mended = reserve(bad).model_dump(mode="json")
        await bench.post(f"/{first['id']}/edits", value=mended, reason="a SKU that works")
        await bench.run(ids=[first["id"]])
        await bench.give_turns()
        assert await bench.rounds(bad) == [1]
        assert await bench.statuses() == [("done", 1), ("dead", 1), ("parked", 0)]
        bench.handler.mended = True
        await bench.run(ids=[second["id"]])
        await bench.give_turns()
        assert await bench.rounds(bad) == [1, 2, 3]

    async def test_the_database_may_be_away_for_a_while(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES))
        bench.handler.mended = True
        await bench.run(key=str(bad))
        away = 3
        replayer = bench.service.replayer
        take_turn = replayer.take_turn

        async def now_and_then(connection: Connection, *args: Any, **options: Any) -> Any:
            nonlocal away
            turn = await take_turn(connection, *args, **options)
            if (away := away - 1) >= 0:
                raise ConnectionResetError("the database is gone")
            return turn

        monkeypatch.setattr(replayer, "take_turn", now_and_then)
        await bench.give_turns()
        assert away == -1
        assert await bench.rounds(bad) == [1]
        assert await bench.statuses() == [("done", 1)]

    async def test_a_rate_is_kept(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        await bench.tell(*(reserve(new_id(), sku=RAISES) for _ in range(4)))
        bench.handler.mended = True
        run = await bench.run(fingerprint=await bench.fingerprint(), rate_per_second=50)
        processor, loop = bench.replays(), asyncio.get_running_loop()
        started = loop.time()
        await bench.give_turns(processor)
        assert loop.time() - started >= 3 / 50
        assert (await bench.figures(run))["done"] == 4

    async def test_a_run_can_be_stopped(self, bench: Bench) -> None:
        await bench.tell(*(reserve(new_id(), sku=RAISES) for _ in range(3)))
        bench.handler.mended = True
        run = await bench.run(fingerprint=await bench.fingerprint())
        stopped = await bench.post(f"/runs/{run}/stop", reason="wait for the release")
        assert stopped.json()["stopped_because"] == "olga: wait for the release"
        await bench.give_turns()
        assert (await bench.figures(run))["untried"] == 3
        assert await bench.statuses() == 3 * [("dead", 1)]
        again = await bench.run(fingerprint=await bench.fingerprint())
        await bench.give_turns()
        assert (await bench.figures(again))["done"] == 3

    async def test_a_turn_that_was_lost_with_its_topic_comes_again(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2))
        bench.handler.mended = True
        await bench.run(key=str(bad))
        await bench.turns()  # are lost
        call = call_stalled("inventory")
        await call(bench.service.database)
        assert await bench.turns() == []
        long_ago = "UPDATE dead_letters SET changed_at = now() - interval '1 day'"
        await bench.example.query(long_ago)
        await call(bench.service.database)
        await bench.give_turns()
        assert await bench.rounds(bad) == [1, 2]

    async def test_a_turn_that_comes_late_unparks_nothing_that_is_not_its_own(
        self, bench: Bench
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES))
        bench.handler.mended = True
        await bench.run(key=str(bad))
        (turn,) = await bench.turns()
        assert await bench.replays().settle([turn], asyncio.Event())
        bench.handler.mended = False
        await bench.tell(reserve(bad, 2, sku=RAISES))
        assert await bench.replays().settle([turn], asyncio.Event())
        assert await bench.parked() == 1


class TestDiscards:
    async def test_the_letter_is_left_and_what_waited_goes_on(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2))
        await bench.run("discard", key=str(bad), ids=[(await bench.letters())[0]["id"]])
        await bench.give_turns()
        assert await bench.rounds(bad) == [2]
        assert [status for status, _ in await bench.statuses()] == ["discarded", "done"]
        assert (await bench.told())[2:] == [
            ("StepUnblocked", 1),
            ("StockReserved", 2),
            ("StepUnblocked", 2),
        ]
        rows = await bench.example.query(
            "SELECT payload FROM outbox WHERE type = $1 ORDER BY id", StepUnblocked.type
        )
        outcomes = [StepUnblocked.model_validate_json(row["payload"]).outcome for row in rows]
        assert outcomes == ["discarded", "replayed"]

    async def test_a_late_copy_of_a_discarded_command_has_no_effect(self, bench: Bench) -> None:
        checkout = new_id()
        bad = bench.delivery(reserve(checkout, sku=RAISES))
        await bench.hand(bad)
        await bench.run("discard", key=str(checkout))
        await bench.give_turns()
        bench.handler.mended = True
        await bench.hand(bad)
        assert await bench.rounds(checkout) == []

    async def test_a_whole_key_can_be_discarded(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2))
        await bench.run("discard", key=str(bad))
        await bench.give_turns()
        assert await bench.rounds(bad) == []
        assert {status for status, _ in await bench.statuses()} == {"discarded"}
        assert await bench.parked() == 0


class TestOperators:
    async def test_others_are_refused(self, bench: Bench) -> None:
        for headers, status in (({"Authorization": ""}, 401), (authorized("operator"), 403)):
            for path in ("", "/figures", "/runs", "/dry-run", f"/{new_id()}"):
                answer = await bench.http.get(f"/dead-letters{path}", headers=headers)
                assert answer.status_code == status

    async def test_pages_go_back_in_time(self, bench: Bench) -> None:
        await bench.tell(*(reserve(new_id(), sku=RAISES) for _ in range(5)))
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            answer = (await bench.http.get("/dead-letters", params={"limit": 2, **cursor})).json()
            seen += [one["id"] for one in answer["items"]]
            if answer["next_cursor"] is None:
                break
            cursor = {"cursor": answer["next_cursor"]}
        assert seen == [one["id"] for one in reversed(await bench.letters())]

    async def test_letters_are_found_by_what_is_known_of_them(self, bench: Bench) -> None:
        one, other = new_id(), new_id()
        await bench.tell(reserve(one, sku=RAISES), reserve(one, 2))
        middle = utc_now().isoformat()
        await bench.tell(reserve(other, sku=REJECTED_BY_DATABASE))
        first, parked, last = await bench.letters()
        for query, found in (
            ({"key": str(one)}, [first, parked]),
            ({"status": "parked"}, [parked]),
            ({"status": ["dead", "parked"]}, [first, parked, last]),
            ({"fingerprint": first["fault"]["fingerprint"]}, [first]),
            ({"consumer": "inventory.inventory.commands"}, [first, parked, last]),
            ({"consumer": "inventory.nothing"}, []),
            ({"type": ReserveStock.type, "since": middle}, [last]),
            ({"until": middle}, [first, parked]),
            ({"id": [first["id"], last["id"]]}, [first, last]),
        ):
            assert await bench.letters(**query) == found
        assert [letter["waiting"] for letter in (first, parked, last)] == [1, 0, 0]

    async def test_ten_thousand_are_listed_with_one_statement(self, bench: Bench) -> None:
        await bench.put_aside(10_000)
        statements: list[str] = []
        bench.service.api_database.watch(statements.append)
        assert len(await bench.letters(limit=10_000)) == 10_000
        assert len(statements) == 1

    async def test_figures_tell_what_fails_most(self, bench: Bench) -> None:
        one = new_id()
        await bench.tell(reserve(new_id(), sku=REJECTED_BY_DATABASE))
        await bench.tell(reserve(one, sku=RAISES), reserve(new_id(), sku=RAISES), reserve(one, 2))
        figures = (await bench.http.get("/dead-letters/figures")).json()["items"]
        assert [(one["error_type"], one["dead"], one["waiting"]) for one in figures] == [
            ("RuntimeError", 2, 1),
            ("CheckViolationError", 1, 0),
        ]

    async def test_a_letter_is_shown_whole(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2))
        first, parked = await bench.letters()
        whole = (await bench.http.get(f"/dead-letters/{first['id']}")).json()
        assert whole["key"] == {"text": str(bad)}
        assert whole["value"]["json"] == reserve(bad, sku=RAISES).model_dump(mode="json")
        assert {"name": "ce_type", "value": {"text": ReserveStock.type}} in whole["headers"]
        assert [one["id"] for one in whole["waiting"]] == [parked["id"]]
        missing = await bench.http.get(f"/dead-letters/{new_id()}")
        assert missing.status_code == 404

    async def test_a_dry_run_tells_what_would_come_of_it_and_keeps_nothing(
        self, bench: Bench
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(new_id(), sku=REJECTED_BY_DATABASE))
        before = await _everything(bench.example)
        answer = (await bench.http.get("/dead-letters/dry-run")).json()["items"]
        assert [(one["outcome"], one["same_fault"]) for one in answer] == 2 * [("fails", True)]
        bench.handler.mended = True
        answer = (await bench.http.get("/dead-letters/dry-run", params={"key": str(bad)})).json()
        (one,) = answer["items"]
        assert one["outcome"] == "handled"
        assert [message["type"] for message in one["messages"]] == [StockReserved.type]
        assert one["changes"] == [f"Count {bad}"]
        assert await _everything(bench.example) == before

    async def test_an_edited_value_is_replayed_and_both_stand_in_the_history(
        self, bench: Bench
    ) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES))
        (letter,) = await bench.letters()
        mended = reserve(bad, quantity=3).model_dump(mode="json")
        answer = await bench.post(f"/{letter['id']}/edits", value=mended, reason="the SKU is gone")
        assert answer.status_code == 200
        assert answer.json()["edited_value"]["json"] == mended
        await bench.run(ids=[letter["id"]])
        await bench.give_turns()
        assert (await bench.example.counts())[bad] == (3, [1])
        history = (await bench.http.get(f"/dead-letters/{letter['id']}")).json()["history"]
        told = [(entry["who"], entry["action"], entry["reason"]) for entry in history]
        assert told == [
            ("olga", "edited", "the SKU is gone"),
            ("olga", "replay asked for", FIXED),
            ("olga", "handled", FIXED),
        ]
        assert history[0]["before"]["json"]["lines"][0]["sku"] == RAISES
        assert history[0]["after"]["json"] == mended

    async def test_what_is_no_message_of_its_type_and_key_is_refused(self, bench: Bench) -> None:
        await bench.tell(reserve(new_id(), sku=RAISES))
        (letter,) = await bench.letters()
        for value in ({"lines": 7}, reserve(new_id()).model_dump(mode="json")):
            answer = await bench.post(f"/{letter['id']}/edits", value=value, reason="to try it")
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["location"] == "body.value"

    async def test_an_edit_does_not_answer_another_question(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES))
        (letter,) = await bench.letters()
        value = reserve(bad, 2).model_dump(mode="json")
        answer = await bench.post(f"/{letter['id']}/edits", value=value, reason="to try it")
        assert answer.status_code == 422

    async def test_what_the_database_says_of_a_row_is_not_kept(self, bench: Bench) -> None:
        checkout = new_id()
        await bench.tell(reserve(checkout, sku=REJECTED_BY_DATABASE))
        (letter,) = await bench.letters()
        assert "violates check constraint" in letter["fault"]["error_text"]
        assert str(checkout) not in letter["fault"]["error_text"]

    async def test_what_had_its_turn_is_not_edited(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES))
        (letter,) = await bench.letters()
        await bench.run("discard", key=str(bad))
        await bench.give_turns()
        value = reserve(bad).model_dump(mode="json")
        answer = await bench.post(f"/{letter['id']}/edits", value=value, reason="too late")
        assert answer.status_code == 409

    @pytest.mark.parametrize(
        "chosen", [{}, {"ids": []}, {"key": "a\x00b"}, {"rate_per_second": 0, "key": "k"}], ids=str
    )
    async def test_a_run_must_say_which_letters(self, bench: Bench, chosen: dict[str, Any]) -> None:
        answer = await bench.post("/runs", action="replay", reason=FIXED, **chosen)
        assert answer.status_code == 422

    async def test_what_is_parked_is_not_replayed_before_its_time(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2))
        (_, parked) = await bench.letters()
        answer = await bench.post("/runs", action="replay", reason=FIXED, ids=[parked["id"]])
        assert answer.status_code == 409


class TestUpkeep:
    async def test_what_is_open_is_counted(self, bench: Bench) -> None:
        bad = new_id()
        await bench.tell(reserve(bad, sku=RAISES), reserve(bad, 2), reserve(bad, 3))
        await count_open("inventory")(bench.service.database)
        gauges = {
            sample.labels["status"]: sample.value
            for sample in next(iter(DEAD_LETTERS.collect())).samples
            if sample.labels["service"] == "inventory"
        }
        assert gauges == {"dead": 1, "parked": 2, "replaying": 0, "discarding": 0}

    async def test_only_what_was_settled_long_ago_is_forgotten_with_its_history(
        self, bench: Bench
    ) -> None:
        old, fresh, dead = new_id(), new_id(), new_id()
        await bench.tell(*(reserve(checkout, sku=RAISES) for checkout in (old, fresh, dead)))
        for checkout in (old, fresh):
            await bench.run("discard", key=str(checkout))
        await bench.give_turns()
        await bench.example.query(
            "UPDATE dead_letters SET changed_at = now() - interval '401 days' "
            "WHERE key = convert_to($1, 'UTF8') OR status = 'dead'",
            str(old),
        )
        assert await forget_settled(400)(bench.service.database) == 1
        assert {letter["key"] for letter in await bench.letters()} == {str(fresh), str(dead)}
        trail = await bench.example.query("SELECT DISTINCT dead_letter_id FROM dead_letter_history")
        assert len(trail) == 1


async def test_over_kafka_a_fixed_service_replays_what_its_forerunner_could_not(
    example: Example, wait_until: WaitUntil
) -> None:
    bad, good = new_id(), new_id()
    await example.send(
        *(addressed(one) for one in (reserve(bad, sku=RAISES), reserve(bad, 2), reserve(good)))
    )

    async def aside() -> bool:
        return len(await example.query("SELECT 1 FROM dead_letters")) == 2

    async with example.running():
        await wait_until(aside)
    async with example.running(handler=CountingHandler(mended=True)) as service:
        transport = httpx.ASGITransport(app=service.app)
        headers = {**authorized("operations"), "Idempotency-Key": str(uuid4())}
        async with httpx.AsyncClient(transport=transport, base_url="http://inventory") as http:
            body = {"action": "replay", "reason": FIXED, "key": str(bad)}
            answer = await http.post("/dead-letters/runs", json=body, headers=headers)
            assert answer.status_code == 202

            async def finished() -> bool:
                run = await http.get(answer.headers["Location"], headers=headers)
                return bool(run.json()["status"] == "finished") and await example.idle()

            await wait_until(finished)
    assert await example.counts() == {bad: (2, [1, 2]), good: (1, [1])}


async def _everything(example: Example) -> Sequence[Any]:
    tables = ("dead_letters", "parked_keys", "counts", "outbox", "recorded_replies")
    return [await example.query(f"SELECT * FROM {table} ORDER BY 1") for table in tables]  # noqa: S608
