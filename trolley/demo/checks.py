"""What an act says of itself: figures that were expected, and those that were found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Figure = int | str


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison. It names what was counted, so that a count of nothing is seen as one."""

    what: str
    expected: Figure
    found: Figure
    at_least: bool = False
    """More than expected is as good; both are numbers then."""

    @property
    def held(self) -> bool:
        """Whether what was found is what was expected."""
        if self.at_least and isinstance(self.found, int) and isinstance(self.expected, int):
            return self.found >= self.expected
        return self.found == self.expected

    @property
    def expectation(self) -> str:
        """The expected figure in words."""
        shown = f"{self.expected:,}" if isinstance(self.expected, int) else self.expected
        return f"at least {shown}" if self.at_least else shown

    @property
    def finding(self) -> str:
        """The found figure in words."""
        return f"{self.found:,}" if isinstance(self.found, int) else self.found

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "check": self.what,
            "expected": self.expected,
            "at_least": self.at_least,
            "found": self.found,
            "held": self.held,
        }


@dataclass(frozen=True, slots=True)
class Act:
    """How one act went. Without a single check it did not succeed: it showed nothing."""

    number: int
    title: str
    checks: tuple[Check, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What else is worth knowing; nothing is expected of it."""
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Whether there are checks, and all of them held."""
        return bool(self.checks) and all(check.held for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "act": self.number,
            "title": self.title,
            "held": self.held,
            "expected": {check.what: check.expected for check in self.checks},
            "found": {check.what: check.found for check in self.checks},
            "checks": [check.as_json() for check in self.checks],
            "figures": dict(self.figures),
            "seconds": round(self.seconds, 3),
        }
