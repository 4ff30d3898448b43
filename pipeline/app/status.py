"""Where a job stands, by its checkpoint alone: its input is not read, and nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.app import checkpoint
from pipeline.app.summary import Summary, job_figures
from pipeline.config import Job, read_job
from pipeline.errors import JobLocked, PipelineError
from pipeline.journal import Journal, read_progress
from pipeline.plan import load_plan
from pipeline.sink import is_own, partial_path


def status(job: Job) -> tuple[Summary, bool]:
    """Where the job stands, with its last run as far as known; and whether a run of it is under way."""
    try:
        with reading(job) as journal:
            return (Summary(job=job.config.name) if journal is None else _at_rest(job, journal)), False
    except JobLocked:
        return _last_written(job), True


def known(job: Job) -> tuple[Summary, bool]:
    """The same where something is wrong, with the job or its checkpoint too: what can be said all the same."""
    try:
        return status(job)
    except (PipelineError, OSError):
        return _last_written(job), False


def known_of_file(path: str, overrides: Sequence[str]) -> tuple[Summary, bool]:
    """The same of the job of a file that may have mistakes, as far as they allow it."""
    job, mistakes = read_job(path, overrides)
    wrong = {(mistake.key or "").partition(".")[0] for mistake in mistakes}
    if job is None or "name" in wrong:
        return Summary(), False
    return (Summary(job=job.config.name), False) if "checkpoint" in wrong else known(job)


def written_output(job: Job, checkpoint_id: str) -> str | None:
    """Of the outputs that the checkpoint has written the latest one that is there: the output or the partial one."""
    output = Path(job.config.output.path)
    ours = [path for path in (output, partial_path(output)) if is_own(path, checkpoint_id)]
    return str(max(ours, key=lambda path: path.stat().st_mtime_ns)) if ours else None


@contextmanager
def reading(job: Job) -> Iterator[Journal | None]:
    """The journal for reading, under a lock that other readers share. Raises JobLocked, CheckpointFailed."""
    if not job.checkpoint_path.exists():
        yield None
        return
    with checkpoint.locked(job, shared=True) as directory:
        journal = checkpoint.open_journal(job, directory)
        try:
            yield journal
        finally:
            if journal is not None:
                journal.close()


def _at_rest(job: Job, journal: Journal) -> Summary:
    """Where a job stands that no run has in hand: as its last run has left word, or after a kill by the journal."""
    last, events = _last_written(job), (read_progress(job.checkpoint_path) or {}).get("events")
    if last.output is None or not is_own(Path(last.output), journal.checkpoint_id):
        last = replace(last, output=written_output(job, journal.checkpoint_id))
    if events == journal.totals.events and last.status != "running" and not journal.totals.claims:
        return last
    run_id = journal.runs()[-1] if journal.runs() else None
    if last.run_id != run_id:
        last = Summary(job=job.config.name, run_id=run_id, output=written_output(job, journal.checkpoint_id))
    return replace(last, status="interrupted", error=None, **_figures(job.checkpoint_path, journal))


def _figures(directory: Path, journal: Journal) -> dict[str, Any]:
    plan = load_plan(directory)
    if plan is None or plan.number != journal.totals.plan:
        return {"job_cost_usd": journal.totals.cost_usd, "possibly_billed_usd": journal.totals.possibly_billed_usd}
    plan.apply(journal.standings())
    return job_figures(plan, journal)


def _last_written(job: Job) -> Summary:
    """What the last run of the job has left word of, at its end or on its way."""
    found = Summary.of_json(read_progress(job.checkpoint_path) or {})
    return found if found is not None and found.job == job.config.name else Summary(job=job.config.name)
