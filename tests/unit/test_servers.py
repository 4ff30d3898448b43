"""Which of several equal servers the next request goes to."""

from __future__ import annotations

import heapq
import math
import os
from pathlib import Path

import pytest

from pipeline.limits import Pause, Servers
from pipeline.plan import SUCCEEDED
from tests.support.virtual import Answer, Bench, answered


@pytest.fixture
def pause() -> Pause:
    return Pause(3)


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def servers(pause: Pause, warnings: list[str]) -> Servers:
    return Servers(["a", "b", "c"], pause, warnings.append)


def test_a_request_goes_to_the_server_with_the_fewest_in_flight(servers: Servers) -> None:
    for expected in (0, 1, 2, 0, 1, 2):
        assert servers.choose(0.0) == expected
        servers.sent(expected)
    servers.ended(1, is_probe=False)
    assert servers.choose(0.0) == 1


def test_among_equals_the_one_that_was_asked_longest_ago_is_next(servers: Servers) -> None:
    for number in (2, 0, 1):
        servers.sent(number)
        servers.ended(number, is_probe=False)
    assert servers.choose(0.0) == 2


def test_a_server_that_is_out_gets_single_probes_that_double_to_thirty_seconds(servers: Servers) -> None:
    now, waits = 100.0, []
    servers.is_out(0, now, is_probe=False)
    servers.is_out(0, now + 0.5, is_probe=False)  # was in flight, and says nothing new
    for _ in range(8):
        servers.sent(1)
        assert servers.choose(now) != 0
        due = now
        while servers.choose(due) != 0:
            due += 0.5
        waits.append(due - now)
        now = due
        assert servers.sent(0)
        assert servers.choose(now + 1000) != 0, "one probe at a time"
        servers.ended(0, is_probe=True)
        servers.is_out(0, now, is_probe=True)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    servers.works(0, has_answered=True)
    servers.sent(2)
    assert servers.choose(now) == 0 and not servers.sent(0)


def test_a_pause_holds_for_the_server_that_asked_for_it(servers: Servers, pause: Pause) -> None:
    pause.extend(50.0, 0)
    assert (servers.choose(10.0), pause.until) == (1, 0.0)
    pause.extend(60.0)
    assert servers.choose(59.0) is None and servers.opens_at() == 60.0
    assert servers.choose(60.0) is not None


def test_a_server_that_never_answered_is_left_out_with_a_warning(servers: Servers, warnings: list[str]) -> None:
    servers.works(1, has_answered=True)
    assert servers.refuses(0, "no such model") and servers.refuses(0, "no such model")
    assert not servers.refuses(1, "no such model")
    assert len(warnings) == 1 and "a is left out" in warnings[0] and "no such model" in warnings[0]
    assert servers.is_any_left
    for number in (1, 2):
        servers.is_out(number, 0.0, is_probe=False)
    assert not servers.is_any_up
    assert servers.opens_at() == 1.0
    servers.refuses(2, "")
    servers.sent(1)
    assert servers.opens_at() == math.inf


def test_the_pauses_of_several_servers_are_shared_with_other_processes(pause: Pause) -> None:
    pause.extend(7.0, 1)
    number = pause.share()
    try:
        joined = Pause.join(number)
    finally:
        os.close(number)
    joined.extend(9.0, 2)
    assert [pause.of(server) for server in range(3)] == [0.0, 7.0, 9.0]


def test_one_of_the_last_requests_goes_past_a_server_that_would_answer_it_last(servers: Servers) -> None:
    for number, seconds in ((0, 4.0), (1, 0.4), (2, 0.4)):
        servers.took(number, seconds)
        servers.sent(number)
    servers.ended(0, is_probe=False)
    # The two others answer five a second, of which one has not been sent by them yet.
    assert servers.choose(0.0, unsent=18) == 0
    assert servers.choose(0.0, unsent=17) == 1


def test_the_last_requests_wait_for_no_server_that_accepts_none(servers: Servers, pause: Pause) -> None:
    for number, seconds in ((0, 4.0), (1, 0.4), (2, 0.4)):
        servers.took(number, seconds)
    pause.extend(60.0, 1)
    servers.is_out(2, 0.0, is_probe=False)
    assert servers.choose(0.5, unsent=1) == 0


@pytest.mark.parametrize("latencies", [(0.4, 0.4, 0.4), (0.3, 0.3, 0.1), (0.0, 0.0, 0.0), (4.0, 0.0, 0.0)])
def test_the_last_requests_always_find_a_server(servers: Servers, latencies: tuple[float, ...]) -> None:
    for number, seconds in enumerate(latencies):
        servers.took(number, seconds)
    for unsent in (3, 2, 1, 0):
        chosen = servers.choose(0.0, unsent=unsent)
        assert chosen is not None
        servers.sent(chosen)


class Busy:
    """A server that works on eight requests at once, and lets the others wait."""

    def __init__(self, seconds: float) -> None:
        self.answers_a_second = 8 / seconds
        self._seconds = seconds
        self._free_at = [0.0] * 8

    def __call__(self, prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        ends = max(now, heapq.heappop(self._free_at)) + self._seconds
        heapq.heappush(self._free_at, ends)
        return answered(prompt)[0], ends - now


@pytest.mark.parametrize("slow", [0.4, 4.0])
@pytest.mark.parametrize("concurrency", [40, 64])
def test_servers_of_different_speed_are_all_used_to_the_end(tmp_path: Path, slow: float, concurrency: int) -> None:
    servers = [Busy(seconds) for seconds in (0.4, 0.4, 0.4, slow)]
    bench = Bench(tmp_path, 2400, servers=servers)
    began = bench.clock.now
    assert bench.run(concurrency=concurrency) is None
    assert bench.count(*SUCCEEDED) == 2400
    best = 2400 / sum(server.answers_a_second for server in servers)
    assert best / (bench.clock.now - began) >= 0.95
