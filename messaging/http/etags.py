"""ETags of versioned resources, and If-Match (RFC 9110, sections 8.8.3 and 13.1.1)."""

import re
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request

from messaging.http.declared import Declared, RequestHeader, declares
from messaging.http.problems import Problem

_VERSION = r"(?:0|[1-9][0-9]{0,17})"
_OURS = re.compile(_VERSION)
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
"""A list of entity tags (RFC 9110, sections 5.6.1.2 and 8.8.3); empty members are allowed."""
_MEMBER = re.compile(r'(W/)?"([^"]*)"')

IF_MATCH = RequestHeader(
    "If-Match",
    "The ETag of the version that you saw, a list of them of which any will do, or `*` for any.",
    rf'^(\*|"{_VERSION}"(, ?"{_VERSION}")*)$',
)


Versions = frozenset[int] | None
"""The versions of which a resource has to be in one; None is any."""


def etag_of(version: int) -> str:
    """The strong ETag of a version."""
    return f'"{version}"'


def if_match(request: Request) -> Versions:
    """The versions that If-Match names, of which any will do; None without it or with `*`.

    Weak tags match nothing (RFC 9110, section 13.1.1). Raises a 412 problem for what is no list
    of ETags, and when none in it is of a version that can be.
    """
    headers = request.headers.getlist("if-match")
    value = ", ".join(headers).strip(" \t")
    if not headers or value == "*":
        return None
    if not _LIST.fullmatch(value):
        raise stale_etag()
    versions = {
        int(tag) for weak, tag in _MEMBER.findall(value) if not weak and _OURS.fullmatch(tag)
    }
    if not versions:
        raise stale_etag()
    return frozenset(versions)


# FastAPI runs plain functions in a thread, which costs many times what these do.
@declares(Declared(header=IF_MATCH, problems=(412,)))
async def _if_match(request: Request) -> Versions:
    return if_match(request)


IfMatch = Annotated[Versions, Depends(_if_match)]


def required_if_match(request: Request) -> Versions:
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
async def _required_if_match(request: Request) -> Versions:
    return required_if_match(request)


RequiredIfMatch = Annotated[Versions, Depends(_required_if_match)]


def stale_etag(current_version: int | None = None) -> Problem:
    """412: the resource is not in the version that the client saw."""
    headers = None if current_version is None else {"ETag": etag_of(current_version)}
    return Problem(412, "stale-etag", "The resource has changed since it was read", headers=headers)
