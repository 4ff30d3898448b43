"""The quick check of schemas against jsonschema, and answers against what is written of them."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipeline.expect import Expected, Form, Telling
from pipeline.expect.expectation import Invalid, SchemaExpectation
from pipeline.expect.extract import NoValue, json_value
from pipeline.expect.quick import compiled
from pipeline.expect.shapes import Unfit, shape_of
from pipeline.sink.answers import parsed_column, parsed_field

NAMES = st.sampled_from(["a", "b", "c"])
NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 1.0, -2.0, 2.5]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.sampled_from(["", "x", "yy", "1"]))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
SMALL = st.integers(0, 2)
LEAVES = st.one_of(
    st.just(True),
    st.just(False),
    st.builds(dict, type=TYPES),
    st.builds(dict, type=st.lists(TYPES, min_size=1, max_size=3, unique=True)),
    st.builds(dict, enum=st.lists(SCALARS, min_size=1, max_size=3)),
    st.builds(dict, const=SCALARS),
    st.builds(dict, minimum=NUMBERS, exclusiveMaximum=NUMBERS),
    st.builds(dict, maximum=NUMBERS, exclusiveMinimum=NUMBERS),
    st.builds(dict, minLength=SMALL, maxLength=SMALL),
    st.builds(dict, minItems=SMALL, maxItems=SMALL),
    st.builds(dict, required=st.lists(NAMES, max_size=2, unique=True)),
    st.just({"$ref": "#/$defs/one"}),
    st.just({"$ref": "#/$defs/two"}),
)


def _wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.builds(dict, type=st.just("object"), properties=st.dictionaries(NAMES, inner, max_size=3)),
        st.builds(dict, properties=st.dictionaries(NAMES, inner, max_size=3), additionalProperties=inner),
        st.builds(dict, items=inner, maxItems=SMALL),
        st.builds(dict, anyOf=some),
        st.builds(dict, allOf=some),
        st.builds(dict, oneOf=some, type=TYPES),
    )


PARTS = st.recursive(LEAVES, _wider, max_leaves=6)
SCHEMAS = st.builds(
    lambda part, one, two: {**(part if isinstance(part, dict) else {"items": part}), "$defs": {"one": one, "two": two}},
    PARTS,
    PARTS.filter(lambda part: "$ref" not in str(part)),
    st.just({"type": "object", "properties": {"a": {"$ref": "#/$defs/two"}}}),
)


@given(schema=SCHEMAS, value=VALUES)
@settings(max_examples=400, deadline=None)
def test_the_quick_check_says_what_jsonschema_says(schema: Any, value: Any) -> None:
    check = compiled(schema)
    assert check is not None
    value = json.loads(json.dumps(value))
    assert check(value) == Draft202012Validator(schema).is_valid(value)


@given(schema=SCHEMAS, values=st.lists(VALUES, max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_column_takes_whatever_is_valid(schema: Any, values: list[Any]) -> None:
    expected = Expected(SchemaExpectation(schema), Telling(Form.NONE, ""), 1, True, lambda seed: seed, {})
    texts = [json.dumps(value) for value in values]
    column = parsed_column(expected, [(text, False) for text in texts])
    assert (len(column), column.type) == (len(values), parsed_field(expected).type)
    for text, cell in zip(texts, column.to_pylist(), strict=True):
        try:
            assert expected.expectation.read(text) == cell
        except Invalid:
            assert cell is None


@given(text=st.text(alphabet='{}[]",:1a\\ `\n', max_size=40), scalars=st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_text_gives_one_value_or_none(text: str, scalars: bool) -> None:
    try:
        value = json_value(text, scalars=scalars)
    except NoValue as error:
        assert str(error)
        return
    if isinstance(value, (dict, list)):
        assert json_value(f"so: {json.dumps(value)} !") == value


@given(value=VALUES)
def test_json_text_of_a_value_is_read_back(value: Any) -> None:
    shape = shape_of({})
    try:
        cell = shape.cell(value)
    except Unfit:
        return
    assert shape.type == pa.string()
    assert cell is None if value is None else json.loads(cell) == value
