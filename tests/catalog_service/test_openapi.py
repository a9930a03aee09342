"""The OpenAPI document says what the service does."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.catalog_service.conftest import Shop

pytestmark = pytest.mark.integration


@pytest.fixture
async def document(shop: Shop) -> dict[str, Any]:
    """The document as it is served."""
    return await shop.read("/openapi.json")


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert found
    for reference in found:
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


async def test_an_import_is_described_in_both_its_forms(document: dict[str, Any]) -> None:
    body = document["paths"]["/imports"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "text/csv"}
    row = body["application/json"]["schema"]["properties"]["rows"]["items"]
    assert set(row["required"]) == {"product_code", "sku"}
    assert "base_price" in body["text/csv"]["schema"]["description"]


async def test_every_route_says_what_it_does(document: dict[str, Any]) -> None:
    operations = [op for path in document["paths"].values() for op in path.values()]
    assert len(operations) == 8
    for operation in operations:
        assert operation["description"]
        content = next(iter(operation["responses"].values()))["content"]
        assert content["application/json"]["schema"]
