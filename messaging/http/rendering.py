"""JSON responses, rendered once by orjson."""

from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel
from starlette.responses import Response

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, UUID):
        # What asyncpg reads is a subclass, which orjson leaves to us.
        return str(value)
    raise TypeError(f"cannot render {type(value).__name__}")


def render(content: Any) -> bytes:
    """JSON bytes of plain values, dataclasses and pydantic models; times in UTC with Z."""
    return orjson.dumps(content, default=_plain, option=_OPTIONS)


class JsonResponse(Response):
    """A JSON response of plain values, dataclasses and pydantic models."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return render(content)
