"""Who makes the database refuse a batch: messages are tried, and nothing of a trial is kept.

A trial writes what some messages change, and goes back to a savepoint: one statement beside those
of the handler, where a transaction of their own would claim, lock, load and commit. PostgreSQL
says which row it refused, so most trials that fail name the message.
"""

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from messaging.database import Connection
from messaging.delivery import Delivery
from messaging.faults import Blame, heals_with_time
from messaging.fold import Fold, Handler, Row

TRIAL_RECORDS = 16
"""Messages of the first trial of a search: their rows cost about as much as its statements."""

Refused: TypeAlias = tuple[Exception, int]
"""What a message was refused for, and how often it was."""

Tried: TypeAlias = tuple[Delivery, Sequence[Row]]
"""A message, and what it would change."""


class Search:
    """A search among messages for those that cannot be written."""

    def __init__(self, trial_records: int) -> None:
        self.trial_records = trial_records
        """How many messages the next trial takes: more after a sound one, fewer after another."""
        self.suspects: dict[UUID, Blame] = {}
        """By message id, with the fault that the message had: the first of its two attempts."""

    async def go_through(
        self,
        connection: Connection,
        fold: Fold,
        handler: Handler[Any],
        deliveries: Sequence[Delivery],
    ) -> None:
        """Try all of these, which the fold is about. Raises what time can heal."""
        decided = [one for one in deliveries if one.incoming is not None]
        foreseen = fold.foresee(handler, [one.incoming.body for one in decided if one.incoming])
        waiting = deque(zip(decided, foreseen, strict=True))
        async with connection.savepoint() as go_back:
            while waiting:
                tried = [waiting.popleft() for _ in range(min(self.trial_records, len(waiting)))]
                error = await _refusal(connection, handler, (rows for _, rows in tried), go_back)
                if error is None:
                    self.trial_records *= 2
                    continue
                named = _named(error, [one for one, _ in tried])
                # Where nobody is named they are found by halves.
                least = TRIAL_RECORDS if named else 1
                self.trial_records = max(len(tried) // 2, least)
                for one in named:
                    blame = self.suspects[one.message_id] = Blame()
                    blame.settled_by(error)
                waiting.extendleft(
                    one for one in reversed(tried) if one[0].message_id not in self.suspects
                )

    def divide(self, deliveries: Iterable[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
        """Those that are sound, and suspects with all that wait behind one, in their order.

        Within a key all of the former come before the latter.
        """
        if not self.suspects:  # nearly always: ids need not be looked up
            return list(deliveries), []
        sound: list[Delivery] = []
        others: list[Delivery] = []
        behind: set[bytes | None] = set()
        for one in deliveries:
            if one.message_id in self.suspects or one.record.key in behind:
                others.append(one)
                behind |= {one.record.key} - {None}
            else:
                sound.append(one)
        return sound, others


async def refused_alone(
    connection: Connection,
    fold: Fold,
    handler: Handler[Any],
    deliveries: Iterable[Delivery],
    suspects: Mapping[UUID, Blame],
) -> dict[UUID, Refused]:
    """The suspects that cannot be written by themselves, for the fault that they had before.

    A message is tried behind those of its key that are sound, and not behind one that is refused:
    there it waits.
    """
    refused: dict[UUID, Refused] = {}
    before: defaultdict[bytes, list[object]] = defaultdict(list)
    refused_keys: set[bytes | None] = set()
    async with connection.savepoint() as go_back:
        for one in deliveries:
            key = one.record.key
            if one.incoming is None or key in refused_keys:
                continue
            story = [] if key is None else before[key]
            story.append(one.incoming.body)
            blame = suspects.get(one.message_id)
            if blame is None:
                continue
            changes = fold.foresee(handler, story)
            error = await _refusal(connection, handler, changes, go_back)
            if error is not None and blame.settled_by(error):
                refused[one.message_id] = (error, blame.faults)
                refused_keys |= {key} - {None}
    return refused


async def _refusal(
    connection: Connection,
    handler: Handler[Any],
    changes: Iterable[Sequence[Row]],
    go_back: Callable[[], Awaitable[None]],
) -> Exception | None:
    """What refuses to write these changes; None if nothing does. Raises what time can heal."""
    last = {(type(row), row.key): row for rows in changes for row in rows}
    if not last:
        return None
    refusal = None
    try:
        await handler.save(connection, list(last.values()))
    except Exception as error:
        if heals_with_time(error):
            raise
        refusal = error
    await go_back()
    return refusal


def _named(error: Exception, tried: Sequence[Delivery]) -> Sequence[Delivery]:
    """The one that was tried, or the last under a key that stands in the row PostgreSQL refused."""
    if len(tried) == 1:
        return tried
    row = (error.detail or "") if isinstance(error, asyncpg.PostgresError) else ""
    last = {one.record.key: one for one in tried}
    return [one for key, one in last.items() if key and key.decode(errors="replace") in row]
