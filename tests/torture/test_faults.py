"""A crash, an error and a lost connection at every point between two effects.

Which points there are is declared (`messaging.points`); where a checkout comes by them is noted in
a run without faults. What a checkout comes to, and what is told of it in public, must be the same
with any fault as without.
"""

import random
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.order import DeadlinePassed
from contracts.messages.payment import Refunded, RefundFailed, RefundPayment
from messaging.http.commands import SAFE_METHODS
from messaging.points import Point
from tests.conftest import Infrastructure
from tests.torture import goods, service_process
from tests.torture.city import City, StubbornClient, city
from tests.torture.injection import Fault, Kind, Place
from tests.torture.snapshot import Events, Snapshot, is_as, snapshot
from tests.torture.stories import AFTER_THE_SALE, PIECES, STORIES, Scene, Told
from trolley.demo.pace import Pace
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Shop
from trolley.figures import Figures

pytestmark = [pytest.mark.integration, pytest.mark.timeout(2 * 3600)]
WaitUntil = Callable[..., Awaitable[None]]
Captured = pytest.CaptureFixture[str]

FINISH_SECONDS = 180
"""Of a story: ends what hangs. On a busy machine a broker may be silent for a minute of it."""

SAMPLE = 36
"""Faults that the suite tries."""

BROKEN_AT_MOST = 5
"""Trials that end otherwise than without a fault: after so many the others say nothing new."""

ALWAYS = (
    "error of payment at <provider: call answered, not recorded> of charge",
    "crash of payment at <provider: calls leased, not made> of review",
)
"""What has found a fault of ours once is tried in every run."""

NOT_UNDER_WAY = {
    "catalog.replay_dead_letter.v1": "the catalog reads no topic and has no dead letters",
    "payment.no_payment_due.v1": "the saga never asks for nothing (decision 42)",
    "relay.position.v1": "is in every transaction of a lane, whose points are its own",
}
"""Types of messages that no story comes by, and why."""

OF_THE_BANK = {
    ("payment", "POST /simulated/actions/{secret}/complete"),
    ("payment", "POST /simulated/actions/{secret}/fail"),
}
"""Pages of the simulated bank: acting twice there is acting once, and nothing is ours to store."""

SHARED = "/dead-letters/"
"""Routes that every service has from `messaging`: one service that comes by is enough."""

OF_BOTH = {RefundPayment.type, Refunded.type, RefundFailed.type, DeadlinePassed.type}
"""The saga takes these in by one function, and an order that was paid for, or may be shipped, by
another."""

AT_KAFKA = tuple(
    point for point in Point if point.name.startswith(("RECORDS_", "OFFSETS_", "ROWS_", "LANE_"))
)
"""Where Kafka is what a service talks to, and connections to it are cut as well."""

AT_THE_RELAY = tuple(point for point in Point if point.name.startswith(("ROWS_", "LANE_")))
"""After a fault a relay begins anew with what is still there: a second one finds it the same."""

BEHIND_A_COMMIT = (
    Point.BATCH_COMMITTED,
    Point.BURIAL_COMMITTED,
    Point.OFFSETS_COMMITTED,
    Point.ANSWER_COMMITTED,
    Point.RESULTS_RECORDED,
    Point.ROWS_DELETED,
    Point.LANE_COMMITTED,
    Point.LANE_DELETED,
)
"""What a fault finds done here stays done: the inbox, the offset, the stored answer or what is
recorded keeps it from coming by a second time."""

OUTSIDE_OF_A_TRANSACTION = (
    Point.RECORDS_POLLED,
    Point.OFFSETS_DUE,
    Point.CALLS_LEASED,
    Point.PAYMENT_PREPARED,
    Point.CALL_ANSWERED,
    Point.LANE_SENT,
)
"""A lost connection is not noticed here, but further on: nothing comes by a second time for it."""

AT_THE_BEGINNING = (Point.LANE_FENCED, Point.LANE_CAUGHT_UP)
"""A lane comes to these once, when it begins: it has to begin anew for a fault there."""

IN_A_CALL = (Point.PAYMENT_PREPARED,)
"""An error in a call leaves its outcome unknown, and that is told: see `test_fault_matrix.py`."""

_CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " AND datname = current_database() AND application_name LIKE '%-relay'"
)


@dataclass(frozen=True)
class Trial:
    """One story with one fault."""

    story: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.story}: {self.fault}"


@dataclass(frozen=True)
class Calm:
    """What a story comes to without a fault, and where it comes by."""

    told: Told
    state: Snapshot
    places: frozenset[Place]


class Market:
    """A city with shoppers."""

    def __init__(self, town: City, client: StubbornClient, wait_until: WaitUntil) -> None:
        self.city = town
        self.settings = DemoSettings(
            finish_seconds=FINISH_SECONDS, follow_shortest_seconds=0.02, follow_longest_seconds=0.1
        )
        key = town.environment["TROLLEY_SIGNING_KEY"]
        self.shop = Shop(client, key, Pace(0.1, shortest=0.02, longest=0.1))
        bug = service_process.bug_file(town.directory)
        self.scene = Scene(town, self.shop, self.settings, bug)
        self.wait_until = wait_until
        self._figures = Figures(timeout_seconds=10)
        self._skus = 0
        self._begun: set[Place] = set()

    async def offer(self, articles: int) -> list[str]:
        """So many new SKUs, with pieces, as shoppers see them."""
        skus = [f"torture-{self._skus + number}" for number in range(articles)]
        self._skus += articles
        await goods.offer(self.shop, self.settings, skus, PIECES)
        return skus

    async def all_is_calm(self) -> dict[str, Calm]:
        """Every story without a fault; its places are those that it comes by each time."""
        skus = iter(await self.offer(2 * len(STORIES)))
        calms = {}
        for story in STORIES:
            once, again = await self._calm(story, next(skus)), await self._calm(story, next(skus))
            assert again.state == once.state
            calms[story] = replace(again, places=once.places & again.places | self._begun)
        return calms

    async def _calm(self, story: str, sku: str) -> Calm:
        """A story without a fault, with nothing else under way."""
        await self.wait_until(self._all_is_read, what="peace before a story without a fault")
        self._reached()  # is forgotten
        told = await STORIES[story](self.scene, sku)
        await self.wait_until(partial(self._all_is_sent, told), what="the end of a story")
        await self.wait_until(self._all_is_read, what="peace after a story without a fault")
        return Calm(told, await snapshot(self.city, told), self._reached())

    def _reached(self) -> frozenset[Place]:
        """Where anything came by since the last time."""
        reached = frozenset(self.city.board.reached())
        self._begun |= {place for place in reached if place[1] in AT_THE_BEGINNING}
        return reached

    async def rest(self, told: Told) -> None:
        """Until nothing is under way any more; `told` is any story."""

        async def at_rest() -> bool:
            return await self._all_is_read() and await self._all_is_sent(told)

        await self.wait_until(at_rest, what="peace after all stories")

    async def _all_is_sent(self, told: Told) -> bool:
        """Whether no service has anything left to send, whatever story is looked at."""
        return not any(
            row["open"]
            for name, rows in (await snapshot(self.city, told)).items()
            if name.endswith("outbox")
            for row in rows
        )

    async def _all_is_read(self) -> bool:
        lag = (await self._figures.read(self.city.environment)).lag
        return bool(lag) and not any(lag.values())

    async def documents(self) -> dict[str, Any]:
        """What each service says of its routes."""
        get = self.shop.client.get
        return {service: (await get(service, "/openapi.json")).body for service in self.city.urls}

    async def aclose(self) -> None:
        """Close what it has open."""
        await self._figures.close()

    async def torment(self, trial: Trial, sku: str, calm: Calm) -> Told:
        """A story with a fault, which ends as it does without."""
        fault = trial.fault
        self.city.board.arm(fault)
        try:
            if fault.point in AT_THE_BEGINNING:
                await self.city.query(fault.service, _CUT)
            told = await STORIES[trial.story](self.scene, sku)

            async def as_without() -> bool:
                # Offsets are committed later than anything that they are about.
                struck = self.city.board.fired() == fault.times
                return struck and await is_as(self.city, told, calm.state)

            try:
                await self.wait_until(as_without, what="the same state")
            except BaseException:
                fired = self.city.board.fired()
                assert fired == fault.times, f"it happened {fired} times"
                assert await snapshot(self.city, told) == calm.state
                raise
        except BaseException as error:
            error.add_note(str(trial))
            raise
        finally:
            self.city.board.disarm()
        return told


@pytest.fixture
async def market(
    infrastructure: Infrastructure, tmp_path: Path, wait_until: WaitUntil
) -> AsyncIterator[Market]:
    """Five services, each kept running; every point they come to is noted from the start."""
    async with (
        city(infrastructure, tmp_path) as town,
        StubbornClient(town.urls, DemoSettings()) as client,
        aclosing(Market(town, client, wait_until)) as market,
    ):
        yield market


def trials(calms: Mapping[str, Calm]) -> list[Trial]:
    """Every fault at every place that a story comes by, each in the first story that does.

    What the saga asks for and the shop after the sale, too, is tried in the first story of both.
    Connections to Kafka are lost where Kafka is what is talked to; the client opens new ones, and
    nothing comes by a second time for it.
    A crash comes twice, too, and so does a lost connection at each point, of whatever message: what
    time heals asks no message for its type. Neither does where nothing comes by a second time. An
    error that comes twice is taken for the message's own, and that goes to the dead letters; one in
    a call is tried elsewhere.
    """
    first: dict[tuple[Place, bool], str] = {}
    for story, calm in calms.items():
        for place in sorted(calm.places):
            first.setdefault((place, place[2] in OF_BOTH and story in AFTER_THE_SALE), story)
    found = [(place, story) for (place, _), story in first.items()]
    once = [
        Trial(story, Fault(*place, kind, 1))
        for place, story in found
        for kind in Kind
        if kind is not Kind.ERROR or place[1] not in IN_A_CALL
        if kind is not Kind.LOST_KAFKA or place[1] in AT_KAFKA
    ]
    again = [
        Trial(story, Fault(*place, Kind.CRASH, 2))
        for place, story in found
        if place[1] not in (*AT_THE_RELAY, *BEHIND_A_COMMIT)
    ]
    lost_again = {
        (service, point): Trial(story, Fault(service, point, one, Kind.LOST_CONNECTION, 2))
        for (service, point, one), story in found
        if point not in (*BEHIND_A_COMMIT, *OUTSIDE_OF_A_TRANSACTION)
    }
    return [*once, *again, *lost_again.values()]


def sample(shuffled: Sequence[Trial]) -> list[Trial]:
    """Some of them: those that are always tried, one of each story and point, and others."""
    chosen = [trial for trial in shuffled if str(trial.fault) in ALWAYS]
    stories = {trial.story for trial in chosen}
    points = {trial.fault.point for trial in chosen}
    for trial in shuffled:
        if trial.story not in stories or trial.fault.point not in points:
            chosen.append(trial)
            stories.add(trial.story)
            points.add(trial.fault.point)
    others = [trial for trial in shuffled if trial not in chosen]
    return chosen + others[: max(0, SAMPLE - len(chosen))]


def part(all_of_them: Sequence[Trial], wanted: str) -> list[Trial]:
    """One part of all trials, `3/10` say; the same one each time, in the order given."""
    number, parts = map(int, wanted.split("/"))
    return [one for one in all_of_them if crc32(str(one).encode()) % parts == number - 1]


def commands_of(documents: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Service and route of everything that changes something, as points name it."""
    for service, document in documents.items():
        for path, methods in document["paths"].items():
            for method in methods:
                if method.upper() not in SAFE_METHODS:
                    yield service, f"{method.upper()} {path}"


def assert_nothing_is_missed(
    calms: Mapping[str, Calm], documents: Mapping[str, Mapping[str, Any]]
) -> None:
    """Every point, every type of message and every route is under way in some story."""
    places = {place for calm in calms.values() for place in calm.places}
    assert {point for _, point, _ in places} == {str(point) for point in Point}
    under_way = {under_way for _, _, under_way in places}
    assert under_way & MESSAGES_BY_TYPE.keys() == MESSAGES_BY_TYPE.keys() - NOT_UNDER_WAY.keys()

    def at(point: Point) -> set[str]:
        return {one for _, where, one in places if where == point} & MESSAGES_BY_TYPE.keys()

    handled = at(Point.RECORDS_POLLED)
    for point in (Point.MESSAGES_CLAIMED, Point.BATCH_WRITTEN, Point.BATCH_COMMITTED):
        assert at(point) == handled
    for point in (Point.ROWS_SENT, Point.ROWS_CONFIRMED, Point.ROWS_DELETED):
        assert at(point) == handled
    for point in (Point.STATE_READ, Point.STATE_WRITTEN, Point.OUTBOX_WRITTEN):
        assert {one for one in handled if "replay_dead_letter" not in one} <= at(point)

    buried = at(Point.BURIAL_CLAIMED)
    for point in (Point.BURIAL_TOLD, Point.BURIAL_WRITTEN, Point.BURIAL_COMMITTED):
        assert at(point) == buried <= at(Point.LETTERS_WRITTEN)

    def shared(routes: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        return {("any" if SHARED in route else service, route) for service, route in routes}

    for point in (Point.ANSWER_STORED, Point.ANSWER_COMMITTED):
        answered = {(service, route) for service, at, route in places if at == point}
        assert shared(answered) == shared(set(commands_of(documents)) - OF_THE_BANK)


async def test_any_fault_at_any_point_leaves_the_same_state_and_the_same_events(
    market: Market, torture: bool, request: pytest.FixtureRequest, capsys: Captured
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    calms = await market.all_is_calm()
    market.city.board.stop_noting()
    assert_nothing_is_missed(calms, await market.documents())

    chosen = trials(calms)
    random.Random(seed).shuffle(chosen)  # noqa: S311 - no secret
    only = request.config.getoption("--fault")
    if only is not None:
        chosen = [trial for trial in chosen if only in str(trial)]
        assert chosen, f"no trial is about {only!r}"
    if torture or only is not None:
        chosen = part(chosen, request.config.getoption("--part"))
    else:
        chosen = sample(chosen)
    skus = await market.offer(len(chosen))
    told = {}
    broken: list[Exception] = []
    for number, (trial, sku) in enumerate(zip(chosen, skus, strict=True), 1):
        with capsys.disabled():
            if torture or only:
                print(f"{number:4} of {len(chosen)}  {trial}")
        try:
            told[trial] = await market.torment(trial, sku, calms[trial.story])
        except Exception as error:  # noqa: BLE001 - raised with the others
            broken.append(error)
            if len(broken) == BROKEN_AT_MOST:
                break
    if broken:
        raise ExceptionGroup(f"{len(broken)} of {number} trials ended otherwise", broken)

    # A second effect may come late, when other stories are on.
    await market.rest(calms["buys"].told)
    ended = [(story, calm.told, calm) for story, calm in calms.items()]
    ended += [(str(trial), one, calms[trial.story]) for trial, one in told.items()]
    moved = [
        (name, part, rows, calm.state[part])
        for name, one, calm in ended
        for part, rows in (await snapshot(market.city, one)).items()
        if rows != calm.state[part]
    ]
    assert not moved, "\n".join(map(str, moved))

    events = await Events.read(market.city)
    for trial, one in told.items():
        assert events.about(one) == events.about(calms[trial.story].told), str(trial)
    await market.city.audit()
