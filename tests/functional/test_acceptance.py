"""`retry-failed --accept`: failures that nobody can fix do not keep a job from being finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.observe.status import status
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from pipeline.app.use_cases.recover import recover
from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, answer, refusal, usual

ACCEPT = RunOptions(retry=True, accept=True)


def reply(asked: Asked) -> Reply:
    if asked.prompt.startswith("bad"):
        return refusal(400, 5006)
    return refusal(413) if asked.prompt.startswith("large") else usual(asked)


@pytest.fixture
def do(ws: Workspace, endpoint: Endpoint, run_here: Callable[[], Run]) -> Callable[..., dict[str, Any]]:
    """Runs the job in this process: what it said, its exit code, and what it sent."""
    ws.questions("a", "bad 1", "bad 2", "large")
    ws.job()
    endpoint.reply = reply

    def run(options: RunOptions = RunOptions(), *overrides: str) -> dict[str, Any]:  # noqa: B008
        endpoint.forget()
        made = Run(load_job("job.yaml", overrides), options).execute()
        return {**made.as_json(), "code": made.exit_code, "sent": sorted(endpoint.prompts)}

    return run


def test_the_job_is_finished_from_then_on_and_the_rows_stay_failed(ws: Workspace, do: Callable[..., Any]) -> None:
    assert (first := do())["code"] == 3
    assert (first["failures"], first["accepted"]) == ({"bad_request": 2, "request_too_large": 1}, {})
    before = ws.rows()
    accepted = do(ACCEPT)
    assert (accepted["code"], accepted["status"], accepted["sent"]) == (0, "succeeded", [])
    assert accepted["failures"] == accepted["accepted"] == {"bad_request": 2, "request_too_large": 1}
    assert ws.rows() == before
    written = (ws.path / "out.parquet").stat().st_mtime_ns
    later = do()
    assert (later["code"], later["failed"], later["sent"]) == (0, 3, [])
    assert (ws.path / "out.parquet").stat().st_mtime_ns == written
    assert status(load_job("job.yaml")).as_json()["accepted"] == later["accepted"]


def test_only_one_kind_is_accepted_and_the_others_are_still_exit_3(do: Callable[..., Any]) -> None:
    do()
    accepted = do(RunOptions(retry=True, retry_kind="bad_request", accept=True))
    assert (accepted["code"], accepted["accepted"]) == (3, {"bad_request": 2})
    assert do()["code"] == 3
    assert do(ACCEPT)["code"] == 0


def test_an_accepted_row_whose_request_changes_is_sent(ws: Workspace, do: Callable[..., Any]) -> None:
    do()
    do(ACCEPT)
    ws.questions("a", "bad 1", "good", "large")
    found = do()
    assert (found["code"], found["sent"]) == (0, ["good"])
    assert found["accepted"] == {"bad_request": 1, "request_too_large": 1}


def test_retry_failed_sends_accepted_rows_again_and_then_they_are_accepted_no_longer(do: Callable[..., Any]) -> None:
    do()
    do(ACCEPT)
    again = do(RunOptions(retry=True))
    assert (again["code"], again["sent"], again["accepted"]) == (3, ["bad 1", "bad 2", "large"], {})


def test_a_failure_with_a_passing_cause_is_not_retried_once_it_is_accepted(
    ws: Workspace, endpoint: Endpoint, do: Callable[..., Any]
) -> None:
    ws.questions("a", "down")
    ws.job(retry={"max_attempts": 1, "initial_seconds": 0.01})
    endpoint.reply = lambda asked: refusal(500) if asked.prompt == "down" else usual(asked)
    assert do()["to_retry"] == {"server_error": 1}
    assert do(ACCEPT)["code"] == 0
    assert (do()["sent"], do()["code"]) == ([], 0)


def test_acceptance_survives_a_plan_made_anew_and_a_recovery(ws: Workspace, do: Callable[..., Any]) -> None:
    do()
    do(ACCEPT)
    (ws.path / ".checkpoints" / "job" / "plan").unlink()
    (ws.path / ".checkpoints" / "job" / "progress.json").unlink()
    assert status(load_job("job.yaml")).as_json()["running"] is False
    assert do()["code"] == 0
    (ws.path / ".checkpoints" / "job" / "acknowledged").unlink()
    recover(load_job("job.yaml"))
    found = do()
    assert (found["code"], found["sent"], found["failed"]) == (0, [], 3)


def test_accept_needs_no_key_and_no_endpoint(ws: Workspace, do: Callable[..., Any], monkeypatch: Any) -> None:
    do()
    monkeypatch.delenv("FUNCTIONAL_TEST_KEY")
    assert do(ACCEPT)["code"] == 0


def test_truncated_and_empty_answers_are_counted_for_the_job_over_all_runs(
    ws: Workspace, endpoint: Endpoint, do: Callable[..., Any]
) -> None:
    ws.questions("long", "nothing", "b")
    replies = {
        "long": answer("cut", usage={"prompt_tokens": 1, "completion_tokens": 100, "total_tokens": 101}),
        "nothing": answer(""),
    }
    endpoint.reply = lambda asked: replies.get(asked.prompt) or usual(asked)
    first = do(RunOptions(limit=1))
    assert (first["truncated"], first["empty"], first["failures"]) == (1, 0, {})
    assert [(do()["truncated"], do()["empty"]) for _ in range(1)] == [(1, 1)]
    (ws.path / ".checkpoints" / "job" / "progress.json").unlink()
    found = status(load_job("job.yaml")).as_json()
    assert (found["truncated"], found["empty"], found["failures"]) == (1, 1, {})
