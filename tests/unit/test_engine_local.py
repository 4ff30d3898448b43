from __future__ import annotations

import threading
import time

import pytest

from pipeline.client import Attempt, Task
from pipeline.engines.local import LocalEngine
from pipeline.errors import PipelineError
from pipeline.records import Request

REQUEST = Request("m", (), {})


def ended(task: Task) -> Attempt:
    return Attempt(task.number, None, 0.0, 0.0, 0.0)


def collect(engine: LocalEngine, count: int) -> list[int]:
    numbers: list[int] = []
    give_up = time.monotonic() + 10
    while len(numbers) < count and time.monotonic() < give_up:
        numbers += [attempt.number for attempt in engine.receive(1.0)]
    return numbers


def test_every_task_comes_back_once() -> None:
    engine = LocalEngine(ended, 4, lambda: None)
    engine.send([Task(number, REQUEST) for number in range(200)])
    assert sorted(collect(engine, 200)) == list(range(200))
    engine.close()


def test_tasks_run_side_by_side_up_to_the_slots() -> None:
    together = threading.Barrier(8)

    def attempt(task: Task) -> Attempt:
        together.wait(10)  # breaks unless all eight are under way at once
        return ended(task)

    engine = LocalEngine(attempt, 8, lambda: None)
    engine.send([Task(number, REQUEST) for number in range(8)])
    assert len(collect(engine, 8)) == 8
    engine.close()


def test_receive_ends_its_wait_when_woken() -> None:
    engine = LocalEngine(ended, 1, lambda: None)
    threading.Timer(0.05, engine.wake).start()
    start = time.monotonic()
    assert engine.receive(10.0) == []
    assert time.monotonic() - start < 5
    engine.close()


def test_a_fault_in_a_thread_is_raised_after_what_was_answered() -> None:
    def attempt(task: Task) -> Attempt:
        if task.number == 1:
            raise RuntimeError("a fault of the program")
        return ended(task)

    engine = LocalEngine(attempt, 1, lambda: None)
    engine.send([Task(0, REQUEST), Task(1, REQUEST)])
    assert collect(engine, 1) == [0]
    with pytest.raises(RuntimeError):
        collect(engine, 1)
    engine.close()


def test_close_abandons_what_is_under_way() -> None:
    abandoned = threading.Event()
    engine = LocalEngine(lambda task: (abandoned.wait(10), ended(task))[1], 1, abandoned.set)
    engine.send([Task(0, REQUEST)])
    engine.close()
    assert abandoned.is_set()


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_where_the_system_starts_no_further_thread_those_that_there_are_send_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warnings: list[str] = []
    engine = LocalEngine(ended, 4, lambda: None, warnings.append)
    assert engine.slots == 4
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    engine.send([Task(number, REQUEST) for number in range(3)])
    assert collect(engine, 3) == [0, 1, 2]
    assert engine.slots == 1
    (warning,) = warnings
    assert "no more than 1 threads" in warning and "ulimit -u" in warning
    engine.close()


def test_where_the_system_starts_no_thread_at_all_that_is_said_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(PipelineError, match=r"no thread to send from.*ulimit -u"):
        LocalEngine(ended, 4, lambda: None)
