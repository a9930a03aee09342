"""What comes back of the file's orders: what it cancels, and what chance picks."""

from collections import Counter
from importlib.resources import files

import pytest

from trolley.demo.orders import Invoice, InvoiceLine, Orders, decode_orders, parse_orders
from trolley.demo.returns import Comeback, Extent, Matched, Parcel, cancelled_in, picked

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def matched(*lines: str) -> Matched:
    """Lines of a file as `invoice,code,quantity,price,customer`."""
    rows = []
    for line in lines:
        invoice, code, quantity, price, customer = line.split(",")
        rows.append(f"{invoice},{code},X,{quantity},12/1/10 8:26,{price},{customer},France\n")
    return cancelled_in(parse_orders(HEADER + "".join(rows)))


def taken(found: Matched) -> list[tuple[str, str, int]]:
    """Invoice, SKU and pieces of all that comes back."""
    return [
        (comeback.invoice, line.sku, line.quantity)
        for comeback in found.comebacks
        for parcel in comeback.parcels
        for line in parcel.lines
    ]


@pytest.fixture(scope="module")
def wholesaler() -> Orders:
    path = files("trolley.demo") / "data" / "online_retail.csv"
    return parse_orders(decode_orders(path.read_bytes()))


def test_a_cancellation_takes_back_what_its_customer_bought() -> None:
    found = matched("1,A,5,2.50,7", "C2,A,-3,2.50,7")

    (comeback,) = found.comebacks
    assert comeback == Comeback(
        "1", Extent.CANCELLED, (Parcel((InvoiceLine("A@250", 3, 250),), write_off=False),)
    )
    assert (comeback.refund_minor, found.lines, found.pieces) == (750, 1, 3)


@pytest.mark.parametrize(
    "cancelled",
    [
        "C2,A,-3,2.50,8",  # another customer
        "C2,A,-3,2.49,7",  # another price
        "C2,B,-3,2.50,7",  # another article
        "C2,A,3,2.50,7",  # nothing is taken back
        "C2,A,?,2.50,7",  # not legible
        "C2,A,-3,2.555,7",  # no amount of this currency
    ],
)
def test_what_was_not_bought_here_does_not_come_back(cancelled: str) -> None:
    found = matched("1,A,5,2.50,7", cancelled)

    assert (found.comebacks, found.lines, found.pieces) == ((), 0, 0)


def test_a_guest_who_cannot_be_told_from_others_gives_nothing_back() -> None:
    assert matched("1,A,5,2.50,", "C2,A,-3,2.50,").comebacks == ()


def test_nothing_comes_back_that_is_bought_later_only() -> None:
    assert matched("1,B,1,1,7", "C2,A,-3,2.50,7", "3,A,5,2.50,7").comebacks == ()


def test_no_more_comes_back_than_was_bought_the_latest_first() -> None:
    found = matched(
        "1,A,5,2.50,7", "3,A,2,2.50,7", "C4,A,-4,2.50,7", "C5,A,-4,2.50,7", "C6,A,-1,2.50,7"
    )

    assert taken(found) == [("3", "A@250", 2), ("1", "A@250", 2), ("1", "A@250", 3)]
    assert (found.lines, found.pieces, found.pieces_wanted) == (2, 7, 9)


def test_lines_of_one_cancellation_come_back_in_one_parcel() -> None:
    found = matched("1,A,5,2.50,7", "1,B,5,1,7", "C2,A,-1,2.50,7", "C2,B,-2,1,7", "C2,A,-2,2.50,7")

    ((parcel,),) = [comeback.parcels for comeback in found.comebacks]
    assert [(line.sku, line.quantity) for line in parcel.lines] == [("A@250", 3), ("B@100", 2)]


def test_the_wholesalers_cancellations_are_mostly_of_older_orders(wholesaler: Orders) -> None:
    found = cancelled_in(wholesaler)

    assert (len(wholesaler.cancelled), found.lines) == (80, 5)
    assert (found.pieces_wanted, found.pieces) == (10_722, 14)
    assert sum(comeback.refund_minor for comeback in found.comebacks) == 5_675


def some(orders: Orders, seed: int = 1) -> tuple[Comeback, ...]:
    return picked(orders.invoices, besides={"536365"}, one_in=10, seed=seed)


def test_a_tenth_of_the_orders_is_picked_of_each_extent_alike(wholesaler: Orders) -> None:
    comebacks = some(wholesaler)

    assert Counter(comeback.extent for comeback in comebacks) == {
        Extent.WHOLE: 10,
        Extent.PART: 10,
        Extent.REPEATED: 10,
    }
    assert len({comeback.invoice for comeback in comebacks} - {"536365"}) == 30


def test_the_same_seed_picks_the_same_pieces(wholesaler: Orders) -> None:
    assert some(wholesaler) == some(wholesaler)
    assert some(wholesaler) != some(wholesaler, seed=2)


def invoice(*quantities: int) -> Invoice:
    lines = tuple(InvoiceLine(f"S{n}@5", count, 5) for n, count in enumerate(quantities))
    return Invoice("1", "7", "France", lines, len(lines))


@pytest.mark.parametrize("quantities", [(1,), (2,), (1, 1), (9, 1, 4), (3,) * 40])
@pytest.mark.parametrize("seed", range(30))
def test_no_order_gives_back_more_than_was_bought(quantities: tuple[int, ...], seed: int) -> None:
    bought = invoice(*quantities)
    orders = tuple(Invoice(str(n), "7", "France", bought.lines, 1) for n in range(3))

    for comeback in picked(orders, besides=(), one_in=1, seed=seed):
        back: Counter[str] = Counter()
        for parcel in comeback.parcels:
            assert parcel.lines
            back.update({line.sku: line.quantity for line in parcel.lines})
        sold = {line.sku: line.quantity for line in bought.lines}
        assert all(0 < count <= sold[sku] for sku, count in back.items())
        is_all = back == sold
        assert is_all or comeback.extent is not Extent.WHOLE
        if comeback.extent is Extent.PART:
            assert not is_all or sum(quantities) == 1
