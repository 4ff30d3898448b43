"""What can be said of a job without sending anything: validate, estimate, export."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.app import checkpoint
from pipeline.app.access import reading
from pipeline.app.exports import is_own_export, record_export
from pipeline.app.inspection import inspect_job, wrong
from pipeline.app.job import TRIED_ROWS, OpenJob, first_rows, open_job, try_templates
from pipeline.app.learning import survey
from pipeline.app.machine import too_few_files
from pipeline.app.options import RunOptions, select_retries
from pipeline.app.paths import refuse_to_write
from pipeline.app.places import kind_of_special
from pipeline.app.preview import figures, usd_range
from pipeline.app.scratch import scratch
from pipeline.app.summary import job_figures, money
from pipeline.config import Job, ParametersConfig, PromptConfig, in_order, read_job
from pipeline.endpoints import make_endpoint
from pipeline.errors import CheckpointFailed, InvalidInput, InvalidJob, JobLocked, Mistake, NoCheckpoint
from pipeline.estimate import estimate
from pipeline.export import export, stream
from pipeline.journal import Journal
from pipeline.plan import FAILED, SUCCEEDED, Counts, Plan, Planner, Rows
from pipeline.prompts import Prompter, PromptFailure, Trial
from pipeline.sink import Results
from pipeline.sources import Source

_TRIAL_SECONDS = 60.0
"""How long rows are tried for at validation: TRIED_ROWS of them, unless they are slow."""


@dataclass(frozen=True, slots=True)
class Validated:
    """A job without mistakes: the number of its rows, what came of trying the first of them, and the bodies of the
    first requests (for a row that makes none, why).
    """

    job: Job
    rows: int
    tried: Trial
    requests: list[dict[str, Any]]


def validate(
    path: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), show: int = 0, *, table: Any = None
) -> Validated:
    """Check all that can be checked without a call, the whole input and what stands in the way of a run included.

    Raises:
        InvalidJob: with every mistake.
        CheckpointFailed: the job is right, but its checkpoint cannot be trusted.
    """
    job, mistakes = read_job(path, overrides, table=table)
    if job is None:
        raise InvalidJob(mistakes)
    found = inspect_job(job, os.environ, known=mistakes)
    mistakes = list(found.mistakes)
    rows, tried = 0, Trial()
    if found.source is not None:
        rows, further = _count_rows(job, found.source, found.mistakes)
        mistakes += further
        if found.prompter is not None:
            tried = found.prompter.trial(
                _sound_rows(found.source),
                total_seconds=_TRIAL_SECONDS,
                most_tokens=job.config.limits.tokens_per_minute,
            )
            mistakes += tried.mistakes
    if not wrong(["limits", "endpoint.url"], job, mistakes) and (lack := too_few_files(job, rows)) is not None:
        mistakes.append(Mistake(lack.message, key="limits.concurrency", suggestion=lack.remedy))
    try:
        _check_standing(job, mistakes)
    except InvalidJob as error:
        mistakes += error.mistakes
    except CheckpointFailed:
        if not mistakes:
            raise
    if mistakes or found.source is None or found.prompter is None:
        raise InvalidJob(in_order([job.placed(mistake) for mistake in mistakes], job.file))
    return Validated(job, rows, tried, _first_requests(job, found.source, found.prompter, show))


def _count_rows(job: Job, source: Source, known: Sequence[Mistake]) -> tuple[int, Sequence[Mistake]]:
    """How many rows there are, and what is wrong with one of them or with their ids."""
    section, model = job.config.input, job.config.endpoint.model
    id_column = None if wrong(["input.id"], job, known) else section.id
    # Nothing is asked for a plan without a journal, so any prompt will do, also where the job's is wrong.
    prompter = Prompter(PromptConfig(user="-"), ParametersConfig(), model, source.schema.names, {}, None)
    try:
        with (
            scratch(job.checkpoint_path) as directory,
            Planner(
                Rows(source, id_column, prompter, job.config.endpoint.kind, model),
                iter(()),
                directory,
                number=1,
                fingerprint="",
            ) as made,
        ):
            return len(made.plan), ()
    except InvalidJob as error:
        return 0, error.mistakes


def _sound_rows(source: Source) -> Iterator[dict[str, Any]]:
    with suppress(InvalidJob):  # said already, when they were counted
        yield from first_rows(source, TRIED_ROWS)


def _check_standing(job: Job, known: Sequence[Mistake]) -> None:
    """Raise what a run would, for what stands in the checkpoint and at the output's path already."""
    if wrong(["name", "checkpoint.path", "endpoint.url", "output.path", "output.overwrite"], job, known):
        return
    directory = job.checkpoint_path
    if not Journal.exists(directory):
        checkpoint.refuse_foreign_output(job, directory, None)
        return
    with suppress(JobLocked), reading(job) as journal:  # a run under way has checked this itself
        checkpoint.refuse_foreign_output(job, directory, journal)


def _first_requests(job: Job, source: Source, prompter: Prompter, count: int) -> list[dict[str, Any]]:
    endpoint = make_endpoint(job.config.endpoint, "http://127.0.0.1" if job.config.endpoint.is_simulator else None)
    requests: list[dict[str, Any]] = []
    for row in islice(first_rows(source, count), count) if count else ():
        try:
            requests.append(endpoint.payload(prompter.request(row)))
        except PromptFailure as failure:
            requests.append({"error_kind": failure.kind, "error_message": failure.message})
    return requests


def plan_ahead(job: Job, options: RunOptions, pilot_from: int = 0) -> dict[str, Any]:
    """The plan and the estimate of a run, as `estimate --json` prints them. A pilot to learn from recorded the events
    from number `pilot_from` on; 0 where there was none.
    """
    opened = open_job(job, for_sending=False)
    spent = possibly = Decimal(0)
    with reading(job) as journal:
        plan = _plan(opened, journal)
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
        "assumptions": found.assumptions,
    }


def row_counts(job: Job) -> Counts:
    """Return how many rows a run would find done, new, changed, to retry and orphaned."""
    opened = open_job(job, for_sending=False)
    with reading(job) as journal:
        plan = _plan(opened, journal)
        if journal is not None:
            select_retries(plan, journal, job.config.retry.max_runs, RunOptions())
        return plan.counts()


def answers(job: Job, *, failed_only: bool = False) -> Iterator[pa.RecordBatch]:
    """Yield the rows that have an outcome, or those alone that failed, as the output shows them; at least one batch.

    Raises:
        NoCheckpoint: nothing was run yet.
        InvalidJob: the job or its input is wrong.
        JobLocked, CheckpointFailed: as for a run.
    """
    opened = open_job(job, for_sending=False)
    with reading(job) as journal:
        if journal is None:
            raise NoCheckpoint(f"the job {job.config.name!r} has no answers yet; run it first")
        config = job.config
        results = Results(
            opened.rows, _plan(opened, journal), journal, config.input.columns, config.output.prefix,
            FAILED if failed_only else (*SUCCEEDED, *FAILED),
        )  # fmt: skip
        yield pa.RecordBatch.from_pylist([], results.schema)
        yield from results.batches()


def _plan(opened: OpenJob, journal: Journal | None) -> Plan:
    """Return the plan of the last run where it still holds, else a new one that is not kept."""
    plan = checkpoint.standing_plan(opened, opened.job.checkpoint_path, journal)
    if plan is None:
        try_templates(opened)
        with scratch(opened.job.checkpoint_path) as directory, checkpoint.planner(opened, directory, journal) as made:
            plan = made.plan
    return plan


def export_answers(job: Job, to: str, path: Path | None, *, overwrite: bool = False) -> int:
    """Write the answers so far in another shape, to stdout where there is no path. Returns the number of rows.

    Args:
        overwrite: replace a file that no export of this job wrote, too; write into a pipe or a device.

    Raises InvalidInput where there are no answers yet, where the input has changed since the last run, and where
    something else stands at the path.
    """
    opened = open_job(job, for_sending=False)
    directory = job.checkpoint_path
    if path is not None:
        refuse_to_write(job, path)
        if not overwrite and os.path.lexists(path) and not is_own_export(directory, path):
            special = "is a symbolic link" if path.is_symlink() else None
            found = kind_of_special(path)
            special = special or (found and f"is {found}") or "exists, and no export of this job wrote it as it is"
            raise InvalidInput(f"{path} {special}; name another file, or say --overwrite")
    with reading(job) as journal:
        if journal is None:
            raise InvalidInput(f"the job {job.config.name!r} has no answers yet; run it first: {job.command('run')}")
        config = job.config
        results = Results(opened.rows, _plan(opened, journal), journal, config.input.columns, config.output.prefix)
        if path is None or (kind_of_special(path) is not None and not path.is_symlink()):
            return stream(results, to, path)
        return export(results, to, path, lambda draft: record_export(directory, draft, path))
