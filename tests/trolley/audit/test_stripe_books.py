"""Our ledger against Stripe's own books: what stands on one side alone, or otherwise, is named."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from messaging.settings import KafkaSettings
from payment_service.providers.stripe.client import StripeConnection
from stripe_sandbox.app import Running, running
from stripe_sandbox.settings import SandboxSettings
from tests.trolley.audit.conftest import SETTINGS
from tests.trolley.audit.world import CURRENCY, TOTAL, World, named, payment_of
from trolley.audit import AuditReport, AuditSettings, Sources, audit
from trolley.audit.findings import Findings
from trolley.audit.invariant import Source
from trolley.audit.invariants.stripe_money import INVARIANTS
from trolley.audit.stripe_books import PAGE, StripeAccount, StripeUnavailable
from trolley.audit.watch import Watch
from trolley.services import SANDBOX_KEY

pytestmark = pytest.mark.integration

Audited = Callable[..., Awaitable[AuditReport]]

OF_A_PAYMENT = "money.at-stripe-is-of-a-payment"
IS_THERE = "money.of-payments-is-at-stripe"
IS_THE_SAME = "money.is-the-same-at-stripe"

DISPUTE_IS_OPENED_SECONDS = ALL_IS_BOOKED_SECONDS = 60
"""More than either takes there."""


class Till:
    """Stripe as the payment service used it: charges under our labels, refunds of them."""

    def __init__(self, connection: StripeConnection, url: str, world: World) -> None:
        self._api = connection.api.v1
        self._url = url
        self._world = world

    async def charge(
        self,
        payment: str | None,
        *,
        amount: int = TOTAL,
        method: str = "pm_card_visa",
        capture: bool = True,
    ) -> str:
        """An intent that is paid, or held; its id. Without a payment it bears no label."""
        label = {"payment_id": payment, "attempt": "1"} if payment else {}
        intent = await self._api.payment_intents.create_async(
            params={
                "amount": amount,
                "currency": CURRENCY.lower(),
                "payment_method": method,
                "payment_method_types": ["card"],
                "capture_method": "automatic" if capture else "manual",
                "confirm": True,
                "metadata": label,
            }
        )
        return intent.id

    async def refund(self, intent: str, *, amount: int = TOTAL) -> None:
        await self._api.refunds.create_async(params={"payment_intent": intent, "amount": amount})

    async def cancel(self, intent: str) -> None:
        await self._api.payment_intents.cancel_async(intent)

    async def forward(self, seconds: int) -> None:
        """It is so much later there, and all that was due until then has happened."""
        async with httpx.AsyncClient(verify=False, timeout=60) as controls:  # noqa: S501 - no TLS
            told = await controls.post(f"{self._url}/sandbox/clock", json={"seconds": seconds})
        assert told.status_code == 200

    async def moves(self, checkout: str, intent: str) -> None:
        """What we have of this payment is with Stripe from now on, under this name."""
        payment = payment_of(checkout)
        await self._world.run(
            Source.PAYMENT,
            "UPDATE attempts SET provider = 'stripe', provider_payment_id = $2"
            " WHERE payment_id = $1",
            payment,
            intent,
        )
        await self._world.run(
            Source.PAYMENT, "UPDATE ledger SET provider = 'stripe' WHERE payment_id = $1", payment
        )
        await self._world.run(
            Source.SIMULATED_PROVIDER, "DELETE FROM ledger WHERE payment_id = $1", payment
        )


@dataclass(frozen=True)
class Paid:
    """The intents of the shop's two payments that were made with Stripe."""

    paid: str
    refunded: str


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Running]:
    """What answers in place of Stripe."""
    settings = SandboxSettings(http_port=0, state=tmp_path / "sandbox.sqlite3")
    async with running(settings) as sandbox:
        yield sandbox


@pytest.fixture
def account(sandbox: Running) -> StripeAccount:
    return StripeAccount(SecretStr(SANDBOX_KEY), sandbox.url)


@pytest.fixture
async def till(sandbox: Running, world: World) -> AsyncIterator[Till]:
    connection = StripeConnection(SANDBOX_KEY, sandbox.url, call_seconds=30)
    yield Till(connection, sandbox.url, world)
    await connection.close()


@pytest.fixture
async def at_stripe(till: Till) -> Paid:
    """One payment was captured there, one captured and refunded."""
    intents = Paid(
        await till.charge(str(payment_of("paid"))), await till.charge(str(payment_of("refunded")))
    )
    await till.refund(intents.refunded)
    await till.moves("paid", intents.paid)
    await till.moves("refunded", intents.refunded)
    return intents


@pytest.fixture
def sources(
    migrated: dict[Source, str], published: KafkaSettings, account: StripeAccount
) -> Sources:
    return Sources(migrated, published, account)


@pytest.fixture
def audited(sources: Sources, world: World) -> Callable[..., Awaitable[AuditReport]]:
    """`await audited()` asks what is about Stripe, of the shop as it is now."""
    del world

    async def audited(settings: AuditSettings = SETTINGS) -> AuditReport:
        return await audit(sources, settings, invariants=INVARIANTS)

    return audited


def found(report: AuditReport) -> set[tuple[str, str]]:
    return {(finding.invariant, finding.entity) for finding in report.findings}


async def test_what_stands_on_both_sides_is_no_finding_and_the_books_are_named(
    at_stripe: Paid, sources: Sources, sandbox: Running
) -> None:
    del at_stripe

    report = await audit(sources, SETTINGS)

    assert list(report.findings) == []
    facts = {one.invariant: one.facts for one in report.checked}
    assert [facts[one.id] for one in INVARIANTS] == [2, 2, 2]
    assert report.books == ("the simulated provider", f"Stripe's stand-in at {sandbox.url}")


async def test_money_that_belongs_to_no_payment_is_named_by_what_stripe_calls_it(
    at_stripe: Paid, till: Till, audited: Audited
) -> None:
    del at_stripe
    nowhere = str(named("a payment that is nowhere"))
    stranger, lost = await till.charge(None), await till.charge(nowhere)

    report = await audited()

    assert found(report) == {(OF_A_PAYMENT, stranger), (OF_A_PAYMENT, nowhere)}
    evidence = [finding.evidence["stripe"] for finding in report.findings]
    assert {row["intents"] for row in evidence if row} == {stranger, lost}


async def test_a_payment_whose_money_is_not_there_is_named(till: Till, audited: Audited) -> None:
    await till.moves("paid", "pi_that_stripe_never_had")

    assert found(await audited()) == {(IS_THERE, str(payment_of("paid")))}


async def it_was_charged_twice(till: Till, world: World, paid: str) -> None:
    del world, paid
    await till.charge(str(payment_of("paid")))


async def more_is_held(till: Till, world: World, paid: str) -> None:
    del world, paid
    await till.charge(str(payment_of("paid")), capture=False)


async def it_was_refunded_there_alone(till: Till, world: World, paid: str) -> None:
    del world
    await till.refund(paid, amount=100)


async def it_was_booked_at_another_amount(till: Till, world: World, paid: str) -> None:
    del till, paid
    await world.run(
        Source.PAYMENT,
        "UPDATE ledger SET amount_minor = amount_minor - 1 WHERE payment_id = $1",
        payment_of("paid"),
    )


async def it_was_booked_in_another_currency(till: Till, world: World, paid: str) -> None:
    del till, paid
    await world.run(
        Source.PAYMENT,
        "UPDATE ledger SET currency = 'EUR' WHERE payment_id = $1",
        payment_of("paid"),
    )


async def a_refund_was_never_made_there(till: Till, world: World, paid: str) -> None:
    del till, paid
    await book(world, (3, "refund_requested", 100), (4, "refunded", 100))


async def book(world: World, *facts: tuple[int, str, int]) -> None:
    """Facts of the payment that is paid, by number, kind and amount."""
    await world.insert(
        Source.PAYMENT,
        "ledger",
        *(
            {
                "payment_id": payment_of("paid"), "seq": seq, "attempt": 1, "kind": kind,
                "amount_minor": amount, "currency": CURRENCY, "provider": "stripe",
                "operation_id": named("operation"), "recorded_at": "2026-01-01T00:00:00Z",
            }
            for seq, kind, amount in facts
        ),
    )  # fmt: skip


Differ = Callable[[Till, World, str], Awaitable[None]]


@pytest.mark.parametrize(
    "differ",
    [
        it_was_charged_twice,
        more_is_held,
        it_was_refunded_there_alone,
        it_was_booked_at_another_amount,
        it_was_booked_in_another_currency,
        a_refund_was_never_made_there,
    ],
)
async def test_an_amount_that_differs_is_named_with_both_sides(
    at_stripe: Paid, till: Till, world: World, audited: Audited, differ: Differ
) -> None:
    await differ(till, world, at_stripe.paid)

    report = await audited()

    assert found(report) == {(IS_THE_SAME, str(payment_of("paid")))}
    (finding,) = report.findings
    ours, theirs = finding.evidence["payment"], finding.evidence["stripe"]
    assert ours is not None
    assert theirs is not None
    assert ours["amounts"] != theirs["amounts"]


async def test_a_dispute_is_named_until_we_know_of_it(
    till: Till, world: World, audited: Audited
) -> None:
    await till.moves(
        "paid", await till.charge(str(payment_of("paid")), method="pm_card_createDispute")
    )
    await till.forward(DISPUTE_IS_OPENED_SECONDS)

    report = await audited()
    assert found(report) == {(IS_THE_SAME, str(payment_of("paid")))}
    (finding,) = report.findings
    theirs = finding.evidence["stripe"]
    assert theirs is not None
    assert f"disputed GBP {TOTAL}" in theirs["amounts"]

    await book(world, (3, "disputed", TOTAL))
    assert found(await audited()) == set()


async def test_a_payment_that_goes_by_the_name_of_its_page_is_compared_by_its_label(
    till: Till, audited: Audited
) -> None:
    intent = await till.charge(str(payment_of("paid")))
    await till.moves("paid", "cs_test_of_a_page")
    assert found(await audited()) == set()

    await till.refund(intent, amount=100)

    assert found(await audited()) == {(IS_THE_SAME, str(payment_of("paid")))}


async def test_a_hold_that_was_let_go_is_the_same_on_both_sides(
    till: Till, world: World, audited: Audited
) -> None:
    intent = await till.charge(str(payment_of("paid")), capture=False)
    await till.cancel(intent)
    await till.moves("paid", intent)
    await world.run(
        Source.PAYMENT,
        "UPDATE ledger SET kind = 'voided' WHERE payment_id = $1 AND kind = 'captured'",
        payment_of("paid"),
    )

    assert found(await audited()) == set()


async def test_nothing_is_found_while_stripe_is_asked(
    till: Till, world: World, audited: Audited
) -> None:
    await till.moves("paid", await till.charge(str(payment_of("paid")), amount=TOTAL + 1))
    await world.run(
        Source.PAYMENT,
        "UPDATE operations SET status = 'due' WHERE payment_id = $1",
        payment_of("paid"),
    )

    report = await audited()

    assert report.clean
    assert sum(one.under_way for one in report.checked) == 1


async def test_what_is_older_than_the_lists_is_not_missed_there(
    till: Till, audited: Audited
) -> None:
    await till.moves("paid", "pi_of_last_year")
    ten_minutes_days = 10 / (24 * 60)

    report = await audited(
        SETTINGS.model_copy(
            update={"audit_stripe_days": ten_minutes_days, "audit_overlap_seconds": 60}
        )
    )

    assert report.clean


async def test_every_page_of_the_lists_is_read(
    till: Till, at_stripe: Paid, audited: Audited
) -> None:
    for _ in range(PAGE):
        await till.refund(await till.charge(None, amount=100), amount=50)

    report = await audited()

    assert len(found(report)) == PAGE
    del at_stripe


async def test_what_happens_at_stripe_is_seen_by_the_auditor_that_goes_on(
    at_stripe: Paid, till: Till, world: World, sources: Sources, tmp_path: Path
) -> None:
    findings = Findings(tmp_path / "audit.sqlite", resolved_kept=timedelta(days=1))
    await till.forward(ALL_IS_BOOKED_SECONDS)
    async with Watch.opened(sources, findings, SETTINGS, INVARIANTS) as watch:
        assert (await watch.look()).facts == 6
        rested = await watch.look()
        await till.refund(at_stripe.paid, amount=100)
        first = await watch.look()
        await watch.look()
        known = {(one.invariant, one.entity) for one in findings.open()}
        await a_refund_was_never_made_there(till, world, at_stripe.paid)
        mended = await watch.look()

    assert (rested.keys, rested.facts) == (0, 0)
    assert (first.keys, first.facts) == (1, 3)
    assert known == {(IS_THE_SAME, str(payment_of("paid")))}
    assert [one.entity for one in mended.news.resolved] == [str(payment_of("paid"))]
    findings.close()


async def test_stripe_that_cannot_be_asked_ends_the_audit_with_its_address(
    migrated: dict[Source, str], published: KafkaSettings, world: World
) -> None:
    del world
    away = StripeAccount(SecretStr(SANDBOX_KEY), "http://127.0.0.1:1")

    with pytest.raises(StripeUnavailable, match="cannot be asked"):
        await audit(Sources(migrated, published, away), SETTINGS)


@pytest.mark.parametrize(
    "environment", [{}, {"PAYMENT_STRIPE_API_KEY": ""}, {"PAYMENT_STRIPE_API_KEY": SANDBOX_KEY}]
)
def test_without_an_account_or_a_stand_in_nothing_is_compared(environment: dict[str, str]) -> None:
    assert StripeAccount.named_by(environment) is None


def test_a_live_key_is_not_sent_to_a_stand_in() -> None:
    with pytest.raises(StripeUnavailable, match="must not be sent to a sandbox") as refused:
        StripeAccount.named_by(
            {
                "PAYMENT_STRIPE_API_KEY": "sk_live_secret",
                "PAYMENT_STRIPE_BASE_URL": "http://127.0.0.1:1",
            }
        )
    assert "secret" not in str(refused.value).replace("secret or restricted", "")


def test_the_account_is_named_by_the_settings_of_the_payment_service() -> None:
    account = StripeAccount.named_by({"PAYMENT_STRIPE_API_KEY": "sk_test_ours"})

    assert account is not None
    assert (account.name, account.base_url) == ("Stripe", None)
    assert "sk_test_ours" not in repr(account)
