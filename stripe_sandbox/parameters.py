"""What a request says: from the bytes of a form or a query to checked values, and nothing else.

`decode_form` undoes the bracket notation of Stripe's API (`a[b]=1`, `a[]=x`, `a[0][b]=y`);
`checked` then reads the strings as what `parameters.json` says that the operation takes. That
file is extracted from Stripe's published OpenAPI description of one version of the API.

Whatever does not fit is an `InvalidParameter` and an answer of status 400. No message repeats a
value that was sent: it may be a card number.
"""

import difflib
import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn, assert_never
from urllib.parse import unquote

Raw = str | list["Raw"] | dict[str, "Raw"]
"""What a form says: strings, lists and dictionaries of them."""

Value = str | int | float | bool | list["Value"] | dict[str, "Value"] | None
"""What an operation takes; None where an empty string asks to unset a field."""

FORM_BYTES = 1_048_576
"""Ten times what an operation with all its lists full and its texts at their limits takes."""
FORM_PAIRS = 5_000
"""200 lines of an order with 20 fields each, and everything else."""
FORM_NAME_LEVELS = 12
"""The deepest parameter of the operations here has 7."""
FORM_NAME_CHARACTERS = 500
"""Several times the longest name in Stripe's description; errors repeat names."""

NAMES_CACHED = 2_048
"""More than the names that the requests of one shop have; 3 MB if all are as long as they can."""

METADATA_KEYS = 50
METADATA_KEY_CHARACTERS = 40
METADATA_VALUE_CHARACTERS = 500
"""These three are Stripe's (https://docs.stripe.com/api/metadata)."""

INTEGER_DIGITS = 18
"""As many as always fit into 64 bits; a charge has at most 8."""


class InvalidParameter(Exception):
    """A request that Stripe answers with status 400 and an `invalid_request_error`.

    `code` is one of https://docs.stripe.com/error-codes, or None where Stripe's answer has none.
    """

    code: ClassVar[str | None] = None

    def __init__(self, param: str | None) -> None:
        super().__init__(param)
        self.param = param
        """The parameter in bracket notation, as `payment_method_data[type]`, if it is one."""

    @property
    def message(self) -> str:
        """A sentence for the developer who sent the request."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.message


class MalformedForm(InvalidParameter):
    """The body or query cannot be read as a form, or says two things of one parameter."""

    def __init__(self, reason: str, param: str | None = None) -> None:
        super().__init__(param)
        self.reason = reason

    @property
    def message(self) -> str:
        """What is wrong, and with which name."""
        of = "" if self.param is None else f" (at {self.param})"
        return f"The request cannot be read as a form: {self.reason}{of}."


class UnknownParameter(InvalidParameter):
    """The operation has no parameter of this name."""

    code = "parameter_unknown"

    def __init__(self, param: str, nearest: str | None) -> None:
        super().__init__(param)
        self.nearest = nearest
        """The parameter that may have been meant."""

    @property
    def message(self) -> str:
        """The name, and the one that may have been meant."""
        hint = "" if self.nearest is None else f". Did you mean {self.nearest}?"
        return f"Received unknown parameter: {self.param}{hint}"


class MissingParameter(InvalidParameter):
    """A parameter that the operation requires, or that an object sent requires, is not there."""

    code = "parameter_missing"

    @property
    def message(self) -> str:
        """The name that is missing."""
        return f"Missing required param: {self.param}."


class EmptyParameter(InvalidParameter):
    """An empty string, which asks to unset, for a parameter that cannot be unset."""

    code = "parameter_invalid_empty"

    @property
    def message(self) -> str:
        """The name that was sent without a value."""
        return f"{self.param} is empty, and it cannot be unset: send a value or leave it out."


class EmptyString(InvalidParameter):
    """An empty string as an element of a list, where there is nothing that it could unset."""

    code = "parameter_invalid_string_empty"

    @property
    def message(self) -> str:
        """The name of the element."""
        return f"{self.param} must have at least one character."


class BlankString(InvalidParameter):
    """White space only, for a parameter that is required."""

    code = "parameter_invalid_string_blank"

    @property
    def message(self) -> str:
        """The name of the parameter."""
        return f"{self.param} must not consist of white space only."


class InvalidInteger(InvalidParameter):
    """Something else than decimal digits, perhaps after a minus sign, for an integer."""

    code = "parameter_invalid_integer"

    @property
    def message(self) -> str:
        """The name of the parameter."""
        return f"{self.param} must be an integer of at most {INTEGER_DIGITS} digits."


class WrongType(InvalidParameter):
    """A parameter of another type: `expected` is string, boolean, number, decimal, array, ..."""

    def __init__(self, param: str, expected: str) -> None:
        super().__init__(param)
        self.expected = expected

    @property
    def message(self) -> str:
        """The name of the parameter and what it has to be."""
        return f"{self.param} must be of the type {self.expected}."


class InvalidChoice(InvalidParameter):
    """A string that is none of those allowed."""

    def __init__(self, param: str, allowed: tuple[str, ...]) -> None:
        super().__init__(param)
        self.allowed = allowed

    @property
    def message(self) -> str:
        """The name of the parameter and what it may be."""
        *others, last = self.allowed
        listed = f"{', '.join(others)} or {last}" if others else last
        return f"{self.param} must be {listed}."


class TooLong(InvalidParameter):
    """A string with more characters than the parameter may have."""

    def __init__(self, param: str, maximum: int) -> None:
        super().__init__(param)
        self.maximum = maximum

    @property
    def message(self) -> str:
        """The name of the parameter and its limit."""
        return f"{self.param} must have at most {self.maximum} characters."


class InvalidMetadata(InvalidParameter):
    """Metadata with too many keys, too long a key or value, or a value that is no string."""

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(param)
        self.reason = reason

    @property
    def message(self) -> str:
        """The limit that was passed."""
        return f"{self.param}: {self.reason}."


# Forms

NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def decode_form(body: bytes) -> dict[str, Raw]:
    """The parameters of a form body or query string, nested as their brackets say.

    `a[]=x&a[]=y` and `a[0]=x&a[1]=y` are both the list `["x", "y"]`; numbers that do not count up
    from 0 are keys like others. `a[][b]=1` adds to the last object of a list unless that has a
    `b` already. Raises `MalformedForm` for what is too large or deep, not UTF-8, or contradicts
    itself: a name used for a value and an object, or twice.
    """
    if len(body) > FORM_BYTES:
        raise MalformedForm(f"it has more than {FORM_BYTES} bytes")
    if body.count(b"&") >= FORM_PAIRS:
        raise MalformedForm(f"it has more than {FORM_PAIRS} parameters")
    form: dict[str, Raw] = {}
    numbered = False
    try:
        for pair in body.decode().replace("+", " ").split("&"):
            if pair:
                encoded, _, value = pair.partition("=")
                name = name_of(encoded)
                numbered = numbered or name.numbered
                put(form, name, unquote(value, errors="strict") if "%" in value else value)
    except UnicodeDecodeError as error:
        raise MalformedForm("it is not in UTF-8") from error
    if numbered:
        return {key: with_lists(value) for key, value in form.items()}
    return form


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a parameter, taken apart: `a[b][]` is `a`, `b` and the empty string."""

    text: str
    path: tuple[str, ...]
    numbered: bool
    """Whether it may name an element of a list by its place."""


@functools.lru_cache(maxsize=NAMES_CACHED)
def name_of(encoded: str) -> Name:
    """The name that stands percent-encoded before an equals sign."""
    text = unquote(encoded, errors="strict")
    if len(text) > FORM_NAME_CHARACTERS:
        raise MalformedForm(f"a name has more than {FORM_NAME_CHARACTERS} characters")
    if (match := NAME.fullmatch(text)) is None:
        raise MalformedForm("the brackets of a name do not pair up", text)
    first, brackets = match.groups()
    path = (first, *brackets[1:-1].split("][")) if brackets else (first,)
    if len(path) > FORM_NAME_LEVELS:
        raise MalformedForm(f"a name has more than {FORM_NAME_LEVELS} levels", text)
    return Name(text, path, numbered=any(key.isdigit() for key in path[1:]))


def put(form: dict[str, Raw], name: Name, value: str) -> None:
    """Put `value` where `name` says into `form`, with the lists and dictionaries on the way."""
    node: Raw = form
    path = name.path
    for place, key in enumerate(path, 1):
        if place == len(path):
            fresh: Raw = value
        else:
            fresh = {} if path[place] else []
        if isinstance(node, list):
            if node and type(node[-1]) is not type(fresh):
                raise MalformedForm("it has values of several kinds for one name", name.text)
            if not node or isinstance(fresh, str) or has(node[-1], path[place:]):
                node.append(fresh)
            node = node[-1]
        elif isinstance(node, dict):
            if key not in node:
                node[key] = fresh
            elif type(node[key]) is not type(fresh):
                raise MalformedForm("it has values of several kinds for one name", name.text)
            elif isinstance(fresh, str):
                raise MalformedForm("it has several values for one name", name.text)
            node = node[key]


def has(node: Raw, path: tuple[str, ...]) -> bool:
    """Whether there is a value at `path` within `node`; a list always has room for another."""
    for key in path:
        if not isinstance(node, dict):
            return key != "" or not isinstance(node, list)
        if key not in node:
            return False
        node = node[key]
    return True


def with_lists(node: Raw) -> Raw:
    """`node` with a list for each dictionary whose keys count up from 0."""
    match node:
        case str():
            return node
        case list():
            return [with_lists(each) for each in node]
        case dict():
            keys = [str(index) for index in range(len(node))]
            if node.keys() == set(keys):
                return [with_lists(node[key]) for key in keys]
            return {key: with_lists(each) for key, each in node.items()}


# Rules

INTEGER = re.compile(rf"-?[0-9]{{1,{INTEGER_DIGITS}}}")
DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,12})?")

Rule = Callable[[Raw, str], Value]
"""Reads what a form says of one parameter, whose full name is the second argument.

A rule raises `InvalidParameter`.
"""


@dataclass(frozen=True, slots=True)
class Text:
    """A string, perhaps one of a few."""

    maximum: int | None
    choices: frozenset[str] | None
    allowed: tuple[str, ...]
    decimal: bool

    def __call__(self, raw: Raw, param: str) -> Value:
        if not isinstance(raw, str):
            raise WrongType(param, "string")
        if not raw:
            raise EmptyParameter(param)
        if self.choices is not None and raw not in self.choices:
            raise InvalidChoice(param, self.allowed)
        if self.maximum is not None and len(raw) > self.maximum:
            raise TooLong(param, self.maximum)
        if self.decimal and DECIMAL.fullmatch(raw) is None:
            raise WrongType(param, "decimal")
        return raw


def integer(raw: Raw, param: str) -> Value:
    """Decimal digits as an int."""
    if not isinstance(raw, str) or INTEGER.fullmatch(raw) is None:
        raise InvalidInteger(param)
    return int(raw)


def number(raw: Raw, param: str) -> Value:
    """Decimal digits, perhaps with a point, as a float: a percentage or a length, never money."""
    if raw == "":
        raise EmptyParameter(param)
    if not isinstance(raw, str) or DECIMAL.fullmatch(raw) is None:
        raise WrongType(param, "number")
    return float(raw)


def boolean(raw: Raw, param: str) -> Value:
    """`true` or `false`."""
    match raw:
        case "true":
            return True
        case "false":
            return False
        case "":
            raise EmptyParameter(param)
        case _:
            raise WrongType(param, "boolean")


@dataclass(frozen=True, slots=True)
class Unsettable:
    """What `rule` takes, or an empty string: None."""

    rule: Rule

    def __call__(self, raw: Raw, param: str) -> Value:
        return None if raw == "" else self.rule(raw, param)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list. Numbers as keys order its elements, even if some are left out."""

    item: Rule

    def __call__(self, raw: Raw, param: str) -> Value:
        match raw:
            case "":
                raise EmptyParameter(param)
            case str():
                raise WrongType(param, "array")
            case list():
                elements = dict(enumerate(raw))
            case dict():
                elements = {index_in(key, param): raw[key] for key in raw}
            case _:
                assert_never(raw)
        values: list[Value] = []
        for index in sorted(elements):
            if elements[index] == "":
                raise EmptyString(f"{param}[{index}]")
            values.append(self.item(elements[index], f"{param}[{index}]"))
        return values


def index_in(key: str, param: str) -> int:
    """The place of an element of the list `param` whose name is `param[key]`."""
    if not (key.isascii() and key.isdigit() and len(key) <= INTEGER_DIGITS):
        raise WrongType(param, "array")
    return int(key)


@dataclass(frozen=True, slots=True)
class Fields:
    """An object with these fields and no others; on the top, where `param` is "", a request."""

    rules: Mapping[str, Rule]
    required: tuple[str, ...]

    def __call__(self, raw: Raw, param: str) -> Value:
        if not isinstance(raw, dict):
            raise EmptyParameter(param) if raw == "" else WrongType(param, "object")
        values: dict[str, Value] = {}
        for name, each in raw.items():
            full = f"{param}[{name}]" if param else name
            if (rule := self.rules.get(name)) is None:
                self.refuse(name, param, full)
            values[name] = rule(each, full)
        for name in self.required:
            value = values.get(name, MISSING)
            full = f"{param}[{name}]" if param else name
            if value is MISSING:
                raise MissingParameter(full)
            if isinstance(value, str) and value.isspace():
                raise BlankString(full)
        return values

    def refuse(self, name: str, param: str, full: str) -> NoReturn:
        """Say that there is no field `name`, and which one may have been meant."""
        nearest = difflib.get_close_matches(name, self.rules, n=1)
        meant = None if not nearest else f"{param}[{nearest[0]}]" if param else nearest[0]
        raise UnknownParameter(full, meant)


MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Table:
    """An object with keys of the caller's choice, as `currency_options[eur]`."""

    values: Rule

    def __call__(self, raw: Raw, param: str) -> Value:
        if not isinstance(raw, dict):
            raise EmptyParameter(param) if raw == "" else WrongType(param, "object")
        return {key: self.values(each, f"{param}[{key}]") for key, each in raw.items()}


def metadata(raw: Raw, param: str) -> Value:
    """Strings by keys of the caller's choice; None for a key that is to be unset."""
    match raw:
        case "":
            raise EmptyParameter(param)
        case str():
            raise WrongType(param, "object")
        case list():  # the keys 0, 1, ... are a list in a form
            raw = {str(index): each for index, each in enumerate(raw)}
    if len(raw) > METADATA_KEYS:
        raise InvalidMetadata(param, f"at most {METADATA_KEYS} keys are allowed")
    values: dict[str, Value] = {}
    for key, value in raw.items():
        if not 0 < len(key) <= METADATA_KEY_CHARACTERS:
            limit = f"a key has 1 to {METADATA_KEY_CHARACTERS} characters"
            raise InvalidMetadata(param, limit)
        if not isinstance(value, str) or len(value) > METADATA_VALUE_CHARACTERS:
            limit = f"a value is a string of at most {METADATA_VALUE_CHARACTERS} characters"
            raise InvalidMetadata(param, limit)
        values[key] = value or None
    return values


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of several types: the first that takes a string, or the object that knows its names."""

    strings: tuple[Rule, ...]
    objects: tuple[Fields, ...]

    def __call__(self, raw: Raw, param: str) -> Value:
        if isinstance(raw, dict) and self.objects:
            known = [len(raw.keys() & each.rules.keys()) for each in self.objects]
            return self.objects[known.index(max(known))](raw, param)
        *others, last = self.strings or self.objects
        for rule in others:
            try:
                return rule(raw, param)
            except InvalidParameter:
                continue
        return last(raw, param)


# The operations


def rule_of(node: Any, defs: Mapping[str, Any], known: dict[str, Rule]) -> Rule:
    """The rule for a schema of `parameters.json`, or for a name of one; `known` by name."""
    if isinstance(node, str):
        if node not in known:
            known[node] = rule_of(defs[node], defs, known)
        return known[node]
    rule = settable(node, defs, known)
    return Unsettable(rule) if node.get("unset") else rule


def settable(schema: Mapping[str, Any], defs: Mapping[str, Any], known: dict[str, Rule]) -> Rule:
    """The rule for a schema, apart from its being unset."""
    if alternatives := schema.get("anyOf"):
        rules = [rule_of(each, defs, known) for each in alternatives]
        return Alternatives(
            strings=tuple(rule for rule in rules if not isinstance(rule, Fields)),
            objects=tuple(rule for rule in rules if isinstance(rule, Fields)),
        )
    match schema["type"]:
        case "string":
            choices = schema.get("enum")
            return Text(
                maximum=schema.get("maxLength"),
                choices=None if choices is None else frozenset(choices),
                allowed=tuple(choices or ()),
                decimal=schema.get("format") == "decimal",
            )
        case "integer":
            return integer
        case "number":
            return number
        case "boolean":
            return boolean
        case "array":
            return Sequence(rule_of(schema["items"], defs, known))
        case "metadata":
            return metadata
        case "map":
            return Table(rule_of(schema["values"], defs, known))
        case "object":
            return Fields(
                rules={
                    name: rule_of(each, defs, known) for name, each in schema["properties"].items()
                },
                required=tuple(schema.get("required", ())),
            )
        case other:
            raise ValueError(f"parameters.json has a schema of the unknown type {other!r}")


def read_operations() -> tuple[str, dict[str, Rule]]:
    """The version of the API and the rule of each operation in `parameters.json`."""
    data = json.loads(Path(__file__).with_name("parameters.json").read_bytes())
    known: dict[str, Rule] = {}
    operations = {
        name: rule_of(node, data["defs"], known) for name, node in data["operations"].items()
    }
    return data["api_version"], operations


API_VERSION, OPERATIONS = read_operations()
"""The version of Stripe's API, and its operations here, as `POST /v1/refunds/{refund}/cancel`."""


def checked(operation: str, raw: dict[str, Raw]) -> dict[str, Value]:
    """The values of the parameters of `operation`, a key of `OPERATIONS`, with their types.

    A field that is to be unset is None; one that was not sent is absent. The first parameter
    that does not fit, in the order of the request, raises `InvalidParameter`; one that is missing
    does so after them. Raises `KeyError` for an operation that is not there.
    """
    values = OPERATIONS[operation](raw, "")
    assert isinstance(values, dict)  # noqa: S101 - the rule is one for an object
    return values
