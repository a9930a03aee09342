"""The SDK's client, set up so that it does what the worker's lease allows and nothing else."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import stripe
from pydantic import SecretStr

API_VERSION = "2026-08-26.dahlia"
"""The version that requests, answers and webhooks are of; the SDK in use is made for it."""

TEST_KEYS = ("sk_test_", "rk_test_")
LIVE_KEYS = ("sk_live_", "rk_live_")
LOOPBACK = ("127.0.0.1", "::1", "localhost")

CONNECT_SECONDS = 3.0


class WrongKey(ValueError):
    """The key does not go with where it would be sent to, or with the mode; it is not shown."""


def checked_key(key: SecretStr, base_url: str | None, *, production: bool) -> str:
    """The key, if it may be used there. Raises WrongKey.

    A live key goes to Stripe alone, and a shop in production takes no test money for real.
    """
    value = key.get_secret_value()
    if value.startswith(LIVE_KEYS):
        if base_url is not None:
            raise WrongKey(
                "a live key must not be sent to a sandbox: unset PAYMENT_STRIPE_BASE_URL"
            )
    elif value.startswith(TEST_KEYS):
        if production:
            raise WrongKey("a test key takes no money: production needs a live key")
    else:
        raise WrongKey("PAYMENT_STRIPE_API_KEY must be a secret or restricted key of Stripe")
    return value


class _Http(stripe.AIOHTTPClient):
    """The SDK's client over aiohttp, which takes 0.4 times the processor that httpx does."""

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """As the SDK has it, which leaves out what goes wrong while a body is read."""
        try:
            return await super().request_async(method, url, headers, post_data)
        except (aiohttp.ClientError, TimeoutError) as error:
            self._handle_request_error(error)


class StripeConnection:
    """The SDK's client in `api`, for asynchronous calls, with what has to be closed at the end."""

    def __init__(self, key: str, base_url: str | None, *, call_seconds: float) -> None:
        """A client of Stripe, or of what answers at `base_url`. Raises ValueError."""
        if base_url is not None and urlsplit(base_url).scheme not in ("http", "https"):
            raise ValueError(f"not an address: {base_url}")
        timeout = aiohttp.ClientTimeout(total=call_seconds, connect=CONNECT_SECONDS)
        self._http = _Http(timeout=timeout)
        self.api = stripe.StripeClient(
            key,
            stripe_version=API_VERSION,
            base_addresses={"api": base_url} if base_url else {},
            max_network_retries=0,
            http_client=self._http,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the SDK's
