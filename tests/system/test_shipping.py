"""An order whose money is taken when it is shipped, over all services."""

import pytest

from contracts.messages.base import Step
from tests.system.test_checkouts import WaitUntil, trolley
from tests.system.town import Town
from trolley.client import Refused
from trolley.demo.shopper import PAID, is_set_aside

pytestmark = pytest.mark.integration


async def test_the_money_is_set_aside_taken_at_shipping_and_in_order_all_the_while(
    town: Town,
) -> None:
    shopper, checkout = await town.check_out(await town.offer(1), at_shipping=True)
    status = await shopper.follow(checkout, is_set_aside)
    order_id = status["order_id"]
    amounts = await town.shop.amounts(order_id)
    assert (amounts["authorized_minor"], amounts["captured_minor"]) == (checkout.total_minor, 0)
    code, story = await trolley(town, "show", checkout.checkout_id)
    assert code == 0
    assert Step.CAPTURE in story
    assert "a shipment does" in " ".join(story.split())
    await town.audit()

    await town.shop.ship(order_id)

    assert (await shopper.follow(checkout))["state"] == PAID
    assert (await shopper.order(order_id))["fulfilment_status"] == "shipped"
    assert (await town.shop.amounts(order_id))["captured_minor"] == checkout.total_minor
    with pytest.raises(Refused, match="finished"):
        await shopper.cancel(checkout)
    await town.audit()


async def test_it_leaves_in_parcels_for_all_of_the_money_and_what_never_ships_goes_back(
    town: Town, wait_until: WaitUntil
) -> None:
    article = await town.offer(3)
    shopper, checkout = await town.check_out(article, at_shipping=True, pieces=3)
    order_id = (await shopper.follow(checkout, is_set_aside))["order_id"]

    await town.shop.ship(order_id, {1: 1})

    assert (await shopper.follow(checkout))["state"] == PAID
    assert (await shopper.order(order_id))["fulfilment_status"] == "partly_shipped"
    assert (await town.shop.amounts(order_id))["captured_minor"] == checkout.total_minor
    await town.audit()

    await town.shop.take_back(order_id, {1: 1}, unshipped=True, reason="out of print")
    with pytest.raises(Refused, match="too-many-pieces"):
        await town.shop.ship(order_id, {1: 2}, parcel=2)
    await town.shop.ship(order_id, parcel=2)

    order = await shopper.order(order_id)
    assert order["fulfilment_status"] == "shipped"
    assert [one["lines"] for one in order["shipments"]] == 2 * [[{"line_no": 1, "pieces": 1}]]

    async def is_back() -> bool:
        refunded_minor = (await town.shop.amounts(order_id))["refunded_minor"]
        money = refunded_minor == checkout.total_minor // 3
        return money and (await town.level(article)).available == 1

    await wait_until(is_back, seconds=60, what="what never shipped, and its money")
    await town.audit()


async def test_given_up_before_it_is_shipped_nothing_is_taken(town: Town) -> None:
    article = await town.offer(1)
    shopper, checkout = await town.check_out(article, at_shipping=True)
    status = await shopper.follow(checkout, is_set_aside)

    await shopper.cancel(checkout)

    assert (await shopper.follow(checkout))["state"] == "cancelled"
    amounts = await town.shop.amounts(status["order_id"])
    assert (amounts["authorized_minor"], amounts["captured_minor"]) == (0, 0)
    assert (await town.level(article)).available == 1
    await town.audit()
