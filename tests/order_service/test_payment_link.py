"""Links to pay an order by: who may have one, and what its pages do."""

import asyncio
import re
from datetime import timedelta

import httpx
import pytest

from contracts.messages.payment import ChargePayment, ClosePayment
from messaging.clock import utc_now
from messaging.http.problems import TYPE_BASE
from messaging.signing import sign
from order_service.api.payment_links import PURPOSE
from order_service.exploration import CHECKOUT_ID, start
from tests.order_service.office import KEY, ORDER_ID, Office
from tests.order_service.story import (
    action_required,
    cancel,
    closed,
    committed,
    declined,
    processing,
    reserved,
    succeeded,
)

pytestmark = pytest.mark.integration

LINK = f"/orders/{ORDER_ID}/payment-link"


async def link_of(office: Office) -> str:
    """The path of a link that Ada has asked for."""
    response = await office.post(LINK, None)
    assert response.status_code == 200
    return httpx.URL(response.json()["url"]).path


def title_of(page: httpx.Response) -> str:
    """The heading of a page."""
    assert page.headers["content-type"].startswith("text/html")
    (title,) = re.findall("<h1>(.*)</h1>", page.text)
    return str(title)


def button_of(page: httpx.Response) -> str:
    """Where the button of a page leads."""
    (action,) = re.findall('<form method="post" action="(.*?)">', page.text)
    return str(action)


async def pressed(office: Office, path: str) -> str:
    """Where the browser is sent by a press of the button."""
    response = await office.http.post(path)
    assert response.status_code == 303
    return str(response.headers["location"])


async def number(office: Office) -> str:
    """The order's number."""
    order = (await office.checkout()).order
    assert order is not None
    return order.number


class TestHavingOne:
    async def test_it_is_good_for_the_window(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())

        body = (await office.post(LINK, None)).json()

        window = (await office.get(f"/orders/{ORDER_ID}")).json()["window_closes_at"]
        assert body["expires_at"] == window
        assert body["url"].startswith(f"{office.settings.link_base_url}/pay/")

    async def test_only_who_may_see_the_order_has_one(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())

        assert (await office.post(LINK, None, office.customer("eve"))).status_code == 404
        assert (await office.post(LINK, None, {})).status_code == 404
        operator = office.customer("olga", "operator")
        assert (await office.post(LINK, None, operator)).status_code == 200

    async def test_what_cannot_be_paid_has_none(self, office: Office) -> None:
        await office.tell(start(), reserved(), succeeded(), committed())

        refused = await office.post(LINK, None)

        assert refused.status_code == 409
        assert refused.json()["type"] == TYPE_BASE + "payment-not-wanted"

    async def test_after_the_window_there_is_none(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())
        await office.time_passes()

        refused = await office.post(LINK, None)

        assert refused.json()["type"] == TYPE_BASE + "payment-window-closed"


class TestVisiting:
    async def test_a_look_shows_what_is_to_be_paid_and_begins_nothing(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())

        page = await office.http.get(await link_of(office))

        assert title_of(page) == f"Pay for order {await number(office)}"
        assert "25.00 GBP" in page.text
        assert "ada" not in page.text.lower()
        assert page.headers["referrer-policy"] == "no-referrer"
        assert await office.sent(ChargePayment) == []

    async def test_the_button_leads_to_the_providers_page_once_that_is_there(
        self, office: Office
    ) -> None:
        await office.tell(start(paid=False), reserved())
        waits = await pressed(office, button_of(await office.http.get(await link_of(office))))

        page = await office.http.get(waits)
        assert title_of(page) == "One moment, please"
        assert 'http-equiv="refresh"' in page.text
        (charge,) = await office.sent(ChargePayment)
        assert charge.method.hosted

        await office.tell(action_required())
        sent_on = await office.http.get(waits)
        assert (sent_on.status_code, sent_on.headers["location"]) == (
            303,
            "https://bank.example/3ds",
        )

    async def test_pressing_it_many_times_is_pressing_it_once(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())
        button = button_of(await office.http.get(await link_of(office)))

        led_to = await asyncio.gather(*(pressed(office, button) for _ in range(4)))

        assert len(set(led_to)) == 1
        assert [one.attempt for one in await office.sent(ChargePayment)] == [1]
        assert await office.sent(ClosePayment) == []

    async def test_each_visit_has_a_page_of_its_own_and_ends_the_one_before(
        self, office: Office
    ) -> None:
        await office.tell(start(paid=False), reserved())
        link = await link_of(office)
        first = await pressed(office, button_of(await office.http.get(link)))
        await office.tell(action_required())

        second = await pressed(office, button_of(await office.http.get(link)))

        assert title_of(await office.http.get(second)) == "One moment, please"
        assert [one.attempt for one in await office.sent(ClosePayment)] == [1]
        assert len(await office.sent(ChargePayment)) == 1
        await office.tell(closed(), action_required(2))
        assert (await office.http.get(second)).headers["location"] == "https://bank.example/3ds"
        assert (await office.http.get(first)).headers["location"] == link

    async def test_after_a_try_that_failed_there_is_another(self, office: Office) -> None:
        await office.tell(start(), reserved(), declined())

        page = await office.http.get(await link_of(office))

        assert "The last try came to nothing." in page.text
        assert button_of(page).endswith("/2")

    async def test_who_waits_for_a_try_that_failed_is_sent_back(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())
        link = await link_of(office)
        waits = await pressed(office, button_of(await office.http.get(link)))
        await office.tell(declined())

        assert (await office.http.get(waits)).headers["location"] == link

    async def test_an_order_that_is_paid_says_so(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())
        link = await link_of(office)
        button = button_of(await office.http.get(link))
        await pressed(office, button)
        await office.tell(succeeded(), committed())

        page = await office.http.get(link)

        assert title_of(page) == f"Order {await number(office)} is paid"
        assert "<form" not in page.text
        await pressed(office, button.removesuffix("1") + "2")
        assert len(await office.sent(ChargePayment)) == 1

    async def test_money_that_is_on_its_way_is_not_asked_for_again(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())
        link = await link_of(office)
        await pressed(office, button_of(await office.http.get(link)))
        await office.tell(processing())

        page = await office.http.get(link)

        assert title_of(page).endswith("is on its way")
        await pressed(office, f"{link}/2")
        assert await office.sent(ClosePayment) == []

    async def test_after_the_window_it_takes_no_payment_and_says_so(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())
        link = await link_of(office)
        button = button_of(await office.http.get(link))
        await office.time_passes()

        page = await office.http.get(link)
        led_to = await pressed(office, button)

        assert (page.status_code, title_of(page)) == (
            410,
            f"Order {await number(office)} cannot be paid any more",
        )
        assert (await office.http.get(led_to)).headers["location"] == link
        assert await office.sent(ChargePayment) == []

    async def test_a_cancelled_order_takes_no_payment(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())
        link = await link_of(office)
        await office.tell(cancel())

        assert (await office.http.get(link)).status_code == 410

    async def test_a_link_that_is_none_of_ours_leads_nowhere(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())
        good = (await link_of(office)).rpartition("/")[2]
        payload = {"checkout_id": str(CHECKOUT_ID)}
        old = {**payload, "exp": int((utc_now() - timedelta(seconds=1)).timestamp())}
        of_another = {"checkout_id": "00000000-0000-7000-8000-00000000000f"}
        for token in (
            good[:-8],
            "x",
            sign(KEY, "checkout", payload),
            sign(KEY, PURPOSE, old),
            sign(KEY, PURPOSE, of_another),
        ):
            for answer in (
                await office.http.get(f"/pay/{token}"),
                await office.http.get(f"/pay/{token}/1"),
                await office.http.post(f"/pay/{token}/1"),
            ):
                assert answer.status_code == 404
                assert title_of(answer) == "This link does not lead to an order"
        assert await office.sent(ChargePayment) == []
