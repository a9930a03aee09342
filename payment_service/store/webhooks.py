"""Webhooks that came: each once, with what became of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from messaging.database import Connection, sql
from payment_service.store import operations


class WebhookState(StrEnum):
    """What became of a webhook."""

    HEEDED = "heeded"
    """It is about an attempt of ours; what is open of it was made due."""
    WAITING = "waiting"
    """It bears our name of a payment that is not here yet; it is looked for again."""
    FOREIGN = "foreign"
    """It is about nothing of ours."""
    GIVEN_UP = "given_up"
    """It bore our name of a payment that never came."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook by what is kept of it."""

    provider: str
    event_id: str
    type: str
    provider_payment_id: str | None
    charge_key: str | None


_KEEP = sql("""
    INSERT INTO webhooks (provider, event_id, type, provider_payment_id, charge_key, state,
                          received_at, due_at)
    VALUES (:provider, :event_id, :type, :provider_payment_id, :charge_key, 'waiting', :now, :now)
    ON CONFLICT DO NOTHING
""")

_NAMED = sql("""
    SELECT charge_key FROM attempts WHERE charge_key = :charge_key
    UNION
    SELECT charge_key FROM attempts
    WHERE provider = :provider AND provider_payment_id = :provider_payment_id
""")

_BECAME = sql("""
    UPDATE webhooks SET state = :state, due_at = :due_at
    WHERE provider = :provider AND event_id = :event_id
""")

_DUE = sql("""
    SELECT provider, event_id, type, provider_payment_id, charge_key, received_at FROM webhooks
    WHERE state = 'waiting' AND due_at <= :now ORDER BY due_at LIMIT :most
    FOR UPDATE SKIP LOCKED
""")

_FORGET = sql("""
    DELETE FROM webhooks WHERE (provider, event_id) IN (
        SELECT provider, event_id FROM webhooks
        WHERE received_at < :before AND state <> 'waiting' ORDER BY received_at LIMIT :most)
""")


async def take(
    connection: Connection, webhook: Webhook, again_after: timedelta, now: datetime
) -> WebhookState | None:
    """Keep a webhook and heed it; None for one that came before."""
    kept = await connection.execute(
        _KEEP,
        {
            "provider": webhook.provider,
            "event_id": webhook.event_id,
            "type": webhook.type,
            "provider_payment_id": webhook.provider_payment_id,
            "charge_key": webhook.charge_key,
            "now": now,
        },
    )
    return await _heed(connection, webhook, now + again_after, now) if kept else None


async def take_again(
    connection: Connection,
    *,
    most: int,
    first: timedelta,
    give_up: timedelta,
    now: datetime,
) -> int:
    """Heed webhooks that wait for their payment, each after twice as long; how many there were."""
    rows = await connection.fetch(_DUE, {"now": now, "most": most})
    for row in rows:
        webhook = Webhook(
            row.provider, row.event_id, row.type, row.provider_payment_id, row.charge_key
        )
        waited = now - row.received_at
        if waited >= give_up:
            await _became(connection, webhook, WebhookState.GIVEN_UP, now)
        else:
            await _heed(connection, webhook, now + max(waited, first), now)
    return len(rows)


async def forget(connection: Connection, before: datetime, most: int) -> int:
    """Delete those that came before `before`: no provider sends them again."""
    return await connection.execute(_FORGET, {"before": before, "most": most})


async def _heed(
    connection: Connection, webhook: Webhook, again_at: datetime, now: datetime
) -> WebhookState:
    found = await connection.fetch_column(
        _NAMED,
        {
            "provider": webhook.provider,
            "provider_payment_id": webhook.provider_payment_id,
            "charge_key": webhook.charge_key,
        },
    )
    for charge_key in found:
        await operations.hint(connection, charge_key, now)
    if found:
        state = WebhookState.HEEDED
    elif webhook.charge_key is not None:
        state = WebhookState.WAITING
    else:
        state = WebhookState.FOREIGN
    await _became(connection, webhook, state, again_at)
    return state


async def _became(
    connection: Connection, webhook: Webhook, state: WebhookState, due_at: datetime
) -> None:
    await connection.execute(
        _BECAME,
        {
            "provider": webhook.provider,
            "event_id": webhook.event_id,
            "state": state.value,
            "due_at": due_at,
        },
    )
