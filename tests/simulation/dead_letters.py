"""Dead letters: a release that refuses one type of message for a while, and what it leaves behind.

What the saga is told, and what a later message overtakes, is the product's (`notes`,
`Handler.overtaken`, `Fold.tell`). Here stands only which keys are parked, and in which order.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

from messaging.dead_letters import notes
from messaging.dead_letters.notes import Note
from messaging.delivery import Delivery
from messaging.fold import Handler, Incoming
from messaging.records import Record
from tests.simulation.broker import Letter
from tests.simulation.database import ObjectFold

if TYPE_CHECKING:
    from tests.simulation.service import Service

MENDED_US = 600_000_000
"""Most time until the next release puts right what one broke."""

TURN_US = 2_000_000
"""Most time between two turns of a replay."""

Parked: TypeAlias = dict[int, list[Letter]]
"""What is put aside, by the number of its checkout, in order."""

RECORD = Record("", 0, 0, None, None, ())
"""Of no message in particular: here they never were bytes."""

BEHIND = "put aside"
"""How it went with a message that is not handled for now."""


class Shelf:
    """What one consumer has put aside: per key, in order, the first being what is in the way."""

    def __init__(self, service: "Service", topic: str, handler: Handler[Any]) -> None:
        self._service = service
        self._world = service.world
        self._topic = topic
        self._handler = handler
        self._parked: Parked = {}
        self._turns: set[int] = set()
        """Whose turn comes soon: another release may mend what waits for it already."""
        self._refused: str | None = None

    @property
    def is_empty(self) -> bool:
        """Does nothing wait to be replayed?"""
        return not self._parked

    def holds(self, number: int) -> bool:
        """Does something of this checkout wait to be replayed?"""
        return number in self._parked

    @property
    def is_in_use(self) -> bool:
        """Can there be a letter that it takes?"""
        return bool(self._parked) or self._refused is not None

    # A release that is broken, and the next one.

    def may_break(self, letter: Letter) -> None:
        """From now on messages of this type are refused, if chance has it."""
        if self._refused is None and self._world.strikes("broken_release"):
            self._refused = letter.body.type
            mended_us = int(self._world.random.random() * MENDED_US)
            self._world.note(self._topic, self._refused, 0, "is refused from now on")
            self._world.at(self._world.now_us + mended_us, self._mend)

    def _mend(self) -> None:
        """The next release takes the messages; what was put aside is replayed."""
        self._refused = None
        self._world.note(self._topic, "", 0, "nothing is refused any more")
        for number in self._parked:
            self._turn_soon(number)

    # Putting aside.

    def takes(self, letter: Letter, put: Parked, fold: ObjectFold) -> bool:
        """Is this letter not to be handled now? Then it is put aside, and the saga is told.

        `put` is what the same transaction puts aside, to be kept when it commits.
        """
        waiting = self._parked.get(letter.number) or put.get(letter.number)
        if not waiting and letter.body.type != self._refused:
            return False
        behind = waiting[0] if waiting else letter
        put.setdefault(letter.number, []).append(letter)
        self._tell(fold, notes.blocked(_delivery(letter), self._service.name, behind.message_id))
        return True

    def keep(self, put: Parked) -> None:
        """The transaction committed that put these aside."""
        for number, letters in put.items():
            self._parked.setdefault(number, []).extend(letters)

    # Replaying.

    def _turn_soon(self, number: int) -> None:
        if number in self._turns:
            return
        self._turns.add(number)
        wait_us = int(self._world.random.random() * TURN_US)
        self._world.at(self._world.now_us + wait_us, self._take_turn, number)

    def _take_turn(self, number: int) -> None:
        """Replay the first letter of a key in a transaction of its own; then the next one's turn.

        What a later release refuses again waits for the one after it.
        """
        self._turns.remove(number)
        first, *behind = self._parked[number]
        if first.body.type == self._refused:
            return
        if self._service.replay(self._topic, first, lambda fold: self._replayed(fold, first)):
            if behind:
                self._parked[number] = behind
            else:
                del self._parked[number]
        if number in self._parked:
            self._turn_soon(number)

    def _replayed(self, fold: ObjectFold, first: Letter) -> None:
        """Handle the letter, unless one that waits behind it takes back what it asks for."""
        handler, behind = self._handler, self._parked[first.number][1:]
        if not any(handler.overtaken(first.body, later.body) for later in behind):
            fold.step(handler, Incoming(first.body))
        done = notes.unblocked(
            _delivery(first), self._service.name, first.message_id, outcome="replayed"
        )
        self._tell(fold, done)

    def _tell(self, fold: ObjectFold, note: Note | None) -> None:
        if note is not None:
            fold.tell(self._handler, note, None)


def _delivery(letter: Letter) -> Delivery:
    return Delivery(RECORD, letter.message_id, None, Incoming(letter.body), None)
