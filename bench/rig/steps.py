"""What each service of the rig does with a batch: a few statements, however many messages."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from bench.rig.tables import Name
from bench.rig.wire import (
    INVENTORY_COMMANDS,
    ORDER_COMMANDS,
    ORDER_REPLIES,
    PAYMENT_COMMANDS,
    Message,
)

Step = Callable[[Any, Sequence[Message]], Awaitable[list[Message]]]
"""Changes the state by new messages, in an open transaction, and says what is to be sent."""

STATES = {"reserved": "charging", "rejected": "rejected", "paid": "paid"}
"""What an order becomes by a reply."""

_START = """
    INSERT INTO orders (checkout_id, state, total_minor, lines)
    SELECT id, 'reserving', total, lines::jsonb
    FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS o (id, total, lines)
"""
_MOVE = """
    UPDATE orders SET state = reply.state
    FROM unnest($1::uuid[], $2::text[]) AS reply (id, state)
    WHERE checkout_id = reply.id RETURNING checkout_id, orders.state, total_minor
"""
_LOCK = """
    SELECT sku, on_hand - reserved AS free FROM levels WHERE sku = ANY($1::text[])
    ORDER BY sku FOR UPDATE
"""
_TAKE = """
    UPDATE levels SET reserved = reserved + taken.quantity
    FROM unnest($1::text[], $2::bigint[]) AS taken (sku, quantity) WHERE levels.sku = taken.sku
"""
_RESERVE = """
    INSERT INTO reservation_lines (checkout_id, sku, quantity)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[])
"""
_PAY = (
    "INSERT INTO payments (checkout_id, amount_minor) SELECT * FROM unnest($1::uuid[], $2::int8[])"
)


async def start(connection: Any, messages: Sequence[Message]) -> list[Message]:
    """Order: a checkout begins, and its goods are asked for."""
    await connection.execute(
        _START,
        [one.checkout for one in messages],
        [one.content["total"] for one in messages],
        [orjson.dumps(one.content["lines"]).decode() for one in messages],
    )
    return [
        Message(INVENTORY_COMMANDS, one.checkout, "reserve", {"lines": one.content["lines"]})
        for one in messages
    ]


async def reply(connection: Any, messages: Sequence[Message]) -> list[Message]:
    """Order: what is reserved is to be paid, and what is paid is done."""
    latest = {one.checkout: STATES[one.kind] for one in messages}
    moved = await connection.fetch(_MOVE, list(latest), list(latest.values()))
    return [
        Message(PAYMENT_COMMANDS, row["checkout_id"], "charge", {"amount": row["total_minor"]})
        for row in moved
        if row["state"] == "charging"
    ]


async def reserve(connection: Any, messages: Sequence[Message]) -> list[Message]:
    """Inventory: all lines of a checkout, or none of them."""
    wanted = sorted({sku for one in messages for sku in one.content["lines"]})
    free = {row["sku"]: row["free"] for row in await connection.fetch(_LOCK, wanted)}
    taken: Counter[str] = Counter()
    lines, replies = [], []
    for one in messages:
        pieces: dict[str, int] = one.content["lines"]
        held = all(free[sku] - taken[sku] >= quantity for sku, quantity in pieces.items())
        if held:
            taken.update(pieces)
            lines += [(one.checkout, sku, quantity) for sku, quantity in pieces.items()]
        replies.append(Message(ORDER_REPLIES, one.checkout, "reserved" if held else "rejected"))
    if lines:
        await connection.execute(_TAKE, list(taken), list(taken.values()))
        await connection.execute(_RESERVE, *map(list, zip(*lines, strict=True)))
    return replies


async def pay(connection: Any, messages: Sequence[Message]) -> list[Message]:
    """Payment: every charge is taken."""
    amounts = [one.content["amount"] for one in messages]
    await connection.execute(_PAY, [one.checkout for one in messages], amounts)
    return [Message(ORDER_REPLIES, one.checkout, "paid") for one in messages]


STEPS: Mapping[Name, Mapping[str, Step]] = {
    "cart": {},
    "order": {ORDER_COMMANDS: start, ORDER_REPLIES: reply},
    "inventory": {INVENTORY_COMMANDS: reserve},
    "payment": {PAYMENT_COMMANDS: pay},
}
"""What each service does with the records of each topic that it reads."""
