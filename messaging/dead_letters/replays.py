"""`<service>.replays`: dead letters have their turns, in order, one transaction each.

Takes the place of a batch processor for that topic. After a letter come those that wait behind
it, until the key is free or one of them dies.
"""

import asyncio
from collections.abc import Sequence
from time import monotonic
from uuid import UUID

import structlog

from contracts.messages.replays import ReplayDeadLetter
from contracts.topics import replay_topic
from messaging import metrics
from messaging.clock import utc_now
from messaging.database import Database
from messaging.dead_letters.replayer import Replayer, Turn
from messaging.dead_letters.runs import Run
from messaging.delivery import Delivery
from messaging.faults import Blame, heals_with_time
from messaging.points import Point, reach
from messaging.settings import ConsumerSettings
from messaging.waiting import Backoff, happens

log = structlog.get_logger()


class ReplayProcessor:
    """Settles the records of a service's replays topic."""

    def __init__(self, replayer: Replayer, database: Database, settings: ConsumerSettings) -> None:
        self.service = replayer.service
        self.topic = replay_topic(replayer.service)
        self.consumer = f"{replayer.service}.{self.topic.name}"
        self._replayer = replayer
        self._database = database
        self._settings = settings
        self._type = f"{replayer.service}.replay_dead_letter.v1"
        self._next_at = 0.0

    async def settle(
        self, batch: Sequence[Delivery], abandon: asyncio.Event, patience: int | None = None
    ) -> bool:
        """Give the letters that these records name their turns; False when `abandon` was set.

        What had its turn by then is not done again.
        """
        for delivery in batch:
            body = None if delivery.incoming is None else delivery.incoming.body
            if not isinstance(body, ReplayDeadLetter):
                # Nobody else writes here, and what is to be replayed is safe in its table.
                log.error("not a replay", consumer=self.consumer, error=str(delivery.error))
                metrics.MESSAGES.labels(self.consumer, "refused").inc()
            elif not await self._follow(body.dead_letter_id, abandon):
                return False
        return True

    async def _follow(self, first: UUID, abandon: asyncio.Event) -> bool:
        """A letter's turn, and those of what waits behind it."""
        run: Run | None = None
        letter_id: UUID | None = first
        while letter_id is not None:
            if await self._paces(abandon):
                return False
            turn = await self._turn(letter_id, run, abandon)
            if turn is None:
                return False
            run = turn.run or run
            if run is not None and run.rate_per_second is not None and turn.tried:
                self._next_at = monotonic() + 1 / run.rate_per_second
            letter_id = turn.following
        return True

    async def _turn(self, letter_id: UUID, run: Run | None, abandon: asyncio.Event) -> Turn | None:
        """One letter's turn, once the database takes it; None when `abandon` was set."""
        blame, backoff = Blame(), self._backoff()
        failure: Exception | None = None
        tells = True
        while True:
            try:
                async with self._database.transaction() as connection:
                    await reach(Point.MESSAGES_CLAIMED, self.service, [self._type])
                    turn = await self._replayer.take_turn(
                        connection, letter_id, run, utc_now(), failure=failure, tells=tells
                    )
                    await reach(Point.BATCH_WRITTEN, self.service, [self._type])
            except Exception as error:  # noqa: BLE001 - every fault is classified here
                if not heals_with_time(error) and blame.settled_by(error):
                    if failure is None:
                        failure, blame = error, Blame()
                        continue
                    tells = False  # even that it died cannot be told
                log.warning(
                    "a replay waits for the database",
                    dead_letter=str(letter_id),
                    error=type(error).__name__,
                )
                if await backoff.rest(abandon):
                    return None
                continue
            await reach(Point.BATCH_COMMITTED, self.service, [self._type])
            self._report(letter_id, turn)
            return turn

    async def _paces(self, abandon: asyncio.Event) -> bool:
        """Wait as long as the run's rate asks for; whether `abandon` was set meanwhile."""
        wait = self._next_at - monotonic()
        return abandon.is_set() if wait <= 0 else await happens(abandon, wait)

    def _backoff(self) -> Backoff:
        return Backoff(self._settings.retry_first_ms, self._settings.retry_longest_ms)

    def _report(self, letter_id: UUID, turn: Turn) -> None:
        if not turn.tried:
            return
        if turn.died is None:
            metrics.MESSAGES.labels(self.consumer, "replayed").inc()
            log.info("dead letter had its turn", dead_letter=str(letter_id))
        else:
            metrics.MESSAGES.labels(self.consumer, "dead_lettered").inc()
            log.error("dead letter failed again", **turn.died.as_facts())
