"""`output.raw_reply`: each reply as it came, in the last column."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from tests.functional.conftest import KEY, Asked, Endpoint, Reply, Workspace, answer, refusal


def test_the_last_column_has_the_reply_as_it_came(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job(output={"raw_reply": True})
    endpoint.reply = lambda asked: answer(f"to {asked.prompt}", extra={"kept": [1, None]})
    ws.run()
    table = ws.table()
    assert table.schema.names[-1] == "raw_reply"
    assert table.schema.field("raw_reply").type == pa.string()
    for row in ws.rows():
        found = json.loads(row["raw_reply"])
        assert found["result"] == {
            "response": f"to {row['question']}",
            "extra": {"kept": [1, None]},
            "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
        }


def test_a_failed_row_has_the_last_reply_it_got(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job(output={"raw_reply": True}, retry={"max_attempts": 3})
    left = [refusal(500, 3043, "first"), refusal(500, 3043, "second"), None]
    endpoint.reply = lambda _: left.pop(0)
    ws.run(code=3)
    (row,) = ws.rows()
    assert (row["error_kind"], row["response"]) == ("connection_error", None)
    assert json.loads(row["raw_reply"])["errors"][0]["message"] == "second"


def test_a_row_without_a_reply_has_none(ws: Workspace) -> None:
    ws.questions("", "a")
    ws.job(output={"raw_reply": True})
    ws.run(code=3)
    assert ws.rows()[0]["raw_reply"] is None


def test_a_reply_is_cut_at_a_mebibyte_and_holds_no_key(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job(output={"raw_reply": True})
    endpoint.reply = lambda _: answer(f"{KEY} " + "é" * 600_000)
    ws.run()
    (row,) = ws.rows()
    raw = row["raw_reply"].encode()
    assert 2**20 - 1 <= len(raw) <= 2**20
    assert KEY.encode() not in raw
    assert len(row["response"]) > 600_000


def test_turning_it_on_keeps_the_answers_and_shows_replies_from_then_on(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    ws.run()
    before = (ws.path / "out.parquet").read_bytes()
    ws.run()
    assert (ws.path / "out.parquet").read_bytes() == before
    endpoint.forget()
    ws.job(output={"raw_reply": True})
    ws.questions("a", "b")
    ws.run()
    assert endpoint.prompts == ["b"]
    first, second = ws.rows()
    assert first["raw_reply"] is None
    assert json.loads(second["raw_reply"])["result"]["response"] == "answer to b"


@pytest.mark.parametrize("processes", [1, 2])
def test_replies_come_from_every_process_and_of_streams(processes: int, ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(6))
    chunk = {"choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}], "model": "m"}
    body = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()

    def reply(_: Asked) -> Reply:
        return Reply(body, headers={"Content-Type": "text/event-stream"})

    endpoint.reply = reply
    url = f"http://127.0.0.1:{endpoint.port}/v1"
    ws.job(
        endpoint={"kind": "openai", "url": url, "stream": True, "model": "m"},
        limits={"processes": processes},
        output={"raw_reply": True},
    )
    ws.run()
    for row in ws.rows():
        assert json.loads(row["raw_reply"])["choices"][0]["message"]["content"] == "yes"


def test_recovery_from_the_output_keeps_replies(ws: Workspace) -> None:
    ws.questions("a")
    ws.job(output={"raw_reply": True, "prefix": "x_"})
    ws.run()
    (before,) = ws.rows()
    for file in (ws.path / ".checkpoints" / "job").glob("journal*"):
        file.write_bytes(b"damaged" * 100)
    assert ws.command("recover")["recovered"] == 1
    (ws.path / "out.parquet").unlink()
    ws.run()
    (after,) = ws.rows()
    assert after["x_raw_reply"] == before["x_raw_reply"] is not None
