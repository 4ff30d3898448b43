"""Which of several equal servers the next request goes to."""

from __future__ import annotations

import math
import os

import pytest

from pipeline.limits import Pause, Servers


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
