"""Draws the states of attempts and refunds: `python -m payment_service.diagram`.

The pictures go into docs/payments.md, between the marks there. Nothing here knows a transition:
all are found by trying every message and every answer on every payment (`exploration.py`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import get_args

from payment_service.domain.outcomes import (
    NAMES,
    AttemptState,
    NotDue,
    Refunded,
    RefundFailed,
    RefundProgress,
    SettledPayment,
    State,
    Succeeded,
)
from payment_service.domain.payment import LIVE, OperationKind, Payment
from payment_service.exploration import Answer, Move, Told, attempts, refunds

PAGE = Path(__file__).parent.parent / "docs" / "payments.md"
ATTEMPTS = ("<!-- attempts -->", "<!-- /attempts -->")
REFUNDS = ("<!-- refunds -->", "<!-- /refunds -->")

NOWHERE = "[*]"
WITHDRAWN = "withdrawn"
"""A charge that nobody has called, because its provider is away."""

Transitions = Mapping[tuple[str, str], set[str]]
"""(state before, state after) -> what leads from one to the other."""


def _names(kinds: Iterable[type[State]]) -> tuple[str, ...]:
    return tuple(NAMES[kind] for kind in kinds)


LIVE_STATES = _names(LIVE)
"""Drawn as one box: from all of them much the same leads to the same places."""

ATTEMPT_STATES = (
    *LIVE_STATES,
    *(name for name in _names(get_args(AttemptState)) if name not in LIVE_STATES),
)
REFUND_STATES = _names(get_args(RefundProgress))
UNPAID = tuple(name for name in _names(get_args(SettledPayment)) if name != NAMES[Succeeded])
"""Ended, and no money came."""


@cache
def of_attempts() -> Transitions:
    """All transitions of an attempt."""
    return _transitions(attempts(), lambda payment: [one.state for one in payment.attempts])


@cache
def of_refunds() -> Transitions:
    """All transitions of a refund."""
    return _transitions(refunds(), lambda payment: [one.state for one in payment.refunds])


def with_pictures(text: str) -> str:
    """The text with the pictures between their marks. Raises `ValueError` without marks."""
    text = _between(ATTEMPTS, text, [*_picture_of_attempts(), *_table(of_attempts())])
    return _between(REFUNDS, text, _picture_of_refunds())


def _transitions(
    moves: Iterable[Move], states: Callable[[Payment], Sequence[State]]
) -> Transitions:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for move in moves:
        before, after = (_name(states(payment)) for payment in (move.before, move.after))
        if before != after:
            found[before, after].add(_label(move.told))
    return found


def _name(states: Sequence[State]) -> str:
    """The name of the one state there is, if it is there already."""
    return NAMES[type(states[0])] if states else NOWHERE


def _label(told: Told) -> str:
    if not isinstance(told, Answer):
        return type(told).__name__
    is_charge = told.operation.kind is OperationKind.CHARGE
    return WITHDRAWN if is_charge and not told.operation.was_called else told.operation.kind.value


def _between(marks: tuple[str, str], text: str, lines: Iterable[str]) -> str:
    begin, end = marks
    before, after = text.index(begin) + len(begin), text.index(end)
    return "\n".join([text[:before], *lines, text[after:]])


def _picture_of_attempts() -> Iterator[str]:
    """Without what was found open at the provider after it had ended here: the table has it."""
    shown = {
        edge: labels
        for edge, labels in of_attempts().items()
        if edge[0] not in UNPAID or edge[1] == NAMES[Succeeded]
    }
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield '    state "the attempt is live" as live {'
    for (before, after), labels in sorted(shown.items()):
        if before in LIVE_STATES and after in LIVE_STATES:
            yield f"    {_arrow(before, after, labels)}"
    yield "    }"
    for (before, after), labels in sorted(_with_box(shown).items()):
        yield _arrow(before, after, labels)
    for name in (*UNPAID, NAMES[Succeeded], NAMES[NotDue]):
        yield f"    {name} --> {NOWHERE}"
    yield "```"


def _with_box(shown: Transitions) -> Transitions:
    """What leads out of every live state to the same place is drawn once, from their box."""
    result: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (before, after), labels in shown.items():
        if before in LIVE_STATES and after in LIVE_STATES:
            continue
        shared: set[str] = set()
        if before in LIVE_STATES:
            shared = set.intersection(*(shown.get((one, after), set()) for one in LIVE_STATES))
            result["live", after] |= shared
        result[before, after] |= labels - shared
    return {edge: labels for edge, labels in result.items() if labels}


def _picture_of_refunds() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    for (before, after), labels in sorted(of_refunds().items()):
        yield _arrow(before, after, labels)
    for name in (NAMES[Refunded], NAMES[RefundFailed]):
        yield f"    {name} --> {NOWHERE}"
    yield "```"


def _arrow(before: str, after: str, labels: set[str]) -> str:
    return f"    {before} --> {after}: {', '.join(sorted(labels))}"


def _table(every: Transitions) -> Iterator[str]:
    yield ""
    yield "| from | to | by |"
    yield "|---|---|---|"
    order = [NOWHERE, *ATTEMPT_STATES]
    for before, after in sorted(every, key=lambda e: (order.index(e[0]), order.index(e[1]))):
        labels = ", ".join(sorted(every[before, after]))
        yield f"| {_cell(before)} | {_cell(after)} | {labels} |"


def _cell(name: str) -> str:
    return "(none)" if name == NOWHERE else f"`{name}`"


if __name__ == "__main__":
    PAGE.write_text(with_pictures(PAGE.read_text()))
