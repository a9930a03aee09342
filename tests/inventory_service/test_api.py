"""The REST API: operators book and look; everything else is refused clearly and changes nothing."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
from structlog.testing import capture_logs

from contracts.ids import new_id
from contracts.messages.inventory import StockAvailability, StockMoved
from messaging.clock import utc_now
from messaging.http.pages import encode_cursor
from messaging.http.problems import TYPE_BASE
from tests.inventory_service.stockroom import Stockroom, commit, release, reserve

pytestmark = pytest.mark.integration


def problem(response: httpx.Response) -> tuple[int, str]:
    """Status and slug of a problem document."""
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    return response.status_code, document["type"].removeprefix(TYPE_BASE)


def line(sku: str, quantity: Any, **more: Any) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, **more}


def booking(*lines: dict[str, Any], reason: str | None = "count") -> dict[str, Any]:
    return {"lines": list(lines), "reason": reason}


async def untouched(stockroom: Stockroom) -> bool:
    """Whether no movement was booked, nothing sent and nothing remembered."""
    tables = ("movements", "stock_items", "stock_levels", "outbox", "http_idempotency")
    counts = [
        (await stockroom.query(f"SELECT count(*) FROM {table}"))[0][0]  # noqa: S608 - constants
        for table in tables
    ]
    return counts == [0] * len(tables)


class TestCardNumbers:
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/receipts", booking(line("CUP", 1), reason="card 4242 4242 4242 4242")),
            ("/adjustments", booking(line("CUP", 1), reason="4242424242424242")),
            ("/receipts", booking(line("CUP", 4242424242424242))),
            ("/warehouses", {"code": "two", "name": "4242-4242-4242-4242"}),
        ],
        ids=["reason", "adjustment", "quantity", "name"],
    )
    async def test_are_refused_and_leave_no_trace(
        self, stockroom: Stockroom, path: str, body: Any
    ) -> None:
        with capture_logs() as logs:
            for _ in range(2):
                response = await stockroom.post(path, body, key="my-only-key")
                assert problem(response) == (422, "card-number-refused")
                assert "4242" not in response.text
        assert logs == []
        assert await untouched(stockroom)

    async def test_are_taken_where_they_are_skus(self, stockroom: Stockroom) -> None:
        booked = await stockroom.post("/receipts", booking(line("4242424242424242", 3)))
        assert booked.status_code == 201
        assert await stockroom.level("4242424242424242") == (3, 0)


class TestReceipts:
    async def test_goods_come_in(self, stockroom: Stockroom) -> None:
        body = booking(line("TEAPOT", 3), line("CUP", 12, warehouse="main"), reason="delivery 7")
        response = await stockroom.post("/receipts", body)
        assert response.status_code == 201
        booked = response.json()
        assert (booked["lines"], booked["pieces"]) == (2, 15)
        assert await stockroom.levels() == {("TEAPOT", "main"): (3, 0), ("CUP", "main"): (12, 0)}
        events = await stockroom.sent(StockMoved)
        assert [(one.sku, one.kind, one.quantity, one.event_seq) for one in events] == [
            ("TEAPOT", "receipt", 3, 1),
            ("CUP", "receipt", 12, 1),
        ]
        told = await stockroom.sent(StockAvailability)
        assert [(one.sku, one.available, one.version) for one in told] == [
            ("TEAPOT", 3, 1),
            ("CUP", 12, 1),
        ]
        ledger = (await stockroom.get("/stock/TEAPOT/movements")).json()["items"]
        assert (ledger[0]["operation_id"], ledger[0]["reason"]) == (
            booked["operation_id"],
            "delivery 7",
        )

    async def test_a_receipt_sent_again_is_booked_once(self, stockroom: Stockroom) -> None:
        body = booking(line("TEAPOT", 3))
        first = await stockroom.post("/receipts", body, key="the-same-key")
        again = await stockroom.post("/receipts", body, key="the-same-key")
        assert again.status_code == first.status_code == 201
        assert again.json() == first.json()
        assert again.headers["idempotent-replayed"] == "true"
        other = await stockroom.post("/receipts", booking(line("CUP", 1)), key="the-same-key")
        assert problem(other) == (422, "idempotency-key-reused")
        assert await stockroom.levels() == {("TEAPOT", "main"): (3, 0)}

    async def test_a_sku_may_stand_on_several_lines(self, stockroom: Stockroom) -> None:
        body = booking(line("TEAPOT", 3), line("TEAPOT", 4))
        assert (await stockroom.post("/receipts", body)).status_code == 201
        assert await stockroom.level("TEAPOT") == (7, 0)
        assert [one.on_hand for one in await stockroom.sent(StockMoved)] == [3, 7]
        assert [one.available for one in await stockroom.sent(StockAvailability)] == [7]

    async def test_thousands_of_lines_take_as_many_statements_as_one(
        self, stockroom: Stockroom
    ) -> None:
        taken = []
        for count in (1, 4000):
            stockroom.statements.clear()
            body = booking(*(line(f"SKU-{number}", 5) for number in range(count)))
            assert (await stockroom.post("/receipts", body)).status_code == 201
            taken.append(len(stockroom.statements))
        assert taken[0] == taken[1] > 0
        assert (await stockroom.query("SELECT count(*), sum(on_hand) FROM stock_levels"))[0][:] == (
            4000,
            20_005,
        )

    async def test_unknown_warehouses_are_named_and_nothing_is_booked(
        self, stockroom: Stockroom
    ) -> None:
        body = booking(line("TEAPOT", 3), line("CUP", 3, warehouse="moon"))
        response = await stockroom.post("/receipts", body)
        assert problem(response) == (422, "unknown-warehouse")
        assert response.json()["warehouses"] == ["moon"]
        assert await untouched(stockroom)

    async def test_skus_may_hold_any_printable_text(self, stockroom: Stockroom) -> None:
        skus = ["85123A-2.55", "a b", "Ä?&=%41#", "茶壺", "x" * 64]
        body = booking(*(line(sku, 1) for sku in skus))
        assert (await stockroom.post("/receipts", body)).status_code == 201
        for sku in skus:
            response = await stockroom.get(f"/stock/{quote(sku, safe='')}")
            assert response.json()["sku"] == sku


class TestAdjustments:
    async def test_the_books_are_set_right(self, stockroom: Stockroom) -> None:
        await stockroom.receive({"TEAPOT": 5, "CUP": 1})
        body = booking(line("TEAPOT", -2), line("CUP", 4), line("FOUND", 1), reason="stock-taking")
        response = await stockroom.post("/adjustments", body)
        assert (response.status_code, response.json()["pieces"]) == (201, 3)
        assert {sku: level for (sku, _), level in (await stockroom.levels()).items()} == {
            "TEAPOT": (3, 0),
            "CUP": (5, 0),
            "FOUND": (1, 0),
        }
        assert not any((await stockroom.violations()).values())

    async def test_never_below_what_is_reserved(self, stockroom: Stockroom) -> None:
        await stockroom.receive({"TEAPOT": 5, "CUP": 1})
        await stockroom.send(reserve(new_id(), {"TEAPOT": 3}))
        body = booking(line("CUP", 1), line("TEAPOT", -3), line("NONE", -1))
        response = await stockroom.post("/adjustments", body)
        assert problem(response) == (409, "stock-overdrawn")
        assert response.json()["lines"] == [
            {
                "line": 1,
                "sku": "TEAPOT",
                "warehouse": "main",
                "quantity": -3,
                "on_hand": 5,
                "reserved": 3,
            },
            {
                "line": 2,
                "sku": "NONE",
                "warehouse": "main",
                "quantity": -1,
                "on_hand": 0,
                "reserved": 0,
            },
        ]
        assert await stockroom.levels() == {("TEAPOT", "main"): (5, 3), ("CUP", "main"): (1, 0)}

    async def test_a_refused_key_may_be_used_again(self, stockroom: Stockroom) -> None:
        body = booking(line("TEAPOT", -1))
        assert problem(await stockroom.post("/adjustments", body, key="again-and-again")) == (
            409,
            "stock-overdrawn",
        )
        await stockroom.receive({"TEAPOT": 1})
        response = await stockroom.post("/adjustments", body, key="again-and-again")
        assert response.status_code == 201
        assert await stockroom.level("TEAPOT") == (0, 0)


GOOD = line("TEAPOT", 1)
BAD_LINES: list[Any] = [
    line("TEAPOT", 0),
    line("TEAPOT", 1.5),
    line("TEAPOT", 1.0),
    line("TEAPOT", True),
    {"sku": "TEAPOT", "quantity": "1"},
    {"sku": "TEAPOT", "quantity": None},
    {"sku": "TEAPOT"},
    {"quantity": 1},
    line("", 1),
    line(" TEAPOT", 1),
    line("TEA/POT", 1),
    line("..", 1),
    line("TEA\nPOT", 1),
    line("x" * 65, 1),
    line("TEAPOT", 1, warehouse=""),
    line("TEAPOT", 1, warehouse=7),
    line("TEAPOT", 1, colour="green"),
    line("TEAPOT", 10**30),
    line("TEAPOT", 10**9 + 1),
    "TEAPOT",
    None,
]


class TestBadInput:
    @pytest.mark.parametrize("bad", [*BAD_LINES, line("TEAPOT", -1)], ids=repr)
    async def test_a_bad_line_of_a_receipt(self, stockroom: Stockroom, bad: Any) -> None:
        response = await stockroom.post("/receipts", {"lines": [GOOD, bad]})
        assert problem(response)[0] == 422
        assert await untouched(stockroom)

    @pytest.mark.parametrize("bad", [*BAD_LINES, line("TEAPOT", -(10**9) - 1)], ids=repr)
    async def test_a_bad_line_of_an_adjustment(self, stockroom: Stockroom, bad: Any) -> None:
        response = await stockroom.post("/adjustments", booking(GOOD, bad))
        assert problem(response)[0] == 422
        assert await untouched(stockroom)

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/receipts", {"lines": []}),
            ("/receipts", {}),
            ("/receipts", []),
            ("/receipts", {"lines": {"sku": "TEAPOT", "quantity": 1}}),
            ("/receipts", {"lines": [GOOD], "shop_id": "other"}),
            ("/receipts", {"lines": [GOOD], "reason": ""}),
            ("/receipts", {"lines": [GOOD], "reason": "x" * 256}),
            ("/receipts", {"lines": [line("TEA\x00POT", 1)]}),
            ("/adjustments", {"lines": [GOOD]}),
            ("/adjustments", {"lines": [GOOD], "reason": None}),
            ("/adjustments", {"lines": [GOOD], "reason": "  "}),
            ("/warehouses", {"code": "north"}),
            ("/warehouses", {"code": "no/rth", "name": "North"}),
            ("/warehouses", {"code": "north", "name": "North", "priority": -1}),
            ("/warehouses", {"code": "north", "name": "North", "priority": 10**9}),
            ("/warehouses", {"code": "north", "name": " "}),
        ],
        ids=repr,
    )
    async def test_a_bad_body(self, stockroom: Stockroom, path: str, body: Any) -> None:
        assert problem(await stockroom.post(path, body)) == (422, "invalid-request")
        assert await untouched(stockroom)

    async def test_too_much_at_once(self, inventory_database: str, stockroom: Stockroom) -> None:
        small = Stockroom(
            inventory_database, booking_lines=2, booking_line_pieces=9, booking_body_bytes=500
        )
        try:
            lines = await small.post("/receipts", booking(GOOD, GOOD, GOOD))
            assert problem(lines) == (422, "too-many-lines")
            assert lines.json()["largest_lines"] == 2
            pieces = await small.post("/receipts", booking(GOOD, line("TEAPOT", 10)))
            assert problem(pieces) == (422, "quantity-too-large")
            assert (pieces.json()["lines"], pieces.json()["largest_quantity"]) == ([1], 9)
            fewer = await small.post("/adjustments", booking(line("TEAPOT", -10)))
            assert problem(fewer) == (422, "quantity-too-large")
            body = await small.post("/receipts", booking(GOOD, reason="x" * 500))
            assert problem(body) == (413, "body-too-large")
        finally:
            await small.close()
        assert await untouched(stockroom)

    @pytest.mark.parametrize(
        ("content", "media_type", "expected"),
        [
            (b'{"lines": [', "application/json", (400, "malformed-json")),
            (b'{"lines": NaN}', "application/json", (400, "malformed-json")),
            (b"\xff\xfe", "application/json", (400, "malformed-json")),
            (b"sku;quantity", "text/csv", (415, "unsupported-media-type")),
            (b"", "application/json", (422, "invalid-request")),
        ],
    )
    async def test_what_is_no_json(
        self,
        stockroom: Stockroom,
        content: bytes,
        media_type: str,
        expected: tuple[int, str],
    ) -> None:
        headers = {
            **stockroom.token("operator"),
            "Idempotency-Key": "no-json-at-all",
            "Content-Type": media_type,
        }
        response = await stockroom.http.post("/receipts", content=content, headers=headers)
        assert problem(response) == expected
        assert await untouched(stockroom)

    async def test_a_command_needs_an_idempotency_key(self, stockroom: Stockroom) -> None:
        response = await stockroom.http.post(
            "/receipts", json=booking(GOOD), headers=stockroom.token("operator")
        )
        assert problem(response) == (400, "idempotency-key-missing")
        assert await untouched(stockroom)

    @pytest.mark.parametrize(
        ("path", "query", "expected"),
        [
            ("/stock", {"limit": 0}, (422, "invalid-request")),
            ("/stock", {"limit": 201}, (422, "invalid-request")),
            ("/stock", {"sku": "a/b"}, (422, "invalid-request")),
            ("/stock", {"warehouse": "\x00"}, (422, "invalid-request")),
            ("/stock", {"cursor": "nonsense"}, (422, "invalid-cursor")),
            ("/stock", {"cursor": encode_cursor(7)}, (422, "invalid-cursor")),
            ("/stock", {"cursor": encode_cursor("a\x00", "b")}, (422, "invalid-cursor")),
            ("/stock/TEAPOT/movements", {"cursor": encode_cursor("a")}, (422, "invalid-cursor")),
            ("/stock/TEAPOT/movements", {"cursor": encode_cursor(2**63)}, (422, "invalid-cursor")),
            ("/stock/TEAPOT", {}, (404, "unknown-sku")),
            ("/stock/TEAPOT/movements", {}, (404, "unknown-sku")),
            ("/stock/%00", {}, (404, "unknown-sku")),
            ("/stock/%20", {}, (404, "unknown-sku")),
            ("/reservations/7", {}, (422, "invalid-request")),
            (f"/reservations/{UUID(int=7)}", {}, (404, "unknown-reservation")),
            ("/nowhere", {}, (404, "not-found")),
        ],
    )
    async def test_a_bad_look(
        self, stockroom: Stockroom, path: str, query: dict[str, Any], expected: tuple[int, str]
    ) -> None:
        assert problem(await stockroom.get(path, **query)) == expected


class TestWhoMay:
    async def test_only_operators(self, stockroom: Stockroom) -> None:
        key = {"Idempotency-Key": "who-may-do-this"}
        body = booking(GOOD)
        for headers, expected in (
            ({}, (401, "unauthenticated")),
            ({"Authorization": "Bearer nonsense"}, (401, "unauthenticated")),
            (stockroom.token("customer"), (403, "forbidden")),
        ):
            for path in ("/receipts", "/adjustments", "/warehouses"):
                response = await stockroom.http.post(path, json=body, headers={**headers, **key})
                assert problem(response) == expected
            for path in (
                "/stock",
                "/stock/TEAPOT",
                "/stock/TEAPOT/movements",
                "/warehouses",
                f"/reservations/{new_id()}",
            ):
                assert problem(await stockroom.http.get(path, headers=headers)) == expected
        assert await untouched(stockroom)

    async def test_an_operator_sees_and_moves_only_the_stock_of_the_own_shop(
        self, stockroom: Stockroom
    ) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3})
        await stockroom.send(reserve(checkout, {"TEAPOT": 1}))
        assert problem(await stockroom.get("/stock/TEAPOT", shop="other")) == (404, "unknown-sku")
        assert (await stockroom.get("/stock", shop="other")).json()["items"] == []
        assert (await stockroom.get("/warehouses", shop="other")).json()["items"] == []
        assert problem(await stockroom.get(f"/reservations/{checkout}", shop="other")) == (
            404,
            "unknown-reservation",
        )
        response = await stockroom.post("/receipts", booking(GOOD), shop="other")
        assert problem(response) == (422, "unknown-warehouse")
        opened = {"code": "main", "name": "Their own"}
        assert (await stockroom.post("/warehouses", opened, shop="other")).status_code == 201
        response = await stockroom.post("/receipts", booking(GOOD), shop="other")
        assert response.status_code == 201
        assert (await stockroom.get("/stock/TEAPOT", shop="other")).json()["on_hand"] == 1
        assert (await stockroom.get("/stock/TEAPOT")).json()["on_hand"] == 3


class TestLooking:
    async def test_a_sku_with_its_levels_by_priority(self, stockroom: Stockroom) -> None:
        await stockroom.open_warehouse("north", 2)
        await stockroom.open_warehouse("south", 1)
        await stockroom.receive({"TEAPOT": 1}, warehouse="north")
        await stockroom.receive({"TEAPOT": 2}, warehouse="south")
        await stockroom.receive({"TEAPOT": 3})
        await stockroom.send(reserve(new_id(), {"TEAPOT": 2}))
        assert (await stockroom.get("/stock/TEAPOT")).json() == {
            "sku": "TEAPOT",
            "on_hand": 6,
            "reserved": 2,
            "available": 4,
            "availability_version": 4,
            "event_seq": 3,
            "levels": [
                {"warehouse": "main", "on_hand": 3, "reserved": 2, "available": 1},
                {"warehouse": "south", "on_hand": 2, "reserved": 0, "available": 2},
                {"warehouse": "north", "on_hand": 1, "reserved": 0, "available": 1},
            ],
        }

    async def test_levels_come_in_pages_that_miss_and_double_nothing(
        self, stockroom: Stockroom
    ) -> None:
        await stockroom.open_warehouse("north", 1)
        skus = [f"SKU-{number:02}" for number in range(7)] + ["sku-00", "Z"]
        await stockroom.receive(dict.fromkeys(skus, 1))
        await stockroom.receive(dict.fromkeys(skus[:3], 1), warehouse="north")
        for query in ({}, {"warehouse": "north"}, {"sku": "SKU-01"}):
            everything = (await stockroom.get("/stock", limit=200, **query)).json()
            assert everything["next_cursor"] is None
            seen: list[Any] = []
            cursor: dict[str, str] = {}
            while True:
                page = (await stockroom.get("/stock", limit=2, **query, **cursor)).json()
                seen.extend(page["items"])
                if page["next_cursor"] is None:
                    break
                cursor = {"cursor": page["next_cursor"]}
            assert seen == everything["items"]
            places = [(one["sku"], one["warehouse"]) for one in seen]
            assert places == sorted(places)
        assert {one["sku"] for one in everything["items"]} == {"SKU-01"}

    async def test_the_ledger_comes_in_pages_the_latest_first(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 9})
        await stockroom.send(reserve(checkout, {"TEAPOT": 2}), commit(checkout, {"TEAPOT": 2}))
        await stockroom.send(release(checkout))
        await stockroom.post("/adjustments", booking(line("TEAPOT", -1), reason="broken"))
        first = (await stockroom.get("/stock/TEAPOT/movements", limit=3)).json()
        rest = (await stockroom.get("/stock/TEAPOT/movements", cursor=first["next_cursor"])).json()
        assert rest["next_cursor"] is None
        items = first["items"] + rest["items"]
        assert [
            (one["event_seq"], one["kind"], one["quantity"], one["on_hand"], one["reason"])
            for one in items
        ] == [
            (4, "adjustment", -1, 8, "broken"),
            (3, "return", 2, 9, "cancelled"),
            (2, "sale", -2, 7, None),
            (1, "receipt", 9, 9, None),
        ]
        assert [one["operation_id"] == str(checkout) for one in items] == [False, True, True, False]
        assert [one["reservation_round"] for one in items] == [None, 1, 1, None]
        told = {str(one.movement_id) for one in await stockroom.sent(StockMoved)}
        assert {one["movement_id"] for one in items} == told

    async def test_the_rounds_of_a_checkout(self, stockroom: Stockroom) -> None:
        checkout = new_id()
        await stockroom.receive({"TEAPOT": 3})
        expired = utc_now() - timedelta(minutes=1)
        await stockroom.send(reserve(checkout, {"TEAPOT": 9}), release(checkout, 2))
        await stockroom.send(reserve(checkout, {"TEAPOT": 1}, 3, expires_at=expired))
        await stockroom.send(reserve(checkout, {"TEAPOT": 2}, 4), commit(checkout, {}, 4))
        await stockroom.sweep()
        shown = (await stockroom.get(f"/reservations/{checkout}")).json()
        assert shown["checkout_id"] == str(checkout)
        assert [(one["round"], one["status"], one["lines"]) for one in shown["items"]] == [
            (1, "rejected", []),
            (2, "released", []),
            (3, "expired", [{"sku": "TEAPOT", "warehouse": "main", "quantity": 1}]),
            (4, "committed", [{"sku": "TEAPOT", "warehouse": "main", "quantity": 2}]),
        ]
        rejected, released, due, _ = shown["items"]
        assert rejected["shortages"] == [{"sku": "TEAPOT", "requested": 9, "available": 3}]
        assert released["reason"] == "cancelled"
        assert (due["questions"], due["next_question_at"] > due["expires_at"]) == (1, True)


class TestWarehouses:
    async def test_the_default_warehouse_is_there_and_more_can_be_opened(
        self, stockroom: Stockroom
    ) -> None:
        body = {"code": "north", "name": "Up north", "priority": 3}
        response = await stockroom.post("/warehouses", body)
        assert response.status_code == 201
        assert response.json() | body == response.json()
        assert (await stockroom.post("/warehouses", body | {"code": "a"})).status_code == 201
        listed = (await stockroom.get("/warehouses")).json()
        assert [one["code"] for one in listed["items"]] == ["main", "a", "north"]
        received = await stockroom.post("/receipts", booking(line("CUP", 1, warehouse="north")))
        assert received.status_code == 201

    async def test_a_code_is_taken_once(self, stockroom: Stockroom) -> None:
        response = await stockroom.post("/warehouses", {"code": "main", "name": "Again"})
        assert problem(response) == (409, "warehouse-exists")

    async def test_a_shop_has_a_bounded_number_of_them(
        self, inventory_database: str, stockroom: Stockroom
    ) -> None:
        small = Stockroom(inventory_database, warehouses_per_shop=2)
        try:
            body = {"code": "north", "name": "North"}
            assert (await small.post("/warehouses", body)).status_code == 201
            response = await small.post("/warehouses", {"code": "south", "name": "South"})
            assert problem(response) == (409, "too-many-warehouses")
        finally:
            await small.close()
        assert len((await stockroom.get("/warehouses")).json()["items"]) == 2


async def test_the_openapi_document_names_every_route(stockroom: Stockroom) -> None:
    paths = (await stockroom.http.get("/openapi.json")).json()["paths"]
    own = {path: methods for path, methods in paths.items() if "/dead-letters" not in path}
    assert {(method, path) for path, methods in own.items() for method in methods} == {
        ("post", "/receipts"),
        ("post", "/adjustments"),
        ("post", "/warehouses"),
        ("get", "/warehouses"),
        ("get", "/stock"),
        ("get", "/stock/{sku}"),
        ("get", "/stock/{sku}/movements"),
        ("get", "/reservations/{checkout_id}"),
    }
