"""What the sandbox needs of Stripe's published OpenAPI description, as two small data files.

    python -m tests.stripe_sandbox.extract SPEC3_JSON

reads `openapi/spec3.json` of https://github.com/stripe/openapi and writes

- `stripe_sandbox/parameters.json`: for each operation that the sandbox has, the schema of its
  parameters, in the notation that `stripe_sandbox.parameters` reads;
- `tests/stripe_sandbox/objects.json`: JSON Schemas of the objects that it returns, which
  `tests.stripe_sandbox.shapes` checks answers against.

Neither holds prose. The same input gives the same bytes, and a change of the input changes only
the lines that are about it. Run it again when the SDK moves to another version of the API.
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PARAMETERS = ROOT / "stripe_sandbox" / "parameters.json"
OBJECTS = Path(__file__).with_name("objects.json")

Schema = dict[str, Any]
Node = Schema | str
"""A schema, or the name of one in `defs`."""

OPERATIONS = {
    "/v1/account": ["GET"],
    "/v1/balance": ["GET"],
    "/v1/balance_transactions": ["GET"],
    "/v1/balance_transactions/{id}": ["GET"],
    "/v1/charges": ["GET"],
    "/v1/charges/search": ["GET"],
    "/v1/charges/{charge}": ["GET", "POST"],
    "/v1/checkout/sessions": ["GET", "POST"],
    "/v1/checkout/sessions/{session}": ["GET", "POST"],
    "/v1/checkout/sessions/{session}/expire": ["POST"],
    "/v1/checkout/sessions/{session}/line_items": ["GET"],
    "/v1/customers": ["GET", "POST"],
    "/v1/customers/search": ["GET"],
    "/v1/customers/{customer}": ["DELETE", "GET", "POST"],
    "/v1/customers/{customer}/payment_methods": ["GET"],
    "/v1/customers/{customer}/payment_methods/{payment_method}": ["GET"],
    "/v1/disputes": ["GET"],
    "/v1/disputes/{dispute}": ["GET", "POST"],
    "/v1/disputes/{dispute}/close": ["POST"],
    "/v1/events": ["GET"],
    "/v1/events/{id}": ["GET"],
    "/v1/payment_intents": ["GET", "POST"],
    "/v1/payment_intents/search": ["GET"],
    "/v1/payment_intents/{intent}": ["GET", "POST"],
    "/v1/payment_intents/{intent}/cancel": ["POST"],
    "/v1/payment_intents/{intent}/capture": ["POST"],
    "/v1/payment_intents/{intent}/confirm": ["POST"],
    "/v1/payment_links": ["GET", "POST"],
    "/v1/payment_links/{payment_link}": ["GET", "POST"],
    "/v1/payment_links/{payment_link}/line_items": ["GET"],
    "/v1/payment_methods": ["GET", "POST"],
    "/v1/payment_methods/{payment_method}": ["GET", "POST"],
    "/v1/payment_methods/{payment_method}/attach": ["POST"],
    "/v1/payment_methods/{payment_method}/detach": ["POST"],
    "/v1/prices": ["GET", "POST"],
    "/v1/prices/search": ["GET"],
    "/v1/prices/{price}": ["GET", "POST"],
    "/v1/products": ["GET", "POST"],
    "/v1/products/search": ["GET"],
    "/v1/products/{id}": ["DELETE", "GET", "POST"],
    "/v1/refunds": ["GET", "POST"],
    "/v1/refunds/{refund}": ["GET", "POST"],
    "/v1/refunds/{refund}/cancel": ["POST"],
    "/v1/setup_intents": ["GET", "POST"],
    "/v1/setup_intents/{intent}": ["GET", "POST"],
    "/v1/setup_intents/{intent}/cancel": ["POST"],
    "/v1/setup_intents/{intent}/confirm": ["POST"],
    "/v1/webhook_endpoints": ["GET", "POST"],
    "/v1/webhook_endpoints/{webhook_endpoint}": ["DELETE", "GET", "POST"],
}

RESOURCES = {
    "account": ["account"],
    "balance": ["balance"],
    "balance_transaction": ["balance_transaction"],
    "charge": ["charge"],
    "checkout.session": ["checkout.session"],
    "customer": ["customer", "deleted_customer"],
    "dispute": ["dispute"],
    "event": ["event"],
    "item": ["item"],
    "payment_intent": ["payment_intent"],
    "payment_link": ["payment_link"],
    "payment_method": ["payment_method"],
    "price": ["price", "deleted_price"],
    "product": ["product", "deleted_product"],
    "refund": ["refund"],
    "setup_intent": ["setup_intent"],
    "webhook_endpoint": ["webhook_endpoint", "deleted_webhook_endpoint"],
}
"""The schemas of each object that the sandbox returns, by the value of its field `object`."""

LISTS = {"list": "/v1/customers", "search_result": "/v1/customers/search"}
"""An operation that returns a page of the kind; only its envelope is taken."""

KEPT_PAYMENT_METHODS = {"card", "link", "sepa_debit", "us_bank_account"}
MANY_PAYMENT_METHODS = 5
"""An object with a field for at least so many kinds of payment method keeps those above only."""

UNSET = {"enum": [""], "type": "string"}
DEFAULT_MAXIMUM_CHARACTERS = 5000
"""Stripe's limit for nearly every string; in `objects.json` it would say nothing."""


def main() -> None:
    """Write both files from the OpenAPI description named on the command line."""
    arguments = argparse.ArgumentParser(description="Extract parameters and object schemas.")
    arguments.add_argument("spec", type=Path, help="Stripe's openapi/spec3.json")
    spec = json.loads(arguments.parse_args().spec.read_bytes())
    PARAMETERS.write_text(one_entry_per_line(parameters(spec)))
    OBJECTS.write_text(one_entry_per_line(objects(spec)))


def one_entry_per_line(document: Schema) -> str:
    """`document` as JSON, sorted, with a line for each entry of each of its maps."""

    def compact(value: object) -> str:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    def part(value: object) -> str:
        if not isinstance(value, dict):
            return compact(value)
        entries = (f"{compact(key)}:{compact(value[key])}" for key in sorted(value))
        return "{\n" + ",\n".join(entries) + "\n}"

    return (
        "{\n" + ",\n".join(f"{compact(key)}:{part(document[key])}" for key in sorted(document))
    ) + "\n}\n"


# Parameters


def parameters(spec: Schema) -> Schema:
    """`api_version`, `operations` (a schema or name for each) and the `defs` that they share."""
    operations = {
        f"{method} {path}": request(spec["paths"][path][method.lower()])
        for path, methods in OPERATIONS.items()
        for method in methods
    }
    uses: Counter[str] = Counter()
    for schema in operations.values():
        count_uses(schema, uses)
    defs: dict[str, Node] = {}
    return {
        "api_version": spec["info"]["version"],
        "operations": {name: shared(schema, uses, defs) for name, schema in operations.items()},
        "defs": defs,
    }


def request(operation: Schema) -> Schema:
    """The parameters of one operation, in the form or in the query, as one object."""
    query = [each for each in operation.get("parameters", []) if each["in"] == "query"]
    content = operation.get("requestBody", {}).get("content", {})
    form = content.get("application/x-www-form-urlencoded", {}).get("schema", {})
    properties = {each["name"]: each["schema"] for each in query} | form.get("properties", {})
    required = [each["name"] for each in query if each.get("required")] + form.get("required", [])
    return parameter({"type": "object", "properties": properties, "required": required})


def parameter(schema: Schema) -> Schema:
    """`schema` without prose: `unset` where the empty string is allowed, `map` and `metadata`."""
    if alternatives := schema.get("anyOf"):
        rest = [parameter(each) for each in alternatives if {**each, **UNSET} != each]
        unset: Schema = {"unset": True} if len(rest) < len(alternatives) else {}
        return {**rest[0], **unset} if len(rest) == 1 else {"anyOf": rest, **unset}
    match schema["type"]:
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            values = parameter(schema["additionalProperties"])
            if values["type"] == "string":
                return {"type": "metadata"}
            return {"type": "map", "values": values}
        case "object":
            fields = {
                name: parameter(value) for name, value in schema.get("properties", {}).items()
            }
            required = sorted(schema.get("required", []))
            return {"type": "object", "properties": fields} | (
                {"required": required} if required else {}
            )
        case "array":
            return {"type": "array", "items": parameter(schema["items"])}
        case kind:
            kept: Schema = {"type": kind}
            kept |= {key: schema[key] for key in ("format", "maxLength") if key in schema}
            if choices := schema.get("enum"):
                kept["enum"] = [each for each in choices if each != ""]
                kept |= {"unset": True} if "" in choices else {}
            return kept


def children(schema: Schema) -> Iterator[tuple[str, Any, Schema]]:
    """The schemas directly within a parameter's: the keyword, the place under it, the schema."""
    for name, each in schema.get("properties", {}).items():
        yield "properties", name, each
    for place, each in enumerate(schema.get("anyOf", [])):
        yield "anyOf", place, each
    for keyword in ("items", "values"):
        if keyword in schema:
            yield keyword, None, schema[keyword]


def digest(schema: Schema) -> str:
    """A name for a schema that depends on its content only."""
    return hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()[:8]


def count_uses(schema: Schema, uses: Counter[str]) -> None:
    """Count how often each schema within `schema` would be written if equal ones were shared."""
    name = digest(schema)
    uses[name] += 1
    if uses[name] == 1:
        for _, _, child in children(schema):
            count_uses(child, uses)


def shared(schema: Schema, uses: Counter[str], defs: dict[str, Node]) -> Node:
    """`schema` with each part that is used more than once moved to `defs` under its name."""
    name = digest(schema)
    if name in defs:
        return name
    copy = {
        key: type(value)(value) if isinstance(value, dict | list) else value
        for key, value in schema.items()
    }
    for keyword, place, child in children(schema):
        node = shared(child, uses, defs)
        if place is None:
            copy[keyword] = node
        else:
            copy[keyword][place] = node
    if uses[name] > 1 and len(json.dumps(copy)) > len(name) * 3:
        defs[name] = copy
        return name
    return copy


# Objects


def objects(spec: Schema) -> Schema:
    """`api_version`, `objects` (names in `$defs` by the field `object`) and the `$defs`."""
    schemas = spec["components"]["schemas"]
    methods = set(schemas["payment_method"]["properties"]["type"]["enum"])
    translation = Translation(
        schemas=schemas,
        returned={"error"} | {name for names in RESOURCES.values() for name in names},
        dropped_methods=methods - KEPT_PAYMENT_METHODS,
    )
    definitions: Schema = {}
    waiting = sorted(translation.returned)
    while waiting:
        name = waiting.pop()
        if name not in definitions:
            definitions[name] = translation.schema(schemas[name])
            waiting.extend(references(definitions[name]))
    for kind, path in LISTS.items():
        page = spec["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        definitions[kind] = translation.schema(page["schema"])
        definitions[kind]["properties"]["data"] = {"type": "array"}
        definitions[kind]["properties"]["url"] = {"type": "string"}
    return {
        "$defs": definitions,
        "api_version": spec["info"]["version"],
        "objects": RESOURCES | {kind: [kind] for kind in LISTS},
    }


def references(schema: object) -> Iterator[str]:
    """The names of the definitions that a JSON Schema refers to."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


class Translation:
    """From the OpenAPI dialect of Stripe's description to closed JSON Schemas."""

    def __init__(self, schemas: Schema, returned: set[str], dropped_methods: set[str]) -> None:
        self.schemas = schemas
        self.returned = returned
        self.dropped_methods = dropped_methods

    def is_absent(self, name: str) -> bool:
        """Whether `name` is a resource that the sandbox does not have."""
        properties = self.schemas[name].get("properties", {})
        return name not in self.returned and {"id", "object"} <= properties.keys()

    def schema(self, source: Schema) -> Any:
        """`source` as JSON Schema: null spelled out, objects closed, absent resources refused."""
        if "$ref" in source:
            name = source["$ref"].rpartition("/")[2]
            return False if self.is_absent(name) else {"$ref": f"#/$defs/{name}"}
        if "anyOf" in source:
            translated = [self.schema(each) for each in source["anyOf"]]
            alternatives = [each for each in translated if each is not False]
            if source.get("nullable"):
                alternatives.append({"type": "null"})
            if not alternatives:
                return False
            return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}
        kept: Schema = {key: source[key] for key in ("enum", "pattern", "type") if key in source}
        if source.get("maxLength", DEFAULT_MAXIMUM_CHARACTERS) != DEFAULT_MAXIMUM_CHARACTERS:
            kept["maxLength"] = source["maxLength"]
        if source.get("type") == "object":
            kept |= self.fields(source)
        if "items" in source:
            kept["items"] = self.schema(source["items"])
        if source.get("nullable"):
            kept["type"] = [source["type"], "null"]
            if "enum" in kept:
                kept["enum"] = [*kept["enum"], None]
        return kept

    def fields(self, source: Schema) -> Schema:
        """The keywords of an object: its properties, and which others it may have."""
        properties = source.get("properties", {})
        dropped = self.dropped_methods & properties.keys()
        if len(dropped) < MANY_PAYMENT_METHODS:
            dropped = set()
        others = source.get("additionalProperties", False)
        kept: Schema = {
            "additionalProperties": self.schema(others) if isinstance(others, dict) else others,
            "properties": {
                name: self.schema(value)
                for name, value in properties.items()
                if name not in dropped
            },
        }
        if required := sorted(set(source.get("required", [])) - dropped):
            kept["required"] = required
        return kept


if __name__ == "__main__":
    main()
