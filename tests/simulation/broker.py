"""The broker: one queue per topic that keeps the order of each key and of nothing else."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from contracts.messages.base import Message
from contracts.messages.order import StepUnblocked
from tests.simulation.trace import NOBODY

if TYPE_CHECKING:
    from tests.simulation.world import World

NEAR_US = 30_000
"""Most time that a message is usually under way."""

FAR_US = 240_000_000
"""Most time that a slow one is: longer than many budgets of sends."""

POLL_US = 20_000
"""How long a consumer lets messages gather."""

BATCH = 50
"""Most messages of a batch; small, so that a crash in the middle finds batches around it."""


class Letter:
    """An outbox row, and the record that it becomes: the message stays the object it is.

    It stands for an `Outgoing`, and has of its columns what is asked for here; `number` is that
    of its checkout.
    """

    __slots__ = ("body", "message_id", "number", "topic")

    def __init__(self, message_id: UUID, body: Message) -> None:
        checkout_id: UUID | None = body.__dict__.get("checkout_id")
        self.message_id = message_id
        self.topic = body.topic.name
        self.body = body
        self.number = NOBODY if checkout_id is None else checkout_id.int


Record: TypeAlias = tuple[int, int, Letter]
"""When it can be read, its place in the order of arrival, and what it carries."""

Consume: TypeAlias = Callable[[list[Letter]], bool]
"""Handles a batch; False when the process died before its offsets were committed."""


class Queue:
    """One topic and its one consumer."""

    __slots__ = ("_consume", "_last_us", "_poll_us", "_uncommitted", "_unread", "_world", "name")

    def __init__(self, world: "World", name: str, consume: Consume) -> None:
        self.name = name
        self._world = world
        self._consume = consume
        self._unread: list[Record] = []
        self._uncommitted: list[Record] = []
        self._last_us: dict[int, int] = {}
        self._poll_us: int | None = None

    def append(self, letter: Letter) -> None:
        """Take a record; it can be read once it and all before it of its key have arrived."""
        world, number, last_us = self._world, letter.number, self._last_us
        arrives_us = world.now_us + int(world.random.random() * NEAR_US)
        if world.strikes("slow_delivery", number):
            arrives_us += int(world.random.random() * FAR_US)
        if number in last_us and last_us[number] > arrives_us:
            arrives_us = last_us[number]
        last_us[number] = arrives_us
        world.order += 1
        heappush(self._unread, (arrives_us, world.order, letter))
        world.unread += 1
        self._wake(arrives_us + POLL_US)

    def _lose(self) -> None:
        """The topic is gone with everything unread, and made anew."""
        for _, _, letter in sorted(self._unread):
            self._world.note(self.name, letter.body.type, letter.number, "lost")
            if isinstance(letter.body, StepUnblocked):
                self._world.unheard.add(letter.number)
        self._world.unread -= len(self._unread)
        self._unread.clear()
        self._uncommitted.clear()

    def _wake(self, at_us: int) -> None:
        if self._poll_us is None or at_us < self._poll_us:
            self._poll_us = at_us
            self._world.at(at_us, self._poll, at_us)

    def _poll(self, planned_us: int) -> None:
        if planned_us != self._poll_us:
            return
        self._poll_us = None
        world, unread = self._world, self._unread
        now_us = world.now_us
        batch: list[Record] = []
        while unread and unread[0][0] <= now_us and len(batch) < BATCH:
            batch.append(heappop(unread))
        world.unread -= len(batch)
        if batch:
            self._uncommitted.extend(batch)
            if not self._consume([letter for _, _, letter in batch]):
                self._redeliver()
            elif world.random.random() < 0.5 or world.healed:
                self._uncommitted.clear()
        if unread and world.strikes("topic_lost"):
            self._lose()
        if unread:
            self._wake(max(unread[0][0], now_us) + POLL_US)

    def _redeliver(self) -> None:
        """Everything since the committed offset comes again, in its old order."""
        for record in self._uncommitted:
            heappush(self._unread, record)
        self._world.unread += len(self._uncommitted)
        self._uncommitted.clear()
