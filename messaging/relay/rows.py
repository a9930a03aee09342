"""Rows of the outbox: read by lane, made into records, deleted by the exact ids read."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import structlog

from contracts.envelope import Envelope
from contracts.messages.relay import RelayPosition
from contracts.topics import Lane
from messaging import metrics
from messaging.records import unpack_headers
from messaging.settings import RelaySettings

log = structlog.get_logger()

LARGEST_BATCH_BYTES = 1024 * 1024
"""One producer batch; a single larger record still goes, alone."""

LARGEST_REQUEST_BYTES = 16 * 1024 * 1024

Place = tuple[str, int]
"""A topic's declared name and a partition of it."""

_READ = """
    SELECT * FROM (
        SELECT o.*, sum(coalesce(octet_length(o.payload), 0)) OVER (ORDER BY o.id) AS running
        FROM (
            SELECT * FROM outbox o
            WHERE lane = $1 AND flagged_at IS NULL
              AND NOT EXISTS (SELECT 1 FROM outbox f WHERE f.flagged_at IS NOT NULL
                              AND f.topic = o.topic AND f.key = o.key)
              AND NOT EXISTS (SELECT 1 FROM unnest($4::text[], $5::int[]) AS r (topic, partition)
                              WHERE r.topic = o.topic AND r.partition = o.partition)
            ORDER BY id LIMIT $2
        ) o
    ) o
    WHERE running - coalesce(octet_length(payload), 0) <= $3
    ORDER BY id
"""

_IN_ORDER = "SET enable_sort = off; SET enable_bitmapscan = off; SET enable_seqscan = off"

_DELETE = "DELETE FROM outbox WHERE lane = $1 AND id = ANY($2::bigint[])"
_DELETE_PUBLISHED = """
    DELETE FROM outbox o USING unnest($2::bigint[], $3::uuid[]) AS p (id, message_id)
    WHERE o.lane = $1 AND o.id = p.id AND o.message_id = p.message_id
"""
_ARE_THERE = """
    SELECT EXISTS (SELECT FROM outbox WHERE lane = $1 AND message_id = ANY($2::uuid[]))
"""
_FLAG = "UPDATE outbox SET flagged_at = now(), flag_reason = $3 WHERE lane = $1 AND id = $2"


async def read_by_key(connection: Any) -> None:
    """Have this session read the outbox by its key.

    Behind a burst stand thousands of rows that are deleted and not vacuumed yet. A scan of the key
    marks what it finds dead, and the next one passes it by; a bitmap visits them all each time.
    """
    await connection.execute(_IN_ORDER)


async def read(
    connection: Any,
    lane: Lane,
    settings: RelaySettings,
    *,
    left_out: Sequence[Place],
    most: int | None = None,
) -> Sequence[Any]:
    """The oldest rows of a lane, but for those of partitions left out and of flagged keys."""
    rows: Sequence[Any] = await connection.fetch(
        _READ,
        lane,
        settings.batch_rows if most is None else most,
        settings.batch_bytes,
        [topic for topic, _ in left_out],
        [partition for _, partition in left_out],
    )
    return rows


async def delete(connection: Any, lane: Lane, ids: Sequence[int], service: str) -> None:
    """Take out rows that are known to be on Kafka."""
    await connection.execute(_DELETE, lane, ids)
    metrics.PUBLISHED.labels(service).inc(len(ids))


async def delete_published(connection: Any, lane: Lane, position: RelayPosition) -> None:
    """Take out the rows that a position names, as far as they are still there."""
    await connection.execute(_DELETE_PUBLISHED, lane, position.outbox_ids, position.message_ids)


async def are_there(connection: Any, lane: Lane, message_ids: Sequence[UUID]) -> bool:
    """Whether any of these messages is not known to be on Kafka yet."""
    found: bool = await connection.fetchval(_ARE_THERE, lane, message_ids)
    return found


async def flag(
    connection: Any, lane: Lane, row_id: int, error: BaseException | None, service: str
) -> None:
    """Take a row that can never be sent out of the way, with its key, visibly."""
    await connection.execute(_FLAG, lane, row_id, f"{type(error).__name__}: {error}"[:500])
    metrics.FLAGGED.labels(service).inc()
    log.error("outbox row flagged: it can never be sent", outbox_id=row_id)


def by_place(rows: Iterable[Any]) -> dict[Place, list[Any]]:
    """Rows by the partition they go to, each in order."""
    places: dict[Place, list[Any]] = {}
    for row in rows:
        places.setdefault((row["topic"], row["partition"]), []).append(row)
    return places


def types_of(rows: Iterable[Any]) -> Iterator[str]:
    """The types of these messages; of a record that is passed on as it came, its topic."""
    return (row["type"] or row["topic"] for row in rows)


def batch_of(producer: Any, rows: Sequence[Any], begin: int, most: int) -> tuple[Any, int]:
    """A producer batch of the rows from `begin` on, and where it ends: as many as fit."""
    batch, end = producer.create_batch(), begin
    while end < len(rows) and end - begin < most and _append(batch, rows[end]):
        end += 1
    batch.close()
    return batch, end


def _append(batch: Any, row: Any) -> bool:
    added = batch.append(
        timestamp=int(row["time"].timestamp() * 1000),
        key=row["key"],
        value=row["payload"],
        headers=_headers(row),
    )
    return added is not None


def _headers(row: Any) -> list[tuple[str, bytes]]:
    if row["raw_headers"] is not None:
        # A null header value cannot be written by this client; it stands as empty on the topic
        # and as null in the table.
        return [(name, value or b"") for name, value in unpack_headers(row["raw_headers"])]
    return Envelope(
        id=row["message_id"],
        type=row["type"],
        source=row["source"],
        time=row["time"],
        subject=row["subject"],
        shop_id=row["shop_id"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        traceparent=row["traceparent"],
        step=row["step"],
        round=row["round"],
        event_seq=row["event_seq"],
    ).headers()
