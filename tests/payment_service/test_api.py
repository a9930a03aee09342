"""The REST API: operators look at payments; shoppers act at the simulated provider."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from contracts.ids import derived_id, new_id
from contracts.messages.payment import PaymentActionRequired
from contracts.values import replace
from tests.payment_service.cashdesk import CashDesk, soon
from tests.payment_service.story import refund

NOBODYS = UUID("01900000-0000-7000-8000-000000000000")

pytestmark = pytest.mark.integration

WaitUntil = Callable[..., Awaitable[None]]


async def get(desk: CashDesk, path: str, *, roles: tuple[str, ...] = ("operator",)) -> Any:
    return await desk.http.get(path, headers=desk.token(*roles))


async def paid(desk: CashDesk, wait_until: WaitUntil, method: str = "pm_ok") -> UUID:
    """A checkout that has paid."""
    checkout = new_id()
    desk.worker().start()
    await desk.tell(soon(checkout, method=method))
    await until(desk, wait_until, "done")
    return checkout


async def until(desk: CashDesk, wait_until: WaitUntil, status: str) -> None:
    """All operations are in this status."""

    async def all_are() -> bool:
        await desk.pump()
        return set(await desk.statuses()) == {status}

    await wait_until(all_are, what=f"operations that are {status}")


async def test_a_payment_tells_everything_that_is_known_of_it(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    checkout = await paid(desk, wait_until)
    payment_id = derived_id(checkout, "payment")
    await desk.tell(refund(1, 300, checkout=checkout))
    await until(desk, wait_until, "done")

    answer = await get(desk, f"/payments/{payment_id}")

    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "partly_refunded"
    assert body["checkout_id"] == str(checkout)
    assert body["order_id"] == str(derived_id(checkout, "order"))
    assert body["amounts"] == {
        "authorized_minor": 1000,
        "captured_minor": 1000,
        "refund_pending_minor": 0,
        "refunded_minor": 300,
        "disputed_minor": 0,
        "dispute_lost_minor": 0,
        "over_refunded_minor": 0,
        "refundable_minor": 700,
    }
    (attempt,) = body["attempts"]
    assert (attempt["attempt"], attempt["status"], attempt["live"]) == (1, "succeeded", False)
    assert attempt["details"]["amount_minor"] == 1000
    assert [(fact["kind"], fact["amount_minor"]) for fact in body["ledger"]] == [
        ("authorized", 1000),
        ("captured", 1000),
        ("refund_requested", 300),
        ("refunded", 300),
    ]
    assert [(one["kind"], one["status"], one["makes"]) for one in body["operations"]] == [
        ("charge", "done", 1),
        ("refund", "done", 1),
    ]
    assert [(one["status"], one["amount_minor"]) for one in body["refunds"]] == [("refunded", 300)]
    assert "pm_ok" not in answer.text


async def test_payments_are_found_by_their_order(desk: CashDesk, wait_until: WaitUntil) -> None:
    checkout = await paid(desk, wait_until)
    await desk.tell(soon(new_id()))

    found = await get(desk, f"/payments?order_id={derived_id(checkout, 'order')}")
    none = await get(desk, f"/payments?order_id={new_id()}")

    assert [one["checkout_id"] for one in found.json()["items"]] == [str(checkout)]
    assert none.json() == {"items": []}


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        (f"/payments/{new_id()}", 404, "unknown-payment"),
        ("/payments/not-an-id", 422, "invalid-request"),
        ("/payments", 422, "invalid-request"),
        ("/payments?order_id=5", 422, "invalid-request"),
        ("/simulated/ledger?cursor=bad", 422, "invalid-cursor"),
        ("/simulated/ledger?limit=0", 422, "invalid-request"),
        ("/simulated/actions/guessed", 404, "unknown-action"),
        ("/nothing", 404, "not-found"),
    ],
)
async def test_what_is_not_there_is_a_problem_document(
    desk: CashDesk, path: str, status: int, slug: str
) -> None:
    answer = await get(desk, path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].endswith(f"/{slug}")


@pytest.mark.parametrize(
    "path", [f"/payments/{NOBODYS}", f"/payments?order_id={NOBODYS}", "/simulated/ledger"]
)
async def test_only_operators_look(desk: CashDesk, path: str) -> None:
    assert (await desk.http.get(path)).status_code == 401
    assert (await get(desk, path, roles=())).status_code == 403
    assert (await get(desk, path, roles=("customer",))).status_code == 403
    counts = await get(desk, "/simulated/counts", roles=())
    assert counts.status_code == 403


async def test_another_shops_payment_is_not_there(desk: CashDesk, wait_until: WaitUntil) -> None:
    checkout = await paid(desk, wait_until)
    other = desk.token("operator", shop="other")

    one = await desk.http.get(f"/payments/{derived_id(checkout, 'payment')}", headers=other)
    many = await desk.http.get(f"/payments?order_id={derived_id(checkout, 'order')}", headers=other)

    assert one.status_code == 404
    assert many.json() == {"items": []}


class TestAction:
    """The shopper at the simulated provider's page."""

    @pytest.fixture
    async def desk(self, desk: CashDesk) -> CashDesk:
        """A worker asks so seldom that only news brings it to the provider."""
        desk.rules = replace(
            desk.rules, ask_first=timedelta(hours=1), ask_longest=timedelta(hours=1)
        )
        desk.processor = desk.new_processor()
        desk.worker().start()
        return desk

    async def link(self, desk: CashDesk, wait_until: WaitUntil, method: str) -> tuple[UUID, str]:
        checkout = new_id()
        await desk.tell(soon(checkout, method=method))

        async def asked_for() -> bool:
            await desk.pump()
            return bool(await desk.sent(PaymentActionRequired))

        await wait_until(asked_for, what="the action")
        (reply,) = await desk.sent(PaymentActionRequired)
        assert reply.next_action.url is not None
        assert reply.next_action.url.startswith("http://shop.example/simulated/actions/")
        return checkout, reply.next_action.url.removeprefix("http://shop.example")

    @pytest.mark.parametrize(
        ("deed", "status", "reply"),
        [
            ("complete", "succeeded", "PaymentSucceeded"),
            ("fail", "declined", "PaymentDeclined"),
        ],
    )
    async def test_is_news_that_the_worker_asks_about_at_once(
        self, desk: CashDesk, wait_until: WaitUntil, deed: str, status: str, reply: str
    ) -> None:
        _, path = await self.link(desk, wait_until, "pm_action_required")
        assert (await desk.http.get(path)).json() == {"status": "action_required"}

        done = await desk.http.post(f"{path}/{deed}")
        again = await desk.http.post(f"{path}/{deed}")
        other = await desk.http.post(f"{path}/{'fail' if deed == 'complete' else 'complete'}")

        assert (done.status_code, done.json()) == (200, {"status": status})
        assert (again.status_code, again.json()) == (200, {"status": status})
        assert other.status_code == 409
        assert other.json()["type"].endswith("/action-not-open")
        assert other.json()["payment"] == status
        for worker in desk.workers:
            worker.worker.wake()  # the route woke the worker of its own process
        await until(desk, wait_until, "done")
        assert (await desk.replies())[-1] == (reply, "charge", 1)
        assert await desk.differences() == []

    async def test_is_closed_with_its_time(self, desk: CashDesk, wait_until: WaitUntil) -> None:
        _, path = await self.link(desk, wait_until, "pm_action_required_1")

        late = await desk.http.post(f"{path}/complete")

        assert late.status_code == 409
        assert await desk.captured_at_bank() == 0

    async def test_has_a_link_that_nobody_can_guess(
        self, desk: CashDesk, wait_until: WaitUntil
    ) -> None:
        checkout, path = await self.link(desk, wait_until, "pm_action_required")

        assert len(path.rpartition("/")[2]) >= 43
        for guess in (str(checkout), f"{derived_id(checkout, 'payment')}:1:charge"):
            answer = await desk.http.post(f"/simulated/actions/{guess}/complete")
            assert answer.status_code == 404


async def test_the_providers_ledger_comes_in_pages(desk: CashDesk, wait_until: WaitUntil) -> None:
    checkout = await paid(desk, wait_until)
    payment_id = derived_id(checkout, "payment")

    first = (await get(desk, f"/simulated/ledger?payment_id={payment_id}&limit=1")).json()
    rest = (
        await get(
            desk,
            f"/simulated/ledger?payment_id={payment_id}&limit=2&cursor={first['next_cursor']}",
        )
    ).json()

    assert [entry["kind"] for entry in first["items"]] == ["authorized"]
    assert [entry["kind"] for entry in rest["items"]] == ["captured"]
    assert rest["next_cursor"] is None
    assert rest["items"][0]["amount_minor"] == 1000


async def test_the_provider_counts_calls_and_effects(desk: CashDesk, wait_until: WaitUntil) -> None:
    await paid(desk, wait_until, method="pm_timeout_before_effect")

    counts = (await get(desk, "/simulated/counts")).json()

    assert {"call": "charge", "calls": 2, "keys": 1} in counts["calls"]
    assert {
        "kind": "captured",
        "currency": "GBP",
        "entries": 1,
        "amount_minor": 1000,
    } in counts["ledger"]


async def test_the_api_is_described(desk: CashDesk) -> None:
    paths = (await desk.http.get("/openapi.json")).json()["paths"]

    assert {"/payments", "/payments/{payment_id}", "/simulated/counts"} <= set(paths)
