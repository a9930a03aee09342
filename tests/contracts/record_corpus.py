"""Records one message of every type as it goes over the wire, to be decoded by every version after.

    python -m tests.contracts.record_corpus 0.2.0

A recorded version is history and is never written again; the directory must not exist yet.
"""

import json
import sys
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid5

from pydantic import AwareDatetime, BaseModel

from contracts.envelope import Envelope
from contracts.messages import MESSAGES
from contracts.messages.base import Event, Message, SagaMessage

Part = TypeVar("Part", bound=BaseModel)

CORPUS = Path(__file__).parent / "corpus"
NAMESPACE = UUID("01940000-0000-7000-8000-000000000000")
MOMENT = datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

EXAMPLES: Mapping[str, object] = {
    "shop_id": "main",
    "amount_minor": 1500,
    "total_minor": 3000,
    "currency": "GBP",
    "sku": "85123A-255",
    "name": "WHITE HANGING HEART T-LIGHT HOLDER, GROẞ ½ €",
    "email": "shopper@example.com",
    "country": "GB",
    "postal_code": "M1 2AB",
    "city": "Manchester",
    "guest_token_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "facts": {"amount_minor": 1500, "capture_before": None},
    # One line that adds up: 6 x 2.55 less 0.30, of which 2.50 is inclusive tax.
    "unit_price_minor": 255,
    "quantity": 6,
    "Discount.amount_minor": 30,
    "Tax.amount_minor": 250,
    "inclusive": True,
    "net_minor": 1250,
    "gross_minor": 1500,
}
"""Values that the type of a field alone does not give, by field or `Owner.field`."""


def recorded(message: Message) -> dict[str, Any]:
    """The record of a message: topic, key, headers and value, as JSON."""
    envelope = Envelope(
        id=uuid5(NAMESPACE, message.type),
        type=message.type,
        source=f"/trolley/{message.topic.writers[0]}",
        time=MOMENT,
        subject=message.subject,
        shop_id=message.shop_id,
        correlation_id=message.correlation_id,
        causation_id=uuid5(NAMESPACE, "cause"),
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        step=str(message.step) if isinstance(message, SagaMessage) else None,
        round=message.round if isinstance(message, SagaMessage) else None,
        event_seq=message.event_seq if isinstance(message, Event) else None,
    )
    return {
        "topic": message.topic.name,
        "key": message.key,
        "headers": [[name, value.decode()] for name, value in envelope.headers()],
        "value": message.model_dump(mode="json"),
    }


def example(kind: type[Part]) -> Part:
    """A message or part with every field set, the optional ones too."""
    return kind(
        **{
            name: _example_value(kind.__name__, name, field.annotation, field.get_default())
            for name, field in kind.model_fields.items()
        }
    )


def _example_value(owner: str, name: str, annotation: Any, default: object) -> object:
    given = EXAMPLES.get(f"{owner}.{name}", EXAMPLES.get(name))
    if given is not None:
        return given
    if isinstance(default, StrEnum):
        return default
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return arguments[0]
    if origin in (types.UnionType, typing.Union):
        return _example_value(owner, name, arguments[0], None)
    if origin is tuple:
        return (_example_value(owner, name, arguments[0], None),)
    if issubclass(annotation, BaseModel):
        return example(annotation)
    if issubclass(annotation, StrEnum):
        return next(iter(annotation))
    by_type: dict[type, object] = {
        UUID: uuid5(NAMESPACE, name),
        AwareDatetime: MOMENT,
        Decimal: Decimal("0.2"),
        bool: True,
        int: 1,
        str: name.replace("_", " "),
    }
    return next(value for kind, value in by_type.items() if issubclass(annotation, kind))


def main(version: str) -> None:
    texts = {
        kind.type: json.dumps(recorded(example(kind)), indent=2, ensure_ascii=False) + "\n"
        for kind in MESSAGES
    }
    home = CORPUS / version
    home.mkdir(parents=True)
    for name, text in texts.items():
        (home / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
