"""Declines, as errors and charges tell them."""

from typing import Any

from stripe_sandbox.cards import Decline
from stripe_sandbox.database import Object
from stripe_sandbox.resources.charges import outcome


def facts_of(decline: Decline) -> dict[str, Any]:
    """The fields of an error that say why."""
    return {
        "code": decline.code,
        "param": decline.param,
        "decline_code": decline.decline_code or None,
        "advice_code": decline.advice_code,
        "network_decline_code": decline.network_decline_code,
    }


def outcome_of(decline: Decline) -> Object:
    """The outcome of a charge that was declined."""
    blocked = decline.outcome_type == "blocked"
    return outcome(
        decline.outcome_type,
        advice_code=decline.advice_code,
        network_decline_code=decline.network_decline_code,
        network_status=decline.network_status,
        reason=decline.outcome_reason,
        risk_level="highest" if blocked else "normal",
        risk_score=90 if blocked else 20,
        seller_message="The payment was blocked." if blocked else "The bank said no.",
    )
