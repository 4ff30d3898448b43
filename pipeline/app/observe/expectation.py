"""What a run was expected to cost and to take, and that it has gone beyond."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any

from msgspec import Struct

from pipeline.estimate import Estimate, Range
from pipeline.wording import lasting, money


class Measure(StrEnum):
    """What is expected of a run, by its name in the summary."""

    COST = "cost_usd"
    TIME = "seconds"


class Exceeded(Struct, frozen=True):
    """A measure that has left the range of its estimate: what it is by now, and the range."""

    measure: Measure
    now: Decimal | float
    estimate: Range[Any]

    @property
    def text(self) -> str:
        """The sentence for a log."""
        if self.measure is Measure.COST:
            now, high, verb = f"${money(Decimal(self.now))}", f"${money(self.estimate.high)}", "cost"
        else:
            now, high, verb = lasting(float(self.now)), lasting(self.estimate.high), "taken"
        return (
            f"this run has {verb} {now} by now, more than the {high} of its estimate at most; `pipeline status` says"
            " where it stands"
        )

    def as_json(self) -> dict[str, object]:
        """Return it as a webhook gets it; money is exact decimal text."""
        values = (self.now, self.estimate.low, self.estimate.expected, self.estimate.high)
        is_cost = self.measure is Measure.COST
        now, low, expected, high = (money(Decimal(one)) if is_cost else round(one, 1) for one in values)
        return {"measure": self.measure, "now": now, "estimate": {"low": low, "expected": expected, "high": high}}


class Expectation:
    """The estimate of a run that sends a share of the rows it is about. Each measure is exceeded once at most."""

    def __init__(self, estimate: Estimate, share: float = 1.0) -> None:
        self._ranges: dict[Measure, Range[Any]] = {Measure.TIME: estimate.seconds.map(lambda seconds: seconds * share)}
        if estimate.cost_usd is not None:
            self._ranges[Measure.COST] = estimate.cost_usd.map(lambda usd: usd * Decimal(share))

    def exceeded(self, cost_usd: Decimal, seconds: float) -> list[Exceeded]:
        """Return what a run of that cost and length has exceeded since the last time."""
        now: dict[Measure, Decimal | float] = {Measure.COST: cost_usd, Measure.TIME: seconds}
        beyond = [measure for measure, expected in self._ranges.items() if now[measure] > expected.high]
        return [Exceeded(measure, now[measure], self._ranges.pop(measure)) for measure in beyond]
