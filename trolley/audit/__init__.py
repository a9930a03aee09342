"""The auditor: every invariant of money, stock and carts, over all databases and the event topics.

invariant.py    what an invariant is
invariants/     all of them, by subject
subjects.py     how to see that something is under way, or changed
tables.py       what is taken in from the databases
snapshots.py    the databases, each in one snapshot
published.py    the event topics
stripe_books.py what stands at Stripe, where payments are made with it
engine.py       what joins and judges
look.py         every invariant asked once
checkpoints.py  up to where movements were found right
suspicions.py   what is under way, and what is certain
auditor.py      one look, or two; the verdict
report.py       what was found
watch.py        look after look at what changed
findings.py     what is known to be wrong, in a file
rounds.py       look after look, for as long as the operations service runs
"""

from trolley.audit.auditor import Sources, audit
from trolley.audit.report import AuditReport, Checked, Finding, OpenItem
from trolley.audit.settings import AuditSettings

__all__ = [
    "AuditReport",
    "AuditSettings",
    "Checked",
    "Finding",
    "OpenItem",
    "Sources",
    "audit",
]
