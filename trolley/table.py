"""The status table, for `trolley up` and `trolley status` alike."""

import time

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trolley.figures import Reading
from trolley.runtime.home import ProcessState, RuntimeState

_STYLES = {
    "ready": "green",
    "starting": "yellow",
    "restarting": "yellow",
    "unready": "yellow",
    "stopping": "yellow",
    "stopped": "dim",
}
_OPEN_FIRST = (
    "reserving",
    "awaiting_payment",
    "paying",
    "action_required",
    "processing",
    "payment_unknown",
    "payment_failed",
    "authorized",
    "capturing",
    "committing",
    "closing_payment",
    "releasing",
    "refunding",
    "needs_attention",
    "paid",
    "cancelled",
    "rejected",
)
"""The states of a checkout in the order a reader follows it; others come after them."""


def picture(state: RuntimeState, reading: Reading | None, step: str) -> RenderableType:
    """Processes with port, state, restarts and lag, and below them the checkouts by state."""
    reading = reading or Reading()
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    table.add_column("process")
    table.add_column("state")
    for title in ("port", "pid", "restarts", "lag", "up"):
        table.add_column(title, justify="right")
    table.add_column("")
    for process in state.processes:
        table.add_row(*_row(process, reading))
    heading = Text.assemble(("trolley ", "bold"), (step, _STYLES.get(step, "yellow")))
    return Group(heading, table, *_checkouts(reading))


def _row(process: ProcessState, reading: Reading) -> tuple[RenderableType, ...]:
    # The lag is the service's, whatever replica reads it: shown once.
    service, _, slot = process.name.rpartition("-")
    lag = reading.lag.get(service) if slot == "0" else None
    up = "" if process.since is None else _duration(time.time() - process.since)
    return (
        process.name,
        Text(process.state, style=_STYLES.get(process.state, "")),
        str(process.port or ""),
        str(process.pid or ""),
        Text(str(process.restarts), style="yellow" if process.restarts else "dim"),
        "" if lag is None else f"{lag:,}",
        up if process.pid else "",
        Text(process.note or "", style="dim", overflow="ellipsis", no_wrap=True),
    )


def _checkouts(reading: Reading) -> list[RenderableType]:
    if reading.checkouts is None:
        return []
    counts = dict(reading.checkouts)
    ordered = [state for state in _OPEN_FIRST if counts.get(state)]
    ordered += sorted(state for state in counts if state not in _OPEN_FIRST)
    told = "  ".join(f"{state} {counts[state]:,}" for state in ordered) or "none yet"
    return [Text.assemble(("checkouts  ", "bold"), told)]


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d}"
