"""What a dependency says of itself in the OpenAPI document.

Most of ours read the request themselves, which is cheaper than parameters of FastAPI's and which
it cannot see. So each says beside its definition what a client sends and is answered because of
it, once for every route that has it. Nothing here is looked at before the document is asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

AnyCallable = TypeVar("AnyCallable", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """A header that is read; `pattern` is a regular expression of its whole value."""

    name: str
    description: str
    pattern: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Credential:
    """Something that proves who asks: a security scheme (OpenAPI 3.1, section 4.8.27).

    A request without one that is `required` is answered 401; of the others any will do, or none.
    """

    name: str
    scheme: Mapping[str, str]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """What comes with a dependency: what may be sent, and the statuses of its problems.

    `answers` are headers of the successes. `note` is a sentence for the operation's description.
    """

    header: RequestHeader | None = None
    credential: Credential | None = None
    problems: tuple[int, ...] = ()
    answers: tuple[str, ...] = ()
    note: str | None = None


_DECLARED: dict[Callable[..., Any], tuple[Declared, ...]] = {}


def declares(*declared: Declared) -> Callable[[AnyCallable], AnyCallable]:
    """Says what comes with the decorated dependency, beside what its own dependencies say."""

    def note(dependency: AnyCallable) -> AnyCallable:
        _DECLARED[dependency] = declared
        return dependency

    return note


def declared_by(dependency: Callable[..., Any] | None) -> tuple[Declared, ...]:
    """What a dependency says of itself; nothing for most."""
    return () if dependency is None else _DECLARED.get(dependency, ())


RESPONSE_HEADERS: Mapping[str, str] = {
    "ETag": "The version of the resource, to be sent in If-Match.",
    "Idempotent-Replayed": "`true` when this is the stored answer to an earlier request under the "
    "same Idempotency-Key.",
    "Location": "Where to look next.",
    "Retry-After": "Seconds after which the same request may be sent again.",
    "WWW-Authenticate": "`Bearer`.",
}
"""Every header that an answer may have beside those of its content."""


def response_headers(*names: str) -> dict[str, Any]:
    """The header objects of a response; their names are those of `RESPONSE_HEADERS`."""
    return {
        name: {"description": RESPONSE_HEADERS[name], "schema": {"type": "string"}}
        for name in names
    }


def answers_with(*names: str) -> dict[str, Any]:
    """For `responses` of a route: what only the route knows, that a status has these headers."""
    return {"headers": response_headers(*names)}
