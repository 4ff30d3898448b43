from __future__ import annotations

import math
from time import monotonic

from pipeline.transport import Loop
from pipeline.transport.idle_timer import IdleTimer


def test_a_wait_in_which_nothing_comes_ends_after_its_seconds() -> None:
    loop, ended = Loop(), list[float]()
    timer = IdleTimer(loop, ended.append)
    began = monotonic()
    timer.begin(0.1)
    while not ended and monotonic() - began < 5:
        loop.turn(1)
    assert ended == [0.1]
    assert 0.1 <= monotonic() - began < 2
    loop.close()


def test_a_stream_of_words_is_never_silent_and_leaves_one_timer() -> None:
    loop, ended = Loop(), list[float]()
    timer = IdleTimer(loop, ended.append)
    for _ in range(1000):
        timer.begin(0.05)
        timer.over()
    assert len(loop._timers) == 1
    began = monotonic()
    timer.begin(math.inf)
    while monotonic() - began < 0.15:
        loop.turn(0.05)
    assert not ended
    loop.close()


def test_a_shorter_wait_than_the_one_before_ends_by_its_own_time() -> None:
    loop, ended = Loop(), list[float]()
    timer = IdleTimer(loop, ended.append)
    timer.begin(60)
    timer.over()
    timer.begin(0.05)
    began = monotonic()
    while not ended and monotonic() - began < 5:
        loop.turn(1)
    assert ended == [0.05]
    loop.close()
