"""Each fault, at each call to Stripe, in each way to pay: it ends with the right money.

Which faults there are the stand-in says, which calls are made and which events come a run of each
flow without a fault. What a flow comes to, here and in the stand-in's own books, must be the same
with any fault as without; and with an error of ours at a point between two calls. The auditor's
rules about money judge both sides, too. A trial is named `flow/call/fault`, `flow/point/error` or
`flow/event/fault`.

The suite tries one fault at each call and event; `--torture` all of them, `--fault TEXT` those
whose name contains the text.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar
from uuid import UUID
from zlib import crc32

import orjson
import pytest

from contracts.ids import derived_id
from messaging.points import Point
from stripe_sandbox.app import running
from stripe_sandbox.faults import RequestFault, Rule, WebhookFault
from stripe_sandbox.settings import SandboxSettings
from tests.payment_service.cashdesk import CashDesk
from tests.payment_service.fault_matrix.audited import audited
from tests.payment_service.fault_matrix.flows import FLOWS, RETRIEVE, Shopper
from tests.payment_service.fault_matrix.theirs import Books, books_of, customers_of
from tests.payment_service.fault_matrix.till import KEY, Ours, Till, WaitUntil, endpoint_of
from tests.payment_service.fault_matrix.wire import Aim, Run
from tests.torture.injection import Kind

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]

CALL_SECONDS = 2.0
"""Longest a request takes before the service gives it up."""

LATE_MILLISECONDS = 2600
"""What is slow, or not answered, takes longer than that: its effect comes after we have asked."""

TAKE_TIME = {
    RequestFault.SLOW_BEFORE_EFFECT,
    RequestFault.SLOW_AFTER_EFFECT,
    RequestFault.TIMEOUT_BEFORE_EFFECT,
    RequestFault.TIMEOUT_AFTER_EFFECT,
}

DELAYED_MILLISECONDS = 1500
"""By then whoever asks has been answered."""

POINTS = frozenset(map(str, Point))

AT_ONCE = 40
"""Shoppers at the till at the same time."""

CALM_RUNS = 3

MADE_AGAIN = (Aim("POST /v1/customers", 1, RequestFault.ERROR_AFTER_EFFECT),)
"""A customer who was made and answered with an error is made again; the first has nothing in it."""

SECRET = "whsec_of_the_matrix"

AUDITED_OF = {
    "money.amounts-in-order": "all",
    "money.amounts-are-sum-of-ledger": "all",
    "money.at-stripe-is-of-a-payment": "paid",
    "money.of-payments-is-at-stripe": "paid",
    "money.is-the-same-at-stripe": "paid",
}
"""Rules of the auditor, and of which payments each has to speak."""

ALWAYS = (
    "page given up/POST /v1/checkout/sessions/{session}/expire/error_before_effect",
    "saved method/POST /v1/customers/error_before_effect",
    "saved method/POST /v1/payment_methods/{payment_method}/detach/error_before_effect",
)
"""What has found a fault of ours once is tried in every run."""

T = TypeVar("T")
Said: TypeAlias = tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class Outcome:
    """What a run came to: what the saga was told last, and where each payment stands."""

    replies: Said
    notices: Said
    ours: tuple[Ours | None, ...]


@dataclass(frozen=True)
class Visited:
    """A run that is over, and what went wrong with it."""

    run: Run
    shopper: Shopper
    error: BaseException | None


@dataclass(frozen=True)
class News:
    """Events of one type about the `place`-th payment of a flow, and what goes wrong with one.

    `has_our_name` says that their bodies have our id of the payment, and not only Stripe's.
    """

    flow: str
    event: str
    place: int
    has_our_name: bool
    fault: WebhookFault

    def __str__(self) -> str:
        event = self.event if self.place == 0 else f"{self.event} {self.place + 1}"
        return f"{self.flow}/{event}/{self.fault}"


@asynccontextmanager
async def opened(
    databases: tuple[str, str], path: Path, wait_until: WaitUntil, *, is_told: bool
) -> AsyncIterator[Till]:
    """A till at which nobody is given up or waits for long; `is_told` whether webhooks come."""
    desk = CashDesk(
        *databases,
        stripe_api_key=KEY,
        stripe_base_url="http://127.0.0.1:9",
        stripe_webhook_secrets=[SECRET],
        stripe_call_seconds=CALL_SECONDS,
        call_timeout_seconds=2 * CALL_SECONDS,
        lease_seconds=10,
        stripe_requests_per_second=1_000_000,
        breaker_least_calls=1_000_000,
        ask_first_seconds=0.05,
        ask_longest_seconds=0.4,
        ask_bank_longest_seconds=0.4,
        webhook_again_after_seconds=0.2,
    )
    await desk.empty()
    async with endpoint_of(desk) as url:
        settings = SandboxSettings.model_validate(
            {
                "http_port": 0,
                "state": path / "matrix.sqlite3",
                "webhook_base_url": url if is_told else None,
                "webhook_secret": SECRET,
                "webhook_first_retry_seconds": 0.2,
            }
        )
        async with (
            running(settings) as sandbox,
            Till(desk, sandbox, wait_until).working() as till,
        ):
            yield till
        await desk.close()


def name_of(run: Run) -> str:
    """How a trial is named."""
    return run.flow if run.aim is None else f"{run.flow}/{run.aim.call}/{run.aim.fault}"


def chosen(
    trials: Sequence[T], name: Callable[[T], str], request: pytest.FixtureRequest
) -> list[T]:
    """Those that are to be tried."""
    text = request.config.getoption("--fault")
    if text is not None:
        return [one for one in trials if text in name(one)]
    if request.config.getoption("--torture"):
        number, parts = map(int, request.config.getoption("--part").split("/"))
        return [one for one in trials if crc32(name(one).encode()) % parts == number - 1]
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    at: dict[str, list[T]] = {}
    for one in trials:
        at.setdefault(name(one).rpartition("/")[0], []).append(one)
    picked = [random.Random(f"{seed} {where}").choice(ones) for where, ones in at.items()]  # noqa: S311 - no secret
    return picked + [one for one in trials if name(one) in ALWAYS and one not in picked]


async def visits(till: Till, runs: Sequence[tuple[Run, bool]]) -> list[Visited]:
    """Runs through flows, many at a time, each with whether somebody thinks of reviews.

    All is at rest afterwards, or will not be.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def visit(run: Run, tells_of_reviews: bool) -> Visited:
        async with room:
            shopper = Shopper(till, run, tells_of_reviews=tells_of_reviews)
            try:
                await FLOWS[run.flow](shopper)
            except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - told at the end
                return Visited(run, shopper, error)
            return Visited(run, shopper, None)

    over = await asyncio.gather(*(visit(*one) for one in runs))
    last = asyncio.get_running_loop().time()

    async def what_is_late_has_come() -> bool:
        return asyncio.get_running_loop().time() > last + LATE_MILLISECONDS / 1000

    await till.wait_until(what_is_late_has_come, what="what is late")
    with suppress(pytest.fail.Exception):  # what is open then is told of each run
        await till.wait_until(till.at_rest, what="rest")
    return over


async def struck(till: Till, runs: Sequence[Run]) -> list[Visited]:
    """Runs that meet their fault.

    Where a slow machine lost an answer by itself, a run may go past its fault: it is made again.
    """
    tried = await visits(till, [(run, True) for run in runs])
    met = [one for one in tried if one.error is not None or one.run.is_struck]
    past = [one.run for one in tried if one.error is None and not one.run.is_struck]
    return met + await visits(till, [(Run(run.flow, run.aim), True) for run in past])


def outcome_of(visited: Visited, ours: Mapping[UUID, Ours]) -> Outcome:
    """What a run came to, in words that do not depend on ids."""
    till = visited.shopper.till
    replies, notices, amounts = [], [], []
    for number, checkout in enumerate(visited.shopper.checkouts):
        for (step, asked_round), reply in sorted(till.replies(checkout).items()):
            told = getattr(reply, "amount_minor", getattr(reply, "code", None))
            replies.append((number, step.value, asked_round, type(reply).__name__, told))
        notices += [
            (number, type(one).__name__, getattr(one, "status", None), one.amount_minor)
            for one in till.notices(checkout)
            if hasattr(one, "amount_minor")
        ]
        amounts.append(ours.get(derived_id(checkout, "payment")))
    return Outcome(tuple(replies), tuple(notices), tuple(amounts))


async def calm_runs(till: Till, times: int) -> tuple[list[Visited], dict[str, Outcome]]:
    """Each flow without a fault, and what it always comes to."""
    calm = await visits(till, [(Run(flow), True) for flow in FLOWS for _ in range(times)])
    for one in calm:
        if one.error is not None:
            raise one.error
    ours = await till.ours()
    wanted: dict[str, Outcome] = {}
    for one in calm:
        outcome = outcome_of(one, ours)
        assert wanted.setdefault(one.run.flow, outcome) == outcome, one.run.flow
    return calm, wanted


def aims_of(calm: Sequence[Run]) -> list[Aim]:
    """Each fault at each call that every run without a fault has made, and at each point.

    How often something is asked is a matter of time, so of questions only the first counts.
    """
    counts = [Counter(run.calls) for run in calm]
    aims = []
    for operation in sorted(set.intersection(*(set(count) for count in counts))):
        least = min(count[operation] for count in counts)
        certain = 1 if operation.startswith("GET") else least
        faults = (Kind.ERROR,) if operation in POINTS else tuple(RequestFault)
        aims += [
            Aim(operation, number, fault, LATE_MILLISECONDS if fault in TAKE_TIME else 0)
            for number in range(1, certain + 1)
            for fault in faults
        ]
    return aims


def news_of(till: Till, calm: Sequence[Run]) -> list[News]:
    """Each fault at each type of event that came of a payment in every run without a fault."""
    with till.sandbox.database.transaction() as transaction:
        events = [(one["type"], orjson.dumps(one)) for one in transaction.all_of("event")]
    found: list[set[tuple[str, int, bool]]] = []
    for run in calm:
        of_run = set()
        for place in range(len(run.payments)):
            ours, *theirs = (name.encode() for name in run.names[place])
            for kind in {kind for kind, _ in events}:
                bodies = [
                    body
                    for one, body in events
                    if one == kind and any(name in body for name in (ours, *theirs))
                ]
                if bodies:
                    of_run.add((kind, place, all(ours in body for body in bodies)))
        found.append(of_run)
    return [
        News(calm[0].flow, *one, fault)
        for one in sorted(set.intersection(*found))
        for fault in WebhookFault
    ]


def run_of(till: Till, news: News) -> Run:
    """A run in which that goes wrong."""

    def heard(place: int, name: str) -> None:
        if place == news.place and len(run.names[place]) == (1 if news.has_our_name else 2):
            late = DELAYED_MILLISECONDS if news.fault is WebhookFault.DELAYED else None
            till.sandbox.faults.add(
                Rule(fault=news.fault, event=news.event, contains=name, milliseconds=late)
            )

    run = Run(news.flow, hears_name=heard)
    return run


def wrong_with(ours: Ours, theirs: Books) -> list[str]:
    """Where our books of a payment are not the stand-in's."""
    wrong = list(theirs.wrong)
    for name in ("held", "captured", "pending", "refunded", "disputed", "lost"):
        here, there = (getattr(one, f"{name}_minor") for one in (ours, theirs))
        if here != there:
            wrong.append(f"{name}: {here} here, {there} there")
    return wrong


async def assert_right(
    till: Till,
    tried: Mapping[str, Visited],
    wanted: Mapping[str, Outcome],
    subtests: pytest.Subtests,
) -> None:
    """Each run came to what it should, and all books agree about its payments."""
    ours, theirs, customers = await till.ours(), books_of(till.sandbox), customers_of(till.sandbox)
    unlike, out_of_step = await till.unlike_their_ledger(), await till.out_of_step()
    audit = await audited(till.desk, till.sandbox)
    for name, one in tried.items():
        with subtests.test(name):
            if one.error is not None:
                raise one.error
            had_its_fault = one.run.aim is None or one.run.is_struck
            assert had_its_fault
            if one.run.flow == "saved method" and len(one.shopper.checkouts) == 1:
                # What could not be read was not kept.
                assert one.run.aim is not None
                assert one.run.aim.operation == RETRIEVE
            else:
                assert outcome_of(one, ours) == wanted[one.run.flow]
            for payment in one.run.payments:
                assert payment not in till.open
                assert wrong_with(ours[payment], theirs[payment]) == []
                assert payment not in unlike
                assert payment not in out_of_step
            for checkout in one.shopper.checkouts:
                payment = derived_id(checkout, "payment")
                assert audit.broken.get(str(checkout), []) == []
                assert audit.broken.get(str(payment), []) == []
            most = 2 if one.run.aim is not None and one.run.aim in MADE_AGAIN else 1
            assert customers[one.shopper.customer] <= most
    assert audit.broken == {}
    paid = sum(1 for one in ours.values() if one.captured_minor)
    for rule, least in AUDITED_OF.items():
        assert audit.facts[rule] >= (paid if least == "paid" else len(ours)), rule
    assert till.runs.strange == []
    assert await till.desk.dead_letters() == 0
    print(f"{len(tried)} trials")


async def test_the_auditor_sees_what_is_not_the_same_at_the_stand_in(
    payment_databases: tuple[str, str], tmp_path: Path, wait_until: WaitUntil
) -> None:
    async with opened(payment_databases, tmp_path, wait_until, is_told=False) as till:
        one, other = await visits(till, [(Run("automatic"), False), (Run("automatic"), False)])
        assert (one.error, other.error) == (None, None)
        assert (await audited(till.desk, till.sandbox)).broken == {}
        with till.sandbox.database.transaction() as transaction:
            transaction.sql(
                "UPDATE objects SET body = json_set(body, '$.amount_captured', 1)"
                " WHERE object = 'charge' AND body ->> '$.metadata.payment_id' = ?",
                (str(one.run.payments[0]),),
            )

        seen = await audited(till.desk, till.sandbox)

    assert seen.broken == {str(one.run.payments[0]): ["money.is-the-same-at-stripe"]}


async def test_any_fault_at_any_call_of_any_flow_ends_with_the_right_money(
    payment_databases: tuple[str, str],
    tmp_path: Path,
    wait_until: WaitUntil,
    request: pytest.FixtureRequest,
    subtests: pytest.Subtests,
) -> None:
    async with opened(payment_databases, tmp_path, wait_until, is_told=False) as till:
        calm, wanted = await calm_runs(till, CALM_RUNS)
        trials = [
            Run(flow, aim)
            for flow in FLOWS
            for aim in aims_of([one.run for one in calm if one.run.flow == flow])
        ]

        tried = await struck(till, chosen(trials, name_of, request))

        await assert_right(till, {name_of(one.run): one for one in tried}, wanted, subtests)


async def test_whatever_becomes_of_any_webhook_of_any_flow_it_ends_with_the_right_money(
    payment_databases: tuple[str, str],
    tmp_path: Path,
    wait_until: WaitUntil,
    request: pytest.FixtureRequest,
    subtests: pytest.Subtests,
) -> None:
    async with opened(payment_databases, tmp_path, wait_until, is_told=True) as till:
        calm, wanted = await calm_runs(till, CALM_RUNS)
        trials = [
            news
            for flow in FLOWS
            for news in news_of(till, [one.run for one in calm if one.run.flow == flow])
        ]
        trials = chosen(trials, str, request)

        # One that never comes is made up for by whoever compares the books.
        tried = await visits(
            till, [(run_of(till, news), news.fault is WebhookFault.NEVER_SENT) for news in trials]
        )

        assert till.sandbox.faults.left() == []
        named = {str(news): one for news, one in zip(trials, tried, strict=True)}
        await assert_right(till, named, wanted, subtests)
        assert (await till.webhooks()).keys() <= {"heeded", "foreign"}
