from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from pipeline.expect import SchemaFault, load_schema, matching
from pipeline.expect.expectation import Invalid, SchemaExpectation


def write(directory: Path, **schemas: Any) -> Path:
    for name, schema in schemas.items():
        (directory / f"{name}.json").write_text(json.dumps(schema), encoding="utf-8")
    return directory


def test_schemas_of_files_beside_it_become_part_of_it(tmp_path: Path) -> None:
    place = {"$id": "https://example.com/place", "type": "object", "properties": {"city": {"$ref": "#/$defs/city"}}}
    place["$defs"] = {"city": {"type": "string", "minLength": 2}}
    main = {"type": "object", "properties": {"from": {"$ref": "place.json"}, "to": {"$ref": "place.json#/$defs/city"}}}
    schema = load_schema(str(write(tmp_path, main=main, place=place) / "main.json"))
    found = SchemaExpectation(schema)
    assert found.read('{"from": {"city": "Bonn"}, "to": "Rome"}') == {"from": {"city": "Bonn"}, "to": "Rome"}
    for wrong in ('{"from": {"city": "B"}}', '{"to": "R"}'):
        with pytest.raises(Invalid, match="too short"):
            found.read(wrong)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "objekt"}, "objekt"),
        ({"properties": {"a": {"minLength": -1}}}, "properties/a/minLength"),
        ({"$ref": "#/$defs/gone"}, "leads nowhere"),
        ({"properties": {"a": {"$ref": "#/$defs/gone"}}}, "leads nowhere"),
        ({"$ref": "https://127.0.0.1:9/schema.json"}, "nothing is fetched"),
        ({"properties": {"a": {"$ref": "http://localhost/x#/b"}}}, "nothing is fetched"),
        ({"$ref": "gone.json"}, "gone.json"),
        ({"$ref": "#"}, "leads back to itself"),
        ({"$schema": "https://example.com/my-draft"}, "no draft"),
    ],
)
def test_what_is_no_schema_is_refused_and_nothing_is_fetched(
    schema: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "create_connection", None)
    with pytest.raises(SchemaFault, match=words):
        load_schema(schema)


@pytest.mark.parametrize("text", ["[1]", '"a"', "true", "no JSON", ""])
def test_a_file_without_a_schema_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text, encoding="utf-8")
    with pytest.raises(SchemaFault):
        load_schema(str(tmp_path / "s.json"))


def test_a_file_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"description": "x" * 2**24}), encoding="utf-8")
    with pytest.raises(SchemaFault, match="larger than 16 MiB"):
        load_schema(str(tmp_path / "s.json"))


def test_a_reference_to_an_id_within_the_schema_holds() -> None:
    inner = {"$id": "https://example.com/inner", "type": "integer"}
    schema = {"$defs": {"inner": inner}, "properties": {"a": {"$ref": "https://example.com/inner"}}}
    found = SchemaExpectation(load_schema(schema))
    with pytest.raises(Invalid, match="integer"):
        found.read('{"a": "x"}')


def test_an_older_draft_holds_where_it_is_named() -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}], "type": "array"}
    found = SchemaExpectation(load_schema(schema))
    assert found.read('[1, "x"]') == '[1,"x"]'
    with pytest.raises(Invalid, match=r"\$\[0\]"):
        found.read('["x"]')


@pytest.mark.parametrize("more", [{}, {"uniqueItems": True}])
def test_a_pattern_of_a_schema_has_a_bound_on_its_time(more: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "SECONDS", 0.2)
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(x+)+$", **more}}}
    found = SchemaExpectation(schema)
    assert found.read('{"a": "xx"}') == {"a": "xx"}
    with pytest.raises(Invalid, match="does not match"):
        found.read('{"a": "y"}')
    with pytest.raises(Invalid, match=r"more than 0\.2 s"):
        found.read('{"a": "' + "x" * 40 + '!"}')


@pytest.mark.parametrize(
    ("step", "multiples", "others"),
    [
        (0.01, ["19.99", "0.07", "4.35", "33", "-1.1", "1e2", "1e300"], ["0.005", "19.991", "1e400"]),
        (1e-9, ["0.000000003", "12345678.000000001"], ["1e-10"]),
        (3, ["9007199254740993", "-6", "0", "6.0"], ["9007199254740992", "0.3"]),
    ],
)
def test_a_multiple_is_one_of_the_number_that_is_written(step: float, multiples: list[str], others: list[str]) -> None:
    found = SchemaExpectation({"type": "array", "items": {"type": "number", "multipleOf": step}})
    for text in multiples:
        found.read(f"[{text}]")
    for text in others:
        with pytest.raises(Invalid, match=f"not a multiple of {step}"):
            found.read(f"[{text}]")
