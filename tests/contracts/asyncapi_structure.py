"""The parts of AsyncAPI 3.0.0 that the document uses, as a JSON Schema that knows no others.

Written from the specification's fixed-field tables (AsyncAPI, Info, Channel, Operation, Components,
Message, Correlation ID and Tag Object) and the Kafka bindings 0.5.0. Every object is closed, so a
misspelt field is found; extensions (`x-`) are allowed where the specification allows them.
"""

from typing import Any

Structure = dict[str, Any]

_TEXT: Structure = {"type": "string", "minLength": 1}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Structure:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
    }


def _named(value: Structure) -> Structure:
    """A map of components: names as the specification restricts them."""
    return {
        "type": "object",
        "propertyNames": {"pattern": r"^[a-zA-Z0-9._-]+$"},
        "additionalProperties": value,
    }


def _reference(home: str) -> Structure:
    return _object({"$ref": {"type": "string", "pattern": rf"^#/{home}/[a-zA-Z0-9._-]+$"}})


_SCHEMA = {"$ref": "http://json-schema.org/draft-07/schema#"}

_TAGS = {"type": "array", "items": _object({"name": _TEXT}, {"description": _TEXT})}

_KAFKA_CHANNEL = _object(
    {"bindingVersion": {"const": "0.5.0"}},
    {
        "topic": _TEXT,
        "partitions": {"type": "integer", "minimum": 1},
        "replicas": {"type": "integer", "minimum": 1},
        "topicConfiguration": {
            "type": "object",
            "properties": {
                "cleanup.policy": {
                    "type": "array",
                    "items": {"enum": ["compact", "delete"]},
                    "minItems": 1,
                },
                "retention.ms": {"type": "integer", "minimum": -1},
                "retention.bytes": {"type": "integer"},
                "delete.retention.ms": {"type": "integer", "minimum": 0},
                "max.message.bytes": {"type": "integer", "minimum": 0},
            },
            "additionalProperties": False,
        },
    },
)

_CHANNEL = _object(
    {"address": _TEXT, "messages": _named(_reference("components/messages"))},
    {
        "title": _TEXT,
        "summary": _TEXT,
        "description": _TEXT,
        "tags": _TAGS,
        "bindings": _object({"kafka": _KAFKA_CHANNEL}),
    },
)

_OPERATION = _object(
    {"action": {"enum": ["send", "receive"]}, "channel": _reference("channels")},
    {"title": _TEXT, "summary": _TEXT, "description": _TEXT, "tags": _TAGS},
)

_MESSAGE = _object(
    {"name": _TEXT, "contentType": _TEXT, "headers": _SCHEMA, "payload": _SCHEMA},
    {
        "title": _TEXT,
        "summary": _TEXT,
        "description": _TEXT,
        "correlationId": _object(
            {"location": {"type": "string", "pattern": r"^\$message\.(header|payload)#(/[^/]+)*$"}}
        ),
        "bindings": _object(
            {"kafka": _object({"bindingVersion": {"const": "0.5.0"}}, {"key": _SCHEMA})}
        ),
    },
)

STRUCTURE: Structure = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **_object(
        {
            "asyncapi": {"const": "3.0.0"},
            "info": _object({"title": _TEXT, "version": _TEXT}, {"description": _TEXT}),
        },
        {
            "id": _TEXT,
            "defaultContentType": _TEXT,
            "channels": _named(_CHANNEL),
            "operations": _named(_OPERATION),
            "components": _object({}, {"messages": _named(_MESSAGE), "schemas": _named(_SCHEMA)}),
        },
    ),
}
