"""A checkout's story, and the stuck ones, as people read them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trolley.checkouts.story import CALLS, HEARS, TAKES_IN, Entry, Story
from trolley.checkouts.stuck import Stuck
from trolley.printing import add_row, age, plain_table, span

UNKNOWN = "?"
"""How long a message waited of which that was not kept."""

SHORT = timedelta(seconds=10)
"""Below this milliseconds matter."""


def picture_of(story: Story, now: datetime) -> RenderableType:
    """The state, the timeline, what is waited for and what is open."""
    parts: list[RenderableType] = [_headline(story, now), "", _timeline(story.entries)]
    if story.window_closes_at is not None:
        ends = f"{story.window_closes_at:%Y-%m-%d %H:%M:%S}"
        parts += ["", f"Its payment window ends at {ends} UTC: what is not paid then is given up."]
    if story.waits:
        parts += ["", _waits(story)]
    if story.open_items:
        parts += ["", _open_items(story, now)]
    return Group(*parts)


def picture_of_stuck(stuck: Sequence[Stuck], now: datetime) -> RenderableType:
    """A line for each."""
    table = plain_table("checkout", "state", "for", "why")
    for one in stuck:
        add_row(table, str(one.checkout_id), one.state, age(one.since, now), one.why)
    return table


def _headline(story: Story, now: datetime) -> Text:
    flags = [name for name in ("final", "late", "blocked") if getattr(story, name)]
    text = Text(f"Checkout {story.checkout_id}: ")
    text.append(story.state, style="bold")
    text.append("".join(f", {flag}" for flag in flags))
    if story.deadline_at is not None:
        seconds = (story.deadline_at - now).total_seconds()
        when = f"is in {seconds:.0f} s" if seconds >= 0 else f"was {-seconds:.0f} s ago"
        text.append(f"; its deadline {when}")
    return text


def _timeline(entries: Sequence[Entry]) -> Table:
    """A row for each, its text in one column: cells of their own would be cut off at 80 columns."""
    table = plain_table("time (UTC)", "after", "waited", "tries", "what was done")
    for column in table.columns[1:4]:
        column.justify = "right"
    before: datetime | None = None
    for entry in entries:
        if before is None or before.date() != entry.at.date():
            add_row(table, f"{entry.at:%Y-%m-%d}")
        table.add_row(
            f"{entry.at:%H:%M:%S.%f}"[:-3],
            "" if before is None else f"+{_span(entry.at - before)}",
            _waited(entry),
            str(entry.attempts or ""),
            _sentence(entry),
        )
        before = entry.at
    return table


def _waited(entry: Entry) -> str:
    if entry.waited_seconds is not None:
        return _span(timedelta(seconds=entry.waited_seconds))
    return UNKNOWN if entry.does == TAKES_IN else ""


def _span(passed: timedelta) -> str:
    if abs(passed) < SHORT:
        return f"{passed / timedelta(milliseconds=1):,.0f} ms"
    return span(passed)


def _sentence(entry: Entry) -> Text:
    text = Text(f"{entry.service} {entry.does}: {entry.what}", overflow="fold")
    if entry.step:
        text.append(f" ({entry.step} {entry.round})")
    elif entry.does in (CALLS, HEARS):
        text.append(f" {entry.round}")
    if entry.outcome:
        text.append(f", {entry.outcome}")
    if entry.state:
        text.append(", now ").append(entry.state, style="bold")
    if entry.note:
        text.append(f": {entry.note}")
    return text


def _waits(story: Story) -> Table:
    table = plain_table("waits for", "asked", "without an answer")
    for wait in story.waits:
        add_row(table, f"{wait.step} {wait.round}", f"{wait.sends} times", wait.next)
    return table


def _open_items(story: Story, now: datetime) -> Table:
    table = plain_table("open", "service", "for", "detail")
    for item in story.open_items:
        add_row(table, item.what, item.service, age(item.since, now), item.detail)
    return table
