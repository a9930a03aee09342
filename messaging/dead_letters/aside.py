"""What one transaction puts aside: messages with a fault, and those that wait behind one."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from contracts.messages.order import StepBlocked
from messaging import inbox
from messaging.database import Connection
from messaging.dead_letters import letters, notes, parking
from messaging.dead_letters.letters import DeadLetter, Fault, key_hash
from messaging.delivery import Delivery
from messaging.points import Point, reach


class Aside:
    """The dead letters of one consumer in one transaction, and the keys that are parked.

    A key is parked from its first dead letter on, for the rest of the batch too. Compacted topics
    park nothing (`parks`): their messages replace each other.
    """

    def __init__(self, service: str, consumer: str, *, parks: bool, now: datetime) -> None:
        self.dead: list[DeadLetter] = []
        self.parked: list[DeadLetter] = []
        self._service = service
        self._consumer = consumer
        self._parks = parks
        self.now = now
        self._in_the_way: dict[bytes, UUID] = {}
        self._letters: list[DeadLetter] = []

    async def lock(self, connection: Connection, deliveries: Iterable[Delivery]) -> None:
        """Lock the keys of these deliveries that are parked; before any other row."""
        if self._parks:
            keys = {held for delivery in deliveries if (held := key_hash(delivery)) is not None}
            found = await parking.lock_parked(connection, self._consumer, keys)
            self._in_the_way.update(found)

    def in_the_way_of(self, delivery: Delivery) -> UUID | None:
        """The dead letter that this delivery waits behind, if there is one."""
        if not self._in_the_way:
            return None
        held = key_hash(delivery)
        return None if held is None else self._in_the_way.get(held)

    def put(
        self, delivery: Delivery, error: Exception | None, attempts: int = 1
    ) -> StepBlocked | None:
        """Take a delivery out of the batch; what the saga is to be told, if it is one's.

        One that something is in the way of is parked, without an error; any other has one.
        """
        behind = self.in_the_way_of(delivery)
        fault = None
        if behind is None:
            assert error is not None  # noqa: S101 - nothing else keeps it from being handled
            fault = Fault.of(
                error, consumer=self._consumer, message_type=delivery.type, attempts=attempts
            )
        letter = DeadLetter.of(
            delivery,
            fault,
            service=self._service,
            consumer=self._consumer,
            parks=self._parks,
            now=self.now,
        )
        self._letters.append(letter)
        (self.dead if behind is None else self.parked).append(letter)
        if behind is None and letter.key_hash is not None:
            self._in_the_way[letter.key_hash] = letter.id
        return notes.blocked(delivery, self._service, behind or letter.id)

    async def save(self, connection: Connection) -> None:
        """Write what was put aside, and park the keys of what died.

        Where nothing is parked nothing was claimed either: what was put aside before is not again.
        """
        if not self._parks:
            ids = [letter.message_id for letter in self._letters]
            new = await inbox.claim(connection, self._consumer, ids)
            self._letters = [letter for letter in self._letters if letter.message_id in new]
            self.dead = list(self._letters)
        await letters.keep(connection, self._letters)
        if self._letters:
            types = [letter.type for letter in self._letters if letter.type is not None]
            await reach(Point.LETTERS_WRITTEN, self._service, types)
        newly = {one.key_hash: one.id for one in self.dead if one.key_hash is not None}
        await parking.park(connection, self._consumer, newly, self.now)


def subjects(
    deliveries: Sequence[Delivery], aside: Aside, service: str, *, keeps_sagas: bool
) -> list[object]:
    """What a fold over these deliveries has to lock and load.

    Messages that can be decided, and for the saga's own service also what it is told of those
    that cannot.
    """
    found: list[object] = []
    for delivery in deliveries:
        behind = aside.in_the_way_of(delivery)
        if delivery.incoming is not None and behind is None:
            found.append(delivery.incoming.body)
        elif keeps_sagas:
            note = notes.blocked(delivery, service, behind or delivery.message_id)
            if note is not None:
                found.append(note)
    return found
