"""Ways to pay whose money takes days to come, and stock waits for it: a shop says which it takes.

Source: Stripe guide "Payment method support", those with delayed notification. What is not among
them is known at once, or waits for the shopper no longer than any page does.
"""

from collections.abc import Collection
from typing import Literal, TypeAlias, get_args

SlowMethod: TypeAlias = Literal[
    "acss_debit",
    "au_becs_debit",
    "bacs_debit",
    "boleto",
    "customer_balance",
    "konbini",
    "multibanco",
    "nz_bank_account",
    "oxxo",
    "payto",
    "sepa_debit",
    "sofort",
    "us_bank_account",
]
"""A payment method type, by Stripe's name."""


def excluded(taken: Collection[SlowMethod]) -> list[str]:
    """All others than those that the shop takes, as `excluded_payment_method_types` lists them."""
    return sorted(set(get_args(SlowMethod)) - set(taken))
