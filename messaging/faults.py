"""Which faults time can heal, and which belong to the message or request at hand."""

import re
from collections import Counter
from collections.abc import Collection

import asyncpg
from aiokafka.errors import KafkaError

ATTEMPTS_BEFORE_BLAME = 2
"""A constraint violation may be a race: only the same error twice is the message's own."""

MOST_REJECTIONS = 5
"""So many, however different, are the message's own too."""

_VARIABLE_PARTS = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|0x[0-9a-fA-F]+|\d+|'[^']*'|\"[^\"]*\""
)
_OF_THE_DATA = ("21", "22", "23", "54")
"""SQLSTATE classes that the data at hand can cause: cardinality, data, constraint, limits."""

_NO_BROKER = "Did we not perform bootstrap?"
"""What a client of aiokafka says that starts while Kafka answers and names no broker: one that was
frozen for longer than its session is not heard yet."""


def heals_with_time(error: BaseException) -> bool:
    """Whether to wait and try the same again rather than blame a message.

    Everything the database says that its data did not cause counts as healing: a lost
    connection, a deadlock, a full disk, a table that a deployment has yet to migrate.
    """
    if isinstance(error, asyncpg.PostgresError):
        return not (error.sqlstate or "").startswith(_OF_THE_DATA)
    if isinstance(error, AssertionError):
        return str(error) == _NO_BROKER
    # Lost connections and timeouts are an OSError too.
    return isinstance(
        error, (asyncpg.InterfaceError, asyncpg.InternalClientError, KafkaError, OSError)
    )


def text_of(error: BaseException) -> str:
    """What an error says; of the database's errors without the row that they repeat."""
    if isinstance(error, asyncpg.PostgresError) and error.args:
        return str(error.args[0])
    return str(error)


def shape_of(error_text: str) -> str:
    """What the same fault says each time: ids, numbers and quoted values do not count."""
    return _VARIABLE_PARTS.sub("?", error_text)


class Blame:
    """The faults that messages had and that time does not heal: are they their own?

    `known` are kinds of faults that these messages, with others, were blamed for already.
    """

    def __init__(self, known: Collection[str] = ()) -> None:
        self._seen = Counter(dict.fromkeys(known, ATTEMPTS_BEFORE_BLAME - 1))
        self.faults = 0
        """How many there were."""

    @property
    def kinds(self) -> frozenset[str]:
        """Those that came, or were known."""
        return frozenset(self._seen)

    def settled_by(self, error: BaseException) -> bool:
        """Whether with this one they are: it came before, or there were many."""
        kind = f"{type(error).__name__} {shape_of(text_of(error))}"
        self._seen[kind] += 1
        self.faults += 1
        return self._seen[kind] >= ATTEMPTS_BEFORE_BLAME or self.faults >= MOST_REJECTIONS
