"""Calls to a provider's batch API: what a run heeds while it makes them."""

from __future__ import annotations

import math
import threading
import time
from unittest.mock import Mock

import pytest

from pipeline.batches.calls import Calls
from pipeline.limits import Pause
from pipeline.runner.progress import StopRequest


class LateRefusal(Exception):
    """The provider's refusal, with the pause that it asks for."""


class PauseAfterTheLook(Pause):
    """Lets the call end in the moment after the run has looked at the pause."""

    def __init__(self) -> None:
        super().__init__()
        self.looked, self.refused = threading.Event(), threading.Event()

    @property
    def until(self) -> float:
        found = super().until
        if any(thread.name == "batch call" for thread in threading.enumerate()):
            self.looked.set()
            self.refused.wait(5)
            time.sleep(0.01)  # for the thread to end
        return found


def test_a_pause_that_comes_with_the_end_of_a_call_is_put_on_disk() -> None:
    pause, journal = PauseAfterTheLook(), Mock()

    def call() -> None:
        pause.looked.wait(5)
        pause.extend(time.monotonic() + 1000)
        pause.refused.set()
        raise LateRefusal

    calls = Calls(StopRequest(), journal, pause, Mock(deadline=math.inf), lambda now, orders: None)
    with pytest.raises(LateRefusal):
        calls(call)
    (begin, end) = journal.commit.call_args.args[0].pause
    assert end - begin == pytest.approx(1000, abs=10)
