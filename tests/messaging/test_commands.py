"""Unsafe requests run once, whatever the client repeats, and every error is a problem document."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import APIRouter, Request
from pydantic import SecretStr
from structlog.testing import capture_logs

from messaging.database import sql
from messaging.http.bodies import RequestBody, WholeNumber
from messaging.http.commands import CommandConnection, CommandRoute, ReadConnection
from messaging.http.edge import Edge
from messaging.http.etags import IfMatch, etag_of, if_match
from messaging.http.problems import TYPE_BASE, Problem
from messaging.http.rendering import JsonResponse
from messaging.http.tokens import RequiredCustomer
from messaging.migrations import STATEMENTS
from messaging.service import Service
from messaging.settings import HttpSettings, ServiceSettings
from messaging.signing import customer_token
from messaging.tracing import configure_tracing, current_traceparent
from tests.conftest import Infrastructure

pytestmark = pytest.mark.integration
KEY = SecretStr("k" * 32)
router = APIRouter(route_class=CommandRoute)
UNDER_WAY, MAY_END = asyncio.Event(), asyncio.Event()
"""Of a slow deposit."""


class Deposit(RequestBody):
    amount: WholeNumber
    note: str = ""


@router.post("/accounts/{name}/deposits", status_code=201)
async def deposit(name: str, body: Deposit, connection: CommandConnection) -> JsonResponse:
    await connection.execute(
        sql("INSERT INTO deposits VALUES (:name, :amount)"),
        {"name": name, "amount": body.amount},
    )
    if body.note == "slow":
        UNDER_WAY.set()
        await MAY_END.wait()
    if body.note == "overflow":
        await connection.execute(sql("UPDATE deposits SET amount = amount + 2147483647"))
    if body.note == "fail":
        raise RuntimeError("after the effect")
    if body.amount > 100:
        raise Problem(409, "too-much", "Too much", most=100)
    return JsonResponse({"amount": body.amount}, 201, headers={"Location": f"/accounts/{name}"})


@router.get("/accounts/{name}")
async def balance(name: str, connection: ReadConnection) -> JsonResponse:
    result = await connection.fetch(
        sql("SELECT coalesce(sum(amount), 0) FROM deposits WHERE name = :name"), {"name": name}
    )
    return JsonResponse({"balance": int(result[0][0])}, headers={"ETag": etag_of(1)})


@router.delete("/accounts/{name}")
async def close(name: str, expected: IfMatch, connection: CommandConnection) -> JsonResponse:
    await connection.execute(sql("DELETE FROM deposits WHERE name = :name"), {"name": name})
    return JsonResponse({"expected": expected and sorted(expected)})


@router.get("/me")
async def me(customer: RequiredCustomer) -> JsonResponse:
    return JsonResponse({"sub": customer.sub})


@pytest.fixture
async def client(infrastructure: Infrastructure) -> AsyncIterator[httpx.AsyncClient]:
    async with infrastructure.database("commands") as url:
        connection = await asyncpg.connect(url)
        for statement in (*STATEMENTS, "CREATE TABLE deposits (name text, amount int)"):
            await connection.execute(statement)
        await connection.close()
        settings: dict[str, Any] = {
            "database_url": url,
            "signing_key": KEY,
            "http": HttpSettings(body_bytes=2000, idempotency_wait_seconds=2),
        }
        service = Service("example", ServiceSettings(**settings), title="Example", routers=[router])
        transport = httpx.ASGITransport(app=service.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://example") as client:
            yield client
        await service.api_database.close()
        await service.database.close()


async def put(client: httpx.AsyncClient, key: str | None, **body: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post("/accounts/ann/deposits", json=body, headers=headers)


async def balance_of(client: httpx.AsyncClient) -> int:
    return int((await client.get("/accounts/ann")).json()["balance"])


async def test_the_same_request_under_the_same_key_takes_effect_once(
    client: httpx.AsyncClient,
) -> None:
    first = await put(client, "key-00001", amount=5)
    again = await put(client, "key-00001", amount=5)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"] == "/accounts/ann"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert await balance_of(client) == 5


async def test_another_request_under_the_same_key_is_refused(client: httpx.AsyncClient) -> None:
    await put(client, "key-00001", amount=5)
    other = await put(client, "key-00001", amount=6)
    assert other.status_code == 422
    assert other.json()["type"] == TYPE_BASE + "idempotency-key-reused"
    assert await balance_of(client) == 5


async def test_keys_belong_to_who_uses_them(client: httpx.AsyncClient) -> None:
    await put(client, "key-00001", amount=5)
    for token in ("one", "two"):
        response = await client.post(
            "/accounts/ann/deposits",
            json={"amount": 5},
            headers={"Idempotency-Key": "key-00001", "Cart-Token": token},
        )
        assert response.status_code == 201
    assert await balance_of(client) == 15


@pytest.mark.parametrize("body", [{"amount": 500}, {"amount": 5, "note": "fail"}, {"amount": "5"}])
async def test_what_is_no_success_leaves_no_trace_and_its_key_can_be_used_again(
    client: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    refused = await put(client, "key-00001", **body)
    assert refused.status_code >= 400
    assert refused.headers["content-type"] == "application/problem+json"
    assert await balance_of(client) == 0
    assert (await put(client, "key-00001", amount=7)).status_code == 201
    assert await balance_of(client) == 7


async def test_twins_at_once_take_effect_once(client: httpx.AsyncClient) -> None:
    responses = await asyncio.gather(*(put(client, "key-00001", amount=5) for _ in range(8)))
    assert {response.status_code for response in responses} <= {201, 409}
    assert await balance_of(client) == 5


async def test_a_twin_that_waits_too_long_is_told_to_come_back(
    client: httpx.AsyncClient,
) -> None:
    slow = asyncio.create_task(put(client, "key-00001", amount=5, note="slow"))
    async with asyncio.timeout(60):
        await UNDER_WAY.wait()
    waited = await put(client, "key-00001", amount=5, note="slow")
    MAY_END.set()
    assert (await slow).status_code == 201
    assert waited.status_code == 409
    assert waited.headers["retry-after"] == "1"
    assert waited.json()["type"] == TYPE_BASE + "request-in-progress"
    assert await balance_of(client) == 5


BAD_REQUESTS = {
    "no key": ({}, b'{"amount": 1}', 400, "idempotency-key-missing"),
    "short key": ({"Idempotency-Key": "k"}, b'{"amount": 1}', 400, "idempotency-key-invalid"),
    "malformed JSON": (None, b'{"amount": 1', 400, "malformed-json"),
    "not UTF-8": (None, b'{"amount": 1, "note": "\xff"}', 400, "malformed-json"),
    "NaN": (None, b'{"amount": NaN}', 400, "malformed-json"),
    "deep nesting": (None, b'{"note": ' + b"[" * 1500, 400, "malformed-json"),
    "lone surrogate": (None, b'{"amount": 1, "note": "\\ud800"}', 400, "malformed-json"),
    "NUL": (None, b'{"amount": 1, "note": "a\\u0000b"}', 422, "invalid-request"),
    "unknown field": (None, b'{"amount": 1, "x": 1}', 422, "invalid-request"),
    "fraction": (None, b'{"amount": 1.5}', 422, "invalid-request"),
    "whole fraction": (None, b'{"amount": 1.0}', 422, "invalid-request"),
    "a boolean": (None, b'{"amount": true}', 422, "invalid-request"),
    "missing field": (None, b"{}", 422, "invalid-request"),
    "no body": (None, b"", 422, "invalid-request"),
    "too large": (None, b'{"note": "' + b"x" * 2000 + b'"}', 413, "body-too-large"),
    "media type": (
        {"Idempotency-Key": "key-00001", "Content-Type": "text/plain"},
        b'{"amount": 1}',
        415,
        "unsupported-media-type",
    ),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
async def test_bad_requests_get_a_problem_document_and_change_nothing(
    client: httpx.AsyncClient, case: str
) -> None:
    headers, content, status, slug = BAD_REQUESTS[case]
    response = await client.post(
        "/accounts/ann/deposits",
        content=content,
        headers={
            "Content-Type": "application/json",
            **({"Idempotency-Key": "key-00001"} if headers is None else headers),
        },
    )
    assert (response.status_code, response.json()["type"]) == (status, TYPE_BASE + slug)
    assert response.headers["content-type"] == "application/problem+json"
    assert await balance_of(client) == 0


async def test_a_rejected_value_is_never_repeated(client: httpx.AsyncClient) -> None:
    response = await put(client, "key-00001", amount="4242 4242 4242 4242")
    assert response.status_code == 422
    assert "4242" not in response.text
    assert response.json()["errors"][0]["location"] == "body.amount"


async def test_a_card_number_leaves_no_trace_and_is_refused_again_and_again(
    client: httpx.AsyncClient,
) -> None:
    sent = {"Content-Type": "application/json", "Idempotency-Key": "key-00001"}
    bodies = (
        b'{"amount": 5, "note": "4242 4242 4242 4242"}',
        b'{"amount": 5, "note": "\\u0034242-4242-4242-4242"}',
        b'{"amount": 4242424242424242}',
        b'{"amount": 5, "note": "4242424242424242',  # not even JSON
    )
    with capture_logs() as logs:
        for body in (*bodies, *bodies):
            response = await client.post("/accounts/ann/deposits", content=body, headers=sent)
            assert response.status_code == 422
            assert response.json()["type"] == TYPE_BASE + "card-number-refused"
            assert response.json()["errors"][0]["location"] in ("body.note", "body.amount")
            assert "4242" not in response.text
            assert "idempotent-replayed" not in response.headers
    assert logs == []
    assert await balance_of(client) == 0
    # Nothing was stored under the key: it serves another request.
    assert (await put(client, "key-00001", amount=7)).status_code == 201
    assert await balance_of(client) == 7


async def test_a_body_larger_than_declared_is_cut_off(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    response = await client.post(
        "/accounts/ann/deposits",
        content=endless(),
        headers={"Content-Type": "application/json", "Idempotency-Key": "key-00001"},
    )
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("header", "status", "expected"),
    [
        (None, 200, None),
        ("*", 200, None),
        ('"7"', 200, [7]),
        ('"1", "7"', 200, [1, 7]),
        ("7", 412, None),
        ('"x"', 412, None),
    ],
)
async def test_if_match_names_a_version(
    client: httpx.AsyncClient, header: str | None, status: int, expected: list[int] | None
) -> None:
    headers = {"Idempotency-Key": "key-00001"}
    response = await client.delete(
        "/accounts/ann", headers=headers if header is None else {**headers, "If-Match": header}
    )
    assert response.status_code == status
    if status == 200:
        assert response.json() == {"expected": expected}


VERSION_SEVEN = {
    "lists match when any member does": ('"1", "7"', True),
    "and by the last of many": ('"1","2" ,"3",\t"7"', True),
    "with empty members": (',, "7" ,', True),
    "with members that are not ours": ('"x,y", "7"', True),
    "but not by none": ('"1", "2"', False),
    "weak tags never match": ('W/"7"', False),
    "not even among others": ('"1", W/"7"', False),
    "leading zeros are another tag": ('"07"', False),
    "zeros only": ('"00"', False),
    "no quotes": ('"1", 7', False),
    "an open quote": ('"1", "7', False),
    "no comma": ('"1" "7"', False),
    "any and one": ('*, "7"', False),
    "digits of another script": ('"\u00b2"', False),
    "nothing": ("", False),
}


@pytest.mark.parametrize("case", VERSION_SEVEN)
def test_if_match_holds_by_strong_comparison(case: str) -> None:
    header, holds = VERSION_SEVEN[case]
    request = Request({"type": "http", "headers": [(b"if-match", header.encode("latin-1"))]})
    try:
        seen = if_match(request)
    except Problem as problem:
        assert (problem.status, holds) == (412, False)  # noqa: PT017 - only some raise
        return
    assert seen is not None
    assert (7 in seen) == holds


def test_if_match_may_come_as_several_header_lines() -> None:
    lines = [(b"if-match", b'"1"'), (b"if-match", b'"7"')]
    seen = if_match(Request({"type": "http", "headers": lines}))
    assert seen == frozenset({1, 7})


async def test_a_value_that_the_database_cannot_hold_is_not_to_be_sent_again(
    client: httpx.AsyncClient,
) -> None:
    for amount in (-(2**31) - 1, 2**62):
        response = await put(client, "key-00001", amount=amount)
        assert response.status_code == 422
        assert response.json() == {
            "type": TYPE_BASE + "unprocessable-value",
            "title": "A value in the request cannot be processed",
            "status": 422,
        }
    assert (await put(client, "key-00001", amount=1, note="overflow")).status_code == 422
    assert await balance_of(client) == 0


async def test_customers_are_known_only_by_a_valid_token(client: httpx.AsyncClient) -> None:
    now = datetime.now(UTC)

    def token(key: SecretStr, valid_for: timedelta) -> str:
        return customer_token(key, sub="ann", now=now, valid_for=valid_for)

    async def status(authorization: str | None) -> int:
        headers = {} if authorization is None else {"Authorization": authorization}
        return (await client.get("/me", headers=headers)).status_code

    good = token(KEY, timedelta(hours=1))
    assert await status(f"Bearer {good}") == 200
    assert await status(None) == 401
    assert await status(good) == 401
    assert await status(f"Bearer {good[:-2]}") == 401
    assert await status(f"Bearer {token(SecretStr('x' * 32), timedelta(hours=1))}") == 401
    assert await status(f"Bearer {token(KEY, timedelta(hours=-1))}") == 401


async def test_unknown_paths_and_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    missing = await client.get("/nowhere")
    wrong = await client.put("/me")
    assert (missing.status_code, missing.json()["type"]) == (404, TYPE_BASE + "not-found")
    assert (wrong.status_code, wrong.json()["type"]) == (405, TYPE_BASE + "method-not-allowed")


async def test_the_clients_trace_goes_on_in_what_its_request_sends() -> None:
    seen: list[str | None] = []
    configure_tracing("example", 0, None)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(current_traceparent())
        await JsonResponse({})(scope, receive, send)

    edge = Edge(app, service="example", requests_at_once=1, header_bytes=1024, header_fields=64)
    transport = httpx.ASGITransport(app=edge)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with httpx.AsyncClient(transport=transport, base_url="http://example") as client:
        await client.get("/", headers={"traceparent": parent})
        await client.get("/")
    assert seen[0] is not None
    assert seen[0][:36] == parent[:36]
    assert seen[0] != parent
    assert seen[1] is not None
    assert seen[1][:36] != parent[:36]


async def test_more_requests_than_the_bound_are_shed_at_once() -> None:
    release = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await JsonResponse({})(scope, receive, send)

    edge = Edge(slow, service="example", requests_at_once=2, header_bytes=1024, header_fields=64)
    transport = httpx.ASGITransport(app=edge)
    async with httpx.AsyncClient(transport=transport, base_url="http://example") as client:
        admitted = [asyncio.create_task(client.get("/")) for _ in range(2)]
        await asyncio.sleep(0)
        shed = await client.get("/")
        release.set()
        assert [response.status_code for response in await asyncio.gather(*admitted)] == [200, 200]
    assert (shed.status_code, shed.headers["retry-after"]) == (503, "1")
