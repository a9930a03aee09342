"""Which pieces of the file's orders come back: those it cancels, and some that chance picks. Pure.

A cancellation gives back what the same customer bought earlier in the file, of the same code and
price. The file begins in mid-life, so most of what it cancels was bought before its first line.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from trolley.demo.orders import CancelledLine, Invoice, InvoiceLine, Orders


class Extent(StrEnum):
    """How much of an order comes back, and in how many parcels."""

    CANCELLED = "cancelled in the file"
    WHOLE = "whole"
    PART = "in part"
    REPEATED = "in part, repeatedly"


@dataclass(frozen=True, slots=True)
class Parcel:
    """Pieces of one order that come back together; their price is what is refunded."""

    lines: tuple[InvoiceLine, ...]
    write_off: bool = False

    @property
    def refund_minor(self) -> int:
        """What was paid for these pieces."""
        return sum(line.total_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class Comeback:
    """All that comes back of one invoice, parcel after parcel."""

    invoice: str
    extent: Extent
    parcels: tuple[Parcel, ...]

    @property
    def refund_minor(self) -> int:
        """What was paid for all of it."""
        return sum(parcel.refund_minor for parcel in self.parcels)

    @property
    def restocked(self) -> Mapping[str, int]:
        """Pieces by SKU that can be sold again."""
        pieces: dict[str, int] = {}
        for parcel in self.parcels:
            for line in parcel.lines:
                if not parcel.write_off:
                    pieces[line.sku] = pieces.get(line.sku, 0) + line.quantity
        return pieces


@dataclass(frozen=True, slots=True)
class Matched:
    """What the file's cancellations come to.

    A line is matched if any of its pieces were bought; `pieces` counts those, and `pieces_wanted`
    all that legible lines name.
    """

    comebacks: tuple[Comeback, ...]
    lines: int
    pieces: int
    pieces_wanted: int


def cancelled_in(orders: Orders) -> Matched:
    """The comebacks of the file's cancellations, the latest purchase first; one parcel for each."""
    left = {
        (invoice.number, line.sku): line.quantity
        for invoice in orders.invoices
        for line in invoice.lines
    }
    parcels: dict[str, dict[str, list[InvoiceLine]]] = {}
    matched_lines = matched_pieces = 0
    for line in orders.cancelled:
        missing = line.quantity
        for invoice in _bought_before(orders, line):
            taken = min(missing, left.get((invoice.number, line.sku), 0))
            if taken:
                left[invoice.number, line.sku] -= taken
                missing -= taken
                cancelled = parcels.setdefault(invoice.number, {}).setdefault(line.number, [])
                cancelled.append(InvoiceLine(line.sku, taken, line.price_minor))
        matched_lines += missing < line.quantity
        matched_pieces += line.quantity - missing
    return Matched(
        tuple(
            Comeback(
                invoice,
                Extent.CANCELLED,
                tuple(Parcel(_merged(lines)) for lines in by_cancellation.values()),
            )
            for invoice, by_cancellation in parcels.items()
        ),
        matched_lines,
        matched_pieces,
        sum(line.quantity for line in orders.cancelled),
    )


def picked(
    invoices: Collection[Invoice], *, besides: Collection[str], one_in: int, seed: int
) -> tuple[Comeback, ...]:
    """One in so many of the invoices come back, a third of them whole, in part, and repeatedly.

    Those of `besides` are left as they are. Every other parcel is written off.
    """
    random = Random(seed)  # noqa: S311 - must be repeatable, not secret
    others = [invoice for invoice in invoices if invoice.number not in besides]
    extents = (Extent.WHOLE, Extent.PART, Extent.REPEATED)
    chosen = random.sample(others, min(len(invoices) // one_in, len(others)))
    return tuple(
        _comeback(invoice, extents[place % len(extents)], write_off=place % 2 == 1, random=random)
        for place, invoice in enumerate(chosen)
    )


def _comeback(invoice: Invoice, extent: Extent, *, write_off: bool, random: Random) -> Comeback:
    match extent:
        case Extent.WHOLE | Extent.CANCELLED:
            parcels = (Parcel(invoice.lines, write_off),)
        case Extent.PART:
            parcels = (Parcel(_some(invoice.lines, random), write_off),)
        case Extent.REPEATED:
            first = _some(invoice.lines, random)
            rest = _without(invoice.lines, first)
            second = (Parcel(_some(rest, random), not write_off),) if rest else ()
            parcels = (Parcel(first, write_off), *second)
    return Comeback(invoice.number, extent, parcels)


def _bought_before(orders: Orders, line: CancelledLine) -> Iterable[Invoice]:
    """What the customer of a cancelled line had bought by then, the latest first."""
    if line.customer_id is None:
        return ()
    earlier = reversed(orders.invoices[: line.invoices_before])
    return (invoice for invoice in earlier if invoice.customer_id == line.customer_id)


def _merged(lines: Iterable[InvoiceLine]) -> tuple[InvoiceLine, ...]:
    pieces: dict[tuple[str, int], int] = {}
    for line in lines:
        pieces[line.sku, line.price_minor] = pieces.get((line.sku, line.price_minor), 0) + (
            line.quantity
        )
    return tuple(InvoiceLine(sku, count, price) for (sku, price), count in pieces.items())


def _some(lines: tuple[InvoiceLine, ...], random: Random) -> tuple[InvoiceLine, ...]:
    """Some pieces of some lines, never all: at least one, unless there is only one."""
    chosen = sorted(random.sample(range(len(lines)), random.randint(1, (len(lines) + 1) // 2)))
    return tuple(
        InvoiceLine(
            lines[index].sku,
            random.randint(1, max(1, lines[index].quantity - 1)),
            lines[index].price_minor,
        )
        for index in chosen
    )


def _without(
    lines: tuple[InvoiceLine, ...], taken: tuple[InvoiceLine, ...]
) -> tuple[InvoiceLine, ...]:
    gone = {line.sku: line.quantity for line in taken}
    rest = (
        InvoiceLine(line.sku, line.quantity - gone.get(line.sku, 0), line.price_minor)
        for line in lines
    )
    return tuple(line for line in rest if line.quantity)
