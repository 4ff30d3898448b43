"""A row of JSONL is asked, known and paid for by itself."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.functional.conftest import Endpoint, Workspace


def given(ws: Workspace, *rows: Any) -> None:
    (ws.path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


ODD = [{"id": 1, "q": "x", "v": ["y"]}, {"id": "two", "q": "z", "v": {"w": 1}, "extra": 1}]


@pytest.mark.parametrize("id_column", [None, "id"])
@pytest.mark.parametrize(
    "template", ["{{ q }} {{ v }}", "{{ q }} {% for k, x in row.items() %}{{ k }}={{ x }} {% endfor %}"]
)
def test_an_odd_row_changes_no_other(ws: Workspace, endpoint: Endpoint, id_column: str | None, template: str) -> None:
    rows = [{"id": f"r{n}", "q": f"question {n}", "v": value} for n, value in enumerate((7, -1, 10**18))]
    given(ws, *rows)
    ws.job(input={"path": "in.jsonl", "id": id_column}, prompt={"user": template})
    ws.run()
    ids = [row["row_id"] for row in ws.rows()]
    endpoint.forget()
    given(ws, ODD[0], *rows, ODD[1])
    assert ws.run()["requests"] == 2
    assert [row["row_id"] for row in ws.rows()][1:4] == ids
    assert [row["v"] for row in ws.rows()] == ['["y"]', "7", "-1", "1000000000000000000", '{"w":1}']
    assert [row["extra"] for row in ws.rows()] == [None, None, None, None, 1]
    endpoint.forget()
    given(ws, *rows[::-1])
    assert ws.run()["requests"] == 0


def test_a_template_sees_lists_objects_numbers_and_truth_as_they_stand(ws: Workspace, endpoint: Endpoint) -> None:
    values = [["red", {"b": True}], {"b": [1, 2.5]}, 7, 7.0, True, "7", "[1]"]
    given(ws, *({"v": value} for value in values))
    kinds = "{{ 'object' if v is mapping else v if v is string or v is number else 'list' }}"
    ws.job(input={"path": "in.jsonl", "id": None}, prompt={"user": kinds + " {{ v }}"}, limits={"concurrency": 1})
    ws.run()
    assert endpoint.prompts == [
        'list ["red",{"b":true}]',
        'object {"b":[1,2.5]}',
        "7 7",
        "7.0 7.0",
        "True True",
        "7 7",
        "[1] [1]",
    ]


def test_lists_and_structs_are_the_same_json_from_parquet(ws: Workspace, endpoint: Endpoint) -> None:
    rows = [{"id": "1", "v": {"b": True, "a": ["x", None]}}, {"id": "2", "v": {"b": None, "a": []}}]
    given(ws, *rows)
    job = {"prompt": {"user": "{{ v | tojson }}"}, "limits": {"concurrency": 1}}
    ws.job(input={"path": "in.jsonl", "id": "id"}, **job)
    ws.run()
    assert endpoint.prompts == ['{"a": ["x", null], "b": true}', '{"a": [], "b": null}']
    pq.write_table(pa.Table.from_pylist(rows), ws.path / "rows.parquet")
    ws.job(input={"path": "rows.parquet", "id": "id"}, **job)
    assert ws.run()["requests"] == 0


def test_a_run_does_without_pandas(ws: Workspace) -> None:
    given(ws, {"q": "a", "n": 1, "x": 0.5, "t": True, "v": [1]}, {"q": "b", "n": None, "x": None, "t": None, "more": 2})
    ws.job(input={"path": "in.jsonl", "id": None}, prompt={"user": "{{ q }}"})
    _, imported = ws.pipeline_with_imports("run", "job.yaml")
    assert "pyarrow" in imported
    assert "pandas" not in imported
    carried = [[row[name] for name in ("n", "x", "t", "v", "more")] for row in ws.rows()]
    assert carried == [[1, 0.5, True, "[1]", None], [None, None, None, None, 2]]


@pytest.mark.parametrize("id_", [1.5, True, ["x"], {"a": 1}])
def test_an_id_that_is_neither_text_nor_an_integer_is_refused_with_its_line(ws: Workspace, id_: Any) -> None:
    given(ws, {"id": "a", "q": "x"}, {"id": id_, "q": "y"})
    ws.job(input={"path": "in.jsonl", "id": "id"}, prompt={"user": "{{ q }}"})
    found = ws.run(code=2)
    assert "neither text nor an integer" in found["error"]["message"]
    assert "line 2" in found["error"]["message"]
