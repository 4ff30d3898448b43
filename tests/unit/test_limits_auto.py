"""The number of requests in flight that is found while sending, against servers of which the best number is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from statistics import mean

import pytest

from pipeline.limits.auto import AutoConcurrency
from pipeline.limits.corner import Level, find_corner
from pipeline.limits.in_flight import InFlightLimit
from tests.support.saturating import Fixed, Queueing, Server, Sharing, constant, lognormal, mixed, play

MOST = 20_000
WORKS = {
    "constant": constant(1.0),
    "log-normal": lognormal(1.0),
    "mixed": mixed(1.0),
    "half": lognormal(0.5),
}
STEADY = ("constant", "log-normal", "mixed")
LEAST_RATE, MOST_LATENCY = 0.95, 1.3
SEEDS = range(2)


@cache
def best_fixed(
    server: type[Server], work: str, best: int, since: float, until: float, seed: int
) -> tuple[float, float]:
    return play(Fixed(best), server(lambda now: best), WORKS[work], since=since, until=until, seed=seed)


def measured(
    server: type[Server], work: str, best: Callable[[float], int], since: float, until: float, seeds: range = SEEDS
) -> tuple[float, float]:
    """The rate and the latency beside those of the best fixed number, in the mean over the seeds."""
    found = []
    for seed in seeds:
        fixed = best_fixed(server, work, best(until), since, until, seed)
        auto = play(AutoConcurrency(MOST), server(best), WORKS[work], since=since, until=until, seed=seed)
        found.append((auto[0] / fixed[0], auto[1] / fixed[1]))
    return mean(rate for rate, _ in found), mean(latency for _, latency in found)


@pytest.mark.parametrize("best", [8, 64])
@pytest.mark.parametrize("work", STEADY)
@pytest.mark.parametrize("server", [Sharing, Queueing])
def test_after_a_minute_it_is_as_fast_as_the_best_number(server: type[Server], work: str, best: int) -> None:
    rate, latency = measured(server, work, lambda now: best, 60.0, 200.0)
    assert rate >= LEAST_RATE
    assert latency <= MOST_LATENCY


@pytest.mark.parametrize("work", STEADY)
@pytest.mark.parametrize("server", [Sharing, Queueing])
def test_after_a_minute_it_is_as_fast_as_seven_hundred(server: type[Server], work: str) -> None:
    rate, latency = measured(server, work, lambda now: 700, 60.0, 120.0, range(1))
    assert rate >= LEAST_RATE
    assert latency <= MOST_LATENCY


@pytest.mark.parametrize(("before", "after"), [(64, 200), (200, 64), (8, 64), (100, 25)])
@pytest.mark.parametrize("server", [Sharing, Queueing])
def test_it_follows_a_best_number_that_moves(server: type[Server], before: int, after: int) -> None:
    seeds = SEEDS if max(before, after) <= 100 else range(1)  # a large number varies less, and takes longer
    rate, latency = measured(server, "half", lambda now: before if now < 150 else after, 210.0, 330.0, seeds)
    assert rate >= LEAST_RATE
    assert latency <= MOST_LATENCY


def test_it_grows_where_each_doubling_still_brings_more() -> None:
    """A server whose steps take longer the more it has in its batch of 64 at most."""

    class Batching(Sharing):
        def _speed(self) -> float:
            batch = min(64, len(self._ends))
            return super()._speed() / (1 + 0.02 * (batch - 1))

    fixed = play(Fixed(64), Batching(lambda now: 64), lognormal(0.5), since=60, until=180, seed=1)
    auto = play(AutoConcurrency(MOST), Batching(lambda now: 64), lognormal(0.5), since=60, until=180, seed=1)
    few = play(Fixed(16), Batching(lambda now: 64), lognormal(0.5), since=60, until=180, seed=1)
    assert few[0] < 0.6 * fixed[0]
    assert auto[0] > 0.75 * fixed[0]


def test_it_never_goes_beyond_the_most() -> None:
    slots = AutoConcurrency(100)
    seen = []

    class Watched(Sharing):
        def send(self, work: float, now: float) -> None:
            super().send(work, now)
            seen.append(len(self._ends))

    play(slots, Watched(lambda now: 5000), constant(0.5), since=0, until=60, seed=1)
    assert max(seen) == 100
    assert slots.limit == 100
    assert not slots.has_found


def test_slots_that_are_not_used_teach_nothing() -> None:
    slots = AutoConcurrency(MOST)
    for second in range(400):
        slots.flying(2, float(second))
        slots.answered(1.0, second + 0.5)
    assert slots.limit == 4


def fill(slots: AutoConcurrency, answers: int, latency: float, now: float) -> float:
    """Answer so many requests with every slot in use; gives the time after them."""
    for _ in range(answers):
        slots.flying(slots.limit, now)
        now += latency / slots.limit
        slots.answered(latency, now)
    return now


def test_a_queue_that_the_server_tells_of_ends_the_climb_at_once() -> None:
    slots = AutoConcurrency(MOST)
    now = 0.0
    while not slots.has_found:
        now = fill(slots, 1, 1.0, now)
        slots.queued(running=min(20.0, slots.limit), waiting=max(0.0, slots.limit - 20.0), now=now)
        assert slots.limit <= 32
    assert slots.limit == 20


@pytest.mark.parametrize("best", [8, 64])
def test_it_is_as_fast_where_the_server_tells_of_its_queue(best: int) -> None:
    server = Queueing(lambda now: best)

    class Told(AutoConcurrency):
        next_look = 2.0

        def flying(self, in_flight: int, now: float) -> None:
            super().flying(in_flight, now)
            if now >= self.next_look:
                self.next_look = now + 2.0
                self.queued(min(in_flight, best), max(0, in_flight - best), now)

    fixed = best_fixed(Queueing, "log-normal", best, 60.0, 240.0, 1)
    rate, latency = play(Told(MOST), server, lognormal(1.0), since=60.0, until=240.0, seed=1)
    assert rate >= LEAST_RATE * fixed[0]
    assert latency <= MOST_LATENCY * fixed[1]


def test_a_short_queue_says_nothing() -> None:
    slots = AutoConcurrency(MOST)
    now = fill(slots, 2000, 1.0, 0.0)
    before = slots.limit
    slots.queued(running=before - 1.0, waiting=1.0, now=now)
    assert (slots.limit, slots.has_found) == (before, False)


def test_what_the_endpoint_refuses_is_not_tried_again_at_once() -> None:
    limit = InFlightLimit("auto")
    now = 0.0

    def answer(count: int) -> None:
        nonlocal now
        for _ in range(count):
            limit.flying(limit.limit, now)
            now += 1.0 / limit.limit
            limit.answered(now - 1.0, limit.limit, 1.0, now)

    answer(2000)
    before = limit.limit
    assert before > 64
    for _ in range(before):
        limit.refused(now - 1, now)
    cut = limit.limit
    assert cut == int(0.7 * before)
    since = now
    while now < since + 50:
        answer(1)
        assert limit.limit <= cut
    while limit.limit <= cut:
        answer(1)
        assert now < since + 300


def test_a_number_can_be_set_and_found_again() -> None:
    limit = InFlightLimit(8)
    assert (limit.limit, limit.most, limit.is_auto) == (8, 8, False)
    limit.ask("auto")
    assert (limit.limit, limit.is_auto) == (4, True)
    limit.make_room(2)
    assert limit.limit == 2
    limit.ask(100)
    assert (limit.limit, limit.is_auto) == (100, False)


@pytest.mark.parametrize("best", [10.0, 40.0, 90.0])
def test_a_corner_is_found_between_what_was_measured(best: float) -> None:
    levels = [Level(best * share, max(1.0, share), 0.01) for share in (2.0, 0.5, 1.5, 0.7, 1.2)]
    corner = find_corner(levels)
    assert corner.in_flight == pytest.approx(best, rel=0.08)
    assert corner.likely == pytest.approx(best, rel=0.02)
    assert corner.latency == pytest.approx(1.0, rel=0.08)
    assert corner.is_seen


def test_a_corner_below_everything_that_was_measured_is_looked_for_below() -> None:
    corner = find_corner([Level(n, n / 10, 0.01) for n in (50.0, 70.0, 100.0)])
    assert corner.in_flight < 45
    assert not corner.is_seen
