"""What a job file may hold, read from the models: for editors as JSON Schema, for mistakes as words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache

from pipeline.config.models import BATCH_FORMAT, PROMPT_KEYS, JobConfig
from pipeline.records import JsonObject
from pipeline.wording import listed, range_text

KeyPath = tuple[str | int, ...]
"""The way from the root to a value: keys, and positions in lists from 0."""

VARIABLE_PATTERN = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"

_NARROWING = ("enum", "const", "pattern", "minLength", "maxLength")


def job_schema() -> JsonObject:
    """Return the job file's JSON Schema (draft 2020-12). `${NAME}` is accepted wherever a value is."""
    root = dict(_raw())
    definitions = {name: _for_editors(schema) for name, schema in root.pop("$defs").items()}
    one_prompt = [{"required": [name], "properties": {name: {"type": "string"}}} for name in PROMPT_KEYS]
    one_price = [
        {"required": ["input_usd_per_million", "output_usd_per_million"]},
        {"required": ["from", "provider"]},
        {"required": ["by_model"]},
    ]
    asked = {"properties": {"prompt": {"oneOf": one_prompt}}}
    from_bodies = {"required": ["format"], "properties": {"format": {"const": BATCH_FORMAT}}}
    bodies = {"required": ["input"], "properties": {"input": from_bodies}}
    # What a sweep brings, the job itself may leave out.
    endpoint = {**definitions["EndpointConfig"]}
    needed = [
        {"if": _swept("endpoint.model"), "else": {"properties": {"endpoint": {"required": endpoint.pop("required")}}}},
        {"if": bodies, "then": {"not": {"anyOf": [{"required": ["prompt"]}, {"required": ["parameters"]}]}}},
        {"if": {"not": {"anyOf": [_swept("prompt.user"), bodies]}}, "then": {"required": ["prompt"], **asked}},
    ]
    variable = {
        "type": "string",
        "pattern": VARIABLE_PATTERN,
        "description": "Filled in from the environment: ${NAME}, or ${NAME:-default}.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Job file of llm-batch-pipeline",
        **_for_editors(root),
        "allOf": needed,
        "$defs": {
            **definitions,
            "EndpointConfig": endpoint,
            "PricingConfig": {**definitions["PricingConfig"], "oneOf": one_price},
            "Variable": variable,
        },
    }


def _swept(key: str) -> JsonObject:
    return {"properties": {"sweep": {"type": "object", "required": [key]}}, "required": ["sweep"]}


@cache
def keys_at(path: KeyPath) -> tuple[str, ...]:
    """Return the keys that a mapping at this place may have; none if no mapping belongs there."""
    found: list[str] = []
    for option in _options(path):
        found += option.get("properties", {})
    return tuple(found)


def is_key(path: KeyPath) -> bool:
    """Return whether the schema knows this key, or accepts any key at its place."""
    if not path:
        return False
    others = [[option.get("additionalProperties") for option in _options(path[:end])] for end in range(1, len(path))]
    takes_any = any(True in found for found in others) or any(others[-1] if others else [])
    return path[-1] in keys_at(path[:-1]) or takes_any


def places_of(name: str) -> Iterator[KeyPath]:
    """Yield every place in the schema that has a key of this name."""
    yield from _places_of(name, ())


def is_text(path: KeyPath) -> bool:
    """Return whether this key takes any text, rather than a certain word beside numbers."""
    return any(option.get("type") == "string" and "const" not in option for option in _options(path))


def choices(path: KeyPath) -> list[str]:
    """Return the words this key chooses from; none if it takes anything else."""
    return [
        word for option in _options(path) for word in option.get("enum", [option["const"]] if "const" in option else [])
    ]


def default(path: KeyPath) -> object:
    """Return the key's default as it would be written; None if there is none, or it is a whole section."""
    found = field(path).get("default")
    return None if isinstance(found, dict) else found


def is_required(path: KeyPath) -> bool:
    """Return whether the section of a key requires it."""
    options = _options(path[:-1]) if path[:-1] else [_raw()]
    return any(path[-1] in option.get("required", ()) for option in options)


def example(path: KeyPath) -> str:
    """Return a value to show for a missing key, in YAML."""
    found = field(path).get("examples", ["…"])[0]
    return _flow(found)


def describe(path: KeyPath) -> str:
    """Return what the key takes, in words: "an integer from 1 to 2,000"."""
    return " or ".join(dict.fromkeys(_words(option) for option in _options(path) if option.get("type") != "null"))


def _for_editors(schema: JsonObject) -> JsonObject:
    """Return the schema without pydantic's titles and the defaults of sections, and with variables where values are."""
    made = {key: value for key, value in schema.items() if key != "title"}
    if isinstance(made.get("default"), dict):
        del made["default"]
    if "properties" in made:
        made["properties"] = {
            name: _or_empty(value) if isinstance(value.get("default"), dict) else _for_editors(value)
            for name, value in made["properties"].items()
        }
        return made
    for word in ("anyOf", "oneOf"):
        if word in made:
            made["anyOf"] = [_for_editors(option) for option in made.pop(word)]
    if "items" in made:
        made["items"] = _for_editors(made["items"])
    if made.get("type") in ("integer", "number", "boolean") or any(word in made for word in _NARROWING):
        kept: JsonObject = {key: made.pop(key) for key in ("description", "default", "examples") if key in made}
        return {**kept, "anyOf": [made, {"$ref": "#/$defs/Variable"}]}
    return made


def _or_empty(section: JsonObject) -> JsonObject:
    """Return a section that may be left out, or be there with nothing in it."""
    kept = {key: value for key, value in section.items() if key not in ("default", "$ref")}
    return {**kept, "anyOf": [{"$ref": section["$ref"]}, {"type": "null"}]}


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return f'"{value}"' if isinstance(value, str) and value.startswith("{") else str(value)


@cache
def _raw() -> JsonObject:
    return JobConfig.model_json_schema()


def _flat(schema: JsonObject) -> Iterator[JsonObject]:
    """Yield the alternatives of a schema, references resolved."""
    if "$ref" in schema:
        yield _raw()["$defs"][schema["$ref"].rpartition("/")[2]]
    elif "anyOf" in schema or "oneOf" in schema:
        for option in schema.get("anyOf") or schema["oneOf"]:
            yield from _flat(option)
    else:
        yield schema


def field(path: KeyPath) -> JsonObject:
    """Return the JSON Schema of a key as its section states it, with its description and examples; empty if there
    is none.
    """
    schema: JsonObject = _raw()
    for part in path:
        if isinstance(part, int):
            options = [option["items"] for option in _flat(schema) if "items" in option]
        else:
            named = [option.get("properties", {}).get(part) for option in _flat(schema)]
            others = [option.get("additionalProperties") for option in _flat(schema)]
            options = [option for option in named + others if isinstance(option, dict)]
        if not options:
            return {}
        schema = options[0]
    return schema


def _options(path: KeyPath) -> list[JsonObject]:
    found = field(path)
    return list(_flat(found)) if found else []


def _places_of(name: str, under: KeyPath) -> Iterator[KeyPath]:
    for key in keys_at(under):
        if key == name:
            yield (*under, key)
        yield from _places_of(name, (*under, key))


def _words(schema: JsonObject) -> str:
    match schema.get("type"):
        case "integer":
            return _number("an integer", schema)
        case "number":
            return _number("a number", schema)
        case "boolean":
            return "true or false"
        case "array":
            return f"a list{_items(schema['items'])}"
        case "object" if "properties" in schema:
            return "a mapping with " + listed(list(schema["properties"]))
        case "object":
            return "a mapping"
        case _ if "enum" in schema:
            return listed(schema["enum"], "or")
        case _ if "const" in schema:
            return f"`{schema['const']}`"
        case _:
            return "one character" if schema.get("maxLength") == 1 else "text"


def _items(schema: JsonObject) -> str:
    if "$ref" in schema:
        return " of mappings"
    kinds = {option.get("type") for option in _flat(schema)} - {"null"}
    return " of strings" if kinds == {"string"} else ""


def _number(noun: str, schema: JsonObject) -> str:
    if "exclusiveMinimum" in schema:
        most = f" and at most {schema['maximum']:,}" if "maximum" in schema else ""
        return f"{noun} greater than {schema['exclusiveMinimum']:,}{most}"
    return range_text(noun, schema.get("minimum"), schema.get("maximum"))


def touches(key: str, paths: Collection[KeyPath]) -> bool:
    """Return whether one of the paths is that of a key, of something in it, or of a section around it."""
    path = tuple(key.split("."))
    return any(path[: len(one)] == one[: len(path)] for one in paths)


def shown(path: KeyPath) -> str:
    """Return a place as people write it: `input.path[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
