"""Recorded messages of every released version still decode to what they meant."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contracts.envelope import parse_envelope
from contracts.export import released_schemas
from contracts.messages import MESSAGES_BY_TYPE
from tests.contracts.record_corpus import CORPUS

RECORDS = sorted(CORPUS.glob("*/*.json"))
every_record = pytest.mark.parametrize(
    "path", RECORDS, ids=lambda path: f"{path.parent.name}-{path.stem}"
)


def read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def known_of(decoded: Any, recorded: Any) -> Any:
    """What was decoded, without the fields that the recorded version did not have."""
    if isinstance(recorded, dict):
        return {name: known_of(decoded[name], value) for name, value in recorded.items()}
    if isinstance(recorded, list):
        return [known_of(*each) for each in zip(decoded, recorded, strict=True)]
    return decoded


def test_every_released_message_is_recorded_and_nothing_else() -> None:
    recorded = {(path.parent.name, path.name.removesuffix(".json")) for path in RECORDS}
    released = {
        (version, name) for version, schemas in released_schemas().items() for name in schemas
    }
    assert recorded == released, "record with `python -m tests.contracts.record_corpus VERSION`"


def test_every_message_of_the_code_is_recorded() -> None:
    """A type that is recorded nowhere could become unreadable, and nobody would see it."""
    newest = list(released_schemas())[-1]
    recorded = {path.stem for path in RECORDS if path.parent.name == newest}
    missing = ", ".join(sorted(MESSAGES_BY_TYPE.keys() - recorded))
    assert not missing, (
        f"not in the corpus of {newest}: {missing}; release the schemas with"
        " `python -m contracts.export --release VERSION` and record them with"
        " `python -m tests.contracts.record_corpus VERSION`"
    )


@every_record
def test_a_recorded_message_still_decodes_to_what_it_said(path: Path) -> None:
    record = read(path)
    envelope = parse_envelope((name, value.encode()) for name, value in record["headers"])
    message = MESSAGES_BY_TYPE[envelope.type].model_validate_json(json.dumps(record["value"]))

    assert (message.topic.name, message.key) == (record["topic"], record["key"])
    assert (envelope.subject, envelope.shop_id) == (message.subject, message.shop_id)
    assert envelope.correlation_id == message.correlation_id
    assert known_of(message.model_dump(mode="json"), record["value"]) == record["value"]


@every_record
def test_a_recorded_message_is_what_its_release_declared(path: Path) -> None:
    name = path.name.removesuffix(".json")
    Draft202012Validator(released_schemas()[path.parent.name][name]).validate(read(path)["value"])
