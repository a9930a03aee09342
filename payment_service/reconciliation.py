"""The reconciliation: our ledger against the provider's lists, by a schedule and when asked for.

A run reads what moved at the provider since a moment, page by page, and what moved here in the same
time; of what moved here alone the provider is asked by name, however old it is. Payments of which
something is under way are left for the next run. A difference of a payment of ours makes a review
due, which books what it sees; the run waits a little and notes which are repaired by then. Whatever
no review can repair stays reported. Open disputes are always reviewed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter

from contracts.messages.payment import ReviewPayment
from messaging.clock import utc_now
from messaging.database import Connection, Database
from messaging.outbox import emit
from payment_service.domain.outcomes import NotFound, Unknown
from payment_service.domain.reconciliation import Standing, difference, standing_of
from payment_service.providers.port import BooksUnread, NotTaken, Provider, Review, SeenMoney
from payment_service.settings import PaymentSettings
from payment_service.store import reconciliations as store
from payment_service.store.reconciliations import Found, Ours, ReconciliationRun

log = structlog.get_logger()

SOURCE = "payment"

LOOK_AGAIN_SECONDS = 0.5

ASKED_AT_ONCE = 10
"""Payments that the provider is asked about one by one before the run is heard of again."""

DIFFERENCES = Counter(
    "trolley_reconciliation_differences",
    "Differences between our ledger and a provider's books, by kind.",
    ["provider", "kind"],
)


def reconcile(
    settings: PaymentSettings, providers: Mapping[str, Provider]
) -> Callable[[Database], Awaitable[int]]:
    """An action for `messaging.periodic.every`: makes one run that is due; 0 if there is none."""
    interval = timedelta(seconds=settings.reconcile_interval_seconds)
    overlap = timedelta(seconds=settings.reconcile_overlap_seconds)
    kept = timedelta(seconds=settings.reconciliation_kept_seconds)
    lease = timedelta(seconds=settings.reconcile_lease_seconds)

    async def act(database: Database) -> int:
        async with database.transaction() as connection:
            now = utc_now()
            await store.schedule(connection, providers, interval, overlap, now)
            run = await store.take(connection, now, lease)
        if run is None:
            return 0
        error = await _Run(run, providers[run.provider], database, settings, now).make()
        async with database.transaction() as connection:
            now = utc_now()
            await store.end(connection, run.run_id, error, now)
            await store.forget(connection, now - kept)
        return 1

    return act


class _Run:
    """One run of one provider."""

    def __init__(
        self,
        run: ReconciliationRun,
        provider: Provider,
        database: Database,
        settings: PaymentSettings,
        began_at: datetime,
    ) -> None:
        self._run = run
        self._provider = provider
        self._database = database
        self._settings = settings
        self._until = began_at - timedelta(seconds=settings.reconcile_margin_seconds)
        self._told: set[str] = set()
        self._reviewed: set[str] = set()
        self._compared = self._under_way = self._foreign = 0

    async def make(self) -> str | None:
        """Compare everything; why it could not be, or None."""
        try:
            page: list[SeenMoney] = []
            async for seen in self._provider.moved_since(self._run.since):
                page.append(seen)
                if len(page) == self._settings.reconcile_rows:
                    await self._compare(page)
                    page = []
            await self._compare(page)
            await self._look_for_ours()
        except BooksUnread as error:
            log.warning("reconciliation not finished", provider=self._run.provider, why=str(error))
            return str(error)
        await self._ask_about_disputes()
        await self._wait_for_reviews()
        return None

    async def _compare(self, page: Sequence[SeenMoney]) -> None:
        """What the provider has, against what we have of it."""
        keys = [seen.charge_key for seen in page if seen.charge_key is not None]
        ids = [seen.provider_payment_id for seen in page if seen.provider_payment_id is not None]
        async with self._database.transaction() as connection:
            ours = await store.named(connection, self._run.provider, keys, ids)
            by_key = {one.charge_key: one for one in ours}
            by_id = {one.charge.provider_payment_id: one for one in ours}
            found = []
            for seen in page:
                one = by_key.get(seen.charge_key or "") or by_id.get(seen.provider_payment_id or "")
                if one is None and seen.charge_key is None:
                    self._foreign += 1
                    continue
                if one is not None:
                    self._told.add(one.charge_key)
                name = seen.charge_key or seen.provider_payment_id or ""
                found += self._between(name, one, seen.standing)
            await self._note(connection, found)

    def _between(self, name: str, ours: Ours | None, theirs: Standing | None) -> list[Found]:
        self._compared += 1
        if ours is not None and ours.is_open:
            self._under_way += 1
            return []
        kind = difference(None if ours is None else ours.standing, theirs)
        return [] if kind is None else [Found(name, kind, ours, theirs)]

    async def _look_for_ours(self) -> None:
        """What moved here and the provider has not told of: it is asked. Raises BooksUnread.

        Its lists tell by its own clock when money moved, and we book it when we hear of it.
        """
        after = ""
        while True:
            async with self._database.reading() as connection:
                ours = await store.moved(
                    connection,
                    self._run.provider,
                    self._run.since,
                    self._until,
                    after,
                    self._settings.reconcile_rows,
                )
            untold = [one for one in ours if one.charge_key not in self._told]
            for first in range(0, len(untold), ASKED_AT_ONCE):
                await self._ask_about(untold[first : first + ASKED_AT_ONCE])
            if not ours:
                return
            after = ours[-1].charge_key

    async def _ask_about(self, untold: Sequence[Ours]) -> None:
        """Compare payments one by one; what we have of them is read after the answers."""
        theirs = {one.charge_key: await self._standing(one) for one in untold}
        async with self._database.transaction() as connection:
            ours = await store.named(connection, self._run.provider, theirs, ())
            found = [
                each
                for one in ours
                for each in self._between(one.charge_key, one, theirs[one.charge_key])
            ]
            await self._note(connection, found)

    async def _standing(self, one: Ours) -> Standing | None:
        try:
            seen = await self._provider.review(Review(one.charge))
        except NotTaken as error:
            raise BooksUnread(str(error)) from error
        match seen:
            case Unknown(reason):
                raise BooksUnread(reason)
            case NotFound():
                return None
            case _:
                return standing_of(seen)

    async def _ask_about_disputes(self) -> None:
        """Have open disputes reviewed: one that is lost moves no more money, so no list tells."""
        after = ""
        while True:
            async with self._database.transaction() as connection:
                ours = await store.disputed(
                    connection, self._run.provider, after, self._settings.reconcile_rows
                )
                unasked = [one for one in ours if one.charge_key not in self._reviewed]
                await self._review(connection, dict.fromkeys(unasked, "open dispute"))
            if not ours:
                return
            after = ours[-1].charge_key

    async def _review(self, connection: Connection, why: Mapping[Ours, str]) -> None:
        """Have payments of ours looked at as the provider has them now."""
        reviews = [
            ReviewPayment(
                shop_id=one.shop_id,
                checkout_id=one.checkout_id,
                payment_id=one.payment_id,
                attempt=one.attempt,
                reason=f"reconciliation: {reason}",
            )
            for one, reason in why.items()
        ]
        self._reviewed |= {one.charge_key for one in why}
        await emit(connection, reviews, source=SOURCE, now=utc_now())

    async def _note(self, connection: Connection, found: Sequence[Found]) -> None:
        """Keep what was found, have it reviewed where that helps, and note how far the run is."""
        now = utc_now()
        await store.note(connection, self._run.run_id, found, now)
        await self._review(connection, {one.to_review: one.kind for one in found if one.to_review})
        await self._go_on(connection, now)
        for one in found:
            DIFFERENCES.labels(self._run.provider, one.kind).inc()
            log.warning(
                "our ledger and the provider's books differ",
                provider=self._run.provider,
                payment=one.name,
                kind=one.kind,
            )

    async def _wait_for_reviews(self) -> None:
        """Note which differences the reviews have repaired, as long as a run may wait for that.

        What was noted by a process that died is among them.
        """
        until = utc_now() + timedelta(seconds=self._settings.reconcile_settle_seconds)
        while True:
            async with self._database.transaction() as connection:
                reviewed = await store.under_review(connection, self._run.run_id)
                repaired = [
                    one.name
                    for one in reviewed
                    if one.ours is not None and difference(one.ours.standing, one.theirs) is None
                ]
                await store.repaired(connection, self._run.run_id, repaired)
                await self._go_on(connection, utc_now())
            if len(repaired) == len(reviewed) or utc_now() >= until:
                return
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _go_on(self, connection: Connection, now: datetime) -> None:
        """Note how far the run is, and that its process is alive."""
        await store.progress(
            connection,
            self._run.run_id,
            compared=self._compared,
            under_way=self._under_way,
            foreign=self._foreign,
            until=now + timedelta(seconds=self._settings.reconcile_lease_seconds),
        )
