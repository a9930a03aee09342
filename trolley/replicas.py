"""The replicas of a service, as a load balancer sees them: in turn, but for those that fail."""

import time
from collections.abc import Callable
from itertools import count


class Replicas:
    """Says which address of a service to ask next; one that failed is left out for a while.

    When all of them failed lately they are asked in turn all the same.
    """

    def __init__(
        self,
        urls: tuple[str, ...],
        *,
        avoided_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._urls = urls
        self._avoided_seconds = avoided_seconds
        self._clock = clock
        self._turn = count()
        self._avoided_until = dict.fromkeys(urls, float("-inf"))

    def next(self) -> str:
        """The address for the next request."""
        now = self._clock()
        sound = [url for url in self._urls if self._avoided_until[url] <= now]
        among = sound or self._urls
        return among[next(self._turn) % len(among)]

    def failed(self, url: str) -> None:
        """A request to this address was lost, or put off."""
        self._avoided_until[url] = self._clock() + self._avoided_seconds
