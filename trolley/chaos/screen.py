"""What stays on the screen at the end of a run."""

from rich.table import Table
from rich.text import Text

from trolley.chaos.report import Report
from trolley.demo.screen import Screen


def show(screen: Screen, report: Report) -> None:
    """The faults by kind, the checks, and the verdict."""
    screen.console.print(_faults(report))
    screen.console.print()
    screen.console.print(_checks(report))
    screen.console.print()
    screen.console.print(_verdict(report))


def _faults(report: Report) -> Table:
    table = _table("fault", "count", "sold again", "recovery", "longest recovery")
    for one in report.kinds:
        if one.count:
            middle = sorted(one.recovery)[one.count // 2]
            table.add_row(
                one.kind.value,
                f"{one.count}",
                f"{sorted(one.sold_again)[one.count // 2]:.1f} s",
                f"{middle:.1f} s",
                f"{max(one.recovery):.1f} s",
            )
    return table


def _checks(report: Report) -> Table:
    table = _table("check", "expected", "found")
    accounts = report.run.accounts
    for what, count in (("lost", len(accounts.lost)), ("doubled", len(accounts.doubled))):
        table.add_row(f"accepted checkouts that are {what}", "0", _judged(f"{count}", not count))
    for check in accounts.checks:
        table.add_row(check.what, check.expectation, _judged(check.finding, check.held))
    audit = report.run.audit
    table.add_row("violations in the audit", "0", _judged(f"{audit.violations}", audit.clean))
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first)
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def _judged(figure: str, held: bool) -> Text:
    return Text(figure, style="" if held else "bold red")


def _verdict(report: Report) -> Text:
    accounts = report.run.accounts
    kafka = f", Kafka back in at most {max(report.kafka_back):.1f} s" if report.kafka_back else ""
    told = (
        f"{report.faults} faults, {accounts.accepted:,} checkouts accepted, longest stall "
        f"{report.stall_seconds:.1f} s{kafka}"
    )
    if report.held:
        return Text(f"{told}: everything held.", style="bold green")
    return Text(f"{told}: {report.violations} violations.", style="bold red")
