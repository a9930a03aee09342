"""Act 6: what `trolley audit` says of everything that the other acts left behind."""

from trolley.audit.auditor import Sources, audit
from trolley.demo.checks import Check
from trolley.demo.stage import Findings, Stage


async def audit_everything(stage: Stage) -> Findings:
    """Checks every invariant over all databases and topics."""
    bar = stage.screen.bar("invariants over all databases", 1)
    report = await audit(Sources.named_by(stage.runtime.environment))
    bar.advance()
    broken = {one.invariant: one.violations for one in report.checked if one.violations}
    open_items = {f"{item.what} ({item.where})": item.count for item in report.open_items}
    return Findings(
        (
            Check("facts checked", len(stage.orders.invoices), report.facts_checked, at_least=True),
            Check("violations", 0, report.violations),
            Check("open items: dead letters, steps, rows, operations", 0, sum(open_items.values())),
            Check("suspicions that could not be looked into", 0, report.unjudged),
        ),
        {
            "invariants": len(report.checked),
            "looks": report.looks,
            **({"open items": open_items} if open_items else {}),
            **({"broken": broken} if broken else {}),
        },
        audit=report.as_json(),
    )
