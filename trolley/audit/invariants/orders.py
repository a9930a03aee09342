"""Orders: what they say against stock, money, and what was published of them."""

from trolley.audit.invariant import Between, Read, Source, Within
from trolley.audit.invariants.checkouts import CHECKOUTS
from trolley.audit.invariants.money import LIVE
from trolley.audit.subjects import CHECKOUT
from trolley.audit.tables import (
    ATTEMPTS,
    MOVEMENTS,
    ORDER_LINES,
    ORDERS,
    PAYMENTS,
    RESERVATION_LINES,
    RESERVATIONS,
    RETURNED_PIECES,
)
from trolley.audit.tables import CHECKOUTS as CHECKOUTS_TABLE

# An order and its checkout, beside what its lines add up to. `wrong_lines` counts those whose net
# or gross does not follow from price, quantity, discounts and taxes. `state` is NULL where the
# checkout does not name this order.
ORDERED = Read(
    "ordered",
    Source.ORDER,
    """
    WITH line AS (
        SELECT *, coalesce(list_sum((discounts->'$[*].amount_minor')::BIGINT[]), 0) AS discount,
            from_json(taxes, '[{"amount_minor": "BIGINT", "inclusive": "BOOLEAN"}]') AS tax
        FROM order_lines
    ), lines AS (
        SELECT order_id, sum(gross_minor)::BIGINT AS gross, count(*) FILTER (
            WHERE net_minor <> unit_price_minor * quantity - discount
                    - coalesce(list_sum([x.amount_minor for x in tax if x.inclusive]), 0)
                OR gross_minor <> net_minor
                    + coalesce(list_sum([x.amount_minor for x in tax]), 0)
        ) AS wrong
        FROM line GROUP BY order_id
    )
    SELECT o.checkout_id AS key, o.changed_at AS since, c.state, c.final, payment_status,
        fulfilment_status, o.total_minor, c.total_minor AS checkout_total_minor,
        lines.gross AS lines_minor, lines.wrong AS wrong_lines
    FROM orders o
    LEFT JOIN checkouts c ON c.checkout_id = o.checkout_id AND c.order_id = o.order_id
    LEFT JOIN lines ON lines.order_id = o.order_id
    """,
    (ORDERS, CHECKOUTS_TABLE, ORDER_LINES),
    CHECKOUT,
)

# A checkout and the pieces by SKU of its order's lines. Pieces are compared by a digest of all of
# them, in no order.
SALES = Read(
    "sale",
    Source.ORDER,
    """
    SELECT checkout_id AS key, changed_at AS since, state, final, digest, pieces
    FROM checkouts LEFT JOIN (
        SELECT order_id, bit_xor(hash(sku || ' ' || pieces)) AS digest,
            string_agg(sku || ' ' || pieces, ', ' ORDER BY sku) AS pieces
        FROM (
            SELECT order_id, sku, sum(quantity)::BIGINT AS pieces
            FROM order_lines WHERE sku IS NOT NULL GROUP BY order_id, sku
        ) GROUP BY order_id
    ) USING (order_id)
    """,
    (CHECKOUTS_TABLE, ORDER_LINES),
    CHECKOUT,
)

# What a checkout has in inventory; pieces are those by SKU of committed reservations.
HOLDINGS = Read(
    "holdings",
    Source.INVENTORY,
    """
    WITH sold AS (
        SELECT owner_id, bit_xor(hash(sku || ' ' || pieces)) AS digest,
            string_agg(sku || ' ' || pieces, ', ' ORDER BY sku) AS pieces
        FROM (
            SELECT owner_id, sku, sum(quantity)::BIGINT AS pieces
            FROM reservation_lines JOIN reservations USING (shop_id, owner_id, round)
            WHERE status = 'committed' GROUP BY owner_id, sku
        ) GROUP BY owner_id
    )
    SELECT owner_id AS key, max(changed_at) AS since,
        count(*) FILTER (WHERE status = 'held') AS held,
        count(*) FILTER (WHERE status = 'committed') AS committed,
        any_value(sold.digest) AS digest, any_value(sold.pieces) AS pieces
    FROM reservations LEFT JOIN sold USING (owner_id)
    WHERE owner = 'checkout'
    GROUP BY owner_id
    """,
    (RESERVATIONS, RESERVATION_LINES),
    CHECKOUT,
)

# Orders that may be shipped, and whose money is taken then.
TO_SHIP = Read(
    "to_ship",
    Source.ORDER,
    """
    SELECT checkout_id AS key, changed_at AS since, order_id, total_minor
    FROM checkouts WHERE state = 'authorized'
    """,
    (CHECKOUTS_TABLE,),
    CHECKOUT,
)

# Pieces by SKU that came back to an order, as far as inventory has said that it booked them.
RETURNED = Read(
    "returned",
    Source.ORDER,
    """
    SELECT checkout_id AS key, max(changed_at) AS since,
        bit_xor(hash(sku || ' ' || pieces)) AS digest,
        string_agg(sku || ' ' || pieces, ', ' ORDER BY sku) AS pieces
    FROM returned_pieces GROUP BY checkout_id
    """,
    (RETURNED_PIECES,),
    CHECKOUT,
)

# Pieces by SKU that inventory booked as come back after their sale.
BOOKED_IN = Read(
    "booked",
    Source.INVENTORY,
    """
    SELECT operation_id AS key, max(since) AS since,
        bit_xor(hash(sku || ' ' || pieces)) AS digest,
        string_agg(sku || ' ' || pieces, ', ' ORDER BY sku) AS pieces
    FROM (
        SELECT operation_id, sku, sum(quantity)::BIGINT AS pieces, max(moved_at) AS since
        FROM movements WHERE kind = 'return' AND round > 1000 GROUP BY operation_id, sku
    ) GROUP BY operation_id
    """,
    (MOVEMENTS,),
    CHECKOUT,
)

# What a checkout has in payment.
MONEY = Read(
    "money",
    Source.PAYMENT,
    f"""
    SELECT checkout_id AS key, updated_at AS since, order_id, currency, authorized_minor,
        captured_minor, refund_pending_minor, refunded_minor, refunded_minor + over_refunded_minor
            AS given_back_minor, disputed_minor, dispute_lost_minor,
        coalesce(live.attempts, 0) AS live_attempts
    FROM payments LEFT JOIN (
        SELECT payment_id, count(*) AS attempts FROM attempts WHERE {LIVE} GROUP BY payment_id
    ) AS live USING (payment_id)
    """,  # noqa: S608 - constants
    (PAYMENTS, ATTEMPTS),
    CHECKOUT,
)


_ENDS_AS_ITS_AXES_SAY = """
    CASE WHEN state IS NULL THEN false WHEN NOT final THEN NULL
    WHEN state = 'paid' THEN
        payment_status IN ('paid', 'not_due', 'refund_pending', 'refund_failed', 'partly_refunded',
            'refunded', 'disputed', 'dispute_lost')
        AND fulfilment_status IN ('ready', 'partly_shipped', 'shipped')
    WHEN state = 'cancelled' THEN
        payment_status IN ('cancelled', 'refunded', 'not_due') AND fulfilment_status = 'cancelled'
    ELSE false END
"""
"""Where payment and fulfilment of an order stand at each end."""


_SOLD_ONCE = """
    CASE WHEN sale.final AND sale.state = 'paid' OR sale.state = 'authorized' THEN
        coalesce(holdings.committed = 1, false)
        AND holdings.digest IS NOT DISTINCT FROM sale.digest END
"""

_HOLDS_NOTHING = """
    CASE WHEN holdings.key IS NOT NULL AND coalesce(sale.final, true) THEN
        holdings.held = 0 AND (coalesce(sale.state = 'paid', false) OR holdings.committed = 0) END
"""

# What is here and stays here, as far as it is settled. What went back twice is an open item.
_KEEPS_ITS_PRICE = """
    CASE WHEN coalesce(checkout.final, true) THEN
        coalesce(money.captured_minor - money.refunded_minor, 0)
        = CASE WHEN checkout.state = 'paid'
            THEN greatest(checkout.total_minor - checkout.claimed_minor, 0) ELSE 0 END END
"""

_KNOWS_ITS_MONEY = """
    CASE WHEN checkout.final THEN
        checkout.captured_minor = coalesce(money.captured_minor, 0)
        AND checkout.refund_pending_minor = coalesce(money.refund_pending_minor, 0)
        AND checkout.refunded_minor = coalesce(money.given_back_minor, 0)
        AND checkout.disputed_minor = coalesce(money.disputed_minor, 0)
        AND checkout.dispute_lost_minor = coalesce(money.dispute_lost_minor, 0) END
"""

# A payment that was closed before it was ever charged knows no order.
_MONEY_IS_OF_THE_ORDER = """
    CASE WHEN money.key IS NOT NULL THEN
        checkout.key IS NOT NULL AND (money.order_id IS NULL OR coalesce(
            money.order_id = checkout.order_id AND money.currency = checkout.currency, false)) END
"""

_NO_MONEY_MAY_COME = """
    CASE WHEN checkout.final AND money.key IS NOT NULL THEN money.live_attempts = 0 END
"""


_HAS_ITS_MONEY_SET_ASIDE = """
    CASE WHEN to_ship.key IS NOT NULL THEN coalesce(
        money.authorized_minor - money.captured_minor = to_ship.total_minor, false) END
"""


INVARIANTS = (
    Within(
        "orders.total-is-sum-of-lines",
        "An order's total is the sum of its lines and its shipping, and its checkout's total.",
        ORDERED,
        "total_minor IS NOT DISTINCT FROM lines_minor"
        " AND total_minor IS NOT DISTINCT FROM checkout_total_minor",
    ),
    Within(
        "orders.lines-add-up",
        "A line's net and gross follow from its price, quantity, discounts and taxes.",
        ORDERED,
        "coalesce(wrong_lines = 0, false)",
    ),
    Within(
        "orders.axes-agree-with-the-end",
        "A paid order is paid and ready, a cancelled one owes nothing to either side; each is the "
        "order of its checkout.",
        ORDERED,
        _ENDS_AS_ITS_AXES_SAY,
    ),
    Between(
        "orders.paid-has-one-committed-reservation",
        "An order that is paid, or may be shipped because its money is set aside, has exactly one "
        "committed reservation, of exactly its lines.",
        SALES,
        HOLDINGS,
        _SOLD_ONCE,
    ),
    Between(
        "orders.ended-ones-hold-no-stock",
        "What is final holds no stock, and nothing but a paid order has taken any.",
        SALES,
        HOLDINGS,
        _HOLDS_NOTHING,
    ),
    Between(
        "orders.returned-pieces-are-booked",
        "What came back to an order is booked in by inventory, piece by piece, and no more.",
        RETURNED,
        BOOKED_IN,
        "coalesce(returned.digest = booked.digest, false)",
    ),
    Between(
        "orders.keep-what-their-lines-are-worth",
        "Per order, captured - refunded is the value of the lines kept: the total once paid less "
        "what went back after the sale, nothing once cancelled.",
        CHECKOUTS,
        MONEY,
        _KEEPS_ITS_PRICE,
    ),
    Between(
        "orders.to-be-shipped-have-their-money-set-aside",
        "An order that is captured at shipping has its total set aside until then.",
        TO_SHIP,
        MONEY,
        _HAS_ITS_MONEY_SET_ASIDE,
    ),
    Between(
        "orders.know-their-money",
        "What a final checkout believes was captured and refunded is what the payment says.",
        CHECKOUTS,
        MONEY,
        _KNOWS_ITS_MONEY,
    ),
    Between(
        "orders.money-is-of-an-order",
        "A payment belongs to a checkout, and is of its order and currency.",
        CHECKOUTS,
        MONEY,
        _MONEY_IS_OF_THE_ORDER,
    ),
    Between(
        "orders.no-money-comes-after-the-end",
        "No attempt of a final checkout may still bring money.",
        CHECKOUTS,
        MONEY,
        _NO_MONEY_MAY_COME,
    ),
)
