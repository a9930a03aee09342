"""Orders: what they say against stock, money, and what was published of them."""

from datetime import datetime
from typing import NamedTuple

from trolley.audit.invariant import Read, Source, between, within
from trolley.audit.invariants.checkouts import CHECKOUTS, Checkout
from trolley.audit.subjects import CHECKOUT


class Order(NamedTuple):
    """An order and its checkout, beside what its lines add up to.

    `wrong_lines` counts those whose net or gross does not follow from price, quantity, discounts
    and taxes. `state` is None where the checkout does not name this order.
    """

    key: str
    since: datetime | None
    state: str | None
    final: bool | None
    payment_status: str
    fulfilment_status: str
    total_minor: int
    checkout_total_minor: int | None
    lines_minor: int | None
    wrong_lines: int | None


ORDERS = Read(
    Source.ORDER,
    Order,
    """
    WITH lines AS (
        SELECT order_id, sum(gross_minor)::bigint AS gross, count(*) FILTER (
            WHERE net_minor <> unit_price_minor * quantity - discount.minor - inclusive.minor
                OR gross_minor <> net_minor + tax.minor
        ) AS wrong
        FROM order_lines,
            LATERAL (SELECT coalesce(sum((one->>'amount_minor')::bigint), 0) AS minor
                FROM jsonb_array_elements(discounts) AS one) AS discount,
            LATERAL (SELECT coalesce(sum((one->>'amount_minor')::bigint), 0) AS minor
                FROM jsonb_array_elements(taxes) AS one) AS tax,
            LATERAL (SELECT coalesce(sum((one->>'amount_minor')::bigint), 0) AS minor
                FROM jsonb_array_elements(taxes) AS one
                WHERE (one->>'inclusive')::boolean) AS inclusive
        WHERE only(order_id of orders by checkout_id)
        GROUP BY order_id
    )
    SELECT o.checkout_id::text AS key, o.changed_at AS since, c.state, c.final, payment_status,
        fulfilment_status, o.total_minor, c.total_minor AS checkout_total_minor,
        lines.gross AS lines_minor, lines.wrong AS wrong_lines
    FROM orders o
    LEFT JOIN checkouts c ON c.checkout_id = o.checkout_id AND c.order_id = o.order_id
    LEFT JOIN lines ON lines.order_id = o.order_id
    WHERE only(o.checkout_id)
    """,
    CHECKOUT,
    order="o.checkout_id",
)


class Sale(NamedTuple):
    """A checkout and the pieces by SKU of its order's lines."""

    key: str
    since: datetime | None
    state: str
    final: bool
    pieces: str | None


SALES = Read(
    Source.ORDER,
    Sale,
    """
    SELECT checkout_id::text AS key, changed_at AS since, state, final, pieces
    FROM checkouts LEFT JOIN (
        SELECT order_id, jsonb_object_agg(sku, quantity)::text AS pieces
        FROM (
            SELECT order_id, sku, sum(quantity) AS quantity
            FROM order_lines WHERE sku IS NOT NULL AND only(order_id of orders by checkout_id)
            GROUP BY order_id, sku
        ) AS line
        GROUP BY order_id
    ) AS ordered USING (order_id)
    WHERE state NOT IN ('unseen', 'tombstone') AND only(checkout_id)
    """,
    CHECKOUT,
    order="checkout_id",
)


class Holdings(NamedTuple):
    """What a checkout has in inventory; `sold` are the pieces by SKU of committed reservations."""

    key: str
    since: datetime | None
    held: int
    committed: int
    sold: str | None


HOLDINGS = Read(
    Source.INVENTORY,
    Holdings,
    """
    WITH sold AS (
        SELECT owner_id, jsonb_object_agg(sku, quantity)::text AS pieces
        FROM (
            SELECT owner_id, sku, sum(quantity) AS quantity
            FROM reservations JOIN reservation_lines USING (shop_id, owner_id, round)
            WHERE status = 'committed' AND only(owner_id) GROUP BY owner_id, sku
        ) AS line
        GROUP BY owner_id
    )
    SELECT owner_id::text AS key, max(changed_at) AS since,
        count(*) FILTER (WHERE status = 'held') AS held,
        count(*) FILTER (WHERE status = 'committed') AS committed, min(sold.pieces) AS sold
    FROM reservations LEFT JOIN sold USING (owner_id)
    WHERE owner = 'checkout' AND only(owner_id)
    GROUP BY owner_id
    """,
    CHECKOUT,
    order="owner_id",
)


class Money(NamedTuple):
    """What a checkout has in payment."""

    key: str
    since: datetime | None
    order_id: str | None
    currency: str | None
    captured_minor: int
    refund_pending_minor: int
    refunded_minor: int
    live_attempts: int

    @property
    def kept_minor(self) -> int:
        """What is here and stays here, as far as it is settled."""
        return self.captured_minor - self.refunded_minor


MONEY = Read(
    Source.PAYMENT,
    Money,
    """
    SELECT checkout_id::text AS key, updated_at AS since, order_id::text AS order_id, currency,
        captured_minor, refund_pending_minor, refunded_minor,
        coalesce(live.attempts, 0) AS live_attempts
    FROM payments LEFT JOIN (
        SELECT payment_id, count(*) AS attempts FROM attempts
        WHERE status IN ('requested', 'processing', 'action_required', 'authorized', 'unknown')
        GROUP BY payment_id
    ) AS live USING (payment_id)
    WHERE only(checkout_id)
    """,
    CHECKOUT,
    order="checkout_id",
)


_ENDS_AS_ITS_AXES_SAY = """
    CASE WHEN state IS NULL THEN false WHEN NOT final THEN NULL
    WHEN state = 'paid' THEN
        payment_status IN ('paid', 'not_due') AND fulfilment_status IN ('ready', 'shipped')
    WHEN state = 'cancelled' THEN
        payment_status IN ('cancelled', 'refunded', 'not_due') AND fulfilment_status = 'cancelled'
    ELSE false END
"""
"""Where payment and fulfilment of an order stand at each end."""


def _sold_once(sale: Sale | None, holdings: Holdings | None) -> bool | None:
    if sale is None or sale.state != "paid" or not sale.final:
        return None
    return holdings is not None and holdings.committed == 1 and holdings.sold == sale.pieces


def _holds_nothing(sale: Sale | None, holdings: Holdings | None) -> bool | None:
    if holdings is None or (sale is not None and not sale.final):
        return None
    sold = sale is not None and sale.state == "paid"
    return holdings.held == 0 and (sold or holdings.committed == 0)


def _keeps_its_price(checkout: Checkout | None, money: Money | None) -> bool | None:
    kept = 0 if money is None else money.kept_minor
    if checkout is None:
        return kept == 0
    if not checkout.final:
        return None
    return kept == (checkout.total_minor if checkout.state == "paid" else 0)


def _knows_its_money(checkout: Checkout | None, money: Money | None) -> bool | None:
    if checkout is None or not checkout.final:
        return None
    told = (checkout.captured_minor, checkout.refund_pending_minor, checkout.refunded_minor)
    if money is None:
        return told == (0, 0, 0)
    return told == (money.captured_minor, money.refund_pending_minor, money.refunded_minor)


def _money_is_of_the_order(checkout: Checkout | None, money: Money | None) -> bool | None:
    if money is None:
        return None
    if checkout is None:
        return False
    # A payment that was closed before it was ever charged knows no order.
    return money.order_id is None or (money.order_id, money.currency) == (
        checkout.order_id,
        checkout.currency,
    )


def _no_money_may_come(checkout: Checkout | None, money: Money | None) -> bool | None:
    if checkout is None or money is None or not checkout.final:
        return None
    return money.live_attempts == 0


INVARIANTS = (
    within(
        "orders.total-is-sum-of-lines",
        "An order's total is the sum of its lines and its shipping, and its checkout's total.",
        ORDERS,
        "total_minor IS NOT DISTINCT FROM lines_minor"
        " AND total_minor IS NOT DISTINCT FROM checkout_total_minor",
    ),
    within(
        "orders.lines-add-up",
        "A line's net and gross follow from its price, quantity, discounts and taxes.",
        ORDERS,
        "coalesce(wrong_lines = 0, false)",
    ),
    within(
        "orders.axes-agree-with-the-end",
        "A paid order is paid and ready, a cancelled one owes nothing to either side; each is the "
        "order of its checkout.",
        ORDERS,
        _ENDS_AS_ITS_AXES_SAY,
    ),
    between(
        "orders.paid-has-one-committed-reservation",
        "A paid order has exactly one committed reservation, of exactly its lines.",
        SALES,
        HOLDINGS,
        _sold_once,
        about=CHECKOUT,
    ),
    between(
        "orders.ended-ones-hold-no-stock",
        "What is final holds no stock, and nothing but a paid order has taken any.",
        SALES,
        HOLDINGS,
        _holds_nothing,
        about=CHECKOUT,
    ),
    between(
        "orders.keep-what-their-lines-are-worth",
        "Per order, captured - refunded is the value of the lines kept: the total once paid, "
        "nothing once cancelled.",
        CHECKOUTS,
        MONEY,
        _keeps_its_price,
        about=CHECKOUT,
    ),
    between(
        "orders.know-their-money",
        "What a final checkout believes was captured and refunded is what the payment says.",
        CHECKOUTS,
        MONEY,
        _knows_its_money,
        about=CHECKOUT,
    ),
    between(
        "orders.money-is-of-an-order",
        "A payment belongs to a checkout, and is of its order and currency.",
        CHECKOUTS,
        MONEY,
        _money_is_of_the_order,
        about=CHECKOUT,
    ),
    between(
        "orders.no-money-comes-after-the-end",
        "No attempt of a final checkout may still bring money.",
        CHECKOUTS,
        MONEY,
        _no_money_may_come,
        about=CHECKOUT,
    ),
)
