"""What Stripe's test cards and test bank accounts do, as its testing guide tells it."""

from collections import Counter
from datetime import date

import pytest

from stripe_sandbox.cards import (
    BANK_ACCOUNTS,
    BANK_DEBIT_DISPUTE,
    CARDS,
    CERTAINTY,
    DECLINES,
    DELAYED_DEBIT_SECONDS,
    ENTRY_ERRORS,
    LIVE_CARD,
    REFUND_FAILURE_REASON,
    Authentication,
    CardEntryRefused,
    DebitCourse,
    Decline,
    RefundCourse,
    RequestThreeDSecure,
    TestBankAccount,
    TestCard,
    UnknownTestCard,
    authorization_seconds,
    bank_account_of_name,
    bank_account_of_number,
    card_of_name,
    card_of_number,
    check_entry,
    passes_luhn,
)
from stripe_sandbox.certainty import Certainty
from tests.stripe_sandbox.sdk_literals import advice_codes, error_codes

TODAY = date(2026, 11, 22)
DAY = 24 * 3600

DOCUMENTED_DECLINE_CODES = frozenset(
    {
        "authentication_required", "card_velocity_exceeded", "expired_card", "fraudulent",
        "generic_decline", "incorrect_cvc", "insufficient_funds", "lost_card",
        "processing_error", "stolen_card", "test_mode_live_card",
    }
)  # fmt: skip
"""Those of docs.stripe.com/declines/codes that a test card gives, and the one of live cards."""


def _numbered(card: TestCard) -> str:
    return card.number or card.stems[0]


# The tables


@pytest.mark.parametrize("card", CARDS, ids=_numbered)
def test_a_card_has_a_sound_number_or_at_least_a_name(card: TestCard) -> None:
    assert card.number is not None or card.stems
    if card.number is not None:
        assert passes_luhn(card.number)
        assert card.last4 == card.number[-4:]
        assert card_of_number(card.number) is card


def test_numbers_and_names_stand_for_one_card_each() -> None:
    numbers = Counter(card.number for card in CARDS if card.number is not None)
    names = Counter(
        name for card in CARDS for name in (*card.payment_methods, *card.tokens)
    ) + Counter(name for account in BANK_ACCOUNTS for name in account.names)
    accounts = Counter(account.number for account in BANK_ACCOUNTS)
    assert {*numbers.values(), *names.values(), *accounts.values()} == {1}


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("visa", "4242424242424242"),
        ("visa_debit", "4000056655665556"),
        ("mastercard", "5555555555554444"),
        ("amex", "378282246310005"),
        ("discover", "6011111111111117"),
        ("jcb", "3566002020360505"),
        ("hu", "4000003480000005"),
        ("jp", "4000003920000003"),
        ("visa_chargeDeclined", "4000000000000002"),
        ("visa_chargeDeclinedInsufficientFunds", "4000000000009995"),
        ("chargeCustomerFail", "4000000000000341"),
        ("authenticationRequiredOnSetup", "4000002500003155"),
        ("authenticationRequired", "4000002760003184"),
        ("threeDSecure2Required", "4000000000003220"),
        ("createDispute", "4000000000000259"),
        ("refundFail", "4000000000005126"),
        ("pendingRefund", "4000000000007726"),
        ("bypassPending", "4000000000000077"),
        ("radarBlock", "4100000000000019"),
    ],
)
def test_a_payment_method_and_a_token_name_the_same_card(name: str, number: str) -> None:
    card = card_of_number(number)
    assert card_of_name(f"pm_card_{name}") is card
    assert card_of_name(f"tok_{name}") is card


@pytest.mark.parametrize("unknown", ["pm_card_nobody", "visa", "", "pm_card_"])
def test_a_name_that_stripe_does_not_have_is_unknown(unknown: str) -> None:
    with pytest.raises(UnknownTestCard):
        card_of_name(unknown)


def test_the_error_of_an_unknown_number_does_not_repeat_it() -> None:
    with pytest.raises(UnknownTestCard) as unknown:
        card_of_number("4111111111111111")
    assert "4111" not in str(unknown.value)


def test_the_tables_tell_what_is_documented_from_what_is_assumed() -> None:
    assert {card.certainty for card in CARDS} == set(Certainty)
    assert set(CERTAINTY.values()) == set(Certainty)
    assert {
        account.number for account in BANK_ACCOUNTS if account.certainty is Certainty.ASSUMED
    } == {"000000004954", "000666666661", "000888888885"}


# Declines


@pytest.mark.parametrize("decline", DECLINES, ids=lambda decline: decline.decline_code)
def test_a_decline_speaks_in_codes_that_stripe_documents(decline: Decline) -> None:
    assert decline.code in error_codes()
    assert decline.decline_code in DOCUMENTED_DECLINE_CODES
    assert decline.advice_code is None or decline.advice_code in advice_codes()
    assert decline.message


@pytest.mark.parametrize(
    ("number", "code", "decline_code"),
    [
        ("4000000000000002", "card_declined", "generic_decline"),
        ("4000000000009995", "card_declined", "insufficient_funds"),
        ("4000000000009987", "card_declined", "lost_card"),
        ("4000000000009979", "card_declined", "stolen_card"),
        ("4000000000000069", "expired_card", "expired_card"),
        ("4000000000000127", "incorrect_cvc", "incorrect_cvc"),
        ("4000000000000119", "processing_error", "processing_error"),
        ("4000000000006975", "card_declined", "card_velocity_exceeded"),
    ],
)
def test_a_declining_card_cannot_even_be_attached(
    number: str, code: str, decline_code: str
) -> None:
    behaviour = card_of_number(number).behaviour
    assert behaviour.decline is not None
    assert (behaviour.decline.code, behaviour.decline.decline_code) == (code, decline_code)
    assert not behaviour.attaches


def test_one_card_is_attached_and_declines_only_when_it_pays() -> None:
    behaviour = card_of_name("pm_card_chargeCustomerFail").behaviour
    assert behaviour.attaches
    assert behaviour.decline is not None
    assert behaviour.decline.decline_code == "generic_decline"


def test_radar_blocks_before_the_network_is_asked() -> None:
    behaviour = card_of_number("4100000000000019").behaviour
    assert behaviour.risk_level == "highest"
    assert behaviour.decline is not None
    assert (behaviour.decline.outcome_type, behaviour.decline.decline_code) == (
        "blocked",
        "fraudulent",
    )
    assert behaviour.decline.network_status == "not_sent_to_network"


def test_checks_of_address_fail_without_refusing_the_payment() -> None:
    behaviour = card_of_name("pm_card_avsFail").behaviour
    assert behaviour.decline is None
    assert (behaviour.checks.postal_code, behaviour.checks.line1) == ("fail", "fail")
    assert behaviour.checks.cvc == "pass"


def test_a_failing_cvc_check_refuses_only_a_card_that_came_with_a_cvc() -> None:
    behaviour = card_of_name("pm_card_cvcCheckFail").behaviour
    assert behaviour.decline is None
    assert behaviour.checks.cvc == "fail"
    assert behaviour.cvc_decline is not None
    assert behaviour.cvc_decline.code == "incorrect_cvc"


# 3-D Secure


@pytest.mark.parametrize(
    ("name", "on_session", "off_session", "off_session_once_set_up"),
    [
        ("visa", Authentication.NONE, Authentication.NONE, Authentication.NONE),
        ("amex", Authentication.NONE, Authentication.NONE, Authentication.NONE),
        (
            "authenticationRequiredOnSetup",
            Authentication.CHALLENGE,
            Authentication.CHALLENGE,
            Authentication.NONE,
        ),
        (
            "authenticationRequired",
            Authentication.CHALLENGE,
            Authentication.CHALLENGE,
            Authentication.CHALLENGE,
        ),
        (
            "authenticationRequiredSetupForOffSession",
            Authentication.CHALLENGE,
            Authentication.NONE,
            Authentication.NONE,
        ),
        (
            "threeDSecure2Required",
            Authentication.CHALLENGE,
            Authentication.CHALLENGE,
            Authentication.NONE,
        ),
        ("threeDSecureOptional", Authentication.NONE, Authentication.NONE, Authentication.NONE),
        (
            "threeDSecureRequiredProcessingError",
            Authentication.FAILED,
            Authentication.FAILED,
            Authentication.NONE,
        ),
    ],
)
def test_a_card_asks_for_its_holder(
    name: str,
    on_session: Authentication,
    off_session: Authentication,
    off_session_once_set_up: Authentication,
) -> None:
    behaviour = card_of_name(f"pm_card_{name}").behaviour
    assert behaviour.authentication() is on_session
    assert behaviour.authentication(off_session=True) is off_session
    assert behaviour.authentication(off_session=True, set_up=True) is off_session_once_set_up


@pytest.mark.parametrize("requested", ["any", "challenge"])
@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("4242424242424242", Authentication.ATTEMPTED),
        ("378282246310005", Authentication.NONE),
        ("4000000000003055", Authentication.CHALLENGE),
        ("4000000000003097", Authentication.FAILED),
        ("4000003800000446", Authentication.CHALLENGE),
    ],
)
def test_a_payment_can_ask_for_three_d_secure(
    number: str, answer: Authentication, requested: RequestThreeDSecure
) -> None:
    assert card_of_number(number).behaviour.authentication(requested=requested) is answer


def test_a_frictionless_card_is_challenged_only_on_demand() -> None:
    behaviour = card_of_number("4000000032200000").behaviour
    assert behaviour.authentication() is Authentication.FRICTIONLESS
    assert behaviour.authentication(requested="any") is Authentication.FRICTIONLESS
    assert behaviour.authentication(requested="challenge") is Authentication.CHALLENGE


@pytest.mark.parametrize(
    ("number", "decline_code"),
    [
        ("4000008400001629", "generic_decline"),
        ("4000008260003178", "insufficient_funds"),
    ],
)
def test_a_card_may_decline_after_the_holder_has_authenticated(
    number: str, decline_code: str
) -> None:
    behaviour = card_of_number(number).behaviour
    assert behaviour.authentication() is Authentication.CHALLENGE
    assert behaviour.attaches
    assert behaviour.decline is not None
    assert behaviour.decline.decline_code == decline_code


def test_wherever_three_d_secure_can_end_a_payment_there_is_a_decline_for_it() -> None:
    for card in CARDS:
        if card.behaviour.authentication() is Authentication.FAILED:
            assert card.behaviour.decline is not None


# After the charge


@pytest.mark.parametrize(
    ("name", "reason", "inquiry", "protected"),
    [
        ("createDispute", "fraudulent", False, True),
        ("createDisputeProductNotReceived", "product_not_received", False, False),
        ("createDisputeInquiry", "fraudulent", True, False),
    ],
)
def test_a_charge_succeeds_and_is_disputed(
    name: str, reason: str, inquiry: bool, protected: bool
) -> None:
    behaviour = card_of_name(f"pm_card_{name}").behaviour
    assert behaviour.decline is None
    assert behaviour.dispute is not None
    assert (behaviour.dispute.reason, behaviour.dispute.inquiry) == (reason, inquiry)
    assert behaviour.dispute.protected_by_three_d_secure is protected


def test_one_card_is_disputed_more_than_once_and_one_only_warned_of() -> None:
    multiple = card_of_name("pm_card_createMultipleDisputes").behaviour.dispute
    assert multiple is not None
    assert multiple.count > 1
    warned = card_of_name("pm_card_createIssuerFraudRecord").behaviour
    assert warned.early_fraud_warning
    assert warned.dispute is None


def test_refunds_go_on_after_they_were_made() -> None:
    assert card_of_name("pm_card_visa").behaviour.refund is RefundCourse.SUCCEEDS
    pending = card_of_name("pm_card_pendingRefund").behaviour
    assert pending.refund is RefundCourse.PENDING_THEN_SUCCEEDS
    failing = card_of_name("pm_card_refundFail").behaviour
    assert failing.refund is RefundCourse.SUCCEEDS_THEN_FAILS
    assert REFUND_FAILURE_REASON == "expired_or_canceled_card"


def test_money_can_be_there_at_once() -> None:
    at_once = {card.number for card in CARDS if card.behaviour.funds_available_at_once}
    assert at_once == {"4000000000000077", "4000003720000278"}


def test_a_hold_lasts_as_long_as_its_network_lets_it() -> None:
    assert authorization_seconds("visa") == 7 * DAY
    assert authorization_seconds("visa", off_session=True) == 4 * DAY + 18 * 3600
    assert authorization_seconds("mastercard", off_session=True) == 7 * DAY
    assert authorization_seconds("mastercard", extended=True) == 30 * DAY
    assert authorization_seconds("visa", extended=True) == 29 * DAY + 18 * 3600
    assert authorization_seconds("jcb", extended=True) == 7 * DAY


# Bank debits


@pytest.mark.parametrize("account", BANK_ACCOUNTS, ids=lambda account: account.number)
def test_a_bank_account_tells_why_it_fails_and_only_then(account: TestBankAccount) -> None:
    assert bank_account_of_number(account.number) is account
    fails = account.course is DebitCourse.FAILS and account.creation_error is None
    assert fails is (account.failure_code is not None)
    assert (account.course is DebitCourse.STAYS_PROCESSING) is (
        account.settles_after_seconds is None
    )


def test_failure_codes_are_the_sdks_but_for_two_that_only_the_guide_names() -> None:
    codes = {account.failure_code for account in BANK_ACCOUNTS} - {None}
    assert codes - error_codes() == {"charge_exceeds_weekly_limit", "invalid_currency"}


@pytest.mark.parametrize(
    ("name", "course", "seconds"),
    [
        ("pm_usBankAccount_success", DebitCourse.SUCCEEDS, 0),
        ("pm_usBankAccount_insufficientFunds", DebitCourse.FAILS, 0),
        ("pm_usBankAccount_processing", DebitCourse.STAYS_PROCESSING, None),
        ("pm_usBankAccount_dispute", DebitCourse.SUCCEEDS_THEN_DISPUTED, 0),
        ("pm_sepaDebit_success_de", DebitCourse.SUCCEEDS, 0),
        ("pm_sepaDebit_successDelayed_de", DebitCourse.SUCCEEDS, DELAYED_DEBIT_SECONDS),
        ("pm_successDelayed_at", DebitCourse.SUCCEEDS, DELAYED_DEBIT_SECONDS),
        ("pm_sepaDebit_failedDelayed_fr", DebitCourse.FAILS, DELAYED_DEBIT_SECONDS),
        ("pm_sepaDebit_disputed_ie", DebitCourse.SUCCEEDS_THEN_DISPUTED, 0),
    ],
)
def test_a_bank_debit_leaves_processing_as_its_account_says(
    name: str, course: DebitCourse, seconds: int | None
) -> None:
    account = bank_account_of_name(name)
    assert (account.course, account.settles_after_seconds) == (course, seconds)


def test_a_disputed_bank_debit_is_lost() -> None:
    assert BANK_DEBIT_DISPUTE.final


def test_ibans_check_and_belong_to_their_country() -> None:
    for account in BANK_ACCOUNTS:
        if account.kind == "sepa_debit":
            moved = account.number[4:] + account.number[:4]
            assert int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1
            assert account.number.startswith(account.country)


def test_an_account_of_nobody_is_unknown() -> None:
    with pytest.raises(UnknownTestCard):
        bank_account_of_name("pm_usBankAccount_nobody")
    with pytest.raises(UnknownTestCard):
        bank_account_of_number("000000000000")


# The hosted page


@pytest.mark.parametrize(
    ("number", "month", "year", "cvc"),
    [
        ("4242424242424242", 12, 2034, "123"),
        ("4242 4242 4242 4242", 12, 34, "123"),
        ("4242-4242-4242-4242", 11, 2026, "000"),
        ("378282246310005", 1, 2027, "1234"),
        ("36227206271667", 1, 2027, "123"),
        ("6205500000000000004", 1, 2027, "123"),
    ],
)
def test_a_well_formed_entry_is_a_test_card(number: str, month: int, year: int, cvc: str) -> None:
    card = check_entry(number, month, year, cvc, TODAY)
    assert card.number == number.replace(" ", "").replace("-", "")


@pytest.mark.parametrize(
    ("number", "month", "year", "cvc", "code", "param"),
    [
        ("4242424242424241", 12, 2034, "123", "incorrect_number", "number"),
        ("4242", 12, 2034, "123", "invalid_number", "number"),
        ("", 12, 2034, "123", "invalid_number", "number"),
        ("4242424242424242x", 12, 2034, "123", "invalid_number", "number"),
        ("\uff14\uff12" * 8, 12, 2034, "123", "invalid_number", "number"),
        ("4242424242424242", 13, 2034, "123", "invalid_expiry_month", "exp_month"),
        ("4242424242424242", 0, 2034, "123", "invalid_expiry_month", "exp_month"),
        ("4242424242424242", 10, 2026, "123", "invalid_expiry_month", "exp_month"),
        ("4242424242424242", 12, 95, "123", "invalid_expiry_year", "exp_year"),
        ("4242424242424242", 12, 2025, "123", "invalid_expiry_year", "exp_year"),
        ("4242424242424242", 12, 2077, "123", "invalid_expiry_year", "exp_year"),
        ("4242424242424242", 12, 2034, "99", "invalid_cvc", "cvc"),
        ("4242424242424242", 12, 2034, "1234", "invalid_cvc", "cvc"),
        ("378282246310005", 12, 2034, "123", "invalid_cvc", "cvc"),
        ("4242424242424242", 12, 2034, "12a", "invalid_cvc", "cvc"),
    ],
)
def test_a_malformed_entry_is_refused_with_its_field(
    number: str, month: int, year: int, cvc: str, code: str, param: str
) -> None:
    with pytest.raises(CardEntryRefused) as refused:
        check_entry(number, month, year, cvc, TODAY)
    assert refused.value.decline in ENTRY_ERRORS
    assert (refused.value.decline.code, refused.value.decline.param) == (code, param)
    assert code in error_codes()


def test_a_real_card_is_refused_in_test_mode_and_not_repeated() -> None:
    with pytest.raises(CardEntryRefused) as refused:
        check_entry("4111111111111111", 12, 2034, "123", TODAY)
    assert refused.value.decline is LIVE_CARD
    assert LIVE_CARD.decline_code == "test_mode_live_card"
    assert "4111" not in str(refused.value)
