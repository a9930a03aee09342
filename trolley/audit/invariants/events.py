"""Events: what was published is what happened, once and without a gap.

Each aggregate counts its events. A number that never came, or that stands there twice, shows on
the topic itself, for who reads what is committed.
"""

from datetime import datetime
from typing import NamedTuple

from contracts.messages.order import OrderCancelled, OrderPaid, OrderPlaced
from contracts.topics import CART_EVENTS, INVENTORY_EVENTS, ORDER_EVENTS, PAYMENT_EVENTS, Topic
from trolley.audit.invariant import Invariant, Read, Source, Subject, between, within
from trolley.audit.invariants.checkouts import CHECKOUTS, Checkout
from trolley.audit.subjects import CART, CHECKOUT, SKU


class Counter(NamedTuple):
    """How many events an aggregate has emitted."""

    key: str
    since: datetime | None
    event_seq: int


class Published(NamedTuple):
    """The events of one aggregate on their topic.

    `last` is the highest number; `missing` counts those below it that are not there, `doubled`
    the records beyond one for each. What retention has taken is not missing.
    """

    key: str
    since: datetime | None
    last: int
    missing: int
    doubled: int


def _published(topic: Topic, about: Subject) -> Read[Published]:
    return Read(
        Source.PUBLISHED,
        Published,
        """
        SELECT key, NULL AS since, max(seq) AS last,
            max(seq) - CASE WHEN min(whole) THEN 0 ELSE min(seq) - 1 END - count(DISTINCT seq)
                AS missing,
            count(*) - count(DISTINCT seq) AS doubled
        FROM events JOIN partitions USING (topic, partition)
        WHERE topic = :topic AND only(key) GROUP BY key
        """,
        about,
        topic=topic,
    )


def _gapless(aggregate: str, topic: Topic, counted: Read[Counter], about: Subject) -> Invariant:
    return between(
        f"events.{aggregate.lower()}-events-are-gapless",
        f"On {topic.name} every {aggregate} has each of its events once, from the first to the "
        "last it counted.",
        counted,
        _published(topic, about),
        _as_counted,
        about=about,
    )


def _as_counted(counter: Counter | None, published: Published | None) -> bool | None:
    if counter is None:
        return False
    if published is None:
        return None if counter.event_seq == 0 else False
    return (published.last, published.missing, published.doubled) == (counter.event_seq, 0, 0)


class Told(NamedTuple):
    """What was published of one order: when it was placed, how it last ended, and its totals.

    `placed`, `last_paid` and `last_cancelled` are event numbers. `whole` says that retention has
    taken nothing of it.
    """

    key: str
    since: datetime | None
    placings: int
    placed: int | None
    last_paid: int | None
    last_cancelled: int | None
    lowest_total_minor: int
    highest_total_minor: int
    whole: int


TOLD = Read(
    Source.PUBLISHED,
    Told,
    f"""
    SELECT key, NULL AS since,
        count(DISTINCT seq) FILTER (WHERE type = '{OrderPlaced.type}') AS placings,
        min(seq) FILTER (WHERE type = '{OrderPlaced.type}') AS placed,
        max(seq) FILTER (WHERE type = '{OrderPaid.type}') AS last_paid,
        max(seq) FILTER (WHERE type = '{OrderCancelled.type}') AS last_cancelled,
        min(total_minor) AS lowest_total_minor, max(total_minor) AS highest_total_minor,
        min(whole) AS whole
    FROM events JOIN partitions USING (topic, partition)
    WHERE topic = :topic AND only(key) GROUP BY key
    """,  # noqa: S608 - names of messages
    CHECKOUT,
    topic=ORDER_EVENTS,
)


def _tells_its_order(checkout: Checkout | None, told: Told | None) -> bool | None:
    if checkout is None:
        return False
    if told is None:
        return None if checkout.order_id is None else False
    if not told.lowest_total_minor == told.highest_total_minor == checkout.total_minor:
        return False
    if told.whole and (told.placings, told.placed) != (1, 1):
        return False
    paid, cancelled = told.last_paid or 0, told.last_cancelled or 0
    match checkout.state:
        case _ if not told.whole:
            return True
        case "paid":
            return paid > cancelled
        case "cancelled":
            return cancelled > paid
        case _:
            return True


ORDERS = Read(
    Source.ORDER,
    Counter,
    "SELECT checkout_id::text AS key, changed_at AS since, event_seq FROM orders"
    " WHERE only(checkout_id)",
    CHECKOUT,
    order="checkout_id",
)
ITEMS = Read(
    Source.INVENTORY,
    Counter,
    """
    SELECT (shop_id || '/' || sku) COLLATE "C" AS key, NULL::timestamptz AS since, event_seq
    FROM stock_items WHERE only(shop_id, sku)
    """,
    SKU,
)
PAYMENTS = Read(
    Source.PAYMENT,
    Counter,
    "SELECT checkout_id::text AS key, updated_at AS since, event_seq FROM payments"
    " WHERE only(checkout_id)",
    CHECKOUT,
    order="checkout_id",
)
CARTS = Read(
    Source.CART,
    Counter,
    "SELECT cart_id::text AS key, changed_at AS since, event_seq FROM carts WHERE only(cart_id)",
    CART,
    order="carts.cart_id",
)


class Records(NamedTuple):
    """How many records of a topic are events, and how many are something else, and why."""

    key: str
    since: datetime | None
    events: int
    strangers: int
    because: str | None


RECORDS = Read(
    Source.PUBLISHED,
    Records,
    """
    SELECT topic AS key, NULL AS since,
        (SELECT count(*) FROM events WHERE events.topic = known.topic) AS events,
        (SELECT count(*) FROM strangers WHERE strangers.topic = known.topic) AS strangers,
        (SELECT min(why) FROM strangers WHERE strangers.topic = known.topic) AS because
    FROM (SELECT DISTINCT topic FROM partitions) AS known
    """,
)

INVARIANTS = (
    _gapless("order", ORDER_EVENTS, ORDERS, CHECKOUT),
    between(
        "events.tell-what-became-of-the-order",
        "On order.events every order is placed first and once, at its total, and ends as it did.",
        CHECKOUTS,
        TOLD,
        _tells_its_order,
        about=CHECKOUT,
    ),
    _gapless("payment", PAYMENT_EVENTS, PAYMENTS, CHECKOUT),
    _gapless("SKU", INVENTORY_EVENTS, ITEMS, SKU),
    _gapless("cart", CART_EVENTS, CARTS, CART),
    within(
        "events.topics-hold-only-events",
        "Every record on a public event topic is an event with an envelope and a number.",
        RECORDS,
        "strangers = 0",
    ),
)
