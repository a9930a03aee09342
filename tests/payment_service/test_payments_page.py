"""docs/payments.md is what the code does, and names tests and settings that are there."""

import re
from typing import get_args

import pytest

from payment_service.diagram import (
    ATTEMPT_STATES,
    LIVE_STATES,
    NOWHERE,
    PAGE,
    REFUND_STATES,
    of_attempts,
    of_refunds,
    with_pictures,
)
from payment_service.domain.outcomes import NAMES, AttemptState
from payment_service.providers.stripe.client import API_VERSION
from payment_service.providers.stripe.webhooks import notice_of
from payment_service.settings import PaymentSettings
from tests.payment_service.behaviours import ROOT, RULES, Rules, calls, events, with_behaviours
from tests.payment_service.test_stripe_webhooks import SECRET, event, signed

TEXT = PAGE.read_text()
CERTAINTIES = {"verified live", "documented", "assumed"}


def test_its_pictures_are_current() -> None:
    assert with_pictures(TEXT) == TEXT, "run `python -m payment_service.diagram`"


def test_its_tables_are_current() -> None:
    assert with_behaviours(TEXT) == TEXT, "run `python -m tests.payment_service.behaviours`"


def test_every_state_of_an_attempt_is_drawn() -> None:
    assert set(ATTEMPT_STATES) == {NAMES[kind] for kind in get_args(AttemptState)}
    assert {after for _, after in of_attempts()} == set(ATTEMPT_STATES)


def test_every_state_of_a_refund_is_drawn() -> None:
    assert {after for _, after in of_refunds()} == set(REFUND_STATES)


def test_an_attempt_that_brought_money_never_leaves_that_state() -> None:
    assert not any(before == "succeeded" for before, _ in of_attempts())


def test_money_that_comes_anyway_is_booked_whatever_was_known_before() -> None:
    known = set(ATTEMPT_STATES) - {"succeeded", "not_due"}
    assert {before for before, after in of_attempts() if after == "succeeded"} == known


def test_an_attempt_is_live_or_ended_before_it_is_anything_else() -> None:
    begun = {after for before, after in of_attempts() if before == NOWHERE}
    assert begun & set(LIVE_STATES) == {"requested"}


def test_what_the_adapter_builds_upon_has_a_certainty_and_what_is_documented_a_source() -> None:
    section = TEXT[TEXT.index("### The adapter") : TEXT.index("### The stand-in")]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert rows
    for _, certainty, source, *_ in rows:
        assert certainty in CERTAINTIES
        assert (certainty == "documented") <= bool(source.strip(" |"))


def test_its_tests_are_there() -> None:
    named = re.findall(r"`(\w+\.py)::(test_\w+)`", TEXT)
    assert named
    assert [one for one in named if not is_there(f"payment_service/{one[0]}", one[1])] == []


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: rules.about)
def test_what_holds_a_rule_is_a_test_of_a_rule_that_there_is(rules: Rules) -> None:
    assert set(rules.tests) <= set(rules.certainty)
    assert [test for test in rules.tests.values() if not is_there(rules.file, test)] == []


def test_its_settings_are_there() -> None:
    named = {name.lower() for name in re.findall(r"(?<!_)PAYMENT_([A-Z_]+)", TEXT)}
    assert named <= set(PaymentSettings.model_fields)


def test_it_names_the_version_in_use() -> None:
    assert set(re.findall(r"20\d\d-\d\d-\d\d\.\w+", TEXT)) == {API_VERSION}


def test_every_event_that_it_names_is_about_a_payment() -> None:
    objects = {
        "payment_intent": {"object": "payment_intent", "id": "pi_1"},
        "checkout": {"object": "checkout.session", "id": "cs_1"},
        "refund": {"object": "refund", "payment_intent": "pi_1"},
        "charge": {"object": "dispute", "payment_intent": "pi_1"},
    }
    for kind in events():
        body = event(objects[kind.split(".")[0]], type=kind)
        notice = notice_of(body, signed(body), [SECRET], production=False)
        assert notice.provider_payment_id is not None


def test_a_call_of_the_adapter_is_found_wherever_it_is_made() -> None:
    made = {resource for resource, operations in calls().items() if "create" in operations}
    assert made == {"payment_intents", "checkout.sessions", "refunds", "customers"}


def is_there(file: str, test: str) -> bool:
    return re.search(rf"def {test}\(", (ROOT / "tests" / file).read_text()) is not None
