"""The accounts at the end: every checkout that was accepted, against all that was written down.

Like an accountant from outside: what shoppers were told is compared with the order service's
checkouts and orders, with the payment service's ledger and with the provider's own, and with the
shelves. No service's word is taken for another's.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from trolley.chaos.shoppers import Journey
from trolley.demo.books import Books
from trolley.demo.checks import Check
from trolley.demo.ledgers import Comparison, Ledger, payment_of
from trolley.demo.shop import Level, Shop
from trolley.demo.shopper import CANCELLED, PAID, REJECTED
from trolley.runtime.stack import Runtime

FINAL_STATES = frozenset({PAID, CANCELLED, REJECTED})

# A row that only refuses a late start stands for a checkout that was cancelled before it came.
_CHECKOUTS = """
    SELECT checkout_id::text, CASE state WHEN 'tombstone' THEN 'cancelled' ELSE state END AS state,
        final OR state = 'tombstone' AS final
    FROM checkouts WHERE state <> 'unseen'
"""
_ORDERS = "SELECT checkout_id::text, order_id::text, total_minor FROM orders"
_SOLD = """
    SELECT line.sku, sum(line.quantity) AS pieces
    FROM order_lines AS line JOIN orders USING (order_id) JOIN checkouts USING (checkout_id)
    WHERE checkouts.state = 'paid' AND line.sku IS NOT NULL GROUP BY line.sku
"""


_KEPT = {"captured": 1, "refunded": -1}
_TAKEN = {"captured": 1}
"""Kinds of ledger entries, and how they count."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the databases say of the checkouts of a run."""

    checkouts: Mapping[str, tuple[str, bool]]
    """By checkout: its state, and whether it is final."""
    orders: Sequence[tuple[str, str, int]]
    """Checkout, order and total in minor units; one for each row."""
    books: Comparison
    sold: Mapping[str, int]
    """By SKU: pieces in paid orders."""
    levels: Mapping[str, Level]


async def written(runtime: Runtime, shop: Shop) -> Written:
    """Reads everything; call it when all is at rest."""
    connection = await asyncpg.connect(runtime.database_url("order"))
    try:
        checkouts = await connection.fetch(_CHECKOUTS)
        orders = await connection.fetch(_ORDERS)
        sold = await connection.fetch(_SOLD)
    finally:
        await connection.close()
    payment, provider = (runtime.database_url(name) for name in ("payment", "simulated_provider"))
    async with Books(payment, provider) as books:
        comparison = await books.compare()
    return Written(
        {row["checkout_id"]: (row["state"], row["final"]) for row in checkouts},
        [(row["checkout_id"], row["order_id"], row["total_minor"]) for row in orders],
        comparison,
        {row["sku"]: int(row["pieces"]) for row in sold},
        await shop.levels(),
    )


@dataclass(frozen=True, slots=True)
class Accounts:
    """Every accepted checkout, accounted for. `lost` and `doubled` name checkouts."""

    accepted: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def held(self) -> bool:
        """Whether nothing is lost, nothing doubled, and every figure is what it must be."""
        return not self.lost and not self.doubled and all(check.held for check in self.checks)


def settle(journeys: Sequence[Journey], found: Written, received: Mapping[str, int]) -> Accounts:
    """Compares what shoppers were told with what is written down.

    A checkout is lost when it came to no final state, when nobody has it in the state that its
    shopper was told, or when money or order are missing that the state stands for. It is doubled
    when it has more than one order, or took more money than its total. `received`: pieces that
    were put on the shelf, by SKU.
    """
    accepted = {one.checkout.checkout_id: one for one in journeys if one.checkout is not None}
    orders = Counter(checkout_id for checkout_id, _, _ in found.orders)
    totals = {checkout_id: total for checkout_id, _, total in found.orders}
    kept = _by_checkout(found.books.theirs, accepted, _KEPT)
    taken = _by_checkout(found.books.theirs, accepted, _TAKEN)
    lost = tuple(
        checkout_id
        for checkout_id, journey in accepted.items()
        if journey.state not in FINAL_STATES
        or found.checkouts.get(checkout_id) != (journey.state, True)
        or (journey.state == PAID and not orders[checkout_id])
        or (journey.state == PAID and kept[checkout_id] < totals.get(checkout_id, 0))
    )
    doubled = tuple(
        checkout_id
        for checkout_id, journey in accepted.items()
        if orders[checkout_id] > 1
        or taken[checkout_id] > totals.get(checkout_id, 0)
        or (journey.state != PAID and kept[checkout_id] != 0)
    )
    return Accounts(
        len(accepted),
        lost,
        doubled,
        (*_told(journeys, found), *_money(found), *_shelves(found, received)),
    )


def _told(journeys: Sequence[Journey], found: Written) -> Iterable[Check]:
    """What shoppers were told, against the order service."""
    told = {one.checkout.checkout_id for one in journeys if one.checkout is not None}
    paid = [one for one in journeys if one.state == PAID]
    placed = {order_id for _, order_id, _ in found.orders}
    owned = [order_id for _, order_id, _ in found.orders]
    yield Check(
        "shoppers who came to no end",
        0,
        sum(one.state not in FINAL_STATES for one in journeys),
    )
    yield Check("checkouts that nobody was told of", 0, len(found.checkouts.keys() - told))
    yield Check("orders with an id that another has", 0, len(owned) - len(placed))
    yield Check(
        "paid checkouts whose order is there",
        len(paid),
        sum(one.order_id in placed for one in paid),
    )
    yield Check(
        "checkouts that are paid by the order service's book",
        len(paid),
        sum(state == PAID for state, _ in found.checkouts.values()),
    )


def _money(found: Written) -> Iterable[Check]:
    """The two ledgers against each other, and against the totals of paid orders."""
    paid = {key for key, (state, _) in found.checkouts.items() if state == PAID}
    yield Check(
        "units of money kept at the provider: the totals of paid orders",
        sum(total for checkout_id, _, total in found.orders if checkout_id in paid),
        sum(_KEPT.get(one.kind, 0) * minor for one, minor in found.books.theirs.items()),
    )
    yield Check(
        "ledger entries that differ or stand on one side alone", 0, len(found.books.differing)
    )


def _shelves(found: Written, received: Mapping[str, int]) -> Iterable[Check]:
    """The pieces that are left."""
    left = {sku: pieces - found.sold.get(sku, 0) for sku, pieces in received.items()}
    yield Check(
        "pieces on hand: received and not sold",
        sum(left.values()),
        sum(level.on_hand for level in found.levels.values()),
    )
    yield Check(
        "articles with other pieces on hand than that",
        0,
        sum(found.levels[sku].on_hand != pieces for sku, pieces in left.items()),
    )
    yield Check("pieces reserved", 0, sum(level.reserved for level in found.levels.values()))


def _by_checkout(
    ledger: Ledger, checkouts: Iterable[str], counting: Mapping[str, int]
) -> Mapping[str, int]:
    """Units of money by checkout, all attempts together."""
    sums: Counter[UUID] = Counter()
    for entry, amount in ledger.items():
        sums[entry.payment_id] += counting.get(entry.kind, 0) * amount
    return {checkout_id: sums[payment_of(checkout_id)] for checkout_id in checkouts}
