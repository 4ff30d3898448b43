"""No memory left, wherever it shows first: exit 1, no row pays for it, and the next run goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pipeline.app.running.run import Run
from pipeline.client import Client
from pipeline.plan import Rows
from pipeline.plan.variants import Variant
from pipeline.prompts import templates
from pipeline.transport import Transport
from tests.functional.conftest import Endpoint, Workspace, usual


def out_of_memory(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, turn: int) -> None:
    """Let a function fail from its `turn`-th call on."""
    original, calls = getattr(owner, name), []

    def fail(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        if len(calls) >= turn:
            raise MemoryError
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, fail)


@pytest.mark.parametrize(
    ("owner", "name", "turn"),
    [
        (Client, "start", 5),
        (Variant, "request", 25),  # the estimate has made each of the twenty before
        (templates, "well_formed", 45),
        (Rows, "batches", 1),
    ],
    ids=["a sender", "the feed", "a template", "the planner"],
)
def test_a_run_without_memory_ends_and_the_next_one_goes_on(
    ws: Workspace,
    endpoint: Endpoint,
    run_here: Callable[[], Run],
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    turn: int,
) -> None:
    ws.questions(*range(20))
    ws.job(limits={"concurrency": 2})
    with monkeypatch.context() as fault:
        out_of_memory(fault, owner, name, turn)
        with pytest.raises(MemoryError):
            run_here().execute()
    asked = len(endpoint.asked)
    found = ws.run()
    assert (found["succeeded"], found["failed"]) == (20, 0)
    assert len(endpoint.asked) <= 20 + 2
    assert (asked > 0) == (name != "batches")
    assert Decimal(found["job_cost_usd"]) == 20 * Decimal("0.00001")


def test_a_fault_of_the_program_is_exit_1_with_its_object_and_a_traceback(
    ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> None:
        raise ZeroDivisionError

    ws.questions("a")
    ws.job()
    with monkeypatch.context() as fault:
        fault.setattr(Transport, "start", start)
        result = ws.pipeline("run", "job.yaml", "--json")
    assert result.code == 1
    assert (result.data["error"]["kind"], result.data["pending"]) == ("internal_error", 1)
    assert "ZeroDivisionError" in result.err
    assert result.lines[-1].startswith("job: a fault of the program")
    assert ws.run()["succeeded"] == 1


def test_a_system_with_too_few_threads_slows_the_run_and_is_named(
    ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name == "sender" and sum(one.name == "sender" for one in threading.enumerate()) >= 4:
            raise RuntimeError("can't start new thread")
        start(thread)

    ws.questions(*range(10))
    ws.job(limits={"concurrency": 8}, endpoint={"transport": "standard"})
    endpoint.reply = lambda asked: replace(usual(asked), wait=0.05)
    monkeypatch.setattr(threading.Thread, "start", fail)
    result = ws.pipeline("run", "job.yaml", "--verbose", "--json")
    assert (result.code, result.data["succeeded"]) == (0, 10)
    assert "3" in result.err and "ulimit -u" in result.err
