"""Stripe's names of its test cards that the demo pays with.

Source: Stripe guide "Test cards".
"""

STRIPE = "stripe"
"""The provider that takes them."""

VISA = "pm_card_visa"
"""It just works."""

EMPTY = "pm_card_chargeDeclinedInsufficientFunds"
"""It is declined: there is no money."""

ASKS_FIRST = "pm_card_threeDSecure2Required"
"""Its bank asks the shopper before it pays."""
