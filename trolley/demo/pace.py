"""When to look again: most looks at something unfinished are work for nothing."""

FIRST_LOOK = 0.7
NEXT_LOOK = 0.2
"""Parts of the usual time: after the first look hardly anything is over, soon after it most is."""

NEWEST = 0.3
"""How much the newest time counts against those before."""


class Pace:
    """How long checkouts take at present, learnt from those that ended."""

    def __init__(self, expected_seconds: float, *, shortest: float, longest: float) -> None:
        self.usual_seconds = expected_seconds
        self._shortest = shortest
        self._longest = longest

    def ended(self, seconds: float) -> None:
        """One more took so long."""
        self.usual_seconds += NEWEST * (seconds - self.usual_seconds)

    def first_wait(self) -> float:
        """Seconds until a first look is worth it."""
        return self._bounded(FIRST_LOOK * self.usual_seconds)

    def next_wait(self) -> float:
        """Seconds until another look is worth it."""
        return self._bounded(NEXT_LOOK * self.usual_seconds)

    def _bounded(self, seconds: float) -> float:
        return min(max(seconds, self._shortest), self._longest)
