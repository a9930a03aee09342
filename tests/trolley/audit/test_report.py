"""Findings keep their names, ages are told, and a report is JSON."""

import json
from datetime import UTC, datetime, timedelta

from trolley.audit.report import AuditReport, Checked, Finding, OpenItem

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _finding(entity: str = "main/APPLE", invariant: str = "stock.one", on_hand: int = 1) -> Finding:
    since = NOW - timedelta(minutes=2)
    return Finding(invariant, entity, {"inventory": {"on_hand": on_hand, "at": since}}, since)


def test_a_finding_has_the_same_id_for_the_same_entity_and_invariant_only() -> None:
    assert _finding().id == _finding(on_hand=2).id
    assert _finding().id != _finding(entity="main/PEAR").id
    assert _finding().id != _finding(invariant="stock.two").id


def test_a_finding_is_as_old_as_the_last_change_of_its_rows() -> None:
    assert _finding().age_seconds(NOW) == 120
    assert Finding("stock.one", "main/APPLE", {}, None).age_seconds(NOW) is None


def test_a_report_is_clean_without_violations_and_with_everything_judged() -> None:
    assert _report(Checked("stock.one", "One.", facts=3)).clean
    assert not _report(Checked("stock.one", "One.", facts=3, violations=1)).clean
    assert not _report(Checked("stock.one", "One.", facts=3, unjudged=1)).clean
    assert _report(Checked("stock.one", "One.", facts=3, under_way=1)).clean


def test_a_report_adds_up_and_is_json() -> None:
    report = _report(
        Checked("stock.one", "One.", facts=3, violations=1, findings=(_finding(),)),
        Checked("stock.two", "Two.", facts=4),
    )

    read = json.loads(json.dumps(report.as_json()))

    assert (read["facts_checked"], read["violations"], read["clean"]) == (7, 1, False)
    (finding,) = read["invariants"][0]["findings"]
    assert finding["id"] == _finding().id
    assert finding["evidence"]["inventory"]["on_hand"] == 1
    assert read["open_items"][0]["count"] == 2


def _report(*checked: Checked) -> AuditReport:
    return AuditReport(
        NOW, ("a bank",), checked, (OpenItem("dead letters", "cart", 2, 60.0),), 1, 0.5
    )
