"""`pipeline gather`: the answers of a job's shards as the one output of the job."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.simulator.ledger import count_askings
from pipeline.sources import shard_numbers
from tests.functional.conftest import (
    COST,
    RUN_KEYS,
    Endpoint,
    Simulated,
    Workspace,
    ended,
    refusal,
    usual,
)
from tests.support.oracle import Ledger

SHARDS = range(1, 5)
ROWS = 80
ROWS_AMID_A_KILL = 240
TIMES = ("latency_seconds", "started_at", "finished_at")


def run_all(ws: Workspace, *arguments: str) -> list[dict[str, Any]]:
    return [ws.run("--shard", f"{number}/4", *arguments) for number in SHARDS]


def gather(ws: Workspace, *arguments: str, code: int = 0) -> dict[str, Any]:
    return ws.command("gather", "--shards", "4", *arguments, code=code)


def without(names: tuple[str, ...], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def single_run(ws: Workspace, code: int = 0) -> list[dict[str, Any]]:
    """Run the same job as a whole, under another name; return its rows."""
    job = json.loads((ws.path / "job.yaml").read_text())
    single = {**job, "name": "single", "output": {**job["output"], "path": "single.parquet"}}
    (ws.path / "single.yaml").write_text(json.dumps(single))
    assert ws.pipeline("run", "single.yaml", "--json").code == code
    return ws.rows("single.parquet")


@pytest.fixture
def divided(ws: Workspace) -> Workspace:
    """A job of rows without ids, some of them equal."""
    ws.questions(*(f"q{n % 70}" for n in range(ROWS)))
    ws.job(limits={"concurrency": 16})
    return ws


def test_the_gathered_output_is_that_of_a_single_run(divided: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: refusal(400) if asked.prompt in ("q7", "q65") else usual(asked)
    for number in SHARDS:
        divided.pipeline("run", "job.yaml", "--shard", f"{number}/4")
    assert len(endpoint.asked) == ROWS
    found = gather(divided, code=3)
    assert len(endpoint.asked) == ROWS
    assert found.keys() == RUN_KEYS | {"shards"}
    assert (found["rows"], found["succeeded"], found["failed"], found["requests"]) == (ROWS, ROWS - 3, 3, 0)
    assert (found["failures"], found["output"]) == ({"bad_request": 3}, "out.parquet")
    assert Decimal(found["job_cost_usd"]) == (ROWS - 3) * Decimal(COST)
    assert sum(one["rows"] for one in found["shards"]) == ROWS
    told = divided.pipeline("gather", "job.yaml", "--shards", "4").err
    assert told.startswith("job: finished; some rows failed: 77 answered, 3 failed, 0 pending of 80 rows; failed: ")
    assert told.endswith(" in 4 shards; see out.parquet\n")
    assert without(TIMES, divided.rows()) == without(TIMES, single_run(divided, code=3))
    assert divided.table().schema.equals(divided.table("single.parquet").schema)
    assert all(divided.exists(f"out.shard-{number}-of-4.parquet") for number in SHARDS)


def test_several_rows_of_one_input_row_stay_together(ws: Workspace) -> None:
    ws.given([[f"id-{n}", f"q{n}"] for n in range(50)], ["id", "question"])
    ws.job(
        input={"id": "id"},
        sweep={"parameters.temperature": [0.2, 1.0]},
        prompt={"user": "{{ question }}", "samples": 2},
    )
    run_all(ws)
    gather(ws)
    assert without(TIMES, ws.rows()) == without(TIMES, single_run(ws))


def test_a_killed_shard_goes_on_and_nothing_is_bought_twice(ws: Workspace, simulate: Callable[..., Simulated]) -> None:
    served = simulate("--latency-seconds", "0.05")
    ws.given([[f"id-{n}", f"q{n}"] for n in range(ROWS_AMID_A_KILL)], ["id", "question"])
    ws.job(input={"id": "id"}, endpoint={"url": served.url}, limits={"concurrency": 4})
    with ws.running("--shard", "1/4") as first, ws.running("--shard", "2/4") as second:
        served.wait_for_answers(30)
        first.kill()
        first.wait()
        assert ended(second).code == 0
    known = len(served.records("answered"))
    with ws.running("--shard", "1/4") as first, ws.running("--shard", "3/4") as third:
        assert [ended(first).code, ended(third).code] == [0, 0]
    assert known < ROWS_AMID_A_KILL
    ws.run("--shard", "4/4")
    found = gather(ws)
    ledger, rows = Ledger(served.ledger), ws.rows()
    askings = count_askings(served.ledger)
    twice = askings.total() - ROWS_AMID_A_KILL
    assert len(askings) == ROWS_AMID_A_KILL
    assert 0 <= twice <= found["possibly_billed_requests"] <= 4  # what was in flight at the kill
    cost = sum(row["cost_usd"] for row in rows)
    assert cost == Decimal(found["job_cost_usd"])
    assert cost <= ledger.billed <= cost + Decimal(found["possibly_billed_usd"])
    assert without((*TIMES, "attempts"), rows) == without((*TIMES, "attempts"), single_run(ws))


def test_a_second_time_it_leaves_the_output_as_it_is_and_replaces_it_after_a_change(divided: Workspace) -> None:
    run_all(divided)
    gather(divided)
    before = os.stat(divided.path / "out.parquet")
    gather(divided)
    after = os.stat(divided.path / "out.parquet")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    divided.questions(*(f"q{n % 70}" for n in range(ROWS + 20)))
    run_all(divided)
    assert gather(divided)["rows"] == len(divided.rows()) == ROWS + 20


def test_shards_whose_rows_only_mix_in_another_way_are_gathered_anew(ws: Workspace) -> None:
    ids = [f"id-{n}" for n in range(12)]
    shards = shard_numbers(pa.record_batch({"id": ids}), 4, ("id",))
    ws.job(input={"id": "id"})
    for present in (ids, [ids[at] for at in np.argsort(shards, kind="stable")]):
        ws.given([[id_, f"question {id_}"] for id_ in present], ["id", "question"])
        run_all(ws)
        gather(ws)
        assert [row["row_id"] for row in ws.rows()] == present


def test_a_missing_or_unfinished_shard_is_named_and_nothing_is_written(divided: Workspace) -> None:
    for number in (1, 3):
        divided.run("--shard", f"{number}/4")
    divided.run("--shard", "4/4", "--limit", "2")
    found = gather(divided, code=3)
    assert found["error"]["kind"] == "shards_unfinished"
    assert "shard 2/4 has no checkpoint" in found["error"]["message"]
    assert "--shard 2/4" in found["error"]["message"]
    assert "--array=2,4" in found["error"]["message"]
    states = {one["shard"]: one["state"] for one in found["shards"]}
    assert states == {1: "succeeded", 2: "missing", 3: "succeeded", 4: "partial"}
    assert found["shards"][3]["pending"] > 0
    unknown = ("rows", "succeeded", "failed", "pending", "failures", "job_cost_usd", "possibly_billed_usd")
    assert [found[name] for name in unknown] == [None] * len(unknown)
    assert not divided.exists("out.parquet")
    told = divided.pipeline("gather", "job.yaml", "--shards", "4")
    assert (told.code, told.out) == (3, "")
    assert "shard 4/4 has" in told.err
    assert "divided into 4; say --shards 4" in divided.pipeline("gather", "job.yaml", "--shards", "3").err


def test_a_shard_under_way_is_not_finished(divided: Workspace, endpoint: Endpoint) -> None:
    for number in (1, 2, 3):
        divided.run("--shard", f"{number}/4")
    endpoint.forget()
    endpoint.gate.clear()
    with divided.running("--shard", "4/4") as process:
        endpoint.wait_for(1)
        found = gather(divided, code=3)
        process.kill()
    assert found["shards"][3]["state"] == "running"


def test_shards_of_another_job_are_refused_by_what_is_different(divided: Workspace) -> None:
    run_all(divided)
    for change in ({"prompt": {"user": "Q: {{ question }}"}}, {"parameters": {"max_tokens": 50}}):
        divided.job(limits={"concurrency": 16}, **change)
        message = gather(divided, code=2)["error"]["message"]
        assert "other settings" in message
        assert "shard 1/4" in message
    divided.job(limits={"concurrency": 16})
    refused = divided.command("gather", "--shards", "3", code=2)
    assert "divided into 4" in refused["error"]["message"]
    assert (refused["job"], refused["rows"], refused["succeeded"]) == ("job", ROWS, ROWS)
    divided.questions(*(f"q{n % 70}" for n in range(ROWS + 50)))
    assert "another input" in gather(divided, code=2)["error"]["message"]
    assert not divided.exists("out.parquet")


def test_the_same_input_elsewhere_is_the_same(divided: Workspace) -> None:
    run_all(divided)
    shutil.copy(divided.path / "in.parquet", divided.path / "copy.parquet")
    os.replace(divided.path / "copy.parquet", divided.path / "in.parquet")
    assert gather(divided)["succeeded"] == ROWS


def test_somebody_elses_file_is_not_replaced(divided: Workspace) -> None:
    run_all(divided)
    (divided.path / "out.parquet").write_bytes(b"mine")
    assert "was not gathered from these shards" in gather(divided, code=2)["error"]["message"]
    assert (divided.path / "out.parquet").read_bytes() == b"mine"
    gather(divided, "--set", "output.overwrite=true")
    assert len(divided.rows()) == ROWS


def test_an_input_without_rows_gives_an_empty_output(ws: Workspace) -> None:
    ws.given([], ["question"])
    ws.job()
    run_all(ws)
    assert gather(ws)["rows"] == 0
    assert ws.rows() == []


def test_a_gathered_output_can_be_another_jobs_input(divided: Workspace) -> None:
    run_all(divided)
    chained = {"path": {"job": "job.yaml"}, "columns": ["question"]}
    divided.job("next.yaml", name="next", input=chained, output={"path": "next.parquet"})
    refused = divided.pipeline("run", "next.yaml")
    assert refused.code == 2
    assert "gather job.yaml --shards 4" in refused.err
    gather(divided)
    assert divided.pipeline("run", "next.yaml").code == 0
    assert len(divided.rows("next.parquet")) == ROWS
    divided.questions(*(f"q{n % 70}" for n in range(ROWS)), "one more")
    refused = divided.pipeline("run", "next.yaml")
    assert f"1 of {ROWS + 1} rows have no outcome yet" in refused.err
    divided.pipeline(*refused.err.split("run it first: pipeline ")[1].split())
    refused = divided.pipeline("run", "next.yaml")
    assert (refused.code, "gather job.yaml --shards 4" in refused.err) == (2, True), refused.err
    run_all(divided)
    gather(divided)
    assert divided.pipeline("run", "next.yaml").code == 0
    assert len(divided.rows("next.parquet")) == ROWS + 1


def test_starting_over_as_a_whole_replaces_the_gathered_output_only_when_told(divided: Workspace) -> None:
    run_all(divided)
    gather(divided)
    before = (divided.path / "out.parquet").read_bytes()
    refused = divided.run("--on-change", "rerun", code=2)
    assert "output.overwrite" in refused["error"]["message"]
    assert (divided.path / "out.parquet").read_bytes() == before
    assert divided.run("--on-change", "rerun", "--set", "output.overwrite=true")["requests"] == ROWS


def test_a_gathered_output_is_the_job_s_own(divided: Workspace) -> None:
    run_all(divided)
    gather(divided)
    assert divided.command("validate")["valid"] is True
    (divided.path / "out.parquet").write_bytes(b"of somebody else")
    assert "output.path" in divided.pipeline("validate", "job.yaml").err


def test_the_answers_of_all_shards_are_looked_at_together(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: refusal(400) if asked.prompt in ("q7", "q65") else usual(asked)
    ws.questions(*(f"q{n % 70}" for n in range(ROWS)))
    ws.job(prompt={"user": "{{ question }}", "samples": 2})
    ws.pipeline("run", "job.yaml", "--shard", "1/2")
    missing = ws.command("inspect", code=2)["error"]
    assert missing["kind"] == "no_checkpoint"
    assert "shard 2/2" in missing["message"] and "pipeline run job.yaml --shard 2/2" in missing["message"]
    ws.pipeline("run", "job.yaml", "--shard", "2/2")
    before = ws.command("inspect")
    ws.command("gather", "--shards", "2", code=3)
    single_run(ws, code=3)
    alone = json.loads(ws.pipeline("inspect", "single.yaml", "--json").out)
    assert before == ws.command("inspect")
    assert {**alone, "columns": {}} == {**before, "columns": {}}
    assert before["rows"] == 2 * ROWS
    compared = json.loads(ws.pipeline("compare", "job.yaml", "single.yaml", "--json").out)
    assert (compared["same"], compared["changed"]) == (2 * ROWS - 6, 0)
    assert (compared["only_a"], compared["only_b"], compared["failed_a"], compared["failed_b"]) == (0, 0, 6, 6)


def test_status_suggests_a_gather_only_while_there_is_something_to_gather(divided: Workspace) -> None:
    run_all(divided)
    gathers = "pipeline gather job.yaml --shards 4"
    assert divided.pipeline("status", "job.yaml").out.rstrip().endswith(gathers)
    assert divided.command("status")["output"] is None
    gather(divided)
    run_all(divided)  # finds nothing to do
    told = divided.pipeline("status", "job.yaml").out
    assert told.rstrip().endswith("pipeline inspect job.yaml")
    assert divided.pipeline("inspect", "job.yaml").code == 0
    assert divided.command("status")["output"] == "out.parquet"
    divided.questions(*(f"q{n % 70}" for n in range(ROWS + 20)))
    run_all(divided)
    assert divided.pipeline("status", "job.yaml").out.rstrip().endswith(gathers)
    gather(divided)
    divided.questions(*(f"q{n % 70}" for n in range(ROWS - 3)))
    run_all(divided)
    assert divided.pipeline("status", "job.yaml").out.rstrip().endswith(gathers)
