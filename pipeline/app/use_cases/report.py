"""`pipeline report`: the job's journal at a moment, also while a run has it in hand -> one HTML page."""

from __future__ import annotations

import time
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from pipeline.app.jobs.columns import samples_of
from pipeline.app.jobs.expecting import expected_of
from pipeline.app.jobs.moment import at_a_moment
from pipeline.app.jobs.paths import refuse_to_write
from pipeline.app.observe.next_steps import next_steps
from pipeline.app.observe.status import status
from pipeline.app.observe.summary import MoneyFigures, RowFigures
from pipeline.app.running.options import RunOptions, select_retries
from pipeline.config import Job, JobCall, variants
from pipeline.engines import most_asked
from pipeline.errors import InvalidInput
from pipeline.journal import Journal
from pipeline.plan import Plan, load_plan
from pipeline.report.agreement import SampleAgreement
from pipeline.report.file import publish, refuse_foreign, report_path
from pipeline.report.page import JobState, page
from pipeline.report.projection import project
from pipeline.version import __version__

_MEANINGS = (
    ("done", "have an answer"),
    ("new", "have no outcome yet, and are sent"),
    ("changed", "have an answer to another request, and are sent only with --on-change rerun"),
    ("to_retry", "failed for a passing cause, and are sent again"),
    ("orphaned", "answers that no row of the input claims"),
)


class Report(Struct, frozen=True):
    """A report that was written: where, over how many rows (None where that is not known), and whether a run was under
    way.
    """

    path: Path
    rows: int | None
    running: bool


def report(job: Job, out: Path | None = None) -> Report:
    """Write the report of a job; its input is not read.

    Raises:
        InvalidInput: the job has not been run, plots cannot be drawn, or there is another file at the path.
        CheckpointFailed: the checkpoint cannot be trusted, or the report not be written.
    """
    try:
        from pipeline.report.plots import draw
    except ImportError as error:
        raise InvalidInput(
            f"the plots of a report need matplotlib, which is not available ({error}); install it with the extra"
            " `report`: pip install 'llm-batch-pipeline[report]'"
        ) from error
    config = job.config
    if out is None and not isinstance(job.output.path, Path):
        raise InvalidInput(f"a report is written on this machine, and {job.output} is in a store: say --out PATH")
    path = out or report_path(Path(config.output.path))
    refuse_to_write(job, path)
    if not config.output.overwrite:
        refuse_foreign(path, config.name)
    with at_a_moment(job) as (journal, is_running):
        now = time.time()
        plan = _plan(job, journal)
        names = {one.mark: one.name for one in variants(config) if one.mark}
        figures = project(
            journal,
            plan,
            now if is_running else None,
            variants=names,
            agreement=_agreement(job, journal),
            has_marks=config.has_marks,
        )
        state = _job_state(job, journal, plan, is_running, now)
        most = config.limits.max_cost_usd
        plots = draw(figures, concurrency=most_asked(config.limits), max_cost_usd=None if most is None else float(most))
        text = page(figures, plots, state)
        publish(text, path, config.name, journal.checkpoint_id, overwrite=config.output.overwrite)
    return Report(path, None if plan is None else len(plan), is_running)


def _agreement(job: Job, journal: Journal) -> SampleAgreement | None:
    if samples_of(job.config) is None:
        return None
    expected, _ = expected_of(job.config)
    return SampleAgreement(expected, journal.index(), has_marks=job.config.has_marks)


def _plan(job: Job, journal: Journal) -> Plan | None:
    """Return the last plan, updated from the journal; None if its file is missing."""
    plan = load_plan(job.checkpoint_path)
    if plan is None or plan.number != journal.totals.plan:
        return None
    plan.apply(journal.places())
    expected, _ = expected_of(job.config)
    select_retries(plan, journal, job.config.retry.max_runs, RunOptions(), expected)
    return plan


def _job_state(job: Job, journal: Journal, plan: Plan | None, is_running: bool, now: float) -> JobState:
    config, claims = job.config, journal.totals.claims
    known = status(job).summary
    counts = {} if plan is None else asdict(plan.counts())
    rows = dict.fromkeys(RowFigures.__struct_fields__) if plan is None else asdict(RowFigures.of(plan))
    return JobState(
        job=config.name,
        model=", ".join(dict.fromkeys(one.config.endpoint.model for one in variants(config))),
        endpoint=", ".join(_listed(job.document["endpoint"]["url"])),
        is_simulated=journal.simulated,
        status="running" if is_running else known.status,
        error=None if is_running else known.error,
        moment=now,
        rows={**rows, **asdict(MoneyFigures.of(journal))},
        in_flight=claims if is_running else None,
        plan=[(name.replace("_", " "), counts[name], meaning) for name, meaning in _MEANINGS if counts],
        runs=journal.runs(),
        status_of=known.run_id,
        next_steps=[] if is_running else [(one.command, one.why) for one in next_steps(known, _call(job), job)],
        configuration=job.document,
        version=__version__,
    )


def _call(job: Job) -> JobCall:
    """Return how the job was named, without the text of prompts."""
    hidden = [
        f"{key}=…" if key.strip().partition(".")[0] in ("prompt", "sweep") else f"{key}{separator}{value}"
        for key, separator, value in (override.partition("=") for override in job.overrides)
    ]
    return JobCall(job.file, hidden, job.shard)


def _listed(urls: str | list[str]) -> list[str]:
    return [urls] if isinstance(urls, str) else urls
