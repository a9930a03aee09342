"""Whether an answer has the shape that Stripe's published OpenAPI description gives it.

The schemas in `objects.json` are closed: a field that Stripe's object does not have fails as well
as one that is missing or of another type. Kinds of payment method other than cards, Link, SEPA
and US bank accounts, and resources that the sandbox does not have, are refused like unknown
fields.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

Object = dict[str, Any]

DATA: Object = json.loads(Path(__file__).with_name("objects.json").read_bytes())
API_VERSION: str = DATA["api_version"]


def assert_shape(answer: Object) -> None:
    """`answer`, and each object in it, is as its field `object` (and `deleted`) demands.

    The elements of lists and of search results are of any kind that the sandbox has, but of one
    kind per list; the object within an event is of any kind. Fails with a line for each
    difference: its path, and the reason.
    """
    __tracebackhide__ = True
    if differences := list(differences_of(answer, "$")):
        raise AssertionError("\n".join(differences))


def assert_error_shape(body: Object) -> None:
    """`body` is what Stripe answers with a status of 400 or more."""
    __tracebackhide__ = True
    if differences := list(differences_from("error", body, "$")):
        raise AssertionError("\n".join(differences))


def differences_of(answer: Any, path: str) -> Iterator[str]:
    """What is wrong with an object whose kind is known by its field `object`."""
    kind = answer.get("object") if isinstance(answer, dict) else None
    names = DATA["objects"].get(kind) if isinstance(kind, str) else None
    if names is None:
        yield f"{path}: not an object of a kind that the sandbox has: {kind!r}"
        return
    deleted = [name for name in names if name.startswith("deleted_")]
    name = deleted[0] if deleted and answer.get("deleted") is True else names[0]
    yield from differences_from(name, answer, path)
    if name in ("list", "search_result") and isinstance(answer.get("data"), list):
        yield from differences_in_page(answer["data"], f"{path}.data")
    if name == "event" and isinstance(answer.get("data"), dict):
        yield from differences_of(answer["data"].get("object"), f"{path}.data.object")


def differences_in_page(elements: list[Any], path: str) -> Iterator[str]:
    """What is wrong with the elements of a list."""
    for place, element in enumerate(elements):
        yield from differences_of(element, f"{path}[{place}]")
    kinds = {str(each.get("object")) for each in elements if isinstance(each, dict)}
    if len(kinds) > 1:
        yield f"{path}: objects of several kinds in one list: {', '.join(sorted(kinds))}"


def differences_from(name: str, instance: Any, path: str) -> Iterator[str]:
    """What is wrong with an instance of the definition `name`."""
    for error in sorted(validator(name).iter_errors(instance), key=lambda each: str(each.path)):
        for cause in causes(error):
            yield f"{path}{cause.json_path[1:]}: {reason(cause)}"


@cache
def validator(name: str) -> Draft202012Validator:
    """The validator for the definition `name` of `objects.json`."""
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": DATA["$defs"]})


def causes(error: ValidationError) -> Iterator[ValidationError]:
    """The errors behind one of `anyOf`: those of the alternative that the instance comes nearest.

    That is the one whose type, and kind by `object` and `deleted`, is right; of several, the one
    with the fewest errors.
    """
    if error.validator != "anyOf" or not error.context:
        yield error
        return
    alternatives: dict[Any, list[ValidationError]] = {}
    for each in error.context:
        alternatives.setdefault(each.relative_schema_path[0], []).append(each)
    nearest = min(
        alternatives.values(), key=lambda errors: (sum(map(is_other, errors)), len(errors))
    )
    if all(is_other(each) and not each.relative_path for each in nearest):
        yield error
        return
    for each in nearest:
        yield from causes(each)


def is_other(error: ValidationError) -> bool:
    """Whether an error of an alternative says that another alternative was meant."""
    if not error.relative_path:
        return error.validator in ("type", "enum", "anyOf", "pattern")
    return list(error.relative_path) in (["object"], ["deleted"])


def reason(error: ValidationError) -> str:
    """Why an instance fails, without the instance if that is large."""
    demand: Any = error.validator_value
    instance: Any = error.instance
    match error.validator:
        case "additionalProperties":
            known: Any = error.schema
            unknown = sorted(instance.keys() - known["properties"].keys())
            return f"Stripe's object has no field {', '.join(unknown)}"
        case "required":
            missing = [name for name in demand if name not in instance]
            return f"missing {', '.join(missing)}"
        case "type":
            return f"{shown(instance)} is not of the type {demand}"
        case "anyOf":
            wanted = [each.get("type") or each.get("$ref") for each in demand]
            return f"{shown(instance)} is none of {wanted}"
        case "not":
            return f"the sandbox does not have what is here: {shown(instance)}"
        case _:
            return error.message


def shown(instance: Any) -> str:
    """The beginning of an instance as JSON."""
    text = json.dumps(instance)
    return text if len(text) <= 60 else f"{text[:60]}..."
