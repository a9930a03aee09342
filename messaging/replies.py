"""Recorded replies: the same question gets the same answer, under the same id.

A command of the saga is re-sent until it is answered. When its effect is there already, the
reply that was lost is given again; the reader's inbox drops it if it was not lost after all.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import SagaMessage
from contracts.values import Struct
from messaging.database import Connection, sql


class Question(NamedTuple):
    """What (checkout, step, round) asks; its effect and its answer are unique by it."""

    checkout_id: UUID
    step: str
    round: int

    @classmethod
    def of(cls, message: SagaMessage) -> "Question":
        """The question that a command asks, or that a reply answers."""
        return cls(message.checkout_id, str(message.step), message.round)


class RecordedReply(Struct, frozen=True):
    """The latest answer to a question, with the message id it was first sent under."""

    question: Question
    reply_id: UUID
    message: SagaMessage


_READ = sql("""
    SELECT r.checkout_id, r.step, r.round, r.reply_id, r.type, r.payload
    FROM unnest(CAST(:checkout_ids AS uuid[]), CAST(:steps AS text[]), CAST(:rounds AS int[]))
         AS q (checkout_id, step, round)
    JOIN recorded_replies r
      ON r.checkout_id = q.checkout_id AND r.step = q.step AND r.round = q.round
""")

_WRITE = sql("""
    INSERT INTO recorded_replies (checkout_id, step, round, reply_id, type, payload)
    SELECT * FROM unnest(
        CAST(:checkout_ids AS uuid[]), CAST(:steps AS text[]), CAST(:rounds AS int[]),
        CAST(:reply_ids AS uuid[]), CAST(:types AS text[]), CAST(:payloads AS bytea[]))
    ON CONFLICT (checkout_id, step, round) DO UPDATE
    SET reply_id = excluded.reply_id, type = excluded.type, payload = excluded.payload
""")


async def recorded(
    connection: Connection, questions: Collection[Question]
) -> dict[Question, RecordedReply]:
    """The recorded replies to these questions, where there are any."""
    if not questions:
        return {}
    ordered = sorted(questions)
    result = await connection.fetch(
        _READ,
        {
            "checkout_ids": [question.checkout_id for question in ordered],
            "steps": [question.step for question in ordered],
            "rounds": [question.round for question in ordered],
        },
    )
    found: dict[Question, RecordedReply] = {}
    for row in result:
        question = Question(row.checkout_id, row.step, row.round)
        message = MESSAGES_BY_TYPE[row.type].model_validate_json(row.payload)
        assert isinstance(message, SagaMessage)  # noqa: S101 - only replies are recorded
        found[question] = RecordedReply(question, row.reply_id, message)
    return found


async def record(connection: Connection, replies: Sequence[RecordedReply]) -> None:
    """Record replies, each in place of an earlier one to the same question."""
    if not replies:
        return
    ordered = sorted(replies, key=lambda reply: reply.question)
    await connection.execute(
        _WRITE,
        {
            "checkout_ids": [reply.question.checkout_id for reply in ordered],
            "steps": [reply.question.step for reply in ordered],
            "rounds": [reply.question.round for reply in ordered],
            "reply_ids": [reply.reply_id for reply in ordered],
            "types": [reply.message.type for reply in ordered],
            "payloads": [reply.message.model_dump_json().encode() for reply in ordered],
        },
    )
