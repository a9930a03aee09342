"""Search: clauses over what objects were like a moment ago.

It lags behind on purpose, as Stripe's does, so that nobody builds on it what must be exact.

Source: Stripe API reference, "Search"; guide "Search query language".
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest
from stripe_sandbox.lists import limit_of

MOST_CLAUSES = 10
SHORTEST_PART = 3

NUMBERS = frozenset({"amount", "created"})
"""Fields that are compared as numbers; the values of all others stand in quotes."""

FIELDS: Mapping[str, frozenset[str]] = {
    "customer": frozenset({"created", "email", "name", "phone"}),
    "payment_intent": frozenset({"amount", "created", "currency", "customer", "status"}),
    "charge": frozenset(
        {"amount", "created", "currency", "customer", "disputed", "refunded", "status"}
    ),
    "price": frozenset({"active", "currency", "lookup_key", "product", "type"}),
    "product": frozenset({"active", "description", "name", "url"}),
}
"""What can be searched for beside metadata, by kind."""

_CLAUSE = re.compile(
    r"""(?P<not>-)?(?P<field>[a-z_.]+)(?:\[(?P<q>["'])(?P<key>[^"']+)(?P=q)\])?
        (?P<op>:|~|>=|<=|>|<)
        (?:"(?P<text>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<word>[\w.+-]+))""",
    re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(.)")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_JOIN = re.compile(r"\s+(AND|OR|and|or)\s+|\s+")

Matches = Callable[[Object], bool]


def index(transaction: Transaction, name: str) -> None:
    """Let search find an object as it is now."""
    transaction.sql(
        "INSERT INTO searchable (number, id, object, body)"
        " SELECT number, id, object, body FROM objects WHERE id = ?"
        " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
        (name,),
    )


def search(transaction: Transaction, kind: str, params: Mapping[str, Any], url: str) -> Object:
    """One page of the objects that the query fits, the newest first. Raises InvalidRequest."""
    fits = _parsed(params["query"], FIELDS[kind])
    limit = limit_of(params)
    before = _position(params.get("page"))
    found: list[tuple[int, Object]] = []
    rows = transaction.sql(
        "SELECT number, body FROM searchable WHERE object = ? AND number < ? ORDER BY number DESC",
        (kind, before),
    )
    for number, body in rows:
        one = orjson.loads(body)
        if fits(one):
            found.append((number, one))
            if len(found) > limit:
                break
    has_more = len(found) > limit
    page = found[:limit]
    return {
        "object": "search_result",
        "data": [one for _, one in page],
        "has_more": has_more,
        "next_page": _page(page[-1][0]) if has_more else None,
        "url": url,
    }


def _parsed(query: str, fields: frozenset[str]) -> Matches:
    clauses: list[Matches] = []
    joins: set[str] = set()
    position = 0
    while True:
        found = _CLAUSE.match(query, position)
        if found is None:
            raise _malformed(query, position)
        clauses.append(_clause(found, fields))
        position = found.end()
        if position == len(query.rstrip()):
            break
        join = _JOIN.match(query, position)
        if join is None:
            raise _malformed(query, position)
        joins.add((join[1] or "and").lower())
        position = join.end()
    if len(clauses) > MOST_CLAUSES:
        raise InvalidRequest(f"A query has at most {MOST_CLAUSES} clauses", param="query")
    if len(joins) > 1:
        raise InvalidRequest("A query joins its clauses with AND or with OR", param="query")
    if joins == {"or"}:
        return lambda one: any(clause(one) for clause in clauses)
    return lambda one: all(clause(one) for clause in clauses)


def _clause(found: re.Match[str], fields: frozenset[str]) -> Matches:
    field, key, operator = found["field"], found["key"], found["op"]
    if (field != "metadata" and field not in fields) or (field == "metadata") != (key is not None):
        raise InvalidRequest(f"One cannot search by {field} here", param="query")
    quoted = found["text"] if found["text"] is not None else found["single"]
    wanted = found["word"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
    is_absent = quoted is None and wanted.lower() == "null"
    if not is_absent:
        _check(field, operator, wanted, is_quoted=quoted is not None)

    def value_of(one: Object) -> Any:
        return one.get("metadata", {}).get(key) if field == "metadata" else one.get(field)

    def fits(one: Object) -> bool:
        value = value_of(one)
        if is_absent:
            return value is None
        return value is not None and _compared(value, operator, wanted)

    if found["not"]:
        return lambda one: not fits(one)
    return fits


def _check(field: str, operator: str, wanted: str, *, is_quoted: bool) -> None:
    """Raises InvalidRequest for a value that the field cannot have."""
    is_number = field in NUMBERS
    if is_number and (is_quoted or _NUMBER.fullmatch(wanted) is None):
        raise InvalidRequest(f"{field} is a number and stands in no quotes", param="query")
    if not is_number and not is_quoted:
        raise InvalidRequest(f"{field} is a text and stands in quotes", param="query")
    if operator not in ((":", "<", ">", "<=", ">=") if is_number else (":", "~")):
        raise InvalidRequest(f"{field} cannot be searched for by {operator}", param="query")
    if operator == "~" and len(wanted) < SHORTEST_PART:
        raise InvalidRequest(f"A part has at least {SHORTEST_PART} characters", param="query")


def _compared(value: Any, operator: str, wanted: str) -> bool:
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    if isinstance(value, int):
        number = int(wanted)
        return {
            ":": value == number,
            ">": value > number,
            "<": value < number,
            ">=": value >= number,
            "<=": value <= number,
        }.get(operator, False)
    if operator == "~":
        return wanted.lower() in value.lower()
    return operator == ":" and bool(value.lower() == wanted.lower())


def _malformed(query: str, position: int) -> InvalidRequest:
    return InvalidRequest(f"The query is not understood at character {position}", param="query")


def _page(number: int) -> str:
    return base64.urlsafe_b64encode(str(number).encode()).decode()


def _position(page: str | None) -> int:
    if page is None:
        return 2**62
    try:
        position = int(base64.urlsafe_b64decode(page))
    except (ValueError, binascii.Error):
        position = 0
    if not 0 < position < 2**62:
        raise InvalidRequest("There is no such page", param="page")
    return position
