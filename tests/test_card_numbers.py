"""No service takes a card number, by whichever route; no server is needed to refuse one."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from structlog.testing import capture_logs

from contracts.messages.base import Value
from messaging.http.bodies import RequestBody
from messaging.http.card_fields import is_exempt
from messaging.http.commands import SAFE_METHODS, CommandRoute
from messaging.http.problems import TYPE_BASE
from messaging.service import Service
from messaging.signing import customer_token
from tests.test_openapi import BUILDS, commands, operations
from trolley.operations.api import router as operations_router

CARD = "4242 4242 4242 4242"
MARK = "zq-7f3a"
"""A value that stands nowhere else."""

EXEMPT = {"sku", "code", "product_code"}
"""The fields of all bodies that may hold any digits; one more is to be thought about."""

PATH_TEXTS = {"sku", "code", "secret"}
"""The texts in paths: codes of goods, and what opens an action of the simulated provider."""


@pytest.fixture(params=BUILDS, scope="module")
def service(request: pytest.FixtureRequest) -> Service:
    """Each service in turn; nothing runs, and its database is nowhere."""
    return BUILDS[request.param]()


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(service.app.openapi()))
    return found


def routes(service: Service) -> Iterator[RouteContext]:
    for route in iter_route_contexts(service.app.routes):
        if isinstance(route.original_route, APIRoute):
            yield route


def headers(service: Service, media_type: str = "application/json") -> dict[str, str]:
    """Those of somebody who may do everything."""
    token = customer_token(
        service.settings.signing_key,
        sub="olga",
        roles=frozenset({"operator", "operations", "catalog_admin"}),
        now=datetime.now(UTC),
        valid_for=timedelta(minutes=5),
    )
    return {
        "Authorization": f"Bearer {token}",
        "Idempotency-Key": "key-00001",
        "Content-Type": media_type,
    }


def client_of(service: Service) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=service.app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://service")


def filled(path: str) -> str:
    """The path of something that could be."""
    for name in ("line_no", "sku", "code", "secret"):
        path = path.replace(f"{{{name}}}", "1")
    start, brace, rest = path.partition("{")
    while brace:
        path = f"{start}0198a3c4-0000-7000-8000-000000000001{rest.partition('}')[2]}"
        start, brace, rest = path.partition("{")
    return path


def bodies_with(
    schema: dict[str, Any], document: dict[str, Any], value: Any, name: str = ""
) -> Iterator[tuple[str, Any]]:
    """Bodies of a schema in which one field holds the value, with the name that it goes by."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for alternative in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from bodies_with(alternative, document, value, name)
    for field, inner in schema.get("properties", {}).items():
        for found, body in bodies_with(inner, document, value, field):
            yield found, {field: body}
    if isinstance(schema.get("additionalProperties"), dict):
        yield name, {"some name": value}
    elif schema.get("additionalProperties") is True:
        yield name, {"some name": {"deeper": [value]}}
    if "items" in schema:
        for found, body in bodies_with(schema["items"], document, value, name):
            yield found, [body]
    if schema.get("type") in ("string", "integer", "number", "boolean"):
        yield name, value


def assert_refused(response: httpx.Response) -> None:
    assert (response.status_code, response.json()["type"]) == (
        422,
        TYPE_BASE + "card-number-refused",
    )
    assert "4242" not in response.text


def test_whatever_reads_a_body_is_a_command(service: Service, document: dict[str, Any]) -> None:
    with_body = {
        (method, path)
        for method, path, operation in operations(document)
        if "requestBody" in operation
    }
    assert with_body <= set(commands(service))
    for route in routes(service):
        if not isinstance(route.original_route, CommandRoute):
            assert route.body_field is None


def test_the_operations_service_reads_no_bodies() -> None:
    for route in operations_router.routes:
        assert isinstance(route, APIRoute)
        assert (route.methods or set()) <= SAFE_METHODS
        assert route.body_field is None


async def test_every_command_refuses_a_card_number_before_anything_is_done(
    service: Service, document: dict[str, Any]
) -> None:
    async with client_of(service) as client:
        for method, path in commands(service):
            content = document["paths"][path][method].get("requestBody", {}).get("content", {})
            for media_type in content or ("application/json",):
                body = f'{{"note": "{CARD}"}}' if "json" in media_type else f"a,b\n1,{CARD}\n"
                with capture_logs() as logs:
                    for _ in range(2):
                        response = await client.request(
                            method,
                            filled(path),
                            content=body,
                            headers=headers(service, media_type),
                        )
                        assert_refused(response)
                assert logs == []


async def test_no_field_of_any_body_takes_one_but_the_codes_of_goods(
    service: Service, document: dict[str, Any]
) -> None:
    tried = 0
    async with client_of(service) as client:
        for method, path, operation in operations(document):
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
            for value in (CARD, int(CARD.replace(" ", ""))):
                for name, body in bodies_with(schema, document, value):
                    if is_exempt(name):
                        assert name in EXEMPT
                        continue
                    tried += 1
                    response = await client.request(
                        method, filled(path), json=body, headers=headers(service)
                    )
                    assert_refused(response)
                    assert response.json()["errors"][0]["location"].startswith("body.")
    assert tried > 0


@pytest.mark.parametrize("header", ["Idempotency-Key", "Cart-Token", "If-Match"])
async def test_no_header_that_is_kept_takes_one(service: Service, header: str) -> None:
    async with client_of(service) as client:
        for method, path in commands(service):
            sent = {**headers(service), header: CARD.replace(" ", "-")}
            response = await client.request(method, filled(path), headers=sent)
            assert_refused(response)
            assert response.json()["errors"][0]["location"] == f"header.{header.lower()}"


async def test_no_query_takes_one(service: Service, document: dict[str, Any]) -> None:
    async with client_of(service) as client:
        for method, path, operation in operations(document):
            names = [
                each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"
            ]
            for name in (*names, "unknown"):
                if not is_exempt(name):
                    response = await client.request(
                        method, filled(path), params={name: CARD}, headers=headers(service)
                    )
                    assert_refused(response)


def test_paths_have_no_place_for_one(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path" and parameter["name"] not in PATH_TEXTS:
                schema = parameter["schema"]
                assert schema["type"] == "integer" or schema["format"] == "uuid"


async def test_no_rejected_value_is_repeated(service: Service, document: dict[str, Any]) -> None:
    """Whatever is wrong with it: each field in turn holds what it cannot, or what no type can."""
    answer = service.app.exception_handlers[RequestValidationError]
    refused = 0
    for route in routes(service):
        if route.body_field is None:
            continue
        (method,) = (route.methods or set()) - SAFE_METHODS
        content = document["paths"][route.path_format][method.lower()]["requestBody"]["content"]
        schema = content["application/json"]["schema"]
        for value in (MARK, [MARK], {"x": MARK}, MARK + "\x00", MARK * 20_000):
            for _, body in (*bodies_with(schema, document, value), ("", value), ("", [value])):
                _, errors = route.body_field.validate(body, {}, loc=("body",))
                if errors:
                    error = RequestValidationError(errors, body=body)
                    told = await answer(Request({"type": "http"}), error)  # type: ignore[misc]
                    assert MARK not in bytes(told.body).decode()
                    refused += 1
    assert refused > 0


@pytest.mark.parametrize("kind", [RequestBody, Value])
def test_errors_that_come_into_logs_do_not_tell_the_value(kind: type[BaseModel]) -> None:
    class Note(kind):  # type: ignore[misc, valid-type]
        count: int

    with pytest.raises(ValidationError) as error:
        Note(count=MARK)
    assert MARK not in str(error.value)
    assert MARK not in repr(error.value)
