"""The operations service as a program: findings, checkouts and its own health over HTTP."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from contracts.ids import new_id
from messaging.clock import utc_now
from messaging.settings import KafkaSettings
from messaging.signing import customer_token
from tests.trolley.audit.conftest import environment_of
from tests.trolley.audit.world import World, named, payment_of
from trolley.audit.invariant import Source
from trolley.runtime.ports import PortReservations

pytestmark = pytest.mark.integration

KEY = "a key of the tests, with more than 32 characters"
INVARIANT = "money.amounts-are-sum-of-ledger"


def authorized(*roles: str) -> dict[str, str]:
    token = customer_token(
        SecretStr(KEY),
        sub="olga",
        roles=frozenset(roles),
        shop="main",
        now=utc_now(),
        valid_for=timedelta(hours=1),
    )
    return {"Authorization": f"Bearer {token}"}


OLGA = authorized("operations")


@pytest.fixture
async def operations(
    world: World,
    migrated: dict[Source, str],
    published: KafkaSettings,
    tmp_path: Path,
    wait_until: Callable[..., Awaitable[None]],
) -> AsyncIterator[httpx.AsyncClient]:
    """The program, once it has looked at everything: two payments lack a penny."""
    for name, column in (("paid", "captured_minor"), ("refunded", "refunded_minor")):
        await world.run(
            Source.PAYMENT,
            f"UPDATE payments SET {column} = {column} - 1 WHERE payment_id = $1",  # noqa: S608
            payment_of(name),
        )
    ports = PortReservations(20_000, 29_999)
    port = ports.pick()
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trolley.operations.app"),
        env={
            **os.environ,
            **environment_of(migrated, published),
            "TROLLEY_SIGNING_KEY": KEY,
            "OPERATIONS_HTTP_PORT": str(port),
            "OPERATIONS_STATE_DIRECTORY": str(tmp_path / "state"),
            "TROLLEY_AUDIT_PAUSE_SECONDS": "0.2",
            "TROLLEY_AUDIT_SETTLE_SECONDS": "0",
        },
        cwd=Path(__file__).parents[3],
    )
    try:
        # Its looks take turns with the answers: on a busy machine one may wait for seconds.
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:

            async def looked() -> bool:
                try:
                    told = (await client.get("/audit", headers=OLGA)).json()
                except httpx.TransportError:
                    return False
                return told["looked_seconds_ago"] is not None

            await wait_until(looked, seconds=90, what="a look at everything")
            yield client
    finally:
        program.terminate()
        assert await program.wait() == 0
        ports.close()


async def all_findings(client: httpx.AsyncClient, limit: int) -> list[dict[str, Any]]:
    """Every page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        parameters = {"limit": limit, **cursor}
        page = (await client.get("/findings", params=parameters, headers=OLGA)).json()
        found += page["items"]
        assert len(page["items"]) <= limit
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def test_what_is_wrong_is_told_with_its_evidence_and_in_numbers(
    operations: httpx.AsyncClient,
) -> None:
    found = [one for one in await all_findings(operations, 200) if one["invariant"] == INVARIANT]

    assert {one["entity"] for one in found} == {str(payment_of(n)) for n in ("paid", "refunded")}
    for finding in found:
        assert finding["evidence"]["payment"]["ledger_captured_minor"] > 0
        assert finding["age_seconds"] > 0
    numbers = (await operations.get("/metrics")).text
    assert f'trolley_audit_findings{{invariant="{INVARIANT}"}} 2.0' in numbers
    assert (await operations.get("/audit", headers=OLGA)).json()["trouble"] is None


async def test_pages_of_findings_have_each_once(operations: httpx.AsyncClient) -> None:
    everything = [one["id"] for one in await all_findings(operations, 200)]

    assert len(everything) > 1
    assert [one["id"] for one in await all_findings(operations, 1)] == everything


async def test_a_checkout_is_told_over_all_services(operations: httpx.AsyncClient) -> None:
    answer = await operations.get(f"/checkouts/{named('paid')}", headers=OLGA)

    assert answer.status_code == 200
    assert answer.json()["state"] == "paid"
    unknown = await operations.get(f"/checkouts/{new_id()}", headers=OLGA)
    assert unknown.status_code == 404
    assert unknown.json()["type"].endswith("/checkout-not-found")
    stuck = await operations.get("/checkouts/stuck", headers=OLGA)
    assert stuck.json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    "path", ["/audit", "/findings", "/checkouts/stuck", f"/checkouts/{new_id()}"]
)
async def test_nothing_is_told_to_who_is_no_operator(
    operations: httpx.AsyncClient, path: str
) -> None:
    assert (await operations.get(path)).status_code == 401
    assert (await operations.get(path, headers=authorized("operator"))).status_code == 403


async def test_a_cursor_that_is_not_ours_is_refused(operations: httpx.AsyncClient) -> None:
    refused = await operations.get("/findings", params={"cursor": "x"}, headers=OLGA)

    assert refused.status_code == 422
    assert refused.json()["type"].endswith("/invalid-cursor")


async def test_it_is_ready_and_describes_itself(operations: httpx.AsyncClient) -> None:
    assert (await operations.get("/health/ready")).json() == {"status": "ready"}
    assert (await operations.get("/health/live")).status_code == 200
    assert "/checkouts/{checkout_id}" in (await operations.get("/openapi.json")).json()["paths"]
