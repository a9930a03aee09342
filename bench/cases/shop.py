"""Whole shoppers over HTTP, as a shop meets them: all their requests, and every answer checked."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bench.case import Case, Session
from bench.dissection import CHECKOUT_BODY
from bench.load import as_answered
from bench.meter import Meter, quantiles, waits
from bench.pipeline import CURRENCY, LINES, PRICE_MINOR, SKUS, pipeline
from bench.progress import WrongState
from bench.report import Figure, Goal, Turn
from bench.requests import Connection, connections, put_off

FOLLOW_SECONDS = 0.02
"""How long a shopper waits before looking again whether the order is paid."""
MORE = 2
"""Pieces of the line that the shopper changes."""
TOTAL_MINOR = (LINES - 1 + MORE) * PRICE_MINOR

Pair = tuple[Connection, Connection]
"""A shopper's connections to the carts and to the orders."""


async def _turn(session: Session) -> Turn:
    settings = session.settings
    async with pipeline() as services:
        await services.offer(SKUS)
        carts, orders = services.runtime.url("cart"), services.runtime.url("order")
        async with (
            connections(carts, settings.shoppers) as to_carts,
            connections(orders, settings.shoppers) as to_orders,
        ):
            pairs = list(zip(to_carts, to_orders, strict=True))
            warm = await as_answered(pairs, _shop, settings.warm_seconds)
            meter = Meter(services.processes)
            load = await as_answered(pairs, _shop, settings.measured_seconds)
            figures = [*meter.load(len(load.waits), "a checkout"), *meter.memory()]
            figures.append(put_off([*to_carts, *to_orders]))
        await services.settle({"paid": len(warm.waits) + len(load.waits)})
    return meter.turn(
        [
            Figure("checkouts a second", "1/s", load.per_second),
            *waits("a whole shopper", load.waits),
            *figures,
        ],
        {"a whole shopper": quantiles(load.waits)},
    )


async def _shop(pair: Pair, number: int) -> None:
    """Opens a cart, adds lines one by one, changes one, looks, checks out, follows to paid."""
    carts, orders = pair
    opened = (await carts.ask("POST", "/carts", body={"currency": CURRENCY})).expect(201)
    token, path = opened["cart_token"], f"/carts/{opened['cart_id']}"
    wanted = [SKUS[(number * LINES + line) % len(SKUS)] for line in range(LINES)]
    for sku in wanted:
        body = {"sku": sku, "quantity": 1}
        cart = (await carts.ask("POST", f"{path}/lines", token=token, body=body)).expect(200)
    _check(cart, dict.fromkeys(wanted, 1))
    first = f"{path}/lines/{cart['lines'][0]['line_no']}"
    changed = {**dict.fromkeys(wanted, 1), cart["lines"][0]["sku"]: MORE}
    answer = await carts.ask("PATCH", first, token=token, body={"quantity": MORE})
    _check(answer.expect(200), changed)
    _check((await carts.ask("GET", path, token=token)).expect(200), changed)
    answer = await carts.ask("POST", f"{path}/checkout", token=token, body=CHECKOUT_BODY)
    checkout = answer.expect(202)
    if checkout["total_minor"] != TOTAL_MINOR:
        raise WrongState(f"a total of {checkout['total_minor']} instead of {TOTAL_MINOR}")
    await _follow(orders, checkout["status_url"])


async def _follow(orders: Connection, status_url: str) -> None:
    url = urlsplit(status_url)
    path = f"{url.path}?{url.query}" if url.query else url.path
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        status = (await orders.ask("GET", path)).expect(200)
        if status["state"] == "paid":
            return
        if status["final"]:
            raise WrongState(f"a checkout ended as {status['state']}")


def _check(cart: Mapping[str, Any], pieces: Mapping[str, int]) -> None:
    found = {line["sku"]: line["quantity"] for line in cart["lines"]}
    if found != pieces:
        raise WrongState(f"a cart has {found} instead of {pieces}")


SHOP = Case(
    "shop",
    "Whole shoppers over HTTP: create a cart, add three lines one call each, change one, view it, "
    f"check out, and look every {1e3 * FOLLOW_SECONDS:g} ms until the order is paid. Every answer "
    "is checked. The only case that may be compared with a shop, with the same calls, checks and "
    "client.",
    _turn,
    goals=(Goal("checkouts a second", at_least=300),),
)
