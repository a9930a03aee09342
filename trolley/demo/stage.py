"""What every act is given, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trolley.demo.checks import Check
from trolley.demo.orders import Orders
from trolley.demo.report import InvoiceOutcome
from trolley.demo.screen import Screen
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Shop
from trolley.runtime.stack import Runtime


@dataclass(frozen=True, slots=True)
class Stage:
    """A running stack, a shop to talk to, and the orders of the file."""

    runtime: Runtime
    shop: Shop
    orders: Orders
    settings: DemoSettings
    screen: Screen


@dataclass(frozen=True, slots=True)
class Findings:
    """What an act found; the replay adds its invoices, the audit its words."""

    checks: tuple[Check, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)
    invoices: tuple[InvoiceOutcome, ...] = ()
    audit: Mapping[str, Any] | None = None
