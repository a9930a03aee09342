"""Whether an answer has the shape that Stripe publishes for it (`extract.py` tells from where)."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_OBJECTS: Mapping[str, Any] = json.loads(Path(__file__).with_name("objects.json").read_bytes())


def assert_shape(answer: Any) -> None:
    """Fail unless the answer, and whatever is listed in it, is as Stripe describes it."""
    kind = "error" if "error" in answer else answer["object"]
    errors = [
        f"{kind} at {one.json_path}: {one.message[:500]}"
        for one in _validator(_name(kind, answer)).iter_errors(answer)
    ]
    assert not errors, "\n".join(errors)
    if kind in ("list", "search_result"):
        for one in answer["data"]:
            assert_shape(one)
    if kind == "event":
        assert_shape(answer["data"]["object"])


def _name(kind: str, answer: Any) -> str:
    if kind == "error":
        return kind
    names: list[str] = _OBJECTS["objects"][kind]
    return names[-1] if answer.get("deleted") else names[0]


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": _OBJECTS["$defs"]})
