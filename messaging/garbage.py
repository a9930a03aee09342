"""How often a process looks for garbage: cycles that nobody holds any more."""

import gc

GARBAGE_AFTER = (100_000, 20, 20)
"""Objects that are made and kept before Python looks for cycles among the young, and how many such
looks lead to one among the older, and of those among all. Bounds what cycles may hold meanwhile."""


def look_for_garbage_seldom() -> None:
    """A batch keeps thousands of objects until its commit, and none of them is garbage.

    Python would look through them, and everything else, again and again: that was up to half of
    what a batch took (decision 102). What was imported is never looked at.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_AFTER)
