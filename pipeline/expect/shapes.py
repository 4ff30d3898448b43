"""From a JSON Schema to the type of the column that holds what is valid under it, and from a value to a cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from msgspec import Struct

from pipeline.expect.pointers import find
from pipeline.records import MAX_INT64, JsonObject, json_text


class Unfit(Exception):
    """A valid value that its column cannot hold; the message says what and why."""


class Shape(Struct, frozen=True):
    """The type of a column, and what makes a cell of a value that is not null."""

    type: pa.DataType
    convert: Callable[[Any], Any]

    def cell(self, value: Any) -> Any:
        """Return the value as its column holds it. Raises Unfit."""
        return None if value is None else self.convert(value)


def shape_of(schema: Any) -> Shape:
    """Return the shape of what a schema describes; what Arrow has no type for is JSON text."""
    return _Shapes(schema).of(schema, frozenset())


def _integer(value: Any) -> int:
    whole = int(value)
    if not -MAX_INT64 - 1 <= whole <= MAX_INT64:
        raise Unfit(f"{str(value)[:40]} is beyond a 64-bit integer")
    return whole


def _number(value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Unfit(f"{str(value)[:40]} is beyond a double")
    return number


def _json(value: Any) -> str:
    try:
        return json_text(value)
    except ValueError:
        raise Unfit("a number is beyond a double") from None


TEXT = Shape(pa.string(), str)
JSON = Shape(pa.string(), _json)
_NULL = Shape(pa.null(), lambda value: None)
_INTEGER, _NUMBER = Shape(pa.int64(), _integer), Shape(pa.float64(), _number)
_SCALARS: Mapping[str, Shape] = {
    "string": TEXT,
    "integer": _INTEGER,
    "number": _NUMBER,
    "boolean": Shape(pa.bool_(), bool),
    "null": _NULL,
}
_NAMES: Mapping[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class _Shapes:
    def __init__(self, root: Any) -> None:
        self._root = root

    def of(self, schema: Any, within: frozenset[str]) -> Shape:
        """Return the shape of a part of the schema, which stands `within` these references."""
        if not isinstance(schema, dict):
            return JSON
        if (target := schema.get("$ref")) is not None:
            return self._referred(target, within)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema and "type" not in schema and "properties" not in schema:
                return _common([self.of(one, within) for one in schema[keyword]])
        if len(schema.get("allOf", ())) == 1 and "type" not in schema and "properties" not in schema:
            return self.of(schema["allOf"][0], within)
        named = schema.get("type")
        if named is None and "properties" in schema:
            named = "object"
        if named is None and ("enum" in schema or "const" in schema):
            values = schema.get("enum", [schema.get("const")])
            return _common([_SCALARS.get(_NAMES.get(type(value), ""), JSON) for value in values])
        names = named if isinstance(named, list) else [named]
        return _common([self._typed(name, schema, within) for name in names])

    def _typed(self, name: Any, schema: JsonObject, within: frozenset[str]) -> Shape:
        if name == "object":
            return self._struct(schema.get("properties", {}), within)
        if name == "array":
            return self._list(schema, within)
        return _SCALARS.get(name, JSON)

    def _referred(self, target: str, within: frozenset[str]) -> Shape:
        if target in within:
            return JSON  # what holds itself has no type of its own
        try:
            return self.of(find(self._root, target), within | {target})
        except LookupError:
            return JSON

    def _struct(self, properties: JsonObject, within: frozenset[str]) -> Shape:
        fields = {name: self.of(inner, within) for name, inner in properties.items()}
        if not fields:
            return JSON

        def convert(value: Any) -> dict[str, object]:
            if not isinstance(value, dict):
                raise Unfit("the answer is no JSON object")
            get = value.get
            return {name: shape.cell(get(name)) for name, shape in fields.items()}

        return Shape(pa.struct([pa.field(name, shape.type) for name, shape in fields.items()]), convert)

    def _list(self, schema: JsonObject, within: frozenset[str]) -> Shape:
        inner = schema.get("items")
        if not isinstance(inner, dict) or "prefixItems" in schema:
            return JSON
        item = self.of(inner, within)
        return Shape(pa.list_(item.type), lambda value: [item.cell(one) for one in value])


def _common(shapes: Sequence[Shape]) -> Shape:
    """Return the one shape that holds what all of them hold, null aside."""
    others = [shape for shape in shapes if shape is not _NULL]
    if not others:
        return _NULL if shapes else JSON
    types = {shape.type for shape in others}
    if types == {_INTEGER.type, _NUMBER.type}:
        return _NUMBER
    is_one = len(types) == 1 and (JSON not in others or all(shape is JSON for shape in others))
    return others[0] if is_one else JSON
