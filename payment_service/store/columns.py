"""Columns as arrays: one statement writes many rows."""

from collections.abc import Sequence
from typing import Any, TypeAlias

Columns: TypeAlias = Sequence[tuple[str, str]]
"""Names of columns with their PostgreSQL types."""


def names(columns: Columns) -> str:
    """`a, b, c`."""
    return ", ".join(name for name, _ in columns)


def unnested(columns: Columns) -> str:
    """`unnest(CAST(:a AS t[]), ...)`: one row per element."""
    return f"unnest({', '.join(f'CAST(:{name} AS {kind}[])' for name, kind in columns)})"


def arrays(columns: Columns, rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """Parameters for `unnested`: each row has its values in the order of the columns."""
    return {name: [row[at] for row in rows] for at, (name, _) in enumerate(columns)}
