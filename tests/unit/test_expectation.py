"""A run that costs or takes more than its estimate: said once for each, with the figures."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from pipeline.app.observe.expectation import Exceeded, Expectation, Measure
from pipeline.estimate import Estimate, Range

ESTIMATE = Estimate(
    requests=100,
    prompt_tokens=Range(1, 2, 3),
    completion_tokens=Range(1, 2, 3),
    cost_usd=Range(Decimal("0.10"), Decimal("0.20"), Decimal("0.40")),
    worst_cost_usd=None,
    seconds=Range(10.0, 20.0, 40.0),
    learned_from=0,
    assumptions="",
)


def measures(found: list[Exceeded]) -> list[Measure]:
    return [one.measure for one in found]


def test_each_measure_is_told_once_when_it_leaves_the_range() -> None:
    expected = Expectation(ESTIMATE)
    assert expected.exceeded(Decimal("0.40"), 40.0) == []
    assert measures(expected.exceeded(Decimal("0.41"), 40.0)) == [Measure.COST]
    assert measures(expected.exceeded(Decimal("0.80"), 40.1)) == [Measure.TIME]
    assert expected.exceeded(Decimal("9"), 900.0) == []


def test_a_run_of_some_of_the_rows_has_their_share() -> None:
    assert measures(Expectation(ESTIMATE, 0.1).exceeded(Decimal("0.05"), 3.0)) == [Measure.COST]


def test_a_cost_that_is_not_known_is_not_measured() -> None:
    expected = Expectation(replace(ESTIMATE, cost_usd=None))
    assert measures(expected.exceeded(Decimal("9"), 41.0)) == [Measure.TIME]


def test_the_words_and_the_figures() -> None:
    cost, time = sorted(
        Expectation(ESTIMATE).exceeded(Decimal("0.5"), 61.24), key=lambda one: one.measure == Measure.TIME
    )
    assert cost.text.startswith("this run has cost $0.5 by now, more than the $0.4 of its estimate at most")
    assert time.text.startswith("this run has taken 61 s by now, more than the 40 s of its estimate at most")
    assert cost.as_json() == {
        "measure": "cost_usd",
        "now": "0.5",
        "estimate": {"low": "0.1", "expected": "0.2", "high": "0.4"},
    }
    assert time.as_json() == {
        "measure": "seconds",
        "now": 61.2,
        "estimate": {"low": 10.0, "expected": 20.0, "high": 40.0},
    }
