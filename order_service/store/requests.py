"""The requests that checkouts began with, parsed and kept: each is read with every message.

A request never changes, so a copy is as good as the row. What is kept is bounded in bytes, and what
was not asked for longest goes first.
"""

from collections import OrderedDict

from contracts.messages.order import StartCheckout

KEPT_BYTES = 16 * 1024 * 1024
"""Of requests as they are stored: some 15,000 of three lines. Parsed they take about eight times as
much; a checkout that waits in a longer queue is parsed again."""


class KeptRequests:
    """Parsed requests by their stored bytes, the least recently used forgotten first."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[bytes, StartCheckout] = OrderedDict()
        self._kept_bytes = 0

    def parsed(self, stored: bytes) -> StartCheckout:
        """The request in a row."""
        request = self._kept.get(stored)
        if request is None:
            request = StartCheckout.model_validate_json(stored)
            self._keep(stored, request)
        else:
            self._kept.move_to_end(stored)
        return request

    def stored(self, request: StartCheckout) -> bytes:
        """The request as its row has it."""
        stored = request.model_dump_json().encode()
        if stored not in self._kept:
            self._keep(stored, request)
        return stored

    def _keep(self, stored: bytes, request: StartCheckout) -> None:
        self._kept[stored] = request
        self._kept_bytes += len(stored)
        while self._kept_bytes > self._most_bytes:
            forgotten, _ = self._kept.popitem(last=False)
            self._kept_bytes -= len(forgotten)
