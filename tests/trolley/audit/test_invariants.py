"""Each invariant, broken once in real databases or on real topics: the auditor names it.

And nothing else is broken: the shop as the services left it has no violation, although a payment
is under way in it that the two ledgers do not agree on yet.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from contracts.messages.order import OrderCancelled, OrderPaid
from contracts.topics import CART_EVENTS, INVENTORY_EVENTS, ORDER_EVENTS, PAYMENT_EVENTS, Topic
from messaging.settings import KafkaSettings
from tests.trolley.audit.world import (
    LINES,
    SERIES,
    SHOP,
    T0,
    TOTAL,
    WAREHOUSE,
    Published,
    Shop,
    World,
    in_outbox,
    named,
    order_of,
    payment_of,
    publish,
    sku_key,
)
from trolley.audit import AuditReport
from trolley.audit.invariant import Source
from trolley.audit.invariants import INVARIANTS
from trolley.audit.invariants.messages import SERVICES

pytestmark = pytest.mark.integration

Audited = Callable[..., Awaitable[AuditReport]]
Break = Callable[[World], Awaitable[None]]
Tell = Callable[[list[Published]], Iterable[Published]]

APPLE = sku_key("APPLE")
LEVEL = f"{APPLE}@main"


@dataclass(frozen=True)
class Violation:
    """Something wrong, by the invariant that names it and the entity that it is found at."""

    invariant: str
    entity: str
    plant: Break

    @property
    def id(self) -> str:
        return f"{self.invariant}: {self.plant.__name__}"


VIOLATIONS: list[Violation] = []


def breaks(invariant: str, *, at: object) -> Callable[[Break], Break]:
    def register(plant: Break) -> Break:
        VIOLATIONS.append(Violation(invariant, str(at), plant))
        return plant

    return register


# Stock.


@breaks("stock.on-hand-is-sum-of-movements", at=LEVEL)
async def a_unit_of_stock_is_lost(world: World) -> None:
    await world.run(
        Source.INVENTORY, "UPDATE stock_levels SET on_hand = on_hand - 1 WHERE sku = 'APPLE'"
    )


@breaks("stock.on-hand-is-sum-of-movements", at=LEVEL)
async def movements_have_no_level(world: World) -> None:
    await world.run(Source.INVENTORY, "DELETE FROM stock_levels WHERE sku = 'APPLE'")


@breaks("stock.reserved-is-sum-of-held", at=LEVEL)
async def a_reservation_is_forgotten(world: World) -> None:
    await world.run(
        Source.INVENTORY, "UPDATE stock_levels SET reserved = reserved - 1 WHERE sku = 'APPLE'"
    )


@breaks("stock.reserved-within-on-hand", at=LEVEL)
async def more_is_reserved_than_there_is(world: World) -> None:
    await world.lift(Source.INVENTORY, "stock_levels", "stock_levels_possible")
    await world.run(
        Source.INVENTORY, "UPDATE stock_levels SET reserved = on_hand + 1 WHERE sku = 'APPLE'"
    )


@breaks("stock.movements-say-what-was-left", at=LEVEL)
async def a_movement_tells_another_balance(world: World) -> None:
    await world.run(
        Source.INVENTORY,
        "UPDATE movements SET on_hand = 7 WHERE sku = 'APPLE' AND event_seq = 2",
    )


@breaks("stock.movements-are-gapless", at=APPLE)
async def a_movement_is_gone(world: World) -> None:
    await world.run(Source.INVENTORY, "DELETE FROM movements WHERE sku = 'APPLE' AND event_seq = 2")


@breaks("stock.reservations-move-what-they-took", at=f"main/{named('refunded')} 1")
async def committed_stock_was_returned_nevertheless(world: World) -> None:
    await world.run(
        Source.INVENTORY,
        "UPDATE reservations SET status = 'committed' WHERE owner_id = $1",
        named("refunded"),
    )


@breaks("stock.reservations-move-what-they-took", at=f"main/{named('nobody')} 1")
async def a_sale_has_no_reservation(world: World) -> None:
    await world.run(
        Source.INVENTORY,
        "UPDATE movements SET operation_id = $1 WHERE operation_id = $2 AND kind = 'sale'",
        named("nobody"),
        named("paid"),
    )


@breaks("stock.replies-say-what-was-done", at=f"{named('declined')} release 1")
async def a_release_was_answered_and_not_done(world: World) -> None:
    await _hold(world, "declined")


# Money.


@breaks("money.amounts-in-order", at=payment_of("paid"))
async def more_is_refunded_than_was_captured(world: World) -> None:
    await world.lift(Source.PAYMENT, "payments", "payments_amounts")
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET refunded_minor = captured_minor + 1 WHERE payment_id = $1",
        payment_of("paid"),
    )


@breaks("money.amounts-are-sum-of-ledger", at=payment_of("paid"))
async def an_amount_is_not_that_of_the_ledger(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET captured_minor = captured_minor - 1 WHERE payment_id = $1",
        payment_of("paid"),
    )


@breaks("money.amounts-are-sum-of-ledger", at=payment_of("refunded"))
async def more_went_back_than_came_and_none_of_it_by_hand(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET over_refunded_minor = 100, refunded_minor = refunded_minor - 100"
        " WHERE payment_id = $1",
        payment_of("refunded"),
    )


@breaks("money.ledger-is-gapless", at=payment_of("paid"))
async def a_fact_is_gone_from_the_ledger(world: World) -> None:
    await world.run(
        Source.PAYMENT, "DELETE FROM ledger WHERE payment_id = $1 AND seq = 1", payment_of("paid")
    )


@breaks("money.one-live-attempt", at=payment_of("paying"))
async def a_second_attempt_is_live(world: World) -> None:
    await world.lift_index(Source.PAYMENT, "attempts_one_live")
    await world.run(
        Source.PAYMENT,
        "INSERT INTO attempts (payment_id, attempt, status, details, provider, amount_minor,"
        " charge_key, charge_round, created_at, updated_at)"
        " SELECT payment_id, 2, status, details, provider, amount_minor, 'second', 2,"
        " created_at, updated_at FROM attempts WHERE payment_id = $1",
        payment_of("paying"),
    )


@breaks("money.attempts-agree-with-ledger", at=f"{payment_of('paid')} 1")
async def a_declined_attempt_took_money(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE attempts SET status = 'declined' WHERE payment_id = $1",
        payment_of("paid"),
    )


@breaks("money.refunds-agree-with-ledger", at=named("refunded refund"))
async def a_failed_refund_is_booked_as_made(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE refunds SET status = 'refund_failed' WHERE refund_id = $1",
        named("refunded refund"),
    )


@breaks("money.replies-say-what-was-done", at=f"{named('declined')} charge 1")
async def success_was_answered_for_a_declined_attempt(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE recorded_replies SET type = 'payment.succeeded.v1' WHERE checkout_id = $1",
        named("declined"),
    )


@breaks("money.one-effect-per-key", at=f"{payment_of('paid')}:1:charge")
async def one_key_captured_twice(world: World) -> None:
    await _at_provider(world, "paid", "captured")


@breaks("money.every-unit-is-at-both-sides", at=payment_of("paid"))
async def the_shopper_is_charged_twice(world: World) -> None:
    await _at_provider(world, "paid", "captured", charge_key="another")


@breaks("money.every-unit-is-at-both-sides", at=payment_of("paid"))
async def the_provider_held_and_took_the_same_amount_too_much(world: World) -> None:
    await world.run(
        Source.SIMULATED_PROVIDER,
        "UPDATE ledger SET amount_minor = amount_minor + 1 WHERE payment_id = $1",
        payment_of("paid"),
    )


@breaks("money.every-unit-is-at-both-sides", at=payment_of("declined"))
async def the_provider_took_money_that_we_know_nothing_of(world: World) -> None:
    await _at_provider(world, "declined", "captured")


@breaks("money.every-unit-is-at-both-sides", at=payment_of("refunded"))
async def the_provider_never_made_the_refund(world: World) -> None:
    await world.run(
        Source.SIMULATED_PROVIDER,
        "DELETE FROM ledger WHERE payment_id = $1 AND kind = 'refunded'",
        payment_of("refunded"),
    )


async def _at_provider(
    world: World, checkout: str, kind: str, *, charge_key: str | None = None
) -> None:
    await world.insert(
        Source.SIMULATED_PROVIDER,
        "ledger",
        {
            "charge_key": charge_key or f"{payment_of(checkout)}:1:charge",
            "payment_id": payment_of(checkout),
            "attempt": 1,
            "kind": kind,
            "amount_minor": TOTAL,
            "currency": "GBP",
            "booked_at": "2026-01-01T00:00:00Z",
        },
    )


# Orders.


@breaks("orders.total-is-sum-of-lines", at=named("paid"))
async def a_line_was_sold_for_nothing(world: World) -> None:
    await world.run(
        Source.ORDER,
        "UPDATE order_lines SET net_minor = 0, gross_minor = 0 WHERE order_id = $1 AND line_no = 1",
        order_of("paid"),
    )


@breaks("orders.lines-add-up", at=named("paid"))
async def a_tax_is_not_in_the_gross(world: World) -> None:
    await world.run(
        Source.ORDER,
        "UPDATE order_lines SET net_minor = net_minor + 10 WHERE order_id = $1 AND line_no = 3",
        order_of("paid"),
    )


@breaks("orders.axes-agree-with-the-end", at=named("declined"))
async def a_cancelled_order_is_sent_all_the_same(world: World) -> None:
    await world.run(
        Source.ORDER,
        "UPDATE orders SET fulfilment_status = 'ready' WHERE order_id = $1",
        order_of("declined"),
    )


@breaks("orders.axes-agree-with-the-end", at=named("paid"))
async def an_order_is_not_that_of_its_checkout(world: World) -> None:
    await world.run(
        Source.ORDER,
        "UPDATE checkouts SET order_id = $1 WHERE checkout_id = $2",
        named("another order"),
        named("paid"),
    )


@breaks("orders.paid-has-one-committed-reservation", at=named("paid"))
async def a_paid_order_has_no_stock(world: World) -> None:
    await world.run(
        Source.INVENTORY,
        "UPDATE reservations SET status = 'released' WHERE owner_id = $1",
        named("paid"),
    )


@breaks("orders.paid-has-one-committed-reservation", at=named("paid"))
async def a_piece_too_few_was_taken(world: World) -> None:
    await world.run(
        Source.INVENTORY,
        "UPDATE reservation_lines SET quantity = 1 WHERE owner_id = $1 AND sku = 'APPLE'",
        named("paid"),
    )


@breaks("orders.paid-has-one-committed-reservation", at=named("paid"))
async def as_many_of_each_too_many_were_taken(world: World) -> None:
    await world.run(
        Source.ORDER,
        "UPDATE order_lines SET quantity = 1 WHERE order_id = $1 AND sku IS NOT NULL",
        order_of("paid"),
    )
    await world.run(
        Source.INVENTORY,
        "UPDATE reservation_lines SET quantity = 2 WHERE owner_id = $1",
        named("paid"),
    )


@breaks("orders.paid-has-one-committed-reservation", at=named("paid"))
async def an_order_was_sold_twice(world: World) -> None:
    await world.run(
        Source.INVENTORY,
        "INSERT INTO reservations (shop_id, owner_id, round, id, owner, status)"
        " VALUES ('main', $1, 2, $1, 'checkout', 'committed')",
        named("paid"),
    )


@breaks("orders.ended-ones-hold-no-stock", at=named("declined"))
async def a_cancelled_order_holds_stock_for_ever(world: World) -> None:
    await _hold(world, "declined")


@breaks("orders.ended-ones-hold-no-stock", at=named("nobody"))
async def a_reservation_belongs_to_no_checkout(world: World) -> None:
    await world.run(
        Source.INVENTORY,
        "UPDATE reservations SET owner_id = $1 WHERE owner_id = $2",
        named("nobody"),
        named("paying"),
    )


@breaks("orders.ended-ones-hold-no-stock", at=named("refunded"))
async def a_refunded_order_keeps_its_goods(world: World) -> None:
    await world.run(
        Source.INVENTORY,
        "UPDATE reservations SET status = 'committed' WHERE owner_id = $1",
        named("refunded"),
    )


@breaks("orders.keep-what-their-lines-are-worth", at=named("paid"))
async def an_order_is_paid_without_payment(world: World) -> None:
    await world.run(
        Source.PAYMENT, "DELETE FROM payments WHERE payment_id = $1", payment_of("paid")
    )


@breaks("orders.keep-what-their-lines-are-worth", at=named("refunded"))
async def a_cancelled_order_was_not_refunded(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET refunded_minor = 0 WHERE payment_id = $1",
        payment_of("refunded"),
    )


@breaks("orders.paid-has-one-committed-reservation", at=named("set aside"))
async def an_order_may_be_shipped_without_stock(world: World) -> None:
    await world.run(
        Source.INVENTORY,
        "UPDATE reservations SET status = 'booked_back' WHERE owner_id = $1",
        named("set aside"),
    )


@breaks("orders.to-be-shipped-have-their-money-set-aside", at=named("set aside"))
async def an_order_may_be_shipped_and_nothing_is_set_aside_for_it(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET authorized_minor = 0 WHERE payment_id = $1",
        payment_of("set aside"),
    )


@breaks("orders.returned-pieces-are-booked", at=named("paid"))
async def goods_came_back_that_inventory_never_booked(world: World) -> None:
    await _came_back(world, "APPLE")


@breaks("orders.returned-pieces-are-booked", at=named("paid"))
async def as_many_of_each_too_many_were_booked_as_come_back(world: World) -> None:
    await _came_back(world, *LINES)
    await world.insert(
        Source.INVENTORY,
        "movements",
        *(
            {
                "shop_id": SHOP, "sku": sku, "event_seq": 1_000, "round": 1_001, "line": line,
                "warehouse": WAREHOUSE, "kind": "return", "quantity": 2, "on_hand": 2,
                "operation_id": named("paid"), "moved_at": T0,
            }
            for line, sku in enumerate(LINES)
        ),
    )  # fmt: skip


async def _came_back(world: World, *skus: str) -> None:
    """The order believes that a piece of each came back, and was booked."""
    came = [{"lines": [{"sku": sku, "pieces": 1} for sku in skus], "booked": True}]
    await world.run(
        Source.ORDER,
        "INSERT INTO after_sales (checkout_id, facts, refunded_minor, credited_minor,"
        " refund_pending_minor, disputed_minor, dispute_lost_minor, blocked, needs_attention,"
        " changed_at) VALUES ($1, $2::json, 0, 0, 0, 0, 0, false, false, $3)",
        named("paid"),
        json.dumps({"returns": came}),
        T0,
    )


@breaks("orders.keep-what-their-lines-are-worth", at=named("paid"))
async def money_went_back_that_the_order_never_heard_of(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET refunded_minor = 100 WHERE payment_id = $1",
        payment_of("paid"),
    )


@breaks("orders.know-their-money", at=named("paid"))
async def a_bank_withdrew_money_and_the_order_never_heard_of_it(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET dispute_lost_minor = 100 WHERE payment_id = $1",
        payment_of("paid"),
    )


@breaks("orders.know-their-money", at=named("declined"))
async def a_cancelled_order_never_heard_of_its_money(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET authorized_minor = $1, captured_minor = $1, refunded_minor = $1"
        " WHERE payment_id = $2",
        TOTAL,
        payment_of("declined"),
    )


@breaks("orders.money-is-of-an-order", at=named("nobody"))
async def a_payment_belongs_to_no_order(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET checkout_id = $1 WHERE payment_id = $2",
        named("nobody"),
        payment_of("paid"),
    )


@breaks("orders.money-is-of-an-order", at=named("paid"))
async def an_order_was_paid_in_another_currency(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE payments SET currency = 'JPY' WHERE payment_id = $1",
        payment_of("paid"),
    )


@breaks("orders.no-money-comes-after-the-end", at=named("declined"))
async def a_cancelled_order_can_still_be_charged(world: World) -> None:
    await world.run(
        Source.PAYMENT,
        "UPDATE attempts SET status = 'action_required' WHERE payment_id = $1",
        payment_of("declined"),
    )


async def _hold(world: World, checkout: str) -> None:
    await world.run(
        Source.INVENTORY,
        "UPDATE reservations SET status = 'held', next_question_at = expires_at"
        " WHERE owner_id = $1",
        named(checkout),
    )


# Checkouts.


@breaks("checkouts.final-or-visible", at=named("paying"))
async def a_checkout_has_no_deadline(world: World) -> None:
    await world.lift(Source.ORDER, "checkouts", "checkouts_moves_or_is_seen")
    await world.run(
        Source.ORDER,
        "UPDATE checkouts SET deadline_at = NULL WHERE checkout_id = $1",
        named("paying"),
    )


@breaks("checkouts.final-or-visible", at=named("paying"))
async def nobody_sees_that_a_deadline_passed(world: World) -> None:
    await world.run(
        Source.ORDER,
        "UPDATE checkouts SET deadline_at = now() - interval '5 minutes' WHERE checkout_id = $1",
        named("paying"),
    )


# Carts.


@breaks("carts.locked-only-while-open", at=named("declined"))
async def a_cart_is_locked_by_a_checkout_that_is_over(world: World) -> None:
    await _lock_cart(world, "declined")


@breaks("carts.locked-only-while-open", at=named("received"))
async def a_cart_is_locked_and_its_checkout_never_began(world: World) -> None:
    await world.run(
        Source.CART,
        "UPDATE carts SET start_command = NULL, start_due_at = NULL, start_sends = NULL"
        " WHERE checkout_id = $1",
        named("received"),
    )


@breaks("carts.bought-with-their-order", at=named("paid"))
async def a_cart_of_an_order_is_not_closed(world: World) -> None:
    await _lock_cart(world, "paid")


@breaks("carts.bought-with-their-order", at=named("rejected"))
async def a_cart_was_closed_without_an_order(world: World) -> None:
    await world.run(
        Source.CART,
        "UPDATE carts SET checkout_id = $1 WHERE checkout_id = $2",
        named("rejected"),
        named("paid"),
    )


@breaks("carts.lines-come-back-once-cancelled", at=named("declined"))
async def the_lines_of_a_cancelled_order_are_lost(world: World) -> None:
    await world.run(
        Source.CART, "DELETE FROM restorations WHERE checkout_id = $1", named("declined")
    )


async def _lock_cart(world: World, checkout: str) -> None:
    await world.run(
        Source.CART,
        "UPDATE carts SET status = 'locked', order_id = NULL WHERE checkout_id = $1",
        named(checkout),
    )


# Documents.


@breaks("documents.numbers-are-gapless", at=named("refunded invoice"))
async def the_first_invoice_is_gone(world: World) -> None:
    await world.run(
        Source.ORDER, "DELETE FROM documents WHERE document_id = $1", named("paid invoice")
    )


@breaks("documents.numbers-are-gapless", at=named("refunded invoice"))
async def two_invoices_have_one_number(world: World) -> None:
    await world.lift(Source.ORDER, "documents", "documents_number")
    await world.run(
        Source.ORDER,
        "UPDATE documents SET sequence = 1 WHERE document_id = $1",
        named("refunded invoice"),
    )


@breaks("documents.counters-end-with-the-last-number", at="main INV 2026")
async def a_number_was_drawn_and_has_no_document(world: World) -> None:
    await world.run(Source.ORDER, "UPDATE document_series SET last = last + 1 WHERE series = 'INV'")


@breaks("documents.paid-orders-have-one-invoice", at=named("paid"))
async def a_paid_order_was_never_invoiced(world: World) -> None:
    await world.run(Source.ORDER, "DELETE FROM documents WHERE order_id = $1", order_of("paid"))


@breaks("documents.paid-orders-have-one-invoice", at=named("paid"))
@breaks("documents.agree-with-the-money", at=named("paid"))
async def a_paid_order_is_invoiced_twice(world: World) -> None:
    await _document(world, "paid", "another invoice", "invoice", None, sequence=3)


@breaks("documents.agree-with-the-money", at=named("refunded"))
async def a_refund_has_no_credit_note(world: World) -> None:
    await world.run(
        Source.ORDER, "DELETE FROM documents WHERE document_id = $1", named("refunded credit_note")
    )


@breaks("documents.agree-with-the-money", at=named("paid"))
async def money_is_credited_that_was_kept(world: World) -> None:
    await _document(world, "paid", "a note", "credit_note", named("paid invoice"), sequence=2)


@breaks("documents.agree-with-the-money", at=named("refunded"))
async def a_credit_note_is_of_anothers_invoice(world: World) -> None:
    await world.run(
        Source.ORDER,
        "UPDATE documents SET invoice_id = $1 WHERE document_id = $2",
        named("paid invoice"),
        named("refunded credit_note"),
    )


@breaks("documents.agree-with-the-money", at=named("paid"))
async def a_receipt_is_of_another_amount(world: World) -> None:
    await world.run(
        Source.ORDER,
        "UPDATE documents SET gross_minor = gross_minor + 1 WHERE document_id = $1",
        named("paid receipt"),
    )


async def _document(
    world: World, checkout: str, name: str, kind: str, invoice_id: UUID | None, *, sequence: int
) -> None:
    await world.insert(
        Source.ORDER,
        "documents",
        {
            "document_id": named(name),
            "shop_id": "main",
            "order_id": order_of(checkout),
            "kind": kind,
            "attempt": 2,
            "refund": int(kind == "credit_note"),
            "invoice_id": invoice_id,
            "series": SERIES[kind],
            "year": 2026,
            "sequence": sequence,
            "currency": "GBP",
            "net_minor": TOTAL,
            "gross_minor": TOTAL,
            "content": {},
            "issued_at": "2026-01-01T00:00:00Z",
        },
    )


# Read models.


@breaks("read-models.cart-knows-the-catalog", at=APPLE)
async def the_cart_sells_at_another_price(world: World) -> None:
    await world.run(
        Source.CART,
        """UPDATE catalog_items SET prices = '{"GBP": 1}' WHERE sku = 'APPLE'""",
    )


@breaks("read-models.cart-knows-the-catalog", at=APPLE)
async def an_update_of_the_catalog_never_came(world: World) -> None:
    await world.run(Source.CATALOG, "UPDATE variants SET version = 3 WHERE sku = 'APPLE'")


@breaks("read-models.cart-knows-the-stock", at=APPLE)
async def the_cart_shows_stock_that_is_not_there(world: World) -> None:
    await world.run(
        Source.CART, "UPDATE stock_availability SET available = 1000 WHERE sku = 'APPLE'"
    )


# Messages.


def _outbox_of(source: Source) -> Break:
    async def nobody_empties_the_outbox(world: World) -> None:
        await in_outbox(world, source, "anything", minutes_old=5)

    return nobody_empties_the_outbox


for each in SERVICES:
    breaks(f"messages.{each}-outbox-is-young", at=each)(_outbox_of(each))


# Event topics.


@dataclass(frozen=True)
class Mistold:
    """Something wrong on a topic."""

    invariant: str
    entity: str
    tell: Tell

    @property
    def id(self) -> str:
        return f"{self.invariant}: {self.tell.__name__}"


MISTOLD: list[Mistold] = []


def mistells(invariant: str, *, at: object) -> Callable[[Tell], Tell]:
    def register(tell: Tell) -> Tell:
        MISTOLD.append(Mistold(invariant, str(at), tell))
        return tell

    return register


def _of(event: Published, topic: Topic, checkout: str) -> bool:
    return event.topic is topic and event.correlation_id == str(named(checkout))


@mistells("events.order-events-are-gapless", at=named("paid"))
def an_order_event_was_never_published(events: list[Published]) -> Iterable[Published]:
    return [
        event
        for event in events
        if not (_of(event, ORDER_EVENTS, "paid") and event.type == OrderPaid.type)
    ]


@mistells("events.order-events-are-gapless", at="not an id")
def an_event_of_an_order_that_nobody_placed(events: list[Published]) -> Iterable[Published]:
    stray = next(event for event in events if event.topic is ORDER_EVENTS)
    return [*events, replace(stray, key="not an id", correlation_id="not an id")]


@mistells("events.tell-what-became-of-the-order", at=named("paid"))
def a_paid_order_was_published_as_cancelled(events: list[Published]) -> Iterable[Published]:
    return [
        replace(event, type=OrderCancelled.type)
        if _of(event, ORDER_EVENTS, "paid") and event.type == OrderPaid.type
        else event
        for event in events
    ]


@mistells("events.tell-what-became-of-the-order", at=named("paid"))
def an_order_was_published_at_another_price(events: list[Published]) -> Iterable[Published]:
    return [
        replace(event, body={"total_minor": 1}) if _of(event, ORDER_EVENTS, "paid") else event
        for event in events
    ]


@mistells("events.payment-events-are-gapless", at=named("paid"))
def a_payment_event_was_never_published(events: list[Published]) -> Iterable[Published]:
    return [event for event in events if not _of(event, PAYMENT_EVENTS, "paid")]


@mistells("events.sku-events-are-gapless", at=APPLE)
def a_movement_was_never_published(events: list[Published]) -> Iterable[Published]:
    return [
        event
        for event in events
        if (event.topic, event.key, event.event_seq) != (INVENTORY_EVENTS, APPLE, 2)
    ]


@mistells("events.cart-events-are-gapless", at=named("nobody"))
def an_event_of_a_cart_that_is_not_there(events: list[Published]) -> Iterable[Published]:
    nobody = str(named("nobody"))
    stray = next(event for event in events if event.topic is CART_EVENTS)
    return [*events, replace(stray, key=nobody, correlation_id=nobody)]


@mistells("events.cart-events-are-gapless", at=named("paid cart"))
def one_number_stands_for_two_events(events: list[Published]) -> Iterable[Published]:
    cart = str(named("paid cart"))
    first = next(event for event in events if event.key == cart)
    return [*events, replace(first, message_id=named("another"))]


@mistells("events.topics-hold-only-events", at="cart.events")
def a_record_without_a_number(events: list[Published]) -> Iterable[Published]:
    stray = next(event for event in events if event.topic is CART_EVENTS)
    return [*events, replace(stray, event_seq=None)]


# The tests.


async def test_the_shop_as_its_services_left_it_has_no_violation(audited: Audited) -> None:
    report = await audited()

    assert list(report.findings) == []
    assert report.clean
    # Nothing has come back to this shop.
    assert {one.invariant for one in report.checked if not one.facts} == {
        "orders.returned-pieces-are-booked"
    }
    assert {one.invariant for one in report.checked if one.under_way} == {
        "money.every-unit-is-at-both-sides"
    }


@pytest.mark.parametrize("violation", [pytest.param(v, id=v.id) for v in VIOLATIONS])
async def test_a_violation_is_named(world: World, audited: Audited, violation: Violation) -> None:
    await violation.plant(world)

    report = await audited(invariants=[one for one in INVARIANTS if one.id == violation.invariant])

    assert violation.entity in {finding.entity for finding in report.findings}
    assert not report.clean


@pytest.mark.parametrize("mistold", [pytest.param(m, id=m.id) for m in MISTOLD])
async def test_what_is_published_wrongly_is_named(
    audited: Audited, fresh_topics: Callable[[], Awaitable[KafkaSettings]], mistold: Mistold
) -> None:
    kafka = await fresh_topics()
    await publish(kafka, mistold.tell(Shop().events))

    report = await audited(kafka=kafka)

    assert _named_by(report, mistold.invariant) == {mistold.entity}
    assert {finding.invariant for finding in report.findings} <= {
        mistold.invariant,
        "events.tell-what-became-of-the-order",
    }


def test_every_invariant_is_broken_by_a_test() -> None:
    broken = {one.invariant for one in VIOLATIONS} | {one.invariant for one in MISTOLD}

    assert broken == {invariant.id for invariant in INVARIANTS}
    assert len({invariant.id for invariant in INVARIANTS}) == len(INVARIANTS)


def _named_by(report: AuditReport, invariant: str) -> set[str]:
    return {finding.entity for finding in report.findings if finding.invariant == invariant}
