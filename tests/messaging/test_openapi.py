"""The OpenAPI document is derived from routes and their dependencies; none can be forgotten."""

from typing import Annotated, Any

import jsonschema
import orjson
import pytest
from fastapi import APIRouter, Depends
from pydantic import BaseModel

from messaging.http.bodies import RequestBody
from messaging.http.commands import CommandConnection, CommandRoute, ReadConnection
from messaging.http.declared import answers_with
from messaging.http.etags import IfMatch, RequiredIfMatch
from messaging.http.problems import PROBLEM_SCHEMA, invalid_request, unavailable
from messaging.http.tokens import (
    Customer,
    GuestTokenHash,
    OptionalCustomer,
    RequiredCustomer,
    require_role,
)
from messaging.service import Service
from messaging.settings import ServiceSettings

router = APIRouter(route_class=CommandRoute)
plain = APIRouter()
Clerk = Annotated[Customer, Depends(require_role("clerk", "owner"))]


class Note(RequestBody):
    text: str


class NoteView(BaseModel):
    text: str
    version: int


@router.post(
    "/notes",
    status_code=201,
    response_model=NoteView,
    responses={200: answers_with("Location"), 201: answers_with("Location")},
)
async def write(body: Note, connection: CommandConnection, customer: OptionalCustomer) -> None:
    """Write a note."""


@router.get("/notes/{number}", response_model=NoteView)
async def read(number: int, connection: ReadConnection, guest: GuestTokenHash) -> None:
    """Read a note."""


@router.patch("/notes/{number}", response_model=NoteView)
async def change(number: int, version: IfMatch, clerk: Clerk) -> None:
    """Change a note."""


@router.put("/notes/{number}", response_model=NoteView)
async def replace(number: int, version: RequiredIfMatch, customer: RequiredCustomer) -> None:
    """Replace a note."""


@plain.get("/time")
async def tell(customer: OptionalCustomer, guest: GuestTokenHash) -> dict[str, Any]:
    """Tell the time."""
    return {}


@pytest.fixture
def service() -> Service:
    """The routes above as a service; nothing runs."""
    settings: dict[str, Any] = {"signing_key": "k" * 32}
    return Service("notes", ServiceSettings(**settings), title="Notes", routers=[router, plain])


@pytest.fixture
def paths(service: Service) -> dict[str, Any]:
    """The operations by path and method."""
    found: dict[str, Any] = service.app.openapi()["paths"]
    return found


def sent(operation: dict[str, Any]) -> dict[str, bool]:
    """Each parameter's name, and whether it is required."""
    return {each["name"]: each["required"] for each in operation.get("parameters", [])}


def test_a_command_takes_a_key_and_says_when_it_is_replayed(paths: dict[str, Any]) -> None:
    operation = paths["/notes"]["post"]
    assert sent(operation) == {"Idempotency-Key": True}
    assert "Idempotent-Replayed" in operation["responses"]["201"]["headers"]
    assert set(operation["responses"]) == {
        *("200", "201"),
        *("400", "401", "408", "409", "413", "415", "422", "503"),
    }


def test_a_safe_route_of_the_same_class_takes_none(paths: dict[str, Any]) -> None:
    operation = paths["/notes/{number}"]["get"]
    assert sent(operation) == {"number": True}
    assert set(operation["responses"]) == {"200", "404", "422", "503"}


def test_a_resource_with_a_version_has_an_etag(paths: dict[str, Any]) -> None:
    answered = paths["/notes"]["post"]["responses"]
    for status in ("200", "201"):
        assert set(answered[status]["headers"]) == {"ETag", "Idempotent-Replayed", "Location"}
    assert answered["200"]["content"] == answered["201"]["content"]
    assert "headers" not in paths["/time"]["get"]["responses"]["200"]


def test_if_match_is_declared_as_it_is_needed(paths: dict[str, Any]) -> None:
    optional, required = paths["/notes/{number}"]["patch"], paths["/notes/{number}"]["put"]
    assert (sent(optional)["If-Match"], sent(required)["If-Match"]) == (False, True)
    assert {"412", "428"} & optional["responses"].keys() == {"412"}
    assert {"412", "428"} & required["responses"].keys() == {"412", "428"}


def test_tokens_are_declared_as_they_are_needed(paths: dict[str, Any]) -> None:
    assert paths["/notes"]["post"]["security"] == [{"customer": []}, {}]
    assert paths["/notes/{number}"]["get"]["security"] == [{"guest": []}, {}]
    assert paths["/notes/{number}"]["put"]["security"] == [{"customer": []}]
    assert paths["/time"]["get"]["security"] == [{"customer": []}, {"guest": []}, {}]


def test_the_description_names_the_roles(paths: dict[str, Any]) -> None:
    operation = paths["/notes/{number}"]["patch"]
    assert operation["description"] == "Change a note.\n\nNeeds the role `clerk` or `owner`."
    assert operation["security"] == [{"customer": []}]
    assert "403" in operation["responses"]


def test_what_clients_may_be_told_to_wait_for_says_how_long(paths: dict[str, Any]) -> None:
    for operations in paths.values():
        for operation in operations.values():
            assert "Retry-After" in operation["responses"]["503"]["headers"]
            if "409" in operation["responses"]:
                assert "Retry-After" in operation["responses"]["409"]["headers"]


@pytest.mark.parametrize(
    "problem",
    [unavailable("A dependency is away."), invalid_request([{"location": "a", "reason": "b"}])],
    ids=lambda problem: problem.slug,
)
def test_problems_are_as_their_schema_says(problem: Any) -> None:
    jsonschema.validate(orjson.loads(problem.response().body), PROBLEM_SCHEMA)


def test_the_document_is_made_when_it_is_first_asked_for(service: Service) -> None:
    assert service.app.openapi_schema is None
    assert service.app.openapi() is service.app.openapi()
