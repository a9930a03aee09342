"""Bounded crowds, and waiting for figures."""

import asyncio

import pytest

from trolley.demo.crowd import crowd, settled
from trolley.demo.settings import DemoSettings


async def test_no_more_are_under_way_than_allowed_and_answers_keep_their_order() -> None:
    inside, most = 0, 0

    async def walk(person: int) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        for _ in range(person % 5):
            await asyncio.sleep(0)
        inside -= 1
        return person * person

    answers = await crowd(range(40), walk, at_once=7)

    assert answers == [person * person for person in range(40)]
    assert most == 7


async def test_the_first_error_ends_the_crowd() -> None:
    left: list[int] = []

    async def walk(person: int) -> None:
        if person == 3:
            raise LookupError(person)
        try:
            await asyncio.Event().wait()
        finally:
            left.append(person)

    with pytest.raises(LookupError):
        await crowd(range(5), walk, at_once=5)

    assert sorted(left) == [0, 1, 2, 4]


async def test_a_figure_is_looked_at_until_it_is_as_wanted() -> None:
    figures = iter(range(10))

    async def figure() -> int:
        return next(figures)

    settings = DemoSettings(settle_poll_seconds=0.001)

    assert await settled(figure, lambda found: found == 4, settings) == 4


async def test_a_figure_that_never_settles_is_told_as_it_is() -> None:
    async def figure() -> int:
        return 3

    settings = DemoSettings(settle_seconds=0.01, settle_poll_seconds=0.001)

    assert await settled(figure, lambda found: found == 4, settings) == 3
