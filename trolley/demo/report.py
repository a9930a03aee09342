"""The report of a run as JSON, for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from trolley.demo.checks import Act
from trolley.demo.orders import Orders


@dataclass(frozen=True, slots=True)
class InvoiceOutcome:
    """What became of an invoice by the end of the replay.

    `status` is the order's (`paid`), or the checkout's where there is no order; it begins with
    `error:` when the shopper got no further. `lines` counts the file's lines before merging.
    """

    invoice: str
    order_id: str | None
    status: str
    total_minor: int | None
    currency: str
    lines: int


def report(
    *,
    source: str,
    orders: Orders,
    invoices: Sequence[InvoiceOutcome],
    acts: Sequence[Act],
    audit: Mapping[str, Any] | None,
    totals: Mapping[str, Mapping[str, int]],
    durations: Mapping[str, float],
    acts_wanted: int,
) -> dict[str, Any]:
    """The whole report; `held` only when every act was played and every check of it held.

    `totals` has what was captured and refunded by currency, in minor units.
    """
    return {
        "held": len(acts) == acts_wanted and all(act.held for act in acts),
        "orders_file": source,
        "file_lines": orders.file_lines,
        "sellable_lines": orders.sellable_lines,
        "invoices": [asdict(invoice) for invoice in invoices],
        "skipped": {reason.value: count for reason, count in orders.skipped.items()},
        "acts": [act.as_json() for act in acts],
        "audit": audit,
        "totals": {currency: dict(amounts) for currency, amounts in totals.items()},
        "durations_seconds": {name: round(spent, 3) for name, spent in durations.items()},
    }


def write_report(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the report, readable by people too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
