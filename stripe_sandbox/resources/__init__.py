"""The objects of the API, one module each, with the operations on them."""

from collections.abc import Mapping

from stripe_sandbox.expansion import Includes
from stripe_sandbox.operations import Operation
from stripe_sandbox.resources import (
    accounts,
    balance,
    charges,
    customers,
    disputes,
    events,
    payment_intents,
    payment_links,
    payment_methods,
    prices,
    products,
    refunds,
    sessions,
    setup_intents,
    webhook_endpoints,
)

OPERATIONS: Mapping[str, Operation] = {
    name: operation
    for module in (
        accounts,
        balance,
        charges,
        customers,
        disputes,
        events,
        payment_intents,
        payment_links,
        payment_methods,
        prices,
        products,
        refunds,
        sessions,
        setup_intents,
        webhook_endpoints,
    )
    for name, operation in module.OPERATIONS.items()
}
"""Every operation that the sandbox has, by method and path template."""

INCLUDES: Includes = {**charges.INCLUDES, **payment_links.INCLUDES, **sessions.INCLUDES}
"""Every field that is there on demand."""
