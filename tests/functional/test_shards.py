"""`--shard I/N`: parts of a job that run by themselves, and what they come to together."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.limits import shared
from tests.functional.conftest import COST, Endpoint, Workspace

SHARDS = range(1, 5)


def limits_of(ws: Workspace, output: str) -> dict[str, Any]:
    """Return the limits that an output's metadata names."""
    found: dict[str, Any] = json.loads(ws.table(output).schema.metadata[b"llm-batch-pipeline"])
    return dict(found["configuration"]["limits"])


@pytest.fixture
def divided(ws: Workspace) -> Workspace:
    """A job of forty rows with ids, in the middle of which the texts repeat."""
    ws.given([[f"id-{n}", f"q{n % 30}"] for n in range(40)], ["id", "question"])
    ws.job(input={"id": "id"})
    return ws


def run_all(ws: Workspace, *arguments: str) -> list[dict[str, Any]]:
    return [ws.run("--shard", f"{number}/4", *arguments) for number in SHARDS]


def test_each_row_is_asked_once_in_a_shard_with_a_checkpoint_and_an_output_of_its_own(
    divided: Workspace, endpoint: Endpoint
) -> None:
    found = run_all(divided)
    assert sum(one["rows"] for one in found) == len(endpoint.asked) == 40
    ids = [row["row_id"] for number in SHARDS for row in divided.rows(f"out.shard-{number}-of-4.parquet")]
    assert Counter(ids) == Counter(f"id-{n}" for n in range(40))
    for number, one in zip(SHARDS, found, strict=True):
        assert (divided.path / f".checkpoints/job/shard-{number}-of-4/journal.sqlite").is_file()
        assert one["output"] == f"out.shard-{number}-of-4.parquet"
        own = [row["row_id"] for row in divided.rows(one["output"])]
        assert own == sorted(own, key=lambda row_id: int(row_id[3:]))
    assert not (divided.path / "out.parquet").exists()


def test_appended_rows_move_none(divided: Workspace, endpoint: Endpoint) -> None:
    run_all(divided)
    endpoint.forget()
    divided.given([[f"id-{n}", f"q{n % 30}"] for n in range(55)], ["id", "question"])
    assert sum(one["requests"] for one in run_all(divided)) == len(endpoint.asked) == 15


def test_rows_of_the_same_content_stay_apart(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*(f"q{n % 5}" for n in range(30)))
    ws.job()
    assert sum(one["rows"] for one in run_all(ws)) == len(endpoint.asked) == 30
    ids = [row["row_id"] for number in SHARDS for row in ws.rows(f"out.shard-{number}-of-4.parquet")]
    assert len(set(ids)) == 30
    assert Counter(row_id.partition("#")[2] for row_id in ids) == {"": 5, "2": 5, "3": 5, "4": 5, "5": 5, "6": 5}


def test_a_condition_leaves_rows_out_of_every_shard(divided: Workspace, endpoint: Endpoint) -> None:
    divided.job(input={"id": "id", "where": "question != 'q0'"})
    assert sum(one["rows"] for one in run_all(divided)) == 38
    assert "q0" not in endpoint.prompts


def test_limits_and_caps_are_shares_of_the_whole(divided: Workspace) -> None:
    cap = {"max_cost_usd": 1, "max_run_cost_usd": 0.5, "requests_per_minute": 1001, "tokens_per_minute": 900002}
    divided.job(input={"id": "id"}, limits={"concurrency": 4, **cap})
    shares = [limits_of(divided, one["output"]) for one in run_all(divided)]
    for name, whole in cap.items():
        assert sum(Decimal(str(share[name])) for share in shares) == Decimal(str(whole))
    assert [share["requests_per_minute"] for share in shares] == [251, 250, 250, 250]


def test_the_caps_of_all_shards_hold_together(divided: Workspace) -> None:
    divided.job(input={"id": "id"}, limits={"concurrency": 1, "max_cost_usd": 0.0004})
    found = [divided.run("--shard", f"{number}/4", code=4) for number in SHARDS]
    assert 0 < sum(Decimal(one["job_cost_usd"]) for one in found) <= Decimal("0.0004")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"requests_per_minute": 3}, "limits.requests_per_minute"),
        ({"tokens_per_minute": 399}, "limits.tokens_per_minute"),
        ({"max_cost_usd": 0.0001}, "limits.max_cost_usd"),
        ({"max_run_cost_usd": 0.0001}, "limits.max_run_cost_usd"),
    ],
)
def test_a_share_of_less_than_one_request_is_refused(
    divided: Workspace, endpoint: Endpoint, limits: dict[str, Any], words: str
) -> None:
    divided.job(input={"id": "id"}, limits=limits)
    message = divided.run("--shard", "4/4", code=2)["error"]["message"]
    assert words in message
    assert "less than one request" in message
    assert not endpoint.asked


@pytest.mark.parametrize("given", ["0/4", "5/4", "2", "x/4"])
def test_what_is_no_shard_is_refused(divided: Workspace, given: str) -> None:
    refused = divided.pipeline("run", "job.yaml", "--shard", given)
    assert refused.code == 2
    assert "write I/N" in refused.err


def test_a_job_in_shards_refuses_to_run_as_a_whole_or_divided_otherwise(divided: Workspace, endpoint: Endpoint) -> None:
    run_all(divided)
    endpoint.forget()
    for arguments in ((), ("--shard", "1/2")):
        message = divided.run(*arguments, code=2)["error"]["message"]
        assert "40 answers in 4 of 4 shards" in message
        assert "--on-change rerun" in message
    assert not endpoint.asked
    assert divided.run("--on-change", "rerun")["requests"] == 40
    assert divided.run()["requests"] == 0


def test_a_job_that_ran_as_a_whole_refuses_to_be_divided(divided: Workspace, endpoint: Endpoint) -> None:
    divided.run()
    message = divided.run("--shard", "1/4", code=2)["error"]["message"]
    assert "40 answers of runs without --shard" in message
    assert len(endpoint.asked) == 40
    assert divided.run("--shard", "1/4", "--on-change", "rerun")["rows"] > 0


@pytest.mark.parametrize("before", [(), ("--shard", "1/4")])
def test_once_a_shard_is_begun_anew_the_others_of_its_division_follow(
    divided: Workspace, before: tuple[str, ...]
) -> None:
    divided.run(*before)
    first = divided.run("--shard", "1/2", "--on-change", "rerun")
    assert divided.pipeline("status", "job.yaml").out.endswith("pipeline run job.yaml --shard 2/2\n")
    assert first["rows"] + divided.run("--shard", "2/2")["rows"] == 40
    assert divided.run("--shard", "1/3", code=2)["error"]["kind"] == "invalid_input"


def test_status_and_estimate_add_the_shards_up(divided: Workspace) -> None:
    whole = divided.command("estimate")["rows"]["total"]
    first = divided.run("--shard", "1/4")
    found = divided.command("status")
    assert (found["rows"], found["pending"], found["status"]) == (first["rows"], None, "partial")
    assert [one["state"] for one in found["shards"]] == ["succeeded", "not_started", "not_started", "not_started"]
    planned = divided.command("estimate")
    assert planned["rows"] == {**planned["rows"], "total": whole, "done": first["rows"], "new": 40 - first["rows"]}
    run_all(divided)
    found = divided.command("status")
    assert (found["rows"], found["succeeded"], found["pending"], found["status"]) == (40, 40, 0, "succeeded")
    assert Decimal(found["job_cost_usd"]) == 40 * Decimal(COST)
    assert divided.command("status", "--shard", "1/4")["rows"] == first["rows"]
    assert divided.command("estimate", "--shard", "1/4")["rows"]["done"] == first["rows"]


def test_commands_on_a_job_take_a_shard(divided: Workspace) -> None:
    first, *_ = run_all(divided)
    rows = first["rows"]
    assert divided.command("retry-failed", "--shard", "1/4")["requests"] == 0
    assert len(divided.command("show", "-n", "50", "--shard", "1/4")["rows"]) == rows
    exported = divided.pipeline("export", "job.yaml", "--shard", "1/4", "--to", "jsonl", "-")
    assert exported.out.count("\n") == rows
    assert divided.command("clean", "--yes", "--shard", "1/4")["succeeded"] == rows
    assert not (divided.path / ".checkpoints/job/shard-1-of-4").exists()


def test_a_suggested_command_carries_the_shard(divided: Workspace) -> None:
    divided.run("--shard", "1/4", "--limit", "1")
    assert "pipeline run job.yaml --shard 1/4" in divided.pipeline("status", "job.yaml", "--shard", "1/4").out


def test_status_says_which_shards_are_left_and_what_to_type(divided: Workspace) -> None:
    for number in (1, 2, 4):
        divided.run("--shard", f"{number}/4")
    told = divided.pipeline("status", "job.yaml").out
    assert "3 succeeded (1-2,4), 1 not started (3)" in told
    assert "this run" not in told
    assert told.endswith("pipeline run job.yaml --shard 3/4\n")
    divided.run("--shard", "3/4")
    assert divided.pipeline("status", "job.yaml").out.endswith("pipeline gather job.yaml --shards 4\n")


@pytest.mark.parametrize(
    "words", [("report",), ("clean", "--yes"), ("recover",), ("cancel",), ("retry-failed", "--list")]
)
def test_a_command_that_needs_one_checkpoint_asks_for_a_shard(divided: Workspace, words: tuple[str, ...]) -> None:
    divided.run("--shard", "1/4")
    command, *flags = words
    refused = divided.pipeline(command, "job.yaml", *flags)
    assert refused.code == 2
    assert f"pipeline {command} job.yaml --shard 1/4" in refused.err


def test_the_list_of_jobs_has_every_shard(divided: Workspace) -> None:
    run_all(divided)
    jobs = json.loads(divided.pipeline("list", "--json").out)["jobs"]
    assert [one["checkpoint"] for one in jobs] == [f".checkpoints/job/shard-{number}-of-4" for number in SHARDS]
    assert sum(one["rows"] for one in jobs) == 40
    shown = divided.pipeline("list").out.splitlines()[1:]
    assert [line.split("  ")[0] for line in shown] == [f"job {number}/4" for number in SHARDS]


def test_shards_on_one_machine_keep_the_whole_shared_rate_together(
    divided: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float | None] = []
    made = shared.SharedLimit.__init__

    def spied(limit: shared.SharedLimit, path: Path, **rates: Any) -> None:
        given.append(rates["requests_per_minute"])
        made(limit, path, **rates)

    monkeypatch.setattr(shared.SharedLimit, "__init__", spied)
    divided.job(input={"id": "id"}, limits={"requests_per_minute": 6000, "shared": "shards-test"})
    found = divided.run("--shard", "1/4")
    assert given == [6000]
    assert limits_of(divided, found["output"])["requests_per_minute"] == 1500
