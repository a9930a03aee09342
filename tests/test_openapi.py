"""Every service's OpenAPI document says what its routes take and answer."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi.routing import iter_route_contexts

from cart_service import app as cart
from cart_service.settings import CartSettings
from catalog_service import app as catalog
from catalog_service.settings import CatalogSettings
from inventory_service import app as inventory
from inventory_service.settings import InventorySettings
from messaging.http.commands import SAFE_METHODS, CommandRoute
from messaging.http.declared import RESPONSE_HEADERS
from messaging.http.problems import MEDIA_TYPE
from messaging.service import Service
from order_service import app as order
from order_service.settings import OrderSettings
from payment_service import app as payment
from payment_service.settings import PaymentSettings

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
COMMON: dict[str, Any] = {"signing_key": "k" * 32, "database_url": NOWHERE}
BUILDS: dict[str, Callable[[], Service]] = {
    "cart": lambda: cart.build(CartSettings(**COMMON)),
    "catalog": lambda: catalog.build(CatalogSettings(**COMMON)),
    "inventory": lambda: inventory.build(InventorySettings(**COMMON)),
    "order": lambda: order.build(OrderSettings(**COMMON)),
    "payment": lambda: payment.build(PaymentSettings(**COMMON, simulated_database_url=NOWHERE)),
}


@pytest.fixture(params=BUILDS, scope="module")
def service(request: pytest.FixtureRequest) -> Service:
    """Each service in turn; nothing runs, and no server is needed."""
    return BUILDS[request.param]()


@pytest.fixture
def document(service: Service) -> dict[str, Any]:
    """The document as it is served."""
    found: dict[str, Any] = json.loads(json.dumps(service.app.openapi()))
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def commands(service: Service) -> list[tuple[str, str]]:
    """Method and path of everything that takes effect once per key."""
    return [
        (method.lower(), str(route.path_format))
        for route in iter_route_contexts(service.app.routes)
        if isinstance(route.original_route, CommandRoute)
        for method in (route.methods or set()) - SAFE_METHODS
    ]


def headers(operation: dict[str, Any]) -> dict[str, bool]:
    """The declared request headers, and whether they are required."""
    sent = operation.get("parameters", [])
    return {each["name"]: each["required"] for each in sent if each["in"] == "header"}


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(document).validate()


def test_every_command_needs_a_key_and_nothing_else_does(
    service: Service, document: dict[str, Any]
) -> None:
    needing = [
        (method, path)
        for method, path, operation in operations(document)
        if headers(operation).get("Idempotency-Key")
    ]
    assert sorted(needing) == sorted(commands(service))


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Idempotency-Key": "key-00001"},
        {"Idempotency-Key": "key-00001", "Authorization": "Bearer forged"},
        {"Idempotency-Key": "key-00001", "If-Match": "no-etag"},
    ],
    ids=["nothing", "a key", "a forged token", "no etag"],
)
async def test_requests_that_need_no_database_are_refused_as_declared(
    service: Service, document: dict[str, Any], sent: dict[str, str]
) -> None:
    transport = httpx.ASGITransport(app=service.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        for method, path, operation in operations(document):
            answer = await client.request(method, path, headers=sent)
            declared = operation["responses"][str(answer.status_code)]
            assert set(declared["content"]) == {MEDIA_TYPE} == {answer.headers["content-type"]}
            assert declared.get("headers", {}).keys() >= {
                name for name in RESPONSE_HEADERS if name in answer.headers
            }


def test_what_a_path_names_may_not_be_there(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        assert ("{" in path) == ("404" in operation["responses"])


def test_every_refusal_is_a_problem(document: dict[str, Any]) -> None:
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for _, _, operation in operations(document):
        refusals = {
            status: response["content"]
            for status, response in operation["responses"].items()
            if status >= "400"
        }
        assert refusals.keys() >= {"503"}
        assert all(content == problem for content in refusals.values())
    assert "HTTPValidationError" not in json.dumps(document)


def test_every_token_asked_for_is_explained(document: dict[str, Any]) -> None:
    asked = {
        name
        for _, _, operation in operations(document)
        for alternative in operation.get("security", [])
        for name in alternative
    }
    assert asked == document["components"]["securitySchemes"].keys()
