"""What is lost and what is doubled, told from what shoppers heard and from what is written down."""

from dataclasses import replace
from uuid import UUID

from trolley.chaos.accounts import Written, settle
from trolley.chaos.shoppers import NO_END, Journey
from trolley.demo.ledgers import Comparison, Entry, Ledger, payment_of
from trolley.demo.shop import Level
from trolley.demo.shopper import CANCELLED, PAID, REJECTED, Checkout

A, B, C = (str(UUID(int=number)) for number in (1, 2, 3))
TOTAL = 799
RECEIVED = {"mug": 10}


def told(checkout_id: str, state: str, order_id: str | None) -> Journey:
    checkout = Checkout(checkout_id, f"/checkouts/{checkout_id}", TOTAL)
    return Journey("pays at once", checkout, state, order_id, 0, 1)


def money(checkout_id: str, kind: str, amount: int, attempt: int = 1) -> Ledger:
    return {Entry(payment_of(checkout_id), attempt, kind, "GBP"): amount}


def both(ledger: Ledger) -> Comparison:
    return Comparison(ledger, ledger)


JOURNEYS = [told(A, PAID, "oa"), told(B, CANCELLED, "ob"), told(C, REJECTED, None)]
SOUND = Written(
    checkouts={A: (PAID, True), B: (CANCELLED, True), C: (REJECTED, True)},
    orders=[(A, "oa", TOTAL), (B, "ob", TOTAL)],
    books=both(
        {
            **money(A, "captured", TOTAL),
            **money(B, "captured", TOTAL),
            **money(B, "refunded", TOTAL),
        }
    ),
    sold={"mug": 1},
    levels={"mug": Level(on_hand=9, reserved=0)},
)


def test_when_all_agree_it_holds() -> None:
    accounts = settle(JOURNEYS, SOUND, RECEIVED)

    assert (accounts.accepted, accounts.lost, accounts.doubled) == (3, (), ())
    assert [check.what for check in accounts.checks if not check.held] == []
    assert accounts.held


def test_a_checkout_that_the_order_service_does_not_know_is_lost() -> None:
    forgotten = replace(SOUND, checkouts={A: (PAID, True), B: (CANCELLED, True)})

    assert settle(JOURNEYS, forgotten, RECEIVED).lost == (C,)


def test_a_checkout_without_an_end_is_lost() -> None:
    open_still = replace(SOUND, checkouts={**SOUND.checkouts, A: ("paying", False)})
    journeys = [told(A, NO_END, None), *JOURNEYS[1:]]

    assert settle(journeys, open_still, RECEIVED).lost == (A,)


def test_a_paid_checkout_without_its_order_or_its_money_is_lost() -> None:
    no_order = replace(SOUND, orders=SOUND.orders[1:])
    no_money = replace(SOUND, books=both({}))

    assert settle(JOURNEYS, no_order, RECEIVED).lost == (A,)
    assert settle(JOURNEYS, no_money, RECEIVED).lost == (A,)


def test_a_second_order_or_a_second_capture_is_doubled() -> None:
    two_orders = replace(SOUND, orders=[*SOUND.orders, (A, "oz", TOTAL)])
    charged_twice = replace(
        SOUND, books=both({**SOUND.books.theirs, **money(A, "captured", TOTAL, attempt=2)})
    )

    assert settle(JOURNEYS, two_orders, RECEIVED).doubled == (A,)
    assert settle(JOURNEYS, charged_twice, RECEIVED).doubled == (A,)


def test_money_kept_for_what_was_cancelled_is_doubled() -> None:
    kept = {**money(A, "captured", TOTAL), **money(B, "captured", TOTAL)}

    assert settle(JOURNEYS, replace(SOUND, books=both(kept)), RECEIVED).doubled == (B,)


def test_ledgers_stock_and_strangers_are_checked_too() -> None:
    wrong = replace(
        SOUND,
        checkouts={**SOUND.checkouts, str(UUID(int=9)): (PAID, True)},
        books=Comparison({}, SOUND.books.theirs),
        levels={"mug": Level(on_hand=8, reserved=1)},
    )

    accounts = settle(JOURNEYS, wrong, RECEIVED)

    assert {check.what for check in accounts.checks if not check.held} == {
        "checkouts that nobody was told of",
        "checkouts that are paid by the order service's book",
        "ledger entries that differ or stand on one side alone",
        "pieces on hand: received and not sold",
        "articles with other pieces on hand than that",
        "pieces reserved",
    }
    assert not accounts.held
