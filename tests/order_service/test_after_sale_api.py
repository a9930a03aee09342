"""Shipping, refunding and taking goods back over HTTP, on a real database."""

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.messages.base import Step
from contracts.messages.inventory import ReturnStock, StockReturned
from contracts.messages.order import OrderRefunded, OrderReturned, OrderShipped
from contracts.messages.payment import (
    CapturePayment,
    DisputeMoved,
    Refunded,
    RefundFailed,
    RefundPayment,
)
from messaging.database import Connection
from order_service.after_sale.facts import FIRST_ROUND
from order_service.checkout.facts import payment_id_of, refund_id_of
from order_service.exploration import AT_SHIPPING, CHECKOUT_ID, start
from order_service.store import listings
from tests.order_service.office import ORDER_ID, Office
from tests.order_service.story import authorized, cart_closed, committed, reserved, succeeded
from tests.order_service.test_api import problem

pytestmark = pytest.mark.integration

ORDER = f"/orders/{ORDER_ID}"
REFUNDS, RETURNS, SHIPMENTS = f"{ORDER}/refunds", f"{ORDER}/returns", f"{ORDER}/shipments"
TOTAL = 2_500
SEVERAL_SHIPMENTS = "order_service.migrations.versions.0011_several_shipments"
COMES_AGAIN = 60
"""Tries of one who is turned away by 503, a second between them, as the answer asks for."""


@pytest.fixture
async def sold(office: Office) -> Office:
    """An office with one paid order of one teapot."""
    await office.tell(start(), reserved(), succeeded(), committed(), cart_closed())
    return office


def asked(amount: int, round_: int = FIRST_ROUND) -> dict[str, Any]:
    """The fields of payment's answer to a refund."""
    return {
        "checkout_id": CHECKOUT_ID,
        "round": round_,
        "payment_id": payment_id_of(CHECKOUT_ID),
        "attempt": 1,
        "refund_id": refund_id_of(CHECKOUT_ID, round_),
        "amount_minor": amount,
    }


async def olga(office: Office, path: str, body: object, **how: Any) -> Any:
    """An operator of the shop does this."""
    return await office.post(path, body, office.customer("olga", "operator"), **how)


async def test_money_goes_back_in_part_and_the_order_shows_how_far_it_is(sold: Office) -> None:
    response = await olga(sold, REFUNDS, {"amount_minor": 700, "reason": "a crack"})

    assert response.status_code == 202
    body = response.json()
    assert (body["state"], body["payment_status"]) == ("paid", "refund_pending")
    (refund,) = body["after_sale"]["refunds"]
    assert (refund["amount_minor"], refund["status"], refund["reason"]) == (
        700,
        "requested",
        "a crack",
    )
    assert body["after_sale"]["refundable_minor"] == TOTAL - 700

    await sold.tell(Refunded(**asked(700)))
    body = (await sold.get(ORDER)).json()
    assert body["payment_status"] == "partly_refunded"
    assert body["after_sale"]["refunds"][0]["status"] == "refunded"
    assert [entry["note"] for entry in body["timeline"]][-2] == "refund 1 of 700"
    (event,) = await sold.sent(OrderRefunded)
    assert event.lines[0].gross_minor == 700


async def test_an_order_is_shown_as_it_was_at_one_moment(
    sold: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await olga(sold, REFUNDS, {"amount_minor": 700, "reason": "a crack"})
    read_lines = listings.read_lines

    async def refunded_meanwhile(connection: Connection, order_id: UUID) -> Sequence[Any]:
        await sold.tell(Refunded(**asked(700)))
        return await read_lines(connection, order_id)

    monkeypatch.setattr(listings, "read_lines", refunded_meanwhile)
    body = (await sold.get(ORDER)).json()

    assert body["payment_status"] == "refund_pending"
    assert body["after_sale"]["refund_pending_minor"] == 700


async def test_a_refund_under_the_same_key_is_one_refund(sold: Office) -> None:
    body = {"amount_minor": 700, "reason": "a crack"}

    first, again = [await olga(sold, REFUNDS, body, key="the-same-key") for _ in range(2)]

    assert again.json() == first.json()
    assert len(await sold.sent(RefundPayment)) == 1


async def test_many_refunds_at_once_never_give_back_more_than_was_paid(
    order_database: str, sold: Office
) -> None:
    wide = Office(order_database, claims_per_order=2_000, idempotency_wait_seconds=60)
    connections = asyncio.Semaphore(wide.settings.http.connections_at_once)
    turned_away = 0

    async def one(number: int) -> int:
        nonlocal turned_away
        body = {"amount_minor": 25, "reason": "a crack"}
        async with connections:
            for _ in range(COMES_AGAIN):
                response = await olga(wide, REFUNDS, body, key=f"a-key-of-clerk-{number:04}")
                if response.status_code != 503:
                    assert response.status_code in (202, 409), response.text
                    return int(response.status_code)
                turned_away += 1
                await asyncio.sleep(float(response.headers["Retry-After"]))
        raise AssertionError(f"clerk {number} was turned away {COMES_AGAIN} times")

    statuses = await asyncio.gather(*(one(number) for number in range(1_000)))
    await wide.close()

    assert turned_away > 0, "there were never more at once than the service works on"
    assert statuses.count(202) == TOTAL // 25
    commands = await sold.sent(RefundPayment)
    assert sum(command.amount_minor for command in commands) == TOTAL
    assert len({command.round for command in commands}) == len(commands)


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        ({"amount_minor": TOTAL + 1, "reason": "x"}, 409, "refund-exceeds-rest"),
        ({"lines": [{"line_no": 1, "quantity": 2}], "reason": "x"}, 409, "too-many-pieces"),
        ({"lines": [{"line_no": 2, "quantity": 1}], "reason": "x"}, 422, "no-such-line"),
        ({"amount_minor": 0, "reason": "x"}, 422, "invalid-request"),
        ({"amount_minor": 1}, 422, "invalid-request"),
        (
            {"amount_minor": 1, "lines": [{"line_no": 1, "quantity": 1}], "reason": "x"},
            422,
            "invalid-request",
        ),
        ({"amount_minor": 1, "reason": "card 4242 4242 4242 4242"}, 422, "card-number-refused"),
    ],
)
async def test_a_refund_that_cannot_be_changes_nothing(
    sold: Office, body: object, status: int, slug: str
) -> None:
    response = await olga(sold, REFUNDS, body)

    assert problem(response) == (status, slug)
    assert await sold.sent(RefundPayment) == []
    assert (await sold.get(ORDER)).json()["payment_status"] == "paid"


async def test_an_unpaid_order_has_nothing_to_give_back(office: Office) -> None:
    await office.tell(start(), reserved())

    response = await olga(office, REFUNDS, {"amount_minor": 1, "reason": "x"})

    assert problem(response) == (409, "nothing-to-refund")
    assert response.json()["state"] == "paying"


async def test_money_under_dispute_is_not_refunded(sold: Office) -> None:
    await sold.tell(
        DisputeMoved(
            checkout_id=CHECKOUT_ID,
            payment_id=payment_id_of(CHECKOUT_ID),
            attempt=1,
            dispute_id="dp_1",
            amount_minor=TOTAL,
            status="open",
        )
    )

    response = await olga(sold, REFUNDS, {"amount_minor": 1, "reason": "x"})

    assert problem(response) == (409, "payment-disputed")
    assert (await sold.get(ORDER)).json()["payment_status"] == "disputed"


async def test_a_failed_refund_is_seen_and_can_be_asked_for_again(sold: Office) -> None:
    await olga(sold, REFUNDS, {"amount_minor": 700, "reason": "a crack"})
    await sold.tell(RefundFailed(**asked(700), code="account_closed"))

    body = (await sold.get(ORDER)).json()
    assert body["payment_status"] == "refund_failed"
    assert body["after_sale"]["needs_attention"]
    assert body["after_sale"]["refunds"][0]["code"] == "account_closed"
    response = await olga(
        sold, f"{REFUNDS}/1/resolve", {"decision": "retry", "reason": "asked them"}
    )
    assert response.status_code == 202
    await sold.tell(Refunded(**asked(700, FIRST_ROUND + 1)))
    assert (await sold.get(ORDER)).json()["payment_status"] == "partly_refunded"
    decided = await sold.query("SELECT decision, requested_by FROM resolutions ORDER BY id")
    assert [tuple(row) for row in decided] == [("refund", "olga"), ("refund 1: retry", "olga")]


async def test_goods_come_back_to_the_shelf_with_their_money(sold: Office) -> None:
    shipped = await olga(sold, SHIPMENTS, {"carrier": "post", "tracking": "RR1"})
    assert shipped.json()["fulfilment_status"] == "shipped"
    response = await olga(
        sold, RETURNS, {"lines": [{"line_no": 1, "quantity": 1}], "reason": "too small"}
    )

    assert response.status_code == 202
    body = response.json()
    assert body["return_status"] == "wholly"
    (came_back,) = body["after_sale"]["returns"]
    assert (came_back["refund"], came_back["booked"]) == (1, False)
    (command,) = await sold.sent(ReturnStock)
    assert (command.lines[0].sku, command.written_off) == ("TEAPOT", ())
    await sold.tell(
        StockReturned(checkout_id=CHECKOUT_ID, round=FIRST_ROUND), Refunded(**asked(TOTAL))
    )
    body = (await sold.get(ORDER)).json()
    assert body["payment_status"] == "refunded"
    assert body["after_sale"]["returns"][0]["booked"]
    assert [type(one).__name__ for one in await sold.sent(OrderShipped)] == ["OrderShipped"]
    assert len(await sold.sent(OrderReturned)) == 1


async def test_what_was_shipped_is_not_cancelled(sold: Office) -> None:
    await olga(sold, SHIPMENTS, {})

    response = await sold.post(f"{ORDER}/cancel", {})

    assert problem(response) == (409, "order-finished")


async def test_shipping_twice_is_shipping_once(sold: Office) -> None:
    statuses = [(await olga(sold, SHIPMENTS, {})).status_code for _ in range(2)]

    assert statuses == [202, 202]
    assert len(await sold.sent(OrderShipped)) == 1


async def test_what_is_set_aside_is_taken_before_the_order_is_shipped(office: Office) -> None:
    await office.tell(start(method=AT_SHIPPING), reserved(), authorized(), committed())
    body = (await office.get(ORDER)).json()
    assert (body["payment_status"], body["fulfilment_status"]) == ("authorized", "ready")
    refused = await olga(office, REFUNDS, {"amount_minor": 1, "reason": "a crack"})
    assert problem(refused) == (409, "nothing-to-refund")

    shipped = await olga(office, SHIPMENTS, {"carrier": "post", "tracking": "RR1"})

    assert (shipped.status_code, shipped.json()["fulfilment_status"]) == (202, "ready")
    assert problem(await office.post(f"{ORDER}/cancel", {})) == (409, "order-finished")
    await office.tell(succeeded(step=Step.CAPTURE))
    body = (await office.get(ORDER)).json()
    assert (body["payment_status"], body["fulfilment_status"]) == ("paid", "shipped")
    (event,) = await office.sent(OrderShipped)
    assert (event.carrier, event.tracking) == ("post", "RR1")
    documents = await office.query("SELECT kind FROM documents ORDER BY kind")
    assert [row["kind"] for row in documents] == ["invoice", "receipt"]


async def test_what_is_not_ready_is_not_shipped(office: Office) -> None:
    await office.tell(start(), reserved())

    assert problem(await olga(office, SHIPMENTS, {})) == (409, "not-shippable")


@pytest.mark.parametrize("path", [REFUNDS, RETURNS, SHIPMENTS, f"{REFUNDS}/1/resolve"])
async def test_only_operators_of_the_shop_may(sold: Office, path: str) -> None:
    lines = [{"line_no": 1, "quantity": 1}]
    wanted = {
        REFUNDS: {"reason": "x"},
        RETURNS: {"reason": "x", "lines": lines},
        SHIPMENTS: {},
        f"{REFUNDS}/1/resolve": {"reason": "x", "decision": "retry"},
    }[path]

    assert (await sold.post(path, wanted)).status_code == 403
    stranger = sold.customer("olga", "operator", shop="other")
    assert problem(await sold.post(path, wanted, stranger)) == (404, "order-not-found")
    unknown = path.replace(str(ORDER_ID), str(uuid4()))
    assert problem(await olga(sold, unknown, wanted)) == (404, "order-not-found")


async def test_a_question_that_nobody_answers_is_asked_again(sold: Office) -> None:
    await olga(sold, REFUNDS, {"amount_minor": 700, "reason": "a crack"})
    await sold.query(
        """
        UPDATE after_sales SET deadline_at = now() - interval '1 s',
            facts = jsonb_set(facts::jsonb, '{waits,0,due_at}',
                to_jsonb(now() - interval '1 s'))::json
        """
    )

    assert await sold.sweep() == 1
    await sold.hear_itself()

    first, again = await sold.sent(RefundPayment)
    assert (first.step, first.round) == (again.step, again.round) == (Step.REFUND, FIRST_ROUND)
    assert await sold.sweep() == 0


def parcel(number: int, *lines: tuple[int, int]) -> dict[str, Any]:
    """A parcel with pieces of lines, or with all that is left."""
    pieces = [{"line_no": line_no, "quantity": quantity} for line_no, quantity in lines]
    return {"carrier": "post", "tracking": f"RR{number}"} | ({"lines": pieces} if lines else {})


@pytest.fixture
async def of_five(office: Office) -> Office:
    """An office with one paid order of five teapots."""
    await office.tell(start(pieces=5), reserved(), succeeded(), committed(), cart_closed())
    return office


async def test_an_order_leaves_in_several_parcels_and_lists_them(of_five: Office) -> None:
    first = await olga(of_five, SHIPMENTS, parcel(1, (1, 2)))
    assert (first.status_code, first.json()["fulfilment_status"]) == (202, "partly_shipped")
    assert (await of_five.get("/orders")).json()["items"][0]["fulfilment_status"] == (
        "partly_shipped"
    )
    last = await olga(of_five, SHIPMENTS, parcel(2))
    assert last.json()["fulfilment_status"] == "shipped"

    told = [
        (event.shipment_number, event.tracking, event.lines[0].quantity, event.complete)
        for event in await of_five.sent(OrderShipped)
    ]
    assert told == [(1, "RR1", 2, False), (2, "RR2", 3, True)]
    shown = (await of_five.get(ORDER)).json()["shipments"]  # as the shopper sees it
    assert [(one["shipment"], one["tracking"], one["lines"]) for one in shown] == [
        (1, "RR1", [{"line_no": 1, "pieces": 2}]),
        (2, "RR2", [{"line_no": 1, "pieces": 3}]),
    ]
    assert all(one["left_at"] for one in shown)
    notes = [entry["note"] for entry in last.json()["timeline"]]
    assert notes[-2:] == ["shipment 1: 2 pieces", "shipment 2: 3 pieces"]


async def test_an_order_that_leaves_whole_lists_one_shipment_without_lines(sold: Office) -> None:
    (shown,) = (await olga(sold, SHIPMENTS, parcel(1))).json()["shipments"]

    assert (shown["shipment"], shown["carrier"], shown["lines"]) == (1, "post", [])


async def test_a_parcel_is_recorded_once_under_its_key_and_its_number(of_five: Office) -> None:
    one = parcel(1, (1, 2))
    again = [await olga(of_five, SHIPMENTS, one, key="the-same-shipment") for _ in range(2)]
    again.append(await olga(of_five, SHIPMENTS, one))

    assert [response.status_code for response in again] == [202, 202, 202]
    assert len(await of_five.sent(OrderShipped)) == 1
    other = await olga(of_five, SHIPMENTS, parcel(1, (1, 1)))
    assert problem(other) == (409, "parcel-known")
    assert other.json()["shipment"] == 1


async def test_parcels_of_many_at_once_never_hold_more_than_was_ordered(
    order_database: str,
) -> None:
    wide = Office(order_database, idempotency_wait_seconds=60)
    try:
        await wide.empty()
        await wide.tell(start(pieces=5), reserved(), succeeded(), committed(), cart_closed())
        parcels = [olga(wide, SHIPMENTS, parcel(number, (1, 1))) for number in range(9)]
        statuses = [response.status_code for response in await asyncio.gather(*parcels)]
        assert sorted(statuses) == [202] * 5 + [409] * 4
        assert len(await wide.sent(OrderShipped)) == 5
    finally:
        await wide.close()


@pytest.mark.parametrize(
    ("body", "expected", "facts"),
    [
        (parcel(2, (1, 4)), (409, "too-many-pieces"), {"line_no": 1, "left": 3}),
        (parcel(2, (1, 2), (1, 2)), (409, "too-many-pieces"), {"line_no": 1, "left": 3}),
        (parcel(2, (2, 1)), (422, "no-such-line"), {"line_no": 2}),
        (parcel(2, (1, 0)), (422, "invalid-request"), {}),
        (parcel(2, (0, 1)), (422, "invalid-request"), {}),
        (parcel(2, (1, 2_000_000)), (422, "invalid-request"), {}),
    ],
    ids=["too many", "too many together", "no line", "none", "line 0", "beyond all bounds"],
)
async def test_a_parcel_that_cannot_be_changes_nothing(
    of_five: Office, body: object, expected: tuple[int, str], facts: dict[str, int]
) -> None:
    before = (await olga(of_five, SHIPMENTS, parcel(1, (1, 2)))).json()
    response = await olga(of_five, SHIPMENTS, body)

    assert problem(response) == expected
    assert facts.items() <= response.json().items()
    assert (await of_five.get(ORDER)).json()["shipments"] == before["shipments"]
    assert len(await of_five.sent(OrderShipped)) == 1


async def test_an_order_has_only_so_many_shipments(order_database: str) -> None:
    strict = Office(order_database, shipments_per_order=1)
    try:
        await strict.empty()
        await strict.tell(start(pieces=5), reserved(), succeeded(), committed(), cart_closed())
        await olga(strict, SHIPMENTS, parcel(1, (1, 2)))
        response = await olga(strict, SHIPMENTS, parcel(2))
        assert problem(response) == (409, "shipments-exhausted")
        assert response.json()["shipments_limit"] == 1
    finally:
        await strict.close()


async def test_nothing_more_leaves_after_a_cancel_or_a_refund_in_full(of_five: Office) -> None:
    await olga(of_five, SHIPMENTS, parcel(1, (1, 2)))
    assert problem(await of_five.post(f"{ORDER}/cancel", {})) == (409, "order-finished")
    await olga(of_five, REFUNDS, {"reason": "never mind"})
    await of_five.tell(Refunded(**asked(TOTAL)))

    assert problem(await olga(of_five, SHIPMENTS, parcel(2))) == (409, "not-shippable")
    await of_five.empty()
    await of_five.tell(start(pieces=5), reserved(), succeeded(), committed(), cart_closed())
    assert (await of_five.post(f"{ORDER}/cancel", {})).status_code == 202
    assert problem(await olga(of_five, SHIPMENTS, parcel(1, (1, 2)))) == (409, "not-shippable")


async def test_what_never_ships_is_taken_back_and_refunded_and_the_order_is_shipped(
    of_five: Office,
) -> None:
    await olga(of_five, SHIPMENTS, parcel(1, (1, 3)))
    piece = {"line_no": 1, "unshipped": True}
    much = await olga(
        of_five, RETURNS, {"lines": [piece | {"quantity": 3}], "reason": "out of print"}
    )
    assert problem(much) == (409, "too-many-pieces")
    assert much.json()["left"] == 2
    rest = await olga(
        of_five, RETURNS, {"lines": [piece | {"quantity": 2}], "reason": "out of print"}
    )

    body = rest.json()
    assert (body["fulfilment_status"], body["return_status"]) == ("shipped", "partly")
    assert body["after_sale"]["returns"][0]["lines"][0]["shipped"] == 0
    assert body["after_sale"]["refund_pending_minor"] == TOTAL * 2 // 5
    (command,) = await of_five.sent(ReturnStock)
    assert command.lines[0].quantity == 2


async def test_the_first_parcel_takes_all_the_money_that_is_set_aside(office: Office) -> None:
    await office.tell(start(method=AT_SHIPPING, pieces=5), reserved(), authorized(), committed())
    waiting = (await olga(office, SHIPMENTS, parcel(1, (1, 2)))).json()
    assert (waiting["state"], waiting["shipments"]) == ("capturing", [])
    assert problem(await olga(office, SHIPMENTS, parcel(2, (1, 1)))) == (409, "not-shippable")

    await office.tell(succeeded(step=Step.CAPTURE))

    body = (await office.get(ORDER)).json()
    assert (body["payment_status"], body["fulfilment_status"]) == ("paid", "partly_shipped")
    body = (await olga(office, SHIPMENTS, parcel(2))).json()
    assert (body["fulfilment_status"], len(body["shipments"])) == ("shipped", 2)
    assert len(await office.sent(CapturePayment)) == 1


async def test_what_came_back_to_an_older_order_stays_in_the_house(of_five: Office) -> None:
    await olga(
        of_five, RETURNS, {"lines": [{"line_no": 1, "quantity": 2}], "reason": "out of print"}
    )
    await of_five.query(
        "UPDATE checkouts SET facts = (facts::jsonb #- '{order,withheld}')::json"
    )  # as it was written before version 11
    await of_five.query(importlib.import_module(SEVERAL_SHIPMENTS).WITHHELD)

    assert problem(await olga(of_five, SHIPMENTS, parcel(1, (1, 4)))) == (409, "too-many-pieces")
    body = (await olga(of_five, SHIPMENTS, parcel(1))).json()
    assert body["shipments"][0]["lines"] == [{"line_no": 1, "pieces": 3}]
