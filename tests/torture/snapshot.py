"""What a checkout has come to, over all services, without what is different each time."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.topics import TOPICS
from order_service.checkout.facts import payment_id_of
from tests.messaging.example import true_ends
from tests.torture.city import City
from tests.torture.stories import Told

_OF_A_CHECKOUT: Mapping[str, tuple[str, ...]] = {
    "order": (
        "SELECT state, final, blocked, captured_minor, refund_pending_minor, refunded_minor"
        " FROM checkouts WHERE checkout_id = $1",
        "SELECT payment_status, fulfilment_status, return_status, total_minor, event_seq"
        " FROM orders WHERE checkout_id = $1",
        "SELECT parcel->>'tracking' AS tracking, parcel->>'lines' AS lines FROM checkouts,"
        " json_array_elements(facts->'order'->'shipments') AS parcel WHERE checkout_id = $1",
        "SELECT l.quantity, l.gross_minor FROM order_lines l JOIN orders USING (order_id)"
        " WHERE checkout_id = $1",
        "SELECT d.kind, d.attempt, d.refund, d.gross_minor FROM documents d"
        " JOIN orders USING (order_id) WHERE checkout_id = $1 ORDER BY 1, 2, 3",
        "SELECT refunded_minor, credited_minor, refund_pending_minor, disputed_minor,"
        " dispute_lost_minor, blocked, needs_attention, deadline_at IS NULL AS at_rest"
        " FROM after_sales WHERE checkout_id = $1",
        "SELECT claim->>'number' AS number, claim->>'attempt' AS attempt,"
        " claim->>'amount_minor' AS amount_minor, claim->>'origin' AS origin,"
        " claim->>'status' AS status, claim->>'by_hand' AS by_hand,"
        " claim->>'credited' AS credited, claim->>'lines' AS lines"
        " FROM after_sales, json_array_elements(facts->'claims') AS claim"
        " WHERE checkout_id = $1 ORDER BY 1",
        "SELECT back->>'claim' AS claim, back->>'booked' AS booked, line->>'pieces' AS pieces,"
        " line->>'write_off' AS write_off FROM after_sales,"
        " json_array_elements(facts->'returns') AS back, json_array_elements(back->'lines') AS line"
        " WHERE checkout_id = $1 ORDER BY 1, 3, 4",
        "SELECT dispute->>'amount_minor' AS amount_minor, dispute->>'status' AS status"
        " FROM after_sales, json_array_elements(facts->'disputes') AS dispute"
        " WHERE checkout_id = $1",
    ),
    "inventory": (
        "SELECT round, status FROM reservations WHERE owner_id = $1 ORDER BY round",
        "SELECT round, quantity FROM reservation_lines WHERE owner_id = $1 ORDER BY round",
    ),
    "payment": (
        "SELECT status, authorized_minor, captured_minor, refund_pending_minor, refunded_minor,"
        " disputed_minor, dispute_lost_minor, event_seq FROM payments WHERE checkout_id = $1",
        "SELECT o.kind, o.status, o.amount_minor FROM operations o JOIN payments USING (payment_id)"
        " WHERE checkout_id = $1 ORDER BY 1, 2, 3",
        "SELECT l.seq, l.kind, l.amount_minor FROM ledger l JOIN payments USING (payment_id)"
        " WHERE checkout_id = $1 ORDER BY seq",
        "SELECT r.round, r.reason, r.status, r.amount_minor"
        " FROM refunds r JOIN payments USING (payment_id) WHERE checkout_id = $1 ORDER BY 1, 2",
        # Each once: a run that begins anew has open disputes looked at, and the next finds less.
        "SELECT DISTINCT d.kind, d.state FROM differences d"
        " JOIN reconciliations r USING (run_id) JOIN payments USING (payment_id)"
        " WHERE checkout_id = $1 AND r.state = 'done' ORDER BY 1, 2",
    ),
    "simulated_provider": (
        "SELECT status, amount_minor, captured_minor, released_minor FROM payments"
        " WHERE payment_id = $1 ORDER BY attempt",
        "SELECT kind, amount_minor FROM ledger WHERE payment_id = $1 ORDER BY id",
    ),
    "cart": (
        "SELECT c.status, c.event_seq, (SELECT sum(quantity) FROM cart_lines l"
        " WHERE l.cart_id = c.cart_id) AS pieces"
        " FROM restorations r JOIN carts c USING (cart_id) WHERE r.checkout_id = $1",
    ),
}

_OF_A_CART = (
    "SELECT c.status, c.event_seq, (SELECT sum(quantity) FROM cart_lines l"
    " WHERE l.cart_id = c.cart_id) AS pieces FROM carts c WHERE c.cart_id = $1"
)

_OF_A_SKU: Sequence[tuple[str, str]] = (
    (
        "catalog",
        "SELECT v.status, v.version, p.status AS sold, p.version AS changes FROM variants v"
        " JOIN products p ON (p.shop_id, p.code) = (v.shop_id, v.product_code) WHERE v.sku = $1",
    ),
    (
        "inventory",
        "SELECT on_hand, reserved FROM stock_levels WHERE sku = $1 ORDER BY on_hand, reserved",
    ),
    (
        "inventory",
        "SELECT kind, quantity, on_hand, event_seq FROM movements WHERE sku = $1"
        " ORDER BY event_seq",
    ),
    ("cart", "SELECT active, prices, version FROM catalog_items WHERE sku = $1"),
    ("cart", "SELECT available, version FROM stock_availability WHERE sku = $1"),
)

_STILL_OPEN = "SELECT count(*) AS open FROM outbox"
_DEAD = "SELECT fingerprint FROM dead_letters WHERE status NOT IN ('done', 'discarded')"
_PARKED = "SELECT consumer FROM parked_keys"
_REPLAYED = (
    "SELECT type, status, outcome, attempts FROM dead_letters"
    " WHERE key = convert_to($1::text, 'UTF8') ORDER BY seq"
)

_ID = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}")
_NUMBER = re.compile(r"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)")

Rows = list[dict[str, Any]]
Snapshot = dict[str, Rows]


async def snapshot(city: City, told: Told) -> Snapshot:
    """The rows of a checkout, of its cart and of its SKU in every database."""
    return {name: rows async for name, rows in _parts(city, told)}


async def is_as(city: City, told: Told, wanted: Snapshot) -> bool:
    """Whether that is the snapshot; asks no further once something is different."""
    async with aclosing(_parts(city, told)) as parts:
        async for name, rows in parts:
            if rows != wanted[name]:
                return False
    return True


async def _parts(city: City, told: Told) -> AsyncGenerator[tuple[str, Rows], None]:
    async def rows(database: str, statement: str, *about: object) -> Rows:
        return [dict(row) for row in await city.query(database, statement, *about)]

    payment_id = payment_id_of(UUID(told.checkout_id))
    for database, statements in _OF_A_CHECKOUT.items():
        about = payment_id if database == "simulated_provider" else told.checkout_id
        for number, statement in enumerate(statements):
            yield f"{database} {number}", await rows(database, statement, about)
        if database != "simulated_provider":
            yield f"{database} outbox", await rows(database, _STILL_OPEN)
            yield f"{database} parked", await rows(database, _PARKED)
            yield f"{database} replayed", await rows(database, _REPLAYED, told.checkout_id)
            yield f"{database} dead", await rows(database, _DEAD)
    yield "cart", await rows("cart", _OF_A_CART, told.cart_id)
    for number, (database, statement) in enumerate(_OF_A_SKU):
        yield f"sku {number}", await rows(database, statement, told.sku)


class Events:
    """Everything on the public topics, as a reader of committed records gets it."""

    def __init__(self) -> None:
        self._of: dict[str, list[tuple[str, Any]]] = {}

    @classmethod
    async def read(cls, city: City) -> "Events":
        """All of it up to now."""
        events = cls()
        prefix = city.environment["KAFKA_TOPIC_PREFIX"]
        places = [
            TopicPartition(prefix + topic.name, number)
            for topic in TOPICS
            if topic.lane == "transactional"
            for number in range(topic.partitions)
        ]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=city.environment["KAFKA_BOOTSTRAP_SERVERS"],
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        ends = await true_ends(city.environment["KAFKA_BOOTSTRAP_SERVERS"], places)
        async with consumer:
            consumer.assign(places)
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    events._take(records)
        return events

    def _take(self, records: Sequence[Any]) -> None:
        for record in records:
            headers = dict(record.headers)
            about = headers["ce_correlationid"].decode()
            kind = headers["ce_type"].decode()
            self._of.setdefault(about, []).append((kind, orjson.loads(record.value)))

    def about(self, told: Told) -> list[str]:
        """The events of a checkout, its cart and its SKU, each in order, made comparable."""
        return [
            f"{kind} {_comparable(value, told.sku)}"
            for story in (f"main/{told.sku}", told.cart_id, told.checkout_id)
            for kind, value in sorted(self._of.get(story, ()), key=_service_of)
        ]


def _service_of(event: tuple[str, Any]) -> str:
    return event[0].split(".")[0]


def _comparable(value: Any, sku: str) -> str:
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode().replace(sku, "SKU")
    return _NUMBER.sub("number", _TIME.sub("time", _ID.sub("id", text)))
