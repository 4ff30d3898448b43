from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from pipeline.client import Attempt, Task
from pipeline.engines.local import LocalEngine
from pipeline.errors import PipelineError
from pipeline.records import Request
from pipeline.transport import Loop

REQUEST = Request("m", (), {})
Done = Callable[[Attempt], None]


def ended(task: Task) -> Attempt:
    return Attempt(task.number, None, 0.0, 0.0, 0.0)


class Stub:
    """A client whose attempts end at once, each with what `attempt` gives."""

    def __init__(self, slots: int = 4, attempt: Callable[[Task], Attempt] = ended) -> None:
        self.loop = Loop()
        self.slots = slots
        self.abandoned = threading.Event()
        self._attempt = attempt

    def start(self, tasks: Sequence[Task], done: Done) -> None:
        for task in tasks:
            done(self._attempt(task))

    def abandon(self) -> None:
        self.abandoned.set()

    def end(self) -> None:
        self.loop.close()


def collect(engine: LocalEngine, count: int) -> list[int]:
    numbers: list[int] = []
    give_up = time.monotonic() + 10
    while len(numbers) < count and time.monotonic() < give_up:
        numbers += [attempt.number for attempt in engine.receive(1.0)]
    return numbers


def test_every_task_comes_back_once() -> None:
    engine = LocalEngine(Stub())
    for first in range(0, 200, 50):
        engine.send([Task(number, REQUEST) for number in range(first, first + 50)])
    assert sorted(collect(engine, 200)) == list(range(200))
    engine.close()


def test_tasks_are_under_way_side_by_side() -> None:
    class Waiting(Stub):
        def __init__(self, slots: int) -> None:
            super().__init__(slots)
            self.started: list[Task] = []

        def start(self, tasks: Sequence[Task], done: Done) -> None:
            self.started += tasks
            if len(self.started) == 8:  # only once all are under way
                for task in self.started:
                    done(ended(task))

    engine = LocalEngine(Waiting(8))
    for first in (0, 4):
        engine.send([Task(number, REQUEST) for number in range(first, first + 4)])
    assert len(collect(engine, 8)) == 8
    engine.close()


def test_receive_ends_its_wait_when_woken() -> None:
    engine = LocalEngine(Stub())
    threading.Timer(0.05, engine.wake).start()
    start = time.monotonic()
    assert engine.receive(10.0) == []
    assert time.monotonic() - start < 5
    engine.close()


def test_a_fault_in_the_thread_is_raised_after_what_was_answered() -> None:
    def attempt(task: Task) -> Attempt:
        if task.number == 1:
            raise RuntimeError("a fault of the program")
        return ended(task)

    engine = LocalEngine(Stub(1, attempt))
    engine.send([Task(0, REQUEST), Task(1, REQUEST)])
    assert collect(engine, 1) == [0]
    with pytest.raises(RuntimeError):
        collect(engine, 1)
    engine.close()


def test_close_abandons_what_is_under_way_and_ends_the_thread() -> None:
    client = Stub()
    before = set(threading.enumerate())
    engine = LocalEngine(client)
    (thread,) = set(threading.enumerate()) - before
    engine.close()
    assert client.abandoned.is_set()
    thread.join(10)
    assert not thread.is_alive()


def test_fewer_slots_than_at_first_are_told_once() -> None:
    warnings: list[str] = []
    client = Stub(4)
    engine = LocalEngine(client, warnings.append)
    assert engine.slots == 4
    client.slots = 1
    assert engine.slots == engine.slots == 1
    (warning,) = warnings
    assert "no more than 1 threads" in warning and "ulimit -u" in warning
    engine.close()


def test_where_the_system_starts_no_thread_at_all_that_is_said_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(PipelineError, match=r"no thread to send from.*ulimit -u"):
        LocalEngine(Stub())
