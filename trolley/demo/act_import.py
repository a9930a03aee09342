"""Act 1: goods into the catalog, pieces onto the shelves, and the cart knows of all of it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from trolley.demo.checks import Check
from trolley.demo.crowd import settled
from trolley.demo.orders import Product
from trolley.demo.stage import Findings, Stage
from trolley.demo.window import Item, Window


async def import_goods(stage: Stage) -> Findings:
    """Imports products with their prices, receives what is needed, waits for the cart."""
    orders, settings = stage.orders, stage.settings
    prices, needed = orders.prices_minor(), orders.needed()
    goods = stage.screen.bar("products and prices into the catalog", len(prices))
    products = items = 0
    for chunk in _by_rows(orders.products, settings.catalog_rows_per_call):
        answer = await stage.shop.import_products(chunk)
        products += answer["products_changed"]
        items += answer["items_changed"]
        goods.advance(sum(len(product.variants) for product in chunk))
    shelves = stage.screen.bar("stock received", len(needed))
    for lines in _chunks(needed, settings.receipt_lines_per_call):
        await stage.shop.receive(lines)
        shelves.advance(len(lines))
    levels = await stage.shop.levels()
    wanted = {sku: Item(prices[sku], needed[sku]) for sku in prices}
    seen = await _seen_by_cart(stage, wanted)
    skipped = sum(orders.skipped.values())
    return Findings(
        (
            Check(
                "lines of the file, sold or skipped",
                orders.file_lines,
                orders.sellable_lines + skipped,
            ),
            Check("products created", len(orders.products), products),
            Check("SKUs created, one for each price of a product", len(prices), items),
            Check(
                "pieces on hand",
                sum(needed.values()),
                sum(level.on_hand for level in levels.values()),
            ),
            Check(
                "SKUs with exactly the pieces that are needed",
                len(needed),
                sum(
                    sku in levels
                    and (levels[sku].on_hand, levels[sku].reserved) == (needed[sku], 0)
                    for sku in needed
                ),
            ),
            Check(
                "SKUs that shoppers see at the right price and stock",
                len(wanted),
                sum(seen.get(sku) == item for sku, item in wanted.items()),
            ),
        ),
        {
            "invoices": len(orders.invoices),
            "sellable lines": orders.sellable_lines,
            "skipped": {reason.value: count for reason, count in orders.skipped.items() if count},
        },
    )


async def _seen_by_cart(stage: Stage, wanted: Mapping[str, Item]) -> Mapping[str, Item]:
    bar = stage.screen.bar("SKUs that the cart knows of", len(wanted))
    window = Window(stage.shop, stage.settings, list(wanted))

    def complete(seen: Mapping[str, Item]) -> bool:
        bar.show(sum(seen.get(sku) == item for sku, item in wanted.items()))
        return seen == wanted

    seen = await settled(window.look, complete, stage.settings)
    await window.close()
    return seen


def _by_rows(products: Sequence[Product], most: int) -> Iterator[list[Product]]:
    """Products in order, at most so many variants at a time, a product never divided."""
    chunk: list[Product] = []
    rows = 0
    for product in products:
        if chunk and rows + len(product.variants) > most:
            yield chunk
            chunk, rows = [], 0
        chunk.append(product)
        rows += len(product.variants)
    if chunk:
        yield chunk


def _chunks(pieces: Mapping[str, int], most: int) -> Iterator[dict[str, int]]:
    remaining = iter(pieces.items())
    while chunk := dict(islice(remaining, most)):
        yield chunk
