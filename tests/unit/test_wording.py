"""Small pieces of text for people."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.cli.console import figure
from pipeline.cli.status import duration
from pipeline.limits import Budget
from pipeline.wording import lasting


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (90.0, "90 s"), (1e12, "over 30 years"), (1e308, "over 30 years")]
)
def test_how_long_something_lasts_is_short_text_whatever_it_is(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


def test_a_time_span_and_a_figure_beyond_all_measure_are_short_too() -> None:
    assert duration(1e308) == "over 30 years"
    assert figure(1.8000000000000002e302) == "1.8e+302"


@pytest.mark.parametrize(("cap", "text"), [("5.50", "$5.50,"), ("0.0000001", "$0.0000001,"), ("1e-300", "$1e-300,")])
def test_a_cap_is_told_as_a_number_that_can_be_read(cap: str, text: str) -> None:
    budget = Budget(job_cap=Decimal(cap), run_cap=None, spent=Decimal(0))
    assert f"limits.max_cost_usd is {text} of which $0 is spent" in budget.refusal(Decimal(1))
