"""A shopper on Stripe's page, as the sandbox has it."""

from collections.abc import Mapping

import aiohttp
import stripe

DECLINED = {"number": "4000000000009995"}
"""A card without funds."""


def entered(fields: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a shopper enters who pays by card."""
    shopper = {"email": "ada@example.com", "name": "Ada Lovelace"}
    card = {"number": "4242424242424242", "expiry": "12 / 34", "cvc": "123"}
    return {**shopper, **card, **(fields or {})}


async def pay_on_page(
    page: stripe.checkout.Session, fields: Mapping[str, str] | None = None
) -> None:
    """Pay there, by a good card unless told otherwise; where the page is over, nothing happens."""
    if page.url is not None:
        await pay_at(page.url, fields)


async def pay_at(url: str, fields: Mapping[str, str] | None = None) -> int:
    """Pay at that address; gives the status of the answer."""
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(url, data=entered(fields), allow_redirects=False) as answer,
    ):
        return answer.status
