"""Webhooks that came: each once, with what became of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal
from uuid import UUID

from contracts.messages.payment import ReviewPayment
from messaging.database import Connection, sql
from payment_service.store import operations


class WebhookState(StrEnum):
    """What became of a webhook."""

    HEEDED = "heeded"
    """It is about an attempt of ours: what is open of it was made due, what is new is reviewed."""
    WAITING = "waiting"
    """It bears our name of a payment that is not here yet; it is looked for again."""
    FOREIGN = "foreign"
    """It is about nothing of ours."""
    GIVEN_UP = "given_up"
    """It bore our name of a payment that never came."""


@dataclass(frozen=True, slots=True)
class News:
    """What a webhook can tell that we do not know.

    It is none if an attempt, or the refund of this key, already stands in one of `unless`.
    """

    about: Literal["payment", "refund", "dispute"]
    unless: tuple[str, ...] = ()
    refund_key: str | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook by what is kept of it; its news is read when it comes, and not kept.

    It is about the attempt of that name or key, or else about the payment of that id.
    """

    provider: str
    event_id: str
    type: str
    provider_payment_id: str | None
    charge_key: str | None
    news: News | None
    payment_id: UUID | None = None

    @property
    def names_ours(self) -> bool:
        """Whether it bears a name that we gave."""
        return self.charge_key is not None or self.payment_id is not None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a webhook, None if it came before, and what has to be reviewed."""

    state: WebhookState | None
    reviews: tuple[ReviewPayment, ...] = ()


_KEEP = sql("""
    INSERT INTO webhooks (provider, event_id, type, provider_payment_id, charge_key, payment_id,
                          state, received_at, due_at)
    VALUES (:provider, :event_id, :type, :provider_payment_id, :charge_key, :payment_id,
            'waiting', :now, :now)
    ON CONFLICT DO NOTHING
""")

_NAMED = sql("""
    WITH known AS (
        SELECT payment_id, attempt, charge_key, status FROM attempts WHERE charge_key = :charge_key
        UNION
        SELECT payment_id, attempt, charge_key, status FROM attempts
        WHERE provider = :provider AND provider_payment_id = :provider_payment_id
    ), named AS (
        SELECT * FROM known
        UNION ALL
        SELECT payment_id, attempt, charge_key, status FROM attempts
        WHERE provider = :provider AND payment_id = :payment_id AND NOT EXISTS (SELECT FROM known)
    )
    SELECT a.charge_key, a.payment_id, a.attempt, p.checkout_id, p.shop_id,
        CASE CAST(:about AS text)
        WHEN 'payment' THEN a.status = ANY(CAST(:unless AS text[])) OR EXISTS (
            SELECT FROM operations o
            WHERE o.payment_id = a.payment_id AND o.attempt = a.attempt
              AND o.kind NOT IN ('refund', 'review') AND o.status IN ('due', 'leased', 'reported'))
        WHEN 'refund' THEN EXISTS (
            SELECT FROM operations o JOIN refunds r ON r.refund_id = o.refund_id
            WHERE o.idempotency_key = :refund_key
              AND (o.status IN ('due', 'leased', 'reported')
                   OR r.status = ANY(CAST(:unless AS text[]))))
        WHEN 'dispute' THEN false
        ELSE true END AS is_known
    FROM named a JOIN payments p ON p.payment_id = a.payment_id
""")

_BECAME = sql("""
    UPDATE webhooks SET state = :state, due_at = :due_at
    WHERE provider = :provider AND event_id = :event_id
""")

_DUE = sql("""
    SELECT provider, event_id, type, provider_payment_id, charge_key, payment_id, received_at
    FROM webhooks WHERE state = 'waiting' AND due_at <= :now ORDER BY due_at LIMIT :most
    FOR UPDATE SKIP LOCKED
""")

_FORGET = sql("""
    DELETE FROM webhooks WHERE (provider, event_id) IN (
        SELECT provider, event_id FROM webhooks
        WHERE received_at < :before AND state <> 'waiting' ORDER BY received_at LIMIT :most)
""")


async def take(
    connection: Connection, webhook: Webhook, again_after: timedelta, now: datetime
) -> Taken:
    """Keep a webhook and heed it."""
    kept = await connection.execute(
        _KEEP,
        {
            "provider": webhook.provider,
            "event_id": webhook.event_id,
            "type": webhook.type,
            "provider_payment_id": webhook.provider_payment_id,
            "charge_key": webhook.charge_key,
            "payment_id": webhook.payment_id,
            "now": now,
        },
    )
    return await _heed(connection, webhook, now + again_after, now) if kept else Taken(None)


async def take_again(
    connection: Connection,
    *,
    most: int,
    first: timedelta,
    give_up: timedelta,
    now: datetime,
) -> list[Taken]:
    """Heed webhooks that wait for their payment, each after twice as long."""
    taken = []
    rows = await connection.fetch(_DUE, {"now": now, "most": most})
    for row in rows:
        webhook = Webhook(
            row.provider,
            row.event_id,
            row.type,
            row.provider_payment_id,
            row.charge_key,
            News("dispute"),
            row.payment_id,
        )
        waited = now - row.received_at
        if waited >= give_up:
            await _became(connection, webhook, WebhookState.GIVEN_UP, now)
            taken.append(Taken(WebhookState.GIVEN_UP))
        else:
            taken.append(await _heed(connection, webhook, now + max(waited, first), now))
    return taken


async def forget(connection: Connection, before: datetime, most: int) -> int:
    """Delete those that came before `before`: no provider sends them again."""
    return await connection.execute(_FORGET, {"before": before, "most": most})


async def _heed(
    connection: Connection, webhook: Webhook, again_at: datetime, now: datetime
) -> Taken:
    news = webhook.news
    found = await connection.fetch(
        _NAMED,
        {
            "provider": webhook.provider,
            "provider_payment_id": webhook.provider_payment_id,
            "charge_key": webhook.charge_key,
            "payment_id": webhook.payment_id,
            "about": news and news.about,
            "unless": list(news.unless) if news else [],
            "refund_key": news and news.refund_key,
        },
    )
    for row in found:
        await operations.hint(connection, row.charge_key, now)
    if found:
        state = WebhookState.HEEDED
    elif webhook.names_ours:
        state = WebhookState.WAITING
    else:
        state = WebhookState.FOREIGN
    await _became(connection, webhook, state, again_at)
    return Taken(
        state,
        tuple(
            ReviewPayment(
                shop_id=row.shop_id,
                checkout_id=row.checkout_id,
                payment_id=row.payment_id,
                attempt=row.attempt,
                reason=f"webhook {webhook.type}",
            )
            for row in found
            if not row.is_known
        ),
    )


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
