"""Writes down what travels: JSON Schemas of every message and one AsyncAPI document.

    python -m contracts.export                   writes schemas/ and asyncapi.json
    python -m contracts.export --check           writes nothing; exits 1 when a file is stale or a
                                                 message broke with a released version
    python -m contracts.export --release 0.2.0   keeps the current schemas as those of a release

Sources: JSON Schema 2020-12; AsyncAPI 3.0.0 with the Kafka bindings 0.5.0.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from contracts.compatibility import Schema, release_incompatibilities
from contracts.envelope import CONTENT_TYPE, SPEC_VERSION
from contracts.glossary import meaning
from contracts.messages import MESSAGES
from contracts.messages.base import Event, Message, SagaMessage
from contracts.topics import TOPICS, Topic

HERE = Path(__file__).parent
SCHEMAS = HERE / "schemas"
RELEASED = SCHEMAS / "released"
ASYNCAPI = HERE / "asyncapi.json"

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_HOME = "https://trolley.example/schemas"
"""Where schema ids live: a name, not an address that anybody must be able to open."""

API_VERSION = "1.0.0"
"""The version of the AsyncAPI document; message types carry their own."""

Document = dict[str, Any]


class _MessageSchema(GenerateJsonSchema):
    """pydantic's schemas without the titles it derives from field names: they say nothing new."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def schemas() -> Mapping[str, Schema]:
    """The JSON Schema of every current message, by type.

    It is the schema of reading: what a reader of this version takes. Everything that our writers
    send is valid under it.
    """
    return {message.type: _schema(message) for message in MESSAGES}


def released_schemas() -> Mapping[str, Mapping[str, Schema]]:
    """The schemas of every released version, by version, the newest last, and type."""
    return {
        release.name: {
            path.name.removesuffix(".json"): json.loads(path.read_text())
            for path in sorted(release.glob("*.json"))
        }
        for release in sorted(RELEASED.glob("*"), key=_number)
    }


def asyncapi() -> Document:
    """The AsyncAPI document: every topic, what travels on it, and what Trolley tells the world."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Trolley",
            "version": API_VERSION,
            "description": (
                "The Kafka topics of a checkout backend. Topics tagged `public` are for everybody "
                "to read, with `isolation.level=read_committed`; the others are how the services "
                "talk among themselves. Names are logical: an installation may put one prefix "
                "before all of them. Readers ignore fields that they do not know; within one "
                "message type fields are only ever added, with a default."
            ),
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {
            f"publish-{topic.name}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{topic.name}"},
                "summary": f"What {', '.join(topic.writers)} publishes on {topic.name}.",
            }
            for topic in TOPICS
            if topic.public
        },
        "components": {
            "messages": {message.type: _message(message) for message in MESSAGES},
            "schemas": {**_header_schemas(), **_component_schemas()},
        },
    }


def exported_files() -> Mapping[Path, str]:
    """What every exported file has to hold at this state of the code."""
    files = {SCHEMAS / f"{name}.json": _written(schema) for name, schema in schemas().items()}
    files[ASYNCAPI] = _written(asyncapi())
    return files


def stale_files() -> tuple[Path, ...]:
    """The exported files that are missing, differ from the code, or belong to no message."""
    expected = exported_files()
    differing = (
        path
        for path, text in expected.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    )
    return tuple(sorted({*differing, *_unexpected(expected)}))


def write() -> None:
    """Bring every exported file up to date, and remove those that belong to no message."""
    expected = exported_files()
    SCHEMAS.mkdir(exist_ok=True)
    for path, text in expected.items():
        path.write_text(text, encoding="utf-8")
    for path in _unexpected(expected):
        path.unlink()


def release(version: str) -> Path:
    """Keep the current schemas as those of `version`. Raises `FileExistsError` for a known one.

    A release is never written twice: readers of it are in the world.
    """
    home = RELEASED / version
    home.mkdir(parents=True)
    for name, schema in schemas().items():
        (home / f"{name}.json").write_text(_written(schema), encoding="utf-8")
    return home


def _number(release: Path) -> tuple[int, ...]:
    """Orders releases: 0.10.0 is newer than 0.9.0."""
    return tuple(map(int, release.name.split(".")))


def _unexpected(expected: Mapping[Path, str]) -> Iterator[Path]:
    return (path for path in SCHEMAS.glob("*.json") if path not in expected)


def _written(document: Schema) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _schema(message: type[Message]) -> Document:
    schema = message.model_json_schema(schema_generator=_MessageSchema)
    parts = schema.pop("$defs", {})
    _describe_fields(schema)
    for part in parts.values():
        _describe_fields(part)
    return {
        "$schema": SCHEMA_DIALECT,
        "$id": f"{SCHEMA_HOME}/{message.type}.json",
        "x-topic": message.topic.name,
        **schema,
        **({"$defs": parts} if parts else {}),
    }


def _describe_fields(schema: Document) -> None:
    """Say of each field what it means."""
    for name, field in schema.get("properties", {}).items():
        field.setdefault("description", meaning(schema["title"], name))


def _component_schemas() -> Document:
    models: list[tuple[type[BaseModel], Any]] = [(message, "validation") for message in MESSAGES]
    _, joined = models_json_schema(
        models, schema_generator=_MessageSchema, ref_template="#/components/schemas/{model}"
    )
    parts: Document = joined["$defs"]
    for part in parts.values():
        _describe_fields(part)
    return dict(sorted(parts.items()))


def _channel(topic: Topic) -> Document:
    messages = [message for message in MESSAGES if message.topic == topic]
    configuration: Document = {
        "cleanup.policy": [topic.cleanup],
        "max.message.bytes": topic.broker_max_message_bytes,
    }
    if topic.retention_ms is not None:
        configuration["retention.ms"] = topic.retention_ms
    return {
        "address": topic.name,
        "description": f"Keyed by {topic.key}; written by {', '.join(topic.writers)}.",
        "tags": [{"name": "public" if topic.public else "internal"}],
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": configuration,
                "bindingVersion": "0.5.0",
            }
        },
        "messages": {
            message.type: {"$ref": f"#/components/messages/{message.type}"} for message in messages
        },
    }


def _message(message: type[Message]) -> Document:
    summary, _, rest = (message.__doc__ or "").strip().partition("\n\n")
    document: Document = {
        "name": message.type,
        "title": message.__name__,
        "summary": " ".join(summary.split()),
        "contentType": CONTENT_TYPE,
        "correlationId": {"location": "$message.header#/ce_correlationid"},
        "headers": {
            "allOf": [
                {"$ref": f"#/components/schemas/{_headers_of(message)}"},
                {
                    "type": "object",
                    "properties": {"ce_type": {"type": "string", "const": message.type}},
                },
            ]
        },
        "payload": {"$ref": f"#/components/schemas/{message.__name__}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": f"The {message.topic.key}."},
                "bindingVersion": "0.5.0",
            }
        },
    }
    if rest:
        document["description"] = " ".join(rest.split())
    return document


def _headers_of(message: type[Message]) -> str:
    if issubclass(message, SagaMessage):
        return "SagaHeaders"
    return "EventHeaders" if issubclass(message, Event) else "Headers"


_ENVELOPE: Mapping[str, Document] = {
    "ce_specversion": {"const": SPEC_VERSION, "description": "The CloudEvents version."},
    "ce_id": {
        "format": "uuid",
        "description": "The id of this message (UUIDv7); a duplicate of the record has the same.",
    },
    "ce_type": {"description": "The type of the message with its major version."},
    "ce_source": {"description": "The service that wrote it, as `/trolley/<service>`."},
    "ce_time": {"format": "date-time", "description": "When it was written (UTC)."},
    "ce_subject": {"description": "What it is about: the record key."},
    "content-type": {"const": CONTENT_TYPE, "description": "The media type of the value."},
    "ce_shopid": {"description": "The shop it belongs to."},
    "ce_correlationid": {
        "description": "What all messages of one story share: the checkout id where there is one."
    },
}
_OPTIONAL: Mapping[str, Document] = {
    "ce_causationid": {"format": "uuid", "description": "The id of the message that led to it."},
    "traceparent": {"description": "The trace it belongs to (W3C Trace Context)."},
}
_SAGA: Mapping[str, Document] = {
    "ce_step": {"description": "The step of the saga that is asked for or answered."},
    "ce_round": {"pattern": "^[0-9]+$", "description": "The round of that step, from 1."},
}
_EVENT: Mapping[str, Document] = {
    "ce_eventseq": {
        "pattern": "^[0-9]+$",
        "description": "Counts the events of one aggregate from 1, without gaps.",
    },
}


def _header_schemas() -> Document:
    """The three kinds of headers. Header values are UTF-8 text, so every one is a string."""
    return {
        "Headers": _headers({}, "CloudEvents 1.0 attributes as Kafka headers (binary mode)."),
        "SagaHeaders": _headers(_SAGA, "The headers of commands, replies and deadlines."),
        "EventHeaders": _headers(_EVENT, "The headers of events."),
    }


def _headers(special: Mapping[str, Document], description: str) -> Document:
    properties = {**_ENVELOPE, **_OPTIONAL, **special}
    return {
        "type": "object",
        "description": description,
        "properties": {name: {"type": "string", **about} for name, about in properties.items()},
        "required": [*_ENVELOPE, *special],
    }


def main(arguments: list[str] | None = None) -> int:
    """The command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m contracts.export")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="report, write nothing")
    choice.add_argument("--release", metavar="VERSION", help="keep the schemas as a release")
    chosen = parser.parse_args(arguments)
    if chosen.release:
        print(release(chosen.release))
        return 0
    if not chosen.check:
        write()
        return 0
    stale = stale_files()
    for path in stale:
        print(f"stale: {path.relative_to(HERE)}")
    broken = [
        f"{version}: {incompatibility}"
        for version, released in released_schemas().items()
        for incompatibility in release_incompatibilities(released, schemas())
    ]
    print(*broken, sep="\n", end="\n" if broken else "")
    return 1 if stale or broken else 0


if __name__ == "__main__":
    sys.exit(main())
