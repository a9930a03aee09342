"""What a page of Stripe's says is bought: the order's lines, to the last unit of what is paid."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.messages.parts import ON_PAGE, ChargedLine
from contracts.money import EXPONENTS, LARGEST_AMOUNT_MINOR
from payment_service.providers.port import Charge
from payment_service.providers.stripe.lines import LONGEST_NAME, MOST_LINES, line_items_of
from stripe_sandbox.currencies import step_minor

MUGS = ChargedLine(name="Mug", quantity=3, amount_minor=1000)


def charge(
    *lines: ChargedLine,
    amount: int | None = None,
    currency: str = "GBP",
    number: str | None = "7Q2",
) -> Charge:
    """A charge of what these lines cost, unless it is of another amount."""
    return Charge(
        idempotency_key="1:1:charge",
        payment_id=UUID(int=1),
        attempt=1,
        amount_minor=sum(line.amount_minor for line in lines) if amount is None else amount,
        currency=currency,
        method_token=ON_PAGE,
        flow="automatic",
        began_at=datetime(2025, 1, 1, tzinfo=UTC),
        hosted=True,
        order_number=number,
        lines=lines,
    )


def shown(request: Charge) -> list[tuple[str, int, int]]:
    """(name, price of one, quantity) of each line item."""
    found = []
    for item in line_items_of(request):
        price = item["price_data"]
        assert price["currency"] == request.currency.lower()
        found.append((price["product_data"]["name"], price["unit_amount"], item["quantity"]))
    return found


lines = st.builds(
    ChargedLine,
    name=st.text(max_size=300),
    quantity=st.integers(1, 10_000),
    amount_minor=st.integers(0, LARGEST_AMOUNT_MINOR // 200),
)
in_tens = lines.map(
    lambda line: line.model_copy(update={"amount_minor": line.amount_minor // 10 * 10})
)


@given(
    st.one_of(st.lists(lines, max_size=8), st.lists(in_tens, max_size=8)),
    st.sampled_from(sorted(EXPONENTS)),
    st.sampled_from((0, 0, 0, -10, 10)),
)
def test_the_items_come_to_the_amount_in_prices_that_stripe_takes(
    lines: list[ChargedLine], currency: str, more: int
) -> None:
    step = step_minor(currency)
    total = sum(line.amount_minor for line in lines) // step * step
    request = charge(*lines, amount=max(total + more, 10), currency=currency)

    items = shown(request)

    assert sum(price * quantity for _, price, quantity in items) == request.amount_minor
    for name, price, quantity in items:
        assert name.strip()
        assert len(name) <= LONGEST_NAME
        assert price >= 0
        assert price % step == 0
        assert quantity >= 1
    assert items == shown(request)


@pytest.mark.parametrize(
    ("line", "currency", "item"),
    [
        (ChargedLine(name="Mug", quantity=3, amount_minor=900), "GBP", ("Mug", 300, 3)),
        (MUGS, "GBP", ("3 x Mug", 1000, 1)),
        (MUGS, "JPY", ("3 x Mug", 1000, 1)),
        (ChargedLine(name="Mug", quantity=4, amount_minor=1000), "GBP", ("Mug", 250, 4)),
        # Stripe takes thousandths in tens, and a price is an amount, too.
        (ChargedLine(name="Mug", quantity=8, amount_minor=1000), "KWD", ("8 x Mug", 1000, 1)),
        (ChargedLine(name="Mug", quantity=8, amount_minor=1600), "KWD", ("Mug", 200, 8)),
        (ChargedLine(name="Gift", quantity=2, amount_minor=0), "GBP", ("Gift", 0, 2)),
    ],
    ids=str,
)
def test_pieces_without_a_price_of_their_own_are_sold_as_one(
    line: ChargedLine, currency: str, item: tuple[str, int, int]
) -> None:
    rest = ChargedLine(name="Parcel", quantity=1, amount_minor=500)

    assert shown(charge(line, rest, currency=currency)) == [item, ("Parcel", 500, 1)]


def test_as_many_lines_as_stripe_takes_are_shown_and_one_more_is_the_order() -> None:
    assert len(shown(charge(*[MUGS] * MOST_LINES))) == 100
    assert shown(charge(*[MUGS] * (MOST_LINES + 1))) == [("Order 7Q2", 101_000, 1)]


@pytest.mark.parametrize(
    "request_",
    [
        charge(amount=1000),
        charge(MUGS, MUGS, amount=1000),
        charge(ChargedLine(name=" ", quantity=1, amount_minor=1000)),
        charge(*[ChargedLine(name="Mug", quantity=1, amount_minor=5)] * 200),
        charge(
            ChargedLine(name="Mug", quantity=1, amount_minor=995),
            ChargedLine(name="Bead", quantity=1, amount_minor=5),
            currency="KWD",
        ),
    ],
    ids=["no lines", "another amount", "no name", "too many", "no amount that Stripe takes"],
)
def test_what_cannot_be_shown_is_the_order(request_: Charge) -> None:
    assert shown(request_) == [("Order 7Q2", 1000, 1)]


def test_an_order_without_a_number_is_the_shoppers() -> None:
    assert shown(charge(amount=1000, number=None)) == [("Your order", 1000, 1)]


def test_a_name_that_is_too_long_for_stripe_is_shortened_behind_its_quantity() -> None:
    long = MUGS.model_copy(update={"name": "Mug" * 100})

    ((name, _, _),) = shown(charge(long))

    assert len(name) == LONGEST_NAME
    assert name.startswith("3 x MugMug")
    assert name.endswith("…")
