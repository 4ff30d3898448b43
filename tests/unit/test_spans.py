"""Which rows are in the sample, and where traces go."""

from __future__ import annotations

import pytest

from pipeline.app.observe.spans import is_sampled, traces_url


def test_the_sample_grows_with_its_rate_and_holds_the_same_rows_each_time() -> None:
    ids = [f"row {number}" for number in range(10_000)] + ["", "\ud800"]
    small, large = ({one for one in ids if is_sampled(one, rate)} for rate in (0.1, 0.5))
    assert small < large
    assert len(small) == pytest.approx(1_000, rel=0.1) and len(large) == pytest.approx(5_000, rel=0.1)
    assert not any(is_sampled(one, 0) for one in ids) and all(is_sampled(one, 1) for one in ids)


@pytest.mark.parametrize(
    ("url", "traces"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://host/otlp/?key=1", "https://host/otlp/v1/traces?key=1"),
        ("https://host/v1/traces", "https://host/v1/traces"),
        ("https://host/v1/traces/", "https://host/v1/traces"),
    ],
)
def test_traces_go_below_the_address_of_a_collector(url: str, traces: str) -> None:
    assert traces_url(url) == traces
