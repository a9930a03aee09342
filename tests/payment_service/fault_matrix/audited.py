"""What the auditor says of the payments and of the stand-in's books, once all is at rest.

It has the payment service's databases and the stand-in alone, so only its rules about money are
asked: those that need no order, and no topic. At rest nothing is under way, so one look is enough.
"""

from collections import defaultdict
from dataclasses import dataclass

from pydantic import SecretStr

from stripe_sandbox.app import Running
from tests.payment_service.cashdesk import CashDesk
from tests.payment_service.fault_matrix.till import KEY
from trolley.audit.engine import Engine
from trolley.audit.invariant import Source
from trolley.audit.invariants import money, stripe_money
from trolley.audit.look import look
from trolley.audit.settings import AuditSettings
from trolley.audit.snapshots import Snapshots
from trolley.audit.stripe_books import StripeAccount, StripeBooks

RULES = (*money.INVARIANTS, *stripe_money.INVARIANTS)


@dataclass(frozen=True)
class Audited:
    """How many facts each rule spoke of, and which rules are broken by the id of what breaks them:
    a payment's, or a checkout's."""

    facts: dict[str, int]
    broken: dict[str, list[str]]


async def audited(desk: CashDesk, sandbox: Running) -> Audited:
    """Look at everything once."""
    settings = AuditSettings()
    databases = {
        Source.PAYMENT: desk.database_url,
        Source.SIMULATED_PROVIDER: desk.bank_url,
    }
    account = StripeAccount(SecretStr(KEY), sandbox.url)
    async with (
        Engine.opened(settings) as engine,
        StripeBooks.opened(account, engine, settings) as books,
        Snapshots.taken(databases, connect_seconds=settings.audit_connect_seconds) as snapshots,
    ):
        kept = settings.audit_candidates_kept
        tallies = await look(RULES, engine, snapshots, None, books, kept=kept)
    broken: defaultdict[str, list[str]] = defaultdict(list)
    for rule, tally in tallies.items():
        for finding in tally.candidates.values():
            broken[finding.subject_key or finding.entity].append(rule.id)
    return Audited({rule.id: tally.facts for rule, tally in tallies.items()}, dict(broken))
