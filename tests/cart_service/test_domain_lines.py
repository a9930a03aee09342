"""What a shopper may do to the lines of a cart, and what is refused."""

import pytest

from cart_service.domain import errors
from cart_service.domain.carts import (
    NO_LINES,
    Active,
    Bought,
    Caller,
    CustomerOwner,
    LeftOut,
    Line,
    Locked,
    Merged,
    Wanted,
    add_lines,
    change_quantity,
    clear,
    merge,
    opened,
    remove_line,
    require_changeable,
)
from contracts.money import LARGEST_AMOUNT_MINOR
from contracts.values import replace
from tests.cart_service.examples import (
    CART,
    CHECKOUT,
    LIMITS,
    NOW,
    ORDER,
    OTHER_CART,
    TOKEN_HASH,
    filled,
    new_cart,
    offer,
    offers,
)


def test_opening_a_cart_tells_of_it_once() -> None:
    cart, event = opened(CART, "main", CustomerOwner("ada"), "GBP", NOW)

    assert cart.state == Active()
    assert (cart.version, cart.event_seq) == (1, 1)
    assert (event.status, event.customer_id, event.event_seq) == ("active", "ada", 1)


def test_a_guest_is_not_named_in_events() -> None:
    assert opened(CART, "main", new_cart().owner, "GBP", NOW)[1].customer_id is None


class TestOwnership:
    def test_a_customer_owns_a_cart_within_one_shop(self) -> None:
        cart = new_cart(CustomerOwner("ada"))

        assert cart.belongs_to(Caller(shop_id="main", customer_id="ada"))
        assert not cart.belongs_to(Caller(shop_id="other", customer_id="ada"))
        assert not cart.belongs_to(Caller(shop_id="main", customer_id="bob"))
        assert not cart.belongs_to(Caller(token_hash="ada"))
        assert not cart.belongs_to(Caller())

    def test_a_guest_cart_answers_to_its_token_alone(self) -> None:
        cart = new_cart()

        assert cart.belongs_to(Caller(token_hash=TOKEN_HASH))
        assert cart.belongs_to(Caller("main", "ada", TOKEN_HASH))
        assert not cart.belongs_to(Caller(token_hash="00" * 32))
        assert not cart.belongs_to(Caller("main", TOKEN_HASH))
        assert not cart.belongs_to(Caller())


class TestAddLines:
    def test_lines_are_numbered_and_keep_name_and_price(self) -> None:
        cart, lines = filled(at=offers(a=250, b=100), a=2, b=1)

        assert lines["a"] == Line(1, "a", "Name of a", 2, 250, 250)
        assert lines["b"] == Line(2, "b", "Name of b", 1, 100, 100)
        assert (cart.version, cart.last_line_no) == (2, 2)

    def test_more_of_the_same_raises_its_quantity_and_keeps_the_price_when_added(self) -> None:
        cart, lines = filled(at=offers(a=250), a=2)

        cart, lines = add_lines(cart, lines, [Wanted("a", 3)], offers(a=300), LIMITS, NOW)

        assert lines == {"a": Line(1, "a", "Name of a", 5, 250, 250)}
        assert (cart.version, cart.last_line_no) == (3, 1)

    def test_a_better_price_shown_meanwhile_is_what_the_shopper_saw_last(self) -> None:
        cart, lines = filled(at=offers(a=250), a=2)

        _, lines = add_lines(cart, lines, [Wanted("a", 1)], offers(a=200), LIMITS, NOW)

        assert (lines["a"].added_price_minor, lines["a"].seen_price_minor) == (250, 200)

    def test_a_sku_twice_in_a_list_is_one_line(self) -> None:
        _, lines = add_lines(
            new_cart(), NO_LINES, [Wanted("a", 2), Wanted("a", 3)], offers(a=1), LIMITS, NOW
        )

        assert {sku: line.quantity for sku, line in lines.items()} == {"a": 5}

    def test_skus_are_case_sensitive(self) -> None:
        _, lines = filled(at=offers(a=1, A=2), a=1, A=1)

        assert {sku: line.added_price_minor for sku, line in lines.items()} == {"a": 1, "A": 2}

    def test_the_number_of_a_removed_line_is_not_given_again(self) -> None:
        cart, lines = filled(at=offers(a=1, b=1), a=1, b=1)
        cart, lines = remove_line(cart, lines, 2, NOW)

        _, lines = add_lines(cart, lines, [Wanted("b", 1)], offers(b=1), LIMITS, NOW)

        assert lines["b"].line_no == 3

    def test_exactly_as_much_as_allowed_fits(self) -> None:
        skus = "abcde"

        _, lines = filled(at=offers(**dict.fromkeys(skus, 1)), **dict.fromkeys(skus, 100))

        assert sum(line.quantity for line in lines.values()) == 500

    def test_all_unknown_skus_are_named(self) -> None:
        with pytest.raises(errors.UnknownSkus) as refused:
            filled(at=offers(a=1), a=1, x=1, y=1)

        assert refused.value.skus == ("x", "y")

    def test_an_inactive_sku_is_refused(self) -> None:
        with pytest.raises(errors.NotForSale) as refused:
            filled(at={"a": replace(offer("a"), active=False)}, a=1)

        assert refused.value.skus == ("a",)

    def test_a_sku_without_a_price_in_the_currency_is_refused(self) -> None:
        with pytest.raises(errors.NotPricedIn) as refused:
            filled(at=offers(a=1, b=None), a=1, b=1)

        assert (refused.value.currency, refused.value.skus) == ("GBP", ("b",))

    @pytest.mark.parametrize("before", [0, 1, 100])
    def test_one_piece_too_many_on_a_line_is_refused(self, before: int) -> None:
        cart, lines = new_cart(), NO_LINES
        if before:
            cart, lines = filled(at=offers(a=1), a=before)

        with pytest.raises(errors.TooManyPieces) as refused:
            add_lines(cart, lines, [Wanted("a", 101 - before)], offers(a=1), LIMITS, NOW)

        assert (refused.value.sku, refused.value.quantity, refused.value.most) == ("a", 101, 100)

    def test_one_line_too_many_is_refused(self) -> None:
        skus = "abcdef"

        with pytest.raises(errors.TooManyLines) as refused:
            filled(at=offers(**dict.fromkeys(skus, 1)), **dict.fromkeys(skus, 1))

        assert (refused.value.lines, refused.value.most) == (6, 5)

    def test_more_than_an_order_can_cost_is_refused(self) -> None:
        half = LARGEST_AMOUNT_MINOR // 2
        cart, lines = filled(at=offers(a=half), a=2)

        with pytest.raises(errors.AmountTooLarge):
            add_lines(cart, lines, [Wanted("b", 1)], offers(b=1), LIMITS, NOW)

    def test_stock_is_no_reason_to_refuse(self) -> None:
        _, lines = filled(at={"a": offer("a", available=0)}, a=1)

        assert lines["a"].quantity == 1


class TestChangeLines:
    def test_quantity_is_set_not_added(self) -> None:
        cart, lines = filled(at=offers(a=1), a=5)

        cart, lines = change_quantity(cart, lines, 1, 3, offers(a=1), LIMITS, NOW)

        assert (lines["a"].quantity, cart.version) == (3, 3)

    def test_quantity_has_a_bound(self) -> None:
        cart, lines = filled(at=offers(a=1), a=5)

        with pytest.raises(errors.TooManyPieces):
            change_quantity(cart, lines, 1, 101, offers(a=1), LIMITS, NOW)

    def test_amount_has_a_bound(self) -> None:
        price = LARGEST_AMOUNT_MINOR // 3
        cart, lines = filled(at=offers(a=price), a=3)

        with pytest.raises(errors.AmountTooLarge):
            change_quantity(cart, lines, 1, 4, offers(a=price), LIMITS, NOW)

    def test_quantity_of_what_is_no_longer_sold_can_still_be_lowered(self) -> None:
        cart, lines = filled(at=offers(a=7), a=5)

        _, lines = change_quantity(cart, lines, 1, 1, {}, LIMITS, NOW)

        assert lines["a"] == Line(1, "a", "Name of a", 1, 7, 7)

    @pytest.mark.parametrize("line_no", [0, 2])
    def test_a_line_that_is_not_there_is_not_found(self, line_no: int) -> None:
        cart, lines = filled(at=offers(a=1), a=5)

        with pytest.raises(errors.LineNotFound):
            change_quantity(cart, lines, line_no, 1, offers(a=1), LIMITS, NOW)
        with pytest.raises(errors.LineNotFound):
            remove_line(cart, lines, line_no, NOW)

    def test_removing_takes_only_that_line(self) -> None:
        cart, lines = filled(at=offers(a=1, b=2, c=3), a=1, b=1, c=1)

        cart, lines = remove_line(cart, lines, 2, NOW)

        assert list(lines) == ["a", "c"]
        assert cart.version == 3

    def test_clearing_takes_all_lines_and_notes(self) -> None:
        cart, lines = filled(at=offers(a=1, b=2), a=1, b=1)
        note = LeftOut(CHECKOUT, "z", "Z", 1, "too_many_lines")

        cart, lines = clear(replace(cart, left_out=(note,)), NOW)

        assert (lines, cart.left_out, cart.version) == ({}, (), 3)


class TestRequireChangeable:
    def test_an_active_cart_in_the_version_seen_may_change(self) -> None:
        cart = new_cart()

        require_changeable(cart, None)
        require_changeable(cart, {cart.version})
        require_changeable(cart, {cart.version - 1, cart.version})

    @pytest.mark.parametrize("versions", [{0}, {2}, {0, 2}])
    def test_another_version_is_stale(self, versions: set[int]) -> None:
        with pytest.raises(errors.StaleCart) as refused:
            require_changeable(new_cart(), versions)

        assert refused.value.version == 1

    def test_a_locked_cart_names_its_checkout(self) -> None:
        locked = replace(new_cart(), state=Locked(CHECKOUT, "print", None))

        with pytest.raises(errors.CheckoutInProgress) as refused:
            require_changeable(locked, {7})

        assert refused.value.checkout_id == CHECKOUT

    def test_a_bought_cart_names_its_checkout(self) -> None:
        with pytest.raises(errors.CartClosed) as refused:
            require_changeable(replace(new_cart(), state=Bought(CHECKOUT, "print", ORDER)), None)

        assert (refused.value.checkout_id, refused.value.merged_into) == (CHECKOUT, None)

    def test_a_merged_cart_names_where_its_lines_are(self) -> None:
        with pytest.raises(errors.CartClosed) as refused:
            require_changeable(replace(new_cart(), state=Merged(OTHER_CART)), None)

        assert (refused.value.checkout_id, refused.value.merged_into) == (None, OTHER_CART)


class TestMerge:
    def test_new_lines_come_after_the_others_at_the_price_they_had(self) -> None:
        cart, lines = filled(at=offers(a=1), a=1)
        back = Line(9, "b", "B", 4, 70, 60)

        cart, lines = merge(cart, lines, [back], CHECKOUT, LIMITS, NOW)

        assert lines["b"] == Line(2, "b", "B", 4, 70, 60)
        assert (cart.version, cart.last_line_no, cart.left_out) == (3, 2, ())

    def test_quantities_of_the_same_sku_are_added_up_at_the_better_price_seen(self) -> None:
        cart, lines = filled(at=offers(a=50), a=1)

        _, lines = merge(cart, lines, [Line(1, "a", "A", 2, 40, 40)], CHECKOUT, LIMITS, NOW)

        assert lines["a"] == Line(1, "a", "Name of a", 3, 50, 40)

    def test_pieces_over_the_bound_are_noted(self) -> None:
        cart, lines = filled(at=offers(a=1), a=99)

        cart, lines = merge(cart, lines, [Line(1, "a", "A", 5, 1, 1)], CHECKOUT, LIMITS, NOW)

        assert lines["a"].quantity == 100
        assert cart.left_out == (LeftOut(CHECKOUT, "a", "A", 4, "too_many_pieces"),)

    def test_lines_over_the_bound_are_noted_and_those_that_fit_still_come(self) -> None:
        skus = "abcde"
        cart, lines = filled(at=offers(**dict.fromkeys(skus, 1)), **dict.fromkeys(skus, 1))
        back = [Line(1, "x", "X", 3, 1, 1), Line(2, "a", "A", 1, 1, 1)]

        cart, lines = merge(cart, lines, back, CHECKOUT, LIMITS, NOW)

        assert (list(lines), lines["a"].quantity) == (list(skus), 2)
        assert cart.left_out == (LeftOut(CHECKOUT, "x", "X", 3, "too_many_lines"),)

    def test_notes_are_bounded_and_the_newest_stay(self) -> None:
        skus = "abcde"
        cart, lines = filled(at=offers(**dict.fromkeys(skus, 1)), **dict.fromkeys(skus, 1))
        back = [Line(n, f"x{n}", "X", 1, 1, 1) for n in range(7)]

        cart, _ = merge(cart, lines, back, CHECKOUT, LIMITS, NOW)

        assert [note.sku for note in cart.left_out] == ["x2", "x3", "x4", "x5", "x6"]
