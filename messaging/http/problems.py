"""Problem documents (RFC 9457): one shape for every error of every API.

`type` is a stable URI ending in the slug; members beyond the standard ones are facts for
programs. Rejected values are never repeated: a document says where they stand. The codes of goods
that it names (a SKU that is not sold) go through `without_card_numbers`, as every fact does.
"""

from collections.abc import Sequence
from typing import Any

import orjson
import structlog
from asyncpg import (
    InterfaceError,
    InternalClientError,
    LockNotAvailableError,
    PostgresConnectionError,
    PostgresError,
)
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from messaging.http.card_numbers import may_have_card_number, without_card_numbers
from messaging.http.rendering import render

TYPE_BASE = "https://trolley.example/problems/"
MEDIA_TYPE = "application/problem+json"

RETRY_AFTER_SECONDS = 1
DATA_EXCEPTION = "22"
"""The SQLSTATE class of values that the database cannot hold or work on."""

LONGEST_LOCATION = 120
"""Characters of a location that are repeated; an unknown field's name is the client's own."""

PROBLEM_SCHEMA = {
    "title": "Problem",
    "description": "A problem document (RFC 9457). Members that are not listed are facts of its "
    "`type`, for programs.",
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "description": "Which problem it is; stable.",
            "examples": [TYPE_BASE + "request-in-progress"],
        },
        "title": {"type": "string", "description": "What `type` means, for people."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What else is to be said of this one."},
        "errors": {
            "type": "array",
            "description": "The invalid parts of a request.",
            "items": {
                "type": "object",
                "required": ["location", "reason"],
                "properties": {
                    "location": {"type": "string", "examples": ["body.lines.0.quantity"]},
                    "reason": {"type": "string"},
                },
            },
        },
    },
    "additionalProperties": True,
}
"""JSON Schema of `Problem.response()`, for OpenAPI documents."""

log = structlog.get_logger()


class Problem(Exception):
    """An error that the client is told of. `facts` become members of the document."""

    def __init__(
        self,
        status: int,
        slug: str,
        title: str,
        detail: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.slug = slug
        self.title = title
        self.detail = detail
        self.headers = headers
        self.facts = facts

    def response(self) -> Response:
        """The problem document."""
        content: dict[str, Any] = {
            "type": TYPE_BASE + self.slug,
            "title": self.title,
            "status": self.status,
        }
        if self.detail is not None:
            content["detail"] = self.detail
        content.update(self.facts)
        body = render(content)
        if may_have_card_number(body):
            body = render(without_card_numbers(orjson.loads(body)))
        return Response(body, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def unavailable(detail: str) -> Problem:
    """503: the same request, with the same key, may be sent again."""
    return Problem(
        503,
        "temporarily-unavailable",
        "The service cannot do this right now",
        detail,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def headers_too_large(largest_bytes: int, most_fields: int) -> Problem:
    """431 (RFC 6585, section 5)."""
    return Problem(
        431,
        "headers-too-large",
        "The header fields are too large",
        headers={"Connection": "close"},
        largest_bytes=largest_bytes,
        most_fields=most_fields,
    )


def unprocessable_value() -> Problem:
    """422: a value is beyond what the database can hold, and would be so every time."""
    return Problem(422, "unprocessable-value", "A value in the request cannot be processed")


def invalid_request(errors: Sequence[dict[str, str]]) -> Problem:
    """422: the request was understood, and these parts of it cannot be."""
    return Problem(422, "invalid-request", "The request has invalid parts", errors=list(errors))


def card_number_refused(location: str) -> Problem:
    """422: a card number was sent to us, at `location`; nothing of the request is kept."""
    return Problem(
        422,
        "card-number-refused",
        "Card numbers are not taken here",
        "Send the token that the payment provider gives for the card. Nothing of this request was "
        "kept.",
        errors=[{"location": location[:LONGEST_LOCATION], "reason": "holds a card number"}],
    )


def _of_validation(error: RequestValidationError) -> Problem:
    errors = [
        {
            "location": ".".join(str(part) for part in found["loc"])[:LONGEST_LOCATION],
            "reason": str(found["msg"]),
        }
        for found in error.errors()
    ]
    if any(found["type"] == "json_invalid" for found in error.errors()):
        return Problem(400, "malformed-json", "The body is not valid JSON")
    return invalid_request(errors)


_HTTP_SLUGS = {
    404: ("not-found", "There is nothing here"),
    405: ("method-not-allowed", "This method is not allowed here"),
    400: ("bad-request", "The request cannot be understood"),
}


def install(app: FastAPI) -> None:
    """Turn every exception of `app` into a problem document."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> Response:
        return _of_validation(error).response()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        slug, title = _HTTP_SLUGS.get(error.status_code, ("http-error", "The request failed"))
        headers = dict(error.headers) if error.headers else None
        return Problem(error.status_code, slug, title, headers=headers).response()

    @app.exception_handler(ClientDisconnect)
    async def _gone(_: Request, error: ClientDisconnect) -> Response:
        # Nobody reads it; it stands in the metrics as the client's doing.
        return Problem(400, "client-gone", "The request ended before its body did").response()

    @app.exception_handler(LockNotAvailableError)
    async def _locked(_: Request, error: LockNotAvailableError) -> Response:
        return unavailable("Another request is changing the same thing.").response()

    @app.exception_handler(PostgresError)
    async def _database(_: Request, error: PostgresError) -> Response:
        log.error("database error in a request", error=type(error).__name__)
        if (error.sqlstate or "").startswith(DATA_EXCEPTION):
            return unprocessable_value().response()
        return unavailable("The database did not answer as it should.").response()

    async def _away(_: Request, error: Exception) -> Response:
        log.error("a dependency is away", error=type(error).__name__)
        return unavailable("A dependency is away.").response()

    for kind in (
        InterfaceError,
        InternalClientError,
        PostgresConnectionError,
        OSError,  # and TimeoutError, which is one
    ):
        app.add_exception_handler(kind, _away)

    @app.exception_handler(Exception)
    async def _unexpected(_: Request, error: Exception) -> Response:
        log.error("unexpected error in a request", error=type(error).__name__, exc_info=error)
        return Problem(500, "internal-error", "Something went wrong on our side").response()
