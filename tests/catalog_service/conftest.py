"""The catalog on a real database, spoken to over HTTP; every test has a shop of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from catalog_service.app import build
from catalog_service.settings import CatalogSettings
from contracts.messages.catalog import CatalogItem
from messaging.database import sql
from messaging.migrations import upgrade
from messaging.service import Service
from messaging.signing import customer_token
from tests.conftest import Infrastructure

_numbers = count(1)

ATTEMPTS = 10
"""How often a request is sent whose answer is 503: many writers wait for one lock here."""


@dataclass
class Shop:
    """One shop's catalog, as its admin and its customers see it."""

    service: Service
    client: httpx.AsyncClient
    name: str

    def token(self, *roles: str) -> dict[str, str]:
        """The Authorization header of somebody with these roles."""
        token = customer_token(
            self.service.settings.signing_key,
            sub="somebody",
            roles=frozenset(roles),
            shop=self.name,
            now=datetime.now(UTC),
            valid_for=timedelta(minutes=5),
        )
        return {"Authorization": f"Bearer {token}"}

    async def send(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        if_match: int | str | None = None,
        headers: dict[str, str] | None = None,
        **request: Any,
    ) -> httpx.Response:
        """An unsafe request of an admin, under a fresh idempotency key unless one is given.

        Sent again, under the same key, when the service says that it has no time now.
        """
        sent = {**self.token("catalog_admin"), "Idempotency-Key": key or f"key-{next(_numbers):08}"}
        if if_match is not None:
            sent["If-Match"] = if_match if isinstance(if_match, str) else f'"{if_match}"'
        sent.update(headers or {})
        for _ in range(ATTEMPTS):
            answer = await self.client.request(method, path, headers=sent, **request)
            if answer.status_code != 503:
                break
        return answer

    async def create(self, code: str, **product: Any) -> dict[str, Any]:
        """A product, created; the answer."""
        body = {"code": code, "name": code, **product}
        answer = await self.send("POST", "/products", json=body)
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    async def read(self, path: str, **query: Any) -> dict[str, Any]:
        """What anybody can read, without any token."""
        answer = await self.get(path, **query)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    async def get(self, path: str, **query: Any) -> httpx.Response:
        """The answer to a public request."""
        return await self.client.get(path, params={"shop": self.name, **query})

    async def rows(self, statement: str) -> list[Any]:
        """Rows of the database; `:shop` in the statement is this shop."""
        async with self.service.database.reading() as connection:
            return await connection.fetch(sql(statement), {"shop": self.name})

    async def announced(self) -> list[CatalogItem]:
        """The items that this shop's catalog has told of, in order."""
        found = await self.rows(
            "SELECT topic, key, payload FROM outbox WHERE shop_id = :shop ORDER BY id"
        )
        items = [CatalogItem.model_validate_json(bytes(row.payload)) for row in found]
        for row, item in zip(found, items, strict=True):
            assert (row.topic, bytes(row.key).decode()) == ("catalog.items", item.key)
        return items

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """Collects the statements that requests send to the database inside the block."""
        statements: list[str] = []
        see = statements.append
        self.service.api_database.watch(see)
        try:
            yield statements
        finally:
            self.service.api_database.unwatch(see)


@pytest.fixture(scope="session")
async def catalog_url(infrastructure: Infrastructure) -> AsyncIterator[str]:
    """The URL of a migrated database of the catalog."""
    async with infrastructure.database("catalog") as url:
        await asyncio.to_thread(upgrade, "catalog_service", url)
        yield url


@pytest.fixture(scope="session")
async def catalog(catalog_url: str) -> AsyncIterator[Service]:
    """The service with small bounds, answering requests; its relay does not run."""
    settings: dict[str, Any] = {
        "database_url": catalog_url,
        "signing_key": "k" * 32,
        "variants_per_product": 50,
        "import_rows": 6000,
        "import_body_bytes": 2 * 1024 * 1024,
    }
    service = build(CatalogSettings(**settings))
    yield service
    await service.database.close()
    await service.api_database.close()


@pytest.fixture
async def shop(catalog: Service) -> AsyncIterator[Shop]:
    """A shop that nobody else knows."""
    transport = httpx.ASGITransport(app=catalog.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://catalog") as client:
        yield Shop(catalog, client, f"shop-{next(_numbers)}")
