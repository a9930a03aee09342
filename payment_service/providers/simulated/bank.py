"""The simulated provider's books in its own database.

Calls that wait at the same time share a transaction: accounts are locked and loaded in one go,
each call is decided in order, and everything new is written in one go.
"""

import asyncio
import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic import SecretStr

from messaging.clock import utc_now
from messaging.database import Connection, Database, sql
from payment_service.domain.outcomes import NAMES, Outcome, facts_of, outcome_from
from payment_service.domain.reconciliation import Standing
from payment_service.providers.port import IdempotencyConflict
from payment_service.providers.simulated.account import (
    Account,
    Answer,
    ProviderCall,
    ProviderDispute,
    ProviderPayment,
    ProviderRefund,
    RefundStatus,
    Status,
    answered,
    call_key,
    call_kind,
    fault_of,
    opens_account,
)
from payment_service.providers.simulated.methods import Call
from payment_service.store.columns import Columns, arrays, names, unnested

CALLS_AT_ONCE = 500
"""Most calls in one transaction."""

SECRET_CHARACTERS = 43


@dataclass(frozen=True, slots=True)
class Held:
    """The call has to wait before it takes effect; it is to be handed in again, as waited."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The call never arrived: no effect."""


@dataclass(frozen=True, slots=True)
class Done:
    """The call took effect, durably. Its answer comes late, or not at all when it is lost."""

    outcome: Outcome
    wait_ms: int = 0
    answer_lost: bool = False


Handled = Held | Lost | Done | IdempotencyConflict


@dataclass(frozen=True, slots=True)
class _Waiting:
    call: ProviderCall
    waited: bool
    handled: "asyncio.Future[Handled]"


class Bank:
    """The books of the simulated provider."""

    def __init__(self, database: Database, secret: SecretStr) -> None:
        self._database = database
        self._secret = secret.get_secret_value().encode()
        self._waiting: list[_Waiting] = []
        self._clerk: asyncio.Task[None] | None = None

    async def handle(self, call: ProviderCall, *, waited: bool = False) -> Handled:
        """What the call comes to; committed when this returns.

        A caller that gives up waiting does not undo it. Raises what the database raises.
        """
        handled: asyncio.Future[Handled] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(call, waited, handled))
        if self._clerk is None or self._clerk.done():
            self._clerk = asyncio.create_task(self._serve(), name="simulated-bank")
        return await handled

    async def charge_key_of_action(self, secret: str) -> str | None:
        """The payment whose required action has this secret."""
        async with self._database.reading() as connection:
            found: str | None = await connection.fetch_value(_ACTION, {"secret": secret})
            return found

    async def ledger(self, payment_id: UUID | None, after: int, most: int) -> list[dict[str, Any]]:
        """Entries of the ledger in order, those with an id above `after`."""
        async with self._database.reading() as connection:
            found = await connection.fetch(
                _LEDGER, {"payment_id": payment_id, "after": after, "most": most}
            )
            return [dict(row) for row in found]

    async def moved_since(
        self, since: datetime, after: str, most: int
    ) -> list[tuple[str, Standing]]:
        """Where the money of payments stands that moved since, by charge key, behind `after`."""
        async with self._database.reading() as connection:
            rows = await connection.fetch(_MOVED, {"since": since, "after": after, "most": most})
            return [(row.charge_key, Standing(*row[1:])) for row in rows]

    async def counts(self) -> dict[str, list[dict[str, Any]]]:
        """How many calls were made under how many keys, and how many entries of how much."""
        async with self._database.reading() as connection:
            calls = await connection.fetch(_COUNTED_CALLS)
            entries = await connection.fetch(_COUNTED_ENTRIES)
            return {
                "calls": [dict(row) for row in calls],
                "ledger": [dict(row) for row in entries],
            }

    async def close(self) -> None:
        """Finish what was handed in, then close the database."""
        if self._clerk is not None:
            await self._clerk
        await self._database.close()

    async def _serve(self) -> None:
        while self._waiting:
            batch, self._waiting = (
                self._waiting[:CALLS_AT_ONCE],
                self._waiting[CALLS_AT_ONCE:],
            )
            try:
                async with self._database.transaction() as connection:
                    handled = await self._transact(connection, batch, utc_now())
            except Exception as error:  # noqa: BLE001 - every caller gets it
                for waiting in batch:
                    if not waiting.handled.done():
                        waiting.handled.set_exception(error)
                continue
            for waiting, result in zip(batch, handled, strict=True):
                if not waiting.handled.done():
                    waiting.handled.set_result(result)

    async def _transact(
        self, connection: Connection, batch: Sequence[_Waiting], now: datetime
    ) -> list[Handled]:
        loaded = await _load(connection, [waiting.call for waiting in batch])
        accounts, counts = dict(loaded.accounts), Counter(loaded.counts)
        handled = [self._decide(waiting, accounts, counts, now) for waiting in batch]
        await _save(connection, loaded, accounts, counts, now)
        return handled

    def _decide(
        self,
        waiting: _Waiting,
        accounts: dict[str, Account],
        counts: Counter[tuple[Call, str, str]],
        now: datetime,
    ) -> Handled:
        call, charge_key = waiting.call, waiting.call.charge_key
        account = accounts.get(charge_key)
        fault = fault_of(account, call)
        if fault.before_ms and not waiting.waited:
            return Held(fault.before_ms)
        counted = (call_kind(call), call_key(call), charge_key)
        counts[counted] += 1
        nth = counts[counted]
        if nth <= fault.lost_before_effect:
            return Lost()
        try:
            after, outcome = answered(account, call, now, self._action_secret(charge_key))
        except IdempotencyConflict as conflict:
            return conflict
        if after is not None:
            accounts[charge_key] = after
        return Done(outcome, fault.after_ms, nth <= fault.lost_after_effect)

    def _action_secret(self, charge_key: str) -> str:
        """Unguessable, and the same whenever it is computed."""
        digest = hmac.new(self._secret, f"simulated-action:{charge_key}".encode(), hashlib.sha256)
        return digest.hexdigest()[:SECRET_CHARACTERS]


@dataclass(frozen=True, slots=True)
class _Loaded:
    accounts: Mapping[str, Account]
    counts: Mapping[tuple[Call, str, str], int]


_ACTION = sql("SELECT charge_key FROM payments WHERE action_secret = :secret")

_LEDGER = sql("""
    SELECT id, payment_id, attempt, charge_key, refund_key, kind, amount_minor, currency, booked_at
    FROM ledger
    WHERE id > :after AND payment_id = coalesce(CAST(:payment_id AS uuid), payment_id)
    ORDER BY id LIMIT :most
""")

_MOVED = sql("""
    WITH moved AS (
        SELECT DISTINCT charge_key FROM ledger WHERE booked_at >= :since AND charge_key > :after
        ORDER BY charge_key LIMIT :most
    )
    SELECT charge_key,
        CAST(sum(CASE kind WHEN 'authorized' THEN amount_minor WHEN 'voided' THEN -amount_minor
            WHEN 'captured' THEN -amount_minor ELSE 0 END) AS bigint),
        CAST(sum(CASE kind WHEN 'captured' THEN amount_minor ELSE 0 END) AS bigint),
        CAST(sum(CASE kind WHEN 'refund_requested' THEN amount_minor
            WHEN 'refund_failed' THEN -amount_minor WHEN 'refund_returned' THEN -amount_minor
            ELSE 0 END) AS bigint),
        CAST(sum(CASE kind WHEN 'disputed' THEN amount_minor WHEN 'dispute_won' THEN -amount_minor
            ELSE 0 END) AS bigint),
        min(currency)
    FROM ledger JOIN moved USING (charge_key) GROUP BY charge_key ORDER BY charge_key
""")

_COUNTED_CALLS = sql("""
    SELECT call, CAST(sum(calls) AS bigint) AS calls, count(*) AS keys
    FROM calls GROUP BY call ORDER BY call
""")

_COUNTED_ENTRIES = sql("""
    SELECT kind, currency, count(*) AS entries, CAST(sum(amount_minor) AS bigint) AS amount_minor
    FROM ledger GROUP BY kind, currency ORDER BY kind, currency
""")

_OPEN = sql("""
    INSERT INTO payments (charge_key, status, method_token, flow, amount_minor, captured_minor,
                          released_minor, currency)
    SELECT charge_key, 'unknown', '', 'automatic', 0, 0, 0, ''
    FROM unnest(CAST(:keys AS text[])) AS k (charge_key)
    ON CONFLICT DO NOTHING
""")

_LOCK = sql("""
    SELECT charge_key FROM payments WHERE charge_key = ANY(CAST(:keys AS text[]))
    ORDER BY charge_key FOR UPDATE
""")

_PAYMENTS = sql("SELECT * FROM payments WHERE charge_key = ANY(CAST(:keys AS text[]))")
_REFUNDS = sql("SELECT * FROM refunds WHERE charge_key = ANY(CAST(:keys AS text[]))")
_DISPUTES = sql("SELECT * FROM disputes WHERE charge_key = ANY(CAST(:keys AS text[]))")
_ANSWERS = sql("SELECT * FROM answers WHERE charge_key = ANY(CAST(:keys AS text[]))")
_CALLS = sql("SELECT * FROM calls WHERE charge_key = ANY(CAST(:keys AS text[]))")


async def _load(connection: Connection, calls: Sequence[ProviderCall]) -> _Loaded:
    keys = sorted({call.charge_key for call in calls})
    opened = sorted({call.charge_key for call in calls if opens_account(call)})
    if opened:
        await connection.execute(_OPEN, {"keys": opened})
    await connection.execute(_LOCK, {"keys": keys})
    refunds: dict[str, dict[str, ProviderRefund]] = {}
    for row in await connection.fetch(_REFUNDS, {"keys": keys}):
        refunds.setdefault(row.charge_key, {})[row.refund_key] = ProviderRefund(
            refund_key=row.refund_key,
            charge_key=row.charge_key,
            amount_minor=row.amount_minor,
            status=RefundStatus(row.status),
            code=row.code,
            due_at=row.due_at,
            is_ours=row.is_ours,
        )
    disputes: dict[str, dict[str, ProviderDispute]] = {}
    for row in await connection.fetch(_DISPUTES, {"keys": keys}):
        disputes.setdefault(row.charge_key, {})[row.dispute_key] = ProviderDispute(
            row.dispute_key, row.charge_key, row.amount_minor, row.status
        )
    answers: dict[str, dict[str, Answer]] = {}
    for row in await connection.fetch(_ANSWERS, {"keys": keys}):
        answers.setdefault(row.charge_key, {})[row.idempotency_key] = Answer(
            row.idempotency_key,
            Call(row.call),
            row.fingerprint,
            outcome_from(row.outcome, row.facts),
        )
    accounts = {
        row.charge_key: Account(
            payment=_payment(row),
            refunds=refunds.get(row.charge_key, {}),
            disputes=disputes.get(row.charge_key, {}),
            answers=answers.get(row.charge_key, {}),
        )
        for row in await connection.fetch(_PAYMENTS, {"keys": keys})
    }
    counts = {
        (Call(row.call), row.key, row.charge_key): row.calls
        for row in await connection.fetch(_CALLS, {"keys": keys})
    }
    return _Loaded(accounts, counts)


def _payment(row: Any) -> ProviderPayment:
    return ProviderPayment(
        charge_key=row.charge_key,
        status=Status(row.status),
        payment_id=row.payment_id,
        attempt=row.attempt,
        method_token=row.method_token,
        flow=row.flow,
        amount_minor=row.amount_minor,
        captured_minor=row.captured_minor,
        released_minor=row.released_minor,
        currency=row.currency,
        code=row.code,
        action_secret=row.action_secret,
        due_at=row.due_at,
    )


_PAYMENT: Columns = (
    ("charge_key", "text"),
    ("status", "text"),
    ("payment_id", "uuid"),
    ("attempt", "int"),
    ("method_token", "text"),
    ("flow", "text"),
    ("amount_minor", "bigint"),
    ("captured_minor", "bigint"),
    ("released_minor", "bigint"),
    ("currency", "text"),
    ("code", "text"),
    ("action_secret", "text"),
    ("due_at", "timestamptz"),
)

_REFUND: Columns = (
    ("refund_key", "text"),
    ("charge_key", "text"),
    ("amount_minor", "bigint"),
    ("status", "text"),
    ("code", "text"),
    ("due_at", "timestamptz"),
    ("is_ours", "boolean"),
)

_DISPUTE: Columns = (
    ("dispute_key", "text"),
    ("charge_key", "text"),
    ("amount_minor", "bigint"),
    ("status", "text"),
)

_ANSWER = ("idempotency_key", "charge_key", "call", "fingerprint", "outcome", "facts")

_CALL: Columns = (("call", "text"), ("key", "text"), ("charge_key", "text"), ("calls", "bigint"))

_ENTRY = (
    *("charge_key", "payment_id", "attempt", "kind", "amount_minor", "currency", "refund_key"),
    "booked_at",
)

_SAVE_PAYMENTS = sql(f"""
    UPDATE payments p SET
        status = n.status, payment_id = n.payment_id, attempt = n.attempt,
        method_token = n.method_token, flow = n.flow, amount_minor = n.amount_minor,
        captured_minor = n.captured_minor, released_minor = n.released_minor,
        currency = n.currency, code = n.code, action_secret = n.action_secret, due_at = n.due_at
    FROM {unnested(_PAYMENT)} AS n ({names(_PAYMENT)})
    WHERE p.charge_key = n.charge_key
""")  # noqa: S608 - built from the constants above

_SAVE_REFUNDS = sql(f"""
    INSERT INTO refunds ({names(_REFUND)}) SELECT * FROM {unnested(_REFUND)}
    ON CONFLICT (refund_key) DO UPDATE
    SET status = excluded.status, code = excluded.code, due_at = excluded.due_at
""")  # noqa: S608 - built from the constants above

_SAVE_DISPUTES = sql(f"""
    INSERT INTO disputes ({names(_DISPUTE)}) SELECT * FROM {unnested(_DISPUTE)}
    ON CONFLICT (dispute_key) DO UPDATE SET status = excluded.status
""")  # noqa: S608 - built from the constants above

_SAVE_CALLS = sql(f"""
    INSERT INTO calls ({names(_CALL)}) SELECT * FROM {unnested(_CALL)}
    ON CONFLICT (call, key) DO UPDATE SET calls = calls.calls + excluded.calls
""")  # noqa: S608 - built from the constants above


async def _save(
    connection: Connection,
    loaded: _Loaded,
    accounts: Mapping[str, Account],
    counts: Mapping[tuple[Call, str, str], int],
    now: datetime,
) -> None:
    changed = [
        (loaded.accounts[key], account)
        for key, account in sorted(accounts.items())
        if account is not loaded.accounts[key]
    ]
    payments = [
        _row_of(after.payment, _PAYMENT)
        for before, after in changed
        if after.payment != before.payment
    ]
    refunds = [
        _row_of(refund, _REFUND)
        for before, after in changed
        for key, refund in after.refunds.items()
        if refund is not before.refunds.get(key)
    ]
    disputes = [
        _row_of(dispute, _DISPUTE)
        for before, after in changed
        for key, dispute in after.disputes.items()
        if dispute is not before.disputes.get(key)
    ]
    answers = [
        (
            key,
            after.payment.charge_key,
            answer.call,
            answer.fingerprint,
            NAMES[type(answer.outcome)],
            orjson.dumps(facts_of(answer.outcome)).decode(),
        )
        for before, after in changed
        for key, answer in after.answers.items()
        if key not in before.answers
    ]
    entries = [
        (
            after.payment.charge_key,
            after.payment.payment_id,
            after.payment.attempt,
            entry.kind,
            entry.amount_minor,
            after.payment.currency,
            entry.refund_key,
            now,
        )
        for _, after in changed
        for entry in after.entries
    ]
    calls = sorted(
        (*counted, total - loaded.counts.get(counted, 0))
        for counted, total in counts.items()
        if total > loaded.counts.get(counted, 0)
    )
    for statement, columns, rows in (
        (_SAVE_PAYMENTS, _PAYMENT, payments),
        (_SAVE_REFUNDS, _REFUND, refunds),
        (_SAVE_DISPUTES, _DISPUTE, disputes),
        (_SAVE_CALLS, _CALL, calls),
    ):
        if rows:
            await connection.execute(statement, arrays(columns, rows))
    await connection.append("answers", _ANSWER, answers)
    await connection.append("ledger", _ENTRY, entries)


def _row_of(
    record: ProviderPayment | ProviderRefund | ProviderDispute, columns: Columns
) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name, _ in columns)
