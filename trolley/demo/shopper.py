"""One shopper on the public REST APIs: a cart, a checkout, an order."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from trolley.client import ClientError
from trolley.demo.orders import CURRENCY
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Shop

PAID, CANCELLED, REJECTED = "paid", "cancelled", "rejected"
NEEDS_ATTENTION = "needs_attention"
PAYMENT_FAILED = "payment_failed"
AUTHORIZED = "authorized"
"""States of a checkout."""

PAYS = "pm_ok"
"""A payment method that just works, of the shop's usual provider as it is by default."""

SHORTEST_COUNTRY, LONGEST_COUNTRY = 2, 60
SOMEWHERE = "Unspecified"


Status = Mapping[str, Any]
"""What the status URL of a checkout says."""


def is_over(status: Status) -> bool:
    """Whether nothing more will happen to a checkout by itself."""
    return bool(status["final"])


def payment_failed(status: Status) -> bool:
    """Whether the shopper may pay again."""
    return bool(status["state"] == PAYMENT_FAILED)


def is_set_aside(status: Status) -> bool:
    """Whether the money waits to be taken when the goods are shipped."""
    return bool(status["state"] == AUTHORIZED)


class Stuck(ClientError):
    """A checkout did not come to where it had to."""

    def __init__(self, checkout_id: str, state: str, seconds: float) -> None:
        super().__init__(f"checkout {checkout_id} is still {state} after {seconds:.0f} s")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout that the cart has taken."""

    checkout_id: str
    status_url: str
    total_minor: int


class Shopper:
    """A guest, or with `sub` a customer who is signed in."""

    def __init__(
        self,
        shop: Shop,
        settings: DemoSettings,
        *,
        name: str,
        sub: str | None = None,
        country: str = SOMEWHERE,
        currency: str = CURRENCY,
        provider: str | None = None,
    ) -> None:
        """Pays through `provider`, or else the shop's usual one."""
        self._client = shop.client
        self._pace = shop.pace
        self._settings = settings
        self._name = name
        self._country = country if len(country) >= SHORTEST_COUNTRY else SOMEWHERE
        self._currency = currency
        self._provider = {} if provider is None else {"provider": provider}
        self._headers = {} if sub is None else shop.token(sub)
        self.cart_id = ""

    async def open_cart(self) -> None:
        """Takes an empty cart; a guest keeps its token from here on."""
        answer = await self._client.command(
            "POST", "cart", "/carts", {"currency": self._currency}, headers=self._headers
        )
        self.cart_id = answer.body["cart_id"]
        if answer.body["cart_token"] is not None:
            self._headers = {"Cart-Token": answer.body["cart_token"]}
        if answer.body["lines"]:
            await self.empty_cart()

    async def put(self, lines: Mapping[str, int]) -> Mapping[str, Any]:
        """Puts pieces by SKU into the cart, in one call; answers the cart."""
        wanted = [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]
        answer = await self._client.command(
            "POST", "cart", f"/carts/{self.cart_id}/lines", {"lines": wanted}, headers=self._headers
        )
        cart: Mapping[str, Any] = answer.body
        return cart

    async def cart(self, cart_id: str | None = None) -> Mapping[str, Any]:
        """The cart as it is now, or another one of this shopper's."""
        path = f"/carts/{cart_id or self.cart_id}"
        answer = await self._client.get("cart", path, headers=self._headers)
        cart: Mapping[str, Any] = answer.body
        return cart

    async def carts(self) -> list[Mapping[str, Any]]:
        """All carts of this shopper, the newest first."""
        answer = await self._client.get("cart", "/carts", headers=self._headers)
        carts: list[Mapping[str, Any]] = answer.body["items"]
        return carts

    async def empty_cart(self) -> None:
        """Takes everything out of the cart."""
        await self._client.command(
            "DELETE", "cart", f"/carts/{self.cart_id}/lines", headers=self._headers
        )

    async def check_out(
        self,
        method: str | None = PAYS,
        *,
        at_shipping: bool = False,
        window_seconds: int | None = None,
        accept_token: str | None = None,
    ) -> Checkout:
        """Buys what is in the cart, to be paid later where no method is given.

        With `at_shipping` the money is set aside, and taken when the goods are shipped.
        Raises `Refused` when prices or stock moved (409).
        """
        body: dict[str, Any] = {
            "email": "shopper@shop.example",
            "address": {
                "name": self._name,
                "line1": "1 High Street",
                "city": "Anytown",
                "country": self._country[:LONGEST_COUNTRY],
            },
        }
        if method is not None:
            later = {"flow": "authorize", "capture": "at_shipping"} if at_shipping else {}
            body["payment"] = {**self._provider, "token": method, **later}
        if window_seconds is not None:
            body["payment_window_seconds"] = window_seconds
        if accept_token is not None:
            body["accept_token"] = accept_token
        answer = await self._client.command(
            "POST", "cart", f"/carts/{self.cart_id}/checkout", body, headers=self._headers
        )
        return Checkout(
            answer.body["checkout_id"], answer.body["status_url"], answer.body["total_minor"]
        )

    async def order(self, order_id: str) -> Mapping[str, Any]:
        """The order with its lines."""
        answer = await self._client.get("order", f"/orders/{order_id}", headers=self._headers)
        order: Mapping[str, Any] = answer.body
        return order

    async def pay(self, order_id: str, method: str) -> None:
        """Tries to pay once more. Raises `Refused` when it is too late (409)."""
        await self._client.command(
            "POST",
            "order",
            f"/orders/{order_id}/payments",
            {"payment": {**self._provider, "token": method}},
            headers=self._headers,
        )

    async def payment_link(self, order_id: str) -> str:
        """A link by which anybody can pay. Raises `Refused` when it is too late (409)."""
        answer = await self._client.command(
            "POST", "order", f"/orders/{order_id}/payment-link", headers=self._headers
        )
        url: str = answer.body["url"]
        return url

    async def cancel(self, checkout: Checkout) -> None:
        """Gives the checkout, or its order, up. Raises `Refused` when it is too late (409)."""
        url = urlsplit(checkout.status_url)
        path = urlunsplit(url._replace(path=f"{url.path}/cancel"))
        await self._client.command("POST", "order", path, {}, headers=self._headers)

    async def follow(self, checkout: Checkout, until: Callable[[Status], bool] = is_over) -> Status:
        """The checkout's status once it is as wanted. Raises `Stuck`."""
        began = time.monotonic()
        await asyncio.sleep(self._pace.first_wait())
        while True:
            status: Status = (await self._client.get("order", checkout.status_url)).body
            spent = time.monotonic() - began
            if until(status):
                self._pace.ended(spent)
                return status
            hopeless = status["final"] or status["state"] == NEEDS_ATTENTION
            if hopeless or spent > self._settings.finish_seconds:
                raise Stuck(checkout.checkout_id, status["state"], spent)
            await asyncio.sleep(self._pace.next_wait())
