"""What a dashboard draws of the auditor that goes on, and an alert asks."""

from prometheus_client import Counter, Gauge

FINDINGS = Gauge("trolley_audit_findings", "Violations that are open, by invariant.", ["invariant"])
OLDEST_FINDING = Gauge(
    "trolley_audit_oldest_finding_seconds", "Since when the oldest open violation is known."
)
SUSPECTED = Gauge(
    "trolley_audit_suspected", "Disagreements between services that may be under way."
)
UNJUDGED = Gauge(
    "trolley_audit_unjudged", "What broke a rule and was too much to be looked at again."
)
DUE = Gauge("trolley_audit_keys_due", "Entities that wait for the next look.")
LOOK_SECONDS = Gauge("trolley_audit_look_seconds", "How long the last look took.", ["of"])
SINCE_LOOK = Gauge(
    "trolley_audit_seconds_since_look", "How long ago it ended; before the first, since the start."
)
LOOKS = Counter("trolley_audit_looks", "Looks taken.", ["of"])
FAILED = Counter("trolley_audit_looks_failed", "Looks that could not be taken.")
FACTS = Counter("trolley_audit_facts", "Facts checked.")
STATEMENTS = Counter("trolley_audit_statements", "Statements asked of the databases.")
