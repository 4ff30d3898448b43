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


@pytest.mark.parametrize(
    ("in_flight", "first", "received"),
    [(16, 1, 2), (15, 1, 1), (32, 7, 8), (32, 8, 8)],
    ids=["few of many", "few in flight", "less than a quarter", "a quarter"],
)
def test_a_small_group_of_many_in_flight_waits_for_what_ends_right_after_it(
    engine: OfOne, monkeypatch: pytest.MonkeyPatch, in_flight: int, first: int, received: int
) -> None:
    monkeypatch.setattr("pipeline.engines.crew.time.sleep", lambda seconds: engine.far.put([ended(first)]))
    engine.send([Task(number, Request("m", (), {})) for number in range(in_flight)])
    engine.far.put([ended(number) for number in range(first)])
    assert [attempt.number for attempt in engine.receive(1.0)] == list(range(received))


def test_a_wait_in_which_nothing_ended_is_not_drawn_out(engine: OfOne, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engines.crew.time.sleep", pytest.fail)
    engine.send([Task(number, Request("m", (), {})) for number in range(16)])
    assert engine.receive(0.0) == []
