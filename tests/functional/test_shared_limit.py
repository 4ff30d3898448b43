"""`limits.shared`: jobs of one machine keep one rate together, and one pause."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, ended, refusal, usual
from tests.support.processes import Process

LIMIT = Path(".checkpoints/.shared/account-1.limit")


def job(ws: Workspace, name: str, rows: int, *, retry: dict[str, Any] | None = None, **limits: Any) -> str:
    """A job of its own, whose prompts begin with its name; gives its file."""
    ws.given([[f"{name}{number}"] for number in range(rows)], ["question"], f"{name}.csv")
    ws.job(
        f"{name}.yaml",
        name=name,
        input={"path": f"{name}.csv"},
        output={"path": f"{name}.parquet"},
        limits={"concurrency": 8, "shared": "account", **limits},
        retry=retry or {},
    )
    return f"{name}.yaml"


Start = Callable[[str], Process]


@pytest.fixture
def start(ws: Workspace) -> Iterator[Start]:
    """Starts a run of a job file; one that is still there in the end is killed."""
    with ExitStack() as stack:

        def begin(file: str) -> Process:
            process = ws.start("run", file, "--json")
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield begin


def asked_by(endpoint: Endpoint, name: str) -> list[Asked]:
    return [asked for asked in endpoint.asked if asked.prompt.startswith(name)]


def test_jobs_side_by_side_keep_one_rate_and_share_it(ws: Workspace, endpoint: Endpoint, start: Start) -> None:
    files = [job(ws, name, 45, requests_per_minute=1200) for name in "ab"]
    runs = [start(file) for file in files]
    assert [ended(run, 60).code for run in runs] == [0, 0]
    times = sorted(asked.at for asked in endpoint.asked)
    assert len(times) == 90
    # A burst of a twentieth, 60, and 20 a second; each alone would have been done at once.
    for first, since in enumerate(times):
        assert all(count <= 62 + 20 * (at - since + 0.1) for count, at in enumerate(times[first:], 1))
    assert times[-1] - times[0] >= 1.2


def test_what_another_job_sent_before_counts_but_not_what_goes_under_another_name(
    ws: Workspace, endpoint: Endpoint
) -> None:
    for name, shared, code in (("a", "account", 0), ("b", "account", 4), ("c", "another", 0), ("d", None, 0)):
        file = job(ws, name, 1, requests_per_minute=1, deadline_seconds=0.7 if code else 60, shared=shared)
        assert ws.pipeline("run", file).code == code
    assert [asked.prompt for asked in endpoint.asked] == ["a0", "c0", "d0"]
    assert (ws.path / LIMIT).stat().st_mode & 0o777 == 0o600


def test_what_a_killed_job_had_in_flight_counts(ws: Workspace, endpoint: Endpoint, start: Start) -> None:
    endpoint.gate.clear()
    killed = start(job(ws, "a", 1, requests_per_minute=1))
    endpoint.wait_for(1)
    killed.kill()
    ended(killed)
    endpoint.gate.set()
    assert ws.pipeline("run", job(ws, "b", 1, requests_per_minute=1, deadline_seconds=0.7)).code == 4
    assert len(endpoint.asked) == 1


def test_a_pause_that_one_job_is_asked_for_holds_the_other(ws: Workspace, endpoint: Endpoint, start: Start) -> None:
    met: list[float] = []

    def reply(asked: Asked) -> Reply:
        if asked.prompt == "a0" and not met:
            met.append(asked.at)
            return refusal(429, 3021, Retry_After="1")
        return usual(asked)

    endpoint.reply = reply
    patient = start(job(ws, "b", 45, requests_per_minute=600, concurrency=1))
    endpoint.wait_for(2)
    assert ws.pipeline("run", job(ws, "a", 1, requests_per_minute=600)).code == 0
    assert ended(patient, 40).code == 0
    held = [asked.at - met[0] for asked in asked_by(endpoint, "b") if asked.at > met[0]]
    assert not [seconds for seconds in held if 0.3 < seconds < 1.0]
    assert held[-1] >= 1.0


def test_a_pause_too_long_for_a_job_stops_it_also_where_another_was_asked_for_it(
    ws: Workspace, endpoint: Endpoint, start: Start
) -> None:
    endpoint.reply = lambda asked: refusal(429, 3021, Retry_After="1000") if asked.prompt == "a0" else usual(asked)
    other = start(job(ws, "b", 100, requests_per_minute=120, retry={"max_elapsed_seconds": 60}))
    endpoint.wait_for(3)
    assert ws.pipeline("run", job(ws, "a", 1, requests_per_minute=120)).code == 5
    found = ended(other, 40)
    assert found.code == 5
    assert found.data["error"]["kind"] == "retry_after"
    assert "limits.shared" in found.data["error"]["message"]
    assert found.data["pending"] > 0


def test_a_limit_file_that_cannot_be_is_refused_before_anything_is_sent(ws: Workspace, endpoint: Endpoint) -> None:
    (ws.path / ".checkpoints").mkdir()
    (ws.path / ".checkpoints/.shared").write_text("in the way")
    found = ws.pipeline("run", job(ws, "a", 1, requests_per_minute=5))
    assert found.code == 2
    assert "limits.shared" in found.err
    assert not endpoint.asked


def stop_without_the_lock(process: int, limit: Path) -> None:
    """Stop a process where it does not have the limit's file in hand, as it does for a moment now and then."""
    with limit.open() as file:
        while True:
            os.kill(process, signal.SIGSTOP)
            time.sleep(0.05)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.kill(process, signal.SIGCONT)
            else:
                return


def test_a_job_goes_on_beside_one_that_is_stopped(ws: Workspace, endpoint: Endpoint, start: Start) -> None:
    stopped = start(job(ws, "a", 200, requests_per_minute=1200))
    endpoint.wait_for(5)
    stop_without_the_lock(stopped.pid, ws.path / LIMIT)
    try:
        began = time.monotonic()
        assert ws.pipeline("run", job(ws, "b", 30, requests_per_minute=1200)).code == 0
        assert time.monotonic() - began < 20
    finally:
        stopped.kill()
        ended(stopped)
