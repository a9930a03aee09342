"""Request bodies: strict, bounded and free of surprises."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class RequestBody(BaseModel):
    """Base of all request bodies: unknown fields are refused, and what is invalid is not told."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


WholeNumber = Annotated[int, Field(strict=True)]
"""An integer that is written as one: no "1", no 1.0, no true."""

ShortText = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=255)]
"""A name, a code, a line of an address."""
