"""Which pieces of an order have left the house, stay in it, or are still to be shipped.

Of each line: ordered = shipped + withheld + left. Withheld are pieces that were taken back without
having left the house.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain

from contracts.messages.order import ShipOrder
from contracts.messages.parts import LinePieces, OrderLine
from contracts.values import replace
from order_service.checkout.facts import Fulfilment, Order, Pieces, Shipment
from order_service.checkout.outcomes import (
    KNOWN,
    NoSuchLine,
    ParcelKnown,
    Stale,
    TooManyPieces,
)


def pieces_left(order: Order, lines: Sequence[OrderLine]) -> list[int]:
    """How many pieces of each line are still to be shipped."""
    if order.fulfilment is Fulfilment.SHIPPED:
        return [0] * len(lines)
    left = [line.quantity for line in lines]
    for one in chain(order.withheld, *(shipment.lines for shipment in order.shipments)):
        left[one.line_no - 1] -= one.pieces
    return left


def pieces_shipped(order: Order, lines: Sequence[OrderLine]) -> list[int]:
    """How many pieces of each line have left the house, come back or not."""
    left = pieces_left(order, lines)
    shipped = [line.quantity - rest for line, rest in zip(lines, left, strict=True)]
    for one in order.withheld:
        shipped[one.line_no - 1] -= one.pieces
    return shipped


def by_line(wanted: Iterable[LinePieces]) -> dict[int, int]:
    """Pieces by the number of their line; a line may be named more than once."""
    pieces: dict[int, int] = {}
    for line in wanted:
        pieces[line.line_no] = pieces.get(line.line_no, 0) + line.quantity
    return pieces


def shipment_of(command: ShipOrder) -> Shipment:
    """The shipment that is asked for."""
    lines = tuple(Pieces(*line) for line in sorted(by_line(command.lines).items()))
    return Shipment(command.carrier, command.tracking, lines)


def parcel(order: Order, shipment: Shipment) -> Stale | None:
    """What to answer where a parcel with the carrier's number of this one is known already."""
    if not shipment.tracking:
        return None
    waiting = () if order.shipment is None else (order.shipment,)
    for number, known in enumerate((*order.shipments, *waiting), start=1):
        if (known.carrier, known.tracking) == (shipment.carrier, shipment.tracking):
            return KNOWN if known.lines == shipment.lines else Stale(ParcelKnown(number))
    return None


def too_much(
    order: Order, lines: Sequence[OrderLine], wanted: Sequence[Pieces]
) -> NoSuchLine | TooManyPieces | None:
    """Why these pieces cannot be shipped, or None."""
    left = pieces_left(order, lines) if wanted else []
    for one in wanted:
        if one.line_no > len(left):
            return NoSuchLine(one.line_no)
        if one.pieces > left[one.line_no - 1]:
            return TooManyPieces(one.line_no, left[one.line_no - 1])
    return None


def sent(order: Order, lines: Sequence[OrderLine], shipment: Shipment, now: datetime) -> Order:
    """The order once this shipment has left; without lines it has taken all that was left."""
    taken = shipment.lines
    if not taken and (order.shipments or order.withheld):
        rest = enumerate(pieces_left(order, lines), start=1)
        taken = tuple(Pieces(line_no, pieces) for line_no, pieces in rest if pieces)
    left = replace(shipment, lines=taken, left_at=now)
    shipped = replace(order, shipment=None, shipments=(*order.shipments, left))
    return settled(shipped, lines) if taken else replace(shipped, fulfilment=Fulfilment.SHIPPED)


def settled(order: Order, lines: Sequence[OrderLine]) -> Order:
    """The fulfilment axis of an order of which something has left: partly, or all there is to."""
    rest = any(pieces_left(order, lines))
    fulfilment = Fulfilment.PARTLY_SHIPPED if rest else Fulfilment.SHIPPED
    return replace(order, fulfilment=fulfilment)
