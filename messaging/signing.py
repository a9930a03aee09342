"""Signed tokens: JWTs (RFC 7519, HS256), each for one purpose only.

A customer token has `sub`, `roles`, `shop` and `exp`. The same key signs small capabilities: accept
tokens, checkout links.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt
from pydantic import SecretStr

from contracts.shops import DEFAULT_SHOP

ALGORITHM = "HS256"
CUSTOMER_PURPOSE = "customer"
LONGEST_TOKEN = 4096


def sign(key: SecretStr, purpose: str, payload: Mapping[str, Any]) -> str:
    """A token for one purpose that `verify` accepts; put `exp` in for an end."""
    return jwt.encode({**payload, "aud": purpose}, key.get_secret_value(), algorithm=ALGORITHM)


def verify(
    key: SecretStr, purpose: str, token: str, *, longest: int = LONGEST_TOKEN
) -> dict[str, Any] | None:
    """The payload of a token that `sign` made for this purpose and that has not expired.

    A token of more than `longest` characters is not looked at.
    """
    if len(token) > longest:
        return None
    try:
        return jwt.decode(token, key.get_secret_value(), algorithms=[ALGORITHM], audience=purpose)
    except jwt.InvalidTokenError:
        return None


def customer_token(
    key: SecretStr,
    *,
    sub: str,
    roles: frozenset[str] = frozenset(),
    shop: str = DEFAULT_SHOP,
    now: datetime,
    valid_for: timedelta,
) -> str:
    """A customer token; `trolley token` issues them until there is an identity service."""
    payload = {
        "sub": sub,
        "roles": sorted(roles),
        "shop": shop,
        "iat": int(now.timestamp()),
        "exp": int((now + valid_for).timestamp()),
    }
    return sign(key, CUSTOMER_PURPOSE, payload)
