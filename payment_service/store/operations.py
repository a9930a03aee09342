"""Operations as the worker sees them: claimed under a lease, recorded under its token.

A lease is fenced by its token: what a worker records after another took the operation over is
dropped. Every statement serves many operations at once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson

from contracts.messages.payment import ProviderReported
from messaging.database import Connection, sql
from payment_service.domain.calls import LeasedCall
from payment_service.domain.outcomes import NAMES, Declined, Outcome, facts_of, outcome_from
from payment_service.domain.payment import NextCall, OperationKind
from payment_service.domain.saved_methods import KeptMethod, facts_of_kept
from payment_service.store.columns import Columns, arrays, names, unnested
from payment_service.store.lines import lines_from
from payment_service.store.saved_methods import with_payers

# A lease turns the next call into a question: from here on the call may have been made. What was
# reported before a call says nothing about what it did, and is forgotten.
_CLAIM = sql("""
    WITH taken AS (
        SELECT due.operation_id, due.next_call
        FROM unnest(CAST(:providers AS text[]), CAST(:rooms AS int[])) AS r (provider, room)
        CROSS JOIN LATERAL (
            SELECT operation_id, next_call FROM operations
            WHERE provider = r.provider AND status IN ('due', 'leased') AND claimable_at <= :now
            ORDER BY claimable_at LIMIT r.room
            FOR UPDATE SKIP LOCKED
        ) AS due
    )
    UPDATE operations o SET
        status = 'leased', lease_token = :token, lease_instance = :instance,
        claimable_at = :lease_ends_at, next_call = 'ask', hinted = false, updated_at = :now,
        outcome = CASE WHEN t.next_call = 'make' THEN NULL ELSE o.outcome END,
        facts = CASE WHEN t.next_call = 'make' THEN NULL ELSE o.facts END,
        makes = o.makes + CASE WHEN t.next_call = 'make' THEN 1 ELSE 0 END,
        asks = o.asks + CASE WHEN t.next_call = 'ask' THEN 1 ELSE 0 END
    FROM taken t, attempts a, payments p
    WHERE o.operation_id = t.operation_id AND p.payment_id = o.payment_id
      AND a.payment_id = o.payment_id AND a.attempt = o.attempt
    RETURNING o.operation_id, o.lease_token, o.payment_id, p.checkout_id, p.shop_id, o.attempt,
              o.kind, t.next_call, o.provider, o.idempotency_key, a.charge_key, o.amount_minor,
              o.created_at AS began_at, a.amount_minor AS charge_minor,
              a.created_at AS charge_began_at, p.currency, a.method_token, a.flow,
              a.provider_payment_id, o.asks, o.reports, o.outcome, o.facts,
              a.hosted, a.window_closes_at, p.order_number, a.lines,
              a.save AND p.customer_id IS NOT NULL AS saves,
              a.saved_method_id IS NOT NULL AS off_session
""")


async def claim(
    connection: Connection,
    *,
    instance: str,
    rooms: Mapping[str, int],
    lease: timedelta,
    now: datetime,
) -> list[LeasedCall]:
    """Lease operations that are due, or whose lease has run out; of each provider at most so many.

    Nothing of other providers than those of `rooms` is taken.
    """
    claimed = await connection.fetch(
        _CLAIM,
        {
            "now": now,
            "providers": list(rooms),
            "rooms": list(rooms.values()),
            "token": uuid4(),
            "instance": instance,
            "lease_ends_at": now + lease,
        },
    )
    return await with_payers(connection, [_leased(row) for row in claimed])


def _leased(row: Any) -> LeasedCall:
    return LeasedCall(
        operation_id=row.operation_id,
        lease_token=row.lease_token,
        payment_id=row.payment_id,
        checkout_id=row.checkout_id,
        shop_id=row.shop_id,
        attempt=row.attempt,
        kind=OperationKind(row.kind),
        call=NextCall(row.next_call),
        provider=row.provider,
        idempotency_key=row.idempotency_key,
        charge_key=row.charge_key,
        amount_minor=row.amount_minor,
        began_at=row.began_at,
        charge_minor=row.charge_minor,
        charge_began_at=row.charge_began_at,
        currency=row.currency,
        method_token=row.method_token,
        flow=row.flow,
        provider_payment_id=row.provider_payment_id,
        asks=row.asks,
        reports=row.reports,
        last=None if row.outcome is None else outcome_from(row.outcome, row.facts),
        hosted=row.hosted,
        window_closes_at=row.window_closes_at,
        order_number=row.order_number,
        lines=lines_from(row.lines),
        saves=row.saves,
        off_session=row.off_session,
    )


# Decisions write whole attempts under the payment's lock; so is this.
_NAME = sql("""
    WITH locked AS (
        SELECT payment_id FROM payments WHERE payment_id = :payment_id FOR UPDATE
    )
    UPDATE attempts a SET provider_payment_id = :provider_payment_id, updated_at = :now
    FROM locked, operations o
    WHERE a.payment_id = locked.payment_id AND a.attempt = :attempt
      AND o.operation_id = :operation_id AND o.lease_token = :lease_token AND o.status = 'leased'
""")


async def name(
    connection: Connection, call: LeasedCall, provider_payment_id: str, now: datetime
) -> bool:
    """Note the provider's name of the payment of a leased call; whether the lease still holds."""
    noted = await connection.execute(
        _NAME,
        {
            "payment_id": call.payment_id,
            "attempt": call.attempt,
            "operation_id": call.operation_id,
            "lease_token": call.lease_token,
            "provider_payment_id": provider_payment_id,
            "now": now,
        },
    )
    return noted == 1


_TAKE_BACK = sql("""
    UPDATE operations SET
        status = 'due', lease_token = NULL, lease_instance = NULL, claimable_at = :now,
        updated_at = :now
    WHERE operation_id IN (
        SELECT operation_id FROM operations
        WHERE status = 'leased' AND lease_instance = :instance
        ORDER BY operation_id FOR UPDATE)
""")


async def take_back(connection: Connection, *, instance: str, now: datetime) -> int:
    """End the leases that an earlier life of this instance left; each is asked about next."""
    return await connection.execute(_TAKE_BACK, {"instance": instance, "now": now})


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a leased call. `ask_after` is when to ask again where it is no news.

    `is_taken` says whether the provider has looked at it. What it has not is to be made, or asked,
    as it was before.
    `kept` is the method that the provider keeps since, where the customer agreed to that.
    """

    call: LeasedCall
    outcome: Outcome
    ask_after: timedelta
    is_taken: bool = True
    kept: KeptMethod | None = None

    @property
    def is_news(self) -> bool:
        """Whether it is to be reported."""
        return self.is_taken and self.call.is_news(self.outcome)


_RESULT: Columns = (
    ("operation_id", "uuid"),
    ("lease_token", "uuid"),
    ("news", "boolean"),
    ("answers", "boolean"),
    ("next_call", "text"),
    ("outcome", "text"),
    ("facts", "jsonb"),
    ("ask_at", "timestamptz"),
    ("resend_at", "timestamptz"),
)

_LOCK_LEASED = sql("""
    SELECT o.operation_id FROM operations o
    JOIN unnest(CAST(:operation_id AS uuid[]), CAST(:lease_token AS uuid[]))
         AS n (operation_id, lease_token)
      ON o.operation_id = n.operation_id AND o.lease_token = n.lease_token
    WHERE o.status = 'leased'
    ORDER BY o.operation_id FOR UPDATE OF o
""")

# What somebody waits for is reported like news; after a hint it is asked again at once.
_RECORD = sql(f"""
    UPDATE operations o SET
        status = CASE WHEN n.news OR o.waited_for THEN 'reported' ELSE 'due' END,
        outcome = CASE WHEN n.news OR o.waited_for THEN n.outcome ELSE o.outcome END,
        facts = CASE WHEN n.news OR o.waited_for THEN n.facts ELSE o.facts END,
        reports = o.reports + CASE WHEN n.news OR o.waited_for THEN 1 ELSE 0 END,
        reported_at = CASE WHEN n.news OR o.waited_for THEN :now ELSE o.reported_at END,
        answered = o.answered OR n.answers, next_call = n.next_call,
        claimable_at = CASE WHEN n.news OR o.waited_for THEN n.resend_at
                            WHEN o.hinted THEN :now ELSE n.ask_at END,
        lease_token = NULL, lease_instance = NULL, updated_at = :now
    FROM {unnested(_RESULT)} AS n ({names(_RESULT)})
    WHERE o.operation_id = n.operation_id AND o.lease_token = n.lease_token AND o.status = 'leased'
    RETURNING o.operation_id, o.reports, o.status
""")  # noqa: S608 - built from the constants above


async def record(
    connection: Connection,
    results: Sequence[Result],
    *,
    resend_after: timedelta,
    now: datetime,
) -> list[ProviderReported]:
    """Record results under their leases; returns what is to be reported, in the order given.

    A result whose lease was taken over is dropped: whoever took it asks the provider himself.
    """
    ordered = sorted(results, key=lambda result: result.call.operation_id)
    rows = [
        (
            result.call.operation_id,
            result.call.lease_token,
            result.is_news,
            result.call.answers(result.outcome),
            NextCall.ASK if result.is_taken else result.call.call,
            NAMES[type(result.outcome)],
            orjson.dumps(facts_of(result.outcome) | facts_of_kept(result.kept)).decode(),
            now + result.ask_after,
            now + resend_after,
        )
        for result in ordered
    ]
    columns = arrays(_RESULT, rows)
    leases = {name: columns[name] for name in ("operation_id", "lease_token")}
    await connection.execute(_LOCK_LEASED, leases)
    recorded = {
        row.operation_id: row for row in await connection.fetch(_RECORD, {**columns, "now": now})
    }
    return [
        result.call.report(
            result.outcome, recorded[result.call.operation_id].reports, now, result.kept
        )
        for result in results
        if result.call.operation_id in recorded
        and recorded[result.call.operation_id].status == "reported"
    ]


# A lease counts the call that it is for, in the same row: what has not been counted nobody has
# called, and what is reported nobody leases.
_WITHDRAW = sql("""
    WITH waiting AS (
        SELECT o.operation_id FROM operations o
        JOIN attempts a ON a.payment_id = o.payment_id AND a.attempt = o.attempt
        WHERE o.provider = ANY(CAST(:providers AS text[])) AND o.status = 'due'
          AND o.claimable_at <= :due_since AND o.kind = 'charge' AND o.makes = 0
          AND a.provider_payment_id IS NULL
        ORDER BY o.claimable_at LIMIT :most
        FOR UPDATE OF o SKIP LOCKED
    )
    UPDATE operations o SET
        status = 'reported', outcome = :outcome, facts = CAST(:facts AS jsonb),
        reports = o.reports + 1, reported_at = :now, claimable_at = :resend_at, updated_at = :now
    FROM waiting w, payments p
    WHERE o.operation_id = w.operation_id AND p.payment_id = o.payment_id
    RETURNING o.operation_id, o.payment_id, p.checkout_id, p.shop_id, o.attempt, o.reports,
              o.outcome, o.facts, o.reported_at
""")


async def withdraw(
    connection: Connection,
    *,
    providers: Collection[str],
    due_since: datetime,
    answer: Declined,
    most: int,
    resend_after: timedelta,
    now: datetime,
) -> list[ProviderReported]:
    """Report `answer` of charges of these providers that nobody has called, and due for so long.

    From here on nobody calls them either. What may have been called is left alone.
    """
    found = await connection.fetch(
        _WITHDRAW,
        {
            "providers": list(providers),
            "due_since": due_since,
            "outcome": NAMES[type(answer)],
            "facts": orjson.dumps(facts_of(answer)).decode(),
            "most": most,
            "resend_at": now + resend_after,
            "now": now,
        },
    )
    return [_report(row) for row in found]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is due of a provider and not leased, the first of it since then."""

    operations: int
    since: datetime


_WAITING = sql("""
    SELECT provider, count(*) AS operations, min(claimable_at) AS since FROM operations
    WHERE status = 'due' AND claimable_at <= :now GROUP BY provider
""")


async def waiting(connection: Connection, now: datetime) -> dict[str, Waiting]:
    """What waits for each provider; those for which nothing waits are left out."""
    found = await connection.fetch(_WAITING, {"now": now})
    return {row.provider: Waiting(row.operations, row.since) for row in found}


_GIVE_UP = sql("""
    UPDATE operations o SET
        status = 'due', lease_token = NULL, lease_instance = NULL, claimable_at = :now,
        updated_at = :now
    FROM unnest(CAST(:operation_id AS uuid[]), CAST(:lease_token AS uuid[]))
         AS n (operation_id, lease_token)
    WHERE o.operation_id = n.operation_id AND o.lease_token = n.lease_token AND o.status = 'leased'
""")


async def give_up(connection: Connection, calls: Collection[LeasedCall], now: datetime) -> None:
    """End leases without a result; whoever takes the operations next asks what became of them."""
    if calls:
        leases = [(call.operation_id, call.lease_token) for call in calls]
        await connection.execute(
            _GIVE_UP,
            {
                "operation_id": [operation_id for operation_id, _ in leases],
                "lease_token": [token for _, token in leases],
                "now": now,
            },
        )


_HINT = sql("""
    UPDATE operations o SET
        hinted = true, updated_at = :now,
        claimable_at = CASE WHEN o.status = 'due' AND o.next_call = 'ask'
                            THEN least(o.claimable_at, :now) ELSE o.claimable_at END
    WHERE o.operation_id IN (
        SELECT open.operation_id FROM operations open
        JOIN attempts a ON a.payment_id = open.payment_id AND a.attempt = open.attempt
        WHERE a.charge_key = :charge_key AND open.status IN ('due', 'leased', 'reported')
        ORDER BY open.operation_id FOR UPDATE OF open)
""")


async def hint(connection: Connection, charge_key: str, now: datetime) -> int:
    """There is news about this payment at its provider: ask at once, or right after what runs."""
    return await connection.execute(_HINT, {"charge_key": charge_key, "now": now})


_OVERDUE = sql("""
    WITH overdue AS (
        SELECT operation_id FROM operations
        WHERE status = 'reported' AND claimable_at <= :now
        ORDER BY claimable_at LIMIT :most
        FOR UPDATE SKIP LOCKED
    )
    UPDATE operations o SET
        claimable_at = CAST(:now AS timestamptz) + least(
            greatest(CAST(:now AS timestamptz) - o.reported_at, CAST(:first AS interval)),
            CAST(:longest AS interval)),
        updated_at = :now
    FROM overdue, payments p
    WHERE o.operation_id = overdue.operation_id AND p.payment_id = o.payment_id
    RETURNING o.operation_id, o.payment_id, p.checkout_id, p.shop_id, o.attempt, o.reports,
              o.outcome, o.facts, o.reported_at
""")


async def overdue_reports(
    connection: Connection,
    *,
    most: int,
    first: timedelta,
    longest: timedelta,
    now: datetime,
) -> list[ProviderReported]:
    """Reports that nobody decided upon in time, to be sent again; each waits longer than before."""
    found = await connection.fetch(
        _OVERDUE, {"now": now, "most": most, "first": first, "longest": longest}
    )
    return [_report(row) for row in found]


def _report(row: Any) -> ProviderReported:
    return ProviderReported(
        shop_id=row.shop_id,
        checkout_id=row.checkout_id,
        payment_id=row.payment_id,
        attempt=row.attempt,
        operation_id=row.operation_id,
        report=row.reports,
        outcome=row.outcome,
        facts=row.facts,
        reported_at=row.reported_at,
    )
