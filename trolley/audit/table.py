"""An audit as people read it: a table of invariants, what is open, and what was found."""

from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trolley.audit.report import AuditReport, Checked, Finding


def picture(report: AuditReport, *, findings_shown: int) -> RenderableType:
    """Everything that an audit says, the verdict last."""
    parts: list[RenderableType] = [_invariants(report)]
    if report.open_items:
        parts += ["", _open_items(report)]
    for one in report.checked:
        if one.findings:
            parts += ["", *_findings(one, report.at, findings_shown)]
    books = " and ".join(report.books)
    compared = Text(f"Our ledger was compared with the books of {books}.", style="dim")
    return Group(*parts, "", compared, _verdict(report))


def _invariants(report: AuditReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    table.add_column("invariant")
    for title in ("facts", "violations", "under way"):
        table.add_column(title, justify="right")
    for one in report.checked:
        table.add_row(one.invariant, _facts(one), _violations(one), _few(one.under_way))
    table.add_section()
    under_way = sum(one.under_way for one in report.checked)
    table.add_row(
        Text(f"{len(report.checked)} invariants", style="bold"),
        Text(f"{report.facts_checked:,}", style="bold"),
        Text(f"{report.violations:,}", style="bold red" if report.violations else "bold"),
        _few(under_way),
    )
    return table


def _facts(one: Checked) -> Text:
    return Text(f"{one.facts:,}") if one.facts else Text("none to check", style="yellow")


def _violations(one: Checked) -> Text:
    if one.unjudged:
        return Text(f"{one.violations:,} and {one.unjudged:,} not judged", style="bold red")
    return Text(f"{one.violations:,}", style="bold red" if one.violations else "dim")


def _few(count: int) -> Text:
    return Text(f"{count:,}" if count else "", style="yellow")


def _open_items(report: AuditReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    table.add_column("open, and no violation")
    table.add_column("where")
    table.add_column("count", justify="right")
    table.add_column("oldest", justify="right")
    for item in report.open_items:
        table.add_row(item.what, item.where, f"{item.count:,}", _age(item.oldest_seconds))
    return table


def _findings(one: Checked, at: datetime, shown: int) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(one.says, style="bold red")]
    parts.extend(_finding(finding, at) for finding in one.findings[:shown])
    if one.violations > shown:
        parts.append(Text(f"  and {one.violations - shown:,} more", style="dim"))
    return parts


def _finding(finding: Finding, at: datetime) -> Table:
    age = _age(finding.age_seconds(at))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(f"  {finding.id}", f"{finding.entity}" + (f", for {age}" if age else ""))
    for source, row in finding.evidence.items():
        said = "nothing" if row is None else _said(row)
        grid.add_row(Text(f"    {source}", style="dim"), said)
    return grid


def _said(row: object) -> str:
    assert isinstance(row, dict)  # noqa: S101 - evidence is what rows say of themselves
    return "  ".join(
        f"{name}={value}" for name, value in row.items() if name not in ("key", "since")
    )


def _verdict(report: AuditReport) -> Text:
    took = f"{report.facts_checked:,} facts checked in {report.seconds:.1f} s"
    if report.clean:
        return Text(f"{took}: no violation.", style="bold green")
    unjudged = f", {report.unjudged:,} candidates not judged" if report.unjudged else ""
    return Text(f"{took}: {report.violations:,} violations{unjudged}.", style="bold red")


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
