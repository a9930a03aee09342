"""What is exported: current, valid, and true of what really travels."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from contracts import export
from contracts.compatibility import release_incompatibilities
from contracts.messages import MESSAGES, MESSAGES_BY_TYPE
from contracts.messages.base import Message
from contracts.topics import TOPICS
from tests.contracts.asyncapi_structure import STRUCTURE
from tests.contracts.record_corpus import example, recorded

every_message = pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.type)
DOCUMENT = export.asyncapi()
SCHEMAS = export.schemas()


def resolved(reference: str) -> Any:
    """What a reference inside the AsyncAPI document points to."""
    node: Any = DOCUMENT
    assert reference.startswith("#/")
    for step in reference.removeprefix("#/").split("/"):
        node = node[step.replace("~1", "/").replace("~0", "~")]
    return node


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def validator(schema: dict[str, Any]) -> Draft7Validator:
    """A validator of one schema of the document, its references resolved in the document."""
    whole = {**DOCUMENT, **schema}
    return Draft7Validator(whole, format_checker=Draft7Validator.FORMAT_CHECKER)


def test_the_exported_files_are_current() -> None:
    """Run `python -m contracts.export` when this fails."""
    assert export.stale_files() == ()


@pytest.mark.parametrize("version", sorted(export.released_schemas()))
def test_no_message_broke_with_a_released_version(version: str) -> None:
    found = release_incompatibilities(export.released_schemas()[version], SCHEMAS)
    assert not found, "\n".join(map(str, found))


def test_every_message_is_in_the_newest_release() -> None:
    """What is in no release is compared with nothing: any change of it would pass."""
    newest, released = list(export.released_schemas().items())[-1]
    missing = ", ".join(sorted(SCHEMAS.keys() - released.keys()))
    assert not missing, (
        f"not in release {newest}: {missing}; release the schemas with"
        " `python -m contracts.export --release VERSION` and"
        " `python -m tests.contracts.record_corpus VERSION`"
    )


def test_the_newest_release_has_the_highest_number(elsewhere: Path) -> None:
    for version in ("0.10.0", "0.9.0"):
        export.release(version)
    assert list(export.released_schemas()) == ["0.9.0", "0.10.0"]


@every_message
def test_a_schema_is_valid_and_so_is_every_message_under_it(kind: type[Message]) -> None:
    schema = SCHEMAS[kind.type]
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(example(kind).model_dump(mode="json"))


def test_the_document_has_the_structure_of_asyncapi_3() -> None:
    errors = Draft202012Validator(STRUCTURE).iter_errors(DOCUMENT)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_every_reference_of_the_document_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > len(MESSAGES)
    for reference in found:
        assert isinstance(resolved(reference), dict), reference


def test_the_document_has_every_topic_and_every_message_on_its_topic() -> None:
    assert set(DOCUMENT["channels"]) == {topic.name for topic in TOPICS}
    on_channels = {
        name: channel
        for channel, about in DOCUMENT["channels"].items()
        for name in about["messages"]
    }
    assert on_channels == {kind.type: kind.topic.name for kind in MESSAGES}
    assert set(DOCUMENT["components"]["messages"]) == set(MESSAGES_BY_TYPE)


def test_what_the_world_may_read_is_what_trolley_publishes() -> None:
    published = {op["channel"]["$ref"].removeprefix("#/channels/") for op in operations()}
    assert published == {topic.name for topic in TOPICS if topic.public}


def operations() -> list[dict[str, Any]]:
    return list(DOCUMENT["operations"].values())


@every_message
def test_the_document_describes_the_headers_and_the_value_that_travel(kind: type[Message]) -> None:
    about = DOCUMENT["components"]["messages"][kind.type]
    record = recorded(example(kind))
    headers = dict(record["headers"])
    validator(about["headers"]).validate(headers)
    validator(about["payload"]).validate(record["value"])

    described = set(resolved(about["headers"]["allOf"][0]["$ref"])["properties"])
    assert set(headers) == described


@every_message
def test_the_document_refuses_a_record_with_a_part_missing(kind: type[Message]) -> None:
    about = DOCUMENT["components"]["messages"][kind.type]
    record = recorded(example(kind))
    without_id = {name: value for name, value in record["headers"] if name != "ce_id"}
    assert not validator(about["headers"]).is_valid(without_id)
    other_type = {**dict(record["headers"]), "ce_type": "another.v1"}
    assert not validator(about["headers"]).is_valid(other_type)
    for field in SCHEMAS[kind.type]["required"]:
        shorter = {name: value for name, value in record["value"].items() if name != field}
        assert not validator(about["payload"]).is_valid(shorter)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The exporter, writing into an empty directory."""
    monkeypatch.setattr(export, "HERE", tmp_path)
    monkeypatch.setattr(export, "SCHEMAS", tmp_path / "schemas")
    monkeypatch.setattr(export, "RELEASED", tmp_path / "schemas" / "released")
    monkeypatch.setattr(export, "ASYNCAPI", tmp_path / "asyncapi.json")
    return tmp_path


def test_the_check_finds_what_is_missing_changed_or_left_over(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main(["--check"]) == 1
    assert export.main([]) == 0
    assert export.main(["--check"]) == 0

    changed = elsewhere / "schemas" / "order.paid.v1.json"
    changed.write_text(changed.read_text().replace("OrderPaid", "OrderPayed"))
    (elsewhere / "schemas" / "order.forgotten.v1.json").write_text("{}")
    (elsewhere / "asyncapi.json").unlink()
    capsys.readouterr()
    assert export.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "stale: asyncapi.json",
        "stale: schemas/order.forgotten.v1.json",
        "stale: schemas/order.paid.v1.json",
    ]
    assert export.main([]) == 0
    assert export.main(["--check"]) == 0


def test_the_check_finds_a_message_that_broke_with_a_release(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export.main([])
    export.main(["--release", "0.1.0"])
    assert export.main(["--check"]) == 0

    released = elsewhere / "schemas" / "released" / "0.1.0" / "catalog.item.v1.json"
    schema = json.loads(released.read_text())
    schema["properties"]["weight_grams"] = {"type": "integer"}
    released.write_text(json.dumps(schema))
    capsys.readouterr()
    assert export.main(["--check"]) == 1
    assert capsys.readouterr().out == (
        "0.1.0: forward: catalog.item.v1 weight_grams: field_removed: "
        "gone or renamed, but old readers use it\n"
    )


def test_a_release_is_never_written_twice(elsewhere: Path) -> None:
    first = export.release("0.1.0")
    assert first.is_relative_to(elsewhere)
    with pytest.raises(FileExistsError):
        export.release("0.1.0")
