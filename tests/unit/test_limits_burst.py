from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pipeline.limits import Meeting

LONG = 10.0


def started(*works: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads


def test_those_who_meet_go_on_together() -> None:
    meeting = Meeting(3, LONG)
    threads = started(meeting.wait, meeting.wait)
    time.sleep(0.05)
    assert all(thread.is_alive() for thread in threads)
    meeting.wait()
    for thread in threads:
        thread.join(LONG / 2)
        assert not thread.is_alive()


def test_nobody_waits_for_one_that_will_not_come() -> None:
    meeting = Meeting(2, LONG)
    meeting.arrive()
    began = time.monotonic()
    meeting.wait()
    assert time.monotonic() - began < LONG / 2


def test_one_that_is_late_holds_back_nobody_for_longer_than_agreed_and_does_not_wait_itself() -> None:
    meeting = Meeting(2, 0.2)
    began = time.monotonic()
    meeting.wait()
    assert 0.2 <= time.monotonic() - began < LONG / 2
    began = time.monotonic()
    meeting.wait()
    assert time.monotonic() - began < 0.2
