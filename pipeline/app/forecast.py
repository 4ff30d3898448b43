"""The plan of a job, with what it would take and cost; nothing is sent."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Any

from pipeline.app.access import reading
from pipeline.app.job import OpenJob, open_job
from pipeline.app.learning import survey
from pipeline.app.options import RunOptions, select_retries
from pipeline.app.planning import plan_unsaved
from pipeline.app.preview import figures, usd_range
from pipeline.app.summary import job_figures, money
from pipeline.config import Job
from pipeline.estimate import Estimate, estimate
from pipeline.plan import Counts


def plan_ahead(job: Job, options: RunOptions, pilot_from: int = 0) -> dict[str, Any]:
    """Return the plan and the estimate of a run, as `estimate --json` prints them. A pilot to learn from has recorded
    the events from number `pilot_from` on; 0 if there was none.
    """
    opened = open_job(job, for_sending=False)
    spent = possibly = Decimal(0)
    with reading(job) as journal:
        plan = plan_unsaved(opened, journal)
        if journal is not None:
            select_retries(plan, journal, job.config.retry.max_runs, options)
            known = job_figures(plan, journal)
            spent, possibly = known["job_cost_usd"], known["possibly_billed_usd"]
        sizes, sample = survey(opened, plan, journal, pilot_from)
    limits = job.config.limits
    found = estimate(sizes, opened.price, limits, sample, opened.chat_template)
    whole = None if found.cost_usd is None else found.cost_usd.map(lambda amount: spent + amount)
    left: dict[str, Decimal] = {}
    if limits.max_cost_usd is not None:
        left["max_cost_usd"] = limits.max_cost_usd - spent - possibly
    if limits.max_run_cost_usd is not None:
        left["max_run_cost_usd"] = limits.max_run_cost_usd
    rows = {cap: found.affordable_rows(usd) for cap, usd in left.items()}
    return {
        "job": job.config.name,
        "rows": asdict(plan.counts()),
        **figures(found),
        "spent_usd": money(spent),
        "possibly_billed_usd": money(possibly),
        "whole_job_usd": usd_range(whole),
        "affordable_rows": {name: None if one is None else one.as_json() for name, one in rows.items()},
        "learned_from": found.learned_from,
        "assumptions": _assumptions(found, opened),
    }


def row_counts(job: Job) -> Counts:
    """Return how many rows a run would find done, new, changed, to retry and orphaned."""
    opened = open_job(job, for_sending=False)
    with reading(job) as journal:
        plan = plan_unsaved(opened, journal)
        if journal is not None:
            select_retries(plan, journal, job.config.retry.max_runs, RunOptions())
        return plan.counts()


def _assumptions(found: Estimate, opened: OpenJob) -> str:
    age = None if opened.price is None or not found.requests else opened.price.age_note(date.today())
    return found.assumptions if age is None else f"{found.assumptions}; {age}"
