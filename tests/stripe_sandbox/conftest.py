"""A sandbox in this process, and Stripe's own SDK as its client."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from stripe_sandbox.app import Running, running
from stripe_sandbox.settings import SandboxSettings
from tests.stripe_sandbox.shapes import assert_error_shape, assert_shape

KEY = "sk_test_sandbox"


class CheckingClient(stripe.AIOHTTPClient):
    """Checks every answer against Stripe's published schemas, so that no test can forget it."""

    async def request_async(self, *args: Any, **kwargs: Any) -> tuple[bytes, int, Any]:
        """As the SDK's own."""
        content, status, headers = await super().request_async(*args, **kwargs)
        answer = json.loads(content)
        (assert_error_shape if "error" in answer else assert_shape)(answer)
        return content, status, headers


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Running]:
    """A sandbox of this test's own."""
    settings = SandboxSettings(host="127.0.0.1", port=0, state=tmp_path / "sandbox.sqlite3")
    async with running(settings) as started:
        yield started


@pytest.fixture
async def client(sandbox: Running) -> AsyncIterator[stripe.StripeClient]:
    """The SDK, pointed at the sandbox."""
    http = CheckingClient()
    yield stripe.StripeClient(
        KEY, base_addresses={"api": sandbox.url}, max_network_retries=0, http_client=http
    )
    await http.close_async()  # type: ignore[no-untyped-call]  # the SDK does not type it


@pytest.fixture
async def browser(sandbox: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A shopper's browser, which goes nowhere by itself."""
    async with httpx.AsyncClient(base_url=sandbox.url, follow_redirects=False) as http:
        yield http
