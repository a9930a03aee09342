"""Cursor pages: a cursor names the last item seen, so pages stay complete while rows arrive."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

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
        raise _invalid_cursor()
    return tuple(values)


def cursor_behind(moment: datetime, item_id: UUID) -> str:
    """A cursor after the item of this moment and id."""
    return encode_cursor(moment.isoformat(), str(item_id))


def moment_in(cursor: str | None) -> tuple[datetime, UUID] | None:
    """What `cursor_behind` put into a cursor; None without one. Raises as `decode_cursor`."""
    if cursor is None:
        return None
    moment, item_id = decode_cursor(cursor, str, str)
    try:
        # To UTC here, not in the database's client: the ends of the calendar have no moment there.
        return _aware(datetime.fromisoformat(moment)).astimezone(UTC), UUID(item_id)
    except (ValueError, OverflowError):
        raise _invalid_cursor() from None


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment


def _invalid_cursor() -> Problem:
    """422: a cursor that we did not make."""
    return Problem(422, "invalid-cursor", "The cursor is not one of ours")


def _comparable(value: str | int) -> bool:
    """Whether the database can hold the value, as it does those that we made cursors of."""
    return "\x00" not in value if isinstance(value, str) else -(2**63) <= value < 2**63


def page(items: Sequence[Any], next_cursor: str | None) -> dict[str, Any]:
    """The form of every page: its items, and the cursor of the next page or null."""
    return {"items": list(items), "next_cursor": next_cursor}
