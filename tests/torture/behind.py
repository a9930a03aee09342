"""What a story does behind the services' backs: time that passes, and a hand in a database.

Time passes for one row alone and at once, so that nothing else of a story races with it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from pydantic import SecretStr

from messaging.database import Database
from order_service.checkout.facts import payment_id_of
from payment_service.providers.simulated.account import DisputeStatus
from payment_service.providers.simulated.bank import Bank
from payment_service.providers.simulated.provider import SimulatedProvider
from tests.torture.city import City
from tests.torture.injection import OBSERVER
from trolley.services import databases

PROVIDER = "simulated_provider"

_ATTEMPT_IS_OVERDUE = """
    UPDATE checkouts SET deadline_at = now(), facts = jsonb_set(facts::jsonb, '{waits}', (
        SELECT jsonb_agg(CASE WHEN wait->>'step' = 'charge'
            THEN wait || jsonb_build_object('due_at', now()) ELSE wait END)
        FROM jsonb_array_elements(facts::jsonb->'waits') AS wait))::json
    WHERE checkout_id = $1
"""
_HOLD_LAPSES = _ATTEMPT_IS_OVERDUE.replace("'charge'", "'capture'")
_WINDOW_ENDS = """
    WITH ended AS (
        UPDATE checkouts SET deadline_at = now(),
            facts = jsonb_set(facts::jsonb, '{order,window_closes_at}', to_jsonb(now()))::json
        WHERE checkout_id = $1 RETURNING checkout_id
    )
    UPDATE orders SET window_closes_at = now() FROM ended
    WHERE orders.checkout_id = ended.checkout_id
"""
_RESERVATION_IS_DUE = """
    UPDATE reservations SET next_question_at = now() WHERE owner_id = $1 AND status = 'held'
"""
_PAYMENT_IS_DUE = "UPDATE payments SET due_at = now() WHERE payment_id = $1 AND due_at IS NOT NULL"
_REFUND_IS_DUE = """
    UPDATE refunds SET due_at = now() FROM payments
    WHERE payments.charge_key = refunds.charge_key AND payment_id = $1
"""
_PAID = "SELECT charge_key FROM payments WHERE payment_id = $1 AND captured_minor > 0"
_RESERVATION_IS_LOST = """
    WITH lost AS (
        UPDATE reservations SET status = 'released', next_question_at = NULL, reason = 'lost'
        WHERE owner_id = $1 AND status = 'held' RETURNING shop_id, owner_id, round
    ), freed AS (
        UPDATE stock_levels l SET reserved = l.reserved - r.quantity
        FROM reservation_lines r JOIN lost USING (shop_id, owner_id, round)
        WHERE (l.shop_id, l.sku, l.warehouse) = (r.shop_id, r.sku, r.warehouse)
        RETURNING l.shop_id, l.sku
    )
    UPDATE stock_items i SET availability_version = availability_version + 1
    FROM freed WHERE (i.shop_id, i.sku) = (freed.shop_id, freed.sku)
"""

_REFUSE = """
    ALTER TABLE {table} DROP CONSTRAINT IF EXISTS torture,
        ADD CONSTRAINT torture CHECK ({rule}) NOT VALID
"""
_TAKE_AGAIN = "ALTER TABLE {table} DROP CONSTRAINT torture"


async def attempt_is_overdue(town: City, checkout_id: str) -> None:
    """The provider has not settled the live attempt in time."""
    await town.query("order", _ATTEMPT_IS_OVERDUE, checkout_id)


async def hold_lapses(town: City, checkout_id: str) -> None:
    """The provider gives the money back before long that is set aside until the shipment."""
    await town.query("order", _HOLD_LAPSES, checkout_id)


async def window_ends(town: City, checkout_id: str) -> None:
    """The shopper has had their time to pay."""
    await town.query("order", _WINDOW_ENDS, checkout_id)


async def reservation_is_due(town: City, checkout_id: str) -> None:
    """Inventory may ask whether what it holds is still wanted."""
    await town.query("inventory", _RESERVATION_IS_DUE, checkout_id)


async def payment_is_due(town: City, checkout_id: str) -> None:
    """What the provider has under way comes to its end there."""
    await town.query(PROVIDER, _PAYMENT_IS_DUE, payment_id_of(UUID(checkout_id)))


async def refund_is_due(town: City, checkout_id: str) -> None:
    """A refund that is pending at the provider comes to its end there."""
    await town.query(PROVIDER, _REFUND_IS_DUE, payment_id_of(UUID(checkout_id)))


async def reservation_is_lost(town: City, checkout_id: str) -> None:
    """Somebody gives the pieces of a reservation free, in the database."""
    await town.query("inventory", _RESERVATION_IS_LOST, checkout_id)


async def reservation_is_refused(town: City, sku: str) -> None:
    """A migration went wrong: inventory's database takes no reservation of this SKU."""
    await town.query("inventory", _REFUSE.format(table="reservation_lines", rule=f"sku <> '{sku}'"))


async def reservation_is_taken_again(town: City) -> None:
    """That migration is mended."""
    await town.query("inventory", _TAKE_AGAIN.format(table="reservation_lines"))


async def payment_is_refused(town: City, checkout_id: str) -> None:
    """A migration went wrong: the saga's database does not take it that this checkout is paid."""
    rule = f"checkout_id <> '{checkout_id}' OR state <> 'committing'"
    await town.query("order", _REFUSE.format(table="checkouts", rule=rule))


async def payment_is_taken_again(town: City) -> None:
    """That migration is mended."""
    await town.query("order", _TAKE_AGAIN.format(table="checkouts"))


async def clerk_refunds(town: City, checkout_id: str, amount_minor: int) -> None:
    """Somebody at the provider gives money back, without being asked."""
    charge_key = await _charge_key(town, checkout_id)
    async with _provider(town) as provider:
        await provider.clerk_refunded(charge_key, f"{charge_key}:clerk", amount_minor)


async def bank_disputes(
    town: City, checkout_id: str, amount_minor: int, status: DisputeStatus
) -> None:
    """The shopper's bank withdraws money, or decides about it."""
    charge_key = await _charge_key(town, checkout_id)
    async with _provider(town) as provider:
        await provider.bank_disputed(charge_key, f"{charge_key}:dispute", amount_minor, status)


async def _charge_key(town: City, checkout_id: str) -> str:
    (paid,) = await town.query(PROVIDER, _PAID, payment_id_of(UUID(checkout_id)))
    return str(paid["charge_key"])


@asynccontextmanager
async def _provider(town: City) -> AsyncIterator[SimulatedProvider]:
    """The provider's own window, open to its clerks and to banks."""
    url = next(town.environment[one.setting] for one in databases() if one.name == PROVIDER)
    observer = OBSERVER["application_name"]
    database = Database(url, pool_connections=1, application_name=observer)
    provider = SimulatedProvider(Bank(database, SecretStr("no shopper acts here")), "")
    try:
        yield provider
    finally:
        await provider.close_connections()
