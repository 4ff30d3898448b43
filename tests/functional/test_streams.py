"""A run goes on to its end whoever stops listening: closed pipes and terminals, a full stdout, a parent that dies."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.conftest import Endpoint, Workspace, wait_until
from tests.support.processes import COMMAND


def assert_finished(ws: Workspace, endpoint: Endpoint, rows: int) -> None:
    assert [row["status"] for row in ws.rows()] == ["succeeded"] * rows
    assert len(endpoint.asked) == rows
    assert ws.command("status")["status"] == "succeeded"


def start(ws: Workspace, *arguments: str, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [COMMAND, *arguments], cwd=ws.path, env=ws.environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
    )


@pytest.mark.parametrize("flags", [("--verbose",), ("--verbose", "--json", "--log-format", "json")], ids=" ".join)
def test_pipes_whose_readers_are_gone_do_not_end_a_run(
    ws: Workspace, endpoint: Endpoint, flags: tuple[str, ...]
) -> None:
    ws.questions(*range(6))
    ws.job()
    process = start(ws, "run", "job.yaml", *flags, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=30) == 0
    assert_finished(ws, endpoint, 6)


def test_a_terminal_that_is_closed_does_not_end_a_run(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(6))
    ws.job(limits={"concurrency": 1})
    endpoint.gate.clear()
    ours, theirs = pty.openpty()
    process = start(ws, "run", "job.yaml", stdout=theirs, stderr=theirs)
    os.close(theirs)
    endpoint.wait_for(1)
    assert b"plan" in os.read(ours, 4096)
    os.close(ours)
    endpoint.gate.set()
    assert process.wait(timeout=30) == 0
    assert_finished(ws, endpoint, 6)


def test_a_stdout_that_is_full_is_told_and_the_run_is_whole(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job()
    with Path("/dev/full").open("wb") as full:
        process = start(ws, "run", "job.yaml", "--json", stdout=full.fileno(), stderr=subprocess.PIPE)
        _, shown = process.communicate(timeout=30)
    assert (process.returncode, len(shown.splitlines())) == (6, 1)
    assert b"stdout cannot be written to: No space left on device" in shown
    assert_finished(ws, endpoint, 2)


def test_streams_that_were_closed_before_the_start_are_no_place_for_the_journal(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    ws.job()
    shell = ["sh", "-c", f"exec {COMMAND} run job.yaml --verbose <&- >&- 2>&-"]
    assert subprocess.run(shell, cwd=ws.path, env=ws.environment, timeout=30, check=False).returncode == 0
    assert_finished(ws, endpoint, 2)


def test_a_parent_that_dies_does_not_end_the_run(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(6))
    ws.job(limits={"concurrency": 2})
    endpoint.gate.clear()
    # A parent that reads what the run says, as make and shells with pipes do.
    code = f"import subprocess; subprocess.run([{COMMAND!r}, 'run', 'job.yaml', '-v'], capture_output=True)"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ws.path, env=ws.environment)
    endpoint.wait_for(2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    endpoint.gate.set()
    wait_until(lambda: ws.command("status")["running"] is False)
    assert_finished(ws, endpoint, 6)
