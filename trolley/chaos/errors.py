"""Why a chaos run cannot be started; told in one sentence, as all errors of the runtime are."""

from collections.abc import Sequence
from pathlib import Path

from trolley.runtime.errors import RuntimeStartError


class NotOurServers(RuntimeStartError):
    """The environment names servers that somebody else runs."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(
            f"Chaos kills the servers that it runs on, and {', '.join(names)} names others: unset "
            f"it to have chaos start its own."
        )


class HomeNotEmpty(RuntimeStartError):
    """The state directory holds something, which a run would mix with its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        super().__init__(
            f"{home} is not an empty directory, and every checkout found there would have to be "
            f"accounted for: choose a new one with --home or leave it out."
        )
