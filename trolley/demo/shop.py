"""What the demo asks of the shop, in the shop's words: all of it over the public REST APIs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from messaging.clock import utc_now
from messaging.http.pages import LARGEST_PAGE
from messaging.signing import customer_token
from trolley.client import Client
from trolley.demo.orders import Product
from trolley.demo.pace import Pace

OPERATOR = "demo"
OPERATOR_ROLES = frozenset({"operator"})
TOKENS_VALID_FOR = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Level:
    """Pieces of a SKU, all warehouses together."""

    on_hand: int
    reserved: int

    @property
    def available(self) -> int:
        """What is left to be bought."""
        return self.on_hand - self.reserved


NOTHING = Level(0, 0)


class Shop:
    """The shop as its operator sees it."""

    def __init__(self, client: Client, signing_key: str, pace: Pace) -> None:
        self.client = client
        self.pace = pace
        self._signing_key = SecretStr(signing_key)

    def token(self, sub: str, roles: frozenset[str] = frozenset()) -> dict[str, str]:
        """The header of somebody who is signed in."""
        token = customer_token(
            self._signing_key, sub=sub, roles=roles, now=utc_now(), valid_for=TOKENS_VALID_FOR
        )
        return {"Authorization": f"Bearer {token}"}

    @property
    def operator(self) -> dict[str, str]:
        """The header of the shop's operator."""
        return self.token(OPERATOR, OPERATOR_ROLES)

    async def import_products(self, products: Iterable[Product]) -> Mapping[str, Any]:
        """Creates products with their variants and prices in one call; answers the counts."""
        rows = [
            {
                "product_code": product.code,
                "sku": variant.sku,
                "product_name": product.name,
                "prices": [
                    {
                        "currency": product.currency,
                        "base_minor": product.base_minor,
                        "additional_minor": variant.additional_minor,
                    }
                ],
            }
            for product in products
            for variant in product.variants
        ]
        answer = await self.client.command(
            "POST", "catalog", "/imports?all_or_none=true", {"rows": rows}, headers=self.operator
        )
        counts: Mapping[str, Any] = answer.body
        return counts

    async def receive(self, pieces: Mapping[str, int]) -> None:
        """Books pieces in, by SKU: all of them, or none."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in pieces.items()]
        await self.client.command(
            "POST", "inventory", "/receipts", {"lines": lines}, headers=self.operator
        )

    async def order(self, order_id: str) -> Mapping[str, Any]:
        """An order with its lines, and what happened after its sale."""
        answer = await self.client.get("order", f"/orders/{order_id}", headers=self.operator)
        order: Mapping[str, Any] = answer.body
        return order

    async def ship(
        self, order_id: str, pieces: Mapping[int, int] | None = None, *, parcel: int = 1
    ) -> None:
        """Hands goods over to the post: all that is left, or pieces by the number of their line.

        Raises `Refused` when they are not ready, or not there any more (409).
        """
        lines = [{"line_no": line, "quantity": many} for line, many in (pieces or {}).items()]
        await self.client.command(
            "POST",
            "order",
            f"/orders/{order_id}/shipments",
            {"carrier": "post", "tracking": f"RR{order_id[:8]}{parcel}", "lines": lines},
            headers=self.operator,
        )

    async def take_back(
        self,
        order_id: str,
        pieces: Mapping[int, int],
        *,
        write_off: bool = False,
        unshipped: bool = False,
        reason: str,
    ) -> None:
        """Takes pieces back by the number of their line, and refunds them. Raises `Refused`.

        `unshipped`: they never left, and never will.
        """
        how = {"write_off": write_off, "unshipped": unshipped}
        lines = [
            {"line_no": number, "quantity": quantity, **how} for number, quantity in pieces.items()
        ]
        await self.client.command(
            "POST",
            "order",
            f"/orders/{order_id}/returns",
            {"lines": lines, "reason": reason},
            headers=self.operator,
        )

    async def amounts(self, order_id: str) -> Mapping[str, int]:
        """What of an order's money is set aside, taken and given back."""
        path = f"/payments?order_id={order_id}"
        answer = await self.client.get("payment", path, headers=self.operator)
        amounts: Mapping[str, int] = answer.body["items"][0]["amounts"]
        return amounts

    async def documents(self, order_id: str) -> Sequence[Mapping[str, Any]]:
        """The documents of an order, the oldest first."""
        answer = await self.client.get(
            "order", f"/orders/{order_id}/documents", headers=self.operator
        )
        documents: Sequence[Mapping[str, Any]] = answer.body["items"]
        return documents

    async def level(self, sku: str) -> Level:
        """The pieces of one SKU; none of one that was never received."""
        return (await self._levels(f"sku={quote(sku, safe='')}&")).get(sku, NOTHING)

    async def levels(self) -> Mapping[str, Level]:
        """The pieces of every SKU that was ever received."""
        return await self._levels("")

    async def _levels(self, filters: str) -> dict[str, Level]:
        levels: dict[str, Level] = {}
        cursor: str | None = None
        while True:
            after = "" if cursor is None else f"&cursor={cursor}"
            path = f"/stock?{filters}limit={LARGEST_PAGE}{after}"
            page = (await self.client.get("inventory", path, headers=self.operator)).body
            for item in page["items"]:
                before = levels.get(item["sku"], NOTHING)
                levels[item["sku"]] = Level(
                    before.on_hand + item["on_hand"], before.reserved + item["reserved"]
                )
            cursor = page["next_cursor"]
            if cursor is None:
                return levels
