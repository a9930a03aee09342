"""Bugs on purpose, one at a time: a simulation that misses one of them proves nothing."""

from enum import StrEnum


class Mutant(StrEnum):
    """What is done wrong, and where a stand-in does it."""

    NO_INBOX = "no inbox"
    """`service`: a message that comes again is handled again."""

    OUTBOX_AFTER_COMMIT = "outbox after commit"
    """`service`: state commits first, the messages in a second transaction."""

    REPLY_NOT_RESENT = "reply not re-sent"
    """`service`: a question that was answered once is not answered again."""

    ANSWER_NOT_STORED = "answer not stored"
    """`service`: a request that comes again under its key is decided again."""

    RELEASED_TWICE = "release twice"
    """`inventory`: a release lowers what is reserved twice."""

    NEW_KEY = "charge retried under a new key"
    """`payments`: a charge of unknown outcome is made again instead of asked about."""
