"""A job that was divided into shards, shown and exported as a whole."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.errors import NoCheckpoint
from pipeline.sink import GatheredResults
from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, wait_until

ROWS = 60
TIMES = ("latency_seconds", "started_at", "finished_at")
EXPORTS = {
    "jsonl": ("--failed", "--columns", "row_id,sample_index,question,response,cost_usd,status"),
    "csv": ("--where", "sample_index == 1", "--columns", "row_id,response"),
    "parquet": ("--dedup", "exact", "--columns", "question,response"),
    "messages": (),
    "prompt-completion": ("--vote", "response"),
    "preference": ("--score", "sample_index"),
    "openai-batch": (),
    "openai-batch-requests": (),
    "hf": ("--split", "train=0.5,test=0.5", "--columns", "row_id,response"),
}


def reply(asked: Asked) -> Reply:
    if asked.prompt in ("q7", "q33"):
        return Reply({"error": {"message": "no"}}, 400)
    choice = {"message": {"content": f"answer to {asked.prompt}"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    return Reply({"choices": [choice], "usage": usage})


@pytest.fixture
def divided(ws: Workspace, endpoint: Endpoint) -> Workspace:
    """A job of rows without ids, some of them equal, three of which fail; `single.yaml` is the same by another name."""
    return written(ws, endpoint)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The same job once all of its shards have run, and the single one."""
    endpoint = Endpoint()
    ws = written(Workspace(tmp_path_factory.mktemp("done"), endpoint.url, "in.parquet"), endpoint)
    run(ws)
    ws.pipeline("run", "single.yaml")
    yield ws
    endpoint.close()


@pytest.fixture
def finished(done: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it for one test."""
    shutil.copytree(done.path, tmp_path, dirs_exist_ok=True)
    return Workspace(tmp_path, done.url, done.input)


def written(ws: Workspace, endpoint: Endpoint) -> Workspace:
    endpoint.reply = reply
    ws.questions(*(f"q{n % 50}" for n in range(ROWS)))
    usual: dict[str, Any] = {
        "endpoint": {"kind": "openai", "url": ws.url.replace("/api/v1", "/v1")},
        "prompt": {"user": "{{ question }}", "samples": 2},
    }
    ws.job(**usual)
    ws.job("single.yaml", **usual, name="single", output={"path": "single.parquet"})
    return ws


def run(ws: Workspace, *numbers: int) -> None:
    for number in numbers or range(1, 5):
        assert ws.pipeline("run", "job.yaml", "--shard", f"{number}/4").code in (0, 3)


def shown(ws: Workspace, file: str, *flags: str) -> list[dict[str, Any]]:
    found = ws.pipeline("show", file, "--json", *flags)
    assert found.code == 0, found.err
    return [{name: value for name, value in row.items() if name not in TIMES} for row in found.data["rows"]]


def exported(ws: Workspace, file: str, to: str, *flags: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an export says of itself, and what is in its files."""
    place = ws.path / f"{file}-{to}"
    found = ws.pipeline("export", file, "--to", to, *flags, str(place), "--json")
    assert found.code == 0, found.err
    files = [place] if place.is_file() else [one for one in sorted(place.rglob("*")) if one.is_file()]
    return {**found.data, "path": None}, {str(one.relative_to(place)): _content(one) for one in files}


def _content(path: Any) -> Any:
    content = path.read_bytes()
    if content.startswith(b"PAR1"):
        return pq.read_table(path).to_pylist()
    lines = [re.sub(r'"(id|created|request_id)": ?("[^"]*"|\d+)', "", line) for line in content.decode().splitlines()]
    if path.name.startswith("requests-"):
        return sorted(lines)
    return [one for one in lines if "name: " not in one and not one.startswith("# ")]


def test_the_first_rows_of_the_whole_job_are_shown(finished: Workspace) -> None:
    for flags in ((), ("-n", "17"), ("--failed",), ("-n", "1000", "--failed"), ("-n", "1000")):
        assert shown(finished, "job.yaml", *flags) == shown(finished, "single.yaml", *flags)
    ids = [row["row_id"] for row in shown(finished, "single.yaml", "-n", "1000")]
    for row_id in (ids[0], ids[14], ids[-1]):
        found = shown(finished, "job.yaml", "--id", row_id)
        assert found == shown(finished, "single.yaml", "--id", row_id)
        assert [row["sample_index"] for row in found] == [0, 1]
    refused = finished.pipeline("show", "job.yaml", "--id", "nowhere")
    assert (refused.code, "'nowhere' has an outcome so far" in refused.err) == (2, True)


def test_shards_that_were_not_run_are_pending(divided: Workspace) -> None:
    run(divided, 1, 3)
    parts = [row for number in (1, 3) for row in shown(divided, "job.yaml", "-n", "1000", "--shard", f"{number}/4")]
    whole = shown(divided, "job.yaml", "-n", "1000")
    assert sorted(map(json.dumps, whole)) == sorted(map(json.dumps, parts))
    assert shown(divided, "job.yaml", "--id", parts[-1]["row_id"]) == parts[-2:]
    said, _ = exported(divided, "job.yaml", "jsonl", "--failed")
    assert (said["rows"], said["left_out"]) == (len(whole), {"pending": 2 * ROWS - len(whole)})
    requests, _ = exported(divided, "job.yaml", "openai-batch-requests")
    assert requests["rows"] == 2 * ROWS - len(whole)
    refused = divided.pipeline("show", "job.yaml", "--shard", "2/4")
    assert "shard 2/4" in refused.err and "pipeline run job.yaml --shard 2/4" in refused.err


@pytest.mark.parametrize("to", EXPORTS)
def test_the_whole_job_is_exported_as_a_single_run_would_be(finished: Workspace, to: str) -> None:
    finished.questions(*(f"q{n % 50}" for n in range(ROWS + 5)))  # five rows are pending
    assert exported(finished, "job.yaml", to, *EXPORTS[to]) == exported(finished, "single.yaml", to, *EXPORTS[to])


def test_an_export_is_replaced_by_the_next_of_any_shard(finished: Workspace) -> None:
    for shard in ("--shard=1/4", "--shard=2/4", ""):
        done = finished.pipeline("export", "job.yaml", "--to", "csv", "out.csv", *filter(None, [shard]))
        assert done.code == 0, done.err


def test_a_gathered_output_is_exported_as_it_stands(finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    joined, _ = exported(finished, "job.yaml", "jsonl")
    assert finished.pipeline("gather", "job.yaml", "--shards", "4").code == 3
    monkeypatch.delattr(GatheredResults, "joined")
    assert exported(finished, "job.yaml", "jsonl")[0] == joined


def test_a_shard_under_way_is_shown_as_it_is(divided: Workspace, endpoint: Endpoint) -> None:
    run(divided, 1)
    known = len(shown(divided, "job.yaml", "-n", "1000"))
    endpoint.answered.clear()
    endpoint.reply = lambda asked: Reply(reply(asked).body, wait=0.0 if len(endpoint.answered) < 5 else 20.0)
    with divided.running("--shard", "2/4"):
        wait_until(lambda: len(shown(divided, "job.yaml", "-n", "1000")) > known)
        assert divided.pipeline("export", "job.yaml", "--to", "csv", "out.csv").code == 75


def test_the_results_of_the_whole_job_are_at_hand_in_python(
    divided: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(divided.path)
    for name, value in divided.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NoCheckpoint):
        pipeline.Job("job.yaml").results()
    run(divided)
    found = pipeline.Job("job.yaml").results()
    assert found.table().column("question").to_pylist() == [f"q{n // 2 % 50}" for n in range(2 * ROWS)]
    assert len(found.failed()) == 6


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (("report",), "pipeline report job.yaml --shard 1/4"),
        (("recover",), "pipeline recover job.yaml --shard 1/4"),
        (("clean", "--yes"), "pipeline clean job.yaml --shard 1/4"),
        (("retry-failed", "--list"), "pipeline retry-failed job.yaml --shard 1/4 --list"),
        (("retry-failed", "--kind", "bad_request", "--accept"), "--shard 1/4 --kind bad_request --accept"),
        (("retry-failed", "--on-change", "rerun"), "pipeline retry-failed job.yaml --shard 1/4"),
        (("control", "set", "limits.concurrency=3"), "pipeline control job.yaml --shard 1/4 set limits.concurrency=3"),
        (("cancel",), "pipeline cancel job.yaml --shard 1/4"),
        (("report", "--set", "retry.max_runs=3"), "pipeline report job.yaml --set retry.max_runs=3 --shard 1/4"),
    ],
)
def test_a_command_for_one_checkpoint_names_the_shards_and_what_to_type(
    divided: Workspace, words: tuple[str, ...], again: str
) -> None:
    run(divided, 1, 2, 4)
    command, *flags = words
    refused = divided.pipeline(command, "job.yaml", *flags)
    assert refused.code == 2
    assert "1-2,4 of 4 have a checkpoint" in refused.err
    assert again in refused.err
