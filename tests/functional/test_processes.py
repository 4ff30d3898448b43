"""`limits.processes`: senders of their own change nothing of what a run promises."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.app.running.run import Run
from pipeline.engines import processes, sender_process
from pipeline.engines.sender_process import SenderProcess
from tests.functional.conftest import COST, Asked, Endpoint, Reply, Workspace, ended, refusal, usual, wait_until
from tests.support.processes import Process

ROWS, SLOTS = 40, 8


def senders_of(process: Process) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_ready(sender: int) -> bool:
    """Whether a sender has begun: it waits in its event loop."""
    with suppress(FileNotFoundError):  # a file that was closed meanwhile
        return any(os.readlink(one).endswith("[eventpoll]") for one in Path(f"/proc/{sender}/fd").iterdir())
    return False


@pytest.fixture
def at(ws: Workspace) -> Workspace:
    ws.questions(*range(ROWS))
    ws.job(limits={"concurrency": SLOTS, "processes": 3})
    return ws


def test_every_row_is_asked_once_and_gets_its_own_answer(at: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: (
        refusal(503) if endpoint.prompts.count("7") == 1 and asked.prompt == "7" else usual(asked)
    )
    found = at.run()
    assert (found["succeeded"], found["requests"], found["retries"]) == (ROWS, ROWS + 1, 1)
    assert Decimal(found["job_cost_usd"]) == ROWS * Decimal(COST)
    assert [row["response"] for row in at.rows()] == [f"answer to {row}" for row in range(ROWS)]


def test_a_kill_takes_the_senders_along_and_only_what_was_in_flight_is_asked_again(
    at: Workspace, endpoint: Endpoint
) -> None:
    held = ROWS // 2

    def hold_back_from_half_way_on(asked: Asked) -> Reply:
        if len(endpoint.asked) >= held:
            endpoint.gate.clear()
        return usual(asked)

    endpoint.reply = hold_back_from_half_way_on
    with at.running() as process:
        endpoint.wait_for(held)
        senders = senders_of(process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: not [sender for sender in senders if Path(f"/proc/{sender}").exists()])
    assert len(senders) == 2
    endpoint.reply = usual
    endpoint.gate.set()
    found = at.run()
    assert found["succeeded"] == ROWS
    assert len(endpoint.asked) <= ROWS + SLOTS
    assert {row["response"] for row in at.rows()} == {f"answer to {row}" for row in range(ROWS)}


def test_a_signal_to_the_whole_group_drains(at: Workspace, endpoint: Endpoint) -> None:
    endpoint.gate.clear()
    at.before = [("os:setsid", ())]
    with at.running() as process:
        endpoint.wait_for(SLOTS - 1)
        os.killpg(process.pid, signal.SIGINT)
        endpoint.gate.set()
        result = ended(process)
    assert result.code == 130
    assert result.data["succeeded"] == len(endpoint.asked) >= SLOTS - 1


def test_what_a_sender_that_dies_had_under_way_is_asked_again_by_the_others(at: Workspace, endpoint: Endpoint) -> None:
    endpoint.gate.clear()
    with at.running() as process:
        endpoint.wait_for(SLOTS)
        senders = senders_of(process)
        wait_until(lambda: all(map(is_ready, senders)))  # where the only one that is dies, the run ends
        os.kill(senders[0], signal.SIGKILL)
        wait_until(lambda: senders_of(process) == senders[1:])
        endpoint.gate.set()
        result = ended(process)
    assert (result.code, result.data["succeeded"]) == (0, ROWS)
    again = len(endpoint.asked) - ROWS  # what it had under way, which depends on which sender was ready first
    assert result.data["retries"] == again <= SLOTS
    assert (Decimal(result.data["possibly_billed_usd"]) > 0) is (again > 0)


def test_a_run_whose_senders_all_die_ends_and_loses_nothing(at: Workspace, endpoint: Endpoint) -> None:
    endpoint.gate.clear()
    with at.running() as process:
        endpoint.wait_for(SLOTS)
        for sender in senders_of(process):
            os.kill(sender, signal.SIGKILL)
        result = ended(process)
    assert (result.code, len(result.lines)) == (1, 1)
    assert "a process that sends came to an end (killed by signal 9)" in result.data["error"]["message"]
    endpoint.gate.set()
    assert at.run()["succeeded"] == ROWS
    assert len(endpoint.asked) <= ROWS + SLOTS


def test_the_deadline_holds_while_no_sender_is_ready(
    at: Workspace, endpoint: Endpoint, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = SenderProcess.start

    def stopped(*arguments: Any) -> Any:
        sender = start(*arguments)
        os.kill(sender.process.pid, signal.SIGSTOP)
        return sender

    monkeypatch.setattr(SenderProcess, "start", stopped)
    for module in (processes, sender_process):
        monkeypatch.setattr(module, "SECONDS_TO_END", 0.1)
    at.job(limits={"concurrency": SLOTS, "processes": 3, "deadline_seconds": 1})
    found = run_here().execute()
    assert (found.exit_code, found.error and found.error.kind, found.pending) == (4, "deadline", ROWS)
    assert not endpoint.asked
