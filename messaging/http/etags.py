"""ETags of versioned resources, and If-Match (RFC 9110, sections 8.8.3 and 13.1.1)."""

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request

from messaging.http.declared import Declared, RequestHeader, declares
from messaging.http.problems import Problem

IF_MATCH = RequestHeader(
    "If-Match", "The ETag of the version that you saw, or `*` for any.", r'^(\*|"[0-9]{1,18}")$'
)


def etag_of(version: int) -> str:
    """The strong ETag of a version."""
    return f'"{version}"'


def if_match(request: Request) -> int | None:
    """The version that If-Match names; None without the header or with `*`.

    Raises a 412 problem for an ETag that no version of ours ever had.
    """
    header = request.headers.get("if-match")
    if header is None or header.strip() == "*":
        return None
    value = header.strip()
    digits = value[1:-1]
    if len(value) < 3 or value[0] != '"' or value[-1] != '"' or not digits.isdecimal():
        raise stale_etag()
    if len(digits) > 18:
        raise stale_etag()
    return int(digits)


# FastAPI runs plain functions in a thread, which costs many times what these do.
@declares(Declared(header=IF_MATCH, problems=(412,)))
async def _if_match(request: Request) -> int | None:
    return if_match(request)


IfMatch = Annotated[int | None, Depends(_if_match)]


def required_if_match(request: Request) -> int | None:
    """As `if_match`, but raises a 428 problem without the header (RFC 6585, section 3)."""
    if "if-match" not in request.headers:
        raise Problem(
            428,
            "if-match-missing",
            "The If-Match header is missing",
            "Send the ETag of the version that you saw, so that no other change is overwritten.",
        )
    return if_match(request)


@declares(Declared(header=replace(IF_MATCH, required=True), problems=(412, 428)))
async def _required_if_match(request: Request) -> int | None:
    return required_if_match(request)


RequiredIfMatch = Annotated[int | None, Depends(_required_if_match)]


def stale_etag(current_version: int | None = None) -> Problem:
    """412: the resource is not in the version that the client saw."""
    headers = None if current_version is None else {"ETag": etag_of(current_version)}
    return Problem(412, "stale-etag", "The resource has changed since it was read", headers=headers)
