"""Request bodies: strict, bounded and free of surprises."""

import asyncio
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request

from messaging.http.problems import Problem


class RequestBody(BaseModel):
    """Base of all request bodies: unknown fields are refused, and what is invalid is not told."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


WholeNumber = Annotated[int, Field(strict=True)]
"""An integer that is written as one: no "1", no 1.0, no true."""

ShortText = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=255)]
"""A name, a code, a line of an address."""


async def read_bounded(request: Request, largest_bytes: int, longest_seconds: float) -> bytes:
    """The body of a request, within its bounds.

    Raises a 413 problem before more than `largest_bytes` are kept, and a 408 problem when it takes
    longer than `longest_seconds` to arrive (RFC 9110, section 15.5.9).
    """
    too_large = Problem(413, "body-too-large", "The body is too large", largest_bytes=largest_bytes)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:18]) > largest_bytes:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(longest_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > largest_bytes:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        raise Problem(
            408,
            "body-too-slow",
            "The body took too long to arrive",
            headers={"Connection": "close"},
        ) from None
    return b"".join(chunks)
