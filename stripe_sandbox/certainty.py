"""How sure the sandbox is that Stripe does what it does."""

from enum import StrEnum


class Certainty(StrEnum):
    """Where a behaviour was taken from; docs/payments.md lists every behaviour under it."""

    DOCUMENTED = "documented"
    """Stripe's documentation, OpenAPI description or SDK says so, or a published API answer."""
    ASSUMED = "assumed"
    """Nothing published settles it: the likeliest answer, to be checked against a live account."""
