"""CONTRACT section 1, exits 130 and 143, and section 4, promise 2: signals, kill -9, and what a resume sends."""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.__main__ import main as command
from pipeline.app.running.run import Run
from pipeline.cli.console import Console
from pipeline.cli.progress import ConsoleWatcher
from pipeline.errors import Interrupted
from pipeline.plan import planner
from pipeline.prompts import templates
from pipeline.sink import publishing
from tests.functional.conftest import (
    Endpoint,
    Simulated,
    Workspace,
    answer,
    ended,
    usual,
    wait_until,
)
from tests.support.processes import Process


@pytest.fixture
def hangup() -> Iterator[None]:
    """Lets commands inherit the usual SIGHUP, however these tests were started."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
def test_a_signal_drains_saves_and_is_resumable(
    ws: Workspace, endpoint: Endpoint, number: signal.Signals, code: int
) -> None:
    ws.questions(*range(30))
    ws.job(limits={"concurrency": 3})
    endpoint.reply = lambda asked: answer(asked.prompt, wait=0.3)
    with ws.running() as process:
        endpoint.wait_for(6)
        process.send_signal(number)
        result = ended(process)
    assert result.code == code
    found = result.data
    assert found["error"].keys() == {"kind", "message"}
    assert found["succeeded"] == len(endpoint.asked) == len(endpoint.answered) < 30
    assert Decimal(found["possibly_billed_usd"]) == 0
    assert found["output"] == "out.partial.parquet"
    assert ws.table("out.partial.parquet").num_rows == found["succeeded"]
    endpoint.reply = usual
    assert ws.run()["succeeded"] == 30
    assert len(endpoint.asked) == 30
    assert not ws.exists("out.partial.parquet")


def test_the_drain_ends_after_drain_seconds_and_what_is_left_may_have_been_billed(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions(*range(6))
    ws.job(limits={"concurrency": 2, "drain_seconds": 0.5})
    endpoint.reply = lambda asked: answer("x", wait=6.0 if asked.prompt in "01" else 0.0)
    with ws.running() as process:
        endpoint.wait_for(2)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        result = ended(process)
    assert time.monotonic() - asked < 3
    assert result.code == 143
    assert (result.data["succeeded"], result.data["pending"]) == (0, 6)
    assert Decimal(result.data["possibly_billed_usd"]) > 0


def test_a_second_signal_stops_at_once_and_the_job_stays_consistent(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(8))
    ws.job(limits={"concurrency": 3})
    endpoint.reply = lambda asked: answer("x", wait=8.0 if asked.prompt in "56" else 0.0)
    with ws.running() as process:
        endpoint.wait_for(7)
        process.send_signal(signal.SIGINT)
        time.sleep(1.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        stopped = time.monotonic()
        result = ended(process)
    assert time.monotonic() - stopped < 2
    assert result.code == 130
    endpoint.reply = usual
    found = ws.run()
    assert found["succeeded"] == 8
    assert Counter(endpoint.prompts).most_common(1)[0][1] <= 2
    assert len(endpoint.prompts) <= 8 + 3
    assert Decimal(found["possibly_billed_usd"]) > 0


def test_the_same_signal_sent_twice_is_one(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(8))
    ws.job(limits={"concurrency": 3})
    endpoint.gate.clear()
    with ws.running() as process:
        endpoint.wait_for(3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        endpoint.gate.set()
        result = ended(process)
    assert (result.code, result.data["succeeded"]) == (143, 3)
    assert Decimal(result.data["possibly_billed_usd"]) == 0
    assert ws.exists("out.partial.parquet")


def test_a_signal_is_acknowledged_at_once_where_people_watch_and_nowhere_else(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions(*range(8))
    ws.job(limits={"concurrency": 3})
    for flags in ("--verbose",), ():
        endpoint.forget()
        endpoint.gate.clear()
        with ws.running(*flags) as process:
            endpoint.wait_for(3)
            process.send_signal(signal.SIGINT)
            if flags:
                assert process.stderr is not None
                line = next(line for line in process.stderr if b"stopping" in line)
                assert b"for 3 requests in flight" in line and b"up to 60 s" in line
                assert not endpoint.answered
            endpoint.gate.set()
            result = ended(process)
        assert result.code == 130
        assert "stopping" not in result.err


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_signal_is_acknowledged_on_a_terminal_in_a_quiet_run_too(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    ConsoleWatcher(Console(is_quiet=True)).stopping(3, 60)
    assert ("for 3 requests in flight" in capsys.readouterr().err) == is_terminal


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
def test_a_signal_amid_the_imports_ends_the_command_quietly(number: signal.Signals, code: int, tmp_path: Path) -> None:
    # It sleeps by little, as a signal right before a sleep is heard after it.
    (tmp_path / "click.py").write_text(
        "import sys, time; print('importing', file=sys.stderr, flush=True); [time.sleep(0.1) for _ in range(600)]"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for flags, out in (
        ([], b""),
        (["--json"], b'{"error": {"kind": "interrupted", "message": "stopped by a signal"}}\n'),
    ):
        with subprocess.Popen(
            [sys.executable, "-m", "pipeline", "run", "job.yaml", *flags],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == b"importing\n"
            process.send_signal(number)
            assert process.communicate(timeout=20) == (out, b"")
        assert process.returncode == code


def test_a_signal_whose_drain_answers_the_last_rows_has_nothing_to_run_again(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(3))
    ws.job(limits={"concurrency": 3})
    endpoint.gate.clear()
    with ws.running("--verbose") as process:
        endpoint.wait_for(3)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        next(line for line in process.stderr if b"stopping" in line)
        endpoint.gate.set()
        result = ended(process)
    assert result.code == 130
    found = result.data
    assert (found["succeeded"], found["pending"], found["output"]) == (3, 0, "out.parquet")
    assert found["error"] == {
        "kind": "interrupted",
        "message": "stopped by a signal, after the last row: the output is complete",
    }
    assert "pipeline show job.yaml" in ws.pipeline("status", "job.yaml").out
    assert ws.run()["requests"] == 0


def test_the_command_begins_as_the_module_does() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"pipeline": f"{command.__module__}:{command.__name__}"}


@pytest.mark.usefixtures("hangup")
def test_a_hangup_that_is_ignored_stays_ignored(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job(limits={"concurrency": 1})
    endpoint.gate.clear()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with ws.running() as process:
        endpoint.wait_for(1)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
        endpoint.gate.set()
        assert ended(process).code == 0
    assert ws.exists("out.parquet")


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("run", signal.SIGINT),
        ("retry-failed", signal.SIGHUP),
        ("validate", signal.SIGTERM),
        ("estimate", signal.SIGINT),
        ("status", signal.SIGTERM),
    ],
)
def test_a_signal_before_anything_is_sent_ends_the_command_with_its_one_object(
    ws: Workspace, endpoint: Endpoint, command: str, number: signal.Signals
) -> None:
    os.mkfifo(ws.path / "job.yaml")
    with ws.running(command=command) as process:
        # Returns once the command has opened the job file; it then waits for text that never comes.
        job = os.open(ws.path / "job.yaml", os.O_WRONLY)
        time.sleep(0.05)
        process.send_signal(number)
        result = ended(process)
        os.close(job)
    assert result.code == 128 + number, result
    assert result.data["error"] == {"kind": "interrupted", "message": "stopped by a signal"}
    assert len(result.lines) == 1
    assert not endpoint.asked


def signalled_at(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
    """Send SIGTERM to this process when a function is called, and then call it."""
    original = getattr(module, name)

    def call(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(module, name, original)
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments, **named)

    monkeypatch.setattr(module, name, call)


def test_a_signal_while_the_plan_is_made_ends_the_run_whatever_is_going_on(
    ws: Workspace, endpoint: Endpoint, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.questions("a", "b")
    ws.job()
    # In a place where any error is taken for a fault of the row.
    signalled_at(monkeypatch, templates, "well_formed")
    run = run_here()
    with pytest.raises(Interrupted):
        run.execute()
    assert (run.summary.status, run.summary.exit_code) == ("interrupted", 143)
    assert not endpoint.asked
    assert ws.run()["succeeded"] == 2


def test_a_signal_ends_a_long_statement_of_the_planner(
    ws: Workspace, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run("--limit", "1")
    ws.questions("a", "b", "c")

    def match(scratch: sqlite3.Connection, **_: bool) -> int:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        scratch.execute(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
        ).fetchone()
        return 0

    monkeypatch.setattr(planner, "match", match)
    began = time.monotonic()
    with pytest.raises(Interrupted):
        run_here().execute()
    assert time.monotonic() - began < 10


def test_a_signal_while_the_output_is_published_leaves_what_stood_there(
    ws: Workspace, endpoint: Endpoint, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.questions("a")
    ws.job()
    ws.run()
    ws.questions("a", "b")
    before = ws.table()
    signalled_at(monkeypatch, publishing, "check_file")
    run = run_here()
    with pytest.raises(Interrupted):
        run.execute()
    assert (run.summary.exit_code, run.summary.succeeded, run.summary.pending) == (143, 2, 0)
    assert ws.table() == before
    assert not [name for name in ws.files() if "writing" in name]
    assert ws.run()["requests"] == 0
    assert ws.table().num_rows == 2
    assert len(endpoint.asked) == 2


def test_after_a_kill_at_most_the_requests_in_flight_are_sent_again(
    ws: Workspace, simulate: Callable[..., Simulated]
) -> None:
    served = simulate("--latency-seconds", "0.15", "--latency-spread", "0.5", "--seed", "3")
    ws.given([[n, f"question {n}"] for n in range(60)], ["id", "question"])
    ws.job(input={"id": "id"}, endpoint={"url": served.url}, limits={"concurrency": 6})
    kills = 0
    for _ in range(3):
        with ws.running() as process:
            asked = len(served.records("asked")) if served.ledger.exists() else 0
            wait_until(lambda asked=asked: len(served.records("asked")) >= asked + 10)  # type: ignore[misc]
            time.sleep(random.random() / 10)
            process.kill()
            process.wait()
            kills += 1
        status = ws.command("status")
        assert status["running"] is False
        assert status["rows"] == 60
        assert not ws.exists("out.parquet")
    found = ws.run()
    assert found["succeeded"] == 60
    asked_for = Counter(record["prompt"] for record in served.records("asked"))
    assert len(asked_for) == 60
    assert sum(asked_for.values()) <= 60 + 6 * kills
    billed = {record["n"]: Decimal(record["cost_usd"]) for record in served.records("answered")}
    assert Decimal(found["job_cost_usd"]) <= sum(billed.values())
    assert Decimal(found["job_cost_usd"]) + Decimal(found["possibly_billed_usd"]) >= sum(billed.values())
    assert [row["row_id"] for row in ws.rows()] == [str(n) for n in range(60)]
    assert sum(row["cost_usd"] for row in ws.rows()) == Decimal(found["job_cost_usd"])
    assert max(row["attempts"] for row in ws.rows()) <= 1 + kills
    assert sum(row["attempts"] for row in ws.rows()) >= sum(asked_for.values())


def test_status_after_a_kill_counts_what_is_on_disk_and_what_may_have_been_billed(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions(*range(10))
    ws.job(limits={"concurrency": 2})
    endpoint.reply = lambda asked: answer("x", wait=20.0 if asked.prompt in "45" else 0.0)
    with ws.running() as process:
        endpoint.wait_for(6)  # of which two are under way: what was answered before them is on disk
        process.kill()
        process.wait()
    found = ws.command("status")
    assert (found["running"], found["rows"], found["succeeded"], found["pending"]) == (False, 10, 4, 6)
    assert Decimal(found["job_cost_usd"]) == Decimal("0.00004")
    assert Decimal(found["possibly_billed_usd"]) > 0


@contextmanager
def full_server() -> Iterator[socket.socket]:
    """A server whose queue is full: connections have to wait."""
    with socket.socket() as server, ExitStack() as held:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server


def received_until_end(server: socket.socket, process: Process) -> bytes:
    """Accept connections until a process ends; return what came over them."""
    received: list[bytes] = []
    server.settimeout(0.2)
    while process.poll() is None:
        with suppress(TimeoutError):
            connection, _ = server.accept()
            connection.settimeout(0.5)
            with suppress(OSError):
                received.append(connection.recv(100))
            connection.close()
    return b"".join(received)


@pytest.mark.parametrize("stop", ["signal", "deadline"])
def test_a_request_that_has_no_connection_yet_is_not_sent_after_the_stop(ws: Workspace, stop: str) -> None:
    ws.questions(*range(10))
    with full_server() as server:
        limits = {"deadline_seconds": 1} if stop == "deadline" else {}
        ws.job(
            endpoint={"kind": "openai", "url": f"http://127.0.0.1:{server.getsockname()[1]}/v1"},
            limits={"concurrency": 2, "processes": 1, "drain_seconds": 15, **limits},
        )
        with ws.running("--verbose") as process:
            wait_until(lambda: ws.exists(".checkpoints/job/journal.sqlite"))
            time.sleep(0.5)
            if stop == "deadline":
                time.sleep(1.0)  # it is over now, of which nothing is said before the end
            else:
                process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            received = received_until_end(server, process)
            found = ended(process)
    assert received == b""
    assert found.code == (4 if stop == "deadline" else 143)
    assert (found.data["requests"], found.data["possibly_billed_requests"], found.data["pending"]) == (0, 0, 10)


@pytest.mark.parametrize("limits", [{"processes": 1}, {"processes": 2}], ids=["thread", "processes"])
@pytest.mark.parametrize("transport", ["lean", "standard"])
def test_a_request_that_never_had_a_connection_is_not_billed_when_the_drain_is_over(
    ws: Workspace, limits: dict[str, int], transport: str
) -> None:
    ws.questions(*range(10))
    with full_server() as server:
        ws.job(
            endpoint={
                "kind": "openai",
                "url": f"http://127.0.0.1:{server.getsockname()[1]}/v1",
                "transport": transport,
            },
            limits={"concurrency": 4, "drain_seconds": 0.5, **limits},
        )
        with ws.running() as process:
            wait_until(lambda: ws.exists(".checkpoints/job/journal.sqlite"))
            time.sleep(1.5)
            process.send_signal(signal.SIGTERM)
            found = ended(process)
    assert found.code == 143
    told = {"requests": 0, "possibly_billed_requests": 0, "pending": 10, "possibly_billed_usd": "0"}
    assert {name: found.data[name] for name in told} == told
