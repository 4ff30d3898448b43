"""Senders in processes of their own, against a real socket; no run around them."""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from pipeline.client import Attempt, Client, Task
from pipeline.config.models import JobConfig
from pipeline.engines import processes, processes_for, sender_process
from pipeline.engines.channel import Channel
from pipeline.engines.processes import ProcessEngine
from pipeline.engines.sender_config import SenderConfig
from pipeline.engines.sender_process import SenderProcess
from pipeline.errors import ErrorKind, Interrupted, InvalidInput, PipelineError
from pipeline.limits import Pause
from pipeline.providers.dataoorts import Dataoorts
from pipeline.records import Failure, Reply, Request, Usage
from tests.support.web import WebServer

REPLY = b'{"success": true, "result": {"response": "yes", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}}'


class Endpoint(WebServer):
    """Answers each request once `gate` is open, with `status` and Retry-After where one is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.gate = threading.Event()
        self.gate.set()
        self.status = 200
        self.retry_after: str | None = None
        self.bodies: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    server: Endpoint
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.gate.wait(20)
        self.send_response(self.server.status)
        if self.server.retry_after is not None:
            self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", str(len(REPLY)))
        self.end_headers()
        self.wfile.write(REPLY)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def config(endpoint: Endpoint) -> SenderConfig:
    url = f"http://127.0.0.1:{endpoint.server_address[1]}/api/v1"
    return SenderConfig(Dataoorts(url), {"Authorization": "Bearer a-long-secret-key"}, "a-long-secret-key", 8, 20.0)


@contextmanager
def started(config: SenderConfig, processes: int, pause: Pause | None = None) -> Iterator[ProcessEngine]:
    engine = ProcessEngine(config, processes, pause or Pause())
    try:
        wait_for_all(engine)
        yield engine
    finally:
        engine.close()


def wait_for_all(engine: ProcessEngine) -> None:
    """Until every sender is ready; a run goes on once the first is."""
    give_up = time.monotonic() + 20
    while not all(sender.slots for sender in engine._senders) and time.monotonic() < give_up:
        assert engine.receive(0.1) == []


def tasks(numbers: Sequence[int]) -> list[Task]:
    return [Task(number, Request("m", ({"role": "user", "content": f"row {number}"},), {})) for number in numbers]


def collect(engine: ProcessEngine, count: int) -> list[Attempt]:
    attempts: list[Attempt] = []
    give_up = time.monotonic() + 20
    while len(attempts) < count and time.monotonic() < give_up:
        attempts += engine.receive(1.0)
    return attempts


def wait_for(endpoint: Endpoint, count: int) -> None:
    give_up = time.monotonic() + 20
    while len(endpoint.bodies) < count and time.monotonic() < give_up:
        time.sleep(0.01)
    assert len(endpoint.bodies) >= count


def processes_of(engine: ProcessEngine) -> list[int]:
    return [sender.process.pid for sender in engine._senders]


def is_alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def test_every_task_is_sent_and_comes_back_once(config: SenderConfig, endpoint: Endpoint) -> None:
    with started(config, 2) as engine:
        engine.send(tasks(range(100)))
        attempts = collect(engine, 100)
    assert sorted(attempt.number for attempt in attempts) == list(range(100))
    assert all(isinstance(attempt.result, Reply) and attempt.result.response == "yes" for attempt in attempts)
    assert len(set(endpoint.bodies)) == len(endpoint.bodies) == 100


def test_all_slots_are_in_flight_at_once_over_the_senders(config: SenderConfig, endpoint: Endpoint) -> None:
    endpoint.gate.clear()
    with started(config, 2) as engine:
        engine.send(tasks(range(8)))
        wait_for(endpoint, 8)
        endpoint.gate.set()
        assert len(collect(engine, 8)) == 8


def test_a_retry_after_that_one_sender_meets_holds_back_the_others(config: SenderConfig, endpoint: Endpoint) -> None:
    endpoint.status, endpoint.retry_after = 429, "30"
    pause = Pause()
    with started(config, 2, pause) as engine:
        engine.send(tasks([1]))
        (met,) = collect(engine, 1)
        assert isinstance(met.result, Failure) and met.result.retry_after == 30
        assert 25 < pause.until - time.monotonic() <= 30
        engine.send(tasks([2, 3]))
        assert [attempt.result for attempt in collect(engine, 2)] == [None, None]
    assert len(endpoint.bodies) == 1


def test_receive_ends_its_wait_when_woken(config: SenderConfig) -> None:
    with started(config, 1) as engine:
        threading.Timer(0.05, engine.wake).start()
        begun = time.monotonic()
        assert engine.receive(10.0) == []
        assert time.monotonic() - begun < 5


def test_a_sender_that_dies_ends_the_run_after_what_was_answered(config: SenderConfig, endpoint: Endpoint) -> None:
    with started(config, 1) as engine:
        engine.send(tasks([1]))
        wait_for(endpoint, 1)
        give_up = time.monotonic() + 20
        while not select.select([engine._senders[0].channel], [], [], 0)[0] and time.monotonic() < give_up:
            time.sleep(0.01)
        os.kill(processes_of(engine)[0], signal.SIGKILL)
        assert [attempt.number for attempt in engine.receive(5)] == [1]
        with pytest.raises(PipelineError, match="killed by signal 9"):
            while True:
                engine.receive(5)


def test_what_a_sender_had_under_way_when_it_died_was_possibly_billed_and_the_others_go_on(
    config: SenderConfig, endpoint: Endpoint
) -> None:
    endpoint.gate.clear()
    warnings: list[str] = []
    engine = ProcessEngine(config, 2, Pause(), warnings.append)
    try:
        wait_for_all(engine)
        engine.send(tasks(range(4)))
        wait_for(endpoint, 4)
        dead = processes_of(engine)[0]
        os.kill(dead, signal.SIGKILL)
        failed = collect(engine, 2)
        endpoint.gate.set()
        engine.send(tasks([attempt.number for attempt in failed]))
        answered = collect(engine, 4)
    finally:
        engine.close()
    for attempt in failed:
        assert isinstance(attempt.result, Failure) and attempt.result.sent and attempt.result.possibly_billed
        assert "killed by signal 9" in attempt.result.message
    assert sorted(attempt.number for attempt in answered) == [0, 1, 2, 3]
    assert all(isinstance(attempt.result, Reply) for attempt in answered)
    assert [warning for warning in warnings if "2 requests may have been billed" in warning] == warnings


def test_a_sender_that_is_stopped_holds_back_nothing_but_its_own_share(
    config: SenderConfig, endpoint: Endpoint
) -> None:
    long = "x" * 1_000_000  # more than the connection to a sender takes at once
    with started(config, 2) as engine:
        stopped = processes_of(engine)[0]
        os.kill(stopped, signal.SIGSTOP)
        begun = time.monotonic()
        engine.send([Task(n, Request("m", ({"role": "user", "content": long},), {})) for n in range(6)])
        assert time.monotonic() - begun < 5
        assert len(collect(engine, 3)) == 3
        begun = time.monotonic()
        assert engine.receive(0.2) == []
        assert time.monotonic() - begun < 5
        os.kill(stopped, signal.SIGCONT)
        assert len(collect(engine, 3)) == 3
        os.kill(stopped, signal.SIGSTOP)
        begun = time.monotonic()
        engine.close()
        assert time.monotonic() - begun < 5
        assert not is_alive(stopped)


def test_a_sender_that_is_stuck_beyond_every_timeout_is_ended_and_the_others_go_on(
    config: SenderConfig, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_SECONDS_OF_GRACE", 0.5)
    endpoint.gate.clear()
    said: list[str] = []
    engine = ProcessEngine(replace(config, timeout_seconds=0.5), 2, Pause(), said.append)
    with closing(engine):
        wait_for_all(engine)
        engine.send(tasks(range(4)))
        wait_for(endpoint, 4)
        stuck = engine._senders[0]
        os.kill(stuck.process.pid, signal.SIGSTOP)
        endpoint.gate.set()
        found = {attempt.number: attempt.result for attempt in collect(engine, 4)}
        lost = [result for result in found.values() if isinstance(result, Failure)]
        assert len(found) == 4
        assert [(one.possibly_billed, "it said nothing for" in one.message) for one in lost] == [(True, True)] * 2
        assert "2 requests may have been billed" in said[-1]
        assert not is_alive(stuck.process.pid)
        engine.send(tasks(range(4, 6)))
        assert [type(attempt.result) for attempt in collect(engine, 2)] == [Reply, Reply]


def test_a_sender_that_ends_while_the_others_are_starting_is_left_out(
    config: SenderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[SenderProcess] = []
    start = SenderProcess.start

    def start_and_kill_the_first(config: SenderConfig, pause: int) -> SenderProcess:
        started.append(start(config, pause))
        if len(started) == 1:
            started[0].process.kill()
            started[0].process.wait()
        return started[-1]

    monkeypatch.setattr(SenderProcess, "start", start_and_kill_the_first)
    said: list[str] = []
    engine = ProcessEngine(config, 2, Pause(), said.append)
    with closing(engine):
        assert engine.slots > 0
        assert "killed by signal 9" in said[0]
        engine.send(tasks(range(2)))
        assert [type(attempt.result) for attempt in collect(engine, 2)] == [Reply, Reply]


def test_a_sender_that_is_stopped_before_it_is_ready_is_not_waited_for(
    config: SenderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = SenderProcess.start
    begun: list[int] = []

    def started_and_stopped(*arguments: Any) -> Any:
        sender = start(*arguments)
        if not begun:
            os.kill(sender.process.pid, signal.SIGSTOP)
        begun.append(sender.process.pid)
        return sender

    monkeypatch.setattr(SenderProcess, "start", started_and_stopped)
    with closing(ProcessEngine(config, 2, Pause())) as engine:
        engine.send(tasks(range(8)))
        assert len(collect(engine, 8)) == 8
        os.kill(begun[0], signal.SIGCONT)
        wait_for_all(engine)
        engine.send(tasks(range(8, 10)))
        assert len(collect(engine, 2)) == 2
        assert all(sender.slots for sender in engine._senders)


@pytest.fixture
def all_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop every sender before it is ready, and end it soon."""
    for module in (processes, sender_process):
        monkeypatch.setattr(module, "SECONDS_TO_END", 0.1)
    start = SenderProcess.start

    def stopped(*arguments: Any) -> Any:
        sender = start(*arguments)
        os.kill(sender.process.pid, signal.SIGSTOP)
        return sender

    monkeypatch.setattr(SenderProcess, "start", stopped)


@pytest.mark.usefixtures("all_stopped")
def test_senders_that_all_stand_still_are_waited_for_no_longer_than_the_caller_says(
    config: SenderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(ProcessEngine(config, 2, Pause(), seconds=0.1)) as engine:
        assert engine.slots == 0
    monkeypatch.setattr(processes, "_SECONDS_TO_BEGIN", 0.1)
    with pytest.raises(PipelineError, match=r"was not ready within 0\.1 s"):
        ProcessEngine(config, 1, Pause())


def test_a_long_answer_of_a_sender_that_is_stopped_half_way_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    data = pickle.dumps("answer")
    theirs.sendall(struct.pack("!Q", len(data)) + data[:3])
    assert channel.take() == []
    theirs.sendall(data[3:] + struct.pack("!Q", len(data)) + data)
    assert channel.take() == ["answer", "answer"]
    theirs.close()
    assert channel.take() == [] and channel.is_over
    channel.close()


def test_what_crosses_the_channel_arrives_as_it_was() -> None:
    usage = Usage(1, 2, 3, "{}", None, 5)
    reply = Reply("é", "text", None, usage, finish_reason="stop", retry_after=1.5)
    failure = Failure(ErrorKind.TIMEOUT, "late", 504, usage=usage, possibly_billed=True, code="x")
    tasks_out = [Task(1, Request("m", ({"role": "user", "content": "q"},), {"seed": 2**60}, {"k": [None]}), 2.5, True)]
    attempts_out = [Attempt(n, result, 1.0, 2.0, 3.0, 4.0) for n, result in enumerate([reply, failure, None])]
    ours, theirs = map(Channel, socket.socketpair())
    for message in (tasks_out, attempts_out):
        ours.put(message)
    assert theirs.take() == [tasks_out, attempts_out]
    ours.close()
    theirs.close()


def test_a_message_goes_out_in_one_piece() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        Channel(ours).put("answer")
        piece = theirs.recv(1000)
    assert struct.unpack_from("!Q", piece) == (len(piece) - 8,)
    assert pickle.loads(piece[8:]) == "answer"


def test_a_sender_takes_no_signal_but_a_kill(config: SenderConfig) -> None:
    with started(config, 1) as engine:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(processes_of(engine)[0], number)
        engine.send(tasks([1]))
        assert len(collect(engine, 1)) == 1


def test_a_sender_that_stands_still_holds_nobody_up(
    config: SenderConfig, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (processes, sender_process):
        monkeypatch.setattr(module, "SECONDS_TO_END", 0.1)
    large = Request("m", ({"role": "user", "content": "x" * 1_000_000},), {})
    with started(config, 2) as engine:
        os.kill(processes_of(engine)[0], signal.SIGSTOP)
        begun = time.monotonic()
        engine.send([Task(number, large) for number in range(8)])
        assert len(collect(engine, 4)) == 4
        assert engine.receive(0.1) == []
        assert time.monotonic() - begun < 15
        pids = processes_of(engine)
    assert not any(map(is_alive, pids))


def test_closing_ends_the_senders_whatever_they_are_at(config: SenderConfig, endpoint: Endpoint) -> None:
    endpoint.gate.clear()
    with started(config, 2) as engine:
        engine.send(tasks(range(8)))
        wait_for(endpoint, 8)
        processes = processes_of(engine)
        begun = time.monotonic()
        engine.close()
        assert time.monotonic() - begun < 5
        assert not [process for process in processes if is_alive(process)]


def test_what_cannot_be_sent_with_is_said_before_anything_is_sent(config: SenderConfig) -> None:
    with pytest.raises(InvalidInput, match="a header holds characters"):
        ProcessEngine(replace(config, headers={"Authorization": "Bearer line\nbreak"}), 1, Pause())


class Unusable(SenderConfig):
    """One that fails when a sender begins."""

    def client(self, pause: Pause) -> Client:
        raise OSError("no way to send")


def test_a_fault_while_a_sender_begins_is_told(config: SenderConfig) -> None:
    unusable = Unusable(config.endpoint, config.headers, config.key, config.slots, config.timeout_seconds)
    with pytest.raises(RuntimeError, match="OSError: no way to send"):
        ProcessEngine(unusable, 1, Pause())


def test_the_key_stands_on_no_command_line(config: SenderConfig) -> None:
    with started(config, 1) as engine:
        line = Path(f"/proc/{processes_of(engine)[0]}/cmdline").read_bytes()
        assert b"pipeline.engines.sender" in line and b"secret" not in line


@pytest.mark.parametrize(
    ("limits", "prompt", "rows", "one"),
    [
        ({}, {}, 1_000_000, False),
        ({}, {}, 1_999, True),
        ({"concurrency": 15}, {}, 1_000_000, True),
        ({"requests_per_minute": 600}, {}, 1_000_000, True),
        ({"processes": 1}, {}, 1_000_000, True),
        ({}, {"images": ["photo"]}, 1_000_000, True),
    ],
)
def test_several_processes_only_where_one_core_would_be_the_limit(
    limits: dict[str, object], prompt: dict[str, object], rows: int, one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    assert processes_for(_job(limits, prompt), rows) == (1 if one else 4)


def test_a_number_of_processes_is_taken_as_it_is() -> None:
    assert processes_for(_job({"processes": 3}, {"images": ["photo"]}), 1) == 3


def _job(limits: dict[str, object], prompt: dict[str, object]) -> JobConfig:
    return JobConfig.model_validate(
        {
            "name": "many",
            "input": {"path": "in.csv"},
            "prompt": {"user": "{{ question }}", **prompt},
            "endpoint": {"url": "simulator", "model": "meta/llama-4-scout-17b-16e-instruct"},
            "limits": limits,
            "output": {"path": "out.parquet"},
        }
    )


def test_a_sender_inherits_no_variable_with_a_fixed_header_s_value(config: SenderConfig) -> None:
    config = replace(config, header_values=("hunter2-team", "short"))
    environ = {"TEAM": "hunter2-team", "WRAPPED": "Team hunter2-team", "SHORT": "short", "OTHER": "in short"}
    assert sender_process.without_secrets(config.secrets, environ).keys() & environ.keys() == {"OTHER"}


@pytest.mark.usefixtures("all_stopped")
def test_the_wait_for_the_first_sender_ends_where_the_caller_says_so(config: SenderConfig) -> None:
    asked = time.monotonic() + 0.5

    def check() -> None:
        if time.monotonic() > asked:
            raise Interrupted(signal.SIGINT)

    with pytest.raises(Interrupted):
        ProcessEngine(config, 2, Pause(), check=check)
    assert time.monotonic() < asked + 10
