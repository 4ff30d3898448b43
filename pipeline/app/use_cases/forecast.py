"""The plan of a job, with what it would take and cost; nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from datetime import date
from decimal import Decimal

from pipeline.app.jobs.job import OpenJob, in_shards, open_job
from pipeline.app.jobs.locking import reading
from pipeline.app.jobs.planning import plan_unsaved
from pipeline.app.jobs.quick_estimate import rounded_usd
from pipeline.app.observe.summary import MoneyFigures
from pipeline.app.running.options import RunOptions, select_retries
from pipeline.app.use_cases.survey import survey
from pipeline.config import Job
from pipeline.estimate import BOUNDS, Estimate, Part, Range, estimate_parts
from pipeline.plan import Counts
from pipeline.records import JsonObject
from pipeline.wording import money


@dataclass(frozen=True, slots=True)
class Forecast:
    """The plan of a job and the estimate of what is still to send.

    `affordable_rows` has, for each cap that the job sets, how many rows it pays for; None if no price is known.
    """

    job: str
    rows: Counts
    estimate: Estimate
    spent_usd: Decimal
    possibly_billed_usd: Decimal
    affordable_rows: Mapping[str, Range[int] | None]
    assumptions: str

    @property
    def cost_usd(self) -> Range[Decimal] | None:
        """What is still to send costs; None if no price is known."""
        return None if self.estimate.cost_usd is None else rounded_usd(self.estimate.cost_usd)

    @property
    def whole_job_usd(self) -> Range[Decimal] | None:
        """The cost over all runs, with what was spent already; None if no price is known."""
        cost = self.estimate.cost_usd
        return None if cost is None else rounded_usd(cost.map(lambda amount: self.spent_usd + amount))

    @property
    def seconds(self) -> Range[float]:
        """How long the sending takes."""
        return self.estimate.seconds.map(lambda seconds: round(seconds, 1))

    def as_json(self) -> JsonObject:
        """Return what `estimate --json` prints."""
        return {
            "job": self.job,
            "rows": asdict(self.rows),
            "requests": self.estimate.requests,
            "prompt_tokens": self.estimate.prompt_tokens.as_json(),
            "completion_tokens": self.estimate.completion_tokens.as_json(),
            "cost_usd": _usd(self.cost_usd),
            "seconds": self.seconds.as_json(),
            "spent_usd": money(self.spent_usd),
            "possibly_billed_usd": money(self.possibly_billed_usd),
            "whole_job_usd": _usd(self.whole_job_usd),
            "affordable_rows": {cap: rows and rows.as_json() for cap, rows in self.affordable_rows.items()},
            "learned_from": self.estimate.learned_from,
            "assumptions": self.assumptions,
        }


def plan_ahead(job: Job, options: RunOptions, pilot_from: int = 0) -> Forecast:
    """Plan a run and estimate what it takes, for all shards together where the job was divided. Sends nothing.

    Args:
        pilot_from: the number of the first event that a pilot has recorded, to learn from it; 0 if there was none.
    """
    opened = open_job(job, for_sending=False)
    spent = possibly = Decimal(0)
    parts: list[Part] = []
    counts: list[Counts] = []
    for part in in_shards(opened):
        with reading(part.job) as journal:
            plan = plan_unsaved(part, journal)
            if journal is not None:
                select_retries(plan, journal, job.config.retry.max_runs, options, opened.expect)
                billed = MoneyFigures.of(journal)
                spent, possibly = spent + billed.job_cost_usd, possibly + billed.possibly_billed_usd
            parts += survey(part, plan, journal, pilot_from)
            counts.append(plan.counts())
    limits = job.config.limits
    found = estimate_parts(parts, limits)
    left: dict[str, Decimal] = {}
    if limits.max_cost_usd is not None:
        left["max_cost_usd"] = limits.max_cost_usd - spent - possibly
    if limits.max_run_cost_usd is not None:
        left["max_run_cost_usd"] = limits.max_run_cost_usd
    return Forecast(
        job=job.config.name,
        rows=Counts(*map(sum, zip(*map(astuple, counts), strict=True))),
        estimate=found,
        spent_usd=spent,
        possibly_billed_usd=possibly,
        affordable_rows={cap: found.affordable_rows(usd) for cap, usd in left.items()},
        assumptions=_assumptions(found, opened),
    )


def _usd(amounts: Range[Decimal] | None) -> JsonObject:
    return dict.fromkeys(BOUNDS) if amounts is None else amounts.map(money).as_json()


def row_counts(job: Job) -> Counts:
    """Return how many rows a run would find done, new, changed, to retry and orphaned."""
    opened = open_job(job, for_sending=False)
    with reading(job) as journal:
        plan = plan_unsaved(opened, journal)
        if journal is not None:
            select_retries(plan, journal, job.config.retry.max_runs, RunOptions(), opened.expect)
        return plan.counts()


def _assumptions(found: Estimate, opened: OpenJob) -> str:
    ages = (price.age_note(date.today()) for price in opened.prices) if found.requests else ()
    return "; ".join(dict.fromkeys([found.assumptions, *(age for age in ages if age is not None)]))
