"""Dead letters, dry runs and runs, as people read them."""

import difflib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from trolley.printing import add_row, age, listing, plain_table

LONGEST_ERROR = 90
_RUN_STYLES = {"running": "yellow", "stopped": "red", "finished": "green"}


def picture_of_letters(letters: Sequence[Mapping[str, Any]], now: datetime) -> RenderableType:
    """A line for each."""
    titles = ("id", "age", "service", "status", "type", "key", "waits", "fault", "error")
    return listing(titles, [_cells(one, now) for one in letters])


def _cells(letter: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    fault = letter["fault"] or {}
    error = f"{fault['error_type']}: {fault['error_text']}" if fault else ""
    return (
        letter["id"],
        age(_moment(letter["created_at"]), now),
        letter["service"],
        letter["status"],
        letter["type"] or "-",
        letter["key"] or "-",
        str(letter["waiting"] or ""),
        fault.get("fingerprint", ""),
        _shortened(error),
    )


def picture_of_figures(figures: Sequence[Mapping[str, Any]], now: datetime) -> RenderableType:
    """A line for each fault."""
    table = plain_table(
        "dead", "replaying", "waits", "consumer", "type", "fault", "newest", "error"
    )
    for column in table.columns[:3]:
        column.justify = "right"
    for one in figures:
        add_row(
            table,
            f"{one['dead']:,}",
            f"{one['replaying']:,}",
            f"{one['waiting']:,}",
            one["consumer"],
            one["type"] or "-",
            one["fingerprint"],
            age(_moment(one["last_at"]), now),
            _shortened(f"{one['error_type']}: {one['error_text']}"),
        )
    return table


def picture_of_letter(letter: Mapping[str, Any], now: datetime) -> RenderableType:
    """Everything that is known of one."""
    about = plain_table("", "")
    about.show_header = False
    fault = letter["fault"]
    for name, value in (
        ("status", letter["status"] + (f": {letter['outcome']}" if letter["outcome"] else "")),
        ("put aside", f"{letter['created_at']}, {age(_moment(letter['created_at']), now)} ago"),
        ("consumer", letter["consumer"]),
        (
            "record",
            f"{letter['topic']}, partition {letter['partition']}, offset {letter['offset']}",
        ),
        ("type", letter["type"] or "-"),
        ("message", letter["message_id"]),
        ("key", _bytes(letter["key"])),
        ("error", f"{fault['error_type']}: {fault['error_text']}" if fault else "none: it waits"),
        ("fault", f"{fault['fingerprint']}, {fault['attempts']} attempts" if fault else "-"),
    ):
        add_row(about, name, str(value))
    parts: list[RenderableType] = [
        Text(f"Dead letter {letter['id']} of {letter['service']}", style="bold"),
        about,
        "",
        Text("value", style="bold"),
        Text(_bytes(letter["value"])),
    ]
    if letter["edited_value"] is not None:
        parts += ["", Text("edited value, which a replay takes", style="bold")]
        parts += [Text(_bytes(letter["edited_value"]))]
    headers = plain_table("header", "value")
    for header in letter["headers"]:
        add_row(headers, header["name"], _bytes(header["value"]))
    parts += ["", headers]
    if letter["waiting"]:
        waiting = plain_table("waits behind it", "type", "for")
        for one in letter["waiting"]:
            add_row(waiting, one["id"], one["type"] or "-", age(_moment(one["created_at"]), now))
        parts += ["", waiting]
    if letter["history"]:
        history = plain_table("time (UTC)", "who", "what", "why")
        for entry in letter["history"]:
            at = f"{_moment(entry['at']):%Y-%m-%d %H:%M:%S}"
            add_row(history, at, entry["who"], entry["action"], entry["reason"] or "")
        parts += ["", history]
    return Group(*parts)


def difference(letter: Mapping[str, Any]) -> str:
    """What an edit changed, as a unified diff; empty when nothing was edited."""
    if letter["edited_value"] is None:
        return ""
    before, after = (
        _bytes(letter[name]).splitlines(keepends=True) for name in ("value", "edited_value")
    )
    return "".join(difflib.unified_diff(before, after, "as it came", "as edited"))


def picture_of_trials(trials: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each letter that was tried."""
    table = plain_table("id", "service", "would be", "changes", "sends", "")
    for one in trials:
        fault = one["fault"]
        why = one["overtaken_by"] or ""
        if fault is not None:
            again = "as before" if one["same_fault"] else "another fault"
            why = f"{again}: {fault['error_type']}: {fault['error_text']}"
        add_row(
            table,
            one["id"],
            one["service"],
            one["outcome"],
            ", ".join(one["changes"]),
            ", ".join(message["type"] or "-" for message in one["messages"]),
            _shortened(why),
        )
    return table


def picture_of_runs(runs: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each run."""
    table = plain_table("run", "service", "what", "status", "done", "failed", "untried", "waited")
    table.add_column("who and why")
    for run in runs:
        told = f"{run['who']}: {run['reason']}"
        if run["stopped_because"]:
            told += f" (stopped: {run['stopped_because']})"
        table.add_row(
            Text(run["id"]),
            Text(run["service"]),
            Text(run["action"]),
            Text(run["status"], style=_RUN_STYLES.get(run["status"], "")),
            f"{run['done']:,} of {run['chosen']:,}",
            f"{run['failed']:,}",
            f"{run['untried']:,}",
            f"{run['drained']:,}",
            Text(told),
        )
    return table


def _bytes(view: Mapping[str, Any] | None) -> str:
    if view is None:
        return "-"
    if "json" in view:
        return json.dumps(view["json"], indent=2, ensure_ascii=False)
    return str(view["text"] if "text" in view else f"{view['base64']} (base64)")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_ERROR else line[: LONGEST_ERROR - 1] + "…"
