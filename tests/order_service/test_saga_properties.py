"""Random worlds: whatever is delayed, repeated, interleaved or never answered, the rules hold."""

import os
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.messages.payment import RefundPayment
from order_service.checkout import Lapse, LateSuccess, State
from order_service.exploration import AT_SHIPPING, CARD, CHECKOUT_ID, SHORT_POLICY
from tests.order_service.world import World

FATES = [
    "now-yes",
    "now-no",
    "action-yes",
    "action-no",
    "action-never",
    "processing-yes",
    "processing-no",
    "unknown-yes",
    "unknown-no",
    "authorized-yes",
    "authorized-no",
    "silent-yes",
    "silent-no",
]
"""How an attempt goes on, and how it ends; silence is the answer that never came."""

SAVED = AT_SHIPPING.model_copy(update={"saved_method_id": CHECKOUT_ID})

SERVICES = ["inventory", "payment", "cart"]

WORLDS = settings(
    max_examples=int(os.environ.get("TROLLEY_WORLDS", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)


def world(data: st.DataObject, *, dead: frozenset[str] = frozenset()) -> World:
    late = st.sampled_from(list(LateSuccess))
    policy = replace(
        SHORT_POLICY,
        attempts_limit=4,
        refunds_limit=6,
        success_at_window_close=data.draw(late, "success at window close"),
        success_at_cancel=data.draw(late, "success at cancel"),
        success_after_release=data.draw(late, "success after release"),
        authorization_lapse=data.draw(st.sampled_from(Lapse), "lapse"),
    )
    return World(
        fits=lambda: data.draw(st.sampled_from([True, True, True, False]), "stock fits"),
        fate=lambda: data.draw(st.sampled_from(FATES), "fate"),
        policy=policy,
        paid=data.draw(st.booleans(), "brings a payment"),
        method=data.draw(st.sampled_from([CARD, AT_SHIPPING, SAVED]), "pays by"),
        pieces=data.draw(st.sampled_from([1, 2, 5]), "pieces"),
        dead=dead,
    )


def live_through(world: World, data: st.DataObject, *, most_steps: int = 50) -> None:
    """Things happen, in whatever order."""
    for _ in range(data.draw(st.integers(1, most_steps), "steps")):
        possible = [f"command {name}" for name in SERVICES if world.commands[name]]
        possible += [f"reply {name}" for name in SERVICES if world.replies[name]]
        possible += ["order"] * bool(world.orders)
        if world.checkout is not None:
            possible += ["pay", "replace", "ship", "cancel", "deadline", "backstop", "again"]
            possible += ["news", "news"] * bool(world.seen)
            possible += ["surprise"] * bool(world.over)
        match data.draw(st.sampled_from(possible), "next").split():
            case ["command", service]:
                world.deliver_command(service)
            case ["reply", service]:
                world.deliver_reply(service)
            case ["order"]:
                world.deliver_order()
            case ["pay"]:
                world.pay(replace=False)
            case ["replace"]:
                world.pay(replace=True)
            case ["ship"]:
                world.ship(data.draw(st.sampled_from([0, 0, 1, 2]), "pieces shipped"))
            case ["cancel"]:
                world.cancel()
            case ["deadline"]:
                world.next_deadline()
            case ["backstop"]:
                world.backstop()
            case ["again"]:
                world.repeat(data.draw(st.sampled_from(world.heard), "again"))
            case ["news"]:
                command = data.draw(st.sampled_from(world.seen), "news of")
                if isinstance(command, RefundPayment) and data.draw(st.booleans(), "bank refuses"):
                    world.refund_fails(command)
                else:
                    world.news(command)
            case ["surprise"]:
                world.surprise(data.draw(st.sampled_from(world.over), "money from"))


def books_agree(world: World) -> None:
    """What the saga ended with is what the other services have in their books."""
    checkout, stock, provider = world.checkout, world.stock, world.provider
    assert checkout is not None
    match checkout.state:
        case State.PAID:
            assert provider.kept_minor == checkout.request.total_minor
            assert (stock.sold, stock.held) == (1, 0)
        case State.CANCELLED | State.REJECTED:
            assert provider.kept_minor == 0
            assert (stock.sold, stock.held) == (0, 0)
    assert provider.captured_minor == checkout.captured_minor
    seqs = [event.event_seq for event in world.events]
    assert seqs == list(range(1, len(seqs) + 1))


@WORLDS
@given(st.data())
def test_any_order_of_things_ends_well(data: st.DataObject) -> None:
    it = world(data)
    live_through(it, data)
    end = it.run_to_the_end()
    if end.final:
        books_agree(it)
        assert it.cart.restored <= 1
        assert not it.cart.locked


@WORLDS
@given(st.data())
def test_services_that_never_answer_leave_nothing_unseen(data: st.DataObject) -> None:
    dead = data.draw(st.sets(st.sampled_from(SERVICES), min_size=1), "never answer")
    it = world(data, dead=frozenset(dead))
    live_through(it, data)
    end = it.run_to_the_end()
    assert end.final or end.late or end.state is State.NEEDS_ATTENTION
    if end.final:
        books_agree(it)


@WORLDS
@given(st.data())
def test_attention_is_only_asked_for_where_something_failed(data: st.DataObject) -> None:
    it = world(data)
    it.drain()
    end = it.run_to_the_end()
    assert end.final, end
    books_agree(it)
