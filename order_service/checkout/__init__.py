"""The checkout saga: one pure function over frozen values.

facts.py      what a checkout knows, and its states
policy.py     budgets and choices, passed in
outcomes.py   Moved, Stale, Illegal, and why
advance.py    what each message tells
compass.py    what comes next
turn.py       the vocabulary of both
"""

from order_service.checkout.advance import CheckoutMessage, advance
from order_service.checkout.facts import Checkout, State, Tombstone
from order_service.checkout.outcomes import Illegal, Moved, Outcome, Stale
from order_service.checkout.policy import Lapse, LateSuccess, Policy

__all__ = [
    "Checkout",
    "CheckoutMessage",
    "Illegal",
    "Lapse",
    "LateSuccess",
    "Moved",
    "Outcome",
    "Policy",
    "Stale",
    "State",
    "Tombstone",
    "advance",
]
