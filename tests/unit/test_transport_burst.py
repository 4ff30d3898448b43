from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from pipeline.transport import Loop
from pipeline.transport.burst import Burst, ThreadBurst
from pipeline.transport.loop import Routine

LONG = 10.0


def started(*works: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads


def test_threads_that_meet_go_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.transport.burst._UNTIL_READY_SECONDS", LONG)
    burst = ThreadBurst(3)
    threads = started(burst.connected, burst.connected)
    time.sleep(0.05)
    assert all(thread.is_alive() for thread in threads)
    burst.connected()
    for thread in threads:
        thread.join(LONG / 2)
        assert not thread.is_alive()


def test_no_thread_waits_for_one_that_will_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.transport.burst._UNTIL_READY_SECONDS", LONG)
    burst = ThreadBurst(2)
    (waiting,) = started(burst.connected)
    time.sleep(0.05)
    burst.arrive()
    waiting.join(LONG / 2)
    assert not waiting.is_alive()
    began = time.monotonic()
    burst.connected()
    assert time.monotonic() - began < LONG / 2


def test_a_thread_that_is_late_holds_back_none_for_longer_than_agreed_and_does_not_wait_itself() -> None:
    burst = ThreadBurst(2)
    began = time.monotonic()
    burst.connected()
    assert 0.2 <= time.monotonic() - began < LONG / 2
    began = time.monotonic()
    burst.connected()
    assert time.monotonic() - began < 0.2


def test_attempts_on_a_loop_go_on_together_and_wait_for_none_that_will_not_come() -> None:
    loop = Loop()
    burst = Burst(loop, 3)
    gone: list[None] = []
    for _ in range(2):
        Routine(burst.wait(), gone.append).resume()
    assert not gone
    burst.arrive()
    assert len(gone) == 2
    loop.close()


def test_an_attempt_that_is_late_holds_back_none_for_long_and_does_not_wait_itself() -> None:
    loop = Loop()
    burst = Burst(loop, 2)
    gone: list[None] = []
    Routine(burst.wait(), gone.append).resume()
    began = time.monotonic()
    while not gone and time.monotonic() - began < LONG:
        loop.turn(LONG)
    assert 0.2 < time.monotonic() - began < LONG / 2
    Routine(burst.wait(), gone.append).resume()
    assert len(gone) == 2
    loop.close()
