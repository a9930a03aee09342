"""Stripe's test cards and test bank accounts: what each of them does, as data.

Sources: docs.stripe.com/testing for the numbers, names and outcomes; docs.stripe.com/declines
for advice and network codes; docs.stripe.com/payments/ach-direct-debit/accept-a-payment and
docs.stripe.com/payments/sepa-debit/accept-a-payment for the bank accounts. Every entry says by
its `certainty` whether those pages tell its outcome; what of it is less sure says so in a field
of its own. docs/payments.md is generated from these tables.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from stripe_sandbox.certainty import Certainty

Brand = Literal["amex", "diners", "discover", "jcb", "mastercard", "unionpay", "unknown", "visa"]
Funding = Literal["credit", "debit", "prepaid", "unknown"]
AdviceCode = Literal["confirm_card_data", "do_not_try_again", "try_again_later"]
OutcomeType = Literal["authorized", "blocked", "issuer_declined", "manual_review"]
RiskLevel = Literal["normal", "elevated", "highest"]
Check = Literal["pass", "fail", "unavailable"]
RequestThreeDSecure = Literal["automatic", "any", "challenge"]


class UnknownTestCard(LookupError):
    """No test card or test bank account has this number or name.

    `wanted` may be a real card number: it is for the caller, and is not part of the message.
    """

    def __init__(self, wanted: str) -> None:
        super().__init__("no such test payment method")
        self.wanted = wanted


@dataclass(frozen=True, slots=True)
class Decline:
    """A refusal: the card error that the API answers with HTTP 402, and the charge's outcome.

    `code`, `decline_code`, `message` and `param` are fields of the error, `failure_code` of the
    charge is `code`. The rest are fields of the error and of `outcome`.
    """

    code: str
    decline_code: str | None
    message: str
    param: str | None = None
    advice_code: AdviceCode | None = None
    network_decline_code: str | None = None
    outcome_type: OutcomeType = "issuer_declined"
    outcome_reason: str | None = None
    network_status: Literal["declined_by_network", "not_sent_to_network"] = "declined_by_network"
    detail_certainty: Certainty = Certainty.ASSUMED
    """How sure advice_code and network_decline_code are, and a decline_code repeating the code."""


GENERIC_DECLINE = Decline(
    "card_declined",
    "generic_decline",
    "Your card was declined.",
    advice_code="try_again_later",
    network_decline_code="01",
    outcome_reason="generic_decline",
    detail_certainty=Certainty.DOCUMENTED,
)
INSUFFICIENT_FUNDS = Decline(
    "card_declined",
    "insufficient_funds",
    "Your card has insufficient funds.",
    advice_code="try_again_later",
    network_decline_code="51",
    outcome_reason="insufficient_funds",
)
LOST_CARD = Decline(
    "card_declined",
    "lost_card",
    "Your card was declined.",
    advice_code="do_not_try_again",
    network_decline_code="41",
    outcome_reason="lost_card",
)
STOLEN_CARD = Decline(
    "card_declined",
    "stolen_card",
    "Your card was declined.",
    advice_code="do_not_try_again",
    network_decline_code="43",
    outcome_reason="stolen_card",
)
EXPIRED_CARD = Decline(
    "expired_card",
    "expired_card",
    "Your card has expired.",
    param="exp_month",
    advice_code="confirm_card_data",
    network_decline_code="54",
    outcome_reason="expired_card",
)
INCORRECT_CVC = Decline(
    "incorrect_cvc",
    "incorrect_cvc",
    "Your card's security code is incorrect.",
    param="cvc",
    advice_code="confirm_card_data",
    network_decline_code="82",
    outcome_reason="incorrect_cvc",
)
PROCESSING_ERROR = Decline(
    "processing_error",
    "processing_error",
    "An error occurred while processing your card. Try again in a little bit.",
    advice_code="try_again_later",
    network_decline_code="96",
    outcome_reason="processing_error",
)
VELOCITY_EXCEEDED = Decline(
    "card_declined",
    "card_velocity_exceeded",
    "Your card was declined for making repeated attempts too frequently or exceeding its "
    "amount limit.",
    advice_code="try_again_later",
    network_decline_code="65",
    outcome_reason="card_velocity_exceeded",
)
BLOCKED = Decline(
    "card_declined",
    "fraudulent",
    "Your card was declined.",
    outcome_type="blocked",
    outcome_reason="highest_risk_level",
    network_status="not_sent_to_network",
)
BLOCKED_FOR_CVC = Decline(
    "incorrect_cvc",
    "incorrect_cvc",
    "Your card's security code is incorrect.",
    param="cvc",
    outcome_type="blocked",
    outcome_reason="rule",
)
AUTHENTICATION_REQUIRED = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
    outcome_reason="authentication_required",
)
"""What an off-session payment meets when the card wants its holder (docs.stripe.com/payments/
save-and-reuse, the section on charging later)."""
LIVE_CARD = Decline(
    "card_declined",
    "test_mode_live_card",
    "Your card was declined. Your request was in test mode, but used a non test (live) card. "
    "For a list of valid test cards, visit: https://stripe.com/docs/testing.",
)
"""What a real card meets in test mode."""

DECLINES: tuple[Decline, ...] = (
    GENERIC_DECLINE,
    INSUFFICIENT_FUNDS,
    LOST_CARD,
    STOLEN_CARD,
    EXPIRED_CARD,
    INCORRECT_CVC,
    PROCESSING_ERROR,
    VELOCITY_EXCEEDED,
    BLOCKED,
    BLOCKED_FOR_CVC,
    AUTHENTICATION_REQUIRED,
    LIVE_CARD,
)
"""Every refusal of a card that the sandbox knows."""


class ThreeDSecure(StrEnum):
    """When a card asks its holder to authenticate."""

    NOT_SUPPORTED = "not_supported"
    UNENROLLED = "unenrolled"
    """Supported, its holder not enrolled: an attempt is acknowledged without a challenge."""
    OPTIONAL = "optional"
    """Only when the payment asks for it."""
    FRICTIONLESS = "frictionless"
    """Required, and done without a challenge."""
    REQUIRED = "required"
    """Radar's default rules ask for it."""
    REQUIRED_UNLESS_SET_UP = "required_unless_set_up"
    """On session always; off session until the card was set up for later use."""
    REQUIRED_ALWAYS = "required_always"
    ALREADY_SET_UP = "already_set_up"
    """On session always; off session never."""


class Authentication(StrEnum):
    """What 3-D Secure does in one attempt to pay or to set up a card."""

    NONE = "none"
    ATTEMPTED = "attempted"
    """Asked for, acknowledged without a challenge: the payment goes on."""
    FRICTIONLESS = "frictionless"
    """Authenticated without a challenge: the payment goes on."""
    CHALLENGE = "challenge"
    """The holder must act; off session the payment is declined: `AUTHENTICATION_REQUIRED`."""
    FAILED = "failed"
    """The lookup fails: the payment is declined by `Behaviour.decline`."""


class RefundCourse(StrEnum):
    """How a refund to the card goes on; any other card's refund succeeds at once and stays so."""

    SUCCEEDS = "succeeds"
    PENDING_THEN_SUCCEEDS = "pending_then_succeeds"
    """Tells `refund.updated`."""
    SUCCEEDS_THEN_FAILS = "succeeds_then_fails"
    """Tells `refund.failed`; the failure_reason is `REFUND_FAILURE_REASON`."""


REFUND_FAILURE_REASON = "expired_or_canceled_card"
"""Why a refund to a card that refuses refunds fails."""


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute that the issuer opens by itself after the charge has succeeded.

    An inquiry takes no money and starts as warning_needs_response. `count` disputes are opened on
    the same charge. A final dispute takes no evidence and is lost from the start.
    """

    reason: str
    inquiry: bool = False
    count: int = 1
    protected_by_three_d_secure: bool = False
    final: bool = False
    reason_certainty: Certainty = Certainty.DOCUMENTED


WINNING_EVIDENCE = "winning_evidence"
LOSING_EVIDENCE = "losing_evidence"
ESCALATE_INQUIRY_EVIDENCE = "escalate_inquiry_evidence"
"""Texts that, as evidence[uncategorized_text], decide a dispute: won, lost (an inquiry closes),
and an inquiry that becomes a dispute."""


@dataclass(frozen=True, slots=True)
class Checks:
    """The issuer's answers about what was sent; a check of a field not sent is null."""

    cvc: Check = "pass"
    postal_code: Check = "pass"
    line1: Check = "pass"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a test card does. The default is a payment that succeeds without asking anything."""

    decline: Decline | None = None
    """Refuses every payment and set-up, after 3-D Secure where the card asks for it."""
    attaches: bool = True
    """Whether it can be attached to a customer; if not, attaching answers `decline`."""
    three_d_secure: ThreeDSecure = ThreeDSecure.UNENROLLED
    three_d_secure_fails: bool = False
    """3-D Secure, once tried, ends in a processing error."""
    checks: Checks = field(default_factory=Checks)
    cvc_decline: Decline | None = None
    """Refuses a payment whose card came with a CVC."""
    risk_level: RiskLevel = "normal"
    outcome_type: OutcomeType = "authorized"
    """`outcome.type` of a charge that is not declined."""
    dispute: Dispute | None = None
    early_fraud_warning: bool = False
    """The issuer reports suspected fraud after the charge, without a dispute."""
    refund: RefundCourse = RefundCourse.SUCCEEDS
    funds_available_at_once: bool = False
    """The charge goes to the available balance instead of the pending one."""

    def authentication(
        self,
        *,
        off_session: bool = False,
        set_up: bool = False,
        requested: RequestThreeDSecure = "automatic",
    ) -> Authentication:
        """What 3-D Secure does when the card pays or is set up.

        `set_up`: the card was saved for off-session use by an attempt that authenticated it.
        """
        asked = requested != "automatic"
        match self.three_d_secure:
            case ThreeDSecure.NOT_SUPPORTED:
                return Authentication.NONE
            case ThreeDSecure.UNENROLLED:
                return Authentication.ATTEMPTED if asked else Authentication.NONE
            case ThreeDSecure.OPTIONAL:
                wanted = asked
            case ThreeDSecure.FRICTIONLESS if requested != "challenge":
                return Authentication.FRICTIONLESS
            case ThreeDSecure.REQUIRED | ThreeDSecure.REQUIRED_UNLESS_SET_UP:
                wanted = asked or not (off_session and set_up)
            case ThreeDSecure.ALREADY_SET_UP:
                wanted = asked or not off_session
            case ThreeDSecure.REQUIRED_ALWAYS | ThreeDSecure.FRICTIONLESS:
                wanted = True
        if not wanted:
            return Authentication.NONE
        return Authentication.FAILED if self.three_d_secure_fails else Authentication.CHALLENGE


@dataclass(frozen=True, slots=True)
class TestCard:
    """One of Stripe's test cards.

    `stems` are the names without prefix: `visa` is `pm_card_visa` and `tok_visa`. A card with no
    number is known by name only. `networks` are those the holder may choose from.
    """

    __test__ = False  # it is no test for pytest

    number: str | None
    brand: Brand
    stems: tuple[str, ...] = ()
    behaviour: Behaviour = Behaviour()
    funding: Funding = "credit"
    country: str = "US"
    networks: tuple[str, ...] = ()
    certainty: Certainty = Certainty.DOCUMENTED
    last4: str = ""

    def __post_init__(self) -> None:
        if not self.last4 and self.number is not None:
            object.__setattr__(self, "last4", self.number[-4:])
        if not self.networks:
            object.__setattr__(self, "networks", (self.brand,))

    @property
    def payment_methods(self) -> tuple[str, ...]:
        """The names that the API takes as a payment method."""
        return tuple(f"pm_card_{stem}" for stem in self.stems)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The names that the API takes as a token."""
        return tuple(f"tok_{stem}" for stem in self.stems)


def _declining(decline: Decline) -> Behaviour:
    return Behaviour(decline=decline, attaches=False)


def _authenticating(
    when: ThreeDSecure, *, decline: Decline | None = None, fails: bool = False
) -> Behaviour:
    return Behaviour(decline=decline, three_d_secure=when, three_d_secure_fails=fails)


def _disputed(dispute: Dispute) -> Behaviour:
    return Behaviour(dispute=dispute)


_FRAUD = Dispute("fraudulent", protected_by_three_d_secure=True)
_ASSUMED = Certainty.ASSUMED
_NO_THREE_D_SECURE = Behaviour(three_d_secure=ThreeDSecure.NOT_SUPPORTED)

_BY_BRAND = (
    TestCard("4242424242424242", "visa", ("visa", "us")),
    TestCard("4000056655665556", "visa", ("visa_debit",), funding="debit"),
    TestCard("5555555555554444", "mastercard", ("mastercard",)),
    TestCard("2223003122003222", "mastercard"),
    TestCard("5200828282828210", "mastercard", ("mastercard_debit",), funding="debit"),
    TestCard("5105105105105100", "mastercard", ("mastercard_prepaid",), funding="prepaid"),
    TestCard(
        "378282246310005",
        "amex",
        ("amex", "amex_threeDSecureNotSupported"),
        _NO_THREE_D_SECURE,
    ),
    TestCard("371449635398431", "amex"),
    TestCard("6011111111111117", "discover", ("discover",)),
    TestCard("6011000990139424", "discover"),
    TestCard("6011981111111113", "discover", funding="debit"),
    TestCard("3056930009020004", "diners", ("diners",)),
    TestCard("36227206271667", "diners"),
    TestCard("6555900000604105", "discover", certainty=_ASSUMED),
    TestCard("3566002020360505", "jcb", ("jcb",), country="JP"),
    TestCard("6200000000000005", "unionpay", ("unionpay",), country="CN"),
    TestCard("6200000000000047", "unionpay", funding="debit", country="CN"),
    TestCard("6205500000000000004", "unionpay", country="CN"),
)

_CO_BRANDED = (
    TestCard(
        "4000002500001001",
        "visa",
        ("visa_cartesBancaires",),
        country="FR",
        networks=("cartes_bancaires", "visa"),
    ),
    TestCard(
        "5555552500001001",
        "mastercard",
        ("mastercard_cartesBancaires",),
        country="FR",
        networks=("cartes_bancaires", "mastercard"),
    ),
    TestCard(
        "4000050360000001",
        "visa",
        ("visa_debit_eftposAuCoBranded",),
        funding="debit",
        country="AU",
        networks=("eftpos_au", "visa"),
    ),
    TestCard(
        "5555050360000080",
        "mastercard",
        ("mastercard_debit_eftposAuCoBranded",),
        funding="debit",
        country="AU",
        networks=("eftpos_au", "mastercard"),
    ),
    TestCard(
        "4000051230000072",
        "visa",
        ("debit_visaFsaProductCode", "debit_visaHsaProductCode"),
        funding="debit",
    ),
    TestCard(
        "5200828282828897",
        "mastercard",
        ("mastercard_debit_mastercardFsaProductCode",),
        funding="debit",
    ),
)

_VISA_BY_COUNTRY: Mapping[str, str] = MappingProxyType(
    {
        "AE": "4000007840000001", "AR": "4000000320000021", "AT": "4000000400000008",
        "AU": "4000000360000006", "BE": "4000000560000004", "BG": "4000001000000000",
        "BR": "4000000760000002", "BY": "4000001120000005", "CA": "4000001240000000",
        "CH": "4000007560000009", "CL": "4000001520000001", "CN": "4000001560000002",
        "CO": "4000001700000003", "CR": "4000001880000005", "CY": "4000001960000008",
        "CZ": "4000002030000002", "DE": "4000002760000016", "DK": "4000002080000001",
        "EC": "4000002180000000", "EE": "4000002330000009", "ES": "4000007240000007",
        "FI": "4000002460000001", "FR": "4000002500000003", "GB": "4000008260000000",
        "GI": "4000002920000005", "GR": "4000003000000030", "HK": "4000003440000004",
        "HR": "4000001910000009", "HU": "4000003480000005", "IE": "4000003720000005",
        "IN": "4000003560000008", "IT": "4000003800000008", "JP": "4000003920000003",
        "LI": "4000004380000004", "LT": "4000004400000000", "LU": "4000004420000006",
        "LV": "4000004280000005", "MT": "4000004700000007", "MX": "4000004840008001",
        "MY": "4000004580000002", "NL": "4000005280000002", "NO": "4000005780000007",
        "NZ": "4000005540000008", "PA": "4000005910000000", "PE": "4000006040000068",
        "PL": "4000006160000005", "PT": "4000006200000007", "PY": "4000006000000066",
        "RO": "4000006420000001", "SE": "4000007520000008", "SG": "4000007020000003",
        "SI": "4000007050000006", "SK": "4000007030000001", "TW": "4000001580000008",
        "UY": "4000008580000003",
    }
)  # fmt: skip

_BY_COUNTRY = (
    *(
        TestCard(number, "visa", (country.lower(),), country=country)
        for country, number in _VISA_BY_COUNTRY.items()
    ),
    TestCard("5200007840000022", "mastercard", ("ae_mastercard",), country="AE"),
    TestCard("4000058260000005", "visa", ("gb_debit",), funding="debit", country="GB"),
    TestCard("5555558265554449", "mastercard", ("gb_mastercard",), country="GB"),
    TestCard("3530111333300000", "jcb", country="JP"),
    TestCard("5062210000000009", "unknown", country="MX", certainty=_ASSUMED),
    TestCard("4000006820000007", "visa", country="SA"),
    TestCard("4000007640000003", "visa", ("th_credit",), country="TH"),
    TestCard("4000057640000008", "visa", ("th_debit",), funding="debit", country="TH"),
)

_DECLINING = (
    TestCard(
        "4000000000000002",
        "visa",
        ("visa_chargeDeclined", "chargeDeclined"),
        _declining(GENERIC_DECLINE),
    ),
    TestCard(
        "4000000000009995",
        "visa",
        ("visa_chargeDeclinedInsufficientFunds", "chargeDeclinedInsufficientFunds"),
        _declining(INSUFFICIENT_FUNDS),
    ),
    TestCard("4000000000009987", "visa", ("visa_chargeDeclinedLostCard",), _declining(LOST_CARD)),
    TestCard(
        "4000000000009979", "visa", ("visa_chargeDeclinedStolenCard",), _declining(STOLEN_CARD)
    ),
    TestCard("4000000000000069", "visa", ("chargeDeclinedExpiredCard",), _declining(EXPIRED_CARD)),
    TestCard(
        "4000000000000127",
        "visa",
        ("chargeDeclinedIncorrectCvc",),
        Behaviour(decline=INCORRECT_CVC, attaches=False, checks=Checks(cvc="fail")),
    ),
    TestCard(
        "4000000000000119",
        "visa",
        ("chargeDeclinedProcessingError",),
        _declining(PROCESSING_ERROR),
    ),
    TestCard(
        "4000000000006975",
        "visa",
        ("visa_chargeDeclinedVelocityLimitExceeded",),
        _declining(VELOCITY_EXCEEDED),
    ),
    TestCard(
        "4000000000000341", "visa", ("chargeCustomerFail",), Behaviour(decline=GENERIC_DECLINE)
    ),
    TestCard(
        None,
        "visa",
        ("visa_chargeCustomerFailLostCard",),
        Behaviour(decline=LOST_CARD),
        certainty=_ASSUMED,
        last4="0341",
    ),
    TestCard(
        None,
        "visa",
        ("visa_chargeCustomerFailStolenCard",),
        Behaviour(decline=STOLEN_CARD),
        certainty=_ASSUMED,
        last4="0341",
    ),
)

_RADAR = (
    TestCard(
        "4100000000000019",
        "visa",
        ("radarBlock", "chargeDeclinedFraudulent"),
        Behaviour(decline=BLOCKED, risk_level="highest"),
    ),
    TestCard(
        "4000000000004954",
        "visa",
        ("riskLevelHighest",),
        Behaviour(decline=BLOCKED, risk_level="highest"),
        certainty=_ASSUMED,
    ),
    TestCard(
        "4000000000009235",
        "visa",
        ("riskLevelElevated",),
        Behaviour(risk_level="elevated", outcome_type="manual_review"),
        certainty=_ASSUMED,
    ),
    TestCard("4000008400000407", "visa", ("highFraudDisputeScore",), certainty=_ASSUMED),
    TestCard("4000008400000159", "visa", ("highEfwScore",), certainty=_ASSUMED),
    TestCard("4000008400001017", "visa", ("radarDynamicRiskThreshold",), certainty=_ASSUMED),
    TestCard("4001858821843804", "visa", ("freeTrialAbuseBlock",), certainty=_ASSUMED),
    TestCard(
        "4000008405600003",
        "visa",
        ("adaptive3dsChallenge",),
        _authenticating(ThreeDSecure.OPTIONAL),
        certainty=_ASSUMED,
    ),
    TestCard(
        "4000000000000101",
        "visa",
        ("cvcCheckFail",),
        Behaviour(checks=Checks(cvc="fail"), cvc_decline=BLOCKED_FOR_CVC),
        certainty=_ASSUMED,
    ),
    TestCard(
        "4000000000000036", "visa", ("avsZipFail",), Behaviour(checks=Checks(postal_code="fail"))
    ),
    TestCard(
        "4000058400307872",
        "visa",
        ("cvcCheckFailElevatedRisk",),
        Behaviour(checks=Checks(cvc="fail"), cvc_decline=BLOCKED_FOR_CVC, risk_level="elevated"),
        certainty=_ASSUMED,
    ),
    TestCard(
        "4000058400306072",
        "visa",
        ("avsZipFailElevatedRisk",),
        Behaviour(checks=Checks(postal_code="fail"), risk_level="elevated"),
        certainty=_ASSUMED,
    ),
    TestCard("4000000000000028", "visa", ("avsLine1Fail",), Behaviour(checks=Checks(line1="fail"))),
    TestCard(
        "4000000000000010",
        "visa",
        ("avsFail",),
        Behaviour(checks=Checks(postal_code="fail", line1="fail")),
    ),
    TestCard(
        "4000000000000044",
        "visa",
        ("avsUnchecked",),
        Behaviour(checks=Checks(postal_code="unavailable", line1="unavailable")),
    ),
    TestCard("4000000000001208", "visa"),
    TestCard("4000000000003725", "visa"),
)

_AUTHENTICATING = (
    TestCard(
        "4000002500003155",
        "visa",
        ("authenticationRequiredOnSetup",),
        _authenticating(ThreeDSecure.REQUIRED_UNLESS_SET_UP),
        country="FR",
    ),
    TestCard(
        "4000002760003184",
        "visa",
        ("authenticationRequired",),
        _authenticating(ThreeDSecure.REQUIRED_ALWAYS),
        country="DE",
    ),
    TestCard(
        "4000003800000446",
        "visa",
        ("authenticationRequiredSetupForOffSession",),
        _authenticating(ThreeDSecure.ALREADY_SET_UP),
        country="IT",
    ),
    TestCard(
        "4000008260003178",
        "visa",
        ("authenticationRequiredChargeDeclinedInsufficientFunds",),
        _authenticating(ThreeDSecure.REQUIRED_ALWAYS, decline=INSUFFICIENT_FUNDS),
        country="GB",
    ),
    TestCard(
        "4000000000003220",
        "visa",
        ("threeDSecure2Required",),
        _authenticating(ThreeDSecure.REQUIRED),
        country="IE",
    ),
    TestCard("4000008400000027", "visa", (), _authenticating(ThreeDSecure.REQUIRED)),
    TestCard(
        "4000000000003063",
        "visa",
        ("threeDSecureRequired",),
        _authenticating(ThreeDSecure.REQUIRED),
        certainty=_ASSUMED,
    ),
    TestCard(
        "4000008400001629",
        "visa",
        ("threeDSecureRequiredChargeDeclined",),
        _authenticating(ThreeDSecure.REQUIRED, decline=GENERIC_DECLINE),
    ),
    TestCard(
        "4000008400001280",
        "visa",
        ("threeDSecureRequiredProcessingError",),
        _authenticating(ThreeDSecure.REQUIRED, decline=GENERIC_DECLINE, fails=True),
    ),
    TestCard(
        "4000000000003055",
        "visa",
        ("threeDSecureOptional",),
        _authenticating(ThreeDSecure.OPTIONAL),
    ),
    TestCard(
        "4000000000003097",
        "visa",
        ("threeDSecureOptionalProcessingError",),
        _authenticating(ThreeDSecure.OPTIONAL, fails=True),
    ),
    TestCard("4000000032200000", "visa", (), _authenticating(ThreeDSecure.FRICTIONLESS)),
    *(
        TestCard(number, "visa", (), _authenticating(ThreeDSecure.REQUIRED), certainty=_ASSUMED)
        for number in (
            "4000582600000094",
            "4000582600000045",
            "4000582600000102",
            "4000582600000110",
        )
    ),
)

_DISPUTED = (
    TestCard("4000000000000259", "visa", ("createDispute",), _disputed(_FRAUD)),
    TestCard(
        "4000000000002685",
        "visa",
        ("createDisputeProductNotReceived",),
        _disputed(Dispute("product_not_received")),
    ),
    TestCard(
        "4000000000001976",
        "visa",
        ("createDisputeInquiry",),
        _disputed(Dispute("fraudulent", inquiry=True, reason_certainty=_ASSUMED)),
    ),
    TestCard(
        "4000000000005423",
        "visa",
        ("createIssuerFraudRecord",),
        Behaviour(early_fraud_warning=True),
    ),
    TestCard(
        "4000000404000079",
        "visa",
        ("createMultipleDisputes",),
        _disputed(Dispute("fraudulent", count=2, reason_certainty=_ASSUMED)),
    ),
    TestCard(
        "4000000404000038",
        "visa",
        ("createCe3EligibleDispute",),
        _disputed(_FRAUD),
        certainty=_ASSUMED,
    ),
    TestCard(
        "4000008400000779",
        "visa",
        ("createComplianceDispute",),
        _disputed(Dispute("noncompliant", reason_certainty=_ASSUMED)),
        certainty=_ASSUMED,
    ),
    TestCard(
        "5105008400000002",
        "mastercard",
        ("createMastercardComplianceDispute",),
        _disputed(Dispute("noncompliant", reason_certainty=_ASSUMED)),
        certainty=_ASSUMED,
    ),
    TestCard(
        "4000000001000043",
        "visa",
        ("createAutoRepresentmentEligibleDispute",),
        _disputed(_FRAUD),
        certainty=_ASSUMED,
    ),
)

_MONEY = (
    TestCard(
        "4000000000007726",
        "visa",
        ("pendingRefund",),
        Behaviour(refund=RefundCourse.PENDING_THEN_SUCCEEDS),
    ),
    TestCard(
        "4000000000005126",
        "visa",
        ("refundFail",),
        Behaviour(refund=RefundCourse.SUCCEEDS_THEN_FAILS),
    ),
    TestCard(
        "4000000000000077",
        "visa",
        ("bypassPending",),
        Behaviour(funds_available_at_once=True),
    ),
    TestCard(
        "4000003720000278",
        "visa",
        ("bypassPendingInternational",),
        Behaviour(funds_available_at_once=True),
        country="IE",
    ),
)

CARDS: tuple[TestCard, ...] = (
    *_BY_BRAND,
    *_CO_BRANDED,
    *_BY_COUNTRY,
    *_DECLINING,
    *_RADAR,
    *_AUTHENTICATING,
    *_DISPUTED,
    *_MONEY,
)
"""Every test card. Cards that behave by an account's own Radar settings behave as with the
default ones: highest risk is blocked, a failed CVC check is refused, everything else passes."""

BRAND_OF_LONG_AUTHORIZATION = frozenset({"amex", "discover", "mastercard", "visa"})
"""Brands that take extended authorization and overcapture (docs.stripe.com/payments/
extended-authorization, /overcapture); which businesses may use them is up to the networks."""

OVERCAPTURE_PERCENT = 15
"""How much over the authorized amount may be captured; the networks differ by business."""

_HOUR = 3600
AUTHORIZATION_SECONDS = 7 * 24 * _HOUR
"""How long a hold lasts online (docs.stripe.com/payments/place-a-hold-on-a-payment-method)."""
AUTHORIZATION_SECONDS_VISA_OFF_SESSION = (4 * 24 + 18) * _HOUR
AUTHORIZATION_SECONDS_EXTENDED = 30 * 24 * _HOUR
AUTHORIZATION_SECONDS_EXTENDED_VISA = (29 * 24 + 18) * _HOUR


def authorization_seconds(brand: str, *, off_session: bool = False, extended: bool = False) -> int:
    """How long after the authorization a charge may be captured: until its capture_before."""
    if extended and brand in BRAND_OF_LONG_AUTHORIZATION:
        visa = brand == "visa"
        return AUTHORIZATION_SECONDS_EXTENDED_VISA if visa else AUTHORIZATION_SECONDS_EXTENDED
    if off_session and brand == "visa":
        return AUTHORIZATION_SECONDS_VISA_OFF_SESSION
    return AUTHORIZATION_SECONDS


class DebitCourse(StrEnum):
    """Where a payment by bank debit goes after `processing`."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    """Back to requires_payment_method."""
    SUCCEEDS_THEN_DISPUTED = "succeeds_then_disputed"
    STAYS_PROCESSING = "stays_processing"
    """Until it is cancelled."""
    BLOCKED = "blocked"
    """Refused by Radar when it is confirmed; never processing."""


DELAYED_DEBIT_SECONDS = 180
"""The least time that the delayed test accounts stay processing."""

BANK_DEBIT_DISPUTE = Dispute("debit_not_authorized", final=True, reason_certainty=_ASSUMED)
"""A payer's bank takes the money back without asking: such a dispute cannot be answered."""


@dataclass(frozen=True, slots=True)
class TestBankAccount:
    """One of Stripe's test bank accounts: a US account, or a European one by its IBAN.

    `settles_after_seconds` is how long a payment stays processing: 0 is as soon as the sandbox
    works it off, None is for ever. `creation_error` is the code that making a payment method of
    it answers; then nothing else happens.
    """

    __test__ = False  # it is no test for pytest

    kind: Literal["us_bank_account", "sepa_debit"]
    number: str
    """The account number, or the IBAN without spaces."""
    course: DebitCourse
    names: tuple[str, ...] = ()
    country: str = "US"
    failure_code: str | None = None
    failure_code_certainty: Certainty = Certainty.DOCUMENTED
    """The guide tells some failures in words only, which leaves their code to be assumed."""
    settles_after_seconds: int | None = 0
    creation_error: str | None = None
    microdeposits_fail: bool = False
    certainty: Certainty = Certainty.DOCUMENTED

    @property
    def last4(self) -> str:
        """The last four characters of the account."""
        return self.number[-4:]


US_ROUTING_NUMBER = "110000000"
"""The only routing number of the US test accounts."""


def _us(
    number: str,
    name: str,
    course: DebitCourse,
    failure_code: str | None = None,
    *,
    settles_after_seconds: int | None = 0,
    microdeposits_fail: bool = False,
    certainty: Certainty = Certainty.DOCUMENTED,
) -> TestBankAccount:
    return TestBankAccount(
        kind="us_bank_account",
        number=number,
        course=course,
        names=(f"pm_usBankAccount_{name}",) if name else (),
        failure_code=failure_code,
        failure_code_certainty=_ASSUMED,
        settles_after_seconds=settles_after_seconds,
        microdeposits_fail=microdeposits_fail,
        certainty=certainty,
    )


_FAILS = DebitCourse.FAILS
_US_ACCOUNTS = (
    _us("000123456789", "success", DebitCourse.SUCCEEDS),
    _us("000111111113", "accountClosed", _FAILS, "account_closed"),
    _us("000000004954", "riskLevelHighest", DebitCourse.BLOCKED, certainty=_ASSUMED),
    _us("000111111116", "noAccount", _FAILS, "no_account"),
    _us("000222222227", "insufficientFunds", _FAILS, "insufficient_funds"),
    _us("000333333335", "debitNotAuthorized", _FAILS, "debit_not_authorized"),
    _us("000444444440", "invalidCurrency", _FAILS, "invalid_currency"),
    _us(
        "000666666661",
        "failMicrodeposits",
        DebitCourse.SUCCEEDS,
        microdeposits_fail=True,
        certainty=_ASSUMED,
    ),
    _us("000555555559", "dispute", DebitCourse.SUCCEEDS_THEN_DISPUTED),
    _us("000000000009", "processing", DebitCourse.STAYS_PROCESSING, settles_after_seconds=None),
    _us("000777777771", "weeklyLimitExceeded", _FAILS, "charge_exceeds_source_limit"),
    _us("000888888885", "", _FAILS, "account_closed", certainty=_ASSUMED),
)


@dataclass(frozen=True, slots=True)
class _SepaScenario:
    """What the IBANs of one row of Stripe's tables do; `name` is the middle of their names."""

    name: str
    course: DebitCourse
    failure_code: str | None = None
    failure_code_certainty: Certainty = Certainty.DOCUMENTED
    settles_after_seconds: int = 0
    creation_error: str | None = None


_SEPA_SCENARIOS = (
    _SepaScenario("success", DebitCourse.SUCCEEDS),
    _SepaScenario(
        "successDelayed", DebitCourse.SUCCEEDS, settles_after_seconds=DELAYED_DEBIT_SECONDS
    ),
    _SepaScenario("failed", _FAILS, "debit_not_authorized", _ASSUMED),
    _SepaScenario(
        "failedDelayed",
        _FAILS,
        "debit_not_authorized",
        _ASSUMED,
        settles_after_seconds=DELAYED_DEBIT_SECONDS,
    ),
    _SepaScenario("disputed", DebitCourse.SUCCEEDS_THEN_DISPUTED),
    _SepaScenario("exceedsWeeklyVolumeLimit", _FAILS, "charge_exceeds_source_limit"),
    _SepaScenario("exceedsWeeklyTransactionLimit", _FAILS, "charge_exceeds_weekly_limit"),
    _SepaScenario("insufficientFunds", _FAILS, "insufficient_funds"),
    _SepaScenario("", _FAILS, creation_error="sepa_debit_bank_not_supported"),
    _SepaScenario("", _FAILS, creation_error="sepa_debit_debits_not_supported"),
)

_IBANS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "AT": (
            "AT611904300234573201", "AT321904300235473204", "AT861904300235473202",
            "AT051904300235473205", "AT591904300235473203", "AT981904300000343434",
            "AT601904300000121212", "AT981904300002222227", "AT271904300000055555",
            "AT511904300000066666",
        ),
        "BE": (
            "BE62510007547061", "BE78510007547064", "BE68539007547034", "BE51510007547065",
            "BE08510007547063", "BE90510000343434", "BE52510000121212", "BE90510002222227",
            "BE19510000055555", "BE43510000066666",
        ),
        "DE": (
            "DE89370400440532013000", "DE08370400440532013003", "DE62370400440532013001",
            "DE78370400440532013004", "DE35370400440532013002", "DE65370400440000343434",
            "DE27370400440000121212", "DE65370400440002222227", "DE91370400440000055555",
            "DE18370400440000066666",
        ),
        "EE": (
            "EE382200221020145685", "EE222200221020145682", "EE762200221020145680",
            "EE922200221020145683", "EE492200221020145681", "EE672200000000343434",
            "EE292200000000121212", "EE672200000002222227",
        ),
        "FI": (
            "FI2112345600000785", "FI3712345600000788", "FI9112345600000786",
            "FI1012345600000789", "FI6412345600000787", "FI6712345600343434",
            "FI2912345600121212", "FI6712345602222227",
        ),
        "FR": (
            "FR1420041010050500013M02606", "FR3020041010050500013M02609",
            "FR8420041010050500013M02607", "FR7920041010050500013M02600",
            "FR5720041010050500013M02608", "FR9720041010050000000343434",
            "FR5920041010050000000121212", "FR9720041010050000002222227",
            "FR2620041010050000000055555", "FR5020041010050000000066666",
        ),
        "HR": (
            "HR7624020064583467589", "HR6323600002337876649", "HR2725000096983499248",
            "HR6723600004878117427", "HR8724840081455523553", "HR7424020060000343434",
            "HR3624020060000121212", "HR7424020060002222227",
        ),
        "IE": (
            "IE29AIBK93115212345678", "IE24AIBK93115212345671", "IE02AIBK93115212345679",
            "IE94AIBK93115212345672", "IE51AIBK93115212345670", "IE10AIBK93115200343434",
            "IE69AIBK93115200121212", "IE10AIBK93115202222227", "IE36AIBK93115200055555",
            "IE60AIBK93115200066666",
        ),
    }
)  # fmt: skip
"""Test IBANs of some of Stripe's countries, in the order of `_SEPA_SCENARIOS`."""


def _sepa_accounts() -> Iterable[TestBankAccount]:
    for country, ibans in _IBANS.items():
        for iban, scenario in zip(ibans, _SEPA_SCENARIOS, strict=False):
            ending = f"{scenario.name}_{country.lower()}"
            yield TestBankAccount(
                kind="sepa_debit",
                number=iban,
                course=scenario.course,
                names=(f"pm_sepaDebit_{ending}", f"pm_{ending}") if scenario.name else (),
                country=country,
                failure_code=scenario.failure_code,
                failure_code_certainty=scenario.failure_code_certainty,
                settles_after_seconds=scenario.settles_after_seconds,
                creation_error=scenario.creation_error,
            )


BANK_ACCOUNTS: tuple[TestBankAccount, ...] = (*_US_ACCOUNTS, *_sepa_accounts())
"""Every test bank account; a payment that is not delayed settles as soon as it can."""

CERTAINTY: Mapping[str, Certainty] = MappingProxyType(
    {
        "declining_cards_do_not_attach": Certainty.DOCUMENTED,
        "authenticate_unless_set_up": Certainty.DOCUMENTED,
        "authenticate_always": Certainty.DOCUMENTED,
        "already_set_up_for_off_session": Certainty.DOCUMENTED,
        "required_off_session_until_set_up": Certainty.ASSUMED,
        "unenrolled_attempt_is_acknowledged": Certainty.DOCUMENTED,
        "frictionless_when_a_challenge_is_asked_for": Certainty.ASSUMED,
        "radar_with_default_settings": Certainty.ASSUMED,
        "refund_failure_reason": Certainty.DOCUMENTED,
        "country_of_cards_named_by_brand_or_behaviour": Certainty.ASSUMED,
        "authorization_seconds": Certainty.DOCUMENTED,
        "extended_authorization_for_every_business": Certainty.ASSUMED,
        "overcapture_percent": Certainty.ASSUMED,
        "bank_debit_stays_processing_until_cancelled": Certainty.DOCUMENTED,
        "delayed_debit_seconds": Certainty.DOCUMENTED,
        "undelayed_debit_settles_at_once": Certainty.ASSUMED,
        "bank_debit_disputes_are_final": Certainty.DOCUMENTED,
        "entry_codes": Certainty.DOCUMENTED,
        "entry_code_of_a_month_gone_by": Certainty.ASSUMED,
        "entry_code_of_no_number_at_all": Certainty.ASSUMED,
        "year_too_far_ahead": Certainty.ASSUMED,
        "live_card_in_test_mode": Certainty.DOCUMENTED,
    }
)
"""How sure the rules are that hold for more than one card or account."""

_CARD_BY_NUMBER = {card.number: card for card in CARDS if card.number is not None}
_CARD_BY_NAME = {name: card for card in CARDS for name in (*card.payment_methods, *card.tokens)}
_ACCOUNT_BY_NUMBER = {account.number: account for account in BANK_ACCOUNTS}
_ACCOUNT_BY_NAME = {name: account for account in BANK_ACCOUNTS for name in account.names}


def card_of_number(number: str) -> TestCard:
    """The test card with this number, digits only. Raises `UnknownTestCard`."""
    try:
        return _CARD_BY_NUMBER[number]
    except KeyError:
        raise UnknownTestCard(number) from None


def card_of_name(name: str) -> TestCard:
    """The test card that a `pm_card_…` or `tok_…` name stands for. Raises `UnknownTestCard`."""
    try:
        return _CARD_BY_NAME[name]
    except KeyError:
        raise UnknownTestCard(name) from None


def bank_account_of_name(name: str) -> TestBankAccount:
    """The bank account of a `pm_usBankAccount_…` or `pm_sepaDebit_…` name, or `UnknownTestCard`."""
    try:
        return _ACCOUNT_BY_NAME[name]
    except KeyError:
        raise UnknownTestCard(name) from None


def bank_account_of_number(number: str) -> TestBankAccount:
    """The bank account with this account number or IBAN. Raises `UnknownTestCard`."""
    try:
        return _ACCOUNT_BY_NUMBER[number]
    except KeyError:
        raise UnknownTestCard(number) from None


class CardEntryRefused(ValueError):
    """The card as typed on the hosted page is not taken: HTTP 402 card_error."""

    def __init__(self, decline: Decline) -> None:
        super().__init__(decline.message)
        self.decline = decline


def _entry(code: str, message: str, param: str) -> Decline:
    return Decline(code, None, message, param=param, network_status="not_sent_to_network")


INVALID_NUMBER = _entry("invalid_number", "The card number is not a valid number.", "number")
INCORRECT_NUMBER = _entry("incorrect_number", "Your card number is incorrect.", "number")
INVALID_MONTH = _entry(
    "invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month"
)
INVALID_YEAR = _entry("invalid_expiry_year", "Your card's expiration year is invalid.", "exp_year")
INVALID_CVC = _entry("invalid_cvc", "Your card's security code is invalid.", "cvc")

ENTRY_ERRORS: tuple[Decline, ...] = (
    INVALID_NUMBER,
    INCORRECT_NUMBER,
    INVALID_MONTH,
    INVALID_YEAR,
    INVALID_CVC,
)
"""What is wrong with a card before any issuer is asked."""

_NUMBER_DIGITS = range(12, 20)
_YEARS_AROUND_TODAY = 50


def passes_luhn(number: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B). Digits only."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def check_entry(number: str, exp_month: int, exp_year: int, cvc: str, today: date) -> TestCard:
    """The test card that was typed on the hosted page, if every field of it is well formed.

    Spaces and hyphens in the number are ignored; a year of two digits is the one closest to
    today; the month of expiry is the last one the card is good for. Raises `CardEntryRefused`
    with an entry error, or with `LIVE_CARD` for a sound number that is no test card.
    """
    digits = number.replace(" ", "").replace("-", "")
    if not _is_digits(digits) or len(digits) not in _NUMBER_DIGITS:
        raise CardEntryRefused(INVALID_NUMBER)
    if not passes_luhn(digits):
        raise CardEntryRefused(INCORRECT_NUMBER)
    if not 1 <= exp_month <= 12:
        raise CardEntryRefused(INVALID_MONTH)
    year = full_year(exp_year, today)
    if not today.year <= year <= today.year + _YEARS_AROUND_TODAY:
        raise CardEntryRefused(INVALID_YEAR)
    if (year, exp_month) < (today.year, today.month):
        raise CardEntryRefused(INVALID_MONTH)
    amex = digits.startswith(("34", "37"))
    if not _is_digits(cvc) or len(cvc) != (4 if amex else 3):
        raise CardEntryRefused(INVALID_CVC)
    try:
        return card_of_number(digits)
    except UnknownTestCard:
        raise CardEntryRefused(LIVE_CARD) from None


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def full_year(year: int, today: date) -> int:
    """The year that one of two digits means: the closest one; any other year is itself."""
    if not 0 <= year <= 99:
        return year
    century = today.year - today.year % 100
    return min(
        (century - 100 + year, century + year, century + 100 + year),
        key=lambda candidate: abs(candidate - today.year),
    )
