"""Act 3: goods come back, in parcels and at different times, and exactly their money goes back."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trolley.client import ClientError
from trolley.demo.checks import Check
from trolley.demo.crowd import crowd, settled
from trolley.demo.ledgers import Comparison, payment_of, refunded_minor
from trolley.demo.orders import CURRENCY, SkipReason
from trolley.demo.returns import Comeback, Extent, cancelled_in, picked
from trolley.demo.shelves import shelves
from trolley.demo.shop import Level
from trolley.demo.stage import Findings, Stage

CREDIT_NOTE = "credit_note"


@dataclass(frozen=True, slots=True)
class Refunded:
    """What an order says once its parcels are in the house and its money has gone back.

    `credited_minor` is the sum of its credit notes.
    """

    checkout_id: str | None
    parcels: int = 0
    refunded_minor: int = 0
    credited_minor: int = 0


async def take_goods_back(stage: Stage) -> Findings:
    """Returns what the file cancels and what chance picks, and compares money with prices."""
    settings, orders = stage.settings, stage.orders
    matched = cancelled_in(orders)
    comebacks = (
        *matched.comebacks,
        *picked(
            orders.invoices,
            besides={comeback.invoice for comeback in matched.comebacks},
            one_in=settings.returns_one_in,
            seed=settings.seed,
        ),
    )
    order_ids = {one.invoice: one.order_id for one in stage.invoices}
    bar = stage.screen.bar("orders of which something comes back", len(comebacks))

    async def walk(comeback: Comeback) -> Refunded:
        try:
            return await _take_back(stage, order_ids.get(comeback.invoice), comeback)
        except ClientError:
            return Refunded(None)
        finally:
            bar.advance()

    refunds = await crowd(comebacks, walk, at_once=settings.shoppers_at_once)
    payments = [payment_of(one.checkout_id) for one in refunds if one.checkout_id]
    async with stage.books() as books:
        comparison = (await books.compare()).of(payments)
    wanted = Counter(dict.fromkeys(orders.needed(), 0))
    for comeback in comebacks:
        wanted.update(comeback.restocked)
    levels = await shelves(stage, wanted)
    return Findings(
        (
            *_money_checks(comebacks, refunds, comparison),
            *_stock_checks(wanted, levels),
        ),
        {
            "orders": Counter(comeback.extent.value for comeback in comebacks),
            "cancelled lines matched": matched.lines,
            "cancelled lines unmatched": orders.skipped[SkipReason.CANCELLATION] - matched.lines,
            "cancelled pieces matched": matched.pieces,
            "cancelled pieces unmatched": matched.pieces_wanted - matched.pieces,
        },
    )


async def _take_back(stage: Stage, order_id: str | None, comeback: Comeback) -> Refunded:
    if order_id is None:  # it was never paid for, which act 2 has told
        return Refunded(None)
    shop = stage.shop
    order = await shop.order(order_id)
    numbers = {line["sku"]: number for number, line in enumerate(order["lines"], start=1)}
    for parcel in comeback.parcels:
        await shop.take_back(
            order_id,
            {numbers[line.sku]: line.quantity for line in parcel.lines},
            write_off=parcel.write_off,
            reason=comeback.extent.value,
        )

    async def now() -> Mapping[str, Any]:
        return await shop.order(order_id)

    after = (await settled(now, _is_at_rest, stage.settings))["after_sale"]
    documents = await shop.documents(order_id)
    return Refunded(
        order["checkout_id"],
        sum(one["booked"] for one in after["returns"]),
        after["refunded_minor"],
        sum(one["gross_minor"] for one in documents if one["kind"] == CREDIT_NOTE),
    )


def _is_at_rest(order: Mapping[str, Any]) -> bool:
    after = order["after_sale"]
    return all(one["booked"] for one in after["returns"]) and all(
        one["status"] == "refunded" for one in after["refunds"]
    )


def _money_checks(
    comebacks: Sequence[Comeback], refunds: Sequence[Refunded], comparison: Comparison
) -> Iterable[Check]:
    both = tuple(zip(comebacks, refunds, strict=True))
    yield Check(
        "parcels booked",
        sum(len(comeback.parcels) for comeback in comebacks),
        sum(refund.parcels for refund in refunds),
    )
    yield Check(
        "orders refunded to the unit what their pieces cost",
        len(comebacks),
        sum(refund.refunded_minor == comeback.refund_minor for comeback, refund in both),
    )
    for title, of_file in (("cancellations of the file", True), ("picked orders", False)):
        those = [each for each in both if (each[0].extent is Extent.CANCELLED) is of_file]
        yield Check(
            f"refunded for {title}, in pence ({CURRENCY})",
            sum(comeback.refund_minor for comeback, _ in those),
            sum(refund.refunded_minor for _, refund in those),
        )
    expected = sum(comeback.refund_minor for comeback in comebacks)
    yield Check(
        f"credit notes of them together, in pence ({CURRENCY})",
        expected,
        sum(refund.credited_minor for refund in refunds),
    )
    yield Check(
        "units refunded at the provider",
        expected,
        refunded_minor(comparison.theirs),
    )


def _stock_checks(wanted: Mapping[str, int], levels: Mapping[str, Level]) -> Iterable[Check]:
    yield Check(
        "pieces on hand: those that were not written off",
        sum(wanted.values()),
        sum(level.on_hand for level in levels.values()),
    )
    yield Check(
        "SKUs with exactly the pieces that came back",
        len(wanted),
        sum(level == Level(wanted[sku], 0) for sku, level in levels.items()),
    )
