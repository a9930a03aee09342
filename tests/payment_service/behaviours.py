"""What of Stripe is documented or assumed, for docs/payments.md.

    python -m tests.payment_service.behaviours

writes it between the marks there: the rules and test cards of the stand-in with the certainty that
its tables give them, the calls that the adapter makes, and the events that it wants to be told of.
It knows both sides and the tests, so it is none of either program's.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stripe.params import WebhookEndpointCreateParams

from stripe_sandbox import cards, currencies
from stripe_sandbox.certainty import Certainty
from stripe_sandbox.resources import payment_links, sessions, setup_intents
from tests.stripe_sandbox.sdk_literals import literals_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "payments.md"
ADAPTER = ROOT / "payment_service" / "providers" / "stripe"


@dataclass(frozen=True)
class Rules:
    """One table of rules: what it is about, where it is from, and which tests hold it."""

    about: str
    source: str
    certainty: Mapping[str, Certainty]
    file: str
    tests: Mapping[str, str]
    """By rule; one without is held by no test of its own."""


RULES = (
    Rules(
        "Test cards and bank accounts",
        "docs.stripe.com: /testing, /declines, /payments/place-a-hold-on-a-payment-method, "
        "/payments/extended-authorization, /overcapture, /payments/ach-direct-debit/"
        "accept-a-payment, /payments/sepa-debit/accept-a-payment",
        cards.CERTAINTY,
        "stripe_sandbox/test_cards.py",
        {
            "declining_cards_do_not_attach": "test_a_declining_card_cannot_even_be_attached",
            "authenticate_unless_set_up": "test_a_card_asks_for_its_holder",
            "authenticate_always": "test_a_card_asks_for_its_holder",
            "already_set_up_for_off_session": "test_a_card_asks_for_its_holder",
            "required_off_session_until_set_up": "test_a_card_asks_for_its_holder",
            "unenrolled_attempt_is_acknowledged": "test_a_payment_can_ask_for_three_d_secure",
            "frictionless_when_a_challenge_is_asked_for": (
                "test_a_frictionless_card_is_challenged_only_on_demand"
            ),
            "radar_with_default_settings": "test_radar_blocks_before_the_network_is_asked",
            "refund_failure_reason": "test_refunds_go_on_after_they_were_made",
            "authorization_seconds": "test_a_hold_lasts_as_long_as_its_network_lets_it",
            "extended_authorization_for_every_business": (
                "test_a_hold_lasts_as_long_as_its_network_lets_it"
            ),
            "bank_debit_stays_processing_until_cancelled": (
                "test_a_bank_debit_leaves_processing_as_its_account_says"
            ),
            "delayed_debit_seconds": "test_a_bank_debit_leaves_processing_as_its_account_says",
            "undelayed_debit_settles_at_once": (
                "test_a_bank_debit_leaves_processing_as_its_account_says"
            ),
            "bank_debit_disputes_are_final": "test_a_disputed_bank_debit_is_lost",
            "entry_codes": "test_a_malformed_entry_is_refused_with_its_field",
            "entry_code_of_a_month_gone_by": "test_a_malformed_entry_is_refused_with_its_field",
            "entry_code_of_no_number_at_all": "test_a_malformed_entry_is_refused_with_its_field",
            "year_too_far_ahead": "test_a_malformed_entry_is_refused_with_its_field",
            "live_card_in_test_mode": "test_a_real_card_is_refused_in_test_mode_and_not_repeated",
        },
    ),
    Rules(
        "Amounts and currencies",
        "docs.stripe.com/currencies; API reference, the `amount` parameter",
        currencies.CERTAINTY,
        "stripe_sandbox/test_currencies.py",
        {
            "zero_decimal": "test_an_amount_within_the_documented_limits_is_taken",
            "three_decimal_step": "test_an_amount_beyond_them_is_refused",
            "special_cases": "test_an_amount_beyond_them_is_refused",
            "minimum": "test_an_amount_beyond_them_is_refused",
            "maximum": "test_an_amount_beyond_them_is_refused",
            "amount_too_small": "test_a_refusal_carries_the_facts_and_reads_like_stripes",
            "amount_too_large": "test_a_refusal_carries_the_facts_and_reads_like_stripes",
            "upper_case_currency_taken": "test_a_currency_is_answered_in_lower_case",
        },
    ),
    Rules(
        "Checkout Sessions",
        'API reference, "Checkout Sessions"; guides "Fulfill orders" and "Place a hold on a '
        'payment method"; changelog of 2022-08-01',
        sessions.CERTAINTY,
        "stripe_sandbox/test_sessions.py",
        {
            "intent_is_made_when_the_session_is_confirmed": (
                "test_session_is_open_and_knows_its_total_and_has_no_intent_yet"
            ),
            "intent_stays_the_same_after_a_decline": (
                "test_a_declined_card_may_be_followed_by_another_on_the_same_intent"
            ),
            "session_lives_30_minutes_to_24_hours": "test_what_cannot_be_sold_is_refused",
            "at_most_100_lines": "test_what_cannot_be_sold_is_refused",
            "held_money_completes_the_session_unpaid": (
                "test_what_is_held_completes_the_session_unpaid_and_is_captured_by_its_intent"
            ),
            "bank_debit_completes_the_session_unpaid": (
                "test_a_bank_debit_completes_the_session_before_the_money_is_there"
            ),
            "intent_of_an_open_session_is_not_cancelled": (
                "test_an_intent_of_an_open_session_is_left_alone"
            ),
            "intent_of_a_complete_session_can_be_cancelled": (
                "test_what_is_held_can_be_cancelled_once_the_session_is_complete"
            ),
            "expiry_cancels_the_intent_as_automatic": (
                "test_an_expired_session_takes_no_money_and_cancels_its_intent"
            ),
            "order_of_nothing_is_complete_without_a_method": (
                "test_an_order_that_costs_nothing_asks_for_no_card"
            ),
            "kept_method_without_customer_is_attached_to_nobody": (
                "test_a_method_that_is_to_be_kept_for_nobody_may_be_attached_later"
            ),
            "entered_email_is_set_on_a_customer_without_one": (
                "test_a_customer_without_email_gets_the_one_that_was_entered"
            ),
        },
    ),
    Rules(
        "Payment Links (not used by the adapter)",
        'API reference, "Payment Links"; guides "Payment Links" and "Customize checkout for '
        'payment links"',
        payment_links.CERTAINTY,
        "stripe_sandbox/test_payment_links.py",
        {
            "metadata_is_copied_to_the_session": (
                "test_every_visit_makes_a_fresh_session_with_the_metadata_of_the_link"
            ),
        },
    ),
    Rules(
        "Setup Intents (not used by the adapter)",
        'guide "The Setup Intents API"; API reference, "Setup Intents"',
        setup_intents.CERTAINTY,
        "stripe_sandbox/test_setup_intents.py",
        {
            "success_attaches_the_method": "test_a_card_is_set_up_step_by_step",
            "card_that_declines_payments_only_is_set_up": (
                "test_a_card_that_declines_payments_only_is_set_up"
            ),
            "card_that_does_not_attach_is_declined": (
                "test_a_decline_is_told_and_another_method_may_follow"
            ),
            "failed_authentication_has_a_code_of_its_own": ("test_a_failed_authentication_is_told"),
            "bank_account_is_verified_at_once": "test_a_bank_account_is_set_up_at_once",
        },
    ),
)

HEEDED = ("payment_intent.", "checkout.session.", "refund.", "charge.dispute.")
"""Whatever is told of these objects names the payment that it is about."""
OURS = ("payment_intent.created",)
"""Tells nothing but what we have just done."""

READING = frozenset({"list", "retrieve"})


def with_behaviours(text: str) -> str:
    """The text with all of it between the marks. Raises `ValueError` without marks."""
    for name, lines in (
        ("rules", _rules()),
        ("cards", _cards()),
        ("calls", _calls()),
        ("events", _events()),
    ):
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, after = text.index(begin) + len(begin), text.index(end)
        text = "\n".join([text[:before], *lines, text[after:]])
    return text


def _rules() -> Iterator[str]:
    for rules in RULES:
        yield f"**{rules.about}**. Source: {rules.source}."
        yield ""
        yield f"| rule of the stand-in | certainty | test, in `{rules.file}` |"
        yield "|---|---|---|"
        for rule, certainty in rules.certainty.items():
            test = rules.tests.get(rule)
            held = f"`{test}`" if test else "none of its own"
            yield f"| {rule.replace('_', ' ')} | {certainty} | {held} |"
        yield ""


def _cards() -> Iterator[str]:
    plain: dict[Certainty, int] = defaultdict(int)
    yield "| card | what it does | certainty |"
    yield "|---|---|---|"
    for card in cards.CARDS:
        if card.behaviour == cards.Behaviour():
            plain[card.certainty] += 1
            continue
        names = ", ".join(f"`{name}`" for name in card.payment_methods) or f"number …{card.last4}"
        yield f"| {names} | {'; '.join(_does(card.behaviour))} | {card.certainty} |"
    for certainty, count in plain.items():
        yield f"| {count} more, by brand and country | pays | {certainty} |"
    yield ""
    yield "| bank account | what a debit of it does | accounts | certainty |"
    yield "|---|---|---|---|"
    courses: dict[tuple[str, str, Certainty], int] = defaultdict(int)
    for account in cards.BANK_ACCOUNTS:
        does = account.course.replace("_", " ")
        if account.creation_error is not None:
            does = f"is not made: `{account.creation_error}`"
        elif account.failure_code is not None:
            does += f": {_coded(account.failure_code, account.failure_code_certainty)}"
        courses[account.kind, does, account.certainty] += 1
    for (kind, does, certainty), count in courses.items():
        yield f"| `{kind}` | {does} | {count} | {certainty} |"


def _does(behaviour: cards.Behaviour) -> Iterator[str]:
    if behaviour.three_d_secure is not cards.ThreeDSecure.UNENROLLED:
        yield f"3-D Secure {behaviour.three_d_secure.replace('_', ' ')}"
    if behaviour.three_d_secure_fails:
        yield "3-D Secure fails"
    if behaviour.decline is not None:
        code = behaviour.decline.decline_code or behaviour.decline.code
        yield f"declines: `{code}`" + ("" if behaviour.attaches else ", does not attach")
    if behaviour.cvc_decline is not None:
        yield f"declines a CVC: `{behaviour.cvc_decline.code}`"
    failed = [name for name in ("cvc", "postal_code", "line1") if _is_odd(behaviour.checks, name)]
    if failed:
        yield "checks that do not pass: " + ", ".join(failed)
    if behaviour.risk_level != "normal":
        yield f"risk {behaviour.risk_level}"
    if (dispute := behaviour.dispute) is not None:
        what = "inquiry" if dispute.inquiry else "dispute"
        reason = _coded(dispute.reason, dispute.reason_certainty)
        yield f"{what}: {reason}" + (f", {dispute.count} times" * (dispute.count > 1))
    if behaviour.early_fraud_warning:
        yield "early fraud warning"
    if behaviour.refund is not cards.RefundCourse.SUCCEEDS:
        yield f"refund: {behaviour.refund.replace('_', ' ')}"
    if behaviour.funds_available_at_once:
        yield "money available at once"


def _coded(code: str, certainty: Certainty) -> str:
    """A code, which may be less sure than what it is the code of."""
    return f"`{code}`" + " (the code is assumed)" * (certainty is Certainty.ASSUMED)


def _is_odd(checks: cards.Checks, name: str) -> bool:
    return bool(getattr(checks, name) != "pass")


def calls() -> Mapping[str, frozenset[str]]:
    """What the adapter calls of Stripe's API: operations by resource."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in sorted(ADAPTER.glob("*.py")):
        for resource, operation in re.findall(r"\.(\w+)\s*\.(\w+)_async\(", file.read_text()):
            if resource != "_http":  # the connection's own
                found["checkout.sessions" if resource == "_sessions" else resource].add(operation)
    return {resource: frozenset(operations) for resource, operations in found.items()}


def _calls() -> Iterator[str]:
    yield "| resource | calls | permission |"
    yield "|---|---|---|"
    for resource, operations in sorted(calls().items()):
        needs = "read" if operations <= READING else "write"
        yield f"| `{resource}` | {', '.join(sorted(operations))} | {needs} |"


def events() -> Iterable[str]:
    """The events that an endpoint should be told of, by the SDK's own list of all there are."""
    known = literals_of(WebhookEndpointCreateParams, "enabled_events")
    return sorted(one for one in known if one.startswith(HEEDED) and one not in OURS)


def _events() -> Iterator[str]:
    yield from (f"- `{event}`" for event in events())


if __name__ == "__main__":
    PAGE.write_text(with_behaviours(PAGE.read_text()))
