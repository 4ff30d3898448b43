"""What engines whose senders are elsewhere have in common."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from pipeline.client import Attempt, Task
from pipeline.engines.channel import Channel
from pipeline.engines.crew import Crew, Sender, SenderEnded
from pipeline.records import Request


class OfOne(Crew[Sender]):
    """A crew of one sender, whose side of the channel is `far`."""

    def __init__(self) -> None:
        super().__init__(64, warn=pytest.fail)
        near, far = socket.socketpair()
        self.far = Channel(far)
        self._senders.append(Sender(Channel(near), slots=64))

    def _most_silent(self, sender: Sender) -> float:
        return 60.0

    def _is_waited_for(self, sender: Sender) -> bool:
        return bool(sender.in_flight)

    def _ended(self, sender: Sender) -> SenderEnded:
        return SenderEnded("gone")

    def _give_up(self, sender: Sender, attempts: list[Attempt]) -> None:
        pytest.fail("it was not silent")


@pytest.fixture
def engine() -> Iterator[OfOne]:
    engine = OfOne()
    yield engine
    engine.far.close()
    engine.close()


def ended(number: int) -> Attempt:
    return Attempt(number, None, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(("in_flight", "received"), [(16, [0, 1]), (15, [0])])
def test_what_ends_right_after_the_first_comes_with_it_where_many_are_in_flight(
    engine: OfOne, monkeypatch: pytest.MonkeyPatch, in_flight: int, received: list[int]
) -> None:
    monkeypatch.setattr("pipeline.engines.crew.time.sleep", lambda seconds: engine.far.put([ended(1)]))
    engine.send([Task(number, Request("m", (), {})) for number in range(in_flight)])
    engine.far.put([ended(0)])
    assert [attempt.number for attempt in engine.receive(1.0)] == received
