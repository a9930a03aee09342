"""Lists of objects, page by page, the newest first.

Source: Stripe API reference, "Pagination".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from stripe_sandbox.database import FILTERS, Object, Transaction
from stripe_sandbox.errors import InvalidRequest

PAGE = 10
"""Objects of a page, where none are asked for."""
LARGEST_PAGE = 100

_RANGES = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def list_of(
    transaction: Transaction,
    kind: str,
    params: Mapping[str, Any],
    url: str,
    *,
    also: Sequence[tuple[str, Sequence[Any]]] = (),
    **fields: str | bool | Sequence[str],
) -> Object:
    """One page of the objects of a kind with these `fields`; several values are alternatives.

    `params` are those of the request: `limit`, `starting_after`, `ending_before`, `created`, and
    any of the fields that are indexed; `also` are conditions with their values. Raises ApiError.
    """
    conditions = ["object = ?"]
    values: list[str | int] = [kind]
    named = {name: value for name, value in params.items() if name in FILTERS}
    for field, value in (named | fields).items():
        allowed = [value] if isinstance(value, str | bool) else value
        conditions.append(f"body ->> '$.{field}' IN ({', '.join('?' * len(allowed))})")
        values += allowed
    for condition, those in also:
        conditions.append(condition)
        values += those
    created = params.get("created")
    if created is not None:
        ranges = created if isinstance(created, Mapping) else {"gte": created, "lte": created}
        for name, value in ranges.items():
            conditions.append(f"created {_RANGES[name]} ?")
            values.append(value)
    limit = limit_of(params)
    after, before = params.get("starting_after"), params.get("ending_before")
    if after is not None and before is not None:
        raise _both()
    backwards = before is not None
    if (cursor := before if backwards else after) is not None:
        at = _position(
            transaction, kind, cursor, "ending_before" if backwards else "starting_after"
        )
        conditions.append(f"(created, number) {'>' if backwards else '<'} (?, ?)")
        values += at
    direction = "ASC" if backwards else "DESC"
    rows = transaction.sql(
        f"SELECT body FROM objects WHERE {' AND '.join(conditions)}"  # noqa: S608 - names of ours
        f" ORDER BY created {direction}, number {direction} LIMIT ?",
        (*values, limit + 1),
    ).fetchall()
    found = [orjson.loads(body) for (body,) in rows[:limit]]
    if backwards:
        found.reverse()
    return _page(found, len(rows) > limit, url)


def given(params: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    """Those of the fields that the request names, for `list_of`."""
    return {field: params[field] for field in fields if field in params}


def page_of(objects: list[Object], params: Mapping[str, Any], url: str) -> Object:
    """One page of objects that stand in an order of their own. Raises InvalidRequest."""
    limit = limit_of(params)
    after, before = params.get("starting_after"), params.get("ending_before")
    if after is not None and before is not None:
        raise _both()
    if before is not None:
        end = _place(objects, before, "ending_before")
        start = max(end - limit, 0)
        return _page(objects[start:end], start > 0, url)
    start = 0 if after is None else _place(objects, after, "starting_after") + 1
    return _page(objects[start : start + limit], len(objects) > start + limit, url)


def limit_of(params: Mapping[str, Any]) -> int:
    """How many objects a page is to have. Raises InvalidRequest."""
    limit: int = params.get("limit", PAGE)
    if not 1 <= limit <= LARGEST_PAGE:
        raise InvalidRequest(
            f"A page has 1 to {LARGEST_PAGE} objects, not {limit}",
            code="parameter_invalid_integer",
            param="limit",
        )
    return limit


def whole(objects: list[Object], url: str) -> Object:
    """A list within an object that has all there is."""
    return _page(objects, False, url)


def _page(data: list[Object], has_more: bool, url: str) -> Object:
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def _both() -> InvalidRequest:
    return InvalidRequest(
        "A list starts after an object or ends before one, not both", param="ending_before"
    )


def _place(objects: list[Object], name: str, param: str) -> int:
    for place, one in enumerate(objects):
        if one["id"] == name:
            return place
    raise InvalidRequest(f"No such object here: {name!r}", code="resource_missing", param=param)


def _position(transaction: Transaction, kind: str, name: str, param: str) -> tuple[int, int]:
    transaction.referenced(kind, name, param)
    position: tuple[int, int] = transaction.sql(
        "SELECT created, number FROM objects WHERE id = ?", (name,)
    ).fetchone()
    return position
