"""CONTRACT section 3: the output, its schema, its place on disk, and what is never done to it."""

from __future__ import annotations

import datetime
import decimal
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import sink
from pipeline.app.running.run import Run
from tests.functional.conftest import (
    KEY,
    KEY_VARIABLE,
    MODEL,
    RESULT_COLUMNS,
    Asked,
    Endpoint,
    Reply,
    Workspace,
    answer,
    ended,
    refusal,
    usual,
    wait_until,
)

INPUT = "in.csv"


def added(table: pa.Table, inputs: int) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in list(table.schema)[inputs:]}


def test_the_columns_follow_the_inputs_own_with_the_documented_names_types_and_order(ws: Workspace) -> None:
    ws.given([["1", "a", "NA"], ["2", "b", ""]], ["id", "question", "note"])
    ws.job(input={"id": "id"})
    ws.run()
    table = ws.table()
    assert table.schema.names == ["id", "question", "note", *RESULT_COLUMNS]
    assert added(table, 3) == RESULT_COLUMNS
    assert table.select(["id", "question", "note"]).to_pylist() == [
        {"id": "1", "question": "a", "note": "NA"},
        {"id": "2", "question": "b", "note": ""},
    ]
    row = table.to_pylist()[0]
    assert {name: row[name] for name in [*list(RESULT_COLUMNS)[:5], "attempts"]} == {
        "row_id": "1",
        "status": "succeeded",
        "response": "answer to a",
        "response_type": "text",
        "tool_calls": None,
        "attempts": 1,
    }
    assert (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == (10, 20, 30)
    assert row["cost_usd"] == decimal.Decimal("0.00001")
    assert (row["error_kind"], row["error_message"], row["http_status"], row["model"]) == (None, None, 200, MODEL)
    assert row["truncated"] is False
    assert 0 < row["latency_seconds"] < 10
    assert row["started_at"] < row["finished_at"] <= datetime.datetime.now(datetime.UTC)
    assert row["request_hash"] != table.to_pylist()[1]["request_hash"]


@pytest.mark.parametrize("content", ["question\n", "question"], ids=["header", "header without a line end"])
def test_an_input_without_rows_gives_an_empty_output_of_the_same_schema(ws: Workspace, content: str) -> None:
    (ws.path / "in.csv").write_text(content)
    ws.job()
    found = ws.run()
    assert (found["rows"], found["output"]) == (0, "out.parquet")
    assert ws.table().num_rows == 0
    assert added(ws.table(), 1) == RESULT_COLUMNS


def test_the_schema_is_the_same_when_every_row_failed(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job()
    endpoint.reply = lambda asked: refusal(400, 5006)
    ws.run(code=3)
    assert added(ws.table(), 1) == RESULT_COLUMNS
    assert ws.table().column("cost_usd").null_count == ws.table().column("response").null_count == 2


def odd_table() -> pa.Table:
    now = datetime.datetime(2024, 2, 29, 12, 30, 0, 1, tzinfo=datetime.UTC)
    nested = pa.struct([("k", pa.int8()), ("v", pa.list_(pa.string()))])
    columns = {
        "question": pa.array(["a", "b", "c"], pa.large_string()),
        "topic": pa.array(["x", None, "x"]).dictionary_encode(),
        "price": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("-0.01")], pa.decimal128(9, 2)),
        "at": pa.array([now, None, now], pa.timestamp("ns", "Europe/Berlin")),
        "day": pa.array([datetime.date(2024, 1, 1), None, None], pa.date32()),
        "nested": pa.array([[{"k": 1, "v": ["é"]}], [], None], pa.list_(nested)),
        "pairs": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "nothing": pa.nulls(3),
        "bytes": pa.array([b"\x00\xff", None, b""], pa.binary()),
        "small": pa.array([1.5, None, float("nan")], pa.float32()),
        "huge": pa.array([2**64 - 1, None, 0], pa.uint64()),
        "flag": pa.array([True, None, False]),
        "span": pa.array([datetime.timedelta(seconds=1), None, None], pa.duration("us")),
    }
    return pa.table(columns)


@pytest.mark.parametrize("id_column", [None, "question"])
def test_odd_parquet_types_come_back_unchanged(ws: Workspace, id_column: str | None) -> None:
    pq.write_table(odd_table(), ws.path / "in.parquet")
    written = pq.read_table(ws.path / "in.parquet")
    ws.job(input={"path": "in.parquet", "id": id_column})
    ws.run()
    carried = ws.table().select(written.schema.names)
    assert carried.schema.types == written.schema.types
    assert str(carried.to_pylist()) == str(written.to_pylist())
    assert ws.run()["requests"] == 0


def test_rows_keep_the_inputs_order_whatever_comes_back_first(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(24))
    ws.job(limits={"concurrency": 8})
    endpoint.reply = lambda asked: answer(asked.prompt, wait=(7 * int(asked.prompt) % 24) / 100)
    ws.run()
    assert [row["response"] for row in ws.rows()] == [str(n) for n in range(24)]


def test_equal_rows_are_told_apart_and_each_is_sent(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("same", "other", "same", "same")
    ws.job()
    ws.run()
    first, other, second, third = (row["row_id"] for row in ws.rows())
    assert (second, third) == (f"{first}#2", f"{first}#3")
    assert other != first
    assert sorted(endpoint.prompts) == ["other", "same", "same", "same"]


def test_columns_and_prefix_choose_what_is_carried_and_how_results_are_named(ws: Workspace) -> None:
    ws.given([["1", "a", "s"]], ["id", "question", "status"])
    ws.job(input={"columns": ["status", "id"]}, output={"prefix": "llm_"})
    ws.run()
    assert ws.table().schema.names == ["status", "id", *("llm_" + name for name in RESULT_COLUMNS)]


def test_a_name_that_the_input_has_already_names_the_prefix(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["a", "s"]], ["question", "status"])
    ws.job()
    error = ws.command("validate", code=2)["errors"][0]
    assert error["key"] == "output.prefix"
    assert "status" in error["message"]
    refused = ws.pipeline("run", "job.yaml")
    assert (refused.code, len(refused.lines)) == (2, 1)
    assert "output.prefix" in refused.err
    assert not endpoint.asked


def test_the_metadata_holds_the_job_its_configuration_prices_version_and_runs(ws: Workspace) -> None:
    ws.questions("a", "b")
    ws.environment["WORD"] = "tulip"
    ws.job(prompt={"system": "Think of a ${WORD}, or $5.", "user": "{{ question }}"})
    ids = [ws.run("--limit", "1")["run_id"], ws.run()["run_id"]]
    metadata = ws.table().schema.metadata
    ours = next(json.loads(value) for value in metadata.values() if value.startswith(b"{") and b"run_ids" in value)
    text = json.dumps(ours)
    version = ws.pipeline("--version").out.split()[-1]
    assert ours["run_ids"] == ids
    assert ours["job"] == "job"
    assert ours["version"] == version
    assert "${WORD}" in text
    assert KEY_VARIABLE in text
    assert KEY not in text
    assert "tulip" not in text
    assert '"0.32"' in text
    assert "2025-06-11" in text


def test_the_path_never_holds_a_half_written_file(ws: Workspace, endpoint: Endpoint) -> None:
    count = 1000
    ws.questions(*(f"{n} " + "x" * 300 for n in range(4)))
    ws.job()
    ws.run()
    pq.write_table(pa.table({"question": [f"{n} " + "y" * 500 for n in range(count)]}), ws.path / "in.parquet")
    ws.job(
        endpoint={"url": "simulator"},
        name="many",
        input={"path": "in.parquet"},
        limits={"concurrency": 64},
        output={"overwrite": True},
    )
    seen: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            # One open for the whole reading: the file may be replaced at any moment.
            seen.add(pq.read_table(pa.BufferReader((ws.path / "out.parquet").read_bytes())).num_rows)
            done.wait(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        ws.run()
    finally:
        done.set()
        watcher.join()
    assert seen <= {4, count}
    assert ws.table().num_rows == count
    left = {path.name for path in ws.path.iterdir()}
    assert left == {".checkpoints", "in.csv", "in.parquet", "job.yaml", "out.parquet"}


def test_a_partial_output_stands_after_an_early_stop_and_goes_when_the_output_comes(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "bad", "c", "stop", "e")
    ws.job(limits={"concurrency": 1})
    kinds = {"bad": refusal(400, 5006), "stop": refusal(402)}
    endpoint.reply = lambda asked: kinds.get(asked.prompt) or usual(asked)
    assert ws.run(code=5)["output"] == "out.partial.parquet"
    partial = ws.table("out.partial.parquet")
    assert [(row["question"], row["status"]) for row in partial.to_pylist()] == [
        ("a", "succeeded"),
        ("bad", "failed"),
        ("c", "succeeded"),
    ]
    assert not ws.exists("out.parquet")
    endpoint.reply = usual
    ws.run(code=3)
    assert ws.table().schema.equals(partial.schema)
    assert not ws.exists("out.partial.parquet")


def test_a_standing_complete_output_stays_while_new_rows_are_pending(ws: Workspace) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run()
    before = (ws.path / "out.parquet").read_bytes()
    ws.questions("a", "b", "c", "d")
    assert ws.run("--limit", "1")["output"] == "out.partial.parquet"
    assert (ws.path / "out.parquet").read_bytes() == before
    assert ws.table("out.partial.parquet").num_rows == 3
    ws.run()
    assert ws.table().num_rows == 4


@pytest.mark.parametrize("is_parquet", [True, False], ids=["parquet", "text"])
def test_a_foreign_file_at_the_path_is_exit_2_and_untouched(
    ws: Workspace, endpoint: Endpoint, is_parquet: bool
) -> None:
    ws.questions("a", "b")
    out = ws.path / "out.parquet"
    if is_parquet:
        pq.write_table(pa.table({"mine": [1, 2]}), out)
    else:
        out.write_text("mine")
    ws.job()
    before = out.read_bytes()
    assert "output.overwrite" in ws.run(code=2)["error"]["message"]
    assert out.read_bytes() == before
    assert not endpoint.asked
    ws.run("--set", "output.overwrite=true")
    assert ws.table().num_rows == 2
    assert ws.run()["requests"] == 0


def test_a_foreign_file_put_in_the_outputs_place_later_is_exit_2_too(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    ws.run()
    pq.write_table(pa.table({"mine": [1]}), ws.path / "out.parquet")
    ws.run(code=2)
    assert ws.table().schema.names == ["mine"]


@pytest.mark.parametrize("arguments", [(), ("--limit", "1")], ids=["output", "partial"])
def test_a_foreign_file_that_comes_while_the_job_runs_is_exit_2_and_no_answer_is_lost(
    ws: Workspace, endpoint: Endpoint, arguments: tuple[str, ...]
) -> None:
    ws.questions("a", "b")
    ws.job()
    endpoint.gate.clear()
    place = ws.path / ("out.partial.parquet" if arguments else "out.parquet")
    with ws.running(*arguments) as process:
        endpoint.wait_for(1)
        place.write_text("mine")
        endpoint.gate.set()
        found = ended(process)
    assert (found.code, found.data["error"]["kind"]) == (2, "invalid_input")
    assert "safe in its checkpoint" in found.data["error"]["message"]
    assert place.read_text() == "mine"
    assert found.data["succeeded"] == len(endpoint.asked)
    place.unlink()
    assert ws.run()["succeeded"] == len(endpoint.asked) == 2
    assert {path.name for path in ws.path.iterdir()} == {".checkpoints", "in.csv", "job.yaml", "out.parquet"}


def test_two_jobs_with_one_output_path_leave_each_other_alone(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job()
    endpoint.gate.clear()
    with ws.running() as one, ws.running("--set", "name=other") as other:
        endpoint.wait_for(4)
        endpoint.gate.set()
        codes = sorted((ended(one).code, ended(other).code))
    assert codes == [0, 2]
    assert ws.table().num_rows == 2


def test_what_comes_to_stand_at_the_path_while_another_job_publishes_there_is_left(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    ws.job()
    directory = os.open(ws.path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)  # as a job does between its look and its renaming
        with ws.running() as process:
            wait_until(lambda: bool(list(ws.path.glob(".out.parquet.*.writing"))))
            time.sleep(1)  # more than it takes to look and to rename
            assert not ws.exists("out.parquet")
            (ws.path / "out.parquet").write_text("the other job's")
            fcntl.flock(directory, fcntl.LOCK_UN)
            assert ended(process).code == 2
    finally:
        os.close(directory)
    assert (ws.path / "out.parquet").read_text() == "the other job's"


def test_a_draft_that_a_kill_left_goes_with_the_next_run(ws: Workspace) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run("--limit", "1")
    metadata = json.loads(ws.table("out.partial.parquet").schema.metadata[b"llm-batch-pipeline"])
    drafts = [
        ws.path / f".{name}.{metadata['checkpoint_id']}.writing" for name in ("out.parquet", "out.partial.parquet")
    ]
    for draft in drafts:
        draft.write_text("half")
    foreign = ws.path / ".out.parquet.0123456789abcdef.writing"
    foreign.write_text("another job's")
    ws.run()
    assert [draft.exists() for draft in drafts] == [False, False]
    assert foreign.read_text() == "another job's"


def test_an_output_that_was_cut_to_fewer_rows_is_made_again(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b", "c")
    ws.job()
    ws.run()
    table = ws.table()
    pq.write_table(table.slice(0, 1), ws.path / "out.parquet")
    assert ws.run()["requests"] == 0
    assert ws.rows() == table.to_pylist()


def _answer_of(name: str, asked: Asked) -> Reply:
    return answer(f"{name}'s answer")


@pytest.mark.parametrize("path", ["out.parquet", "out/"])
def test_an_output_of_another_job_with_the_same_rows_is_replaced_where_it_may_be(
    ws: Workspace, endpoint: Endpoint, path: str
) -> None:
    ws.questions("a", "b")
    for name in ("first", "second"):
        endpoint.reply = partial(_answer_of, name)
        ws.job(name=name, limits={"concurrency": 1}, output={"path": path, "overwrite": True})
        ws.run()
        assert {row["response"] for row in ws.rows(path.rstrip("/"))} == {f"{name}'s answer"}


def test_an_output_with_nothing_new_to_show_is_left_alone_and_made_again_when_it_is_gone(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run()
    before = os.stat(ws.path / "out.parquet")
    assert ws.pipeline("run", "job.yaml") == ws.pipeline("retry-failed", "job.yaml", "--limit", "3")
    ws.run("--set", "output.overwrite=true", "--set", "output.path=./out.parquet")
    after = os.stat(ws.path / "out.parquet")
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    (ws.path / "out.parquet").unlink()
    assert ws.run()["requests"] == 0
    assert ws.table().num_rows == 2
    ws.run("--set", "output.prefix=p_")
    assert "p_status" in ws.table().schema.names
    assert len(endpoint.asked) == 2


def test_an_output_path_that_is_a_directory_is_exit_2(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    (ws.path / "out.parquet").mkdir()
    ws.job()
    refused = ws.pipeline("run", "job.yaml")
    assert (refused.code, len(refused.lines)) == (2, 1)
    assert "directory" in refused.err
    assert not endpoint.asked
    assert not ws.exists(".checkpoints")


def test_several_files_are_read_in_order_of_name(ws: Workspace) -> None:
    (ws.path / "data").mkdir()
    for name, words in {"b": ["3", "4"], "a": ["1", "2"], "c": ["5"]}.items():
        ws.given([[word] for word in words], ["question"], f"data/{name}.csv")
    ws.job(input={"path": "data/*.csv"})
    ws.run()
    assert [row["question"] for row in ws.rows()] == ["1", "2", "3", "4", "5"]
    ws.job(input={"path": "data"})
    assert ws.run()["requests"] == 0


def test_messages_and_parameters_may_come_from_columns(ws: Workspace, endpoint: Endpoint) -> None:
    said = [("user", "hi"), ("assistant", "yes?"), ("user", "é")]
    chat = [{"role": role, "content": content} for role, content in said]
    rows: list[dict[str, Any]] = [{"chat": chat, "heat": 0.25}, {"chat": chat[:1], "heat": 1.5}]
    Path(ws.path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ws.job(input={"path": "in.jsonl"}, prompt={"messages": "chat"}, parameters={"temperature": {"column": "heat"}})
    ws.run()
    sent = {asked.prompt: asked.body["data"] for asked in endpoint.asked}
    assert sent["é"]["messages"] == chat
    assert {prompt: data["temperature"] for prompt, data in sent.items()} == {"é": 0.25, "hi": 1.5}


def test_an_openai_server_gets_its_own_wire_form_and_its_finish_reason_tells_truncation(
    ws: Workspace, endpoint: Endpoint
) -> None:
    def reply(asked: Asked) -> Reply:
        choice = {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "length"}
        return Reply({"choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}})

    endpoint.reply = reply
    ws.questions("a")
    ws.job(
        endpoint={"kind": "openai", "url": endpoint.url.replace("/api/v1", "/v1"), "model": "some/model"},
        pricing={"input_usd_per_million": 1, "output_usd_per_million": 2},
    )
    ws.run()
    assert endpoint.asked[0].path == "/v1/chat/completions"
    assert endpoint.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert endpoint.asked[0].body["messages"] == [{"role": "user", "content": "a"}]
    row = ws.rows()[0]
    assert (row["response"], row["truncated"], row["cost_usd"]) == ("yes", True, decimal.Decimal("0.000006"))


@pytest.mark.parametrize("path", ["in.parquet", "in.csv"])
def test_a_run_does_without_pandas_and_requests(ws: Workspace, path: str) -> None:
    ws.given([[1, "a"], [2, "b"]], ["id", "question"], path)
    ws.job(input={"path": path, "id": "id"})
    _, imported = ws.pipeline_with_imports("run", "job.yaml")
    assert "pyarrow" in imported
    assert not imported & {"pandas", "requests"}
    assert [row["status"] for row in ws.rows()] == ["succeeded", "succeeded"]


def test_long_answers_after_short_ones_are_joined_a_few_at_a_time(
    ws: Workspace, endpoint: Endpoint, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.questions(*range(460))
    ws.job(limits={"concurrency": 8})
    endpoint.reply = lambda asked: answer("y" * (100_000 if int(asked.prompt) >= 200 else 1))
    sizes: list[int] = []
    batches = sink.Results.batches

    def measured(results: sink.Results) -> Iterator[pa.RecordBatch]:
        for batch in batches(results):
            sizes.append(batch.nbytes)
            yield batch

    monkeypatch.setattr(sink.Results, "batches", measured)
    assert run_here().execute().succeeded == 460
    assert sum(sizes) > 26_000_000
    assert max(sizes) < 9_000_000
    assert [len(row["response"]) for row in ws.rows()] == [1] * 200 + [100_000] * 260
