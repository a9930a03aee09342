"""Up to where the movements of a SKU were found right, so that the next look reads on from there.

A SKU of which a look found nothing wrong has a checkpoint in each warehouse: the number of its
last movement there, the balance after it, and how many entries it stands for. A later look at the
SKU reads the movements after it. Who writes to a movement that a checkpoint covers voids it, and
all movements of that SKU are read again; so does every look at everything.
"""

from collections.abc import Collection, Mapping, Sequence

from trolley.audit.engine import Engine, Space

_COLUMNS = {
    "shop_id": "VARCHAR",
    "sku": "VARCHAR",
    "warehouse": "VARCHAR",
    "event_seq": "BIGINT",
    "balance": "BIGINT",
    "entries": "BIGINT",
    "moved_at": "TIMESTAMP",
}
_KEY = "shop_id || '/' || sku"


async def prepare(engine: Engine) -> None:
    """Nothing has been found right yet."""
    await engine.main.make("checkpoints", _COLUMNS)


async def reached(space: Space, keys: Sequence[str] | None) -> list[int]:
    """Bring the checkpoints of these SKUs into a look's space; none for a look at everything.

    Gives the number of the last movement that is covered, for each of the keys.
    """
    of_keys = f"{_KEY} IN (SELECT unnest(?::VARCHAR[]))"
    await space.run(
        f"CREATE TABLE {space.name}.checkpoints AS FROM main.checkpoints WHERE {of_keys}",
        (list(keys or ()),),
    )
    found = await space.run(f"SELECT {_KEY}, max(event_seq) FROM checkpoints GROUP BY ALL")  # noqa: S608 - constants
    last: dict[str, int] = dict(found)
    return [last.get(key, 0) for key in keys or ()]


async def advance(space: Space, wrong: Collection[str] | None) -> None:
    """After a look at SKUs: those of which nothing is wrong are right up to here.

    None, if it is not known which are wrong.
    """
    await space.run(
        """
        DELETE FROM main.checkpoints
        WHERE (shop_id, sku) IN (SELECT (shop_id, sku) FROM movements)
        """
    )
    await space.run(
        f"""
        INSERT INTO main.checkpoints
        SELECT shop_id, sku, warehouse, max(event_seq), sum(quantity), sum(entries), max(moved_at)
        FROM (
            SELECT shop_id, sku, warehouse, event_seq, quantity, 1 AS entries, moved_at
            FROM movements
            UNION ALL SELECT shop_id, sku, warehouse, event_seq, balance, entries, moved_at
            FROM checkpoints
        )
        WHERE ? AND (shop_id, sku) IN (SELECT (shop_id, sku) FROM movements)
            AND {_KEY} NOT IN (SELECT unnest(?::VARCHAR[]))
        GROUP BY shop_id, sku, warehouse
        """,  # noqa: S608 - constants
        (wrong is not None, list(wrong or ())),
    )


async def void(engine: Engine, written: Mapping[str, int]) -> None:
    """Movements were written, per SKU from a number on: what covers one of them counts no more."""
    await engine.main.run(
        f"""
        DELETE FROM checkpoints WHERE {_KEY} IN (
            SELECT key FROM (SELECT unnest(?::VARCHAR[]) AS key, unnest(?::BIGINT[]) AS number)
            JOIN checkpoints ON {_KEY} = key WHERE event_seq >= number
        )
        """,  # noqa: S608 - constants
        (list(written), list(written.values())),
    )
