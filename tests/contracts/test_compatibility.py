"""The checker of schema changes: what it must find, what it must let pass."""

from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, create_model

from contracts.compatibility import (
    Change,
    Direction,
    Schema,
    incompatibilities,
    release_incompatibilities,
)
from contracts.export import schemas

SCHEMAS = schemas()

BACKWARD, FORWARD = Direction.BACKWARD, Direction.FORWARD


class Part(BaseModel):
    sku: str
    quantity: int = Field(ge=1)


class WiderPart(BaseModel):
    sku: str
    quantity: int


class LongerPart(BaseModel):
    sku: str
    quantity: int = Field(ge=1)
    note: str = ""


class Tree(BaseModel):
    name: str
    children: "tuple[Tree, ...]" = ()


class TallerTree(BaseModel):
    name: str = Field(min_length=1)
    children: "tuple[TallerTree, ...]" = ()


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def schema(**fields: Any) -> Schema:
    """The schema of a message with these fields: a type (required), or (type, default)."""
    shaped: dict[str, Any] = {
        name: field if isinstance(field, tuple) else (field, ...) for name, field in fields.items()
    }
    model: type[BaseModel] = create_model("Thing", **shaped)
    return model.model_json_schema()


def found(old: Schema, new: Schema) -> set[tuple[Direction, Change, str]]:
    return {(i.direction, i.change, i.path) for i in incompatibilities("thing.v1", old, new)}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"a": int}, {"a": int, "b": (str, "")}),
        ({"a": int}, {"a": int, "b": (str | None, None)}),
        ({"a": int}, {"a": int, "b": (tuple[Part, ...], ())}),
        ({"a": tuple[Part, ...]}, {"a": tuple[LongerPart, ...]}),
        ({"a": Tree}, {"a": Tree}),
        ({"a": dict[str, Part]}, {"a": dict[str, LongerPart]}),
        ({"a": int | str}, {"a": str | int}),
        ({"a": Literal["x", "y"]}, {"a": Literal["y", "x"]}),
        ({"a": Literal["red", "blue"]}, {"a": Colour}),
        ({"a": (int, Field(description="one"))}, {"a": (int, Field(description="another"))}),
    ],
)
def test_what_both_sides_can_live_with(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert found(schema(**old), schema(**new)) == set()


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        # Fields come and go.
        ({"a": int, "b": str}, {"a": int}, {(FORWARD, Change.FIELD_REMOVED, "b")}),
        ({"a": int, "b": (str, "")}, {"a": int}, {(FORWARD, Change.FIELD_REMOVED, "b")}),
        ({"a": int}, {"a": int, "b": str}, {(BACKWARD, Change.FIELD_REQUIRED, "b")}),
        (
            {"a": int},
            {"b": int},
            {(FORWARD, Change.FIELD_REMOVED, "a"), (BACKWARD, Change.FIELD_REQUIRED, "b")},
        ),
        ({"a": int}, {"a": (int, 1)}, {(FORWARD, Change.FIELD_OPTIONAL, "a")}),
        ({"a": (int, 1)}, {"a": int}, {(BACKWARD, Change.FIELD_OPTIONAL, "a")}),
        ({"a": (int, 1)}, {"a": (int, 2)}, {(BACKWARD, Change.DEFAULT_CHANGED, "a")}),
        # Types.
        (
            {"a": int},
            {"a": str},
            {(BACKWARD, Change.TYPE_CHANGED, "a"), (FORWARD, Change.TYPE_CHANGED, "a")},
        ),
        ({"a": int}, {"a": float}, {(FORWARD, Change.TYPE_CHANGED, "a")}),
        ({"a": int}, {"a": int | None}, {(FORWARD, Change.TYPE_CHANGED, "a")}),
        ({"a": int | None}, {"a": int}, {(BACKWARD, Change.TYPE_CHANGED, "a")}),
        ({"a": Any}, {"a": int}, {(BACKWARD, Change.TYPE_CHANGED, "a")}),
        ({"a": str}, {"a": UUID}, {(BACKWARD, Change.CONSTRAINT_CHANGED, "a")}),
        ({"a": UUID}, {"a": str}, {(FORWARD, Change.CONSTRAINT_CHANGED, "a")}),
        (
            {"a": UUID},
            {"a": AwareDatetime},
            {
                (BACKWARD, Change.CONSTRAINT_CHANGED, "a"),
                (FORWARD, Change.CONSTRAINT_CHANGED, "a"),
            },
        ),
        # Closed sets of values.
        (
            {"a": Literal["x"]},
            {"a": Literal["x", "y"]},
            {(FORWARD, Change.VALUES_NARROWED, "a")},
        ),
        (
            {"a": Literal["x", "y"]},
            {"a": Literal["x"]},
            {(BACKWARD, Change.VALUES_NARROWED, "a")},
        ),
        ({"a": Colour}, {"a": str}, {(FORWARD, Change.VALUES_NARROWED, "a")}),
        ({"a": str}, {"a": Colour}, {(BACKWARD, Change.VALUES_NARROWED, "a")}),
        # Bounds.
        ({"a": int}, {"a": (int, Field(ge=1))}, {(BACKWARD, Change.BOUND_NARROWED, "a")}),
        (
            {"a": (int, Field(ge=2))},
            {"a": (int, Field(ge=1))},
            {(FORWARD, Change.BOUND_NARROWED, "a")},
        ),
        (
            {"a": (str, Field(max_length=10))},
            {"a": (str, Field(max_length=9))},
            {(BACKWARD, Change.BOUND_NARROWED, "a")},
        ),
        (
            {"a": tuple[int, ...]},
            {"a": (tuple[int, ...], Field(min_length=1))},
            {(BACKWARD, Change.BOUND_NARROWED, "a")},
        ),
        (
            {"a": (str, Field(pattern="^a"))},
            {"a": (str, Field(pattern="^b"))},
            {
                (BACKWARD, Change.CONSTRAINT_CHANGED, "a"),
                (FORWARD, Change.CONSTRAINT_CHANGED, "a"),
            },
        ),
        # The same inside parts, lists, alternatives and mappings.
        (
            {"a": tuple[WiderPart, ...]},
            {"a": tuple[Part, ...]},
            {(BACKWARD, Change.BOUND_NARROWED, "a[].quantity")},
        ),
        (
            {"a": Part | None},
            {"a": WiderPart | None},
            {(FORWARD, Change.BOUND_NARROWED, "a.quantity")},
        ),
        (
            {"a": dict[str, WiderPart]},
            {"a": dict[str, Part]},
            {(BACKWARD, Change.BOUND_NARROWED, "a.*.quantity")},
        ),
        (
            {"a": tuple[int, str]},
            {"a": tuple[int, int]},
            {(BACKWARD, Change.TYPE_CHANGED, "a[1]"), (FORWARD, Change.TYPE_CHANGED, "a[1]")},
        ),
        ({"a": Tree}, {"a": TallerTree}, {(BACKWARD, Change.BOUND_NARROWED, "a.name")}),
        (
            {"a": dict[str, Any]},
            {"a": dict[str, int]},
            {(BACKWARD, Change.TYPE_CHANGED, "a.*")},
        ),
    ],
)
def test_what_one_side_cannot_live_with(
    old: dict[str, Any], new: dict[str, Any], breaks: set[tuple[Direction, Change, str]]
) -> None:
    assert found(schema(**old), schema(**new)) == breaks


def test_a_reader_that_forbids_unknown_fields_cannot_live_with_new_ones() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        a: int

    class Longer(BaseModel):
        a: int
        b: str = ""

    strict, longer = Strict.model_json_schema(), Longer.model_json_schema()
    assert found(strict, longer) == {(FORWARD, Change.EXTRA_FORBIDDEN, "b")}


def test_a_message_that_moves_to_another_topic_is_lost_to_old_readers() -> None:
    old, new = {"x-topic": "a.events", "type": "object"}, {"x-topic": "b.events", "type": "object"}
    assert found(old, new) == {(FORWARD, Change.TOPIC_CHANGED, "")}


def test_a_keyword_that_is_not_understood_counts_when_it_differs() -> None:
    old, new = {"type": "string"}, {"type": "string", "contentEncoding": "base64"}
    assert found(old, new) == {(BACKWARD, Change.CONSTRAINT_CHANGED, "")}
    assert found(new, new) == set()


def test_a_new_message_is_compatible_and_a_removed_one_is_not() -> None:
    thing = schema(a=int)
    assert release_incompatibilities({}, {"thing.v1": thing}) == ()
    (gone,) = release_incompatibilities({"thing.v1": thing}, {})
    assert (gone.direction, gone.change, gone.message) == (
        BACKWARD,
        Change.MESSAGE_REMOVED,
        "thing.v1",
    )


def test_a_finding_reads_as_a_sentence_about_one_field() -> None:
    (finding,) = incompatibilities("thing.v1", schema(a=int, b=str), schema(a=int))
    assert str(finding) == (
        "forward: thing.v1 b: field_removed: gone or renamed, but old readers use it"
    )


@given(name=st.sampled_from(sorted(SCHEMAS)))
def test_every_message_is_compatible_with_itself(name: str) -> None:
    current = SCHEMAS[name]
    assert incompatibilities(name, current, current) == ()


@given(name=st.sampled_from(sorted(SCHEMAS)), data=st.data())
def test_a_field_taken_out_of_any_message_is_found(name: str, data: st.DataObject) -> None:
    current = SCHEMAS[name]
    field = data.draw(st.sampled_from(sorted(current["properties"])))
    shorter = {
        **current,
        "properties": {key: value for key, value in current["properties"].items() if key != field},
        "required": [key for key in current["required"] if key != field],
    }
    assert (FORWARD, Change.FIELD_REMOVED, field) in found(current, shorter)
    if field in current["required"]:
        assert (BACKWARD, Change.FIELD_REQUIRED, field) in found(shorter, current)
