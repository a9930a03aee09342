"""A snapshot of the databases of the services that take part in a checkout."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from trolley.audit.invariant import Source
from trolley.audit.snapshots import Snapshots

SERVICES = (Source.CART, Source.ORDER, Source.INVENTORY, Source.PAYMENT)
"""Those that take part in a checkout."""

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 30


def snapshots_of(urls: Mapping[Source, str]) -> AbstractAsyncContextManager[Snapshots]:
    """What stands in them now. Raises DatabaseUnavailable."""
    return Snapshots.taken(
        {source: urls[source] for source in SERVICES},
        connect_seconds=CONNECT_SECONDS,
        statement_seconds=STATEMENT_SECONDS,
    )
