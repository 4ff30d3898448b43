"""Senders that connect to the run from wherever they are; here each is a thread, and no cluster is needed."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import pytest

from pipeline.client import Attempt, Task
from pipeline.engines.channel import Channel, receive_first
from pipeline.engines.remote import engine as engine_module
from pipeline.engines.remote import lease as lease_module
from pipeline.engines.remote import sender as sender_module
from pipeline.engines.remote.door import Door
from pipeline.engines.remote.engine import Arrival, RemoteEngine
from pipeline.engines.remote.handshake import Stranger, admit, join
from pipeline.engines.remote.lease import LEASE_SECONDS, Beat, LeasedPause, Paused, Renewal, running_clock
from pipeline.engines.remote.sender import send_over
from pipeline.engines.sender import Capacity, Fault
from pipeline.engines.sender_config import SenderConfig
from pipeline.errors import ErrorKind, Interrupted, InvalidInput
from pipeline.limits import Pause
from pipeline.providers.dataoorts import Dataoorts
from pipeline.records import Failure, Reply, Request
from tests.support.raw_server import Server, always, serving, sized

ANSWER = b'{"success": true, "result": {"response": "yes", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}}'
TOKEN = b"t" * 32


class Placed:
    """A placement whose senders are the far ends of socket pairs."""

    def __init__(self) -> None:
        self.over: str | None = None
        self.trouble: str | None = None
        self.replaced: list[int] = []
        self.has_ended = False
        self.ends: list[socket.socket] = []
        self._changed: Callable[[], None] = lambda: None
        self._arrived: list[Arrival] = []
        self._numbers = 0

    def on_change(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def arrived(self) -> list[Arrival]:
        arrived, self._arrived = self._arrived, []
        return arrived

    def replace(self, number: int) -> None:
        self.replaced.append(number)

    def end(self) -> None:
        self.has_ended = True

    def arrive(self) -> socket.socket:
        """A sender connects; return its end."""
        ours, theirs = socket.socketpair()
        self.ends.append(theirs)
        self._numbers += 1
        self._arrived.append(Arrival(ours, self._numbers, f"node {self._numbers}"))
        self._changed()
        return theirs

    def start(self) -> threading.Thread:
        """A sender connects and sends."""
        thread = threading.Thread(target=send_over, args=(self.arrive(),))
        thread.start()
        return thread


class Scripted:
    """A sender that does only what a test says."""

    def __init__(self, placed: Placed, slots: int = 4) -> None:
        self.end = placed.arrive()
        self.channel: Channel
        self.heard: list[Any] = []
        self._slots = slots

    def begin(self) -> Scripted:
        receive_first(self.end)
        self.channel = Channel(self.end)
        self.channel.put(Capacity(self._slots))
        return self

    def take(self) -> list[Any]:
        self.heard += self.channel.take()
        return self.heard


@pytest.fixture
def placed() -> Iterator[Placed]:
    placed = Placed()
    yield placed
    for end in placed.ends:
        end.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(always(sized(ANSWER))) as found:
        yield found


@pytest.fixture
def config(server: Server) -> SenderConfig:
    return config_of(server)


def config_of(server: Server) -> SenderConfig:
    return SenderConfig(
        Dataoorts(server.url), {"Authorization": "Bearer a-long-secret-key"}, "a-long-secret-key", 8, 20.0
    )


@contextmanager
def sending(config: SenderConfig, senders: int = 1, **options: Any) -> Iterator[tuple[RemoteEngine, Placed]]:
    placed = Placed()
    threads = [placed.start() for _ in range(senders)]
    engine = RemoteEngine(config, placed, options.pop("pause", None) or Pause(), **options)
    try:
        wait_until(engine, lambda: len(engine._senders) == senders and all(one.slots for one in engine._senders))
        yield engine, placed
    finally:
        engine.close()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


def wait_until(engine: RemoteEngine, condition: Callable[[], Any]) -> list[Attempt]:
    attempts: list[Attempt] = []
    give_up = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up
        attempts += engine.receive(0.02)
    return attempts


def tasks(numbers: Sequence[int], **facts: Any) -> list[Task]:
    return [
        Task(number, Request("m", ({"role": "user", "content": f"row {number}"},), {}), **facts) for number in numbers
    ]


def collect(engine: RemoteEngine, count: int) -> list[Attempt]:
    attempts: list[Attempt] = []
    give_up = time.monotonic() + 10
    while len(attempts) < count and time.monotonic() < give_up:
        attempts += engine.receive(0.1)
    return attempts


def begun(config: SenderConfig, placed: Placed, **options: Any) -> tuple[RemoteEngine, Scripted]:
    """An engine with one sender that does only what it is told."""
    scripted = Scripted(placed)
    thread = threading.Thread(target=scripted.begin)
    thread.start()
    engine = RemoteEngine(config, placed, Pause(), **options)
    thread.join()
    return engine, scripted


# ---- who may come in


def test_a_sender_and_a_run_with_the_same_token_find_each_other() -> None:
    entered: list[tuple[socket.socket, int]] = []
    arrived = threading.Event()

    def enter(connection: socket.socket, number: int) -> None:
        entered.append((connection, number))
        arrived.set()

    door = Door("127.0.0.1", enter)
    with closing(door), socket.create_connection(door.address) as silent, socket.create_connection(door.address) as end:
        join(end, door.token, 7)  # the silent one keeps it from nothing
        assert arrived.wait(10)
        ((connection, number),) = entered
        with connection:
            assert number == 7
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        silent.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(OSError):
        socket.create_connection(door.address, 1)
    assert len(entered) == 1


@pytest.mark.parametrize("stranger", ["sender", "run"])
def test_neither_side_goes_on_with_one_that_does_not_hold_the_token(stranger: str) -> None:
    ours, theirs = socket.socketpair()
    outcome: list[object] = []

    def let_in() -> None:
        try:
            outcome.append(admit(ours, TOKEN))
        except Stranger as error:
            outcome.append(error)
            ours.close()

    thread = threading.Thread(target=let_in)
    thread.start()
    with theirs:
        if stranger == "sender":
            with pytest.raises((EOFError, OSError)):
                join(theirs, b"x" * 32, 1)
            thread.join()
            assert isinstance(outcome[0], Stranger)
        else:
            # Whoever listens in the run's place answers with what it was sent.
            nonce = theirs.recv(32)
            theirs.sendall(bytes(8) + nonce + bytes(32))
            thread.join()
            assert isinstance(outcome[0], Stranger)
    ours.close()


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a sender did to its process, which here is that of the tests."""
    done: list[str] = []
    for name in ("write_no_core", "look_for_few", "_allow_open_files"):
        monkeypatch.setattr(sender_module, name, partial(done.append, name))
    return done


def test_a_sender_sets_up_its_process_as_every_sender_does(set_up: list[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as closed:
        port = closed.getsockname()[1]
    sender_module.serve("127.0.0.1", port, TOKEN, 1)
    assert set_up == ["write_no_core", "look_for_few", "_allow_open_files"]


@pytest.mark.usefixtures("set_up")
def test_a_sender_unpickles_nothing_of_a_listener_that_cannot_prove_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "send_over", lambda connection: pytest.fail("it went on"))
    with serving(lambda peer: peer.send(bytes(200))) as listener:
        said = sender_module.serve("127.0.0.1", listener.port, TOKEN, 1)
    assert said == f"what listens at 127.0.0.1, port {listener.port} is not the run"
    said = sender_module.serve("127.0.0.1", listener.port, TOKEN, 1)
    assert said is not None and said.startswith("it cannot reach the run at 127.0.0.1")


# ---- the lease


def test_without_a_lease_nothing_is_sent_and_with_one_until_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(lease_module, "running_clock", lambda: clock[0])
    pause = LeasedPause(2)
    assert (pause.of(0), pause.of(1)) == (math.inf, math.inf)
    pause.renew(Renewal(Beat(995.0, 0.0), 0.0, 0.0))
    assert pause.of(1) == 0.0
    pause.extend(77.0, 1)
    assert (pause.of(0), pause.of(1)) == (0.0, 77.0)
    clock[0] = 995.0 + LEASE_SECONDS
    assert (pause.of(0), pause.of(1)) == (math.inf, math.inf)
    pause.renew(Renewal(Beat(990.0, 0.0), 0.0, 0.0))  # one that was under way for long
    assert pause.of(0) == math.inf


def test_a_moment_of_the_run_is_never_later_here_and_the_quickest_answer_is_the_nearest() -> None:
    pause = LeasedPause(1)
    ahead = 5000.0  # by how much this machine's clock is ahead
    for took in (3.0, 0.25, 1.0):
        asked = 100.0 + ahead
        pause.renew(Renewal(Beat(0.0, asked), 100.0 + took, time.time()))
    assert pause.here(200.0) == 200.0 + ahead - 0.25


def test_a_sender_whose_lease_is_not_renewed_gives_its_tasks_back_unsent(config: SenderConfig, server: Server) -> None:
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=send_over, args=(theirs,))
    thread.start()
    channel = Channel(ours)
    channel.put(config)
    channel.put(tasks([1, 2]))
    heard: list[Any] = []
    give_up = time.monotonic() + 10
    while not any(isinstance(one, list) for one in heard) and time.monotonic() < give_up:
        heard += channel.take()
        time.sleep(0.01)
    (attempts,) = [one for one in heard if isinstance(one, list)]
    assert [(attempt.number, attempt.result) for attempt in attempts] == [(1, None), (2, None)]
    assert not server.requests
    channel.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_task_is_not_sent_after_its_time_by_the_clock_of_the_run(config: SenderConfig, server: Server) -> None:
    with sending(config) as (engine, _):
        engine.send(tasks([1], send_by=time.monotonic() - 0.1) + tasks([2], send_by=time.monotonic() + 5))
        results = {attempt.number: attempt.result for attempt in collect(engine, 2)}
    assert results[1] is None
    assert isinstance(results[2], Reply)
    assert len(server.requests) == 1


def test_a_clock_that_is_wrong_does_not_reach_the_times_of_attempts(
    config: SenderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew = LeasedPause.renew

    def off_by_an_hour(pause: LeasedPause, renewal: Renewal) -> None:
        renew(pause, renewal)
        pause.wall_offset -= 3600

    monkeypatch.setattr(LeasedPause, "renew", off_by_an_hour)
    with sending(config) as (engine, _):
        engine.send(tasks([1]))
        (attempt,) = collect(engine, 1)
    assert attempt.finished_at == pytest.approx(time.time() - 3600, abs=10)
    assert attempt.finished_at - attempt.started_at == pytest.approx(attempt.latency, abs=1e-6)


# ---- sending


def test_several_senders_answer_every_task_once(config: SenderConfig, server: Server) -> None:
    with sending(config, 2) as (engine, placed):
        assert engine.slots == 8
        engine.send(tasks(range(8)))
        attempts = collect(engine, 8)
        assert engine.over is None
    assert sorted(attempt.number for attempt in attempts) == list(range(8))
    assert all(isinstance(attempt.result, Reply) for attempt in attempts)
    assert len(server.requests) == 8
    assert placed.has_ended


def test_a_pause_that_one_server_asks_a_sender_for_holds_for_all(config: SenderConfig) -> None:
    refusal = b"HTTP/1.1 429 No\r\nContent-Length: 2\r\nRetry-After: 30\r\n\r\n{}"
    pause = Pause()
    with serving(always(refusal)) as refusing, sending(config_of(refusing), 2, pause=pause) as (engine, _):
        engine.send(tasks([1]))
        (first,) = collect(engine, 1)
        assert isinstance(first.result, Failure) and first.result.retry_after == 30
        assert 29 < pause.until - time.monotonic() <= 30.5
        engine.send(tasks(range(2, 8)))  # to both, though no one else has asked them to wait
        assert [attempt.result for attempt in collect(engine, 6)] == [None] * 6
        assert len(refusing.requests) == 1


def test_senders_hear_of_a_pause_that_the_run_knows_of_and_do_not_send_it_back(
    config: SenderConfig, placed: Placed
) -> None:
    engine, scripted = begun(config, placed)
    engine._pause.extend(time.monotonic() + 50)
    engine.receive(0.0)
    told = [one for one in scripted.take() if isinstance(one, Paused)]
    assert told[0].seconds[0] < 0 and 49 < told[1].seconds[0] <= 50
    for _ in range(3):
        scripted.channel.put(Paused((20.0,)))  # shorter, so nothing new
        engine.receive(0.1)
    assert len([one for one in scripted.take() if isinstance(one, Paused)]) == 2
    engine.close()


# ---- senders that end


def test_what_a_lost_sender_had_under_way_may_have_been_billed_and_others_go_on(
    config: SenderConfig, placed: Placed
) -> None:
    said: list[str] = []
    engine, scripted = begun(config, placed, warn=said.append)
    engine.send(tasks([1, 2]))
    scripted.channel.close()
    attempts = collect(engine, 2)
    for attempt in attempts:
        assert isinstance(attempt.result, Failure)
        assert (attempt.result.kind, attempt.result.possibly_billed) == (ErrorKind.CONNECTION_ERROR, True)
    assert said == [
        "a process that sends came to an end (on node 1: its connection was closed); 2 requests may have been billed,"
        " and will be sent again"
    ]
    assert engine.slots == 0
    other = placed.start()
    wait_until(engine, lambda: engine.slots)
    engine.send(tasks([3]))
    assert isinstance(collect(engine, 1)[0].result, Reply)
    engine.close()
    other.join(10)


def test_a_sender_that_is_silent_beyond_its_lease_is_given_up_and_replaced(
    config: SenderConfig, placed: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "LEASE_SECONDS", 0.2)
    monkeypatch.setattr(engine_module, "_SECONDS_AFTER_LEASE", 0.1)
    engine, scripted = begun(config, placed)
    engine.send(tasks([1]))
    scripted.channel.put(Beat(running_clock(), time.monotonic()))
    begun_at = time.monotonic()
    (attempt,) = collect(engine, 1)
    assert time.monotonic() - begun_at >= 0.3
    assert isinstance(attempt.result, Failure) and attempt.result.possibly_billed
    assert placed.replaced == [1]
    assert [one for one in scripted.take() if isinstance(one, Renewal)]
    assert scripted.channel.is_over  # it learns of it when it wakes
    engine.close()


def test_a_run_that_was_itself_stopped_gives_up_no_sender(
    config: SenderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "LEASE_SECONDS", 0.2)
    with sending(config) as (engine, placed):
        time.sleep(0.5)
        engine.receive(0.0)
        assert not placed.replaced and engine.slots == 8


def test_a_machine_that_lacks_something_ends_the_wait_at_once_but_no_run(config: SenderConfig, placed: Placed) -> None:
    engine, scripted = begun(config, placed)
    other = Scripted(placed)
    engine.receive(0.0)
    other.begin().channel.put(Fault("input", "no certificates here"))
    said: list[str] = []
    engine._warn = said.append
    wait_until(engine, lambda: len(engine._senders) == 1)
    assert "on node 2: no certificates here" in said[0]
    scripted.channel.close()
    wait_until(engine, lambda: not engine._senders)
    engine.close()

    def only_fault() -> None:
        receive_first(alone.end)
        Channel(alone.end).put(Fault("input", "no certificates here"))

    alone = Scripted(placed)
    thread = threading.Thread(target=only_fault)
    thread.start()
    with pytest.raises(InvalidInput, match="no certificates here"):
        RemoteEngine(config, placed, Pause())
    thread.join()


# ---- the cluster


def test_where_the_cluster_is_over_the_engine_says_so_and_hands_over_what_still_comes(config: SenderConfig) -> None:
    with sending(config) as (engine, placed):
        engine.send(tasks([1]))
        placed.over = "the cluster is gone"
        assert engine.over == "the cluster is gone"
        assert isinstance(collect(engine, 1)[0].result, Reply)


def test_a_run_without_any_sender_for_a_minute_is_over(
    config: SenderConfig, placed: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, scripted = begun(config, placed)
    scripted.channel.close()
    wait_until(engine, lambda: not engine._senders)
    assert engine.over is None
    monkeypatch.setattr(engine_module, "_SECONDS_WITHOUT", 0.0)
    assert engine.over is not None
    assert "there has been no sender for" in engine.over and "on node 1: its connection was closed" in engine.over
    engine.close()


def test_a_run_that_finds_no_cluster_is_refused(config: SenderConfig, placed: Placed) -> None:
    placed.over = "--engine ray: no cluster can be joined at 10.0.0.1:6379"
    with pytest.raises(InvalidInput, match=r"joined at 10\.0\.0\.1"):
        RemoteEngine(config, placed, Pause())
    assert placed.has_ended


def test_the_wait_for_a_sender_ends_with_a_signal_the_deadline_or_its_limit(
    config: SenderConfig, placed: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:

    def check() -> None:
        raise Interrupted(2)

    with pytest.raises(Interrupted):
        RemoteEngine(config, placed, Pause(), check=check)
    with closing(RemoteEngine(config, placed, Pause(), seconds=0.05)) as engine:
        assert engine.slots == 0
    monkeypatch.setattr(engine_module, "_SECONDS_TO_BEGIN", 0.05)
    placed.trouble = "on node 3: no module named pipeline"
    with pytest.raises(InvalidInput, match="no module named pipeline"):
        RemoteEngine(config, placed, Pause())
