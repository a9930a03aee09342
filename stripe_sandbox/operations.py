"""What an operation is: a function of the state and the checked request, with what it heeds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest, NotSimulated
from stripe_sandbox.parameters import METADATA_KEYS

Params: TypeAlias = Mapping[str, Any]
"""The parameters of a request, checked and of their types; one that was given as "" is None."""

Ids: TypeAlias = Mapping[str, str]
"""What stands for the names in a path template."""

Run: TypeAlias = Callable[[Transaction, Ids, Params], Object]


@dataclass(frozen=True, slots=True)
class Operation:
    """`heeds` names the parameters it acts on, nested ones with dots, each with all it holds.

    A field of the objects in a list is named like one of an object: `line_items.quantity`.
    """

    run: Run
    heeds: frozenset[str]

    def __call__(self, transaction: Transaction, ids: Ids, params: Params) -> Object:
        """Carry it out, with parameters that were checked. Raises ApiError."""
        return self.run(transaction, ids, params)

    def check(self, params: Params) -> None:
        """Raises NotSimulated for what it would not heed."""
        for name, value in params.items():
            if name not in EVERYWHERE:
                self._check(name, name, value)

    def _check(self, path: str, param: str, value: Any) -> None:
        if path in self.heeds:
            return
        if not any(one.startswith(f"{path}.") for one in self.heeds):
            raise NotSimulated(param)
        if isinstance(value, list):
            for place, element in enumerate(value):
                self._check(path, f"{param}[{place}]", element)
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                self._check(f"{path}.{name}", f"{param}[{name}]", inner)
        else:
            raise NotSimulated(param)


EVERYWHERE = frozenset({"expand"})
"""Heeded by the server for every operation."""


def heeding(run: Run, *heeds: str) -> Operation:
    """An operation that acts on these parameters."""
    return Operation(run, frozenset(heeds))


def merged_metadata(before: Mapping[str, str] | None, given: Mapping[str, str] | None) -> Object:
    """Metadata with what is given in place of what was; a value of "" takes a key away.

    Raises InvalidRequest where it becomes too much.
    """
    if given is None:  # all of it was unset
        return {}
    merged = {name: value for name, value in {**(before or {}), **given}.items() if value}
    if len(merged) > METADATA_KEYS:
        raise InvalidRequest(f"Metadata has at most {METADATA_KEYS} keys", param="metadata")
    return merged


LISTED = ("limit", "starting_after", "ending_before", "created")
"""What every list heeds."""
