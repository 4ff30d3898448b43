"""`pipeline status`: what it tells of a job under way and at rest, and what it costs."""

from __future__ import annotations

import os
from collections.abc import Callable
from decimal import Decimal

import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.observe.status import status
from pipeline.app.observe.throughput import Tracker
from pipeline.app.running.run import Run
from pipeline.cli.status import duration
from pipeline.journal import JobLock, Journal
from pipeline.plan import FailureKinds
from pipeline.runner import Progress
from tests.functional.conftest import (
    COST,
    Asked,
    Endpoint,
    Reply,
    Workspace,
    ended,
    refusal,
    usual,
    wait_until,
)


def bad_is_refused(asked: Asked) -> Reply:
    return refusal(400, 5006) if asked.prompt.startswith("bad") else usual(asked)


def test_a_run_is_watched_to_its_end(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["x", "bad"], ["y", "a"], ["z", "last"]], ["id", "question"])
    ws.job(input={"id": "id"}, limits={"concurrency": 1})

    def reply(asked: Asked) -> Reply:
        if asked.prompt == "last":
            endpoint.gate.clear()
        return bad_is_refused(asked)

    endpoint.reply = reply
    with ws.running() as process:
        endpoint.wait_for(3)
        wait_until(lambda: ws.command("status")["pending"] == 1)
        found = ws.command("status")
        assert (found["running"], found["status"], found["rows"]) == (True, "running", 3)
        assert (found["succeeded"], found["failed"], found["in_flight"]) == (1, 1, 1)
        assert (found["lock"]["pid"], found["lock"]["host"]) == (process.pid, os.uname().nodename)
        assert found["errors"] == [{"kind": "bad_request", "rows": 1, "example": "x"}]
        assert Decimal(found["projected_cost_usd"]) == 2 * Decimal(COST)
        assert found["last_progress_seconds"] >= 0
        watching = ws.start("status", "job.yaml", "--watch")
        assert watching.stdout is not None
        first = b"".join(iter(watching.stdout.readline, b"\n")).decode()
        endpoint.gate.set()
        ended(process)
    watched = ended(watching)
    watching.close()
    assert (watched.code, watched.err) == (0, "")
    assert first.startswith(f"job: running: process {process.pid} on {os.uname().nodename}, since ")
    assert "1 answered, 1 failed, 1 pending of 3 rows" in first
    *_, last = watched.out.strip().split("\n\n")
    assert last.startswith("job: failed rows, 2")
    assert "1 bad_request, such as x" in last
    assert "\x1b" not in first + watched.out


def test_watch_ends_at_once_where_nothing_runs(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    shown = ws.pipeline("status", "job.yaml", "--watch")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == "job: not started\n  next      pipeline run job.yaml\n\n"
    assert ws.command("status", "--watch")["running"] is False


def test_status_imports_nothing_that_is_slow_to_import(
    ws: Workspace, endpoint: Endpoint, run_here: Callable[[], Run]
) -> None:
    ws.questions("a", "bad")
    ws.job()
    endpoint.reply = bad_is_refused
    run_here().execute()
    slow = {"numpy", "pandas", "pyarrow", "requests", "jinja2"}
    shown, imported = ws.pipeline_with_imports("status", "job.yaml", "--json")
    assert not imported & slow
    assert '"kind": "bad_request", "rows": 1' in shown


def test_while_a_run_still_plans_the_figures_of_the_run_before_are_not_taken_for_its_own(
    ws: Workspace, run_here: Callable[[], Run]
) -> None:
    ws.questions("a", "b")
    ws.job()
    run_here().execute()
    job = load_job("job.yaml")
    with JobLock(job.checkpoint_path):
        found = status(job)
    assert found.is_running
    assert found.holder is not None
    assert found.holder.pid == os.getpid()
    assert (found.summary.status, found.summary.rows, found.summary.succeeded) == ("running", 2, 2)
    assert (found.summary.run_id, found.summary.requests) == (None, 0)
    assert found.as_json()["updated_at"] is None


def test_without_the_progress_file_the_journal_tells_the_same(
    ws: Workspace, endpoint: Endpoint, run_here: Callable[[], Run]
) -> None:
    ws.questions("a", "bad 1", "bad 2")
    ws.job()
    endpoint.reply = bad_is_refused
    run_here().execute()
    job = load_job("job.yaml")
    before = status(job).as_json()
    (job.checkpoint_path / "progress.json").unlink()
    after = status(job).as_json()
    same = ("rows", "succeeded", "failed", "pending", "job_cost_usd", "unpriced_rows", "errors", "output", "run_id")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["errors"][0]["rows"] == 2


def test_an_output_that_was_taken_away_or_replaced_is_not_shown(ws: Workspace, run_here: Callable[[], Run]) -> None:
    ws.questions("a")
    ws.job()
    run_here().execute()
    output = ws.path / "out.parquet"
    assert status(load_job("job.yaml")).summary.output == "out.parquet"
    output.write_bytes(b"somebody else's")
    assert status(load_job("job.yaml")).summary.output is None
    output.unlink()
    assert status(load_job("job.yaml")).summary.output is None


def test_a_million_rows_are_told_of_without_reading_the_journal(
    ws: Workspace, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.questions("a")
    ws.job()
    run_here().execute()

    def fail(*_: object) -> None:
        raise AssertionError("the journal was gone through")

    for reading in ("index", "places", "records"):
        monkeypatch.setattr(Journal, reading, fail)
    assert status(load_job("job.yaml")).summary.succeeded == 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_that_of_the_last_minute_and_gives_the_time_that_is_left() -> None:
    clock = Clock()
    before = FailureKinds()
    before.add("timeout", "old")
    tracker = Tracker(1000, before, clock=clock, wall_clock=clock)
    progress = Progress()
    tracker.see(progress)
    assert tracker.facts(progress)["recent_rows_per_second"] is None
    for second in range(1, 101):  # ten rows a second at first, and two a second over the last minute
        clock.now = float(second)
        progress.succeeded += 10 if second <= 40 else 2
        progress.requests = progress.succeeded
        tracker.see(progress)
    clock.now = 130.0
    progress.failures.add("timeout", "new")
    facts = tracker.facts(progress)
    assert facts["recent_rows_per_second"] == pytest.approx(2.0)
    assert facts["eta_seconds"] == pytest.approx((1000 - 520) / 2)
    assert facts["last_progress_at"] == 100.0
    assert facts["errors"] == [{"kind": "timeout", "rows": 2, "example": "old"}]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (59.4, "59.4 s"), (75, "1 min 15 s"), (3_700, "1 h 1 min"), (100_000, "1 d 3 h")],
)
def test_durations_read_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


RUN_FIGURES = ("requests", "retries", "prompt_tokens", "completion_tokens", "cost_usd", "seconds", "rows_per_second")


def test_figures_of_a_run_that_are_not_known_are_not_told_as_none_at_all(ws: Workspace) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run()
    (ws.path / ".checkpoints/job/progress.json").unlink()
    found = ws.command("status")
    assert [found[name] for name in RUN_FIGURES] == [None] * len(RUN_FIGURES)
    assert (found["succeeded"], found["job_cost_usd"]) == (2, "0.00002")
    told = ws.pipeline("status", "job.yaml").out
    assert "$0.00002 the whole job" in told and "this run" not in told


def test_an_output_whose_checkpoint_is_gone_is_told_with_what_to_do(ws: Workspace) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run()
    assert ws.command("clean", "--yes")["removed"]
    found = ws.command("status")
    assert (found["status"], found["output"], found["rows"]) == ("not_started", "out.parquet", None)
    told = ws.pipeline("status", "job.yaml").out
    assert "  output    out.parquet\n" in told
    assert "  next      pipeline recover job.yaml  # " in told
    assert ws.run(code=6)["error"]["kind"] == "checkpoint_failed"
    assert ws.command("recover")["recovered"] == 2
    assert "next      pipeline run job.yaml\n" in ws.pipeline("status", "job.yaml").out
    assert ws.run()["requests"] == 0
    other = ws.command("status", "--set", "name=other")
    assert (other["status"], other["output"]) == ("not_started", None)
