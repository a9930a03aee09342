"""Cursor pages: a cursor names the last item seen, so pages stay complete while rows arrive."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import Query

from messaging.http.problems import Problem

LARGEST_PAGE = 200
LONGEST_CURSOR = 1024

PageSize = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Items on a page.")]


def encode_cursor(*values: str | int) -> str:
    """An opaque cursor after the item with these sort values."""
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type[str] | type[int]) -> tuple[Any, ...]:
    """The sort values in a cursor. Raises a 422 problem for one that we did not make."""
    try:
        padded = cursor[:LONGEST_CURSOR] + "=" * (-len(cursor) % 4)
        values = orjson.loads(base64.urlsafe_b64decode(padded))
    except (binascii.Error, ValueError):
        values = None
    matches = (
        isinstance(values, list)
        and len(values) == len(kinds)
        and all(type(value) is kind for value, kind in zip(values, kinds, strict=True))
        and all(_comparable(value) for value in values)
    )
    if not matches:
        raise Problem(422, "invalid-cursor", "The cursor is not one of ours")
    return tuple(values)


def _comparable(value: str | int) -> bool:
    """Whether the database can hold the value, as it does those that we made cursors of."""
    return "\x00" not in value if isinstance(value, str) else -(2**63) <= value < 2**63


def page(items: Sequence[Any], next_cursor: str | None) -> dict[str, Any]:
    """The form of every page: its items, and the cursor of the next page or null."""
    return {"items": list(items), "next_cursor": next_cursor}
