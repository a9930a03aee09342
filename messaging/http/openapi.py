"""The OpenAPI document, derived from the routes and their dependencies.

FastAPI describes paths, bodies and answers. Added here is what it cannot see: what dependencies
and commands declare, and the problem documents that a route can answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute

from messaging.http.commands import COMMAND, SAFE_METHODS, CommandRoute
from messaging.http.declared import Declared, RequestHeader, declared_by, response_headers
from messaging.http.problems import MEDIA_TYPE, PROBLEM_SCHEMA

PROBLEMS: Mapping[int, tuple[str, tuple[str, ...]]] = {
    400: ("The request is malformed: its JSON or its Idempotency-Key.", ()),
    401: ("No token, or one that is malformed, expired or not ours.", ("WWW-Authenticate",)),
    403: ("The caller does not have the role.", ()),
    404: ("There is no such thing, or it is somebody else's.", ()),
    406: ("It is not given in any media type that the Accept header takes.", ()),
    408: ("The body took too long to arrive.", ()),
    409: (
        "The state of things does not allow it, or a request under the same key is still running.",
        ("Retry-After",),
    ),
    412: ("The resource is not in the version that If-Match names.", ("ETag",)),
    413: ("The body is too large.", ()),
    415: ("The body is in a media type that is not accepted here.", ()),
    422: ("The request was understood, and parts of it cannot be.", ()),
    428: ("The If-Match header is missing.", ()),
    503: ("The service cannot do this right now; it may be asked again.", ("Retry-After",)),
}
"""What a problem's status tells, and the headers that it may come with."""

OF_FASTAPI = ("HTTPValidationError", "ValidationError")
"""Schemas of a body that is never answered here."""


class DescribedApi(FastAPI):
    """A REST API whose document tells all that its routes take and answer."""

    def openapi(self) -> dict[str, Any]:
        """The document, made when it is first asked for."""
        if self.openapi_schema is None:
            document = get_openapi(title=self.title, version=self.version, routes=self.routes)
            self.openapi_schema = _completed(document, self.routes)
        return self.openapi_schema


def _completed(document: dict[str, Any], routes: Sequence[BaseRoute]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in OF_FASTAPI:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM_SCHEMA
    for route in iter_route_contexts(routes):
        if isinstance(route.original_route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                operation = document["paths"][route.path_format][method.lower()]
                declared = list(_declared(route, method))
                _add_what_is_sent(operation, declared, components)
                _add_what_is_answered(operation, declared, schemas)
    return document


def _declared(route: RouteContext, method: str) -> Iterator[Declared]:
    if isinstance(route.original_route, CommandRoute) and method not in SAFE_METHODS:
        yield from COMMAND
    yield from _declared_below(route.dependant)


def _declared_below(dependant: Dependant) -> Iterator[Declared]:
    for each in dependant.dependencies:
        yield from declared_by(each.call)
        yield from _declared_below(each)


def _add_what_is_sent(
    operation: dict[str, Any], declared: Sequence[Declared], components: dict[str, Any]
) -> None:
    headers = {each.header.name: each.header for each in declared if each.header}
    if headers:
        parameters = operation.setdefault("parameters", [])
        parameters.extend(_parameter(header) for header in headers.values())
    credentials = {each.credential.name: each.credential for each in declared if each.credential}
    if credentials:
        schemes = {name: dict(credential.scheme) for name, credential in credentials.items()}
        components.setdefault("securitySchemes", {}).update(schemes)
        operation.setdefault("security", _alternatives(declared))
    notes = dict.fromkeys(each.note for each in declared if each.note)
    operation["description"] = "\n\n".join((operation.get("description", ""), *notes)).strip()


def _alternatives(declared: Sequence[Declared]) -> list[dict[str, Any]]:
    """Security requirements, of which any is enough; the empty one is met without a token."""
    asked = [each.credential for each in declared if each.credential]
    required = [credential for credential in asked if credential.required]
    names = dict.fromkeys(credential.name for credential in required or asked)
    return [*({name: []} for name in names), *([] if required else [{}])]


def _parameter(header: RequestHeader) -> dict[str, Any]:
    return {
        "name": header.name,
        "in": "header",
        "required": header.required,
        "description": header.description,
        "schema": {"type": "string", "pattern": header.pattern},
    }


def _add_what_is_answered(
    operation: dict[str, Any], declared: Sequence[Declared], schemas: Mapping[str, Any]
) -> None:
    given: dict[str, dict[str, Any]] = operation["responses"]
    successes = {status: response for status, response in given.items() if status < "400"}
    first = next(iter(successes.values()))
    answers = {name for each in declared for name in each.answers}
    for response in successes.values():
        # Another success of a route has the form of its first.
        response.setdefault("content", first.get("content", {}))
        versioned = {"ETag"} if _is_versioned(response, schemas) else set()
        _add_headers(response, answers | versioned)
    refused = _refused(operation, declared) | {
        int(each) for each in given.keys() - successes.keys()
    }
    operation["responses"] = successes | {
        str(status): _problem(status, given.get(str(status), {})) for status in sorted(refused)
    }


def _refused(operation: Mapping[str, Any], declared: Sequence[Declared]) -> set[int]:
    """The statuses of the problems that an operation can be answered with, whoever serves it."""
    refused = {503}.union(*(each.problems for each in declared))
    if "requestBody" in operation:
        refused |= {400, 422}
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", ())):
        refused.add(404)
    return refused


def _is_versioned(response: Mapping[str, Any], schemas: Mapping[str, Any]) -> bool:
    """Whether the answer is a resource with a `version`: its ETag is given with it."""
    schema = response["content"].get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    return "version" in schemas.get(name, {}).get("properties", {})


def _problem(status: int, given: Mapping[str, Any]) -> dict[str, Any]:
    description, headers = PROBLEMS[status]
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    response = {**given, "description": description, "content": content}
    _add_headers(response, headers)
    return response


def _add_headers(response: dict[str, Any], names: Iterable[str]) -> None:
    if headers := response_headers(*sorted(names)):
        response["headers"] = response.get("headers", {}) | headers
