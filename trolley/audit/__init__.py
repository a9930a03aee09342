"""The auditor: every invariant of money, stock and carts, over all databases and the event topics.

invariant.py    what an invariant is
invariants/     all of them, by subject
subjects.py     how to see that something is under way
snapshots.py    the databases, each in one snapshot
published.py    the event topics, as rows
look.py         every invariant asked once
auditor.py      one look, or two; the verdict
report.py       what was found
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
