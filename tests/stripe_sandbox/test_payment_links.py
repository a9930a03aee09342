"""Payment links: every visitor gets a session of their own."""

from typing import Any

import httpx
import pytest
import stripe
from stripe import PaymentLink, StripeClient

from tests.stripe_sandbox.shopping import card, dict_of, types_of_events


async def link_of(client: StripeClient, **params: Any) -> PaymentLink:
    """A link that sells two lamps."""
    price = await client.v1.prices.create_async(
        {"currency": "eur", "unit_amount": 1_000, "product_data": {"name": "Lamp"}}
    )
    lines: Any = {"line_items": [{"price": price.id, "quantity": 2}]}
    return await client.v1.payment_links.create_async(lines | params)


async def test_every_visit_makes_a_fresh_session_with_the_metadata_of_the_link(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    link = await link_of(
        client,
        metadata={"campaign": "spring"},
        payment_intent_data={"metadata": {"payment_id": "p-1"}},
        after_completion={
            "type": "redirect",
            "redirect": {"url": "https://shop.test/thanks?session={CHECKOUT_SESSION_ID}"},
        },
    )
    visits = [
        await browser.get(link.url, params={"client_reference_id": "cart-7"}) for _ in range(2)
    ]
    assert [visit.status_code for visit in visits] == [303, 303]
    sessions = await client.v1.checkout.sessions.list_async({"payment_link": link.id})
    assert {session.url for session in sessions.data} == {
        visit.headers["location"] for visit in visits
    }
    session = sessions.data[0]
    assert (session.amount_total, session.client_reference_id) == (2000, "cart-7")
    assert dict_of(session.metadata) == {"campaign": "spring"}

    paid = await browser.post(str(session.url), data=card())
    assert paid.headers["location"] == f"https://shop.test/thanks?session={session.id}"
    session = await client.v1.checkout.sessions.retrieve_async(
        session.id, {"expand": ["payment_intent", "payment_link", "line_items"]}
    )
    assert isinstance(session.payment_intent, stripe.PaymentIntent)
    assert dict_of(session.payment_intent.metadata) == {"payment_id": "p-1"}
    assert session.line_items is not None
    assert [line.description for line in session.line_items.data] == ["Lamp"]


async def test_who_has_paid_sees_the_message_of_the_link(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    link = await link_of(
        client,
        after_completion={
            "type": "hosted_confirmation",
            "hosted_confirmation": {"custom_message": "We send it <today>."},
        },
    )
    session = (await browser.get(link.url)).headers["location"]
    paid = await browser.post(session, data=card())
    page = await browser.get(paid.headers["location"])
    assert "We send it &lt;today&gt;." in page.text


async def test_an_inactive_link_says_so(client: StripeClient, browser: httpx.AsyncClient) -> None:
    link = await link_of(client, inactive_message="Sold out.")
    link = await client.v1.payment_links.update_async(
        link.id, {"active": False, "metadata": {"why": "sold out"}}
    )
    assert (link.active, dict_of(link.metadata)) == (False, {"why": "sold out"})
    page = await browser.get(link.url)
    assert page.status_code == 410
    assert "Sold out." in page.text
    assert (await client.v1.checkout.sessions.list_async()).data == []
    assert (await client.v1.payment_links.list_async({"active": True})).data == []
    assert (await browser.get("/l/plink_none")).status_code == 404
    events = await types_of_events(client)
    assert events[-2:] == ["payment_link.created", "payment_link.updated"]


async def test_the_lines_of_a_link_are_listed(client: StripeClient) -> None:
    link = await link_of(client, expand=["line_items"])
    assert link.line_items is not None
    lines = await client.v1.payment_links.line_items.list_async(link.id)
    assert [(line.id, line.quantity) for line in lines.data] == [(link.line_items.data[0].id, 2)]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"currency": "usd"}, "currency"),
        ({"line_items": [{"price": "price_none", "quantity": 1}] * 21}, "line_items"),
        ({"after_completion": {"type": "redirect"}}, "after_completion[redirect]"),
        ({"allow_promotion_codes": True}, "allow_promotion_codes"),
        ({"payment_method_types": ["us_bank_account"]}, "payment_method_types[0]"),
    ],
)
async def test_a_link_that_cannot_be_is_refused(
    client: StripeClient, params: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await link_of(client, **params)
    assert refused.value.param == param
