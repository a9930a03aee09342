"""How fast this machine is just now: a fixed loop of Python, to stand beside every figure."""

import time

_ROUNDS = 2_000_000


def spin_seconds() -> float:
    """Seconds that the loop took."""
    began, total = time.perf_counter(), 0
    for number in range(_ROUNDS):
        total += number & 7
    return time.perf_counter() - began
