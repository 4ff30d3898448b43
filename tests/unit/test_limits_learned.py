"""What is learned of a rate that an endpoint keeps and did not say; all kinds and sizes are in the acceptance tests."""

from __future__ import annotations

import math

import pytest

from pipeline.errors import ErrorKind
from pipeline.limits.learned import LearnedRate
from pipeline.records import Failure
from tests.support.rates import LIMITS, EachSecond, Endpoint, Leaky, Limit, Sliding, finish, measure, play


@pytest.mark.parametrize(("per_minute", "concurrency"), [(60, 8), (60, 64), (600, 64)])
def test_a_rate_over_any_minute_is_used_to_95_percent_with_2_percent_refused(per_minute: int, concurrency: int) -> None:
    used, refused = measure(Sliding, True, per_minute, concurrency)
    assert used >= 0.95
    assert refused <= 0.02


@pytest.mark.parametrize("says_when", [True, False])
@pytest.mark.parametrize("limit", LIMITS)
def test_limits_of_every_kind_are_found(limit: type[Limit], says_when: bool) -> None:
    used, refused = measure(limit, says_when, 60, 8)
    assert used >= (0.7 if limit is EachSecond else 0.95)
    assert refused <= (0.06 if says_when else 0.12)


def test_429s_by_chance_do_not_throttle_a_job() -> None:
    endpoint = Endpoint(None, 1.0, chance=0.009)
    play(endpoint, 64, 3000, 45.0)
    mean_latency = math.exp(Endpoint.SPREAD**2 / 2)
    assert endpoint.accepted(since=15.0) / 30 >= 0.9 * 64 / mean_latency


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_rows_that_are_refused_once_with_a_pause_do_not_throttle_the_others(share: float) -> None:
    endpoint = Endpoint(None, 0.5, chance_at_first=share, pause=1.0)
    stop, seconds = finish(endpoint, 16, 1000)
    assert stop is None
    # The longest of them: a minute and a half until the rate is let go, then bursts of sixteen with a pause each.
    assert seconds <= 90 + 2 * 1000 / 16


def test_refusals_that_no_rate_makes_rarer_do_not_throttle_a_job_for_long() -> None:
    endpoint = Endpoint(None, 0.5, chance=0.3)
    play(endpoint, 16, 6_000, 180.0)
    assert endpoint.accepted(since=120.0) / 60 >= 5.0


@pytest.mark.parametrize(("per_minute", "concurrency"), [(60, 8), (300, 16), (600, 64)])
def test_a_rate_that_is_kept_with_503_is_learned_as_one_that_is_kept_with_429(
    per_minute: int, concurrency: int
) -> None:
    refusal = Failure(ErrorKind.GATEWAY_ERROR, "no", http_status=503)
    endpoint = Endpoint(Leaky(per_minute), 0.5, says_when=False, refusal=refusal)
    play(endpoint, concurrency, per_minute * 9, 180.0)
    assert endpoint.accepted() / (per_minute * 3) >= 0.9
    assert endpoint.refused_share(60) <= 0.05


def test_the_time_of_an_outage_does_not_count_in_a_rate() -> None:
    rate = LearnedRate()

    def send(start: float, requests: int, every: float = 0.25) -> float:
        for number in range(requests):
            rate.take(start + number * every)
        return start + (requests - 1) * every

    def refuse(last: float, requests: int) -> None:
        for number in range(requests):
            rate.refused(last - number * 0.25, last, last)

    refuse(send(0.0, 120), 4)
    learned = rate.wait(send(30.0, 1))
    assert learned < 0.5
    send(40.0, 7, every=10.0)  # probes
    rate.outage_ended(105.0)
    refuse(send(105.0, 8), 4)
    assert rate.wait(send(110.0, 1)) < 2 * learned
