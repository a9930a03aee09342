"""What a checkout costs, what must be agreed to first, and who holds the cart."""

from datetime import timedelta

import pytest

from cart_service.domain import errors
from cart_service.domain.carts import (
    Active,
    Bought,
    CustomerOwner,
    FailedCheckout,
    LeftOut,
    Line,
    Locked,
    Merged,
    PendingStart,
)
from cart_service.domain.checkouts import (
    QuotedLine,
    Repeated,
    Started,
    accepted,
    closed,
    handed_over,
    quoted,
    resend_after,
    returning,
    unlocked,
)
from cart_service.domain.pricing import (
    least_total_minor,
    priced_line,
    rounded_minor,
    rounding_unit_minor,
    sellable_price_minor,
)
from contracts.messages.parts import ON_FILE, OrderLine, PaymentMethod, Shortage
from contracts.money import LARGEST_AMOUNT_MINOR
from contracts.values import replace
from tests.cart_service.examples import (
    ADDRESS,
    CHECKOUT,
    LIMITS,
    NOW,
    ORDER,
    OTHER_CART,
    OTHER_CHECKOUT,
    REQUEST,
    TERMS,
    TOKEN_HASH,
    checked_out,
    elsewhere,
    filled,
    new_cart,
    offer,
    offers,
    started,
)

FAILURE = FailedCheckout(CHECKOUT, "out_of_stock", (Shortage(sku="a", requested=2, available=1),))


def refused_quote(*arguments: object, **others: object) -> errors.QuoteChanged:
    with pytest.raises(errors.QuoteChanged) as refused:
        checked_out(*arguments, **others)  # type: ignore[arg-type]  # passed through
    return refused.value


class TestCheckOut:
    def test_starts_with_everything_the_saga_needs(self) -> None:
        cart, lines = filled(at=offers(a=250, b=99), a=2, b=3)

        outcome = started(cart, lines, offers(a=250, b=99))

        command = outcome.command
        assert (command.checkout_id, command.cart_id, command.cart_version) == (
            CHECKOUT,
            cart.cart_id,
            cart.version,
        )
        assert (command.customer_id, command.guest_token_hash) == (None, TOKEN_HASH)
        assert (command.email, command.shipping_address) == ("ada@example.org", ADDRESS)
        assert (command.payment, command.payment_window_seconds) == (REQUEST.payment, 1800)
        assert (command.currency, command.total_minor) == ("GBP", 797)
        assert [(line.sku, line.name, line.gross_minor) for line in command.lines] == [
            ("a", "Name of a", 500),
            ("b", "Name of b", 297),
        ]

    def test_locks_the_cart_and_tells_of_it(self) -> None:
        cart, lines = filled(at=offers(a=1), a=1)

        outcome = started(cart, lines, offers(a=1))

        due_at = NOW + TERMS.resend_first
        assert outcome.cart.state == Locked(CHECKOUT, REQUEST.fingerprint, PendingStart(due_at, 1))
        assert (outcome.cart.version, outcome.cart.event_seq) == (3, 2)
        assert (outcome.event.status, outcome.event.checkout_id) == ("locked", CHECKOUT)
        assert outcome.event.event_seq == 2

    def test_names_a_customer(self) -> None:
        cart, lines = filled(new_cart(CustomerOwner("ada")), at=offers(a=1), a=1)

        command = started(cart, lines, offers(a=1)).command

        assert (command.customer_id, command.guest_token_hash) == ("ada", None)

    def test_charges_a_better_price_without_asking(self) -> None:
        cart, lines = filled(at=offers(a=100), a=2)

        outcome = started(cart, lines, offers(a=90))

        assert outcome.command.total_minor == 180
        assert outcome.lines["a"] == Line(1, "a", "Name of a", 2, 100, 90)

    def test_leaves_the_notes_of_an_earlier_checkout_behind(self) -> None:
        cart, lines = filled(at=offers(a=1), a=1)
        note = LeftOut(OTHER_CHECKOUT, "z", "Z", 1, "too_many_lines")

        assert started(replace(cart, left_out=(note,)), lines, offers(a=1)).cart.left_out == ()

    def test_a_total_of_zero_is_fine(self) -> None:
        cart, lines = filled(at=offers(a=0), a=1)

        assert started(cart, lines, offers(a=0)).command.total_minor == 0

    def test_stock_that_nobody_has_told_of_is_left_to_inventory(self) -> None:
        unknown = {"a": offer("a", available=None)}
        cart, lines = filled(at=unknown, a=1)

        assert started(cart, lines, unknown).command.lines[0].quantity == 1

    def test_exactly_what_is_left_fits(self) -> None:
        last = {"a": offer("a", available=7)}
        cart, lines = filled(at=last, a=7)

        assert started(cart, lines, last).command.lines[0].quantity == 7


class TestRefusals:
    def test_an_empty_cart(self) -> None:
        with pytest.raises(errors.EmptyCart):
            checked_out(new_cart(), {}, {})

    def test_a_stale_version(self) -> None:
        cart, lines = filled(at=offers(a=1), a=1)

        with pytest.raises(errors.StaleCart):
            checked_out(cart, lines, offers(a=1), version=1)

    def test_a_provider_that_is_not_offered(self) -> None:
        cart, lines = filled(at=offers(a=1), a=1)
        payment = PaymentMethod(provider="stripe", token="pm")

        with pytest.raises(errors.ProviderNotOffered) as refused:
            checked_out(cart, lines, offers(a=1), replace(REQUEST, payment=payment))

        assert refused.value.offered == ("simulated",)

    @pytest.mark.parametrize(
        "payment",
        [
            PaymentMethod(token="pm", save=True),
            PaymentMethod(token=ON_FILE, saved_method_id=CHECKOUT),
        ],
    )
    def test_a_guest_who_would_save_a_method(self, payment: PaymentMethod) -> None:
        request = replace(REQUEST, payment=payment)
        cart, lines = filled(at=offers(a=1), a=1)
        of_ada, her_lines = filled(new_cart(CustomerOwner("ada")), at=offers(a=1), a=1)

        with pytest.raises(errors.GuestsSaveNothing):
            checked_out(cart, lines, offers(a=1), request)

        outcome = checked_out(of_ada, her_lines, offers(a=1), request)
        assert isinstance(outcome, Started)
        assert outcome.command.payment == payment

    @pytest.mark.parametrize("seconds", [1, 86_401])
    def test_a_payment_window_out_of_bounds(self, seconds: int) -> None:
        cart, lines = filled(at=offers(a=1), a=1)

        with pytest.raises(errors.PaymentWindowOutOfBounds):
            checked_out(cart, lines, offers(a=1), replace(REQUEST, payment_window_seconds=seconds))

    @pytest.mark.parametrize("seconds", [2, 86_400])
    def test_the_bounds_of_the_payment_window_belong_to_it(self, seconds: int) -> None:
        cart, lines = filled(at=offers(a=1), a=1)
        request = replace(REQUEST, payment_window_seconds=seconds)

        assert started(cart, lines, offers(a=1), request=request).command.payment_window_seconds

    @pytest.mark.parametrize(
        "now",
        [
            {},
            {"a": replace(offer("a"), active=False)},
            {"a": offer("a", price=None)},
            {"a": offer("a", price=LARGEST_AMOUNT_MINOR)},
        ],
        ids=["withdrawn", "inactive", "unpriced", "unpayable"],
    )
    def test_what_is_no_longer_sold_must_be_taken_out(self, now: object) -> None:
        cart, lines = filled(at=offers(a=1, b=1), a=2, b=1)

        with pytest.raises(errors.NotForSale) as refused:
            checked_out(cart, lines, {**offers(b=1), **now})  # type: ignore[dict-item]  # examples

        assert refused.value.skus == ("a",)

    def test_more_than_an_order_can_cost(self) -> None:
        cart, lines = filled(at=offers(a=1, b=1), a=1, b=1)

        with pytest.raises(errors.AmountTooLarge):
            checked_out(cart, lines, offers(a=LARGEST_AMOUNT_MINOR, b=1))

    def test_less_than_the_provider_can_charge(self) -> None:
        terms = replace(TERMS, providers=("stripe",))
        request = replace(REQUEST, payment=PaymentMethod(provider="stripe", token="pm"))
        cart, lines = filled(at=offers(a=29), a=1)

        with pytest.raises(errors.TotalBelowMinimum) as refused:
            checked_out(cart, lines, offers(a=29), request, terms=terms)

        assert (refused.value.total_minor, refused.value.minimum_minor) == (29, 30)

    def test_without_a_payment_the_most_modest_provider_decides(self) -> None:
        cart, lines = filled(at=offers(a=29), a=1)
        request = replace(REQUEST, payment=None)
        both, stripe_alone = ("simulated", "stripe"), ("stripe",)

        assert started(
            cart, lines, offers(a=29), request=request, terms=replace(TERMS, providers=both)
        )
        with pytest.raises(errors.TotalBelowMinimum):
            checked_out(
                cart, lines, offers(a=29), request, terms=replace(TERMS, providers=stripe_alone)
            )


class TestChangedQuote:
    def test_a_dearer_line_is_shown_with_what_the_shopper_saw(self) -> None:
        cart, lines = filled(at=offers(a=100, b=50), a=2, b=1)

        refused = refused_quote(cart, lines, offers(a=120, b=50))

        (difference,) = refused.differences
        assert (difference.line_no, difference.sku, difference.quantity) == (1, "a", 2)
        assert (difference.seen_price_minor, difference.unit_price_minor) == (100, 120)
        assert (difference.dearer, difference.short) == (True, False)
        assert refused.total_minor == 290
        assert refused.accept_until == NOW + timedelta(minutes=10)

    def test_a_quantity_that_no_longer_fits_is_shown_with_what_is_left(self) -> None:
        cart, lines = filled(at=offers(a=100), a=2)

        refused = refused_quote(cart, lines, {"a": offer("a", 100, available=1)})

        (difference,) = refused.differences
        assert (difference.dearer, difference.short, difference.available) == (False, True, 1)

    def test_accepting_it_starts_at_the_quoted_prices(self) -> None:
        cart, lines = filled(at=offers(a=100), a=2)
        quote = refused_quote(cart, lines, offers(a=120)).quote

        outcome = started(cart, lines, offers(a=120), accepted=quote)

        assert outcome.command.total_minor == 240
        assert outcome.lines["a"].seen_price_minor == 120

    def test_what_was_accepted_is_not_asked_again_when_the_checkout_fails(self) -> None:
        cart, lines = filled(at=offers(a=100), a=2)
        quote = refused_quote(cart, lines, offers(a=120)).quote
        outcome = started(cart, lines, offers(a=120), accepted=quote)

        back = unlocked(outcome.cart, FAILURE, NOW)

        assert back is not None
        assert started(back[0], outcome.lines, offers(a=120), checkout_id=OTHER_CHECKOUT)

    def test_accepting_a_shortage_leaves_it_to_inventory(self) -> None:
        cart, lines = filled(at=offers(a=100), a=2)
        quote = refused_quote(cart, lines, {"a": offer("a", 100, available=1)}).quote

        assert started(cart, lines, {"a": offer("a", 100, available=0)}, accepted=quote)

    def test_a_price_that_got_better_since_is_charged(self) -> None:
        cart, lines = filled(at=offers(a=100), a=1)
        quote = refused_quote(cart, lines, offers(a=120)).quote

        assert started(cart, lines, offers(a=110), accepted=quote).command.total_minor == 110

    def test_a_price_that_got_worse_again_needs_a_new_quote(self) -> None:
        cart, lines = filled(at=offers(a=100, b=10), a=1, b=1)
        quote = refused_quote(cart, lines, offers(a=120, b=10)).quote

        refused = refused_quote(cart, lines, offers(a=121, b=10), accepted=quote)

        (difference,) = refused.differences
        assert (difference.seen_price_minor, difference.unit_price_minor) == (120, 121)
        assert started(cart, lines, offers(a=121, b=10), accepted=refused.quote)

    def test_a_price_that_was_quoted_lower_than_seen_is_part_of_the_quote(self) -> None:
        cart, lines = filled(at=offers(a=100, b=100), a=1, b=1)
        quote = refused_quote(cart, lines, offers(a=120, b=80)).quote

        (difference,) = refused_quote(cart, lines, offers(a=120, b=90), accepted=quote).differences

        assert (difference.sku, difference.seen_price_minor) == ("b", 80)

    def test_a_quote_ends(self) -> None:
        cart, lines = filled(at=offers(a=100), a=1)
        quote = refused_quote(cart, lines, offers(a=120)).quote
        last = NOW + timedelta(minutes=10) - timedelta(microseconds=1)

        assert started(cart, lines, offers(a=120), accepted=quote, now=last)
        assert refused_quote(
            cart, lines, offers(a=120), accepted=quote, now=NOW + timedelta(minutes=10)
        )

    def test_a_quote_for_another_version_or_cart_does_not_count(self) -> None:
        cart, lines = filled(at=offers(a=100), a=1)
        quote = refused_quote(cart, lines, offers(a=120)).quote

        for other in (
            replace(quote, cart_version=quote.cart_version - 1),
            replace(quote, cart_id=OTHER_CART),
            replace(quote, lines_digest="00"),
        ):
            assert refused_quote(cart, lines, offers(a=120), accepted=other).differences

    def test_a_quote_that_does_not_count_is_not_needed_when_nothing_got_worse(self) -> None:
        cart, lines = filled(at=offers(a=100), a=1)
        quote = refused_quote(cart, lines, offers(a=120)).quote

        assert started(cart, lines, offers(a=100), accepted=replace(quote, cart_version=1))


class TestRepetition:
    def test_the_same_request_is_answered_with_the_running_checkout(self) -> None:
        cart, lines = filled(at=offers(a=1), a=1)
        locked = started(cart, lines, offers(a=1), version=cart.version).cart

        again = checked_out(
            locked, lines, offers(a=2), version=cart.version, checkout_id=OTHER_CHECKOUT
        )

        assert again == Repeated(CHECKOUT)

    def test_the_same_request_is_answered_even_after_the_order_exists(self) -> None:
        cart, lines = filled(at=offers(a=1), a=1)
        done = closed(started(cart, lines, offers(a=1)).cart, CHECKOUT, ORDER, NOW)

        assert done is not None
        assert checked_out(done[0], lines, {}) == Repeated(CHECKOUT)

    @pytest.mark.parametrize(
        "other",
        [
            elsewhere(),
            replace(REQUEST, payment=PaymentMethod(token="pm_other")),
            replace(REQUEST, payment=None),
            replace(REQUEST, email="bob@example.org"),
            replace(REQUEST, payment_window_seconds=60),
        ],
        ids=["address", "payment", "no payment", "e-mail", "window"],
    )
    def test_another_request_meets_the_running_checkout(self, other: object) -> None:
        cart, lines = filled(at=offers(a=1), a=1)
        locked = started(cart, lines, offers(a=1)).cart

        with pytest.raises(errors.CheckoutInProgress) as refused:
            checked_out(locked, lines, offers(a=1), other)  # type: ignore[arg-type]  # examples
        assert refused.value.checkout_id == CHECKOUT

        done = closed(locked, CHECKOUT, ORDER, NOW)
        assert done is not None
        with pytest.raises(errors.CartClosed):
            checked_out(done[0], lines, offers(a=1), other)  # type: ignore[arg-type]  # examples


class TestLock:
    def test_acceptance_stops_the_sending_and_nothing_else(self) -> None:
        cart, lines = filled(at=offers(a=1), a=1)
        locked = started(cart, lines, offers(a=1)).cart

        taken_over = accepted(locked, CHECKOUT)

        assert taken_over == replace(locked, state=Locked(CHECKOUT, REQUEST.fingerprint, None))
        assert accepted(locked, OTHER_CHECKOUT) is locked
        assert accepted(cart, CHECKOUT) is cart

    def test_unlocking_gives_the_cart_back_with_the_reasons(self) -> None:
        cart, lines = filled(at=offers(a=1), a=1)
        locked = started(cart, lines, offers(a=1)).cart

        back = unlocked(locked, FAILURE, NOW)

        assert back is not None
        assert back[0].state == Active(FAILURE)
        assert (back[0].version, back[1].status, back[1].event_seq) == (4, "active", 3)

    def test_closing_ends_the_cart(self) -> None:
        cart, lines = filled(at=offers(a=1), a=1)
        locked = accepted(started(cart, lines, offers(a=1)).cart, CHECKOUT)

        done = closed(locked, CHECKOUT, ORDER, NOW)

        assert done is not None
        assert done[0].state == Bought(CHECKOUT, REQUEST.fingerprint, ORDER)
        assert (done[1].status, done[1].checkout_id, done[1].event_seq) == ("closed", CHECKOUT, 3)

    def test_unlock_and_close_of_any_other_checkout_are_ignored(self) -> None:
        cart, lines = filled(at=offers(a=1), a=1)
        locked = started(cart, lines, offers(a=1)).cart
        other = replace(FAILURE, checkout_id=OTHER_CHECKOUT)

        assert unlocked(locked, other, NOW) is None
        assert unlocked(cart, FAILURE, NOW) is None
        assert closed(locked, OTHER_CHECKOUT, ORDER, NOW) is None
        assert closed(cart, CHECKOUT, ORDER, NOW) is None

    def test_a_held_cart_goes_into_the_one_opened_meanwhile(self) -> None:
        cart, lines = filled(new_cart(CustomerOwner("ada")), at=offers(a=1, b=1), a=1, b=1)
        held = started(cart, lines, offers(a=1, b=1))
        active = filled(
            replace(new_cart(CustomerOwner("ada")), cart_id=OTHER_CART), at=offers(b=1), b=2
        )

        outcome = handed_over((held.cart, held.lines), active, FAILURE, LIMITS, NOW)

        assert outcome.merged.state == Merged(OTHER_CART)
        assert (outcome.event.cart_id, outcome.event.status) == (cart.cart_id, "closed")
        assert outcome.active.state == Active(FAILURE)
        assert {sku: line.quantity for sku, line in outcome.active_lines.items()} == {
            "b": 3,
            "a": 1,
        }


class TestQuoted:
    def test_an_active_cart_is_shown_at_the_prices_of_today(self) -> None:
        cart, lines = filled(at=offers(a=100, b=1), a=2, b=1)

        shown = quoted(cart, lines, {"a": offer("a", 120, available=1)})

        assert shown == (QuotedLine(lines["a"], 120, 1), QuotedLine(lines["b"], None, None))

    def test_a_locked_cart_is_shown_at_the_prices_that_were_agreed(self) -> None:
        cart, lines = filled(at=offers(a=100), a=2)
        outcome = started(cart, lines, offers(a=90))

        shown = quoted(outcome.cart, outcome.lines, offers(a=120))

        assert [line.unit_price_minor for line in shown] == [90]


class TestPricing:
    @pytest.mark.parametrize(
        ("amount", "unit", "rounded"),
        [(0, 10, 0), (1, 10, 10), (14, 10, 10), (15, 10, 20), (20, 10, 20), (7, 1, 7)],
    )
    def test_prices_are_rounded_to_what_the_provider_can_charge(
        self, amount: int, unit: int, rounded: int
    ) -> None:
        assert rounded_minor(amount, unit) == rounded

    def test_the_coarsest_of_the_offered_providers_decides(self) -> None:
        assert rounding_unit_minor(("simulated", "stripe"), "KWD") == 10
        assert rounding_unit_minor(("simulated",), "KWD") == 1
        assert rounding_unit_minor(("simulated", "stripe"), "GBP") == 1

    def test_the_least_total_is_the_least_that_any_of_them_charges(self) -> None:
        assert least_total_minor(("stripe",), "GBP") == 30
        assert least_total_minor(("simulated", "stripe"), "GBP") == 1

    def test_a_line_that_no_order_could_carry_is_not_for_sale(self) -> None:
        assert sellable_price_minor(offer("a", LARGEST_AMOUNT_MINOR), 1) == LARGEST_AMOUNT_MINOR
        assert sellable_price_minor(offer("a", LARGEST_AMOUNT_MINOR), 2) is None
        assert sellable_price_minor(None, 1) is None

    def test_a_line_comes_back_at_the_price_the_shopper_agreed_to(self) -> None:
        line = priced_line("a", "A", 3, 70)

        assert isinstance(line, OrderLine)
        assert returning([line]) == (Line(0, "a", "A", 3, 70, 70),)


def test_start_is_sent_again_ever_more_slowly_up_to_a_bound() -> None:
    waits = [resend_after(sends, TERMS).total_seconds() for sends in (1, 2, 3, 7, 8, 1_000_000)]

    assert waits == [5, 10, 20, 300, 300, 300]
