"""What a checkout consists of: the rows that it writes, seen by triggers while some run.

The rows are those of the services' own tables, whatever these are at present; the floor writes
them again. An update counts as a row, since PostgreSQL writes the whole row anew.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import orjson

_SEE = """
    CREATE SCHEMA bench;
    CREATE UNLOGGED TABLE bench.seen (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        table_name text NOT NULL, operation text NOT NULL, content jsonb
    );
    CREATE FUNCTION bench.see() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO bench.seen (table_name, operation, content) VALUES (
            TG_ARGV[0], TG_OP, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END
        );
        RETURN NULL;
    END $$;
"""
_TABLES = """
    SELECT oid::regclass::text AS name FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""
_COLUMNS = """
    SELECT quote_ident(attname) AS name, format_type(atttypid, atttypmod) AS type
    FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum
"""
_SEEN = """
    SELECT table_name, coalesce(jsonb_agg(content) FILTER (WHERE operation <> 'DELETE'), '[]')::text
            AS rows,
        count(*) FILTER (WHERE operation = 'INSERT') AS inserts,
        count(*) FILTER (WHERE operation = 'UPDATE') AS updates,
        count(*) FILTER (WHERE operation = 'DELETE') AS deletes
    FROM bench.seen GROUP BY table_name ORDER BY table_name
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written to a table of a service."""

    database: str
    table: str
    columns: tuple[tuple[str, str], ...]
    """Names, quoted where SQL needs it, and types."""
    rows: bytes
    """Every row as it was inserted or updated: a JSON list of objects."""
    inserts: int
    updates: int
    deletes: int


@dataclass(slots=True)
class Anatomy:
    """What so many checkouts wrote."""

    checkouts: int
    tables: list[Written] = field(default_factory=list)

    @property
    def rows(self) -> float:
        """Rows that a checkout writes."""
        return sum(one.inserts + one.updates for one in self.tables) / self.checkouts

    @property
    def deletes(self) -> float:
        """Rows that a checkout deletes again."""
        return sum(one.deletes for one in self.tables) / self.checkouts

    @property
    def messages(self) -> float:
        """Messages of a checkout."""
        return sum(one.inserts for one in self.tables if one.table == "outbox") / self.checkouts

    def message_types(self) -> Mapping[str, float]:
        """Messages of a checkout by their type."""
        found: dict[str, float] = {}
        for one in self.tables:
            if one.table == "outbox":
                for row in orjson.loads(one.rows):
                    found[row["type"]] = found.get(row["type"], 0) + 1 / self.checkouts
        return dict(sorted(found.items()))


@asynccontextmanager
async def seen(databases: Mapping[str, str], checkouts: int) -> AsyncIterator[Anatomy]:
    """What is written to these databases, by name and URL; it is there at the end of the block.

    The block runs so many checkouts, and ends when nothing of them is open.
    """
    made = Anatomy(checkouts)
    async with AsyncExitStack() as stack:
        connections = {}
        for name, url in databases.items():
            connection = await asyncpg.connect(url)
            stack.push_async_callback(connection.close)
            await connection.execute(_SEE)
            stack.push_async_callback(connection.execute, "DROP SCHEMA bench CASCADE")
            for table in await connection.fetch(_TABLES):
                await connection.execute(
                    f"CREATE TRIGGER bench AFTER INSERT OR UPDATE OR DELETE ON {table['name']}"
                    f" FOR EACH ROW EXECUTE FUNCTION bench.see('{table['name']}')"
                )
            connections[name] = connection
        yield made
        for name, connection in connections.items():
            for row in await connection.fetch(_SEEN):
                columns = await connection.fetch(_COLUMNS, row["table_name"])
                made.tables.append(
                    Written(
                        name,
                        row["table_name"],
                        tuple((column["name"], column["type"]) for column in columns),
                        row["rows"].encode(),
                        row["inserts"],
                        row["updates"],
                        row["deletes"],
                    )
                )
