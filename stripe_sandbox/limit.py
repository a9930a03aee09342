"""How many requests are taken within a second.

Source: Stripe documentation, "Rate limits": requests per second and account, and 429 above. How
Stripe counts a second is not told; here it is any second, which no other way is stricter than.
"""

import time
from collections import deque

SECOND = 1.0


class Limit:
    """At most `most` requests in any second; None bounds nothing. It counts what it has seen."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._taken_at: deque[float] = deque()
        self.taken = 0
        self.refused = 0

    def takes_one_more(self) -> bool:
        """Whether a request that comes now is taken."""
        if self._most is not None:
            now = time.monotonic()
            while self._taken_at and self._taken_at[0] <= now - SECOND:
                self._taken_at.popleft()
            if len(self._taken_at) >= self._most:
                self.refused += 1
                return False
            self._taken_at.append(now)
        self.taken += 1
        return True
