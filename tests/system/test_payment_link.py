"""An order that is paid by a link, over all services."""

import re

import httpx
import pytest

from tests.system.town import Town
from trolley.demo.shopper import PAID, Status

pytestmark = pytest.mark.integration


def _waits_for_payment(status: Status) -> bool:
    return bool(status["state"] == "awaiting_payment")


async def test_a_link_leads_to_the_providers_page_and_then_tells_that_it_is_paid(
    town: Town,
) -> None:
    shopper, checkout = await town.check_out(await town.offer(1), method=None)
    status = await shopper.follow(checkout, _waits_for_payment)
    link = await shopper.payment_link(status["order_id"])

    async with httpx.AsyncClient(base_url=link.partition("/pay/")[0], timeout=60) as browser:
        (button,) = re.findall('action="(.*?)"', (await browser.get(link)).text)
        there = (await browser.post(button)).headers["location"]
        status = await shopper.follow(checkout, lambda one: one["state"] == "action_required")
        page = (await browser.get(there)).headers["location"]
        assert page == status["attempts"][-1]["next_action"]["url"]
        assert (await browser.post(f"{page}/complete")).is_success
        status = await shopper.follow(checkout)
        assert "is paid" in (await browser.get(link)).text

    assert status["state"] == PAID
    await town.audit()
