"""Whether readers and writers of two versions of a message can live with each other.

A schema is compared with the assumption of a closed world: a record holds what its schema
declares and nothing else. Where a keyword is not understood, any difference counts as
incompatible: a false alarm costs a look, a missed break costs the records of a shop.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Schema = Mapping[str, Any]


class Direction(StrEnum):
    """Who reads whom."""

    BACKWARD = "backward"
    """The new reader reads an old record: after an upgrade, what is on the topic still counts."""
    FORWARD = "forward"
    """The old reader reads a new record: while an upgrade runs, and at every subscriber."""


class Change(StrEnum):
    """What makes a record unreadable, or makes it mean something else."""

    MESSAGE_REMOVED = "message_removed"
    TOPIC_CHANGED = "topic_changed"
    FIELD_REMOVED = "field_removed"
    FIELD_REQUIRED = "field_required"
    FIELD_OPTIONAL = "field_optional"
    EXTRA_FORBIDDEN = "extra_forbidden"
    TYPE_CHANGED = "type_changed"
    VALUES_NARROWED = "values_narrowed"
    BOUND_NARROWED = "bound_narrowed"
    CONSTRAINT_CHANGED = "constraint_changed"
    DEFAULT_CHANGED = "default_changed"


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """One reason why a record of one side is not for a reader of the other.

    `path` leads from the message to the field, `lines[].sku` for a field of each line.
    """

    direction: Direction
    change: Change
    message: str
    path: str
    detail: str

    def __str__(self) -> str:
        where = f"{self.message} {self.path}".rstrip()
        return f"{self.direction}: {where}: {self.change}: {self.detail}"


def release_incompatibilities(
    released: Mapping[str, Schema], current: Mapping[str, Schema]
) -> tuple[Incompatibility, ...]:
    """Every incompatibility between a released set of schemas and the current one, by type.

    A message that is new is compatible; one that is gone is not, because records of it remain.
    """
    found: list[Incompatibility] = []
    for name, old in released.items():
        if name not in current:
            found.append(
                Incompatibility(
                    Direction.BACKWARD,
                    Change.MESSAGE_REMOVED,
                    name,
                    "",
                    "recorded messages of this type could not be decoded any more",
                )
            )
        else:
            found.extend(incompatibilities(name, old, current[name]))
    return tuple(found)


def incompatibilities(name: str, old: Schema, new: Schema) -> tuple[Incompatibility, ...]:
    """Every incompatibility between two versions of the message `name`, in both directions."""
    found: list[Incompatibility] = []
    if old.get("x-topic") != new.get("x-topic"):
        found.append(
            Incompatibility(
                Direction.FORWARD,
                Change.TOPIC_CHANGED,
                name,
                "",
                f"moved from {old.get('x-topic')} to {new.get('x-topic')}",
            )
        )
    found.extend(_Comparison(Direction.BACKWARD, name, written=old, read=new).run())
    found.extend(_Comparison(Direction.FORWARD, name, written=new, read=old).run())
    return tuple(found)


_ANNOTATIONS = frozenset(
    {"title", "description", "examples", "deprecated", "readOnly", "writeOnly"}
    | {"$schema", "$id", "$defs", "$ref", "$comment"}
)
_STRUCTURE = frozenset(
    {"type", "enum", "const", "anyOf", "oneOf", "default"}
    | {"properties", "required", "additionalProperties", "items", "prefixItems"}
)
_LOWER_BOUNDS = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_UPPER_BOUNDS = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})


class _Comparison:
    """What one side writes against what the other reads, walked field by field."""

    def __init__(self, direction: Direction, message: str, *, written: Schema, read: Schema):
        self._direction = direction
        self._message = message
        self._written = written
        self._read = read
        self._open: set[tuple[str, str]] = set()

    def run(self) -> Iterator[Incompatibility]:
        yield from self._compare(self._written, self._read, "")

    def _found(self, change: Change, path: str, detail: str) -> Incompatibility:
        return Incompatibility(self._direction, change, self._message, path, detail)

    def _compare(self, written: Schema, read: Schema, path: str) -> Iterator[Incompatibility]:
        if not read.keys() - _ANNOTATIONS - {"default"} and "$ref" not in read:
            return  # The reader takes anything.
        pair = (str(written.get("$ref")), str(read.get("$ref")))
        if pair in self._open:
            return  # A recursive shape: the outer comparison of this very pair decides.
        both_named = "$ref" in written and "$ref" in read
        if both_named:
            self._open.add(pair)
        yield from self._compare_shapes(
            _resolved(written, self._written), _resolved(read, self._read), path
        )
        if both_named:
            self._open.discard(pair)

    def _compare_shapes(
        self, written: Schema, read: Schema, path: str
    ) -> Iterator[Incompatibility]:
        if alternatives := _alternatives(written):
            for alternative in alternatives:
                yield from self._compare(alternative, read, path)
        elif alternatives := _alternatives(read):
            yield from self._compare_with_any(written, alternatives, path)
        else:
            yield from self._compare_types(written, read, path)

    def _compare_with_any(
        self, written: Schema, alternatives: list[Schema], path: str
    ) -> Iterator[Incompatibility]:
        outcomes = [list(self._compare(written, read, path)) for read in alternatives]
        if all(outcomes):
            # The nearest alternative tells most: the one that is right about the type.
            yield from min(
                outcomes,
                key=lambda found: (any(f.change is Change.TYPE_CHANGED for f in found), len(found)),
            )

    def _compare_types(self, written: Schema, read: Schema, path: str) -> Iterator[Incompatibility]:
        writes, reads = _types(written), _types(read)
        if "number" in reads:
            reads = reads | {"integer"}
        if not writes <= reads:
            detail = f"{_listed(writes)} written, {_listed(reads)} read"
            yield self._found(Change.TYPE_CHANGED, path, detail)
            return
        yield from self._compare_values(written, read, path)
        yield from self._compare_constraints(written, read, path)
        if "object" in writes:
            yield from self._compare_fields(written, read, path)
        if "array" in writes:
            yield from self._compare_items(written, read, path)

    def _compare_values(
        self, written: Schema, read: Schema, path: str
    ) -> Iterator[Incompatibility]:
        writes, reads = _values(written), _values(read)
        if reads is None:
            return
        if writes is None:
            yield self._found(
                Change.VALUES_NARROWED, path, f"any value written, only {_listed(reads)} read"
            )
        elif unread := [value for value in writes if value not in reads]:
            yield self._found(
                Change.VALUES_NARROWED, path, f"{_listed(unread)} written, but not read"
            )

    def _compare_constraints(
        self, written: Schema, read: Schema, path: str
    ) -> Iterator[Incompatibility]:
        for keyword, limit in read.items():
            if keyword in _ANNOTATIONS or keyword in _STRUCTURE or keyword.startswith("x-"):
                continue
            given = written.get(keyword)
            if keyword in _LOWER_BOUNDS:
                narrowed = given is None or given < limit
            elif keyword in _UPPER_BOUNDS:
                narrowed = given is None or given > limit
            else:
                if given != limit:
                    detail = f"{keyword} {given!r} written, {limit!r} read"
                    yield self._found(Change.CONSTRAINT_CHANGED, path, detail)
                continue
            if narrowed:
                detail = f"{keyword} {'none' if given is None else given} written, {limit} read"
                yield self._found(Change.BOUND_NARROWED, path, detail)

    def _compare_fields(
        self, written: Schema, read: Schema, path: str
    ) -> Iterator[Incompatibility]:
        writes: Mapping[str, Schema] = written.get("properties", {})
        reads: Mapping[str, Schema] = read.get("properties", {})
        always, needed = set(written.get("required", ())), set(read.get("required", ()))
        for field, shape in reads.items():
            inner = f"{path}.{field}" if path else field
            if field in writes:
                yield from self._compare(writes[field], shape, inner)
                if field in needed - always:
                    detail = "may be absent from what is written, but is required by the reader"
                    yield self._found(Change.FIELD_OPTIONAL, inner, detail)
                elif field not in needed | always:
                    yield from self._compare_defaults(writes[field], shape, inner)
            elif self._direction is Direction.FORWARD:
                detail = "gone or renamed, but old readers use it"
                yield self._found(Change.FIELD_REMOVED, inner, detail)
            elif field in needed:
                detail = "required, but absent from every old record"
                yield self._found(Change.FIELD_REQUIRED, inner, detail)
        yield from self._compare_extras(written, read, path)

    def _compare_items(self, written: Schema, read: Schema, path: str) -> Iterator[Incompatibility]:
        writes: Sequence[Schema] = written.get("prefixItems", ())
        reads: Sequence[Schema] = read.get("prefixItems", ())
        rest_written, rest_read = written.get("items", {}), read.get("items", {})
        for index in range(max(len(writes), len(reads))):
            item_written = writes[index] if index < len(writes) else rest_written
            item_read = reads[index] if index < len(reads) else rest_read
            yield from self._compare(item_written, item_read, f"{path}[{index}]")
        if rest_written is not False and rest_read is not False:
            yield from self._compare(rest_written, rest_read, f"{path}[]")

    def _compare_defaults(
        self, written: Schema, read: Schema, path: str
    ) -> Iterator[Incompatibility]:
        # Symmetric, so that one direction is enough to say it.
        if self._direction is Direction.BACKWARD:
            was, now = (
                _resolved(written, self._written).get("default"),
                _resolved(read, self._read).get("default"),
            )
            if was != now:
                detail = f"absent meant {was!r}, would mean {now!r}"
                yield self._found(Change.DEFAULT_CHANGED, path, detail)

    def _compare_extras(
        self, written: Schema, read: Schema, path: str
    ) -> Iterator[Incompatibility]:
        reads: Mapping[str, Schema] = read.get("properties", {})
        extra_read = read.get("additionalProperties", True)
        if extra_read is True:
            return
        for field, shape in written.get("properties", {}).items():
            inner = f"{path}.{field}" if path else field
            if field in reads:
                continue
            if extra_read is False:
                detail = "written, but the reader forbids fields that it does not know"
                yield self._found(Change.EXTRA_FORBIDDEN, inner, detail)
            else:
                yield from self._compare(shape, extra_read, inner)
        extra_written = written.get("additionalProperties", False)
        if extra_written is False:
            return
        inner = f"{path}.*" if path else "*"
        if extra_read is False:
            detail = "any field may be written, but the reader forbids what it does not know"
            yield self._found(Change.EXTRA_FORBIDDEN, inner, detail)
        else:
            shape = {} if extra_written is True else extra_written
            yield from self._compare(shape, extra_read, inner)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema with references to `$defs` followed; what stands beside a reference wins."""
    while "$ref" in schema:
        target = root["$defs"][str(schema["$ref"]).removeprefix("#/$defs/")]
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _alternatives(schema: Schema) -> list[Schema]:
    return list(schema.get("anyOf") or schema.get("oneOf") or ())


def _types(schema: Schema) -> frozenset[str]:
    declared = schema.get("type")
    if declared is None:
        return _TYPES
    return frozenset([declared] if isinstance(declared, str) else declared)


def _values(schema: Schema) -> list[Any] | None:
    """The closed set of values a schema allows; None when it is not closed."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return None if values is None else list(values)


def _listed(values: Any) -> str:
    return ", ".join(sorted(str(value) for value in values))
