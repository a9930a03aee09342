"""Rules of lines and money that hold for any cart."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_service.domain import errors
from cart_service.domain.carts import (
    NO_LINES,
    Cart,
    Lines,
    Wanted,
    add_lines,
    change_quantity,
    merge,
    remove_line,
)
from cart_service.domain.checkouts import QuotedLine, quoted
from cart_service.domain.pricing import Offer, Offers, rounded_minor
from contracts.money import LARGEST_AMOUNT_MINOR, allocate
from contracts.values import replace
from tests.cart_service.examples import (
    CHECKOUT,
    LIMITS,
    NOW,
    checked_out,
    new_cart,
    offers,
    started,
)

SKUS = st.sampled_from(["a", "A", "b", "b ", "c/d", "e", "f", "é"])
QUANTITIES = st.integers(1, LIMITS.pieces_per_line + 5)
WANTED = st.lists(st.builds(Wanted, SKUS, QUANTITIES), min_size=1, max_size=8)
PRICES = st.integers(0, 10**12)
OFFERS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("a", "A", "b", "b ", "c/d", "e", "f", "é"), PRICES)
).map(lambda prices: offers(**prices))


def amount(shown: Sequence[QuotedLine]) -> int:
    return sum((each.unit_price_minor or 0) * each.line.quantity for each in shown)


def price_of(offer: Offer) -> int:
    return offer.unit_price_minor or 0


@st.composite
def carts(draw: st.DrawFn) -> tuple[Cart, Lines, Offers]:
    """Any cart that can come about by adding lines at some prices."""
    at = draw(OFFERS)
    cart, lines = new_cart(), NO_LINES
    for wanted in draw(st.lists(WANTED, max_size=4)):
        known = [each for each in wanted if each.sku in at]
        try:
            cart, lines = add_lines(cart, lines, known, at, LIMITS, NOW)
        except errors.CartError:
            continue
    return cart, lines, at


def assert_sound(cart: Cart, lines: Lines) -> None:
    assert len(lines) <= LIMITS.lines
    assert all(sku == line.sku for sku, line in lines.items())
    assert all(1 <= line.quantity <= LIMITS.pieces_per_line for line in lines.values())
    numbers = [line.line_no for line in lines.values()]
    assert numbers == sorted(set(numbers))
    assert all(1 <= number <= cart.last_line_no for number in numbers)
    assert all(line.seen_price_minor <= line.added_price_minor for line in lines.values())


@given(carts(), WANTED, OFFERS)
def test_a_list_goes_in_whole_or_not_at_all(
    start: tuple[Cart, Lines, Offers], wanted: list[Wanted], now_at: Offers
) -> None:
    cart, lines, _ = start
    before = dict(lines)
    try:
        changed, more = add_lines(cart, lines, wanted, now_at, LIMITS, NOW)
    except errors.CartError:
        assert lines == before
        return
    added = {sku: sum(each.quantity for each in wanted if each.sku == sku) for sku in more}
    old = {sku: lines[sku].quantity if sku in lines else 0 for sku in more}
    assert {sku: line.quantity - old[sku] for sku, line in more.items()} == added
    assert changed.version == cart.version + 1
    assert_sound(changed, more)


@given(carts(), WANTED, OFFERS)
def test_a_list_is_as_good_as_its_parts_one_by_one(
    start: tuple[Cart, Lines, Offers], wanted: list[Wanted], now_at: Offers
) -> None:
    cart, lines, _ = start
    try:
        _, at_once = add_lines(cart, lines, wanted, now_at, LIMITS, NOW)
    except errors.CartError:
        return
    for each in wanted:
        cart, lines = add_lines(cart, lines, [each], now_at, LIMITS, NOW)
    assert lines == at_once


@given(carts(), st.data())
def test_lines_stay_sound_through_changes(
    start: tuple[Cart, Lines, Offers], data: st.DataObject
) -> None:
    cart, lines, at = start
    for _ in range(4):
        if not lines:
            return
        line_no = data.draw(st.sampled_from([line.line_no for line in lines.values()]))
        if data.draw(st.booleans()):
            cart, lines = remove_line(cart, lines, line_no, NOW)
        else:
            quantity = data.draw(st.integers(1, LIMITS.pieces_per_line))
            cart, lines = change_quantity(cart, lines, line_no, quantity, at, LIMITS, NOW)
        assert_sound(cart, lines)


@given(carts(), carts())
def test_no_piece_is_lost_when_lines_come_back(
    into: tuple[Cart, Lines, Offers], back: tuple[Cart, Lines, Offers]
) -> None:
    cart, lines, _ = into
    returning = list(back[1].values())

    merged_cart, merged = merge(cart, lines, returning, CHECKOUT, LIMITS, NOW)

    pieces = {sku: line.quantity for sku, line in lines.items()}
    for line in returning:
        pieces[line.sku] = pieces.get(line.sku, 0) + line.quantity
    kept = {sku: line.quantity for sku, line in merged.items()}
    for note in merged_cart.left_out:
        kept[note.sku] = kept.get(note.sku, 0) + note.quantity
    assert kept == pieces
    assert_sound(merged_cart, merged)


@given(carts())
def test_what_is_charged_is_what_was_shown_and_adds_up(start: tuple[Cart, Lines, Offers]) -> None:
    cart, lines, at = start
    if not lines:
        return

    outcome = started(cart, lines, at)

    command = outcome.command
    assert command.total_minor == sum(line.gross_minor for line in command.lines)
    assert command.total_minor == amount(quoted(cart, lines, at))
    assert command.total_minor == amount(quoted(outcome.cart, outcome.lines, {}))
    assert command.total_minor <= LARGEST_AMOUNT_MINOR
    for line in command.lines:
        one_by_one = allocate(line.gross_minor, [1] * line.quantity)
        assert sum(one_by_one) == line.gross_minor
        assert set(one_by_one) == {line.unit_price_minor}


@given(carts(), st.dictionaries(SKUS, st.integers(-50, 50)))
def test_nobody_pays_more_than_they_saw_or_accepted(
    start: tuple[Cart, Lines, Offers], moves: dict[str, int]
) -> None:
    cart, lines, at = start
    if not lines:
        return
    now_at = {
        sku: replace(each, unit_price_minor=max(0, price_of(each) + moves.get(sku, 0)))
        for sku, each in at.items()
    }
    seen = {sku: line.seen_price_minor for sku, line in lines.items()}
    dearer = {sku for sku in lines if price_of(now_at[sku]) > seen[sku]}
    accepted = None
    if dearer:
        with pytest.raises(errors.QuoteChanged) as refused:
            checked_out(cart, lines, now_at)
        assert {each.sku for each in refused.value.differences} == dearer
        accepted = refused.value.quote

    command = started(cart, lines, now_at, accepted=accepted).command

    most = accepted.unit_prices_minor if accepted else tuple(seen.values())
    assert all(
        line.unit_price_minor <= price for line, price in zip(command.lines, most, strict=True)
    )


@given(st.integers(0, LARGEST_AMOUNT_MINOR), st.sampled_from([1, 5, 10, 100]))
def test_rounding_moves_a_price_by_half_a_step_at_most_and_never_to_nothing(
    price: int, unit: int
) -> None:
    rounded = rounded_minor(price, unit)

    assert rounded % unit == 0
    assert (rounded == 0) == (price == 0)
    assert abs(rounded - price) * 2 <= unit or rounded == unit


@given(carts())
def test_repeating_a_checkout_changes_nothing(start: tuple[Cart, Lines, Offers]) -> None:
    cart, lines, at = start
    if not lines:
        return
    first = started(cart, lines, at)

    assert checked_out(first.cart, first.lines, {}) == checked_out(first.cart, NO_LINES, at)
