"""The nine acts in their order, and what remains of each."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trolley.demo.act_audit import audit_everything
from trolley.demo.act_crash import crash_services
from trolley.demo.act_currencies import sell_in_other_currencies
from trolley.demo.act_declines import decline_cards
from trolley.demo.act_import import import_goods
from trolley.demo.act_race import race_for_the_last
from trolley.demo.act_replay import replay_invoices
from trolley.demo.act_returns import take_goods_back
from trolley.demo.act_trouble import pay_through_trouble
from trolley.demo.checks import Act, Check
from trolley.demo.report import InvoiceOutcome
from trolley.demo.stage import Findings, Stage

ACTS: tuple[tuple[str, Callable[[Stage], Awaitable[Findings]]], ...] = (
    ("Import: goods, prices and stock", import_goods),
    ("Replay: every invoice is a checkout", replay_invoices),
    ("Returns: goods come back, their money goes back", take_goods_back),
    ("Currencies: no decimals, two, and three", sell_in_other_currencies),
    ("Race: too many shoppers for the last pieces", race_for_the_last),
    ("Declines: the first card is refused", decline_cards),
    ("Crash: services are killed at the worst moment", crash_services),
    ("Trouble: a bank asks, an answer is lost, webhooks never come", pay_through_trouble),
    ("Audit: every rule over every database", audit_everything),
)
NEEDED_BY_ALL = 1
"""Without the goods of this act nothing else can be played."""


@dataclass(slots=True)
class Played:
    """What remains of the acts played so far."""

    acts: list[Act] = field(default_factory=list)
    invoices: tuple[InvoiceOutcome, ...] = ()
    audit: Any = None
    totals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


async def play(stage: Stage, played: Played) -> None:
    """Plays every act, notes each in `played` and shows it when it is over.

    An act that breaks off has not held; the others are still played, if there is anything to
    play with.
    """
    for number, (title, act) in enumerate(ACTS, start=1):
        began = time.monotonic()
        try:
            with stage.screen.bars():
                findings = await act(replace(stage, invoices=played.invoices))
        except Exception as error:  # noqa: BLE001 - whatever it is, the act has not held
            broke_off = f"{type(error).__name__}: {error}"
            findings = Findings((Check("the act is played to its end", "yes", broke_off),))
        ended = Act(number, title, findings.checks, findings.figures, time.monotonic() - began)
        played.acts.append(ended)
        played.invoices = findings.invoices or played.invoices
        played.audit = findings.audit or played.audit
        played.totals = findings.totals or played.totals
        stage.screen.show_act(ended)
        if number == NEEDED_BY_ALL and not ended.held:
            return
