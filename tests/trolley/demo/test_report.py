"""What a run says of itself, on the screen and in the report."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from trolley.demo.checks import Act, Check
from trolley.demo.orders import parse_orders
from trolley.demo.report import InvoiceOutcome, report, write_report
from trolley.demo.screen import Screen

ORDERS = parse_orders(
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    "1,A,X,2,12/1/10 8:26,2.55,,France\n"
    "C2,A,X,-2,12/1/10 8:26,2.55,,France\n"
)
HELD = Check("orders", 303, 303)
BROKEN = Check("orders", 303, 302)


@pytest.mark.parametrize(
    ("check", "held"),
    [
        (Check("x", 1, 1), True),
        (Check("x", 1, 2), False),
        (Check("x", 1, 2, at_least=True), True),
        (Check("x", 2, 1, at_least=True), False),
        (Check("x", 0, "0"), False),
        (Check("x", "none", "none"), True),
    ],
)
def test_a_check_compares_what_was_found(check: Check, held: bool) -> None:
    assert check.held is held


def test_an_act_without_checks_shows_nothing_and_does_not_hold() -> None:
    assert not Act(1, "Import", ()).held
    assert Act(1, "Import", (HELD,)).held
    assert not Act(1, "Import", (HELD, BROKEN)).held


def made(*acts: Act, wanted: int) -> dict[str, object]:
    return report(
        source="orders.csv",
        orders=ORDERS,
        invoices=[InvoiceOutcome("1", "o-1", "paid", 510, "GBP", 1)],
        acts=acts,
        audit={"facts": 9, "violations": []},
        totals={"JPY": {"captured_minor": 1_980, "refunded_minor": 0}},
        durations={"act_1": 1.23456},
        acts_wanted=wanted,
    )


def test_the_report_has_what_programs_look_for(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"

    write_report(path, made(Act(1, "Import", (HELD,), {"requests": 4}, 1.5), wanted=1))

    found = json.loads(path.read_text())
    assert found["held"] is True
    assert found["invoices"] == [
        {
            "invoice": "1",
            "order_id": "o-1",
            "status": "paid",
            "total_minor": 510,
            "currency": "GBP",
            "lines": 1,
        }
    ]
    assert found["skipped"] == {
        "cancellation": 1,
        "price_not_positive": 0,
        "quantity_not_positive": 0,
        "price_over_two_decimals": 0,
    }
    (act,) = found["acts"]
    assert act["expected"] == {"orders": 303}
    assert act["found"] == {"orders": 303}
    assert act["figures"] == {"requests": 4}
    assert found["audit"] == {"facts": 9, "violations": []}
    assert found["totals"] == {"JPY": {"captured_minor": 1_980, "refunded_minor": 0}}
    assert found["durations_seconds"] == {"act_1": 1.235}


def test_a_run_that_was_cut_short_does_not_hold() -> None:
    assert made(Act(1, "Import", (HELD,)), wanted=6)["held"] is False
    assert made(Act(1, "Import", (BROKEN,)), wanted=1)["held"] is False


def shown(*acts: Act, width: int = 120) -> str:
    out = StringIO()
    screen = Screen(Console(file=out, width=width))
    for act in acts:
        screen.show_act(act)
    screen.show_end(acts, 4.2)
    return out.getvalue()


def test_the_screen_tells_what_held_and_what_did_not() -> None:
    text = shown(Act(1, "Import", (HELD,), {"requests": 4000}, 1.5), Act(2, "Replay", (BROKEN,)))

    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "orders 303 303 held" in lines
    assert "orders 303 302 BROKEN" in lines
    assert "requests: 4,000" in lines
    assert "1. Import 1 of 1 1.5 held" in lines
    assert "everything 1 of 2 4.2 BROKEN" in lines


def test_the_screen_says_that_nothing_was_checked() -> None:
    assert "nothing was checked" in shown(Act(1, "Import", ()))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_narrow_screen_cuts_no_figure_and_no_verdict(width: int) -> None:
    long = Check("shoppers that were told in the politest of words what is left of it", 303, 302)

    text = shown(Act(1, "Import", (long,)), width=width)

    (line,) = [line for line in text.splitlines() if "303" in line]
    assert line.split()[-3:] == ["303", "302", "BROKEN"]
    assert max(map(len, text.splitlines())) <= width
