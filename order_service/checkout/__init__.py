"""The checkout saga: one pure function over frozen values.

facts.py      what a checkout knows, and its states
policy.py     budgets and choices, passed in
outcomes.py   Moved, Stale, Illegal, and why
messages.py   what the saga reads
advance.py    a message's way: the gate, what it tells, what comes next
gate.py       whether it can be for this checkout
commands.py   what commands tell; notices.py, stock.py and payments.py likewise
compass.py    what comes next
turn.py       the vocabulary of both
"""

from order_service.checkout.advance import advance
from order_service.checkout.facts import Checkout, State, Tombstone
from order_service.checkout.messages import CheckoutMessage
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
