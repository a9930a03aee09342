"""What customers saved, and by which names providers know them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.values import replace
from messaging.clock import utc_now
from messaging.database import Connection, sql
from payment_service.domain.calls import LeasedCall
from payment_service.domain.saved_methods import Payer, SavedMethod
from payment_service.store.columns import Columns, arrays, names, unnested

_COLUMNS: Columns = (
    ("saved_method_id", "uuid"),
    ("shop_id", "text"),
    ("customer_id", "text"),
    ("provider", "text"),
    ("provider_customer_id", "text"),
    ("token", "text"),
    ("brand", "text"),
    ("last4", "text"),
    ("exp_month", "int"),
    ("exp_year", "int"),
    ("consented_at", "timestamptz"),
)

# What was deleted is saved again only by a consent given since.
_SAVE = sql(f"""
    INSERT INTO saved_methods AS s ({names(_COLUMNS)})
    SELECT {names(_COLUMNS)} FROM {unnested(_COLUMNS)} AS n ({names(_COLUMNS)})
    ON CONFLICT (saved_method_id) DO UPDATE SET
        consented_at = excluded.consented_at, deleted_at = NULL, forgotten_at = NULL
    WHERE s.deleted_at < excluded.consented_at
""")  # noqa: S608 - built from the constants above


async def save_methods(connection: Connection, methods: Sequence[SavedMethod]) -> None:
    """Keep methods; one that is there already stays as it is."""
    latest = {method.key: method for method in methods}
    rows = [
        (
            one.saved_method_id,
            one.shop_id,
            one.customer_id,
            one.provider,
            one.kept.provider_customer_id,
            one.kept.token,
            one.kept.brand,
            one.kept.last4,
            one.kept.exp_month,
            one.kept.exp_year,
            one.consented_at,
        )
        for _, one in sorted(latest.items())
    ]
    if rows:
        await connection.execute(_SAVE, arrays(_COLUMNS, rows))


_ATTEMPT: Columns = (("payment_id", "uuid"), ("attempt", "int"))

# A method that is deleted while an attempt is under way stays that attempt's: the same call made
# again has the same parameters, and the provider has the last word.
_PAYERS = sql(f"""
    SELECT a.payment_id, a.attempt, p.shop_id, p.customer_id, s.token,
           coalesce(s.provider_customer_id, c.provider_customer_id) AS provider_customer_id
    FROM {unnested(_ATTEMPT)} AS n ({names(_ATTEMPT)})
    JOIN attempts a ON a.payment_id = n.payment_id AND a.attempt = n.attempt
    JOIN payments p ON p.payment_id = a.payment_id AND p.customer_id IS NOT NULL
    LEFT JOIN saved_methods s
      ON s.saved_method_id = a.saved_method_id AND s.provider = a.provider
     AND s.shop_id = p.shop_id AND s.customer_id = p.customer_id
     AND (s.deleted_at IS NULL OR s.deleted_at > a.created_at)
    LEFT JOIN provider_customers c
      ON c.shop_id = p.shop_id AND c.customer_id = p.customer_id AND c.provider = a.provider
""")  # noqa: S608 - built from the constants above


async def with_payers(connection: Connection, calls: Sequence[LeasedCall]) -> list[LeasedCall]:
    """The calls; those about what is saved or was have who pays, and the token of a saved method.

    Only the customer's own methods are found. Where there is none any more, the token stays what no
    provider knows.
    """
    about = [(call.payment_id, call.attempt) for call in calls if call.saves or call.off_session]
    if not about:
        return list(calls)
    found: Mapping[tuple[UUID, int], Any] = {
        (row.payment_id, row.attempt): row
        for row in await connection.fetch(_PAYERS, arrays(_ATTEMPT, sorted(set(about))))
    }
    return [_with_payer(call, found.get((call.payment_id, call.attempt))) for call in calls]


def _with_payer(call: LeasedCall, row: Any) -> LeasedCall:
    if row is None:
        return call
    payer = Payer(row.shop_id, row.customer_id, row.provider_customer_id)
    return replace(call, payer=payer, method_token=row.token or call.method_token)


_KEEP_CUSTOMER = sql("""
    INSERT INTO provider_customers (shop_id, customer_id, provider, provider_customer_id,
                                    created_at)
    VALUES (:shop_id, :customer_id, :provider, :provider_customer_id, :now)
    ON CONFLICT DO NOTHING
""")

_CUSTOMER = sql("""
    SELECT provider_customer_id FROM provider_customers
    WHERE shop_id = :shop_id AND customer_id = :customer_id AND provider = :provider
""")


async def keep_customer(connection: Connection, provider: str, payer: Payer, made: str) -> str:
    """Note the provider's name of a customer; gives the one that was noted first."""
    who = {"shop_id": payer.shop_id, "customer_id": payer.customer_id, "provider": provider}
    await connection.execute(
        _KEEP_CUSTOMER, {**who, "provider_customer_id": made, "now": utc_now()}
    )
    noted: str = await connection.fetch_value(_CUSTOMER, who)
    return noted


_LIST = sql("""
    SELECT saved_method_id, provider, brand, last4, exp_month, exp_year, consented_at
    FROM saved_methods
    WHERE shop_id = :shop_id AND customer_id = :customer_id AND deleted_at IS NULL
    ORDER BY consented_at DESC, saved_method_id LIMIT :most
""")


async def methods_of(
    connection: Connection, shop_id: str, customer_id: str, most: int
) -> Sequence[Any]:
    """What a customer has saved, the newest first."""
    return await connection.fetch(
        _LIST, {"shop_id": shop_id, "customer_id": customer_id, "most": most}
    )


_DELETE = sql("""
    UPDATE saved_methods SET deleted_at = :now
    WHERE saved_method_id = :saved_method_id AND shop_id = :shop_id AND customer_id = :customer_id
      AND deleted_at IS NULL
""")


async def delete(
    connection: Connection, shop_id: str, customer_id: str, saved_method_id: UUID, now: datetime
) -> bool:
    """No payment begins with this method any more; False if the customer has no such method."""
    deleted = await connection.execute(
        _DELETE,
        {
            "saved_method_id": saved_method_id,
            "shop_id": shop_id,
            "customer_id": customer_id,
            "now": now,
        },
    )
    return deleted == 1


_TO_FORGET = sql("""
    SELECT saved_method_id, provider, token FROM saved_methods
    WHERE deleted_at IS NOT NULL AND forgotten_at IS NULL
      AND provider = ANY(CAST(:providers AS text[]))
    ORDER BY deleted_at LIMIT :most
""")

_FORGOTTEN = sql("""
    UPDATE saved_methods SET forgotten_at = :now
    WHERE saved_method_id = ANY(CAST(:ids AS uuid[])) AND deleted_at IS NOT NULL
""")


async def to_forget(connection: Connection, providers: Sequence[str], most: int) -> Sequence[Any]:
    """Deleted methods that their provider still keeps, the oldest first."""
    return await connection.fetch(_TO_FORGET, {"providers": list(providers), "most": most})


async def forgotten(connection: Connection, ids: Sequence[UUID], now: datetime) -> None:
    """Their provider does not keep them any more."""
    await connection.execute(_FORGOTTEN, {"ids": sorted(ids), "now": now})
