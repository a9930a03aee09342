"""Refusals in HTTP's words."""

from typing import assert_never

from contracts.values import asdict
from inventory_service.domain import Overdrawn, UnknownWarehouses
from messaging.http.problems import Problem

Refused = UnknownWarehouses | Overdrawn


def problem_of(refused: Refused) -> Problem:
    """The problem document that tells of a refused booking."""
    match refused:
        case UnknownWarehouses(codes):
            return Problem(
                422,
                "unknown-warehouse",
                "The shop has no such warehouse",
                warehouses=list(codes),
            )
        case Overdrawn(lines):
            return Problem(
                409,
                "stock-overdrawn",
                "The books cannot go below what is reserved",
                "Nothing was adjusted. `line` counts from 0.",
                lines=[asdict(line) for line in lines],
            )
        case unreachable:
            assert_never(unreachable)
