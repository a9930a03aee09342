"""What every act is given, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trolley.demo.books import Books
from trolley.demo.checks import Check
from trolley.demo.orders import Orders
from trolley.demo.report import InvoiceOutcome
from trolley.demo.screen import Screen
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Shop
from trolley.runtime.stack import Runtime
from trolley.services import SANDBOX_KEY


@dataclass(frozen=True, slots=True)
class Stage:
    """A running stack, a shop to talk to, and the orders of the file.

    `invoices` says what became of each invoice, once the replay is over.
    """

    runtime: Runtime
    shop: Shop
    orders: Orders
    settings: DemoSettings
    screen: Screen
    invoices: tuple[InvoiceOutcome, ...] = ()

    @property
    def stripe_url(self) -> str:
        """Where the stand-in for Stripe answers."""
        return self.runtime.environment["PAYMENT_STRIPE_BASE_URL"]

    def books(self) -> Books:
        """The ledgers of both sides, as an async context."""
        return Books(
            self.runtime.database_url("payment"),
            self.runtime.database_url("simulated_provider"),
            (SANDBOX_KEY, self.stripe_url),
        )


@dataclass(frozen=True, slots=True)
class Findings:
    """What an act found; the replay adds its invoices, the audit its words and the money of all.

    `totals` has the minor units of all acts by currency, as the providers' books say.
    """

    checks: tuple[Check, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)
    invoices: tuple[InvoiceOutcome, ...] = ()
    audit: Mapping[str, Any] | None = None
    totals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
