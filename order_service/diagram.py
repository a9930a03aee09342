"""Draws the saga from its code: `python -m order_service.diagram` writes docs/saga.md.

Its picture goes into docs/architecture.md too, between the marks there.

Nothing here knows a transition: all are found by trying every message on every checkout
(`exploration.py`), so the page cannot say what the code does not do.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from contracts.messages.order import PayOrder, StepBlocked, StepUnblocked
from order_service.checkout import Checkout, CheckoutMessage, State, Tombstone
from order_service.checkout.facts import AttemptStatus
from order_service.checkout.policy import BUDGETED_STEPS
from order_service.exploration import (
    AT_SHIPPING,
    SHORT_POLICY,
    Move,
    explore,
    messages_to,
    silhouette,
    start,
)

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "saga.md"
ARCHITECTURE = DOCS / "architecture.md"
BEGIN, END = "<!-- saga -->", "<!-- /saga -->"

NOWHERE = "[*]"
LIVE = (State.PAYING, State.ACTION_REQUIRED, State.PROCESSING, State.PAYMENT_UNKNOWN)
"""Drawn as one box: from all of them the same messages lead to the same places."""

Transitions = Mapping[tuple[str, str], set[str]]
"""(state before, state after) -> what leads from one to the other."""


@cache
def transitions() -> tuple[Transitions, Transitions]:
    """All transitions; and those which are drawn: without money from overtaken attempts."""
    every: dict[tuple[str, str], set[str]] = defaultdict(set)
    drawn: dict[tuple[str, str], set[str]] = defaultdict(set)
    for move in _moves():
        before, after = _name(move.before), _name(move.after)
        if before != after:
            every[before, after].add(_label(move.message))
            if not _of_overtaken_attempt(move):
                drawn[before, after].add(_label(move.message))
    return every, drawn


def page() -> str:
    """The page: the picture, then the table."""
    every, drawn = transitions()
    return "\n".join([_HEAD, *_picture(drawn), *_table(every)]) + "\n"


def with_picture(text: str) -> str:
    """The text with the picture between its marks. Raises `ValueError` without marks."""
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    _, drawn = transitions()
    return "\n".join([text[:before], *_picture(drawn), text[after:]])


def _moves() -> Iterator[Move]:
    policy = replace(SHORT_POLICY, sends=dict.fromkeys(BUDGETED_STEPS, 1))
    at_shipping = start(method=AT_SHIPPING)
    for request in (start(), start(paid=False), start(total_minor=0), at_shipping):
        yield from explore(request, policy, alike=silhouette, messages=_but_dead_letters)


def _but_dead_letters(checkout: Checkout | Tombstone | None) -> Iterator[CheckoutMessage]:
    for message in messages_to(checkout):
        if not isinstance(message, StepBlocked | StepUnblocked):
            yield message


def _of_overtaken_attempt(move: Move) -> bool:
    """Did an earlier attempt than the last one bring money, before or by this move?"""
    return any(
        attempt.status is AttemptStatus.SUCCEEDED
        for checkout in (move.before, move.after)
        if isinstance(checkout, Checkout)
        for attempt in checkout.attempts[:-1]
    )


def _name(checkout: Checkout | Tombstone | None) -> str:
    return checkout.state.value if isinstance(checkout, Checkout) else NOWHERE


def _label(message: CheckoutMessage) -> str:
    name = type(message).__name__
    return f"{name} replace" if isinstance(message, PayOrder) and message.replace else name


_HEAD = """\
# The saga

Made from the code by `python -m order_service.diagram`; a test fails when it is not current.

A checkout tries to sell until it is given up; then it takes back: first no money can come any more
(`closing_payment`), then all money is on its way back (`refunding`), then the stock (`releasing`).

The picture leaves out two things that the table has: money from an attempt that a later one has
overtaken, and `needs_attention`, where a saga stops when no answer comes and compensating could
lose money. Any answer that still comes, or a cancel, takes it on from there.
"""


def _picture(drawn: Transitions) -> Iterator[str]:
    shown = {
        edge: labels for edge, labels in drawn.items() if State.NEEDS_ATTENTION.value not in edge
    }
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield '    state "an attempt is live" as live {'
    for (before, after), labels in sorted(shown.items()):
        if before in LIVE and after in LIVE:
            yield f"    {_arrow(before, after, labels)}"
    yield "    }"
    for (before, after), labels in sorted(_with_box(shown).items()):
        yield _arrow(before, after, labels)
    for state in (State.PAID, State.CANCELLED, State.REJECTED):
        yield f"    {state} --> {NOWHERE}"
    yield "```"


def _with_box(shown: Transitions) -> Transitions:
    """What leads out of every live state to the same place is drawn once, from their box."""
    result: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (before, after), labels in shown.items():
        if after in LIVE and before in LIVE:
            continue
        shared: set[str] = set()
        if before in LIVE:
            shared = set.intersection(*(shown.get((state, after), set()) for state in LIVE))
            result["live", after] |= shared
        result[before, after] |= labels - shared
    return {edge: labels for edge, labels in result.items() if labels}


def _arrow(before: str, after: str, labels: set[str]) -> str:
    return f"    {before} --> {after}: {', '.join(sorted(labels))}"


def _table(every: Transitions) -> Iterator[str]:
    yield ""
    yield "| from | to | by |"
    yield "|---|---|---|"
    order = [NOWHERE, *State]
    for before, after in sorted(every, key=lambda e: (order.index(e[0]), order.index(e[1]))):
        labels = ", ".join(sorted(every[before, after]))
        yield f"| {_cell(before)} | {_cell(after)} | {labels} |"


def _cell(name: str) -> str:
    return "(none)" if name == NOWHERE else f"`{name}`"


if __name__ == "__main__":
    PAGE.write_text(page())
    ARCHITECTURE.write_text(with_picture(ARCHITECTURE.read_text()))
