"""Inputs as people have them, from the file to the output and its exports."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.functional.conftest import Endpoint, Workspace, ended


def test_an_input_edited_in_place_with_its_time_kept_is_not_mixed_up(ws: Workspace, endpoint: Endpoint) -> None:
    lines = "".join(json.dumps({"id": f"i{n}", "question": f"old {n}"}) + "\n" for n in range(6))
    path = ws.path / "in.jsonl"
    path.write_text(lines)
    ws.job(input={"path": "in.jsonl", "id": "id"}, limits={"concurrency": 1})
    endpoint.gate.clear()
    with ws.running() as process:
        endpoint.wait_for(1)
        before = path.stat()
        with path.open("r+") as file:
            file.write(lines.replace("old 0", "new 0"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        endpoint.gate.set()
        result = ended(process)
    assert result.code == 2
    assert "changed" in result.data["error"]["message"]
    assert not ws.exists("out.parquet")
    endpoint.forget()
    ws.run()
    assert endpoint.prompts == ["new 0"]
    assert [row["response"] for row in ws.rows()] == [f"answer to {row['question']}" for row in ws.rows()]


def test_new_links_and_permissions_of_the_input_stop_nothing(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*"abcdef")
    ws.job(limits={"concurrency": 1})
    endpoint.gate.clear()
    with ws.running() as process:
        endpoint.wait_for(1)
        os.link(ws.path / ws.input, ws.path / "link")
        (ws.path / ws.input).chmod(0o600)
        endpoint.gate.set()
        result = ended(process)
    assert result.code == 0
    assert len(ws.rows()) == 6


def test_exports_are_json_whatever_the_input_holds(ws: Workspace) -> None:
    nan = float("nan")
    columns = {
        "question": ["a", "b", "c"],
        "score": [1.5, nan, float("inf")],
        "raw": [b"\x00\xff", b"x", None],
        "deep": [[{"x": nan}], [], None],
    }
    pq.write_table(pa.table(columns), ws.path / "in.parquet")
    ws.job(input={"path": "in.parquet"})
    ws.run()
    ws.pipeline("export", "job.yaml", "--to", "jsonl", "x.jsonl")

    def refuse(name: str) -> None:
        raise ValueError(name)

    rows = [json.loads(line, parse_constant=refuse) for line in (ws.path / "x.jsonl").read_text().splitlines()]
    assert [(row["score"], row["raw"], row["deep"]) for row in rows] == [
        (1.5, "AP8=", [{"x": None}]),
        (None, "eA==", []),
        (None, None, None),
    ]


@pytest.mark.parametrize("used", [{}, {"columns": ["question", "raw"]}, {"columns": ["question"], "id": "raw"}])
def test_bytes_that_are_no_utf8_are_refused_where_they_are_used_alone(
    ws: Workspace, endpoint: Endpoint, used: dict[str, object]
) -> None:
    raw = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 3], np.int32)), pa.py_buffer(b"a\xff\xfe"))
    pq.write_table(pa.table({"question": ["a", "b"], "raw": raw}), ws.path / "in.parquet")
    ws.job(input={"path": "in.parquet", **used})
    message = ws.run(code=2)["error"]["message"]
    assert "row 2: column 'raw' holds bytes that are no UTF-8" in message
    assert "damaged" not in message
    assert endpoint.prompts == []
    ws.job(input={"path": "in.parquet", "columns": ["question"]})
    assert ws.run()["succeeded"] == 2
