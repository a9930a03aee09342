"""Ways of a checkout, and of its shop, that together come by every message and every route.

What a later story has in common with an earlier one is tried in the earlier one: short ones first.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from contracts.messages.cart import RestoreLines
from contracts.messages.inventory import ReserveStock
from contracts.messages.payment import ChargePayment, PaymentSucceeded
from messaging.clock import utc_now
from payment_service.providers.simulated.account import DisputeStatus
from tests.torture import behind
from tests.torture.city import City
from trolley.client import Refused
from trolley.demo.crowd import settled
from trolley.demo.orders import CURRENCY, Product, Variant
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Shop
from trolley.demo.shopper import (
    PAYS,
    Checkout,
    Shopper,
    Status,
    Stuck,
    is_set_aside,
    payment_failed,
)

DECLINED = "pm_declined_card_declined"
NEVER = 10_000_000
"""Milliseconds: three hours, unless a story has them pass."""

PIECES = 5
"""So many of each SKU are there when a story begins."""


@dataclass(frozen=True)
class Told:
    """What a story was about."""

    sku: str
    cart_id: str
    checkout_id: str


@dataclass(frozen=True)
class Scene:
    """Where a story takes place. What stands in `bug` cannot be handled (`service_process`)."""

    town: City
    shop: Shop
    settings: DemoSettings
    bug: Path


class Guest(Shopper):
    """A guest who can do whatever the public APIs have for one."""

    async def ask(self, method: str, service: str, path: str, body: Any = None) -> Any:
        """What the service answers to this guest's command."""
        answer = await self._client.command(method, service, path, body, headers=self._headers)
        return answer.body

    async def change(self, method: str, path: str = "", body: Any = None) -> None:
        """Changes the lines of the cart."""
        await self.ask(method, "cart", f"/carts/{self.cart_id}/lines{path}", body)

    async def insist(self) -> Checkout:
        """Buys what is in the cart, whatever is said against it."""
        try:
            return await self.check_out()
        except Refused as refused:
            return await self.check_out(accept_token=refused.problem["accept_token"])

    async def order_only(self) -> tuple[Checkout, str]:
        """Orders what is in the cart, to be paid later: the checkout, and the order's id."""
        checkout = await self.check_out(None)
        status = await self.follow(checkout, _is("awaiting_payment"))
        return checkout, status["order_id"]

    async def authorize(self, order_id: str, method: str) -> None:
        """Tries to pay in two steps: set aside, then captured."""
        payment = {"token": method, "flow": "authorize"}
        await self.ask("POST", "order", f"/orders/{order_id}/payments", {"payment": payment})

    async def saved_methods(self) -> Sequence[Mapping[str, Any]]:
        """What this customer has saved."""
        answer = await self._client.get("payment", "/saved-methods", headers=self._headers)
        saved: Sequence[Mapping[str, Any]] = answer.body["items"]
        return saved

    async def act(self, town: City, status: Status) -> None:
        """Does what the bank asks for."""
        url = status["attempts"][-1]["next_action"]["url"]
        await self.ask("POST", "payment", url.removeprefix(town.urls["payment"]) + "/complete")

    async def cancel_order(self, order_id: str) -> None:
        """Gives the order up."""
        await self.ask("POST", "order", f"/orders/{order_id}/cancel")

    def told(self, sku: str, checkout: Checkout) -> Told:
        """The story of this guest."""
        return Told(sku, self.cart_id, checkout.checkout_id)


Shown = Mapping[str, Any]
"""What is shown of an order after its sale, or of a reconciliation."""

RECENTLY = timedelta(minutes=5)
"""How far back the books are compared: any time that reaches back to the story's beginning."""


@dataclass(frozen=True)
class Desk:
    """An operator with a paid order before them."""

    scene: Scene
    order_id: str

    async def ask(self, path: str, body: Any) -> None:
        """Does something with the order."""
        await self._command("order", f"/orders/{self.order_id}/{path}", body)

    async def reconcile(self) -> None:
        """Has our ledger compared with the provider's books, and waits until it is done."""
        since = (utc_now() - RECENTLY).isoformat()
        (run,) = (await self._command("payment", "/reconciliations", {"since": since}))["items"]
        look = partial(self._get, "payment", f"/reconciliations/{run['run_id']}")
        await self._until(look, _run_is_over)

    async def until(self, wanted: Callable[[Shown], bool]) -> None:
        """Waits for something that is under way."""
        await self._until(self._after_sale, wanted)

    async def _after_sale(self) -> Shown:
        found: Shown = (await self.scene.shop.order(self.order_id))["after_sale"]
        return found

    async def _until(
        self,
        look: Callable[[], Awaitable[Shown]],
        wanted: Callable[[Shown], bool],
    ) -> None:
        settings = self.scene.settings
        patient = settings.model_copy(update={"settle_seconds": settings.finish_seconds})
        found = await settled(look, wanted, patient)
        if not wanted(found):
            raise Stuck(self.order_id, str(found), patient.settle_seconds)

    async def _command(self, service: str, path: str, body: Any) -> Any:
        shop = self.scene.shop
        return (await shop.client.command("POST", service, path, body, headers=shop.operator)).body

    async def _get(self, service: str, path: str) -> Any:
        shop = self.scene.shop
        return (await shop.client.get(service, path, headers=shop.operator)).body


Story = Callable[[Scene, str], Awaitable[Told]]


# Stories that need nobody's help.


async def buys(scene: Scene, sku: str) -> Told:
    """A guest buys two pieces."""
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out()
    await guest.follow(checkout)
    return guest.told(sku, checkout)


async def gives_up(scene: Scene, sku: str) -> Told:
    """A guest whose card is declined cancels the order."""
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out(DECLINED)
    status = await guest.follow(checkout, payment_failed)
    await guest.cancel_order(status["order_id"])
    await guest.follow(checkout)
    return guest.told(sku, checkout)


async def wants_too_many(scene: Scene, sku: str) -> Told:
    """A guest insists on more than there is, has the cart back, and empties it."""
    guest = await _with_a_cart(scene, sku, PIECES + 1)
    checkout = await guest.insist()
    await guest.follow(checkout)
    (line,) = (await guest.cart())["lines"]
    await guest.change("PATCH", f"/{line['line_no']}", {"quantity": 1})
    await guest.change("DELETE", f"/{line['line_no']}")
    await guest.put({sku: 1})
    await guest.change("DELETE")
    return guest.told(sku, checkout)


async def stocks_the_shelves(scene: Scene, sku: str) -> Told:
    """A shop begins to sell something new, and puts its books right; nobody buys."""
    client, headers = scene.shop.client, scene.shop.operator
    fresh, etag = f"{sku}-fresh", ""

    async def ask(method: str, service: str, path: str, body: Any) -> None:
        nonlocal etag
        sent = headers | ({"If-Match": etag} if method == "PATCH" else {})
        answer = await client.command(method, service, path, body, headers=sent)
        etag = answer.headers.get("ETag", etag)

    price = {"currency": CURRENCY, "amount_minor": 500}
    product = f"/products/{fresh}"
    new = {"code": fresh, "name": fresh, "base_prices": [price]}
    await ask("POST", "catalog", "/products", new)
    await ask("POST", "catalog", f"{product}/variants", {"variants": [{"sku": fresh}]})
    await ask("PATCH", "catalog", product, {"name": "Renamed"})
    await ask("PATCH", "catalog", f"{product}/variants/{fresh}", {"name": "Renamed, too"})
    more = f"{sku}-more"
    await scene.shop.import_products([Product(more, more, 600, (Variant(more, 0),))])
    await ask("POST", "inventory", "/warehouses", {"code": fresh, "name": "Next door"})
    line = {"sku": fresh, "warehouse": fresh}
    await ask("POST", "inventory", "/receipts", {"lines": [line | {"quantity": 3}]})
    counted = {"reason": "counted", "lines": [line | {"quantity": -1}]}
    await ask("POST", "inventory", "/adjustments", counted)
    return Told(fresh, str(uuid4()), str(uuid4()))


async def changes_their_mind(scene: Scene, sku: str) -> Told:
    """A link is not used, a capture fails, the next does not; what is paid is slowly refunded."""
    guest = await _with_a_cart(scene, sku)
    checkout, order_id = await guest.order_only()
    await guest.payment_link(order_id)
    await guest.authorize(order_id, "pm_authorize+capture_fails")
    await guest.follow(checkout, payment_failed)
    await guest.authorize(order_id, f"pm_authorize+refund_pending_{NEVER}")
    await guest.follow(checkout)
    await guest.cancel(checkout)
    await settled(partial(guest.order, order_id), _is_cancelled, scene.settings)
    await behind.refund_is_due(scene.town, checkout.checkout_id)
    await guest.follow(checkout)
    return guest.told(sku, checkout)


async def saves_a_method(scene: Scene, sku: str) -> Told:
    """A customer pays with a method that is saved, and deletes it."""
    customer = Guest(scene.shop, scene.settings, name="Somebody", sub=str(uuid4()))
    await customer.open_cart()
    await customer.put({sku: 1})
    checkout, order_id = await customer.order_only()
    payment = {"payment": {"token": PAYS, "save": True}}
    await customer.ask("POST", "order", f"/orders/{order_id}/payments", payment)
    await customer.follow(checkout)
    (saved,) = await customer.saved_methods()
    await customer.ask("DELETE", "payment", f"/saved-methods/{saved['saved_method_id']}")
    return customer.told(sku, checkout)


async def is_refunded_by_hand(scene: Scene, sku: str) -> Told:
    """An order that is paid is given up, its refund fails, and an operator sees to it."""
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out(f"{PAYS}+refund_fails")
    status = await guest.follow(checkout)
    await guest.cancel_order(status["order_id"])
    await guest.follow(checkout, _is("needs_attention"))
    await scene.shop.client.command(
        "POST",
        "order",
        f"/checkouts/{checkout.checkout_id}/resolve",
        {"decision": "refunded_by_hand", "reason": "by bank transfer"},
        headers=scene.shop.operator,
    )
    await guest.follow(checkout)
    return guest.told(sku, checkout)


# Stories of what comes after the sale.


async def comes_back(scene: Scene, sku: str) -> Told:
    """Bought, shipped in two parcels, refunded in part; it comes back, and one piece is broken."""
    guest, checkout, desk = await _sold(scene, sku)
    one = {"line_no": 1, "quantity": 1}
    await desk.ask("shipments", {"carrier": "post", "tracking": "RR1", "lines": [one]})
    await desk.ask("shipments", {"carrier": "post", "tracking": "RR2"})
    await desk.ask("refunds", {"amount_minor": 250, "reason": "a crack"})
    await desk.until(_refunded(1))
    pieces = [one, one | {"write_off": True}]
    await desk.ask("returns", {"lines": pieces, "reason": "too big"})
    await desk.until(_all_came_back)
    return guest.told(sku, checkout)


async def pays_at_shipping(scene: Scene, sku: str) -> Told:
    """The money is set aside, and taken when the shop hands the goods over."""
    guest, checkout, desk = await _set_aside(scene, sku)
    await desk.ask("shipments", {"carrier": "post", "tracking": "RR1"})
    await guest.follow(checkout)
    return guest.told(sku, checkout)


async def is_not_shipped_in_time(scene: Scene, sku: str) -> Told:
    """The money is taken before the provider gives it back, and the goods are shipped later."""
    guest, checkout, desk = await _set_aside(scene, sku)
    await behind.hold_lapses(scene.town, checkout.checkout_id)
    await guest.follow(checkout)
    await desk.ask("shipments", {"carrier": "post", "tracking": "RR1"})
    return guest.told(sku, checkout)


async def is_refunded_in_part_by_hand(scene: Scene, sku: str) -> Told:
    """A refund fails for good, and an operator makes it another way."""
    guest, checkout, desk = await _sold(scene, sku, f"{PAYS}+refund_fails")
    await desk.ask("refunds", {"amount_minor": 250, "reason": "a crack"})
    await desk.until(_needs_a_decision)
    decision = {"decision": "refunded_by_hand", "reason": "by bank transfer"}
    await desk.ask("refunds/1/resolve", decision)
    await desk.until(_refunded(1))
    return guest.told(sku, checkout)


async def is_refunded_by_a_clerk(scene: Scene, sku: str) -> Told:
    """Somebody at the provider gives money back, and a reconciliation finds it."""
    guest, checkout, desk = await _sold(scene, sku)
    await behind.clerk_refunds(scene.town, checkout.checkout_id, 250)
    await desk.reconcile()
    await desk.until(_refunded(1))
    return guest.told(sku, checkout)


async def is_disputed(scene: Scene, sku: str) -> Told:
    """The guest's bank withdraws the money, and gives it back; reconciliations find both."""
    guest, checkout, desk = await _sold(scene, sku)
    for status in _OF_A_DISPUTE:
        await behind.bank_disputes(scene.town, checkout.checkout_id, checkout.total_minor, status)
        await desk.reconcile()
        await desk.until(_disputed(status))
    return guest.told(sku, checkout)


async def _set_aside(scene: Scene, sku: str) -> tuple[Guest, Checkout, Desk]:
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out(at_shipping=True)
    status = await guest.follow(checkout, _waits_for_the_shop_alone)
    return guest, checkout, Desk(scene, status["order_id"])


def _waits_for_the_shop_alone(status: Status) -> bool:
    return is_set_aside(status) and len(status["waits"]) == 1


async def _sold(scene: Scene, sku: str, method: str = PAYS) -> tuple[Guest, Checkout, Desk]:
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out(method)
    status = await guest.follow(checkout)
    return guest, checkout, Desk(scene, status["order_id"])


_OF_A_DISPUTE: tuple[DisputeStatus, ...] = ("open", "won")


def _run_is_over(run: Shown) -> bool:
    return bool(run["state"] == "done")


def _refunded(refunds: int) -> Callable[[Shown], bool]:
    def are_made(after: Shown) -> bool:
        return [one["status"] for one in after["refunds"]] == refunds * ["refunded"]

    return are_made


def _all_came_back(after: Shown) -> bool:
    return _refunded(2)(after) and all(one["booked"] for one in after["returns"])


def _needs_a_decision(after: Shown) -> bool:
    return bool(after["needs_attention"])


def _disputed(status: str) -> Callable[[Shown], bool]:
    return lambda after: [one["status"] for one in after["disputes"]] == [status]


# Stories in which time passes.


async def hesitates(scene: Scene, sku: str) -> Told:
    """A guest does not do what the bank asks for, until the attempt and then the window end."""
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out(f"pm_action_required_{NEVER}")
    await guest.follow(checkout, _is("action_required"))
    await behind.attempt_is_overdue(scene.town, checkout.checkout_id)
    await guest.follow(checkout, payment_failed)
    await behind.window_ends(scene.town, checkout.checkout_id)
    await guest.follow(checkout)
    return guest.told(sku, checkout)


async def acts_late(scene: Scene, sku: str) -> Told:
    """A guest is too late for the bank's page, and does what the next one asks for."""
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out(f"pm_action_required_{NEVER}")
    status = await guest.follow(checkout, _is("action_required"))
    await behind.payment_is_due(scene.town, checkout.checkout_id)
    await guest.follow(checkout, payment_failed)
    await guest.pay(status["order_id"], f"pm_action_required_{NEVER}")
    status = await guest.follow(checkout, _is("action_required"))
    await guest.act(scene.town, status)
    await guest.follow(checkout)
    return guest.told(sku, checkout)


async def waits_for_the_bank(scene: Scene, sku: str) -> Told:
    """The bank's answer is lost, then it takes its time; the stock is held as long."""
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out(f"pm_processing_{NEVER}+timeout_after_effect")
    await guest.follow(checkout, _extended)
    await behind.reservation_is_due(scene.town, checkout.checkout_id)
    await guest.follow(checkout, _extended_again)
    await behind.payment_is_due(scene.town, checkout.checkout_id)
    await guest.follow(checkout)
    return guest.told(sku, checkout)


async def loses_the_stock(scene: Scene, sku: str) -> Told:
    """What a guest has ordered is not held any more when the money comes: it goes back."""
    guest = await _with_a_cart(scene, sku)
    checkout, order_id = await guest.order_only()
    await guest.pay(order_id, f"pm_action_required_{NEVER}")
    # Whoever asks to hold it longer is answered by then: it would take the pieces anew.
    status = await guest.follow(checkout, _waits_for_the_shopper_alone)
    await behind.reservation_is_lost(scene.town, checkout.checkout_id)
    await scene.shop.receive({sku: 1})
    await guest.act(scene.town, status)
    await guest.follow(checkout)
    return guest.told(sku, checkout)


# Stories in which a release has a bug; it is fixed, and what it left is replayed or discarded.


async def meets_a_bug(scene: Scene, sku: str) -> Told:
    """What a guest wants cannot be reserved until the bug is fixed."""
    _break(scene, ReserveStock.type, sku)
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out()
    await guest.follow(checkout, _blocked)
    await _fix(scene, "inventory", "replay", checkout)
    await guest.follow(checkout)
    return guest.told(sku, checkout)


async def meets_a_bug_when_it_is_paid(scene: Scene, sku: str) -> Told:
    """The saga cannot take the money in until the bug is fixed."""
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out(f"pm_action_required_{NEVER}")
    # Nothing else may come that would be parked, or not, behind what the saga cannot take in.
    status = await guest.follow(checkout, _waits_for_the_shopper_alone)
    _break(scene, PaymentSucceeded.type, checkout.checkout_id)
    await guest.act(scene.town, status)
    await guest.follow(checkout, _blocked)
    await _fix(scene, "order", "replay", checkout)
    await guest.follow(checkout)
    return guest.told(sku, checkout)


async def meets_a_bug_when_paying(scene: Scene, sku: str) -> Told:
    """A charge cannot be begun and is discarded; the guest pays again."""
    guest = await _with_a_cart(scene, sku)
    checkout, order_id = await guest.order_only()
    _break(scene, ChargePayment.type, checkout.checkout_id)
    await guest.pay(order_id, PAYS)
    await guest.follow(checkout, _blocked)
    await _fix(scene, "payment", "discard", checkout)
    await guest.follow(checkout, payment_failed)
    await guest.pay(order_id, PAYS)
    await guest.follow(checkout)
    return guest.told(sku, checkout)


async def meets_a_bug_when_giving_up(scene: Scene, sku: str) -> Told:
    """Two carts cannot have their lines back; the first replays are stopped and begun again.

    The story is that of the guest whose letter is edited and whose turn is taken last.
    """
    settings, waiting = scene.settings, []
    for _ in range(2):
        guest = await _with_a_cart(scene, sku)
        checkout, order_id = await guest.order_only()
        _break(scene, RestoreLines.type, sku)
        await guest.cancel_order(order_id)
        await guest.follow(checkout, _blocked)
        waiting.append((guest, checkout))
    (first, its_checkout), (guest, checkout) = waiting
    letter = await _letter(scene, "cart", checkout)
    edit = {"value": letter["value"]["json"], "reason": "to be sure"}
    await _operate(scene, "cart", f"/{letter['id']}/edits", edit)
    run = await _fix(scene, "cart", "replay", its_checkout, checkout, rate_per_second=0.5)
    await first.follow(its_checkout)
    try:
        await _operate(scene, "cart", f"/runs/{run['id']}/stop", {"reason": "seen enough"})
        left = await settled(partial(_read, scene, "cart", letter["id"]), _had_its_turn, settings)
        if left["status"] == "dead":
            await _fix(scene, "cart", "replay", checkout)
    except Refused as refused:
        if refused.slug != "run-not-under-way":  # it has come to its end before us
            raise
    await guest.follow(checkout)
    return guest.told(sku, checkout)


# Stories in which the database refuses a message, whoever handles it, until that is mended.


async def meets_a_constraint(scene: Scene, sku: str) -> Told:
    """What a guest wants is reserved in vain until the database takes it."""
    await behind.reservation_is_refused(scene.town, sku)
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out()
    await guest.follow(checkout, _blocked)
    await behind.reservation_is_taken_again(scene.town)
    await _run(scene, "inventory", "replay", checkout)
    await guest.follow(checkout)
    return guest.told(sku, checkout)


async def meets_a_constraint_when_it_is_paid(scene: Scene, sku: str) -> Told:
    """The saga takes the money in, in vain, until its database takes that."""
    guest = await _with_a_cart(scene, sku)
    checkout = await guest.check_out(f"pm_action_required_{NEVER}")
    status = await guest.follow(checkout, _waits_for_the_shopper_alone)
    await behind.payment_is_refused(scene.town, checkout.checkout_id)
    await guest.act(scene.town, status)
    await guest.follow(checkout, _blocked)
    await behind.payment_is_taken_again(scene.town)
    await _run(scene, "order", "replay", checkout)
    await guest.follow(checkout)
    return guest.told(sku, checkout)


def _break(scene: Scene, kind: str, about: str) -> None:
    scene.bug.write_text(f"{kind} {about}")


async def _fix(
    scene: Scene, service: str, action: str, *checkouts: Checkout, **options: Any
) -> Mapping[str, Any]:
    scene.bug.write_text("")
    return await _run(scene, service, action, *checkouts, **options)


async def _run(
    scene: Scene, service: str, action: str, *checkouts: Checkout, **options: Any
) -> Mapping[str, Any]:
    letters = [await _letter(scene, service, checkout) for checkout in checkouts]
    chosen = {"action": action, "reason": "fixed", "ids": [letter["id"] for letter in letters]}
    return await _operate(scene, service, "/runs", chosen | options)


async def _letter(scene: Scene, service: str, checkout: Checkout) -> Mapping[str, Any]:
    """The dead letter in the way of this checkout, once it is dead."""

    async def listed() -> Sequence[Mapping[str, Any]]:
        path = f"/dead-letters?key={checkout.checkout_id}&status=dead"
        found: Sequence[Mapping[str, Any]] = (
            await scene.shop.client.get(service, path, headers=_operations(scene))
        ).body["items"]
        return found

    (one,) = await settled(listed, bool, scene.settings)
    return await _read(scene, service, one["id"])


async def _read(scene: Scene, service: str, letter_id: str) -> Mapping[str, Any]:
    path = f"/dead-letters/{letter_id}"
    letter = await scene.shop.client.get(service, path, headers=_operations(scene))
    whole: Mapping[str, Any] = letter.body
    return whole


def _had_its_turn(letter: Mapping[str, Any]) -> bool:
    """Tried, or left as it was by a run that was stopped."""
    return letter["status"] in {"done", "dead"}


async def _operate(scene: Scene, service: str, path: str, body: Any) -> Mapping[str, Any]:
    answer = await scene.shop.client.command(
        "POST", service, f"/dead-letters{path}", body, headers=_operations(scene)
    )
    found: Mapping[str, Any] = answer.body
    return found


def _operations(scene: Scene) -> dict[str, str]:
    return scene.shop.token("olga", frozenset({"operations"}))


# What stories wait for.


def _is(state: str) -> Callable[[Status], bool]:
    return lambda status: bool(status["state"] == state)


def _waits_for_the_shopper_alone(status: Status) -> bool:
    return status["state"] == "action_required" and len(status["waits"]) == 1


def _is_cancelled(order: Mapping[str, Any]) -> bool:
    return bool(order["fulfilment_status"] == "cancelled")


def _blocked(status: Status) -> bool:
    return bool(status["blocked"])


def _extensions(status: Status) -> int:
    return sum(
        entry["message"] == "inventory.reservation_extended.v1" and entry["outcome"] == "moved"
        for entry in status["history"]
    )


def _extended(status: Status) -> bool:
    return _extensions(status) >= 1


def _extended_again(status: Status) -> bool:
    return _extensions(status) >= 2


async def _with_a_cart(scene: Scene, sku: str, pieces: int = 2) -> Guest:
    guest = Guest(scene.shop, scene.settings, name="Somebody")
    await guest.open_cart()
    await guest.put({sku: pieces})
    return guest


AFTER_THE_SALE: Mapping[str, Story] = {
    "comes back": comes_back,
    "pays at shipping": pays_at_shipping,
    "is not shipped in time": is_not_shipped_in_time,
    "is refunded in part by hand": is_refunded_in_part_by_hand,
    "is refunded by a clerk": is_refunded_by_a_clerk,
    "is disputed": is_disputed,
}

STORIES: Mapping[str, Story] = {
    "buys": buys,
    "gives up": gives_up,
    "stocks the shelves": stocks_the_shelves,
    "wants too many": wants_too_many,
    "hesitates": hesitates,
    "acts late": acts_late,
    "waits for the bank": waits_for_the_bank,
    "loses the stock": loses_the_stock,
    "is refunded by hand": is_refunded_by_hand,
    **AFTER_THE_SALE,
    "changes their mind": changes_their_mind,
    "saves a method": saves_a_method,
    "meets a bug": meets_a_bug,
    "meets a bug when it is paid": meets_a_bug_when_it_is_paid,
    "meets a bug when paying": meets_a_bug_when_paying,
    "meets a bug when giving up": meets_a_bug_when_giving_up,
    "meets a constraint": meets_a_constraint,
    "meets a constraint when it is paid": meets_a_constraint_when_it_is_paid,
}
