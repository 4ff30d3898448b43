"""A JSON Schema, read and checked: with the files beside it that it refers to, and nothing from any network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pipeline.expect.matching import MATCHER
from pipeline.expect.pointers import escaped, find
from pipeline.records import JsonObject
from pipeline.storage import read_json

if TYPE_CHECKING:
    from jsonschema import ValidationError

_ONE = tuple(
    [
        "additionalItems",
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    ]
)
_LISTS = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_CURRENT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class SchemaFault(Exception):
    """A schema that is none, or that refers to what cannot be had. The message says where and why."""


def load_schema(given: str | JsonObject) -> Any:
    """Return a schema, from a file or as it stands in the job, as one document: the schemas of files beside it that it
    refers to stand in its `$defs`. Raises SchemaFault.
    """
    if isinstance(given, str):
        path = Path(given)
        schema, directory = _read(path), path.parent
    else:
        schema, directory = _plain(given), Path()
    schema = _bundled(schema, directory)
    check_schema(schema)
    return schema


def check_schema(schema: Any) -> None:
    """Raise SchemaFault where this is no schema, or refers to what is not in it."""
    from jsonschema import SchemaError
    from referencing.exceptions import Unresolvable

    if not isinstance(schema, dict):
        raise SchemaFault("the schema is no JSON object")
    validator = make_validator(schema)
    try:
        validator.check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path))
        raise SchemaFault(f"{place}: {error.message}" if place else error.message) from None
    for reference in _references(schema):
        if urlsplit(reference).scheme in ("http", "https") and reference not in _ids(schema):
            raise SchemaFault(
                f"$ref {reference!r} is elsewhere, and nothing is fetched: put that schema beside this one"
            )
    try:
        validator.is_valid({})
        for part, reference in _targets(schema):
            validator.evolve(schema=part).is_valid(None)
            if reference.startswith("#/") or reference == "#":
                find(schema, reference)
    except Unresolvable as error:
        raise SchemaFault(f"$ref {error.ref!r} leads nowhere") from None
    except LookupError as error:
        raise SchemaFault(f"$ref {error.args[0]!r} leads nowhere") from None
    except RecursionError:
        raise SchemaFault("a $ref leads back to itself without an end") from None


def make_validator(schema: JsonObject) -> Any:
    """Return jsonschema's validator of the draft that the schema names, 2020-12 by default. It fetches nothing."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend, validator_for
    from referencing import Registry

    named = schema.get("$schema", _CURRENT)
    kind = validator_for({"$schema": named}, default=Draft202012Validator) if isinstance(named, str) else None
    if kind is None or (kind is Draft202012Validator and named.rstrip("#") != _CURRENT):
        raise SchemaFault(f"$schema {named!r} is no draft of JSON Schema that is known here")
    own: Any = extend(kind, {"pattern": _pattern, "multipleOf": _multiple_of})  # type: ignore[no-untyped-call]
    return own(schema, registry=Registry())


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    """Search as jsonschema does, but with a bound on the time."""
    from jsonschema import ValidationError

    if isinstance(value, str) and MATCHER.search(pattern, value) is None:
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _multiple_of(validator: Any, step: float, value: Any, _: Any) -> Iterator[ValidationError]:
    """Divide the numbers as they are written: in binary floats, most prices are no multiple of 0.01."""
    from jsonschema import ValidationError

    if validator.is_type(value, "number") and not (isfinite(value) and _exact(value) % _exact(step) == 0):
        yield ValidationError(f"{value!r} is not a multiple of {step}")


def _exact(number: float) -> Fraction:
    return Fraction(repr(number))


def is_current_draft(schema: JsonObject) -> bool:
    """Return whether the rules of draft 2020-12 hold."""
    return str(schema.get("$schema", _CURRENT)).rstrip("#") == _CURRENT


def _read(path: Path) -> Any:
    try:
        return _plain(read_json(path))
    except OSError as error:
        raise SchemaFault(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SchemaFault(f"{path}: no JSON: {error}") from None


def _plain(value: Any) -> Any:
    """Return the value in types of its own, as JSON has them."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, RecursionError) as error:
        raise SchemaFault(f"no JSON: {error}") from None


def _bundled(schema: Any, directory: Path) -> Any:
    """Return the schema with those of other files in its `$defs`, and every reference to them turned there."""
    if not isinstance(schema, dict):
        return schema
    names: dict[Path, str] = {}
    waiting: list[tuple[Any, Path, str]] = [(schema, directory, "#")]
    while waiting:
        part, base, own = waiting.pop()
        for holder, keyword in _holders(part):
            file, _, fragment = holder[keyword].partition("#")
            if urlsplit(file).scheme or (not file and own == "#"):
                continue
            if fragment and not fragment.startswith("/"):
                raise SchemaFault(f"$ref {holder[keyword]!r}: within another file, name a part by its path: `#/…`")
            if not file:
                holder[keyword] = own + fragment
                continue
            path = (base / unquote(file)).resolve()
            if path not in names:
                names[path] = f"#/$defs/{escaped(_free_name(schema, file))}"
                inner = _read(path)
                if isinstance(inner, dict):
                    inner = {name: said for name, said in inner.items() if name not in ("$id", "$schema")}
                schema.setdefault("$defs", {})[_free_name(schema, file)] = inner
                waiting.append((inner, path.parent, names[path]))
            holder[keyword] = names[path] + fragment
    return schema


def _free_name(schema: JsonObject, file: str) -> str:
    name, number = file, 2
    while name in schema.get("$defs", {}):
        name, number = f"{file}-{number}", number + 1
    return name


def _holders(schema: Any) -> Iterator[tuple[dict[str, Any], str]]:
    for part in _parts(schema):
        for keyword in _REFERENCES:
            if isinstance(part.get(keyword), str):
                yield part, keyword


def _references(schema: Any) -> Iterator[str]:
    return (holder[keyword] for holder, keyword in _holders(schema))


def _targets(schema: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each part of the schema that does nothing but refer, with its reference."""
    return (({"$ref": holder["$ref"]}, holder["$ref"]) for holder, keyword in _holders(schema) if keyword == "$ref")


def _ids(schema: Any) -> set[str]:
    return {part["$id"] for part in _parts(schema) if isinstance(part.get("$id"), str)}


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema within the schema, itself included."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, dict):
            continue
        yield part
        waiting += [part[name] for name in _ONE if isinstance(part.get(name), dict)]
        waiting += [one for name in _LISTS if isinstance(part.get(name), list) for one in part[name]]
        waiting += [one for name in _NAMED if isinstance(part.get(name), dict) for one in part[name].values()]
