"""What `expand` asks for: objects in place of their ids, and lists that an answer has on demand.

Source: Stripe API reference, "Expanding responses".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from stripe_sandbox.database import Object, Transaction
from stripe_sandbox.errors import InvalidRequest

DEEPEST = 4
"""Levels of a path, `data` of a list aside."""

EXPANDABLE = frozenset(
    {
        *("balance_transaction", "charge", "customer", "default_payment_method", "default_price"),
        *("dispute", "failure_balance_transaction", "latest_attempt", "latest_charge"),
        *("payment_intent", "payment_link", "payment_method", "price", "product", "refund"),
        *("setup_intent", "source"),
    }
)
"""Fields that hold an id of an object."""

ONLY_IDS = frozenset({("charge", "payment_method")})
"""Fields of these names that stay ids, by kind of object."""

Includes: TypeAlias = Mapping[tuple[str, str], Callable[[Transaction, Object], Object]]
"""Makes a field that is there on demand, by kind of object and name: a charge's `refunds`."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """What an answer is expanded from."""

    transaction: Transaction
    includes: Includes

    def __call__(self, answer: Object, paths: Iterable[str]) -> Object:
        """The answer with what the paths ask for. Raises InvalidRequest."""
        for path in paths:
            names = path.split(".")
            if names[0] == "data" and answer.get("object") in {"list", "search_result"}:
                self._expand(answer["data"], names[1:], path)
            else:
                self._expand(answer, names, path)
        return answer

    def _expand(self, one: Any, names: list[str], path: str) -> None:
        if not names or len(names) > DEEPEST:
            raise _not_expandable(path)
        if isinstance(one, list):
            for part in one:
                self._expand(part, names, path)
            return
        name, *rest = names
        value = self._value(one, name, path, is_last=not rest)
        if rest and value is not None:
            if isinstance(value, dict) and value.get("object") == "list" and rest[0] == "data":
                value, rest = value["data"], rest[1:]
            if rest:
                self._expand(value, rest, path)

    def _value(self, one: Any, name: str, path: str, *, is_last: bool) -> Any:
        """What stands under the name, put in place of its id."""
        if not isinstance(one, dict):
            raise _not_expandable(path)
        included = self.includes.get((one.get("object", ""), name))
        if included is not None and name not in one:
            one[name] = included(self.transaction, one)
        if name not in one:
            raise _not_expandable(path)
        value = one[name]
        is_reference = name in EXPANDABLE and (one.get("object"), name) not in ONLY_IDS
        if included is None and not is_reference and (is_last or not _holds_some(value)):
            raise _not_expandable(path)
        if isinstance(value, str):
            found = self.transaction.find(value) or self.transaction.deleted(value)
            if found is None:
                raise _not_expandable(path)
            value = one[name] = found
        return value


def _holds_some(value: Any) -> bool:
    """Whether there may be fields below it that hold ids."""
    return value is None or isinstance(value, dict | list)


def _not_expandable(path: str) -> InvalidRequest:
    return InvalidRequest(f"This cannot be expanded: {path}", param="expand")
