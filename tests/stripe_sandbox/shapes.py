"""Whether answers have the shapes that Stripe publishes (`objects.json`, see `extract`)."""

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_PUBLISHED = json.loads(Path(__file__).with_name("objects.json").read_bytes())


def assert_shape(answer: dict[str, Any]) -> None:
    """An object is one of those that Stripe publishes, and so are those of a list or an event."""
    kind = answer["object"]
    assert kind in _PUBLISHED["objects"], f"no such object is published: {kind}"
    names = _PUBLISHED["objects"][kind]
    wrong = [_first_error(_validator(name), answer) for name in names]
    assert None in wrong, f"not the shape of {' or '.join(names)}: {'; '.join(map(str, wrong))}"
    if kind in ("list", "search_result"):
        for one in answer["data"]:
            assert_shape(one)
    if kind == "event":
        assert_shape(answer["data"]["object"])


def assert_error_shape(answer: dict[str, Any]) -> None:
    """The body is that of an error; objects within it have their shapes."""
    wrong = _first_error(_validator("error"), answer)
    assert wrong is None, f"not the shape of an error: {wrong}"


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": _PUBLISHED["$defs"]})


def _first_error(validator: Draft202012Validator, answer: Any) -> str | None:
    for error in validator.iter_errors(answer):
        leaves = [error]
        while leaves[-1].context:
            leaves.append(max(leaves[-1].context, key=lambda one: len(one.absolute_path)))
        deepest = leaves[-1]
        where = ".".join(map(str, deepest.absolute_path)) or "the object"
        return f"{where}: {deepest.message[:300]}"
    return None
