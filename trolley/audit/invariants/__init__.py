"""All invariants, by subject. The order here is the order in which a report tells them."""

from trolley.audit.invariant import Invariant
from trolley.audit.invariants import (
    carts,
    checkouts,
    documents,
    events,
    messages,
    money,
    orders,
    read_models,
    stock,
)

INVARIANTS: tuple[Invariant, ...] = (
    *stock.INVARIANTS,
    *money.INVARIANTS,
    *orders.INVARIANTS,
    *checkouts.INVARIANTS,
    *documents.INVARIANTS,
    *carts.INVARIANTS,
    *read_models.INVARIANTS,
    *events.INVARIANTS,
    *messages.INVARIANTS,
)
