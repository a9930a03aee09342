"""What is asked of a source: a read as it is, or narrowed to some keys of its subject.

PostgreSQL and SQLite are asked by the same reads and rules; they differ in how a list of keys is
handed over.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from trolley.audit.invariant import Read

_ONLY = re.compile(r"\bonly\((?:(?P<column>\w+) of (?P<table>\w+) by )?(?P<keys>[\w., ]+)\)")
"""`only(columns)`, or `only(column of table by columns)` where another table knows the keys."""


class Dialect(Enum):
    """How keys are handed over: as the array $1, or as the JSON array :keys."""

    POSTGRES = "postgres"
    SQLITE = "sqlite"


@dataclass(frozen=True, slots=True)
class Asked:
    """A read of everything, or of some keys."""

    read: Read[Any]
    narrowed: bool
    dialect: Dialect = Dialect.POSTGRES

    @property
    def rows(self) -> str:
        """Its rows, in no order."""
        return _ONLY.sub(self._among, self.read.sql)

    @property
    def ordered(self) -> str:
        """Its rows in byte order of their keys."""
        return f"{self.rows} ORDER BY {self.read.order}"

    def counted(self, rules: Sequence[str]) -> str:
        """Two columns for each rule: how many facts it speaks of, and how many break it."""
        counts = ", ".join(
            f"count(r{number}), count(*) FILTER (WHERE NOT r{number})"
            for number in range(len(rules))
        )
        rule = ", ".join(f"({one}\n) AS r{number}" for number, one in enumerate(rules))
        return f"SELECT {counts} FROM (SELECT {rule} FROM ({self.rows}) AS one) AS judged"  # noqa: S608 - constants

    def breaking(self, rule: str, most: int) -> str:
        """The first rows that break a rule."""
        return f"SELECT * FROM ({self.rows}) AS one WHERE NOT ({rule}\n) ORDER BY key LIMIT {most}"  # noqa: S608 - constants

    def _among(self, found: re.Match[str]) -> str:
        if not self.narrowed:
            return "true"
        among = self._equal_to_one(found["keys"])
        if found["column"] is None:
            return among
        column, table = found["column"], found["table"]
        return f"{column} IN (SELECT {column} FROM {table} WHERE {among})"  # noqa: S608 - constants

    def _equal_to_one(self, columns: str) -> str:
        if self.dialect is Dialect.SQLITE:
            return f"{columns} IN (SELECT value FROM json_each(:keys))"  # noqa: S608 - constants
        if self.read.subject is not None and self.read.subject.pair:
            parts = "split_part(one, '/', 1), substr(one, strpos(one, '/') + 1)"
            return f"({columns}) IN (SELECT {parts} FROM unnest($1::text[]) AS one)"  # noqa: S608 - constants
        return f"{columns} = ANY($1::uuid[])"
