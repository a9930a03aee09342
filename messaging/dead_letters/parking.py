"""Parked keys: while a dead letter stands in the way of its key, what comes later waits behind it.

Whoever parks, replays or unparks locks the row of (consumer, key) first, and after the inbox. A
key is parked as long as anything of it is unsettled.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from messaging.database import Connection, sql

_LOCK = sql("""
    SELECT key_hash, dead_letter_id FROM parked_keys
    WHERE consumer = :consumer AND key_hash = ANY(CAST(:keys AS bytea[]))
    ORDER BY key_hash FOR UPDATE
""")

_PARK = sql("""
    INSERT INTO parked_keys (consumer, key_hash, dead_letter_id, since)
    SELECT :consumer, key_hash, dead_letter_id, :now
    FROM unnest(CAST(:keys AS bytea[]), CAST(:letters AS uuid[])) AS p (key_hash, dead_letter_id)
    ORDER BY key_hash
    ON CONFLICT (consumer, key_hash) DO UPDATE SET dead_letter_id = excluded.dead_letter_id
""")

_UNPARK = sql("DELETE FROM parked_keys WHERE consumer = :consumer AND key_hash = :key_hash")


async def lock_parked(
    connection: Connection, consumer: str, keys: Collection[bytes]
) -> dict[bytes, UUID]:
    """Lock those of these keys that are parked: their hashes, and what stands in their way."""
    if not keys:
        return {}
    values = {"consumer": consumer, "keys": sorted(keys)}
    rows = await connection.fetch(_LOCK, values)
    return {bytes(row.key_hash): row.dead_letter_id for row in rows}


async def park(
    connection: Connection, consumer: str, letters: Mapping[bytes, UUID], now: datetime
) -> None:
    """Park keys behind these dead letters."""
    if letters:
        await connection.execute(
            _PARK,
            {
                "consumer": consumer,
                "keys": list(letters),
                "letters": list(letters.values()),
                "now": now,
            },
        )


async def unpark(connection: Connection, consumer: str, key: bytes) -> None:
    """Nothing of the key is left: its messages are handled as they come again."""
    await connection.execute(_UNPARK, {"consumer": consumer, "key_hash": key})
