"""Rows as parallel arrays: how many of them are written in one statement."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def given(columns: Mapping[str, str]) -> str:
    """The FROM item `n`: parallel arrays of these columns, as rows."""
    listed = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in columns.items())
    return f"unnest({listed}) AS n ({', '.join(columns)})"


def assigned(columns: Iterable[str], source: str = "n") -> str:
    """The assignments of these columns from those of `source`."""
    return ", ".join(f"{name} = {source}.{name}" for name in columns)


def arrays(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The columns of rows that are alike, by name."""
    return {name: [row[name] for row in rows] for name in rows[0]}
