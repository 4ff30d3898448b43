"""What is suggested after a run: only what can help, as it can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import pytest

from pipeline.app.observe.next_steps import next_steps
from pipeline.app.observe.summary import RunError, Summary
from pipeline.config import JobCall
from pipeline.endings import StopKind

CALL = JobCall("job.yaml")


def steps(call: JobCall = CALL, **figures: Any) -> list[str]:
    known = {"job": "job", "status": "succeeded", "rows": 9, "succeeded": 9, "failed": 0, "pending": 0}
    return [step.command for step in next_steps(Summary(**{**known, **figures}), call)]


def after_failures(failures: Mapping[str, int], **more: Any) -> list[str]:
    return steps(status="failed_rows", failed=sum(failures.values()), failures=failures, **more)


def test_a_suggested_command_repeats_the_sets_quoted_for_a_shell() -> None:
    call = JobCall("my job.yaml", ["output.path=a b.parquet", "prompt.user={{ x }}"])
    command = call.command("run", "--limit", "3")
    assert shlex.split(command) == [
        "pipeline",
        "run",
        "my job.yaml",
        "--set",
        "output.path=a b.parquet",
        "--set",
        "prompt.user={{ x }}",
        "--limit",
        "3",
    ]


@pytest.mark.parametrize(
    "secret",
    [
        "notify.ping_url=https://check.example/7f3b9c2e",
        "endpoint.headers.X-Team=7f3b9c2e",
        "endpoint.headers={X-Key: 7f3b9c2e}",
        "endpoint.url=https://me:7f3b9c2e@example.com/v1",
    ],
)
def test_a_suggested_command_shows_no_secret(secret: str) -> None:
    command = JobCall("job.yaml", [secret, "name=x"]).command("run")
    assert "7f3b9c2e" not in command
    assert secret.partition("=")[0] in command
    assert command.endswith("--set name=x")


def test_after_a_success_the_answers_are_shown() -> None:
    assert steps(output="out.parquet", failures={}) == ["pipeline show job.yaml"]


def test_after_a_signal_that_left_no_row_pending_the_answers_are_shown() -> None:
    stopped: dict[str, Any] = {"status": "interrupted", "exit_code": 130, "output": "out.parquet", "failures": {}}
    stopped["error"] = RunError(StopKind.INTERRUPTED, "stopped by a signal")
    assert steps(**stopped, is_whole=True) == ["pipeline show job.yaml"]
    assert steps(**stopped) == ["pipeline run job.yaml"]


def test_rows_that_the_next_run_retries_need_nothing_but_a_run() -> None:
    found = after_failures({"rate_limited": 2}, to_retry={"rate_limited": 2})
    assert found == ["pipeline run job.yaml"]


def test_rows_with_a_passing_cause_that_runs_have_given_up_are_left_to_retry_failed() -> None:
    assert after_failures({"timeout": 2}) == ["pipeline retry-failed job.yaml --kind timeout"]


def test_rows_that_would_fail_again_are_never_sent_again() -> None:
    assert after_failures({"context_window_exceeded": 2}) == [
        "pipeline show job.yaml --failed",
        "pipeline retry-failed job.yaml --accept",
    ]
    assert after_failures({"timeout": 1, "bad_request": 2}) == [
        "pipeline retry-failed job.yaml --kind timeout",
        "pipeline show job.yaml --failed",
        "pipeline retry-failed job.yaml --accept --kind bad_request",
    ]


def test_accepted_failures_need_nothing() -> None:
    found = steps(failed=2, failures={"bad_request": 2}, accepted={"bad_request": 2}, output="out.parquet")
    assert found == ["pipeline show job.yaml"]


def test_a_set_that_a_suggestion_replaces_is_left_out() -> None:
    error = RunError("cost_cap", "limits.max_cost_usd is $5, of which …")
    call = JobCall("job.yaml", ["limits.max_cost_usd=5", "name=x"])
    found = steps(call, status="stopped", pending=9, error=error)
    assert found == ["pipeline run job.yaml --set name=x --set limits.max_cost_usd=USD"]


def test_a_cap_of_one_run_is_kept_unless_not_one_request_fits() -> None:
    error = RunError("cost_cap", "limits.max_run_cost_usd is $5, of which …")
    call = JobCall("job.yaml", ["limits.max_run_cost_usd=5"])
    goes_on = steps(call, status="stopped", pending=9, error=error, requests=3)
    assert goes_on == ["pipeline run job.yaml --set limits.max_run_cost_usd=5"]
    assert steps(call, status="stopped", pending=9, error=error) == [
        "pipeline run job.yaml --set limits.max_run_cost_usd=USD"
    ]
