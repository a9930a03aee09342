"""A service: the product's handlers over in-memory rows, its transactions and its relay.

A handler's `decide` and the fold around it are the product's. What stands here in place of SQL
is small: which row is written where.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from contracts.messages.base import Event, Message, SagaCommand
from messaging.fold import Decision, Handler, Incoming, Row
from messaging.replies import Question
from messaging.settings import RelaySettings
from order_service.checkout import Checkout, Moved
from tests.simulation.broker import Letter, Queue
from tests.simulation.database import Database, ObjectFold, View
from tests.simulation.dead_letters import BEHIND, Parked, Shelf
from tests.simulation.invariants import Violation
from tests.simulation.mutants import Mutant
from tests.simulation.trace import How

if TYPE_CHECKING:
    from tests.simulation.world import World

RELAY_AWAY_US = 3_000_000
"""How long a relay is gone that died."""

SECOND_US = 1_000_000

RELAY_POLL_US = int(RelaySettings().poll_seconds * SECOND_US)
"""When a relay finds by itself what nobody woke it for."""

ASKS_AGAIN_US = 5 * SECOND_US
"""Most time until a client asks again that has no answer."""


class Service:
    """What all four have in common: transactions, the relay, and how both die."""

    name: str
    kept: frozenset[type]
    """Classes of rows that stay; the others tell a store what to insert."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.database = Database(self.kept)
        self.shelves: dict[str, Shelf] = {}
        self._relay_is_up = True
        self._keys = count(1)

    # What a service overrides.

    def insert_missing(self, view: View, message: Message) -> None:
        """Rows that `lock` inserts for this message where they are missing."""

    def saved(self, row: Row, before: Row | None, decision: Decision) -> None:
        """A row was decided: check it, and note when a sweeper has to look at it."""

    # Transactions.

    def subscribe(self, topic: str, handler: Handler[Any]) -> None:
        """Handle what arrives on this topic."""

        def consume(letters: list[Letter]) -> bool:
            return self._consume(topic, handler, letters)

        self.database.inbox[topic] = set()
        self.world.queues[topic] = Queue(self.world, topic, consume)
        self.shelves[topic] = Shelf(self, topic, handler)

    def request(self, handler: Handler[Any], message: Any, whose: int) -> None:
        """A client's request; who has no answer asks again after a while, under the same key."""
        self._ask(handler, message, whose, next(self._keys))

    def request_at_once(self, handler: Handler[Any], message: Any, whose: int) -> None:
        """A request whose client needs the answer to go on: it asks again at once."""
        key = next(self._keys)
        while not self._answers(handler, message, whose, key):
            pass

    def _ask(self, handler: Handler[Any], message: Any, whose: int, key: int) -> None:
        world = self.world
        if not self._answers(handler, message, whose, key):
            again_us = world.now_us + int(world.random.random() * ASKS_AGAIN_US)
            world.at(again_us, self._ask, handler, message, whose, key)

    def _answers(self, handler: Handler[Any], message: Any, whose: int, key: int) -> bool:
        """A request, decided unless it was; False when the process died before it answered."""
        world, answered = self.world, self.database.answered
        if key in answered and world.mutant is not Mutant.ANSWER_NOT_STORED:
            world.note(self.name, type(message).__name__, whose, "answered again")
            return True
        view = View(self.database.tables)
        fold = self._fold(view, ())
        decision = fold.step(handler, Incoming(message))
        if world.strikes("crash_before_commit", whose):
            view.undo()
            return False
        world.note(self.name, type(message).__name__, whose, _said(decision))
        if decision.changed:  # a refusal writes nothing
            answered.add(key)
            world.books.answered(self.name, key, whose)
        return self._commit(fold, view, whose)

    def emit(self, message: Message) -> None:
        """A sweeper sends this, in a transaction of its own."""
        letter = Letter(next(self.world.message_ids), message)
        self.database.outbox.append(letter)
        self._wake(letter.number)

    def _fold(self, view: View, messages: Sequence[object]) -> ObjectFold:
        committed = self.database.replies
        questions = [Question.of(body) for body in messages if isinstance(body, SagaCommand)]
        return ObjectFold(
            rows=view,
            recorded={each: committed[each] for each in questions if each in committed},
            source=self.name,
            now=self.world.now,
            ids=self.world.message_ids,
        )

    def _consume(self, topic: str, handler: Handler[Any], letters: list[Letter]) -> bool:
        """One batch: claimed, folded and committed, or nothing of it."""
        world, inbox = self.world, self.database.inbox[topic]
        if world.mutant is Mutant.NO_INBOX:
            fresh = letters
        else:
            claimed = {letter.message_id: letter for letter in letters}
            fresh = [letter for each, letter in claimed.items() if each not in inbox]
        view = View(self.database.tables)
        fold = self._fold(view, [letter.body for letter in fresh])
        shelf = self.shelves[topic]
        in_use, forgets = shelf.is_in_use, world.mutant is Mutant.REPLY_NOT_RESENT
        put: Parked = {}
        said: list[How] = []
        for letter in fresh:
            if in_use and shelf.takes(letter, put, fold):
                said.append(BEHIND)
                continue
            sent = len(fold.outgoing)
            decision = self._step(handler, letter, fold, view)
            if forgets and decision == Decision():
                del fold.outgoing[sent:]
            said.append(_said(decision))
        if fresh and world.strikes("crash_before_commit", fresh[0].number):
            view.undo()
            return False
        inbox.update([letter.message_id for letter in fresh])
        for letter, how in zip(fresh, said, strict=True):
            world.note(topic, letter.body.type, letter.number, how)
        world.books.took_effect(topic, fresh)
        if put:
            shelf.keep(put)
        if not fresh:
            return True
        lives = self._commit(fold, view, fresh[0].number)
        shelf.may_break(fresh[-1])
        return lives and not world.strikes("crash_after_commit", fresh[0].number)

    def replay(self, topic: str, letter: Letter, handle: Callable[[ObjectFold], None]) -> bool:
        """The turn of a message that was put aside; False when the process died under it."""
        world, view = self.world, View(self.database.tables)
        fold = self._fold(view, [letter.body])
        self.insert_missing(view, letter.body)
        handle(fold)
        if world.strikes("crash_before_commit", letter.number):
            view.undo()
            return False
        world.note(topic, letter.body.type, letter.number, "replayed")
        self._commit(fold, view, letter.number)  # a turn that comes again finds it done
        return True

    def _step(
        self, handler: Handler[Any], letter: Letter, fold: ObjectFold, view: View
    ) -> Decision:
        self.insert_missing(view, letter.body)
        try:
            return fold.step(handler, Incoming(letter.body))
        except Exception as error:
            text = f"{letter.body.type}: {type(error).__name__}: {error}"
            raise Violation("no message is dead-lettered", letter.number, text) from error

    def _commit(self, fold: ObjectFold, view: View, whose: int) -> bool:
        """What commits, and then wakes the relay; False when the process died in between."""
        before, kept = view.changes(), self.kept
        for decision in fold.decisions:
            for row in decision.changed:
                was = next(before)
                if type(row) in kept:
                    self.saved(row, was, decision)
        self.database.replies.update(fold.answered)
        if self.world.mutant is Mutant.OUTBOX_AFTER_COMMIT and self.world.random.random() < 0.01:
            self.world.injected["crash between commit and outbox"] += 1
            return True
        self.database.outbox += cast("list[Letter]", fold.outgoing)
        return self._wake(whose)

    # The relay.

    def _wake(self, whose: int) -> bool:
        """Wake the relay, behind a commit; False when the process died before it could."""
        world = self.world
        if world.strikes("crash_before_wake", whose):
            world.at(world.now_us + RELAY_POLL_US, self.relay)
            return False
        self.relay()
        return True

    def relay(self) -> None:
        """Carry the outbox to the broker: public events once, the rest at least once."""
        outbox, world = self.database.outbox, self.world
        if not (outbox and self._relay_is_up):
            return
        dies = world.strikes("crash_in_relay", outbox[0].number)
        kept: list[Letter] = []
        for letter in outbox:
            queue = world.queues.get(letter.topic)
            if queue is None:
                # The transaction that publishes it holds its position: never sent again.
                event = cast("Event", letter.body)
                world.books.published(event)
                world.shoppers.hear(event)
                continue
            queue.append(letter)
            kept.append(letter)
        outbox.clear()
        if dies:
            outbox.extend(kept)
            self._relay_is_up = False
            world.at(world.now_us + RELAY_AWAY_US, self._relay_returns)

    def _relay_returns(self) -> None:
        self._relay_is_up = True
        self.relay()


def _said(decision: Decision) -> How:
    """How it went, for the trace."""
    result = decision.result
    if isinstance(result, Moved) and isinstance(result.checkout, Checkout):
        return result.checkout.state
    return "" if result is None else type(result)
