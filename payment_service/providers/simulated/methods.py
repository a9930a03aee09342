"""Test payment methods of the simulated provider: what happens is chosen by the token.

A token is `pm_` and one or more parts joined by `+`; the first part says how the charge goes.
Times are in milliseconds. Nothing is random.

| part                                  | what happens                                            |
|---------------------------------------|---------------------------------------------------------|
| `ok`                                  | captured at once, or set aside, as the flow asks        |
| `authorize[_<ms>]`                    | the same; what is set aside lapses after ms (7 days)    |
| `declined_<code>`                     | a final no with one of the codes of `DECLINES`          |
| `action_required[_<ms>]`              | waits for the shopper, who may act for ms (600000)      |
| `processing[_<ms>][_then_declined]`   | processing for ms (1000), then captured, or declined    |
| `uncloseable`                         | what is processing cannot be closed                     |
| `capture_fails`                       | the capture fails and the authorization is gone         |
| `refund_pending[_<ms>][_then_fails]`  | a refund is pending for ms (1000), then done, or failed |
| `refund_fails`                        | a refund is refused at once                             |
| `refund_returns[_<ms>]`               | a refund is done, and comes back after ms (1000)        |
| `[<call>_]slow[_<ms>]`                | ms (500) pass before the effect                         |
| `[<call>_]slow_after_effect[_<ms>]`   | ms (2000) pass between the effect and the answer        |
| `[<call>_]timeout_before_effect[_<n>]`| the first n (1) calls time out and have no effect       |
| `[<call>_]timeout_after_effect[_<n>]` | the first n (1) calls time out after their effect       |
| `ask_timeout[_<n>]`                   | the first n (1) questions time out                      |

A charge on a page waits for the shopper, as by `action_required`, whatever else its token says.

`<call>` is `capture`, `close` or `refund`; without it the charge is meant. A fault as the first
part implies `ok`. Examples: `pm_slow_after_effect_2000`, `pm_processing_300_then_declined`,
`pm_ok+refund_timeout_after_effect`, `pm_authorize+capture_fails`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

from contracts.messages.parts import ON_PAGE
from payment_service.domain.declines import DECLINES

ACTION_OPEN_MS = 600_000
PROCESSING_MS = 1_000
CAPTURE_WITHIN_MS = 7 * 24 * 3_600_000
"""How long an authorization lasts, as with most cards."""
REFUND_PENDING_MS = 1_000
REFUND_RETURNS_MS = 1_000
SLOW_MS = 500
SLOW_AFTER_EFFECT_MS = 2_000

LARGEST_NUMBER = 10_000_000
"""Bounds every number in a token: some three hours, or so many calls."""


INVALID_METHOD = "invalid_payment_method"
"""The decline code of a token that is none of the above."""


class Call(StrEnum):
    """The calls that can be slow or time out."""

    CHARGE = "charge"
    CAPTURE = "capture"
    CLOSE = "close"
    REFUND = "refund"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one kind of call: delays, and how many of the first calls are lost."""

    before_ms: int = 0
    after_ms: int = 0
    lost_before_effect: int = 0
    lost_after_effect: int = 0


NO_FAULT = Fault()


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a token asks for."""

    decline_code: str | None = None
    action_open_ms: int | None = None
    processing_ms: int | None = None
    processing_declines: bool = False
    closeable: bool = True
    capture_within_ms: int | None = None
    capture_fails: bool = False
    refund_fails: bool = False
    refund_pending_ms: int | None = None
    refund_returns_ms: int | None = None
    faults: Mapping[Call, Fault] = field(default_factory=dict)

    def fault(self, call: Call) -> Fault:
        """What goes wrong with this kind of call."""
        return self.faults.get(call, NO_FAULT)


class UnknownMethod(ValueError):
    """The token is none that the simulated provider knows."""


_AUTHORIZE = re.compile(r"authorize(?:_(\d+))?")
_DECLINED = re.compile(r"declined_([a-z_]+)")
_ACTION = re.compile(r"action_required(?:_(\d+))?")
_PROCESSING = re.compile(r"processing(?:_(\d+))?(_then_declined)?")
_REFUND_PENDING = re.compile(r"refund_pending(?:_(\d+))?(_then_fails)?")
_REFUND_RETURNS = re.compile(r"refund_returns(?:_(\d+))?")
_FAULT = re.compile(
    r"(?:(capture|close|refund)_)?"
    r"(slow|slow_after_effect|timeout_before_effect|timeout_after_effect)(?:_(\d+))?"
)
_ASK_TIMEOUT = re.compile(r"ask_timeout(?:_(\d+))?")


@lru_cache(maxsize=4096)
def behaviour_of(token: str) -> Behaviour:
    """What this token asks for. Raises `UnknownMethod`."""
    prefix, _, parts = token.partition("_")
    first, *more = parts.split("+")
    if prefix != "pm":
        raise UnknownMethod(token)
    behaviour = _charged(first)
    if behaviour is None:
        behaviour = _varied(Behaviour(), first)
    for part in more:
        behaviour = _varied(behaviour, part)
    return behaviour


def behaviour_on_page(token: str) -> Behaviour:
    """What happens on a page, where the shopper has to act whatever else the token says.

    Raises `UnknownMethod`.
    """
    asked = Behaviour() if token == ON_PAGE else behaviour_of(token)
    return replace(asked, action_open_ms=asked.action_open_ms or ACTION_OPEN_MS)


def _charged(part: str) -> Behaviour | None:
    """How the charge goes, when that is what the part says."""
    if part == "ok":
        return Behaviour()
    if found := _AUTHORIZE.fullmatch(part):
        return Behaviour(capture_within_ms=_number(found[1], CAPTURE_WITHIN_MS))
    if (found := _DECLINED.fullmatch(part)) and found[1] in DECLINES:
        return Behaviour(decline_code=found[1])
    if found := _ACTION.fullmatch(part):
        return Behaviour(action_open_ms=_number(found[1], ACTION_OPEN_MS))
    if found := _PROCESSING.fullmatch(part):
        return Behaviour(
            processing_ms=_number(found[1], PROCESSING_MS),
            processing_declines=found[2] is not None,
        )
    return None


def _varied(behaviour: Behaviour, part: str) -> Behaviour:
    match part:
        case "uncloseable":
            return replace(behaviour, closeable=False)
        case "capture_fails":
            return replace(behaviour, capture_fails=True)
        case "refund_fails":
            return replace(behaviour, refund_fails=True)
    if found := _REFUND_PENDING.fullmatch(part):
        return replace(
            behaviour,
            refund_pending_ms=_number(found[1], REFUND_PENDING_MS),
            refund_fails=found[2] is not None,
        )
    if found := _REFUND_RETURNS.fullmatch(part):
        return replace(behaviour, refund_returns_ms=_number(found[1], REFUND_RETURNS_MS))
    if found := _ASK_TIMEOUT.fullmatch(part):
        return _faulty(behaviour, Call.ASK, "timeout_before_effect", found[1])
    if found := _FAULT.fullmatch(part):
        return _faulty(behaviour, Call(found[1] or "charge"), found[2], found[3])
    raise UnknownMethod(part)


def _faulty(behaviour: Behaviour, call: Call, kind: str, number: str | None) -> Behaviour:
    fault = behaviour.fault(call)
    match kind:
        case "slow":
            fault = replace(fault, before_ms=_number(number, SLOW_MS))
        case "slow_after_effect":
            fault = replace(fault, after_ms=_number(number, SLOW_AFTER_EFFECT_MS))
        case "timeout_before_effect":
            fault = replace(fault, lost_before_effect=_number(number, 1))
        case _:
            fault = replace(fault, lost_after_effect=_number(number, 1))
    return replace(behaviour, faults={**behaviour.faults, call: fault})


def _number(digits: str | None, default: int) -> int:
    if digits is None:
        return default
    number = int(digits[:18])
    if number > LARGEST_NUMBER:
        raise UnknownMethod(digits)
    return number
