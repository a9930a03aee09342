"""Test payment methods: what a token asks for."""

import pytest

from payment_service.domain.declines import DECLINES
from payment_service.providers.simulated.methods import (
    Behaviour,
    Call,
    Fault,
    UnknownMethod,
    behaviour_of,
)


@pytest.mark.parametrize(
    ("token", "behaviour"),
    [
        ("pm_ok", Behaviour()),
        ("pm_authorize", Behaviour(capture_within_ms=7 * 24 * 3_600_000)),
        ("pm_declined_lost_card", Behaviour(decline_code="lost_card")),
        ("pm_action_required", Behaviour(action_open_ms=600_000)),
        ("pm_action_required_250", Behaviour(action_open_ms=250)),
        ("pm_processing", Behaviour(processing_ms=1000)),
        ("pm_processing_5_then_declined", Behaviour(processing_ms=5, processing_declines=True)),
        ("pm_processing+uncloseable", Behaviour(processing_ms=1000, closeable=False)),
        ("pm_ok+capture_fails", Behaviour(capture_fails=True)),
        ("pm_ok+refund_fails", Behaviour(refund_fails=True)),
        ("pm_ok+refund_pending", Behaviour(refund_pending_ms=1000)),
        (
            "pm_ok+refund_pending_7_then_fails",
            Behaviour(refund_pending_ms=7, refund_fails=True),
        ),
        ("pm_slow", Behaviour(faults={Call.CHARGE: Fault(before_ms=500)})),
        ("pm_slow_after_effect_2000", Behaviour(faults={Call.CHARGE: Fault(after_ms=2000)})),
        ("pm_timeout_before_effect", Behaviour(faults={Call.CHARGE: Fault(lost_before_effect=1)})),
        ("pm_timeout_after_effect_3", Behaviour(faults={Call.CHARGE: Fault(lost_after_effect=3)})),
        (
            "pm_slow_20+slow_after_effect_30+close_timeout_after_effect",
            Behaviour(
                faults={
                    Call.CHARGE: Fault(before_ms=20, after_ms=30),
                    Call.CLOSE: Fault(lost_after_effect=1),
                }
            ),
        ),
        ("pm_ok+ask_timeout_4", Behaviour(faults={Call.ASK: Fault(lost_before_effect=4)})),
    ],
)
def test_a_token_is_its_parts(token: str, behaviour: Behaviour) -> None:
    assert behaviour_of(token) == behaviour


@pytest.mark.parametrize("code", sorted(DECLINES))
def test_every_decline_code_has_a_token(code: str) -> None:
    assert behaviour_of(f"pm_declined_{code}").decline_code == code


@pytest.mark.parametrize(
    "token",
    [
        "",
        "ok",
        "pm_",
        "pm_nothing",
        "card_ok",
        "pm_declined_bad_mood",
        "pm_ok+",
        "pm_ok+ok",
        "pm_ok+declined_lost_card",
        "pm_slow_99999999999",
        "pm_slow_-1",
        "4242424242424242",
    ],
)
def test_anything_else_is_unknown(token: str) -> None:
    with pytest.raises(UnknownMethod):
        behaviour_of(token)
