"""A billion rows, by what one run costs: how long, on how many machines, how large, and what gives way first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from benchmarks.scaling.model import Costs, Work, simulate
from pipeline.catalogue import Price, built_in, cost
from pipeline.records import Usage

ROWS = 1_000_000_000
MODEL = "meta/llama-4-scout-17b-16e-instruct"
PROMPT_TOKENS, COMPLETION_TOKENS = 150, 300
LATENCY, SIGMA = 6.0, 0.5
CORES = 2
_DAY, _GB = 86_400.0, 1e9

HEADINGS = ("how", "limit", "machines", "days", "planning", "memory", "journal", "output", "CPU hours, at least")


@dataclass(frozen=True, slots=True)
class Way:
    """A division of the rows: so many runs, `at_once` on each machine, `slots` in flight in each.

    `reads_all` is whether every run reads the whole input, as shards do. `per_minute` is the account's limit.
    """

    name: str
    runs: int
    slots: int
    at_once: int
    per_minute: float
    most_machines: int
    reads_all: bool = False

    def cells(self, costs: Costs) -> tuple[str, ...]:
        """Return its line of the table."""
        rows = ROWS // self.runs
        past = ROWS - rows if self.reads_all else 0
        work = Work(rows, self.slots, LATENCY, SIGMA, read_past=past)
        each = min(self.at_once, self.runs)
        one = simulate([work] * each, costs, cores=CORES, at_once=each)
        a_second = each * rows / one.wall  # of one machine
        useful = min(self.most_machines, self.per_minute / 60 / a_second)  # more would only wait for the limit
        machines = max(1, min(math.ceil(useful), self.runs // each))
        seconds = max(ROWS / (machines * a_second), ROWS / (self.per_minute / 60))
        planning = costs.start + rows * costs.plan + past * costs.read
        return (
            self.name,
            "none" if math.isinf(self.per_minute) else f"{self.per_minute:,.0f} a minute",
            f"{machines:,}",
            f"{seconds / _DAY:,.1f}",
            _duration(planning),
            f"{(costs.memory_bytes + rows * costs.memory_row_bytes) / _GB:,.1f} GB",
            f"{rows * costs.journal_bytes / _GB:,.1f} GB",
            f"{rows * costs.output_bytes / _GB:,.1f} GB",
            f"{one.cpu / each * self.runs / 3600:,.0f}",
        )


WAYS = (
    Way("one run", 1, 20_000, 1, math.inf, 1),
    Way("16 shards", 16, 10_000, 2, math.inf, 8, reads_all=True),
    Way("256 shards", 256, 10_000, 2, math.inf, 8, reads_all=True),
    Way("1,000 jobs of a part each", 1_000, 10_000, 2, math.inf, 8),
    Way("1,000 jobs of a part each", 1_000, 10_000, 2, math.inf, 64),
    Way("1,000 jobs of a part each", 1_000, 10_000, 2, 600_000, 64),
    Way("1,000 jobs of a part each", 1_000, 2_000, 1, 10_000, 64),
)


def plan_cells(costs: Costs) -> list[tuple[str, ...]]:
    """Return the lines of the plan, in the order of `HEADINGS`."""
    return [way.cells(costs) for way in WAYS]


def cost_usd() -> Decimal:
    """Return what a billion answers cost at the catalogue's price."""
    model = built_in().find(MODEL)
    assert model is not None
    price = Price(model.input_usd_per_million, model.output_usd_per_million, model.priced_on)
    one = cost(price, Usage(PROMPT_TOKENS, COMPLETION_TOKENS))
    assert one is not None
    return ROWS * one


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds:,.0f} s"
