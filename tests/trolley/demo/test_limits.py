"""A file of large orders raises the services' limits, as far as they go."""

import pytest

from cart_service.settings import CartSettings
from catalog_service.settings import CatalogSettings
from trolley.demo.limits import MOST_LINES, MOST_PIECES, TooLarge, environment_for
from trolley.demo.orders import Orders, parse_orders

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
KEY = "k" * 32


def orders(*lines: tuple[str, int, str]) -> Orders:
    """Lines of one invoice: code, quantity, price."""
    rows = (f"1,{code},X,{count},12/1/10 8:26,{price},,France\n" for code, count, price in lines)
    return parse_orders(HEADER + "".join(rows))


def test_limits_that_are_wide_enough_stay_as_they_are() -> None:
    assert environment_for(orders(("A", 10_000, "1"))) == {}


def test_many_pieces_of_one_line_raise_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = environment_for(orders(("A", 80_000, "1"), ("A", 995, "1")))

    assert environment == {"CART_MAX_PIECES_PER_LINE": "80995"}
    monkeypatch.setenv("TROLLEY_SIGNING_KEY", KEY)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert CartSettings().max_pieces_per_line == 80_995


def test_many_prices_of_one_product_raise_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [("A", 1, f"{1 + cents / 100:.2f}") for cents in range(1_000)]
    rows = [f"{n},{c},X,{q},12/1/10 8:26,{p},,France\n" for n, (c, q, p) in enumerate(lines)]
    extra = "x,A,X,1,12/1/10 8:26,999,,France\n"

    environment = environment_for(parse_orders(HEADER + "".join(rows) + extra))

    assert environment == {"CATALOG_VARIANTS_PER_PRODUCT": "1001"}
    monkeypatch.setenv("TROLLEY_SIGNING_KEY", KEY)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert CatalogSettings().variants_per_product == 1_001


def test_an_order_that_no_setting_makes_room_for_is_refused() -> None:
    with pytest.raises(TooLarge, match="invoice 1 with lines"):
        environment_for(orders(*((f"A{n}", 1, "1") for n in range(MOST_LINES + 1))))
    with pytest.raises(TooLarge, match="A@100 with pieces"):
        environment_for(orders(("A", MOST_PIECES + 1, "1")))


def test_the_settings_can_be_raised_as_far_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROLLEY_SIGNING_KEY", KEY)
    monkeypatch.setenv("CART_MAX_LINES", str(MOST_LINES))
    monkeypatch.setenv("CART_MAX_PIECES_PER_LINE", str(MOST_PIECES))

    settings = CartSettings()

    assert (settings.max_lines, settings.max_pieces_per_line) == (MOST_LINES, MOST_PIECES)
