"""What happens to an order after it was paid for."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from operator import add
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.ids import derived_id
from contracts.messages.base import Message, Step
from contracts.messages.inventory import ReturnStock, StockReturned
from contracts.messages.order import (
    DeadlinePassed,
    OrderDisputed,
    OrderEvent,
    OrderRefunded,
    OrderRefundFailed,
    OrderReturned,
    OrderShipped,
    RefundOrder,
    ResolveRefund,
    ReturnOrder,
    ShipOrder,
    StepBlocked,
    StepUnblocked,
)
from contracts.messages.parts import LinePieces, OrderLine, ReturnedPieces, ShippingLine, Tax
from contracts.messages.payment import (
    DisputeMoved,
    Refunded,
    RefundFailed,
    RefundMade,
    RefundPayment,
    RefundPending,
)
from order_service.after_sale import AfterSale, AfterSaleMessage, Refused, Served, serve
from order_service.after_sale.facts import FIRST_ROUND, Claim, ClaimStatus
from order_service.after_sale.outcomes import (
    ClaimsExhausted,
    ExceedsRest,
    NothingFailed,
    NotPaidFor,
    UnderDispute,
)
from order_service.checkout import Checkout, Illegal, Moved, Outcome, Stale, State, advance
from order_service.checkout.facts import (
    Fulfilment,
    Order,
    PaymentStatus,
    Returned,
    payment_id_of,
    refund_id_of,
)
from order_service.checkout.outcomes import NoSuchLine, NotShippable, TooManyPieces
from order_service.checkout.shipments import pieces_left
from order_service.exploration import CHECKOUT_ID, DEAD_LETTER_ID, ship, start
from tests.order_service.situations import failed, set_aside
from tests.order_service.story import Story, cancel, committed, paid_story, reserved, succeeded

_OF: dict[str, Any] = {"checkout_id": CHECKOUT_ID}
PAYMENT_ID = payment_id_of(CHECKOUT_ID)
THERE = derived_id(PAYMENT_ID, "provider:re_1")


def line(sku: str, quantity: int, gross: int, tax: int = 0) -> OrderLine:
    """A line of so many pieces for so much, tax inside."""
    discount = quantity * gross - gross  # the unit price is the whole gross: discounted to fit
    taxes = (Tax(rate=Decimal("0.2"), inclusive=True, amount_minor=tax),) if tax else ()
    return OrderLine.model_validate(
        {
            "sku": sku,
            "name": f"a {sku}",
            "unit_price_minor": gross,
            "quantity": quantity,
            "discounts": [{"source": "sale", "amount_minor": discount}] if discount else [],
            "taxes": [tax.model_dump() for tax in taxes],
            "net_minor": gross - tax,
            "gross_minor": gross,
        }
    )


TEAPOT, CUPS = line("TEAPOT", 1, 2_000, 333), line("CUPS", 3, 1_000, 166)
POST = ShippingLine(
    method="post",
    name="by post",
    unit_price_minor=500,
    quantity=1,
    net_minor=500,
    gross_minor=500,
)
TOTAL = 3_500


def refund(amount: int | None = None, *lines: tuple[int, int]) -> RefundOrder:
    pieces = tuple(LinePieces(line_no=no, quantity=quantity) for no, quantity in lines)
    return RefundOrder(
        **_OF, amount_minor=amount, lines=pieces, reason="a crack", requested_by="olga"
    )


def give_back(
    *lines: tuple[int, int], write_off: bool = False, unshipped: bool = False, money: bool = True
) -> ReturnOrder:
    pieces = tuple(
        ReturnedPieces(line_no=no, quantity=quantity, write_off=write_off, unshipped=unshipped)
        for no, quantity in lines
    )
    return ReturnOrder(**_OF, lines=pieces, refund=money, reason="too big", requested_by="olga")


def resolve(claim: int, decision: str) -> ResolveRefund:
    return ResolveRefund.model_validate(
        {**_OF, "claim": claim, "decision": decision, "reason": "seen to", "requested_by": "olga"}
    )


def made(amount: int, status: str, refund_id: UUID = THERE) -> RefundMade:
    return RefundMade.model_validate(
        {
            **_OF,
            "payment_id": PAYMENT_ID,
            "attempt": 1,
            "refund_id": refund_id,
            "amount_minor": amount,
            "status": status,
        }
    )


def disputed(status: str, amount: int = TOTAL) -> DisputeMoved:
    return DisputeMoved.model_validate(
        {
            **_OF,
            "payment_id": PAYMENT_ID,
            "attempt": 1,
            "dispute_id": "dp_1",
            "amount_minor": amount,
            "status": status,
        }
    )


class Sold:
    """A paid order of a teapot, three cups and their post, and what happens to it."""

    def __init__(self, story: Story | None = None, **request: Any) -> None:
        request = request or {
            "lines": (TEAPOT, CUPS),
            "shipping": (POST,),
            "total_minor": TOTAL,
        }
        self.story = story or sold(**request)
        self.saga: Checkout = self.story.saga
        self.after: AfterSale | None = None
        self.now = self.story.now
        self.sent: list[Message] = []

    def hears(self, message: AfterSaleMessage) -> Served | Refused | Stale | Illegal:
        return serve(self.after, self.saga, message, self.now, self.story.policy)

    def tell(self, *messages: AfterSaleMessage) -> "Sold":
        """These messages arrive, and each has its effect."""
        for message in messages:
            outcome = self.hears(message)
            assert isinstance(outcome, Served), f"{message!r}: {outcome!r}"
            self.after, self.saga = outcome.after, outcome.checkout
            self.sent.extend(outcome.messages)
        return self

    def hears_of_parcel(self, *lines: tuple[int, int]) -> Outcome:
        """A parcel of these pieces is to leave, or of all that is left."""
        pieces = tuple(LinePieces(line_no=no, quantity=quantity) for no, quantity in lines)
        parcel = ShipOrder(**_OF, lines=pieces, requested_by="olga")
        return advance(self.saga, parcel, self.now, self.story.policy)

    def ships(self, *lines: tuple[int, int]) -> "Sold":
        """A parcel of these pieces leaves the house, or of all that is left."""
        outcome = self.hears_of_parcel(*lines)
        assert isinstance(outcome, Moved)
        assert isinstance(outcome.checkout, Checkout)
        self.saga = outcome.checkout
        self.sent.extend(outcome.messages)
        return self

    @property
    def order(self) -> Order:
        assert self.saga.order is not None
        return self.saga.order

    @property
    def fulfilment(self) -> Fulfilment:
        return self.order.fulfilment

    @property
    def left(self) -> list[int]:
        """Pieces of each line that are still to be shipped."""
        return pieces_left(self.order, self.saga.request.lines)

    def refuses(self, message: AfterSaleMessage, why: object) -> None:
        """The command is refused, for this reason."""
        assert self.hears(message) == Refused(why)  # type: ignore[arg-type]  # one of WhyNot

    @property
    def known(self) -> AfterSale:
        assert self.after is not None
        return self.after

    @property
    def claim(self) -> Claim:
        """The newest claim."""
        return self.known.claims[-1]

    def about(self) -> dict[str, Any]:
        """The fields of an answer to the newest claim's refund."""
        return {
            **_OF,
            "round": self.claim.round,
            "payment_id": PAYMENT_ID,
            "attempt": 1,
            "refund_id": refund_id_of(CHECKOUT_ID, self.claim.round),
            "amount_minor": self.claim.amount_minor,
        }

    def refunded(self) -> "Sold":
        """The money of the newest claim is back."""
        return self.tell(Refunded(**self.about()))

    def failed(self, code: str = "account_closed") -> "Sold":
        """It could not be given back."""
        return self.tell(RefundFailed(**self.about(), code=code))

    def stands(self, status: PaymentStatus) -> "Sold":
        """The payment axis of the order."""
        assert self.saga.payment_status is status
        return self

    def last(self, kind: type[Any]) -> Any:
        return [message for message in self.sent if isinstance(message, kind)][-1]


def sold(*, paid: bool = True, total_minor: int, **goods: Any) -> Story:
    """A checkout of these goods, paid and its stock committed."""
    begin = start(paid=paid, total_minor=total_minor).model_copy(update=goods)
    story = Story().tell(begin, reserved())
    if total_minor:
        story.tell(succeeded(amount_minor=total_minor))
    return story.tell(committed())


def shipped() -> Story:
    """A paid order of a teapot, three cups and their post, that has left the house."""
    return sold(lines=(TEAPOT, CUPS), shipping=(POST,), total_minor=TOTAL).tell(ship())


class TestRefunds:
    def test_an_amount_is_asked_back_and_lies_on_what_the_lines_cost(self) -> None:
        order = Sold().tell(refund(700))

        command = order.last(RefundPayment)
        assert (command.amount_minor, command.round, command.attempt) == (700, FIRST_ROUND, 1)
        assert [line.amount_minor for line in order.claim.lines] == [400, 200, 100]
        order.stands(PaymentStatus.REFUND_PENDING)
        order.refunded()
        order.stands(PaymentStatus.PARTLY_REFUNDED)
        assert order.known.waits == ()

    def test_pieces_are_worth_what_was_paid_for_them_to_the_unit(self) -> None:
        order = Sold()

        amounts = []
        for _ in range(3):
            order.tell(refund(None, (2, 1)))
            amounts.append(order.claim.amount_minor)

        assert amounts == [333, 333, 334]

    def test_without_amount_and_lines_all_the_rest_goes_back(self) -> None:
        order = Sold().tell(refund(700)).refunded().tell(refund())

        assert order.claim.amount_minor == TOTAL - 700
        order.refunded().stands(PaymentStatus.REFUNDED)

    def test_never_more_than_is_left_of_what_was_paid(self) -> None:
        order = Sold().tell(refund(3_000))

        order.refuses(refund(501), ExceedsRest(501, 500))
        order.tell(refund(500))
        order.refuses(refund(1), ExceedsRest(1, 0))

    def test_pieces_are_refunded_once(self) -> None:
        order = Sold().tell(refund(None, (2, 2)))

        order.refuses(refund(None, (2, 2)), TooManyPieces(2, 1))
        order.refuses(refund(None, (4, 1)), NoSuchLine(4))

    def test_the_event_tells_lines_and_taxes_that_add_up(self) -> None:
        order = Sold().tell(refund(None, (2, 1), (3, 1))).refunded()

        event = order.last(OrderRefunded)
        assert event.amount_minor == 833
        cups, post = event.lines
        assert (cups.sku, cups.quantity, cups.gross_minor) == ("CUPS", 1, 333)
        assert cups.net_minor + sum(tax.amount_minor for tax in cups.taxes) == 333
        assert (post.sku, post.gross_minor) == (None, 500)

    def test_a_refund_that_failed_leaves_its_amount_and_waits_for_a_decision(self) -> None:
        order = Sold().tell(refund(700)).failed()

        order.stands(PaymentStatus.REFUND_FAILED)
        assert order.known.needs_attention
        assert order.last(OrderRefundFailed).code == "account_closed"
        order.tell(resolve(1, "retry"))
        assert order.claim.round == FIRST_ROUND + 1
        order.refunded().stands(PaymentStatus.PARTLY_REFUNDED)

    def test_one_that_comes_back_weeks_later_is_a_failure_like_any(self) -> None:
        order = Sold().tell(refund(700)).refunded().failed()

        assert order.claim.status is ClaimStatus.FAILED
        assert order.known.refunded_minor == 0

    def test_one_that_failed_can_be_booked_by_hand_or_given_up(self) -> None:
        by_hand = Sold().tell(refund(700)).failed().tell(resolve(1, "refunded_by_hand"))
        assert by_hand.last(RefundPayment).by_hand

        withdrawn = Sold().tell(refund(700)).failed().tell(resolve(1, "withdrawn"))
        withdrawn.stands(PaymentStatus.PAID)
        assert not withdrawn.known.needs_attention
        withdrawn.refuses(resolve(1, "retry"), NothingFailed(1))

    def test_answers_that_come_twice_or_late_change_nothing(self) -> None:
        order = Sold().tell(refund(700)).failed()
        late = RefundPending(**order.about())
        order.tell(resolve(1, "retry"))

        assert isinstance(order.hears(late), Stale)
        order.refunded()
        assert isinstance(order.hears(Refunded(**order.about())), Stale)

    def test_answers_that_nothing_explains_are_faults(self) -> None:
        order = Sold().tell(refund(700))
        about = order.about()

        for wrong in (
            {**about, "amount_minor": 701},
            {**about, "refund_id": THERE},
            {**about, "round": FIRST_ROUND + 7},
        ):
            assert isinstance(order.hears(Refunded(**wrong)), Illegal)

    def test_an_order_that_keeps_no_money_has_nothing_to_give_back(self) -> None:
        unpaid = Sold(Story.begun().tell(reserved()))
        unpaid.refuses(refund(1), NotPaidFor("paying"))

        cancelled = Sold(paid_story().tell(cancel()))
        cancelled.refuses(refund(1), NotPaidFor("refunding"))

    def test_what_is_partly_refunded_is_not_cancelled(self) -> None:
        order = Sold().tell(refund(700))
        order.story.checkout = order.saga

        order.story.ignores(cancel())

    def test_there_is_an_end_to_refunds_and_returns(self) -> None:
        order = Sold()
        for _ in range(order.story.policy.claims_limit):
            order.tell(refund(1))

        order.refuses(refund(1), ClaimsExhausted(order.story.policy.claims_limit))


class TestReturns:
    def test_what_is_set_aside_or_not_paid_has_nothing_to_come_back(self) -> None:
        for story in (set_aside(), set_aside().tell(ship()), failed()):
            Sold(story).refuses(give_back((1, 1)), NotPaidFor(story.state))

    def test_what_came_back_or_was_refunded_whole_is_not_shipped(self) -> None:
        returned = Sold().tell(give_back((1, 1), (2, 3), money=False))
        refunded = Sold().tell(refund()).refunded()
        for order in (returned, refunded):
            order.story.checkout = order.saga
            assert order.story.hears(ship()) == Stale(NotShippable(State.PAID))

    def test_goods_go_back_on_the_shelf_and_their_money_to_the_shopper(self) -> None:
        order = Sold(shipped()).tell(give_back((2, 2)))

        command = order.last(ReturnStock)
        assert [(one.sku, one.quantity) for one in command.lines] == [("CUPS", 2)]
        assert command.written_off == ()
        assert order.claim.amount_minor == 666
        assert order.last(OrderReturned).return_number == 1
        assert order.saga.order is not None
        assert order.saga.order.returned is Returned.PARTLY
        order.tell(StockReturned(**_OF, round=FIRST_ROUND))
        assert order.known.returns[0].booked

    def test_what_is_broken_is_written_off(self) -> None:
        order = Sold().tell(give_back((1, 1), write_off=True))

        assert [one.sku for one in order.last(ReturnStock).written_off] == ["TEAPOT"]

    def test_goods_can_come_back_without_their_money(self) -> None:
        order = Sold().tell(give_back((1, 1), money=False))

        assert order.known.claims == ()
        order.stands(PaymentStatus.PAID)

    def test_pieces_come_back_once(self) -> None:
        order = Sold().tell(give_back((2, 2)))

        order.refuses(give_back((2, 2)), TooManyPieces(2, 1))
        order.refuses(give_back((3, 1)), NoSuchLine(3))
        order.tell(give_back((2, 1)), give_back((1, 1)))
        assert order.saga.order is not None
        assert order.saga.order.returned is Returned.WHOLLY

    def test_money_that_went_back_before_the_goods_does_not_go_again(self) -> None:
        order = Sold().tell(refund(None, (1, 1))).refunded().tell(give_back((1, 1)))

        assert len(order.known.claims) == 1
        assert order.known.returns[0].claim is None

    def test_returning_all_after_a_gesture_gives_back_exactly_the_rest(self) -> None:
        order = Sold().tell(refund(700)).refunded()

        order.tell(give_back((1, 1), (2, 3))).refunded().tell(refund()).refunded()

        assert order.known.refunded_minor == TOTAL

    def test_inventory_is_asked_until_it_has_booked_them(self) -> None:
        order = Sold().tell(give_back((1, 1), money=False))

        for _ in range(20):
            (wait,) = order.known.waits
            order.now = wait.due_at
            order.tell(
                DeadlinePassed(**_OF, step=Step.RELEASE, round=wait.round, due_at=wait.due_at)
            )

        assert sum(isinstance(message, ReturnStock) for message in order.sent) == 21
        assert not order.known.needs_attention


class TestWhatHasLeftInPart:
    def test_what_never_ships_goes_back_on_the_shelf_with_its_money_and_completes_it(self) -> None:
        order = Sold().ships((1, 1), (2, 2)).tell(give_back((2, 1), unshipped=True))

        assert [(one.sku, one.quantity) for one in order.last(ReturnStock).lines] == [("CUPS", 1)]
        assert order.claim.amount_minor == 333
        assert order.left == [0, 0]
        assert order.fulfilment is Fulfilment.SHIPPED

    def test_what_comes_back_does_not_keep_the_rest_from_being_shipped(self) -> None:
        order = Sold().ships((2, 2)).tell(give_back((2, 2)))

        assert order.left == [1, 1]
        assert order.ships().fulfilment is Fulfilment.SHIPPED
        order.tell(give_back((1, 1), (2, 1)))
        assert order.order.returned is Returned.WHOLLY

    def test_more_than_was_shipped_can_only_be_what_is_still_here(self) -> None:
        order = Sold().ships((2, 2)).tell(give_back((2, 3)))

        (came_back,) = order.known.returns
        assert [line.shipped for line in came_back.lines] == [2]
        assert order.left == [1, 0]
        assert order.hears_of_parcel((2, 1)) == Stale(TooManyPieces(2, 0))

    def test_what_came_back_does_not_come_back_again_in_the_place_of_what_is_here(self) -> None:
        order = Sold().ships((2, 2)).tell(give_back((2, 2)), give_back((2, 1)))

        assert [line.shipped for each in order.known.returns for line in each.lines] == [2, 0]
        assert order.left == [1, 0]

    def test_what_has_left_is_not_taken_back_as_if_it_had_not(self) -> None:
        order = Sold().ships((2, 2))

        order.refuses(give_back((2, 2), unshipped=True), TooManyPieces(2, 1))
        order.ships().refuses(give_back((1, 1), unshipped=True), TooManyPieces(1, 0))

    def test_what_was_taken_back_before_is_not_in_a_parcel_of_all_that_is_left(self) -> None:
        order = Sold().tell(give_back((2, 2))).ships()

        told = order.last(OrderShipped)
        assert [(line.line_no, line.quantity) for line in told.lines] == [(1, 1), (2, 1)]
        assert told.complete

    def test_after_a_refund_in_full_nothing_more_leaves(self) -> None:
        order = Sold().ships((2, 2)).tell(refund()).refunded()

        for lines in ((), ((2, 1),)):
            assert order.hears_of_parcel(*lines) == Stale(NotShippable(State.PAID))

    def test_a_refund_in_part_keeps_nothing_in_the_house(self) -> None:
        order = Sold().ships((2, 2)).tell(refund(None, (2, 1))).refunded()

        assert order.left == [1, 1]

    @given(
        pieces=st.lists(st.integers(1, 4), min_size=1, max_size=3),
        happens=st.lists(
            st.tuples(
                st.sampled_from(["ships", "comes back", "stays", "refund"]),
                st.integers(1, 3),
                st.integers(1, 4),
            ),
            max_size=12,
        ),
    )
    def test_whatever_the_order_no_piece_leaves_twice_nor_after_it_was_taken_back(
        self, pieces: list[int], happens: list[tuple[str, int, int]]
    ) -> None:
        goods = tuple(line(f"SKU{no}", many, many * 100) for no, many in enumerate(pieces))
        order = Sold(lines=goods, total_minor=100 * sum(pieces))
        order.story.policy = replace(order.story.policy, shipments_limit=50, claims_limit=50)
        away, here, back = [0] * len(goods), list(pieces), [0] * len(goods)
        for what, line_no, many in happens:
            which = line_no - 1
            known = which < len(goods)
            match what:
                case "ships":
                    outcome = order.hears_of_parcel((line_no, many))
                    money = order.saga.payment_status is not PaymentStatus.REFUNDED
                    may = known and many <= here[which] and money
                    may = may and order.order.returned is not Returned.WHOLLY
                    assert isinstance(outcome, Moved) == may
                    if may:
                        order.ships((line_no, many))
                        here[which] -= many
                        away[which] += many
                case "comes back" | "stays":
                    command = give_back((line_no, many), unshipped=what == "stays")
                    outcome_of_return = order.hears(command)
                    room = here if what == "stays" else list(map(add, away, here))
                    assert isinstance(outcome_of_return, Served) == (known and many <= room[which])
                    if isinstance(outcome_of_return, Served):
                        order.tell(command)
                        from_away = 0 if what == "stays" else min(many, away[which])
                        away[which] -= from_away
                        here[which] -= many - from_away
                        back[which] += many
                        if order.claim.status is ClaimStatus.REQUESTED:
                            order.refunded()
                case "refund":
                    if isinstance(order.hears(refund(many)), Served):
                        order.tell(refund(many)).refunded()
            assert [sum(each) for each in zip(away, here, back, strict=True)] == pieces
            has_left = bool(order.order.shipments)
            assert order.left == here
            if has_left:
                rest = Fulfilment.PARTLY_SHIPPED if any(here) else Fulfilment.SHIPPED
                assert order.fulfilment is rest


class TestProvidersNews:
    def test_a_refund_made_there_takes_from_the_rest(self) -> None:
        order = Sold().tell(made(700, "refunded"))

        order.stands(PaymentStatus.PARTLY_REFUNDED)
        assert order.last(OrderRefunded).refund_id == THERE
        order.refuses(refund(2_801), ExceedsRest(2_801, 2_800))
        assert isinstance(order.hears(made(700, "refunded")), Stale)

    def test_one_that_was_pending_and_comes_back_leaves_nothing(self) -> None:
        order = Sold().tell(made(700, "pending"), made(700, "refunded"), made(700, "failed"))

        assert order.known.refunded_minor == 0
        assert order.last(OrderRefundFailed).code == "returned"
        assert not order.known.needs_attention

    def test_what_is_given_back_twice_is_credited_once(self) -> None:
        order = Sold().tell(refund()).failed().tell(resolve(1, "refunded_by_hand")).refunded()
        order.tell(made(TOTAL, "refunded"))

        assert order.known.refunded_minor == 2 * TOTAL
        assert order.known.credited_minor == TOTAL

    def test_money_under_dispute_is_not_refunded(self) -> None:
        order = Sold().tell(disputed("open"))

        order.stands(PaymentStatus.DISPUTED)
        order.refuses(refund(1), UnderDispute(TOTAL))
        assert order.last(OrderDisputed).status == "open"
        order.tell(disputed("won"))
        order.stands(PaymentStatus.PAID)
        order.tell(refund(1))

    def test_a_lost_dispute_leaves_nothing_to_refund(self) -> None:
        order = Sold().tell(disputed("lost"))

        order.stands(PaymentStatus.DISPUTE_LOST)
        order.refuses(refund(1), ExceedsRest(1, 0))
        assert isinstance(order.hears(disputed("open")), Stale)


class TestWaits:
    def test_an_unanswered_refund_is_asked_again_and_then_seen_to(self) -> None:
        order = Sold().tell(refund(700))

        while not order.known.needs_attention:
            (wait,) = order.known.waits
            order.now = wait.due_at
            order.tell(
                DeadlinePassed(**_OF, step=Step.REFUND, round=wait.round, due_at=wait.due_at)
            )

        asked = [message for message in order.sent if isinstance(message, RefundPayment)]
        assert len(asked) == order.story.policy.sends[Step.REFUND]
        assert len({message.refund_id for message in asked}) == 1
        order.tell(resolve(1, "retry")).refunded()
        assert order.known.waits == ()

    def test_a_pending_refund_is_waited_for_as_long_as_banks_take(self) -> None:
        order = Sold().tell(refund(700))
        order.tell(RefundPending(**order.about()))

        (wait,) = order.known.waits
        patience = timedelta(seconds=order.story.policy.refund_patience_seconds)
        assert wait.due_at == order.now + patience

    def test_a_dead_letter_stops_the_asking_and_its_replay_resumes_it(self) -> None:
        order = Sold().tell(refund(700))
        of = {
            **_OF,
            "step": Step.REFUND,
            "round": FIRST_ROUND,
            "service": "payment",
            "dead_letter_id": DEAD_LETTER_ID,
        }

        order.tell(StepBlocked(**of))
        assert order.known.blocked
        assert order.known.deadline_at is None
        order.tell(StepUnblocked(**of, outcome="replayed"))
        assert not order.known.blocked
        order.tell(StepBlocked(**of), StepUnblocked(**of, outcome="discarded"))
        assert order.known.needs_attention


@given(
    gross=st.integers(1, 10_000),
    tax_share=st.integers(0, 3),
    quantity=st.integers(1, 7),
    parts=st.lists(st.integers(1, 3), max_size=7),
)
def test_returning_a_line_piece_by_piece_gives_back_exactly_what_was_paid(
    gross: int, tax_share: int, quantity: int, parts: list[int]
) -> None:
    goods = line("GOODS", quantity, gross, gross * tax_share // 10)
    order = Sold(lines=(goods,), total_minor=gross)
    order.story.policy = replace(order.story.policy, claims_limit=50)
    left, net, taxes = quantity, 0, 0
    for part in [*parts, quantity]:
        pieces = min(part, left)
        if pieces == 0:
            break
        left -= pieces
        order.tell(give_back((1, pieces)))
        if order.claim.status is ClaimStatus.REQUESTED:
            order.refunded()
            (told,) = order.last(OrderRefunded).lines
            net += told.net_minor
            taxes += sum(tax.amount_minor for tax in told.taxes)

    assert order.known.refunded_minor == gross
    assert (net, taxes) == (goods.net_minor, gross - goods.net_minor)


def test_events_are_counted_on_from_the_sagas() -> None:
    order = Sold(shipped())
    assert order.saga.order is not None
    before = order.saga.order.event_seq

    order.tell(give_back((1, 1))).refunded()

    told = [message.event_seq for message in order.sent if isinstance(message, OrderEvent)]
    assert told == [before + 1, before + 2]


def test_an_order_of_another_shop_is_no_concern() -> None:
    assert isinstance(Sold().hears(refund(1).model_copy(update={"shop_id": "other"})), Illegal)


def test_an_order_that_is_not_there_is_no_concern() -> None:
    outcome = serve(None, None, refund(1), Sold().now, Sold().story.policy)

    assert isinstance(outcome, Illegal)


@pytest.mark.parametrize("money", [True, False])
def test_goods_that_cost_nothing_can_come_back(money: bool) -> None:
    order = Sold(lines=(line("GIFT", 1, 0),), total_minor=0)

    order.tell(give_back((1, 1), money=money))

    assert order.known.claims == ()
