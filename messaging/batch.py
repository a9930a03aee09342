"""One batch of records: claimed, folded and committed in one transaction, whatever is in it.

A record that cannot be decoded, or whose `decide` raises, is dead-lettered in the batch's own
transaction. A batch that the database rejects is searched for messages that cannot be written
(`messaging.suspects`): the others are settled, and in the transaction that follows each suspect is
tried alone, and put aside there. A batch that is rejected all the same comes in halves, strictly
in order, down to single messages. What time can heal is retried for ever.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from time import perf_counter
from types import MappingProxyType
from uuid import UUID

import structlog

from messaging import inbox, metrics
from messaging.clock import utc_now
from messaging.database import Connection, Database
from messaging.dead_letters.aside import Aside, subjects
from messaging.delivery import Delivery, Subscription, types_of
from messaging.faults import Blame, heals_with_time
from messaging.fold import Fold, open_fold
from messaging.points import Point, reach
from messaging.settings import ConsumerSettings
from messaging.suspects import TRIAL_RECORDS, Refused, Search, refused_alone
from messaging.waiting import Backoff

log = structlog.get_logger()

NOBODY: Mapping[UUID, Blame] = MappingProxyType({})


class BatchProcessor:
    """Settles batches of one subscription: decides their fate, and returns only then."""

    def __init__(
        self,
        service: str,
        subscription: Subscription,
        database: Database,
        settings: ConsumerSettings,
    ) -> None:
        self.service = service
        self.topic = subscription.topic
        self.consumer = f"{service}.{subscription.topic.name}"
        self._handler = subscription.handler
        self._database = database
        self._settings = settings
        # A compacted topic keeps its records longer than any inbox could: its messages carry
        # versions and are applied only if newer, which makes a claim needless.
        self._claims = subscription.topic.cleanup != "compact"
        self._trial_records: int | None = None
        """How many messages the next search begins with. A batch after one with suspects is
        searched at once, until there are none: poison seldom comes alone."""

    async def settle(
        self, batch: Sequence[Delivery], abandon: asyncio.Event, patience: int | None = None
    ) -> bool:
        """Take a batch to its end: everything in it has had its effect or is dead-lettered.

        False when `abandon` was set while waiting for something to heal, or when `patience`
        attempts have not healed it (None: as many as it takes). Then nothing of what is left was
        kept, and it has to be delivered again.
        """
        started = perf_counter()
        settled = await self._settle(batch, abandon, patience)
        if settled:
            metrics.BATCH_RECORDS.labels(self.consumer).observe(len(batch))
            metrics.BATCH_SECONDS.labels(self.consumer).observe(perf_counter() - started)
        return settled

    async def _settle(
        self,
        batch: Sequence[Delivery],
        abandon: asyncio.Event,
        patience: int | None,
        blamed: Collection[str] = (),
        suspects: Mapping[UUID, Blame] | None = None,
    ) -> bool:
        """`suspects` is None as long as nobody has searched for them."""
        backoff, waited = self._backoff(), 0
        # A part of a batch that was blamed is divided at once; a message has its two attempts.
        blame = Blame(blamed if len(batch) > 1 else ())
        while True:
            try:
                left, found = await self._transact(batch, suspects)
                parts = [left] if left else []
                break
            except Exception as error:  # noqa: BLE001 - every fault is classified below
                if heals_with_time(error):
                    metrics.BATCH_RETRIES.labels(self.consumer, "healing").inc()
                    log.warning(
                        "batch waits for a dependency",
                        consumer=self.consumer,
                        records=len(batch),
                        error=type(error).__name__,
                        wait_ms=backoff.wait_ms,
                    )
                    waited += 1
                    if waited == patience or await backoff.rest(abandon):
                        return False
                    continue
                metrics.BATCH_RETRIES.labels(self.consumer, "rejected").inc()
                if not blame.settled_by(error):
                    self._trial_records = self._trial_records or TRIAL_RECORDS
                    continue
                if len(batch) == 1:
                    return await self._dead_letter(batch[0], error, blame.faults, abandon)
            middle = len(batch) // 2
            parts, found = [batch[:middle], batch[middle:]], NOBODY
            break
        for part in parts:
            if not await self._settle(part, abandon, patience, blame.kinds, found):
                return False
        return True

    async def _transact(
        self, batch: Sequence[Delivery], suspects: Mapping[UUID, Blame] | None
    ) -> tuple[Sequence[Delivery], Mapping[UUID, Blame]]:
        """The batch in one transaction; gives suspects that it leaves, with what waits behind them.

        Raises whatever the database or the handler raises.
        """
        now = utc_now()
        async with self._database.transaction() as connection:
            fresh = await self._claim(connection, batch)
            await reach(Point.MESSAGES_CLAIMED, self.service, types_of(fresh))
            aside = Aside(self.service, self.consumer, parks=self._claims, now=now)
            await aside.lock(connection, fresh)
            fold = await self._open_fold(connection, fresh, aside, now)
            search = await self._searched(connection, fold, fresh, suspects)
            fresh, left = search.divide(fresh)
            await inbox.forget(connection, self.consumer, [one.message_id for one in left])
            refused: Mapping[UUID, Refused] = {}
            if suspects:
                refused = await refused_alone(connection, fold, self._handler, fresh, suspects)
            for delivery in fresh:
                self._decide(fold, aside, delivery, refused.get(delivery.message_id))
            await fold.save(connection, self._handler)
            await aside.save(connection)
            await reach(Point.BATCH_WRITTEN, self.service, types_of(fresh))
        await reach(Point.BATCH_COMMITTED, self.service, types_of(fresh))
        handled = len(fresh) - len(aside.dead) - len(aside.parked)
        metrics.MESSAGES.labels(self.consumer, "handled").inc(handled)
        metrics.MESSAGES.labels(self.consumer, "duplicate").inc(len(batch) - len(fresh) - len(left))
        self._report(aside)
        return left, search.suspects

    async def _searched(
        self,
        connection: Connection,
        fold: Fold,
        fresh: Sequence[Delivery],
        suspects: Mapping[UUID, Blame] | None,
    ) -> Search:
        """A search among these for suspects, where it was not done and the last one had some."""
        search = Search(self._trial_records or TRIAL_RECORDS)
        if suspects is None and self._trial_records is not None and len(fresh) > 1:
            await search.go_through(connection, fold, self._handler, fresh)
            self._trial_records = search.trial_records if search.suspects else None
        if search.suspects:
            metrics.BATCH_RETRIES.labels(self.consumer, "rejected").inc()
        return search

    async def _open_fold(
        self, connection: Connection, deliveries: Sequence[Delivery], aside: Aside, now: datetime
    ) -> Fold:
        handler = self._handler
        messages = subjects(deliveries, aside, self.service, keeps_sagas=handler.keeps_sagas)
        return await open_fold(connection, handler, messages, source=self.service, now=now)

    def _decide(
        self, fold: Fold, aside: Aside, delivery: Delivery, refused: Refused | None
    ) -> None:
        """Decide one message, or put it aside and tell the saga of it."""
        handler = self._handler
        error, attempts = refused or (delivery.error, 1)
        if delivery.incoming and not refused and aside.in_the_way_of(delivery) is None:
            try:
                fold.step(handler, delivery.incoming)
            except Exception as raised:  # noqa: BLE001 - the fault is this message's alone
                error = raised
            else:
                return
        note = aside.put(delivery, error, attempts)
        if note is not None:
            fold.tell(handler, note, delivery.envelope)

    async def _claim(self, connection: Connection, batch: Sequence[Delivery]) -> list[Delivery]:
        """The deliveries of the batch that are new, each id once, in order."""
        if not self._claims:
            return list(batch)  # what of it is put aside is claimed then
        new = await inbox.claim(connection, self.consumer, [d.message_id for d in batch])
        fresh: list[Delivery] = []
        for delivery in batch:
            if delivery.message_id in new:
                new.discard(delivery.message_id)
                fresh.append(delivery)
        return fresh

    async def _dead_letter(
        self, delivery: Delivery, error: Exception, attempts: int, abandon: asyncio.Event
    ) -> bool:
        """Bury one message in a transaction of its own, once the database takes it.

        Should it refuse what the saga is told, and again, then without that.
        """
        backoff, blame, tells = self._backoff(), Blame(), True
        while True:
            aside = Aside(self.service, self.consumer, parks=self._claims, now=utc_now())
            try:
                async with self._database.transaction() as connection:
                    fresh = await self._claim(connection, [delivery])
                    await reach(Point.BURIAL_CLAIMED, self.service, types_of(fresh))
                    if fresh:
                        await self._bury(connection, aside, delivery, error, attempts, tells)
                    await reach(Point.BURIAL_WRITTEN, self.service, types_of(fresh))
                await reach(Point.BURIAL_COMMITTED, self.service, types_of(fresh))
            except Exception as failure:  # noqa: BLE001 - a dead letter is never given up
                log.error(
                    "a dead letter waits for the database",
                    consumer=self.consumer,
                    error=type(failure).__name__,
                )
                if not heals_with_time(failure) and blame.settled_by(failure):
                    tells = False
                if await backoff.rest(abandon):
                    return False
                continue
            self._report(aside)
            return True

    async def _bury(
        self,
        connection: Connection,
        aside: Aside,
        delivery: Delivery,
        error: Exception,
        attempts: int,
        tells: bool,
    ) -> None:
        await aside.lock(connection, [delivery])
        fold = await self._open_fold(connection, [delivery] if tells else [], aside, aside.now)
        note = aside.put(delivery, error, attempts)
        if note is not None and tells:
            fold.tell(self._handler, note, delivery.envelope)
        await fold.save(connection, self._handler)
        await reach(Point.BURIAL_TOLD, self.service, types_of([delivery]))
        await aside.save(connection)

    def _backoff(self) -> Backoff:
        return Backoff(self._settings.retry_first_ms, self._settings.retry_longest_ms)

    def _report(self, aside: Aside) -> None:
        metrics.MESSAGES.labels(self.consumer, "dead_lettered").inc(len(aside.dead))
        metrics.MESSAGES.labels(self.consumer, "parked").inc(len(aside.parked))
        for letter in aside.dead:
            log.error("message dead-lettered", **letter.as_facts())
