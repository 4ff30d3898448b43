from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from pipeline.expect.shapes import Unfit, shape_of

TEXT = {"type": "string"}
ITEM = {"type": "object", "properties": {"name": TEXT, "price": {"type": "number"}}}


@pytest.mark.parametrize(
    ("schema", "type"),
    [
        (TEXT, pa.string()),
        ({"type": "integer"}, pa.int64()),
        ({"type": "number"}, pa.float64()),
        ({"type": "boolean"}, pa.bool_()),
        ({"type": "null"}, pa.null()),
        ({"type": ["string", "null"]}, pa.string()),
        ({"type": ["integer", "number"]}, pa.float64()),
        ({"type": ["integer", "string"]}, pa.string()),
        ({"enum": ["a", "b", None]}, pa.string()),
        ({"enum": [1, 2]}, pa.int64()),
        ({"const": True}, pa.bool_()),
        ({"enum": ["a", 1]}, pa.string()),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, pa.int64()),
        ({"anyOf": [{"type": "integer"}, TEXT]}, pa.string()),
        ({"allOf": [ITEM]}, pa.struct([("name", pa.string()), ("price", pa.float64())])),
        ({"type": "array", "items": ITEM}, pa.list_(pa.struct([("name", pa.string()), ("price", pa.float64())]))),
        ({"type": "array"}, pa.string()),
        ({"type": "array", "prefixItems": [TEXT], "items": TEXT}, pa.string()),
        ({"type": "object"}, pa.string()),
        ({"type": "object", "additionalProperties": TEXT}, pa.string()),
        ({"properties": {"a": TEXT}}, pa.struct([("a", pa.string())])),
        ({"$ref": "#/$defs/item", "$defs": {"item": {"type": "integer"}}}, pa.int64()),
        ({}, pa.string()),
    ],
)
def test_each_schema_has_the_type_of_its_values(schema: Any, type: pa.DataType) -> None:
    assert shape_of(schema).type == type


def test_what_holds_itself_is_json_text_where_it_does() -> None:
    tree = {"type": "object", "properties": {"value": TEXT, "child": {"$ref": "#"}}}
    inner = pa.struct([("value", pa.string()), ("child", pa.string())])
    assert shape_of(tree).type == pa.struct([("value", pa.string()), ("child", inner)])
    assert shape_of(tree).cell({"value": "a", "child": {"child": {"value": "b"}}}) == {
        "value": "a",
        "child": {"value": None, "child": '{"value":"b"}'},
    }


def test_a_cell_has_the_schemas_fields_and_no_other() -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "x": {"type": "number"}, "any": {}, "gone": TEXT},
    }
    found = shape_of(schema).cell({"n": 7.0, "x": 2, "any": {"a": [1]}, "more": 1})
    assert found == {"n": 7, "x": 2.0, "any": '{"a":[1]}', "gone": None}
    assert type(found["n"]) is int
    assert type(found["x"]) is float


@pytest.mark.parametrize(
    ("schema", "value"),
    [({"type": "integer"}, 2**63), ({"type": "number"}, 10**400), ({"type": "number"}, 1e999), ({}, [1e999])],
)
def test_a_number_that_no_column_holds_is_unfit(schema: Any, value: Any) -> None:
    with pytest.raises(Unfit, match="is beyond"):
        shape_of(schema).cell(value)
