"""The cart service on a real database, and what a test wants to do with it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import httpx
from pydantic import SecretStr

from cart_service.app import build
from cart_service.handlers.read_models import AvailabilityHandler, CatalogHandler
from cart_service.handlers.saga import SagaHandler
from cart_service.settings import CartSettings
from contracts.ids import new_id
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message
from contracts.messages.catalog import CatalogItem, Price
from contracts.messages.inventory import StockAvailability
from contracts.shops import DEFAULT_SHOP
from contracts.topics import CART_COMMANDS, CATALOG_ITEMS, INVENTORY_AVAILABILITY, Topic
from messaging.batch import BatchProcessor
from messaging.clock import utc_now
from messaging.database import sql
from messaging.delivery import Subscription, deliver
from messaging.fold import Handler, Incoming, open_fold
from messaging.http.problems import TYPE_BASE
from messaging.outbox import address
from messaging.records import Record
from messaging.settings import HttpSettings
from messaging.signing import customer_token

KEY = SecretStr("a signing key that only tests know")

CHECKOUT = {
    "email": "ada@example.org",
    "address": {
        "name": "Ada Byron",
        "line1": "12 St James's Square",
        "city": "London",
        "country": "GB",
    },
    "payment": {"token": "pm_ok"},
}
"""The body of a checkout."""

TABLES = (
    "cart_lines",
    "restorations",
    "carts",
    "catalog_items",
    "stock_availability",
    "inbox",
    "outbox",
    "recorded_replies",
    "dead_letters",
    "dead_letter_history",
    "dead_letter_runs",
    "parked_keys",
    "http_idempotency",
)

Json = dict[str, Any]


class Shop:
    """Shoppers and neighbours of the cart service; messages go in as Kafka would hand them over."""

    def __init__(self, database_url: str, **settings: Any) -> None:
        # Where tests let many requests meet, a slow machine is no reason to answer 503.
        patient = HttpSettings(idempotency_wait_seconds=60)
        self.settings = CartSettings(
            **{"database_url": database_url, "signing_key": KEY, "http": patient, **settings}
        )
        self.service = build(self.settings)
        transport = httpx.ASGITransport(app=self.service.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://cart")
        self._versions = count(1)
        self._offsets = count(0)
        self.statements: list[str] = []
        for database in (self.service.database, self.service.api_database):
            database.watch(self.statements.append)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.aclose()
        await self.service.database.close()
        await self.service.api_database.close()

    async def empty(self) -> None:
        """Forget everything."""
        async with self.service.database.transaction() as connection:
            for table in TABLES:
                await connection.execute(sql(f"DELETE FROM {table}"))  # noqa: S608 - constants

    # --- neighbours --------------------------------------------------------------------------

    def handler(self, topic: Topic) -> Handler[Any]:
        """The one that handles messages of this topic."""
        handlers: dict[str, Handler[Any]] = {
            CART_COMMANDS.name: SagaHandler(self.settings.limits, self.settings.payment_providers),
            CATALOG_ITEMS.name: CatalogHandler(),
            INVENTORY_AVAILABILITY.name: AvailabilityHandler(),
        }
        return handlers[topic.name]

    async def receive_at_the_first_attempt(self, *messages: Message) -> None:
        """Handle messages as one batch; whatever the database refuses is raised."""
        handler, now = self.handler(messages[0].topic), utc_now()
        async with self.service.database.transaction() as connection:
            fold = await open_fold(connection, handler, messages, source="cart", now=now)
            for message in messages:
                fold.step(handler, Incoming(message))
            await fold.save(connection, handler)

    async def receive(self, *messages: Message, ids: Sequence[UUID] = ()) -> None:
        """Handle messages of one topic as one batch; each has a fresh id unless given."""
        topic = messages[0].topic
        batch = []
        for message, message_id in zip(messages, ids or [new_id() for _ in messages], strict=True):
            sent = address(message, source="test", now=utc_now(), message_id=message_id)
            assert sent.envelope is not None
            headers = tuple(sent.envelope.headers())
            offset = next(self._offsets)
            record = Record(topic.name, sent.partition, offset, sent.key, sent.payload, headers)
            batch.append(deliver(record, topic))
        processor = BatchProcessor(
            "cart",
            Subscription(topic, self.handler(topic)),
            self.service.database,
            self.settings.consumer,
        )
        assert await processor.settle(batch, asyncio.Event())

    async def offers(
        self,
        prices: Mapping[str, int | None],
        *,
        currency: str = "GBP",
        available: int | None = 1000,
        active: bool = True,
        shop_id: str = DEFAULT_SHOP,
    ) -> None:
        """Tell of SKUs at these prices, and of so much stock of each."""
        version = next(self._versions)
        await self.receive(
            *(
                CatalogItem(
                    shop_id=shop_id,
                    sku=sku,
                    name=f"Name of {sku}",
                    product_code=sku,
                    status="active" if active else "inactive",
                    prices=() if price is None else (Price(currency=currency, amount_minor=price),),
                    version=version,
                )
                for sku, price in prices.items()
            )
        )
        if available is not None:
            await self.receive(
                *(
                    StockAvailability(
                        shop_id=shop_id, sku=sku, available=available, version=version
                    )
                    for sku in prices
                )
            )

    # --- shoppers ----------------------------------------------------------------------------

    def guest(self, token: str) -> dict[str, str]:
        """The headers of a guest."""
        return {"Cart-Token": token}

    def customer(self, sub: str, shop: str = DEFAULT_SHOP) -> dict[str, str]:
        """The headers of a customer."""
        token = customer_token(
            KEY, sub=sub, shop=shop, now=utc_now(), valid_for=timedelta(minutes=5)
        )
        return {"Authorization": f"Bearer {token}"}

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: Mapping[str, str] | None = None,
        key: str | None = None,
        **headers: str,
    ) -> httpx.Response:
        """A request, under a fresh key unless one is given."""
        sent = {
            "Idempotency-Key": key or str(new_id()),
            **{name.replace("_", "-"): value for name, value in headers.items()},
            **(who or {}),
        }
        return await self.http.request(method, path, json=body, headers=sent)

    async def open(
        self, who: Mapping[str, str] | None = None, currency: str = "GBP"
    ) -> tuple[str, dict[str, str]]:
        """A fresh cart: its path, and the headers of its owner."""
        response = await self.send("POST", "/carts", {"currency": currency}, who=who)
        assert response.status_code in (200, 201), response.text
        cart = response.json()
        return f"/carts/{cart['cart_id']}", dict(who or self.guest(cart["cart_token"]))

    async def filled(
        self, quantities: Mapping[str, int], who: Mapping[str, str] | None = None
    ) -> tuple[str, dict[str, str]]:
        """A fresh cart with these quantities."""
        path, owner = await self.open(who)
        await self.add(path, owner, quantities)
        return path, owner

    async def add(self, path: str, who: Mapping[str, str], quantities: Mapping[str, int]) -> Json:
        """The cart with more in it."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
        return done(await self.send("POST", f"{path}/lines", {"lines": lines}, who=who))

    async def show(self, path: str, who: Mapping[str, str]) -> Json:
        """The cart."""
        return done(await self.http.get(path, headers=dict(who)))

    async def checked_out(
        self, path: str, who: Mapping[str, str], body: Json | None = None
    ) -> UUID:
        """The id of a checkout of this cart."""
        response = await self.send("POST", f"{path}/checkout", body or CHECKOUT, who=who)
        assert response.status_code == 202, response.text
        return UUID(response.json()["checkout_id"])

    # --- what is in the database ---------------------------------------------------------------

    async def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        async with self.service.database.reading() as connection:
            result = await connection.fetch(sql(statement), values)
            return [tuple(row) for row in result]

    async def sent(self, kind: type[Message]) -> list[Any]:
        """All messages of one type in the outbox, in the order in which they were written."""
        rows = await self.rows(
            "SELECT type, payload FROM outbox WHERE type = :type ORDER BY id", type=kind.type
        )
        return [MESSAGES_BY_TYPE[name].model_validate_json(payload) for name, payload in rows]

    async def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """Whatever a request could change."""
        tables = ("carts", "cart_lines", "outbox", "http_idempotency", "restorations")
        return {
            table: sorted(await self.rows(f"SELECT CAST(t AS text) FROM {table} t"))  # noqa: S608
            for table in tables
        }


def done(response: httpx.Response) -> Json:
    """The body of a success."""
    assert response.is_success, response.text
    body: Json = response.json()
    return body


def problem(response: httpx.Response) -> tuple[int, str]:
    """Status and slug of a problem document."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    document = response.json()
    assert document["status"] == response.status_code
    assert document["title"]
    return response.status_code, str(document["type"]).removeprefix(TYPE_BASE)


def quantities(cart: Json) -> dict[str, int]:
    """How many pieces of which SKU a cart holds."""
    return {line["sku"]: line["quantity"] for line in cart["lines"]}
