"""Events: what was published is what happened, once and without a gap.

Each aggregate counts its events. A number that never came, or that stands there twice, shows on
the topic itself, for who reads what is committed.
"""

from contracts.messages.order import OrderCancelled, OrderPaid, OrderPlaced
from contracts.topics import CART_EVENTS, INVENTORY_EVENTS, ORDER_EVENTS, PAYMENT_EVENTS, Topic
from trolley.audit.invariant import Between, Read, Source, Subject, Table, Within
from trolley.audit.invariants.checkouts import CHECKOUTS
from trolley.audit.published import EVENT_TOPICS, events_on
from trolley.audit.subjects import CART, CHECKOUT, SKU
from trolley.audit.tables import CARTS, ORDERS, PAYMENTS, STOCK_ITEMS


def _whole(topic: Topic) -> str:
    """Whether everything that ever came onto a topic is still there."""
    return f"(SELECT bool_and(whole) FROM partitions WHERE topic = '{topic.name}')"  # noqa: S608 - a name


def _counted(source: Source, table: Table, key: str, since: str, about: Subject) -> Read:
    """How many events each aggregate has emitted."""
    sql = f"SELECT {key} AS key, {since} AS since, event_seq FROM {table.name}"  # noqa: S608 - constants
    return Read("counter", source, sql, (table,), about)


def _published(topic: Topic, about: Subject) -> Read:
    """The events of one aggregate on their topic.

    `last` is the highest number; `missing` counts those below it that are not there, `doubled`
    the records beyond one for each. What retention has taken is not missing.
    """
    return Read(
        "published",
        Source.PUBLISHED,
        f"""
        SELECT key, NULL::TIMESTAMP AS since, max(seq) AS last,
            max(seq) - CASE WHEN bool_and(whole) THEN 0 ELSE min(seq) - 1 END - count(*)
                AS missing,
            sum(times)::BIGINT - count(*) AS doubled
        FROM (
            SELECT key, seq, count(*) AS times, bool_and(whole) AS whole
            FROM {events_on(topic)} JOIN partitions USING (partition)
            WHERE topic = '{topic.name}' GROUP BY key, seq
        ) GROUP BY key
        """,  # noqa: S608 - the name of a topic
        subject=about,
    )


def _gapless(aggregate: str, topic: Topic, counted: Read, about: Subject) -> Between:
    return Between(
        f"events.{aggregate.lower()}-events-are-gapless",
        f"On {topic.name} every {aggregate} has each of its events once, from the first to the "
        "last it counted.",
        counted,
        _published(topic, about),
        f"""
        CASE WHEN counter.key IS NULL THEN false
        WHEN published.key IS NULL THEN
            CASE WHEN counter.event_seq <> 0 AND {_whole(topic)} THEN false END
        ELSE published.last = counter.event_seq
            AND published.missing = 0 AND published.doubled = 0 END
        """,
    )


# What was published of one order: when it was placed, how it last ended, and its totals.
# `placed`, `last_paid` and `last_cancelled` are event numbers. `whole` says that retention has
# taken nothing of it.
TOLD = Read(
    "told",
    Source.PUBLISHED,
    f"""
    SELECT key, NULL::TIMESTAMP AS since,
        count(DISTINCT seq) FILTER (WHERE type = '{OrderPlaced.type}') AS placings,
        min(seq) FILTER (WHERE type = '{OrderPlaced.type}') AS placed,
        max(seq) FILTER (WHERE type = '{OrderPaid.type}') AS last_paid,
        max(seq) FILTER (WHERE type = '{OrderCancelled.type}') AS last_cancelled,
        min(total_minor) AS lowest_total_minor, max(total_minor) AS highest_total_minor,
        bool_and(whole) AS whole
    FROM {events_on(ORDER_EVENTS)} JOIN partitions USING (partition)
    WHERE topic = '{ORDER_EVENTS.name}' GROUP BY key
    """,  # noqa: S608 - names of messages and of a topic
    subject=CHECKOUT,
)

_TELLS_ITS_ORDER = f"""
    CASE WHEN checkout.key IS NULL THEN false
    WHEN told.key IS NULL THEN
        CASE WHEN checkout.order_id IS NOT NULL AND {_whole(ORDER_EVENTS)} THEN false END
    WHEN told.lowest_total_minor <> checkout.total_minor
        OR told.highest_total_minor <> checkout.total_minor THEN false
    WHEN NOT told.whole THEN true
    WHEN told.placings <> 1 OR told.placed <> 1 THEN false
    WHEN checkout.state = 'paid'
        THEN coalesce(told.last_paid, 0) > coalesce(told.last_cancelled, 0)
    WHEN checkout.state = 'cancelled'
        THEN coalesce(told.last_cancelled, 0) > coalesce(told.last_paid, 0)
    ELSE true END
"""

_COUNTS = " UNION ALL ".join(
    f"SELECT '{topic.name}' AS topic, count(*) AS events FROM {events_on(topic)}"  # noqa: S608 - names
    for topic in EVENT_TOPICS
)

# How many records of a topic are events, and how many are something else, and why.
RECORDS = Read(
    "records",
    Source.PUBLISHED,
    f"""
    SELECT topic AS key, NULL::TIMESTAMP AS since, events, coalesce(strangers, 0) AS strangers,
        because
    FROM ({_COUNTS}) LEFT JOIN (
        SELECT topic, count(*) AS strangers, min(why) AS because FROM strangers GROUP BY topic
    ) USING (topic)
    """,  # noqa: S608 - constants
)

INVARIANTS = (
    _gapless(
        "order",
        ORDER_EVENTS,
        _counted(Source.ORDER, ORDERS, "checkout_id", "changed_at", CHECKOUT),
        CHECKOUT,
    ),
    Between(
        "events.tell-what-became-of-the-order",
        "On order.events every order is placed first and once, at its total, and ends as it did.",
        CHECKOUTS,
        TOLD,
        _TELLS_ITS_ORDER,
    ),
    _gapless(
        "payment",
        PAYMENT_EVENTS,
        _counted(Source.PAYMENT, PAYMENTS, "checkout_id", "updated_at", CHECKOUT),
        CHECKOUT,
    ),
    _gapless(
        "SKU",
        INVENTORY_EVENTS,
        _counted(Source.INVENTORY, STOCK_ITEMS, "shop_id || '/' || sku", "NULL::TIMESTAMP", SKU),
        SKU,
    ),
    _gapless(
        "cart", CART_EVENTS, _counted(Source.CART, CARTS, "cart_id", "changed_at", CART), CART
    ),
    Within(
        "events.topics-hold-only-events",
        "Every record on a public event topic is an event with an envelope and a number.",
        RECORDS,
        "strangers = 0",
    ),
)
