"""A shopper's carts: opening one, and finding those there are."""

from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

from cart_service.domain.carts import (
    Cart,
    CustomerOwner,
    GuestOwner,
    Owner,
)
from cart_service.store.carts import (
    CART_COLUMNS,
    SELECTED,
    arrays,
    cart_of,
    columns_of,
    names,
    values_of,
)
from messaging.database import Connection, sql

_OPEN_CART = sql(f"""
    INSERT INTO carts ({names(CART_COLUMNS)}) SELECT * FROM unnest({arrays(CART_COLUMNS)})
    ON CONFLICT (shop_id, customer_id, currency)
        WHERE status = 'active' AND customer_id IS NOT NULL
    DO NOTHING
""")  # noqa: S608 - built from the constants above


async def open_cart(connection: Connection, cart: Cart) -> bool:
    """Insert a new cart; False if its customer has an active one in this currency already."""
    return await connection.execute(_OPEN_CART, columns_of(CART_COLUMNS, [values_of(cart)])) > 0


_LIST = f"""
    SELECT {SELECTED} FROM carts c
    WHERE {{whose}}
      AND (c.created_at, c.cart_id) < (
          coalesce(CAST(:before_time AS timestamptz), 'infinity'),
          coalesce(CAST(:before_id AS uuid), 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    ORDER BY c.created_at DESC, c.cart_id DESC LIMIT :most
"""  # noqa: S608 - built from the constant above
_LIST_OF_CUSTOMER = sql(_LIST.format(whose="c.shop_id = :shop_id AND c.customer_id = :customer_id"))
_LIST_OF_GUEST = sql(_LIST.format(whose="c.guest_token_hash = :token_hash"))


async def list_carts(
    connection: Connection,
    owner: Owner,
    shop_id: str,
    *,
    before: tuple[datetime, UUID] | None,
    most: int,
) -> list[Cart]:
    """The owner's carts, the newest first, from those older than `before`."""
    page: dict[str, Any] = {
        "before_time": before and before[0],
        "before_id": before and before[1],
        "most": most,
    }
    match owner:
        case CustomerOwner(customer_id):
            whose = {"shop_id": shop_id, "customer_id": customer_id}
            result = await connection.fetch(_LIST_OF_CUSTOMER, page | whose)
        case GuestOwner(token_hash):
            result = await connection.fetch(_LIST_OF_GUEST, page | {"token_hash": token_hash})
        case _:
            assert_never(owner)
    return [cart_of(row) for row in result]


_FIND_ACTIVE_OF = sql("""
    SELECT cart_id FROM carts
    WHERE shop_id = :shop_id AND customer_id = :customer_id AND currency = :currency
      AND status = 'active'
""")


async def active_cart_of(
    connection: Connection, shop_id: str, customer_id: str, currency: str
) -> UUID | None:
    """The customer's active cart in this currency."""
    found: UUID | None = await connection.fetch_value(
        _FIND_ACTIVE_OF, {"shop_id": shop_id, "customer_id": customer_id, "currency": currency}
    )
    return found


_KNOWS_TOKEN = sql("SELECT EXISTS (SELECT 1 FROM carts WHERE guest_token_hash = :token_hash)")


async def knows_token(connection: Connection, token_hash: str) -> bool:
    """Whether a guest's cart was ever opened under this token."""
    return bool(await connection.fetch_value(_KNOWS_TOKEN, {"token_hash": token_hash}))
