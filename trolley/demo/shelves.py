"""What stands on the shelves, once it has come to rest."""

from collections.abc import Mapping

from trolley.demo.crowd import settled
from trolley.demo.shop import Level
from trolley.demo.stage import Stage

FEW = 10
"""So many SKUs are asked for one by one; else all levels of the shop are read, page by page."""


async def shelves(stage: Stage, pieces: Mapping[str, int]) -> Mapping[str, Level]:
    """The levels of these SKUs as soon as each has so many pieces and none of them reserved.

    As they are then, when that takes too long.
    """

    async def levels() -> Mapping[str, Level]:
        if len(pieces) <= FEW:
            return {sku: await stage.shop.level(sku) for sku in pieces}
        return {sku: one for sku, one in (await stage.shop.levels()).items() if sku in pieces}

    def at_rest(found: Mapping[str, Level]) -> bool:
        return all(level == Level(pieces[sku], 0) for sku, level in found.items())

    return await settled(levels, at_rest, stage.settings)
