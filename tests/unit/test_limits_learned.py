"""What is learned of a rate that an endpoint keeps and did not say; all kinds and sizes are in the acceptance tests."""

from __future__ import annotations

import math

import pytest

from tests.rates import LIMITS, EachSecond, Endpoint, Limit, Sliding, measure, play


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
