"""What pieces of an order line are worth, and how an amount lies on lines: exact to the unit.

All shares are cut from running totals, so that giving a line back piece by piece gives back
exactly its gross, and of each tax exactly that tax.
"""

from collections.abc import Sequence

from contracts.messages.parts import OrderLine, RefundedLine, ShippingLine, Tax
from contracts.money import allocate
from contracts.values import Struct
from order_service.after_sale.facts import AfterSale, ClaimedLine

Line = OrderLine | ShippingLine


class Standing(Struct, frozen=True):
    """An order line, and what claims have taken of it so far."""

    line_no: int
    line: Line
    pieces_claimed: int
    claimed_minor: int

    @property
    def pieces_left(self) -> int:
        """Pieces whose money was not given back."""
        return self.line.quantity - self.pieces_claimed

    @property
    def left_minor(self) -> int:
        """Money of the line that is not claimed."""
        return self.line.gross_minor - self.claimed_minor


def standing(lines: Sequence[Line], after: AfterSale) -> tuple[Standing, ...]:
    """The lines of an order, counted from 1, as claims have left them."""
    return tuple(
        Standing(line_no, line, *after.claimed_of(line_no))
        for line_no, line in enumerate(lines, start=1)
    )


def of_pieces(line: Standing, pieces: int) -> ClaimedLine:
    """What so many further pieces are worth, at most what is left of the line."""
    gross, of, first = line.line.gross_minor, line.line.quantity, line.pieces_claimed
    worth = gross * (first + pieces) // of - gross * first // of
    return ClaimedLine(line.line_no, pieces, min(worth, line.left_minor))


def of_amount(lines: Sequence[Standing], amount_minor: int) -> tuple[ClaimedLine, ...]:
    """An amount that is meant for no piece in particular, laid on what is left of each line."""
    shares = allocate(amount_minor, [line.left_minor for line in lines])
    return tuple(
        ClaimedLine(line.line_no, 0, share)
        for line, share in zip(lines, shares, strict=True)
        if share
    )


def refunded_line(line: Standing, claimed: ClaimedLine) -> RefundedLine:
    """A claim on a line as the world is told of it, with the taxes that are in it.

    `line` is as it stood before the claim.
    """
    whole, before = line.line.gross_minor, line.claimed_minor
    after = before + claimed.amount_minor
    taxes = tuple(
        Tax(
            rate=tax.rate,
            inclusive=tax.inclusive,
            amount_minor=tax.amount_minor * after // whole - tax.amount_minor * before // whole,
        )
        for tax in line.line.taxes
        if whole
    )
    return RefundedLine(
        line_no=claimed.line_no,
        sku=line.line.sku if isinstance(line.line, OrderLine) else None,
        name=line.line.name,
        quantity=claimed.pieces,
        net_minor=claimed.amount_minor - sum(tax.amount_minor for tax in taxes),
        taxes=taxes,
        gross_minor=claimed.amount_minor,
    )
