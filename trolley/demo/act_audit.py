"""Act 9: what `trolley audit` and the providers' books say of what the other acts left behind."""

from collections.abc import Iterable

from trolley.audit.auditor import Sources, audit
from trolley.demo.checks import Check
from trolley.demo.ledgers import Comparison, captured_minor, refunded_minor
from trolley.demo.stage import Findings, Stage


async def audit_everything(stage: Stage) -> Findings:
    """Compares the money of all acts, then checks every invariant over all databases and topics."""
    async with stage.books() as books:
        comparison = await books.compare()
    bar = stage.screen.bar("invariants over all databases", 1)
    report = await audit(Sources.named_by(stage.runtime.environment))
    bar.advance()
    broken = {one.invariant: one.violations for one in report.checked if one.violations}
    open_items = {f"{item.what} ({item.where})": item.count for item in report.open_items}
    return Findings(
        (
            *_ledgers_agree(comparison),
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
        totals={
            currency: {
                "captured_minor": captured_minor(comparison.in_currency(currency).theirs),
                "refunded_minor": refunded_minor(comparison.in_currency(currency).theirs),
            }
            for currency in comparison.currencies
        },
    )


def _ledgers_agree(comparison: Comparison) -> Iterable[Check]:
    """All payments of all acts at all providers, unit by unit."""
    for currency in comparison.currencies:
        of_one = comparison.in_currency(currency)
        yield Check(
            f"units captured, ours and the providers' ({currency})",
            captured_minor(of_one.theirs),
            captured_minor(of_one.ours),
        )
        yield Check(
            f"units refunded, ours and the providers' ({currency})",
            refunded_minor(of_one.theirs),
            refunded_minor(of_one.ours),
        )
    yield Check(
        "ledger entries that are the same on both sides",
        len(comparison.theirs),
        comparison.alike,
    )
    yield Check(
        "ledger entries that differ or stand on one side alone", 0, len(comparison.differing)
    )
