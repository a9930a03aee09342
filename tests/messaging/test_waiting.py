"""Waits have a bound, and a process that stood still is not taken for a server that is away."""

import asyncio

import pytest

from messaging.waiting import answers


class Server:
    """Answers, but for the first `lost` questions."""

    def __init__(self, lost: int) -> None:
        self._lost = lost
        self.asked = 0

    async def ask(self) -> None:
        self.asked += 1
        if self.asked <= self._lost:
            await asyncio.Event().wait()


@pytest.mark.parametrize("lost", [0, 1])
async def test_an_answer_that_was_lost_once_is_asked_for_again(lost: int) -> None:
    server = Server(lost)

    await answers(server.ask, seconds=0.1 if lost else 60)

    assert server.asked == lost + 1


async def test_one_who_never_answers_is_not_waited_for() -> None:
    server = Server(2)

    with pytest.raises(TimeoutError):
        await answers(server.ask, seconds=0.1)


async def test_what_the_server_says_against_it_is_raised_at_once() -> None:
    asked: list[None] = []

    async def refuse() -> None:
        asked.append(None)
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        await answers(refuse)

    assert len(asked) == 1
