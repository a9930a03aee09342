"""Act 2: every invoice of the file is a shopper with a cart, a checkout and an order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trolley.client import ClientError
from trolley.demo.cards import STRIPE, VISA
from trolley.demo.checks import Check
from trolley.demo.crowd import crowd
from trolley.demo.orders import CURRENCY, Invoice
from trolley.demo.report import InvoiceOutcome
from trolley.demo.screen import Bar
from trolley.demo.shelves import shelves
from trolley.demo.shopper import PAID, Shopper
from trolley.demo.stage import Findings, Stage


@dataclass(frozen=True, slots=True)
class _Bought:
    """What became of an invoice, and whether its order says line by line what the file says."""

    outcome: InvoiceOutcome
    lines_alike: int


async def replay_invoices(stage: Stage) -> Findings:
    """Buys every invoice, a customer's one after the other, many shoppers at once."""
    orders = stage.orders
    bar = stage.screen.bar("invoices bought", len(orders.invoices))

    async def walk(invoices: Sequence[Invoice]) -> list[_Bought]:
        return [await _buy(stage, invoice, bar) for invoice in invoices]

    # Who has most to buy comes first, so that nobody's long row is what all wait for at the end.
    shoppers = sorted(orders.shoppers(), key=len, reverse=True)
    rows = await crowd(shoppers, walk, at_once=stage.settings.shoppers_at_once)
    by_number = {one.outcome.invoice: one for row in rows for one in row}
    bought = [by_number[invoice.number] for invoice in orders.invoices]
    totals = {invoice.number: invoice.total_minor for invoice in orders.invoices}
    outcomes = tuple(one.outcome for one in bought)
    levels = await shelves(stage, dict.fromkeys(orders.needed(), 0))
    return Findings(
        (
            Check("orders paid", len(orders.invoices), sum(one.status == PAID for one in outcomes)),
            Check(
                "orders, each with an id of its own",
                len(orders.invoices),
                len({one.order_id for one in outcomes} - {None}),
            ),
            Check(
                "orders whose total is the sum of its lines in the file",
                len(orders.invoices),
                sum(one.total_minor == totals[one.invoice] for one in outcomes),
            ),
            Check(
                f"all orders together, in pence ({CURRENCY})",
                orders.total_minor,
                sum(one.total_minor or 0 for one in outcomes),
            ),
            Check(
                "lines of orders as in the file: SKU, pieces, price",
                sum(len(invoice.lines) for invoice in orders.invoices),
                sum(one.lines_alike for one in bought),
            ),
            Check(
                "SKUs with nothing on hand and nothing reserved",
                len(orders.needed()),
                sum((level.on_hand, level.reserved) == (0, 0) for level in levels.values()),
            ),
        ),
        {
            "shoppers": len(rows),
            "file lines": sum(one.lines for one in outcomes),
            "longest order in lines": max(len(invoice.lines) for invoice in orders.invoices),
        },
        invoices=outcomes,
    )


async def _buy(stage: Stage, invoice: Invoice, bar: Bar) -> _Bought:
    shopper = Shopper(
        stage.shop,
        stage.settings,
        name=f"Customer {invoice.customer_id}" if invoice.customer_id else "Guest",
        sub=invoice.customer_id,
        country=invoice.country,
        provider=STRIPE,
    )
    try:
        await shopper.open_cart()
        await shopper.put({line.sku: line.quantity for line in invoice.lines})
        status = await shopper.follow(await shopper.check_out(VISA))
        order_id = status["order_id"]
        order = None if order_id is None else await shopper.order(order_id)
    except ClientError as error:
        outcome = InvoiceOutcome(
            invoice.number, None, f"error: {error}", None, CURRENCY, invoice.file_lines
        )
        return _Bought(outcome, 0)
    finally:
        bar.advance()
    outcome = InvoiceOutcome(
        invoice=invoice.number,
        order_id=order_id,
        status=status["state"] if order is None else order["state"],
        total_minor=None if order is None else order["total_minor"],
        currency=CURRENCY if order is None else order["currency"],
        lines=invoice.file_lines,
    )
    return _Bought(outcome, 0 if order is None else _lines_alike(invoice, order))


def _lines_alike(invoice: Invoice, order: Mapping[str, Any]) -> int:
    found = {line["sku"]: line for line in order["lines"]}
    if len(found) != len(order["lines"]) or len(found) != len(invoice.lines):
        return 0
    return sum(
        line.sku in found
        and found[line.sku]["quantity"] == line.quantity
        and found[line.sku]["unit_price_minor"] == line.price_minor
        and found[line.sku]["gross_minor"] == line.quantity * line.price_minor
        for line in invoice.lines
    )
