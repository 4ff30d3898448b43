"""The plan of a job, with what it would take and cost; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import asdict, astuple

from pipeline.app.jobs.checkpoint import refuse_lost_answers
from pipeline.app.jobs.job import OpenJob, in_shards, open_job
from pipeline.app.jobs.locking import reading
from pipeline.app.jobs.planning import plan_unsaved
from pipeline.app.jobs.quick_estimate import rounded_usd
from pipeline.app.observe.summary import MoneyFigures
from pipeline.app.running.options import RunOptions, select_retries
from pipeline.app.use_cases.survey import survey
from pipeline.catalogue import known_prices
from pipeline.config import Job
from pipeline.estimate import BOUNDS, Estimate, Part, Range, estimate_parts
from pipeline.journal import Journal
from pipeline.journal.backup import Restored, read_restored
from pipeline.plan import Counts, Plan
from pipeline.records import JsonObject
from pipeline.wording import money


class Forecast(Struct, frozen=True):
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
    restored: Restored | None = None
    """What the checkpoint was restored from; None if it was not."""

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
            "cost_usd": usd_json(self.cost_usd),
            "seconds": self.seconds.as_json(),
            "spent_usd": money(self.spent_usd),
            "possibly_billed_usd": money(self.possibly_billed_usd),
            "whole_job_usd": usd_json(self.whole_job_usd),
            "affordable_rows": {cap: rows and rows.as_json() for cap, rows in self.affordable_rows.items()},
            "learned_from": self.estimate.learned_from,
            "assumptions": self.assumptions,
            **({} if self.restored is None else self.restored.facts()),
        }


def plan_ahead(job: Job, options: RunOptions, pilot_from: int = 0) -> Forecast:
    """Plan a run and estimate what it takes, for all shards together where the job was divided. Sends nothing.

    Args:
        pilot_from: the number of the first event that a pilot has recorded, to learn from it; 0 if there was none.
    """
    opened = open_job(job, for_sending=False)
    found = look_over(opened, options, lambda part, plan, journal: survey(part, plan, journal, pilot_from))
    limits = job.config.limits
    estimate = estimate_parts(found.parts, limits)
    left: dict[str, Decimal] = {}
    if limits.max_cost_usd is not None:
        left["max_cost_usd"] = limits.max_cost_usd - found.spent_usd - found.possibly_billed_usd
    if limits.max_run_cost_usd is not None:
        left["max_run_cost_usd"] = limits.max_run_cost_usd
    return Forecast(
        job=job.config.name,
        rows=found.rows,
        estimate=estimate,
        spent_usd=found.spent_usd,
        possibly_billed_usd=found.possibly_billed_usd,
        affordable_rows={cap: estimate.affordable_rows(usd) for cap, usd in left.items()},
        assumptions=_assumptions(estimate, opened),
        restored=read_restored(job.checkpoint_path),
    )


class LookedOver(Struct, frozen=True):
    """What the plan and the journal of a job say, over all its shards: its rows, the requests to each model that it
    would send, and what it has spent.
    """

    rows: Counts
    parts: list[Part]
    spent_usd: Decimal
    possibly_billed_usd: Decimal


def look_over(
    opened: OpenJob, options: RunOptions, measure: Callable[[OpenJob, Plan, Journal | None], list[Part]]
) -> LookedOver:
    """Plan a job, each shard by itself where it was divided; `measure` returns the requests that one would send.

    Raises CheckpointFailed where a run would, for the checkpoint or for an output whose answers it lacks.
    """
    spent = possibly = Decimal(0)
    parts: list[Part] = []
    counts: list[Counts] = []
    for part in in_shards(opened):
        with reading(part.job) as journal:
            refuse_lost_answers(part.job, journal)
            plan = plan_unsaved(part, journal)
            if journal is not None:
                select_retries(plan, journal, opened.job.config.retry.max_runs, options, opened.rows.expected)
                billed = MoneyFigures.of(journal)
                spent, possibly = spent + billed.job_cost_usd, possibly + billed.possibly_billed_usd
            parts += measure(part, plan, journal)
            counts.append(plan.counts())
    return LookedOver(Counts(*map(sum, zip(*map(astuple, counts), strict=True))), parts, spent, possibly)


def usd_json(amounts: Range[Decimal] | None) -> JsonObject:
    """Return a range of USD as `--json` prints it."""
    return dict.fromkeys(BOUNDS) if amounts is None else amounts.map(money).as_json()


def row_counts(job: Job) -> Counts:
    """Return how many rows a run would find done, new, changed, to retry and orphaned."""
    opened = open_job(job, for_sending=False)
    with reading(job) as journal:
        refuse_lost_answers(job, journal)
        plan = plan_unsaved(opened, journal)
        if journal is not None:
            select_retries(plan, journal, job.config.retry.max_runs, RunOptions(), opened.rows.expected)
        return plan.counts()


def _assumptions(found: Estimate, opened: OpenJob) -> str:
    ages = (price.age_note(date.today()) for price in known_prices(opened.terms)) if found.requests else ()
    return "; ".join(dict.fromkeys([found.assumptions, *(age for age in ages if age is not None)]))
