"""One turn of one dead letter, in the caller's transaction: handled again, or discarded.

A turn is claimed by the row's own transition (`replaying` to `done`, or to `dead` again), not by
the inbox: a replay that comes twice does nothing, however long ago the message first came.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from messaging import inbox
from messaging.database import Connection
from messaging.dead_letters import history, notes, parking, runs, stored
from messaging.dead_letters.history import Entry
from messaging.dead_letters.letters import DeadLetter, Fault, Status, published
from messaging.dead_letters.notes import Note
from messaging.dead_letters.runs import Run, RunStatus
from messaging.dead_letters.stored import StoredLetter
from messaging.delivery import Delivery, Subscription
from messaging.faults import heals_with_time
from messaging.fold import Fold, Handler, open_fold
from messaging.outbox import write_outgoing


class UnknownConsumer(LookupError):
    """No handler of this version reads what the dead letter's consumer read."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn came to: `following` waits behind the letter and is next.

    `tried` is False where there was nothing to do: it had its turn, or its run was stopped.
    """

    following: UUID | None = None
    run: Run | None = None
    tried: bool = False
    died: DeadLetter | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A letter that was decided again, and nothing of it written yet."""

    delivery: Delivery | None
    fold: Fold | None
    error: Exception | None
    overtaken_by: str | None


class Replayer:
    """Replays the dead letters of one service by the handlers that it runs now."""

    def __init__(self, service: str, subscriptions: Iterable[Subscription]) -> None:
        self.service = service
        self._subscriptions: Mapping[str, Subscription] = {
            f"{service}.{one.topic.name}": one for one in subscriptions
        }

    async def take_turn(
        self,
        connection: Connection,
        letter_id: UUID,
        drained_by: Run | None,
        now: datetime,
        *,
        failure: Exception | None = None,
        tells: bool = True,
    ) -> Turn:
        """Do what the letter's row says, and name what waits behind it.

        `drained_by` is the run whose letter a parked message waited for. With a `failure`, which
        the database had at earlier attempts, the letter dies of that; the saga is told if it
        `tells`.
        """
        found = await stored.place(connection, letter_id)
        if found is None:
            return Turn()
        consumer, key = found.consumer, found.key_hash
        if found.status is Status.DISCARDING:
            await inbox.hold(connection, consumer, found.message_id)
        locked = await parking.lock_parked(connection, consumer, [] if key is None else [key])
        one = await stored.lock(connection, self.service, letter_id)
        assert one is not None  # noqa: S101 - nothing deletes an unsettled letter
        run = drained_by
        if one.run_id is not None and one.status is not Status.PARKED:
            run = await runs.find(connection, one.run_id)
        died: DeadLetter | None = None
        tried = True
        match one.status:
            case Status.REPLAYING | Status.DISCARDING if run and run.status is RunStatus.STOPPED:
                await self._leave_untried(connection, one, run, now)
                tried = False
            case Status.DISCARDING:
                await self._discard(connection, one, run, now, tells=tells)
            case Status.REPLAYING:
                died = await self._replay(connection, one, run, now, failure=failure, tells=tells)
            case Status.PARKED if await self._is_first(connection, one):
                died = await self._replay(connection, one, run, now, failure=failure, tells=tells)
            case _:
                tried = False  # it had its turn, or it is not its turn
        # A key that was not parked when its lock was asked for is nobody's to unpark.
        following = await self._following(connection, one) if key in locked else None
        return Turn(following, run, tried, died)

    async def try_out(
        self,
        connection: Connection,
        one: StoredLetter,
        now: datetime,
        failure: Exception | None = None,
        *,
        opens: bool = True,
    ) -> Trial:
        """Decide a letter again; what it changes and sends is in the fold, to be saved or not."""
        subscription = self._subscriptions.get(one.letter.consumer)
        if subscription is None:
            unknown = UnknownConsumer(f"nothing here reads for {one.letter.consumer}")
            return Trial(None, None, unknown, None)
        handler, delivery = subscription.handler, one.delivery(subscription.topic)
        body = None if delivery.incoming is None else delivery.incoming.body
        about = [body] if body is not None else self._told_of(delivery, handler.keeps_sagas)
        fold = await open_fold(
            connection, handler, about if opens else [], source=self.service, now=now
        )
        error = failure or delivery.error
        if error is not None or delivery.incoming is None:
            return Trial(delivery, fold, error, None)
        overtakes = type(handler).overtaken is not Handler.overtaken
        for later in await stored.behind(connection, one) if overtakes else ():
            waiting = later.delivery(subscription.topic).incoming
            if waiting is not None and handler.overtaken(body, waiting.body):
                return Trial(delivery, fold, None, later.letter.type)
        try:
            fold.step(handler, delivery.incoming)
        except Exception as raised:  # noqa: BLE001 - the fault is this message's
            return Trial(delivery, fold, raised, None)
        return Trial(delivery, fold, None, None)

    async def rehearse(self, connection: Connection, one: StoredLetter, now: datetime) -> Trial:
        """A replay in a transaction that the caller rolls back, written to the last statement.

        What the database rejects is the trial's error, as it would be a replay's.
        """
        consumer, key = one.letter.consumer, one.letter.key_hash
        if key is not None:
            await parking.lock_parked(connection, consumer, [key])
        try:
            trial = await self.try_out(connection, one, now)
            if trial.error is None:
                await self._save(connection, one, trial)
        except Exception as error:
            if heals_with_time(error):
                raise
            return Trial(None, None, error, None)
        return trial

    async def _save(self, connection: Connection, one: StoredLetter, trial: Trial) -> None:
        """Write what a letter that was tried out changes and sends."""
        if trial.fold is not None:
            await trial.fold.save(connection, self._subscriptions[one.letter.consumer].handler)

    def _told_of(self, delivery: Delivery, keeps_sagas: bool) -> Sequence[Note]:
        note = notes.blocked(delivery, self.service, delivery.message_id) if keeps_sagas else None
        return [] if note is None else [note]

    async def _replay(
        self,
        connection: Connection,
        one: StoredLetter,
        run: Run | None,
        now: datetime,
        *,
        failure: Exception | None,
        tells: bool,
    ) -> DeadLetter | None:
        """Handle a letter again; the letter if it died again."""
        trial = await self.try_out(connection, one, now, failure, opens=tells)
        if tells:
            self._tell(one, trial)
        await self._save(connection, one, trial)
        if trial.error is None:
            await self._finish(connection, one, run, now, trial.overtaken_by)
            return None
        return await self._die_again(connection, one, run, now, trial.error)

    async def _finish(
        self,
        connection: Connection,
        one: StoredLetter,
        run: Run | None,
        now: datetime,
        overtaken_by: str | None,
    ) -> None:
        outcome = "handled" if overtaken_by is None else f"overtaken by {overtaken_by}"
        await stored.settle(connection, one.letter.id, Status.DONE, outcome, now)
        await self._note(connection, one, run, now, outcome)
        if run is not None:
            drained = int(one.status is Status.PARKED)
            await runs.count(connection, run.id, now, done=1 - drained, drained=drained)

    async def _die_again(
        self,
        connection: Connection,
        one: StoredLetter,
        run: Run | None,
        now: datetime,
        error: Exception,
    ) -> DeadLetter:
        before = one.letter.fault
        fault = Fault.of(
            error,
            consumer=one.letter.consumer,
            message_type=one.letter.type,
            attempts=1 + (before.attempts if before else 0),
        )
        died = replace(one.letter, fault=fault)
        await stored.die_again(connection, died.id, fault, now)
        if died.key_hash is not None:
            await parking.park(connection, died.consumer, {died.key_hash: died.id}, now)
        await write_outgoing(connection, [published(died, now)])
        await self._note(connection, one, run, now, f"failed: {fault.fingerprint}")
        if run is not None:
            if fault.fingerprint in run.fingerprints:
                await runs.stop(connection, run.id, f"{died.id} failed as before")
            await runs.count(connection, run.id, now, failed=int(one.status is not Status.PARKED))
        return died

    async def _discard(
        self,
        connection: Connection,
        one: StoredLetter,
        run: Run | None,
        now: datetime,
        *,
        tells: bool,
    ) -> None:
        """Give a letter up.

        An answer is forgotten by the inbox too: its sender gives it again under the same id when
        it is asked again, and would give it for nothing otherwise.
        """
        subscription = self._subscriptions.get(one.letter.consumer)
        if subscription is not None:
            delivery = one.delivery(subscription.topic)
            note = notes.unblocked(delivery, self.service, one.letter.id, "discarded")
            if note is not None and tells:
                handler = subscription.handler
                about = [note] if handler.keeps_sagas else []
                fold = await open_fold(connection, handler, about, source=self.service, now=now)
                fold.tell(handler, note, delivery.envelope)
                await fold.save(connection, handler)
            if notes.is_answer(delivery):
                await inbox.forget(connection, one.letter.consumer, [one.letter.message_id])
        await stored.settle(connection, one.letter.id, Status.DISCARDED, "discarded", now)
        await self._note(connection, one, run, now, "discarded")
        if run is not None:
            await runs.count(connection, run.id, now, done=1)

    async def _leave_untried(
        self, connection: Connection, one: StoredLetter, run: Run, now: datetime
    ) -> None:
        await stored.settle(connection, one.letter.id, one.letter.status, None, now)
        await self._note(connection, one, run, now, "not tried: the run was stopped")
        await runs.count(connection, run.id, now, untried=1)

    async def _is_first(self, connection: Connection, one: StoredLetter) -> bool:
        key = one.letter.key_hash
        if key is None:
            return False
        first = await stored.first_unsettled(connection, one.letter.consumer, key)
        return first is not None and first[0] == one.letter.id

    async def _following(self, connection: Connection, one: StoredLetter) -> UUID | None:
        """What is parked at the head of the letter's key; a key with nothing left is unparked."""
        consumer, key = one.letter.consumer, one.letter.key_hash
        if key is None:
            return None
        first = await stored.first_unsettled(connection, consumer, key)
        if first is None:
            await parking.unpark(connection, consumer, key)
            return None
        letter_id, status = first
        return letter_id if status is Status.PARKED else None

    def _tell(self, one: StoredLetter, trial: Trial) -> None:
        """Tell the saga that its step goes on, or is blocked still."""
        if trial.delivery is None or trial.fold is None:
            return
        note: Note | None
        if trial.error is None:
            note = notes.unblocked(trial.delivery, self.service, one.letter.id, "replayed")
        else:
            note = notes.blocked(trial.delivery, self.service, one.letter.id)
        if note is not None:
            handler = self._subscriptions[one.letter.consumer].handler
            trial.fold.tell(handler, note, trial.delivery.envelope)

    async def _note(
        self, connection: Connection, one: StoredLetter, run: Run | None, now: datetime, what: str
    ) -> None:
        entry = Entry(now, run.who if run else self.service, what, run.reason if run else None)
        await history.note(connection, [one.letter.id], entry)
