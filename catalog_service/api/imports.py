"""The bulk import: thousands of rows in one request, each applied or refused with its reasons."""

import asyncio
from collections.abc import Callable, Coroutine
from operator import itemgetter
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response

from catalog_service.api.problems import refusal_facts
from catalog_service.api.products import Settings, Writer, allowed_writer
from catalog_service.api.rows import (
    COLUMNS,
    ReadRows,
    Rows,
    TooManyRows,
    UnreadableImport,
    rows_of_csv,
    rows_of_json,
)
from catalog_service.domain import RefusedRow
from catalog_service.handlers import Catalog
from messaging.http.commands import CommandConnection, CommandRoute, Now
from messaging.http.problems import Problem
from messaging.http.rendering import JsonResponse
from messaging.http.tokens import optional_customer, required_customer

JSON = "application/json"
CSV = "text/csv"


class ImportRoute(CommandRoute):
    """Takes larger bodies than other routes, and so asks first who sends them."""

    media_types: ClassVar[tuple[str, ...]] = (JSON, CSV)
    body_setting: ClassVar[str | None] = "import_body_bytes"

    def get_route_handler(self) -> Callable[[StarletteRequest], Coroutine[Any, Any, Response]]:
        """The route's handler, behind the check of the role."""
        run = super().get_route_handler()

        async def handle(request: StarletteRequest) -> Response:
            await allowed_writer(required_customer(optional_customer(Request(request.scope))))
            return await run(request)

        return handle


router = APIRouter(route_class=ImportRoute, tags=["imports"])


class ImportAnswer(BaseModel):
    """What an import did. `refusals` lists the first refused rows, by row number from 1."""

    rows: int
    applied: int
    refused: int
    products_changed: int
    items_changed: int
    refusals: list[dict[str, Any]]


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its definitions in place: a request body has nowhere to keep them."""
    parts = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return inline(parts[node["$ref"].removeprefix("#/$defs/")])
        return {key: inline(value) for key, value in node.items()}

    return dict(inline(schema))


_BODY = {
    "required": True,
    "content": {
        JSON: {"schema": _inlined(Rows.model_json_schema())},
        CSV: {
            "schema": {
                "type": "string",
                "description": (
                    f"UTF-8 with a header. Columns: {', '.join(COLUMNS)}, `attribute.<name>` and "
                    "`product_attribute.<name>`. Prices are decimals such as 2.55. A SKU with "
                    "prices in several currencies has a row for each."
                ),
            }
        },
    },
}


@router.post("/imports", response_model=ImportAnswer, openapi_extra={"requestBody": _BODY})
async def import_products(
    request: Request,
    connection: CommandConnection,
    writer: Writer,
    settings: Settings,
    now: Now,
    all_or_none: Annotated[
        bool, Query(description="Change nothing at all when any row is refused.")
    ] = False,
) -> Response:
    """Create and change products and variants by row.

    A row is told apart by its SKU: what it says is set, what it does not say stays. Every good row
    is applied, whatever becomes of the others.
    """
    read = await _read_rows(request, settings.import_rows)
    refused: list[dict[str, Any]] = [
        {"row": row.number, "reason": "invalid-row", "errors": list(row.reasons)}
        for row in read.unreadable
    ]
    products_changed = items_changed = 0
    if not (refused and all_or_none):
        catalog = Catalog(connection, writer.shop, settings, now)
        done = await catalog.merge(read.rows, all_or_none=all_or_none)
        refused.extend(_refusal(row) for row in done.refused)
        products_changed, items_changed = done.products_changed, done.items_changed
    refused.sort(key=itemgetter("row"))
    listed = refused[: settings.import_refusals_listed]
    if refused and all_or_none:
        raise Problem(
            422,
            "import-refused",
            "Rows were refused, so nothing was imported",
            rows=read.count,
            refused=len(refused),
            refusals=listed,
        )
    answer = ImportAnswer(
        rows=read.count,
        applied=read.count - len(refused),
        refused=len(refused),
        products_changed=products_changed,
        items_changed=items_changed,
        refusals=listed,
    )
    return JsonResponse(answer)


async def _read_rows(request: Request, most_rows: int) -> ReadRows:
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    is_csv = media_type.strip().lower() == CSV
    if is_csv and _charset(parameters) not in (None, "utf-8", "utf8", "us-ascii"):
        raise Problem(
            415, "unsupported-media-type", "CSV is only accepted in UTF-8", accepted=[JSON, CSV]
        )
    body = await request.body()
    if not body:
        raise Problem(422, "unreadable-import", "The import is empty")
    try:
        # Off the event loop: other requests go on while thousands of rows are read.
        if is_csv:
            return await asyncio.to_thread(rows_of_csv, body, most_rows)
        return await asyncio.to_thread(rows_of_json, await request.json(), most_rows)
    except UnreadableImport as error:
        raise Problem(
            422, "unreadable-import", "The import cannot be read", error.reason, **error.facts
        ) from error
    except TooManyRows as error:
        raise Problem(
            413, "too-many-rows", "The import has too many rows", most_rows=error.most
        ) from error


def _charset(parameters: str) -> str | None:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return None


def _refusal(row: RefusedRow) -> dict[str, Any]:
    return {"row": row.number, **refusal_facts(row.error)}
