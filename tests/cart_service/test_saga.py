"""The saga's messages: each takes effect once, in whatever order and number they come."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from asyncpg import LockNotAvailableError

from cart_service.domain.pricing import priced_line
from cart_service.handlers.saga import SagaHandler
from cart_service.store.carts import Contents
from contracts.ids import new_id
from contracts.messages.cart import (
    CartChanged,
    CartClosed,
    CartUnlocked,
    CheckoutAccepted,
    CloseCart,
    LinesRestored,
    RestoreLines,
    UnlockCart,
)
from contracts.messages.order import StartCheckout
from contracts.messages.parts import OrderLine, Shortage
from messaging.database import sql
from tests.cart_service.shop import Shop, done, quantities

pytestmark = pytest.mark.integration

Owner = dict[str, str]


def id_of(path: str) -> UUID:
    return UUID(path.split("/")[-1])


async def locked(shop: Shop, owner: Owner | None = None, **pieces: int) -> tuple[str, Owner, UUID]:
    """A cart with these quantities, locked by a checkout."""
    pieces = pieces or {"a": 2}
    await shop.offers(dict.fromkeys(pieces, 100))
    path, owner = await shop.filled(pieces, owner)
    return path, owner, await shop.checked_out(path, owner)


async def bought(shop: Shop, owner: Owner | None = None, **pieces: int) -> tuple[str, Owner, UUID]:
    """A cart with these quantities, closed because its order exists."""
    path, owner, checkout_id = await locked(shop, owner, **pieces)
    await shop.receive(close(path, checkout_id))
    return path, owner, checkout_id


def accept(path: str, checkout_id: UUID) -> CheckoutAccepted:
    return CheckoutAccepted(checkout_id=checkout_id, cart_id=id_of(path))


def unlock(path: str, checkout_id: UUID, *shortages: Shortage) -> UnlockCart:
    return UnlockCart(
        checkout_id=checkout_id, cart_id=id_of(path), reason="out_of_stock", shortages=shortages
    )


def close(path: str, checkout_id: UUID) -> CloseCart:
    return CloseCart(checkout_id=checkout_id, cart_id=id_of(path), order_id=new_id())


def restore(path: str, checkout_id: UUID, *lines: OrderLine) -> RestoreLines:
    return RestoreLines(
        checkout_id=checkout_id,
        cart_id=id_of(path),
        currency="GBP",
        lines=lines or (priced_line("a", "Name of a", 2, 100),),
    )


async def state(shop: Shop, path: str) -> tuple[Any, ...]:
    """What a message could change of a cart."""
    (row,) = await shop.rows(
        "SELECT status, version, event_seq, checkout_id, start_due_at, failure FROM carts"
        " WHERE cart_id = :cart_id",
        cart_id=id_of(path),
    )
    return row


async def reply_ids(shop: Shop, kind: type[Any]) -> Sequence[UUID]:
    rows = await shop.rows(
        "SELECT message_id FROM outbox WHERE type = :type ORDER BY id", type=kind.type
    )
    return [row[0] for row in rows]


async def assert_events_are_gapless(shop: Shop) -> None:
    seen: dict[UUID, list[int]] = {}
    for each in await shop.sent(CartChanged):
        seen.setdefault(each.cart_id, []).append(each.event_seq)
    stored = await shop.rows("SELECT cart_id, event_seq FROM carts")
    assert seen == {cart_id: list(range(1, last + 1)) for cart_id, last in stored}


class TestAccepted:
    async def test_the_command_is_kept_until_it_is_accepted(self, shop: Shop) -> None:
        path, _, checkout_id = await locked(shop)
        ((command, due_at),) = await shop.rows("SELECT start_command, start_due_at FROM carts")
        assert StartCheckout.model_validate_json(command).checkout_id == checkout_id
        assert due_at is not None

        await shop.receive(accept(path, checkout_id))

        kept = await shop.rows("SELECT status, start_command, start_due_at, start_sends FROM carts")
        assert kept == [("locked", None, None, None)]

    async def test_late_doubled_and_foreign_ones_change_nothing(self, shop: Shop) -> None:
        path, _, checkout_id = await locked(shop)
        before = await state(shop, path)

        await shop.receive(accept(path, new_id()), accept("/carts/" + str(new_id()), checkout_id))
        assert await state(shop, path) == before

        await shop.receive(close(path, checkout_id))
        before = await state(shop, path)
        await shop.receive(accept(path, checkout_id), accept(path, checkout_id))
        assert await state(shop, path) == before


class TestUnlock:
    async def test_gives_the_cart_back_and_answers(self, shop: Shop) -> None:
        path, owner, checkout_id = await locked(shop)

        await shop.receive(unlock(path, checkout_id, Shortage(sku="a", requested=2, available=0)))

        cart = await shop.show(path, owner)
        assert (cart["status"], quantities(cart)) == ("active", {"a": 2})
        assert cart["checkout"]["shortages"][0]["available"] == 0
        (reply,) = await shop.sent(CartUnlocked)
        assert (reply.checkout_id, reply.cart_id, reply.round) == (checkout_id, id_of(path), 1)
        await assert_events_are_gapless(shop)

    async def test_stops_the_sending_of_a_checkout_that_was_never_accepted(
        self, shop: Shop
    ) -> None:
        path, _, checkout_id = await locked(shop)

        await shop.receive(unlock(path, checkout_id))

        assert await shop.rows("SELECT start_command, start_due_at FROM carts") == [(None, None)]

    async def test_sent_again_it_is_answered_under_the_first_id_without_effect(
        self, shop: Shop
    ) -> None:
        path, owner, checkout_id = await locked(shop)
        await shop.receive(unlock(path, checkout_id))
        again = await shop.checked_out(path, owner)
        before = await state(shop, path)

        await shop.receive(unlock(path, checkout_id), unlock(path, checkout_id))

        assert await state(shop, path) == before
        assert before[3] == again
        assert len(set(await reply_ids(shop, CartUnlocked))) == 1
        assert len(await reply_ids(shop, CartUnlocked)) == 3

    async def test_even_when_the_recorded_reply_is_gone_another_checkout_is_left_alone(
        self, shop: Shop
    ) -> None:
        path, owner, checkout_id = await locked(shop)
        await shop.receive(unlock(path, checkout_id))
        await shop.checked_out(path, owner)
        before = await state(shop, path)
        async with shop.service.database.transaction() as connection:
            await connection.execute(sql("DELETE FROM recorded_replies"))

        await shop.receive(unlock(path, checkout_id))

        assert await state(shop, path) == before

    async def test_the_same_record_twice_is_one(self, shop: Shop) -> None:
        path, _, checkout_id = await locked(shop)
        message, message_id = unlock(path, checkout_id), new_id()

        for _ in range(2):
            await shop.receive(message, ids=[message_id])

        assert len(await shop.sent(CartUnlocked)) == 1

    async def test_an_unknown_cart_or_checkout_is_answered(self, shop: Shop) -> None:
        path, _, _ = await locked(shop)
        before = await state(shop, path)
        nowhere = f"/carts/{new_id()}"

        await shop.receive(unlock(nowhere, new_id()), unlock(path, new_id()))

        assert [reply.cart_id for reply in await shop.sent(CartUnlocked)] == [
            id_of(nowhere),
            id_of(path),
        ]
        assert await state(shop, path) == before

    async def test_where_the_customer_went_on_the_lines_go_into_the_other_cart(
        self, shop: Shop
    ) -> None:
        ada = shop.customer("ada")
        path, _, checkout_id = await locked(shop, ada, a=2, b=1)
        other, _ = await shop.filled({"a": 1}, ada)

        await shop.receive(unlock(path, checkout_id, Shortage(sku="b", requested=1, available=0)))

        merged, cart = await shop.show(path, ada), await shop.show(other, ada)
        assert (merged["status"], merged["merged_into"]) == ("closed", cart["cart_id"])
        assert (cart["status"], quantities(cart)) == ("active", {"a": 3, "b": 1})
        assert cart["checkout"]["shortages"] == [{"sku": "b", "requested": 1, "available": 0}]
        assert len(await shop.sent(CartUnlocked)) == 1
        refused = await shop.send("DELETE", f"{path}/lines", who=ada)
        assert refused.json()["merged_into"] == cart["cart_id"]
        await assert_events_are_gapless(shop)

    async def test_two_locked_carts_of_a_customer_become_one_in_one_batch(self, shop: Shop) -> None:
        ada = shop.customer("ada")
        first, _, first_checkout = await locked(shop, ada, a=2)
        second, _, second_checkout = await locked(shop, ada, b=1)

        await shop.receive_at_the_first_attempt(
            unlock(second, second_checkout), unlock(first, first_checkout)
        )

        assert (await shop.show(first, ada))["merged_into"] == str(id_of(second))
        assert quantities(await shop.show(second, ada)) == {"b": 1, "a": 2}
        await assert_events_are_gapless(shop)

    async def test_opening_a_cart_at_the_same_moment_leaves_one_active(self, shop: Shop) -> None:
        for n in range(10):
            ada = shop.customer(f"ada-{n}")
            path, _, checkout_id = await locked(shop, ada)

            opened, _ = await asyncio.gather(
                shop.open(ada), shop.receive(unlock(path, checkout_id))
            )

            carts = {each: await shop.show(each, ada) for each in {path, opened[0]}}
            active = [cart for cart in carts.values() if cart["status"] == "active"]
            assert [quantities(cart) for cart in active] == [{"a": 2}]
        await assert_events_are_gapless(shop)
        assert await shop.rows("SELECT count(*) FROM dead_letters") == [(0,)]


class TestClose:
    async def test_ends_the_cart_and_answers(self, shop: Shop) -> None:
        path, owner, checkout_id = await locked(shop)

        await shop.receive(accept(path, checkout_id), close(path, checkout_id))

        cart = await shop.show(path, owner)
        assert (cart["status"], cart["checkout"]["status"]) == ("closed", "completed")
        (reply,) = await shop.sent(CartClosed)
        assert (reply.checkout_id, reply.cart_id) == (checkout_id, id_of(path))
        await assert_events_are_gapless(shop)

    async def test_sent_again_or_for_another_checkout_it_is_only_answered(self, shop: Shop) -> None:
        path, _, checkout_id = await locked(shop)
        before = await state(shop, path)
        await shop.receive(close(path, new_id()), close(f"/carts/{new_id()}", new_id()))
        assert await state(shop, path) == before

        await shop.receive(close(path, checkout_id))
        before = await state(shop, path)
        await shop.receive(close(path, checkout_id), unlock(path, checkout_id))

        assert await state(shop, path) == before
        assert len(await reply_ids(shop, CartClosed)) == 4
        assert len(set(await reply_ids(shop, CartClosed))) == 3

    async def test_a_closed_cart_makes_room_for_another(self, shop: Shop) -> None:
        ada = shop.customer("ada")
        path, _, checkout_id = await locked(shop, ada)

        await shop.receive(close(path, checkout_id))

        assert (await shop.open(ada))[0] != path


class TestRestore:
    async def test_a_guest_finds_the_lines_in_a_new_cart_under_the_same_token(
        self, shop: Shop
    ) -> None:
        path, owner, checkout_id = await bought(shop)

        await shop.receive(restore(path, checkout_id))

        (reply,) = await shop.sent(LinesRestored)
        newest = done(await shop.http.get("/carts?limit=1", headers=owner))["items"][0]
        assert newest["cart_id"] == str(reply.cart_id) != str(id_of(path))
        cart = await shop.show(f"/carts/{reply.cart_id}", owner)
        assert (cart["status"], quantities(cart)) == ("active", {"a": 2})
        assert cart["lines"][0]["added_price_minor"] == 100
        assert await shop.checked_out(f"/carts/{reply.cart_id}", owner)
        await assert_events_are_gapless(shop)

    async def test_a_customer_finds_them_in_their_active_cart(self, shop: Shop) -> None:
        ada = shop.customer("ada")
        path, _, checkout_id = await bought(shop, ada)
        active, _ = await shop.filled({"a": 1}, ada)

        await shop.receive(restore(path, checkout_id, priced_line("a", "A", 2, 100)))

        assert quantities(await shop.show(active, ada)) == {"a": 3}
        (reply,) = await shop.sent(LinesRestored)
        assert reply.cart_id == id_of(active)
        await assert_events_are_gapless(shop)

    async def test_or_in_one_that_is_made_for_them(self, shop: Shop) -> None:
        ada = shop.customer("ada")
        path, _, checkout_id = await bought(shop, ada)

        await shop.receive(restore(path, checkout_id))

        (reply,) = await shop.sent(LinesRestored)
        assert quantities(await shop.show(f"/carts/{reply.cart_id}", ada)) == {"a": 2}
        assert (await shop.open(ada))[0] == f"/carts/{reply.cart_id}"
        await assert_events_are_gapless(shop)

    async def test_while_another_checkout_of_theirs_runs_it_is_left_alone(self, shop: Shop) -> None:
        ada = shop.customer("ada")
        path, _, checkout_id = await bought(shop, ada)
        other, _, _ = await locked(shop, ada, b=1)
        before = await state(shop, other)

        await shop.receive(restore(path, checkout_id))

        assert await state(shop, other) == before
        (reply,) = await shop.sent(LinesRestored)
        assert quantities(await shop.show(f"/carts/{reply.cart_id}", ada)) == {"a": 2}

    async def test_they_come_back_once_however_often_it_is_asked(self, shop: Shop) -> None:
        path, owner, checkout_id = await bought(shop)
        message = restore(path, checkout_id)

        await shop.receive(message, message)
        await shop.receive(message)
        async with shop.service.database.transaction() as connection:
            await connection.execute(sql("DELETE FROM recorded_replies"))
        await shop.receive(message)

        replies = await shop.sent(LinesRestored)
        assert len(replies) == 4
        (cart_id,) = {reply.cart_id for reply in replies}
        assert quantities(await shop.show(f"/carts/{cart_id}", owner)) == {"a": 2}
        assert await shop.rows("SELECT count(*) FROM carts") == [(2,)]

    async def test_several_checkouts_of_a_customer_come_back_into_one_cart(
        self, shop: Shop
    ) -> None:
        ada = shop.customer("ada")
        first, _, first_checkout = await bought(shop, ada)
        second, _, second_checkout = await bought(shop, ada)
        third, _, third_checkout = await locked(shop, ada, b=4)

        await shop.receive_at_the_first_attempt(
            restore(first, first_checkout),
            restore(second, second_checkout),
            unlock(third, third_checkout),
        )

        (cart_id,) = {reply.cart_id for reply in await shop.sent(LinesRestored)}
        assert quantities(await shop.show(f"/carts/{cart_id}", ada)) == {"a": 4, "b": 4}
        assert (await shop.show(third, ada))["merged_into"] == str(cart_id)
        await assert_events_are_gapless(shop)

    async def test_what_does_not_fit_is_shown_in_the_cart(self, cart_database: str) -> None:
        shop = Shop(cart_database, max_lines=2, max_pieces_per_line=5)
        await shop.empty()
        ada = shop.customer("ada")
        path, _, checkout_id = await bought(shop, ada, a=4, b=1)
        active, _ = await shop.filled({"a": 3}, ada)
        lines = [priced_line(sku, sku, n, 100) for n, sku in enumerate("abc", 4)]

        await shop.receive(restore(path, checkout_id, *lines))

        cart = await shop.show(active, ada)
        assert quantities(cart) == {"a": 5, "b": 5}
        assert [(each["sku"], each["quantity"], each["reason"]) for each in cart["left_out"]] == [
            ("a", 2, "too_many_pieces"),
            ("c", 6, "too_many_lines"),
        ]
        assert {each["checkout_id"] for each in cart["left_out"]} == {str(checkout_id)}
        await shop.close()

    async def test_a_cart_that_was_never_ours_is_answered(self, shop: Shop) -> None:
        nowhere = f"/carts/{new_id()}"

        await shop.receive(restore(nowhere, new_id()))

        assert [reply.cart_id for reply in await shop.sent(LinesRestored)] == [id_of(nowhere)]
        assert await shop.rows("SELECT count(*) FROM carts") == [(0,)]

    async def test_opening_a_cart_at_the_same_moment_leaves_one_active(self, shop: Shop) -> None:
        for n in range(10):
            ada = shop.customer(f"ada-{n}")
            path, _, checkout_id = await bought(shop, ada)

            opened, _ = await asyncio.gather(
                shop.open(ada), shop.receive(restore(path, checkout_id))
            )

            assert quantities(await shop.show(opened[0], ada)) == {"a": 2}
        assert await shop.rows("SELECT count(*) FROM dead_letters") == [(0,)]
        await assert_events_are_gapless(shop)


async def is_locked(shop: Shop, path: str) -> bool:
    try:
        await shop.rows(
            "SELECT 1 FROM carts WHERE cart_id = :cart_id FOR UPDATE NOWAIT", cart_id=id_of(path)
        )
    except LockNotAvailableError:
        return True
    return False


class TestLocks:
    async def test_the_cart_and_the_one_that_lines_may_go_into_are_locked_first(
        self, shop: Shop
    ) -> None:
        ada = shop.customer("ada")
        path, _, checkout_id = await bought(shop, ada)
        active, _ = await shop.open(ada)
        unconcerned, _ = await shop.open(ada, "EUR")
        handler = SagaHandler(shop.settings.limits, shop.settings.payment_providers)

        async with shop.service.database.transaction() as connection:
            await handler.lock(connection, [restore(path, checkout_id)])

            assert await is_locked(shop, path)
            assert await is_locked(shop, active)
            assert not await is_locked(shop, unconcerned)

    async def test_one_that_becomes_active_in_between_is_locked_before_it_is_read(
        self, shop: Shop
    ) -> None:
        ada = shop.customer("ada")
        path, _, checkout_id = await bought(shop, ada)
        message = restore(path, checkout_id)
        handler = SagaHandler(shop.settings.limits, shop.settings.payment_providers)

        async with shop.service.database.transaction() as connection:
            await handler.lock(connection, [message])
            active, _ = await shop.filled({"a": 3}, ada)
            rows = await handler.load(connection, [message])

            assert await is_locked(shop, active)
            assert rows.get(Contents, id_of(active)).lines["a"].quantity == 3

    async def test_no_piece_is_lost_between_shopper_and_saga(self, shop: Shop) -> None:
        ada = shop.customer("ada")
        held = [await bought(shop, ada) for _ in range(5)]
        active, _ = await shop.open(ada)

        await asyncio.gather(
            *(shop.add(active, ada, {"a": 1}) for _ in range(15)),
            *(shop.receive(restore(path, checkout_id)) for path, _, checkout_id in held),
        )

        assert quantities(await shop.show(active, ada)) == {"a": 25}


async def test_a_batch_of_many_checkouts_takes_as_many_statements_as_one(shop: Shop) -> None:
    async def statements_for(count: int) -> int:
        held = [await locked(shop) for _ in range(count)]
        messages = [
            (accept if n % 2 else unlock if n % 4 else close)(path, checkout_id)
            for n, (path, _, checkout_id) in enumerate(held * 2)
        ]
        shop.statements.clear()
        await shop.receive(*messages)
        return len(shop.statements)

    assert await statements_for(4) == await statements_for(24)
