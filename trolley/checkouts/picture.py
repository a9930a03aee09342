"""A checkout's story, and the stuck ones, as people read them."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trolley.checkouts.story import Entry, Story
from trolley.checkouts.stuck import Stuck
from trolley.printing import add_row, age, plain_table


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
    table = plain_table(
        "time (UTC)", "ms", "service", "", "message", "step", "outcome", "state", "note"
    )
    table.columns[1].justify = "right"
    before: datetime | None = None
    for entry in entries:
        waited = "" if before is None else f"+{1000 * (entry.at - before).total_seconds():,.0f}"
        before = entry.at
        step = f"{entry.step} {entry.round}" if entry.step else str(entry.round or "")
        add_row(
            table,
            f"{entry.at:%Y-%m-%d %H:%M:%S.%f}"[:-3],
            waited,
            entry.service,
            entry.does,
            entry.what,
            step,
            entry.outcome,
            entry.state,
            entry.note,
        )
    return table


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
