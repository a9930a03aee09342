"""StartCheckout is sent again until the saga has taken the checkout over."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from cart_service.sweeper import UNANSWERED, count_unanswered, resend_starts
from contracts.messages.base import Message
from contracts.messages.cart import CheckoutAccepted, CloseCart, UnlockCart
from contracts.messages.order import StartCheckout
from messaging.clock import utc_now
from messaging.database import sql
from tests.cart_service.shop import Shop

pytestmark = pytest.mark.integration


async def sweep(shop: Shop, batch_rows: int = 100) -> int:
    return await resend_starts("cart", shop.settings.terms, batch_rows)(shop.service.database)


async def time_passes(shop: Shop) -> None:
    """All that waits is due."""
    async with shop.service.database.transaction() as connection:
        await connection.execute(
            sql(
                "UPDATE carts SET start_due_at = now() - interval '1 second'"
                " WHERE start_due_at IS NOT NULL"
            )
        )


async def waiting(shop: Shop) -> tuple[datetime, int]:
    ((due_at, sends),) = await shop.rows("SELECT start_due_at, start_sends FROM carts")
    return due_at, sends


async def locked(shop: Shop) -> tuple[UUID, UUID]:
    await shop.offers({"a": 100})
    path, owner = await shop.filled({"a": 1})
    return UUID(path.split("/")[-1]), await shop.checked_out(path, owner)


async def test_nothing_is_sent_before_it_is_due(shop: Shop) -> None:
    await locked(shop)

    assert await sweep(shop) == 0
    assert len(await shop.sent(StartCheckout)) == 1


async def test_what_is_due_is_sent_again_unchanged_under_a_new_id_and_ever_more_slowly(
    shop: Shop,
) -> None:
    await locked(shop)
    waits = []
    for _ in range(3):
        await time_passes(shop)
        before = utc_now()
        assert await sweep(shop) == 1
        waits.append(((await waiting(shop))[0] - before) / timedelta(seconds=1))

    commands = await shop.sent(StartCheckout)
    assert len(commands) == 4
    assert all(command == commands[0] for command in commands)
    ids = await shop.rows("SELECT DISTINCT message_id FROM outbox WHERE step = 'start'")
    assert len(ids) == 4
    assert (await waiting(shop))[1] == 4
    first = shop.settings.start_resend_first_seconds
    assert [round(wait / first) for wait in waits] == [2, 4, 8]


@pytest.mark.parametrize("word", ["accepted", "unlocked", "closed"])
async def test_any_word_of_the_saga_ends_it(shop: Shop, word: str) -> None:
    cart, checkout = await locked(shop)
    words: dict[str, Message] = {
        "accepted": CheckoutAccepted(checkout_id=checkout, cart_id=cart),
        "unlocked": UnlockCart(checkout_id=checkout, cart_id=cart, reason="out_of_stock"),
        "closed": CloseCart(checkout_id=checkout, cart_id=cart, order_id=checkout),
    }
    await shop.receive(words[word])
    await time_passes(shop)

    assert await sweep(shop) == 0


async def test_replicas_at_once_send_each_once_in_bounded_batches(shop: Shop) -> None:
    for _ in range(9):
        await locked(shop)
    await time_passes(shop)

    found = await asyncio.gather(*(sweep(shop, batch_rows=4) for _ in range(3)))

    assert sum(found) + await sweep(shop) == 9
    assert max(found) <= 4
    assert len(await shop.sent(StartCheckout)) == 18
    assert len({command.checkout_id for command in await shop.sent(StartCheckout)}) == 9


async def test_what_is_sent_again_and_again_without_an_answer_is_counted(shop: Shop) -> None:
    cart, checkout = await locked(shop)
    sends = shop.settings.start_unanswered_sends
    counted = []
    for _ in range(sends + 1):
        await count_unanswered(sends)(shop.service.database)
        counted.append(UNANSWERED._value.get())
        await time_passes(shop)
        await sweep(shop)
    assert counted == [0] * sends + [1]

    await shop.receive(CheckoutAccepted(checkout_id=checkout, cart_id=cart))
    await count_unanswered(sends)(shop.service.database)

    assert UNANSWERED._value.get() == 0
