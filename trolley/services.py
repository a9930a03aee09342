"""Every service, declared once: what runs, under which settings, on which databases."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Database:
    """A database and the setting that carries its URL."""

    name: str
    setting: str
    migrations: str | None
    """The package whose Alembic migrations make it; None if its owner makes it by itself."""


@dataclass(frozen=True)
class Service:
    """A program that runs as `python -m <module>`, as many times as there are replicas."""

    name: str
    module: str
    prefix: str
    """What the names of its settings begin with."""
    databases: tuple[Database, ...]
    replicated: bool = True
    """Whether there are as many of it as are asked for; else one is enough."""
    links: tuple[tuple[str, str], ...] = ()
    """Settings that hold the public address of a service, itself or another: (setting, name)."""
    gives: tuple[tuple[str, str], ...] = ()
    """Settings that every process has while it is one of the services, unless they are given."""

    @property
    def host_setting(self) -> str:
        """The setting with the address it listens on."""
        return f"{self.prefix}HTTP_HOST"

    @property
    def port_setting(self) -> str:
        """The setting with the port it listens on."""
        return f"{self.prefix}HTTP_PORT"

    @property
    def slot_setting(self) -> str:
        """The setting with the stable index of a replica."""
        return f"{self.prefix}INSTANCE_SLOT"


def _service(name: str, *more: Database, links: tuple[tuple[str, str], ...] = ()) -> Service:
    package, prefix = f"{name}_service", f"{name.upper()}_"
    own = Database(name, f"{prefix}DATABASE_URL", package)
    return Service(name, f"{package}.app", prefix, (own, *more), links=links)


SERVICES: tuple[Service, ...] = (
    _service("catalog"),
    _service("cart", links=(("CART_ORDER_BASE_URL", "order"),)),
    _service("inventory"),
    _service("order", links=(("ORDER_PUBLIC_BASE_URL", "order"),)),
    # The simulated provider must outlive a killed payment service: a database of its own.
    _service(
        "payment",
        Database(
            "simulated_provider",
            "PAYMENT_SIMULATED_DATABASE_URL",
            "payment_service.providers.simulated",
        ),
        links=(("PAYMENT_PUBLIC_BASE_URL", "payment"),),
    ),
)


OPERATIONS = Service(
    "operations", "trolley.operations.app", "OPERATIONS_", databases=(), replicated=False
)
"""Reads what the services wrote; no checkout needs it."""


SANDBOX_KEY = "sk_test_sandbox"

STRIPE_SANDBOX = Service(
    "stripe",
    "stripe_sandbox",
    "STRIPE_SANDBOX_",
    databases=(),
    replicated=False,
    links=(
        ("PAYMENT_STRIPE_BASE_URL", "stripe"),
        ("STRIPE_SANDBOX_PUBLIC_URL", "stripe"),
        ("STRIPE_SANDBOX_WEBHOOK_BASE_URL", "payment"),
    ),
    gives=(
        ("PAYMENT_STRIPE_API_KEY", SANDBOX_KEY),
        ("PAYMENT_STRIPE_WEBHOOK_SECRETS", '["whsec_sandbox"]'),
        ("PAYMENT_STRIPE_SLOW_METHODS", '["sepa_debit", "us_bank_account"]'),
        # It refuses nobody; Stripe's own limit would only hold the demo up.
        ("PAYMENT_STRIPE_REQUESTS_PER_SECOND", "1000"),
        ("TROLLEY_PAYMENT_PROVIDERS", '["simulated", "stripe"]'),
    ),
)
"""Stands in for Stripe wherever nobody has given a key of Stripe's."""


def stand_ins(environment: Mapping[str, str]) -> tuple[Service, ...]:
    """What stands in for services of others that these settings do not name."""
    given = environment.get("PAYMENT_STRIPE_API_KEY", SANDBOX_KEY)
    return (STRIPE_SANDBOX,) if given == SANDBOX_KEY else ()


def databases(services: tuple[Service, ...] = SERVICES) -> Iterator[Database]:
    """All databases of these services."""
    for service in services:
        yield from service.databases
