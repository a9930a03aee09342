"""The inventory service, with a bug or without (see `tests.system.buggy`)."""

from datetime import datetime
from typing import Any

from contracts.messages.inventory import ReserveStock
from inventory_service import domain
from inventory_service.app import build
from tests.system.buggy import Bug, bug

SKU = bug()
_reserve = domain.reserve


def _refusing(message: ReserveStock, reservation: Any, stock: Any, now: datetime) -> Any:
    if any(line.sku == SKU for line in message.lines):
        raise Bug(f"cannot reserve {SKU!r}")
    return _reserve(message, reservation, stock, now)


if __name__ == "__main__":
    domain.reserve = _refusing  # type: ignore[assignment]  # the bug
    build().run()
