"""Facts as a column of JSON has them: structs, and models where a message brought them.

Facts that a newer writer added are ignored.
"""

from typing import Any, TypeVar

from msgspec import Struct, json
from pydantic import BaseModel

F = TypeVar("F", bound=Struct)


def reader_of(kind: type[F]) -> json.Decoder[F]:
    """Reads facts of this kind."""
    return json.Decoder(kind, dec_hook=_model)


def written(facts: Struct) -> str:
    """The facts as JSON."""
    return _WRITER.encode(facts).decode()


def _model(kind: type[Any], value: Any) -> Any:
    if issubclass(kind, BaseModel):
        return kind.model_validate(value)
    raise NotImplementedError(kind.__name__)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise NotImplementedError(type(value).__name__)


_WRITER = json.Encoder(enc_hook=_plain)
