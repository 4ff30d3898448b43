"""`pipeline control`: what a run under way does when it is told to."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.observe.watcher import Watcher
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from pipeline.journal import Journal
from pipeline.journal.orders import Order, put_order
from tests.functional.conftest import KEY, KEY_VARIABLE, Endpoint, Workspace, ended, usual, wait_until

ROWS = 40


@pytest.fixture
def slow(ws: Workspace, endpoint: Endpoint) -> Workspace:
    """A job of 40 rows, one at a time, a tenth of a second each."""
    ws.questions(*(f"q{n}" for n in range(ROWS)))
    ws.job(limits={"concurrency": 1}, parameters={"max_tokens": 20})
    endpoint.reply = lambda asked: replace(usual(asked), wait=0.1)
    return ws


def test_a_run_pauses_goes_on_and_is_faster_with_more_slots(slow: Workspace, endpoint: Endpoint) -> None:
    ws = slow
    with ws.running() as process:
        endpoint.wait_for(3)
        assert ws.command("control", "pause")["said"] == "paused: nothing new is sent"
        wait_until(lambda: len(endpoint.answered) == len(endpoint.asked))
        asked = len(endpoint.asked)
        time.sleep(0.6)
        assert len(endpoint.asked) == asked
        wait_until(lambda: ws.command("status")["in_flight"] == 0)  # the figures are written once a second
        found = ws.command("status")
        assert (found["running"], found["paused"], found["in_flight"]) == (True, True, 0)
        assert "paused    by `pipeline control`" in ws.pipeline("status", "job.yaml").out
        endpoint.gate.clear()
        ws.command("control", "set", "limits.concurrency=16")
        ws.command("control", "resume")
        endpoint.wait_for(asked + 16)
        endpoint.gate.set()
        result = ended(process)
    assert (result.code, result.data["succeeded"]) == (0, ROWS)
    with_what = Journal.read(ws.path / ".checkpoints" / "job").orders()
    assert [line.split(maxsplit=2)[2] for line in with_what] == [
        "paused: nothing new is sent",
        "limits.concurrency is 16 for the rest of this run",
        "resumed",
    ]


def test_a_cap_that_is_set_below_what_was_spent_stops_the_run(slow: Workspace, endpoint: Endpoint) -> None:
    ws = slow
    with ws.running() as process:
        endpoint.wait_for(3)
        ws.command("control", "set", "limits.max_cost_usd=0.00001")
        result = ended(process)
    assert result.code == 4
    assert result.data["error"]["kind"] == "cost_cap"
    assert "limits.max_cost_usd is $0.00001" in result.data["error"]["message"]
    endpoint.reply = usual
    assert ws.run()["succeeded"] == ROWS  # the job file's own limits hold for the next run


def test_a_rate_that_is_set_holds_at_once(slow: Workspace, endpoint: Endpoint) -> None:
    ws = slow
    with ws.running() as process:
        endpoint.wait_for(7)
        ws.command("control", "set", "limits.requests_per_minute=6")
        asked = len(endpoint.asked)
        assert asked > 6
        time.sleep(0.6)
        assert len(endpoint.asked) == asked  # what was sent before counts
        ws.command("control", "set", "limits.requests_per_minute=null")
        endpoint.wait_for(asked + 10, 5)
        ws.command("control", "set", "limits.deadline_seconds=1")
        assert ended(process).code == 4


def test_an_order_without_a_run_or_for_another_key_is_refused(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    result = ws.pipeline("control", "job.yaml", "pause")
    assert (result.code, "no run of 'job' is under way" in result.err) == (2, True)
    result = ws.pipeline("control", "job.yaml", "set", "endpoint.model=other")
    assert (result.code, "cannot be set while a run is under way" in result.err) == (2, True)
    result = ws.pipeline("control", "job.yaml", "set", "limits.concurrency=0")
    assert (result.code, "0 is out of range" in result.err) == (2, True)
    assert ws.pipeline("control", "job.yaml", "set").code == 2
    assert ws.pipeline("control", "job.yaml", "pause", "limits.concurrency=2").code == 2
    assert not (ws.path / ".checkpoints").exists()


def test_a_paused_run_hears_a_signal(slow: Workspace, endpoint: Endpoint) -> None:
    ws = slow
    with ws.running() as process:
        endpoint.wait_for(2)
        ws.command("control", "pause")
        process.terminate()
        result = ended(process, 5)
    assert (result.code, result.data["status"]) == (143, "interrupted")
    endpoint.reply = usual
    assert ws.run()["succeeded"] == ROWS  # and the next run is not paused


@pytest.mark.parametrize("at", ["before the run", "while it plans"])
def test_an_order_is_for_the_run_under_way_also_while_it_plans(
    ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.chdir(ws.path)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    ws.questions("a")
    ws.job(parameters={"max_tokens": 20})
    directory = ws.path / ".checkpoints" / "job"
    order = Order("set", "limits.max_cost_usd", "0.000000001")

    class Planning(Watcher):
        def planned(self, *_: object) -> None:
            if at == "while it plans":
                assert put_order(directory, order) is not None

    if at == "before the run":
        directory.mkdir(parents=True)
        assert put_order(directory, order) is not None
    summary = Run(load_job("job.yaml"), RunOptions(), Planning()).execute()
    assert summary.exit_code == (4 if at == "while it plans" else 0)
