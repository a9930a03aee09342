"""StartCheckout commands that nobody has answered yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from contracts.messages.order import StartCheckout
from messaging.database import Connection, sql


@dataclass(frozen=True, slots=True)
class DueStart:
    """A StartCheckout that was sent `sends` times and not answered."""

    cart_id: UUID
    command: StartCheckout
    sends: int


_TAKE_DUE = sql("""
    SELECT cart_id, start_command, start_sends FROM carts WHERE start_due_at <= :now
    ORDER BY start_due_at LIMIT :most FOR UPDATE SKIP LOCKED
""")

_POSTPONE = sql("""
    UPDATE carts c SET start_due_at = u.due_at, start_sends = c.start_sends + 1
    FROM unnest(CAST(:cart_ids AS uuid[]), CAST(:due_at AS timestamptz[])) AS u (cart_id, due_at)
    WHERE c.cart_id = u.cart_id
""")


_COUNT_UNANSWERED = sql("""
    SELECT count(*) FROM carts WHERE start_due_at IS NOT NULL AND start_sends > :sends
""")


async def count_unanswered_starts(connection: Connection, sends: int) -> int:
    """How many carts have sent StartCheckout more than `sends` times without an answer."""
    return int(await connection.fetch_value(_COUNT_UNANSWERED, {"sends": sends}))


async def take_due_starts(connection: Connection, now: datetime, most: int) -> list[DueStart]:
    """Lock at most `most` carts whose StartCheckout is due again, the longest due first."""
    result = await connection.fetch(_TAKE_DUE, {"now": now, "most": most})
    return [
        DueStart(row.cart_id, StartCheckout.model_validate_json(row.start_command), row.start_sends)
        for row in result
    ]


async def postpone_starts(connection: Connection, due: Sequence[tuple[DueStart, datetime]]) -> None:
    """Count one more sending, and set when the next is due."""
    await connection.execute(
        _POSTPONE,
        {
            "cart_ids": [start.cart_id for start, _ in due],
            "due_at": [due_at for _, due_at in due],
        },
    )
