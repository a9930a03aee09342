"""Runs of the reconciliation and the differences they found; what we have of payments, in sets."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from contracts.values import asdict
from messaging.database import Connection, sql
from payment_service.domain.reconciliation import Difference, Standing
from payment_service.providers.port import Charge
from payment_service.store.columns import Columns, arrays, names, unnested


@dataclass(frozen=True, slots=True)
class Ours:
    """What we have of one attempt. `is_open`: something is under way that may move its money."""

    checkout_id: UUID
    shop_id: str
    charge: Charge
    standing: Standing
    is_open: bool

    @property
    def payment_id(self) -> UUID:
        """Its payment."""
        return self.charge.payment_id

    @property
    def attempt(self) -> int:
        """Its number."""
        return self.charge.attempt

    @property
    def charge_key(self) -> str:
        """How we and the provider name it."""
        return self.charge.charge_key


@dataclass(frozen=True, slots=True)
class Found:
    """A difference: the payment by our name of it, or else by the provider's, and both sides."""

    name: str
    kind: Difference
    ours: Ours | None
    theirs: Standing | None

    @property
    def to_review(self) -> Ours | None:
        """The payment of ours that a review may repair: of its own currency, and known here."""
        return None if self.kind is Difference.CURRENCY_DIFFERS else self.ours


@dataclass(frozen=True, slots=True)
class ReconciliationRun:
    """A run that a process has taken: of one provider, of what moved since a moment."""

    run_id: UUID
    provider: str
    since: datetime


_OURS = """
    SELECT a.payment_id, a.attempt, p.checkout_id, p.shop_id, a.charge_key, a.provider_payment_id,
        a.amount_minor, p.currency, a.method_token, a.flow, a.hosted, a.created_at,
        coalesce(held, 0) AS held, coalesce(captured, 0) AS captured,
        coalesce(given_back, 0) AS given_back, coalesce(withdrawn, 0) AS withdrawn,
        EXISTS (
            SELECT FROM operations o
            WHERE o.payment_id = a.payment_id AND o.attempt = a.attempt
              AND o.kind <> 'review' AND o.status IN ('due', 'leased', 'reported')
              AND NOT (o.kind = 'refund' AND o.answered)
        ) AS is_open
    FROM attempts a JOIN payments p USING (payment_id)
    LEFT JOIN LATERAL (
        SELECT
            CAST(sum(CASE kind WHEN 'authorized' THEN amount_minor WHEN 'voided' THEN -amount_minor
                WHEN 'captured' THEN -amount_minor ELSE 0 END) AS bigint) AS held,
            CAST(sum(CASE kind WHEN 'captured' THEN amount_minor ELSE 0 END) AS bigint)
                AS captured,
            CAST(sum(CASE kind WHEN 'refund_requested' THEN amount_minor
                WHEN 'refund_failed' THEN -amount_minor WHEN 'refund_returned' THEN -amount_minor
                ELSE 0 END) AS bigint) AS given_back,
            CAST(sum(CASE kind WHEN 'disputed' THEN amount_minor
                WHEN 'dispute_won' THEN -amount_minor ELSE 0 END) AS bigint) AS withdrawn
        FROM ledger l
        WHERE l.payment_id = a.payment_id AND l.attempt = a.attempt AND l.provider = a.provider
    ) AS booked ON true
"""

_NAMED = sql(f"""
    {_OURS}
    WHERE a.provider = :provider AND (
        a.charge_key = ANY(CAST(:charge_keys AS text[]))
        OR a.provider_payment_id = ANY(CAST(:ids AS text[])))
""")

_MOVED = sql(f"""
    {_OURS}
    WHERE a.provider = :provider AND a.charge_key > :after
      AND EXISTS (
        SELECT FROM ledger l WHERE l.payment_id = a.payment_id AND l.attempt = a.attempt
          AND l.recorded_at >= :since AND l.recorded_at < :until AND l.provider = :provider)
    ORDER BY a.charge_key LIMIT :most
""")


_DISPUTED = sql(f"""
    {_OURS}
    WHERE a.provider = :provider AND a.charge_key > :after
      AND p.disputed_minor > 0 AND withdrawn > 0
    ORDER BY a.charge_key LIMIT :most
""")


async def named(
    connection: Connection, provider: str, charge_keys: Collection[str], ids: Collection[str]
) -> list[Ours]:
    """The attempts of these charge keys, or of these names at the provider."""
    rows = await connection.fetch(
        _NAMED, {"provider": provider, "charge_keys": list(charge_keys), "ids": list(ids)}
    )
    return [_ours(row) for row in rows]


async def moved(
    connection: Connection,
    provider: str,
    since: datetime,
    until: datetime,
    after: str,
    most: int,
) -> list[Ours]:
    """Attempts that moved money in this time, in order of their keys, behind `after`."""
    rows = await connection.fetch(
        _MOVED,
        {"provider": provider, "since": since, "until": until, "after": after, "most": most},
    )
    return [_ours(row) for row in rows]


async def disputed(connection: Connection, provider: str, after: str, most: int) -> list[Ours]:
    """Attempts under a dispute that nobody here knows the end of, in order of their keys."""
    values = {"provider": provider, "after": after, "most": most}
    return [_ours(row) for row in await connection.fetch(_DISPUTED, values)]


def _ours(row: Any) -> Ours:
    return Ours(
        checkout_id=row.checkout_id,
        shop_id=row.shop_id,
        charge=Charge(
            idempotency_key=row.charge_key,
            payment_id=row.payment_id,
            attempt=row.attempt,
            amount_minor=row.amount_minor,
            currency=row.currency,
            method_token=row.method_token,
            flow=row.flow,
            began_at=row.created_at,
            provider_payment_id=row.provider_payment_id,
            hosted=row.hosted,
        ),
        standing=Standing(row.held, row.captured, row.given_back, row.withdrawn, row.currency),
        is_open=row.is_open,
    )


_ASK = sql("""
    INSERT INTO reconciliations (run_id, provider, since, requested_by, state, requested_at)
    VALUES (:run_id, :provider, :since, :requested_by, 'due', :now)
""")

_SCHEDULE = sql("""
    INSERT INTO reconciliations (run_id, provider, since, requested_by, state, requested_at)
    SELECT gen_random_uuid(), provider,
        least(coalesce(last, CAST(:now AS timestamptz)),
              CAST(:now AS timestamptz) - CAST(:interval AS interval)) - CAST(:overlap AS interval),
        'schedule', 'due', :now
    FROM unnest(CAST(:providers AS text[])) AS p (provider)
    LEFT JOIN LATERAL (
        SELECT max(started_at) AS last FROM reconciliations r
        WHERE r.provider = p.provider AND r.state = 'done'
    ) AS done ON true
    WHERE NOT EXISTS (
        SELECT FROM reconciliations r
        WHERE r.provider = p.provider AND (
            r.state IN ('due', 'running')
            OR r.requested_at > CAST(:now AS timestamptz) - CAST(:interval AS interval)))
""")

_TAKE = sql("""
    UPDATE reconciliations SET
        state = 'running', started_at = coalesce(started_at, :now), leased_until = :until,
        compared = 0, under_way = 0, foreign_payments = 0
    WHERE run_id = (
        SELECT run_id FROM reconciliations
        WHERE state = 'due' OR state = 'running' AND leased_until <= :now
        ORDER BY requested_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING run_id, provider, since
""")

_PROGRESS = sql("""
    UPDATE reconciliations SET
        compared = :compared, under_way = :under_way, foreign_payments = :foreign_payments,
        leased_until = :until
    WHERE run_id = :run_id AND state = 'running'
""")

_END = sql("""
    UPDATE reconciliations SET state = :state, error = :error, finished_at = :now,
        leased_until = NULL
    WHERE run_id = :run_id AND state = 'running'
""")


async def ask(
    connection: Connection,
    run_id: UUID,
    provider: str,
    since: datetime,
    requested_by: str,
    now: datetime,
) -> None:
    """Have a run made; a process of the service takes it."""
    await connection.execute(
        _ASK,
        {
            "run_id": run_id,
            "provider": provider,
            "since": since,
            "requested_by": requested_by,
            "now": now,
        },
    )


async def schedule(
    connection: Connection,
    providers: Collection[str],
    interval: timedelta,
    overlap: timedelta,
    now: datetime,
) -> None:
    """Ask for a run of each provider that had none for so long, from its last one on."""
    await connection.execute(
        _SCHEDULE,
        {"providers": list(providers), "interval": interval, "overlap": overlap, "now": now},
    )


async def take(connection: Connection, now: datetime, lease: timedelta) -> ReconciliationRun | None:
    """Take a run that is due, or whose process has not been heard of; it begins anew."""
    row = await connection.fetch_one(_TAKE, {"now": now, "until": now + lease})
    return None if row is None else ReconciliationRun(*row)


async def progress(
    connection: Connection,
    run_id: UUID,
    *,
    compared: int,
    under_way: int,
    foreign: int,
    until: datetime,
) -> None:
    """Note how far a run is, and that its process is alive."""
    await connection.execute(
        _PROGRESS,
        {
            "run_id": run_id,
            "compared": compared,
            "under_way": under_way,
            "foreign_payments": foreign,
            "until": until,
        },
    )


async def end(connection: Connection, run_id: UUID, error: str | None, now: datetime) -> None:
    """The run is done, or could not be."""
    state = "done" if error is None else "failed"
    await connection.execute(_END, {"run_id": run_id, "state": state, "error": error, "now": now})


_DIFFERENCE: Columns = (
    ("name", "text"),
    ("kind", "text"),
    ("payment_id", "uuid"),
    ("attempt", "int"),
    ("ours", "jsonb"),
    ("theirs", "jsonb"),
    ("state", "text"),
)

_NOTE = sql(f"""
    INSERT INTO differences (run_id, {names(_DIFFERENCE)}, noted_at)
    SELECT :run_id, {names(_DIFFERENCE)}, :now
    FROM {unnested(_DIFFERENCE)} AS n ({names(_DIFFERENCE)})
    ON CONFLICT (run_id, name) DO UPDATE SET
        kind = excluded.kind, ours = excluded.ours, theirs = excluded.theirs,
        state = excluded.state
""")  # noqa: S608 - built from the constants above

_UNDER_REVIEW = sql(f"""
    SELECT d.name, d.kind, d.theirs::text, ours.*
    FROM differences d JOIN ({_OURS}) AS ours USING (payment_id, attempt)
    WHERE d.run_id = :run_id AND d.state = 'under_review' ORDER BY d.name
""")  # noqa: S608 - built from the constants above

_REPAIRED = sql("""
    UPDATE differences SET state = 'repaired'
    WHERE run_id = :run_id AND name = ANY(CAST(:names AS text[]))
""")


async def note(connection: Connection, run_id: UUID, found: Sequence[Found], now: datetime) -> None:
    """Write differences: those that a review may repair are under review, others reported."""
    if not found:
        return
    rows = [
        (
            one.name,
            one.kind.value,
            one.ours and one.ours.payment_id,
            one.ours and one.ours.attempt,
            _json(one.ours.standing if one.ours else None),
            _json(one.theirs),
            "under_review" if one.to_review else "reported",
        )
        for one in sorted(found, key=lambda one: one.name)
    ]
    await connection.execute(_NOTE, {**arrays(_DIFFERENCE, rows), "run_id": run_id, "now": now})


async def under_review(connection: Connection, run_id: UUID) -> list[Found]:
    """The differences that a run found and nothing has repaired yet; our side as it is now."""
    return [
        Found(row.name, Difference(row.kind), _ours(row), _standing(row.theirs))
        for row in await connection.fetch(_UNDER_REVIEW, {"run_id": run_id})
    ]


async def repaired(connection: Connection, run_id: UUID, named_so: Collection[str]) -> None:
    """These differences are no more."""
    if named_so:
        await connection.execute(_REPAIRED, {"run_id": run_id, "names": sorted(named_so)})


def _json(standing: Standing | None) -> str | None:
    return None if standing is None else orjson.dumps(asdict(standing)).decode()


def _standing(json: str | None) -> Standing | None:
    return None if json is None else Standing(**orjson.loads(json))


_RUNS = sql("""
    SELECT r.*, (SELECT count(*) FROM differences d WHERE d.run_id = r.run_id) AS differences
    FROM reconciliations r
    WHERE CAST(:run_id AS uuid) IS NULL OR r.run_id = :run_id
    ORDER BY requested_at DESC, run_id LIMIT :most
""")

_DIFFERENCES = sql("""
    SELECT * FROM differences WHERE run_id = :run_id ORDER BY name LIMIT :most
""")

_FORGET = sql("""
    WITH old AS (
        SELECT run_id FROM reconciliations WHERE finished_at < :before ORDER BY finished_at LIMIT 50
    ), gone AS (
        DELETE FROM differences WHERE run_id IN (SELECT run_id FROM old)
    )
    DELETE FROM reconciliations WHERE run_id IN (SELECT run_id FROM old)
""")


async def runs(
    connection: Connection, most: int, run_id: UUID | None = None
) -> Sequence[Mapping[str, Any]]:
    """Runs, the newest first, or one of them."""
    return [dict(row) for row in await connection.fetch(_RUNS, {"run_id": run_id, "most": most})]


async def differences(
    connection: Connection, run_id: UUID, most: int
) -> Sequence[Mapping[str, Any]]:
    """What a run found, by name."""
    rows = await connection.fetch(_DIFFERENCES, {"run_id": run_id, "most": most})
    return [dict(row) for row in rows]


async def forget(connection: Connection, before: datetime) -> int:
    """Delete runs that ended before then, with what they found; how many."""
    return await connection.execute(_FORGET, {"before": before})
