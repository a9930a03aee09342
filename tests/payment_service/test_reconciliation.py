"""Our ledger against the provider's books: what is missing is booked, the rest is reported."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import httpx
import pytest

from contracts.ids import derived_id, new_id
from contracts.messages.payment import RefundMade, ReviewPayment
from contracts.values import replace
from messaging.clock import utc_now
from payment_service.domain.reconciliation import NOTHING, Difference, Standing, difference
from payment_service.providers.port import SeenMoney
from payment_service.reconciliation import reconcile
from stripe_sandbox.app import Running
from stripe_sandbox.faults import RequestFault, Rule
from tests.payment_service.cashdesk import CashDesk, settled, soon
from tests.payment_service.story import refund

WaitUntil = Callable[..., Awaitable[None]]

PAID = Standing(captured_minor=1000)
POUNDS, YEN = (replace(PAID, currency=currency) for currency in ("GBP", "JPY"))


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [
        (PAID, PAID, None),
        (None, None, None),
        (Standing(), None, None),
        (None, Standing(), None),
        (None, PAID, Difference.UNKNOWN_HERE),
        (PAID, None, Difference.NEVER_REACHED),
        (Standing(), PAID, Difference.CAPTURED_THERE),
        (Standing(held_minor=1000), PAID, Difference.CAPTURED_THERE),
        (PAID, Standing(captured_minor=999), Difference.AMOUNT_DIFFERS),
        (PAID, Standing(0, 1000, 400), Difference.GIVEN_BACK_DIFFERS),
        (Standing(0, 1000, 400), PAID, Difference.GIVEN_BACK_DIFFERS),
        (PAID, Standing(0, 1000, 0, 1000), Difference.WITHDRAWN_DIFFERS),
        (Standing(held_minor=1000), Standing(), Difference.HELD_DIFFERS),
        (POUNDS, POUNDS, None),
        (POUNDS, YEN, Difference.CURRENCY_DIFFERS),
        (replace(NOTHING, currency="GBP"), YEN, Difference.CURRENCY_DIFFERS),
        (replace(NOTHING, currency="GBP"), replace(NOTHING, currency="JPY"), None),
        (POUNDS, replace(NOTHING, currency="JPY"), Difference.AMOUNT_DIFFERS),
        (POUNDS, PAID, None),
        (None, YEN, Difference.UNKNOWN_HERE),
        (POUNDS, None, Difference.NEVER_REACHED),
    ],
)
def test_every_difference_has_its_name(
    ours: Standing | None, theirs: Standing | None, kind: Difference | None
) -> None:
    assert difference(ours, theirs) is kind


@pytest.fixture
async def desk(payment_databases: tuple[str, str], sandbox: Running) -> AsyncIterator[CashDesk]:
    """Hears of nothing by itself: without webhooks only the reconciliation can tell."""
    desk = CashDesk(
        *payment_databases,
        stripe_api_key="sk_test_sandbox",
        stripe_base_url=sandbox.url,
        reconcile_margin_seconds=0,
        reconcile_settle_seconds=20,
    )
    await desk.empty()
    yield desk
    await desk.close()


async def paid(
    desk: CashDesk,
    wait_until: WaitUntil,
    provider: str = "stripe",
    method: str = "pm_card_visa",
) -> UUID:
    """A payment that is taken; its id."""
    checkout = new_id()
    method = method if provider == "stripe" else "pm_ok"
    await desk.tell(soon(checkout, method=method, provider=provider))

    async def there() -> bool:
        await desk.pump()
        return await settled(desk)

    await wait_until(there, what="the money")
    return derived_id(checkout, "payment")


async def run(desk: CashDesk, provider: str = "stripe") -> dict[str, Any]:
    """An operator asks for a run, a process makes it; gives what is shown of it."""
    headers = {**desk.token("operator"), "Idempotency-Key": f"a-key-{new_id()}"}
    since = (utc_now() - timedelta(hours=1)).isoformat()
    body = {"since": since, "provider": provider}
    asked = await desk.http.post("/reconciliations", json=body, headers=headers)
    assert asked.status_code == 202, asked.text
    act = reconcile(desk.settings, desk.providers)
    while await act(desk.database):
        pass
    run_id = asked.json()["items"][0]["run_id"]
    shown = await desk.http.get(f"/reconciliations/{run_id}", headers=desk.token("operator"))
    found: dict[str, Any] = shown.json()
    assert found["state"] == "done", found
    return found


async def at_stripe(sandbox: Running, path: str, **fields: str) -> dict[str, Any]:
    """Somebody does something in Stripe's dashboard."""
    async with aiohttp.ClientSession() as dashboard:
        headers = {"Authorization": "Bearer sk_test_sandbox"}
        sent = dashboard.post(f"{sandbox.url}/v1/{path}", data=fields, headers=headers)
        async with sent as answer:
            assert answer.status == 200, await answer.text()
            made: dict[str, Any] = await answer.json()
            return made


@pytest.mark.integration
@pytest.mark.parametrize("provider", ["stripe", "simulated"])
async def test_books_that_agree_have_no_difference(
    desk: CashDesk, wait_until: WaitUntil, provider: str
) -> None:
    desk.worker().start()
    for _ in range(3):
        await paid(desk, wait_until, provider)

    found = await run(desk, provider)

    assert (found["compared"], found["under_way"], found["differences"]) == (3, 0, 0)


@pytest.mark.integration
async def test_a_refund_that_no_webhook_told_of_is_found_and_booked(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    payment_id = await paid(desk, wait_until)
    name = (await desk.payment(payment_id)).attempts[0].provider_payment_id or ""
    await at_stripe(sandbox, "refunds", payment_intent=name, amount="400")

    async with desk.pumping():
        found = await run(desk)

    (one,) = found["found"]
    assert (one["kind"], one["state"]) == ("given_back_differs", "repaired")
    assert one["payment_id"] == str(payment_id)
    assert (await desk.payment(payment_id)).amounts.refunded_minor == 400
    assert (await run(desk))["differences"] == 0


@pytest.mark.integration
@pytest.mark.parametrize("told", [True, False], ids=["by its lists", "when it is asked"])
async def test_money_there_in_another_currency_is_reported_and_never_booked(
    desk: CashDesk,
    sandbox: Running,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    *,
    told: bool,
) -> None:
    desk.worker().start()
    payment_id = await paid(desk, wait_until)
    name = (await desk.payment(payment_id)).attempts[0].provider_payment_id or ""
    with sandbox.database.transaction() as transaction:
        transaction.save(transaction.get("payment_intent", name, "intent") | {"currency": "eur"})
    if not told:
        monkeypatch.setattr(desk.providers["stripe"], "moved_since", nothing_moved)

    async with desk.pumping():
        found = await run(desk)

    (one,) = found["found"]
    assert (one["kind"], one["state"]) == ("currency_differs", "reported")
    assert (one["ours"]["currency"], one["theirs"]["currency"]) == ("GBP", "EUR")
    assert one["ours"]["captured_minor"] == one["theirs"]["captured_minor"] == 1000
    assert await desk.sent(ReviewPayment) == []


async def nothing_moved(since: datetime) -> AsyncIterator[SeenMoney]:
    """Lists of a provider that tell of nothing."""
    nothing: tuple[SeenMoney, ...] = ()
    for seen in nothing:
        yield seen


@pytest.mark.integration
async def test_a_refund_there_of_what_was_given_back_by_hand_is_booked_and_told(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    payment_id = await paid(desk, wait_until)
    payment = await desk.payment(payment_id)
    asked = refund(1, 1000, checkout=payment.checkout_id)
    await desk.tell(asked.model_copy(update={"by_hand": True}))
    name = payment.attempts[0].provider_payment_id or ""
    await at_stripe(sandbox, "refunds", payment_intent=name)

    async with desk.pumping():
        found = await run(desk)

    assert [(one["kind"], one["state"]) for one in found["found"]] == [
        ("given_back_differs", "repaired")
    ]
    amounts = (await desk.payment(payment_id)).amounts
    assert (amounts.refunded_minor, amounts.over_refunded_minor) == (1000, 1000)
    assert [one.amount_minor for one in await desk.sent(RefundMade)] == [1000]
    assert await settled(desk)


@pytest.mark.integration
async def test_a_dispute_that_was_lost_without_a_webhook_is_lost_here(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    payment_id = await paid(desk, wait_until, method="pm_card_createDispute")

    async def amounts() -> tuple[int, int]:
        found = (await desk.payment(payment_id)).amounts
        return found.disputed_minor, found.dispute_lost_minor

    async with desk.pumping():
        await wait_until(lambda: has_disputes(sandbox), what="the dispute")
        assert (await run(desk))["found"][0]["state"] == "repaired"
        assert await amounts() == (1000, 0)
        with sandbox.database.transaction() as transaction:
            (dispute,) = transaction.all_of("dispute")
        await at_stripe(sandbox, f"disputes/{dispute['id']}/close")

        await run(desk)

        async def lost() -> bool:
            return await amounts() == (0, 1000)

        await wait_until(lost, what="the end of the dispute")


async def has_disputes(sandbox: Running) -> bool:
    """Whether anything is disputed at Stripe."""
    with sandbox.database.transaction() as transaction:
        return bool(transaction.all_of("dispute"))


@pytest.mark.integration
async def test_an_authorization_captured_in_the_dashboard_is_found_and_booked(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    checkout = new_id()
    await desk.tell(soon(checkout, method="pm_card_visa", provider="stripe", flow="authorize"))
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the authorization")
        payment_id = derived_id(checkout, "payment")
        name = (await desk.payment(payment_id)).attempts[0].provider_payment_id or ""
        await at_stripe(sandbox, f"payment_intents/{name}/capture")

        found = await run(desk)

    assert [(one["kind"], one["state"]) for one in found["found"]] == [
        ("captured_there", "repaired")
    ]
    assert (await desk.payment(payment_id)).amounts.captured_minor == 1000


@pytest.mark.integration
async def test_money_there_under_a_name_of_ours_that_nobody_knows_is_reported(
    desk: CashDesk, sandbox: Running
) -> None:
    await at_stripe(
        sandbox,
        "payment_intents",
        amount="700",
        currency="gbp",
        payment_method="pm_card_visa",
        confirm="true",
        return_url="https://shop.example",
        **{"metadata[charge_key]": "somebody:1:charge"},
    )

    (one,) = (await run(desk))["found"]

    assert (one["name"], one["kind"], one["state"]) == (
        "somebody:1:charge",
        "unknown_here",
        "reported",
    )
    assert one["theirs"]["captured_minor"] == 700


@pytest.mark.integration
async def test_what_others_take_through_the_same_account_is_counted_and_none_of_ours(
    desk: CashDesk, sandbox: Running
) -> None:
    await at_stripe(sandbox, "payment_intents", amount="700", currency="gbp")

    found = await run(desk)

    assert (found["foreign_payments"], found["differences"]) == (1, 0)


@pytest.mark.integration
async def test_money_here_that_the_provider_has_nothing_of_is_named(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    await paid(desk, wait_until, "simulated")
    for table in ("ledger", "calls", "answers", "refunds", "payments"):
        await desk.bank_query(f"TRUNCATE {table} CASCADE")
    quick = desk.settings.model_copy(update={"reconcile_settle_seconds": 0})
    desk.settings = quick

    (one,) = (await run(desk, "simulated"))["found"]

    assert (one["kind"], one["state"]) == ("never_reached", "under_review")
    assert one["ours"]["captured_minor"] == 1000


async def began_days_ago(desk: CashDesk, sandbox: Running, days: int = 2) -> None:
    """As if all payments had begun then; what was booked of them here was booked just now."""
    await desk.query("UPDATE attempts SET created_at = created_at - $1::interval", timedelta(days))
    ago = int(timedelta(days).total_seconds())
    with sandbox.database.transaction() as transaction:
        transaction.sql(
            "UPDATE objects SET created = created - ?,"
            " body = json_set(body, '$.created', created - ?)",
            (ago, ago),
        )


@pytest.mark.integration
async def test_a_refund_that_only_we_have_is_found_however_old_its_payment_is(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    payment_id = await paid(desk, wait_until)
    await began_days_ago(desk, sandbox)
    for seq, kind in ((3, "refund_requested"), (4, "refunded")):
        await desk.query(
            "INSERT INTO ledger (payment_id, seq, attempt, kind, amount_minor, currency,"
            " operation_id, provider, provider_reference, recorded_at)"
            " SELECT payment_id, $2, 1, $3, 400, 'GBP', operation_id, 'stripe', 're_none', now()"
            " FROM operations WHERE payment_id = $1",
            payment_id,
            seq,
            kind,
        )
    desk.settings = desk.settings.model_copy(update={"reconcile_settle_seconds": 0})

    (one,) = (await run(desk))["found"]

    assert (one["kind"], one["state"]) == ("given_back_differs", "under_review")
    assert one["ours"]["given_back_minor"] == 400
    assert one["theirs"]["captured_minor"] == 1000
    assert await desk.sent(ReviewPayment)


@pytest.mark.integration
async def test_what_was_booked_here_long_after_it_happened_is_asked_about_and_agrees(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    for _ in range(11):
        await paid(desk, wait_until)
    await began_days_ago(desk, sandbox)

    found = await run(desk)

    assert (found["compared"], found["differences"]) == (11, 0)


@pytest.mark.integration
async def test_an_old_payment_that_the_provider_does_not_have_is_named(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    await paid(desk, wait_until)
    await began_days_ago(desk, sandbox)
    with sandbox.database.transaction() as transaction:
        transaction.sql("DELETE FROM objects WHERE object = 'payment_intent'")
    desk.settings = desk.settings.model_copy(update={"reconcile_settle_seconds": 0})

    (one,) = (await run(desk))["found"]

    assert (one["kind"], one["state"]) == ("never_reached", "under_review")


@pytest.mark.integration
async def test_a_provider_that_does_not_answer_a_question_fails_the_run(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    await paid(desk, wait_until)
    await began_days_ago(desk, sandbox)
    operation = "GET /v1/payment_intents/{intent}"
    sandbox.faults.add(Rule(fault=RequestFault.ERROR_BEFORE_EFFECT, operation=operation))

    with pytest.raises(AssertionError, match="failed"):
        await run(desk)


@pytest.mark.integration
async def test_what_is_under_way_is_no_difference(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    confirm = "POST /v1/payment_intents/{intent}/confirm"
    rule = {
        "fault": RequestFault.TIMEOUT_AFTER_EFFECT,
        "operation": confirm,
        "milliseconds": 60_000,
    }
    sandbox.faults.add(Rule.model_validate(rule))
    desk.worker().start()
    await desk.tell(soon(new_id(), method="pm_card_visa", provider="stripe"))

    async def taken() -> bool:
        with sandbox.database.transaction() as transaction:
            intents = transaction.all_of("payment_intent")
        return [intent["status"] for intent in intents] == ["succeeded"]

    await wait_until(taken, what="the money at Stripe")
    found = await run(desk)

    assert (found["under_way"], found["differences"]) == (1, 0)


@pytest.mark.integration
async def test_a_provider_that_is_away_fails_the_run_and_says_so(
    desk: CashDesk, sandbox: Running
) -> None:
    operation = "GET /v1/payment_intents"
    sandbox.faults.add(Rule(fault=RequestFault.ERROR_BEFORE_EFFECT, operation=operation))

    with pytest.raises(AssertionError, match="failed"):
        await run(desk)


@pytest.mark.integration
async def test_runs_are_made_by_a_schedule_once_an_interval(desk: CashDesk) -> None:
    act = reconcile(desk.settings, desk.providers)

    made = [await act(desk.database) for _ in range(4)]

    assert made == [1, 1, 0, 0]
    rows = await desk.query("SELECT provider, requested_by, state FROM reconciliations ORDER BY 1")
    assert [tuple(row) for row in rows] == [
        ("simulated", "schedule", "done"),
        ("stripe", "schedule", "done"),
    ]


@pytest.mark.integration
async def test_a_run_whose_process_died_is_made_by_another(desk: CashDesk) -> None:
    await desk.query(
        """
        INSERT INTO reconciliations (run_id, provider, since, requested_by, state, requested_at,
            started_at, leased_until)
        VALUES (gen_random_uuid(), 'stripe', now() - interval '1 hour', 'olga', 'running',
            now() - interval '5 minutes', now() - interval '5 minutes', now() - interval '1 s')
        """
    )

    act = reconcile(desk.settings, desk.providers)
    while await act(desk.database):
        pass

    states = await desk.query("SELECT state FROM reconciliations WHERE requested_by = 'olga'")
    assert [row["state"] for row in states] == ["done"]


@pytest.mark.integration
async def test_what_a_run_noted_before_its_process_died_is_not_left_under_review(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    payment_id = await paid(desk, wait_until)
    name = (await desk.payment(payment_id)).attempts[0].provider_payment_id or ""
    await at_stripe(sandbox, "refunds", payment_intent=name, amount="400")
    headers = {**desk.token("operator"), "Idempotency-Key": "a-key-of-a-run-whose-process-dies"}
    body = {"since": (utc_now() - timedelta(hours=1)).isoformat(), "provider": "stripe"}
    await desk.http.post("/reconciliations", json=body, headers=headers)

    async def booked() -> bool:
        return (await desk.payment(payment_id)).amounts.refunded_minor == 400

    act = reconcile(desk.settings, desk.providers)
    dies = asyncio.ensure_future(act(desk.database))
    await wait_until(lambda: has(desk, "under_review"), what="a difference")
    dies.cancel()
    await asyncio.wait([dies])
    async with desk.pumping():
        await wait_until(booked, what="the review")
    await desk.query("UPDATE reconciliations SET leased_until = now() - interval '1 s'")
    while await act(desk.database):
        pass

    assert await has(desk, "repaired")


async def has(desk: CashDesk, state: str) -> bool:
    """Whether one difference was found, and stands so."""
    rows = await desk.query("SELECT state FROM differences")
    return [row["state"] for row in rows] == [state]


@pytest.mark.integration
async def test_a_run_that_cannot_be_is_refused(desk: CashDesk) -> None:
    async def ask(**body: Any) -> httpx.Response:
        headers = {**desk.token("operator"), "Idempotency-Key": f"a-key-{new_id()}"}
        return await desk.http.post("/reconciliations", json=body, headers=headers)

    assert (await ask(since="2020-01-01T00:00:00Z")).json()["type"].endswith("since-out-of-range")
    unknown = await ask(since=utc_now().isoformat(), provider="nobody")
    assert unknown.json()["type"].endswith("provider-not-offered")
    assert (await ask(since="yesterday")).status_code == 422
