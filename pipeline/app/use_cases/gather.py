"""`pipeline gather`: the outputs of a job's shards become the one output of the job, in input order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from msgspec import Struct

from pipeline.app.jobs import checkpoint
from pipeline.app.jobs.job import OpenJob, open_job
from pipeline.app.jobs.locking import reading
from pipeline.app.jobs.paths import path_mistakes
from pipeline.app.jobs.planning import plan_unsaved
from pipeline.app.jobs.sharding import gathered_id, shards_of
from pipeline.app.jobs.shown import state_of
from pipeline.app.jobs.stores import try_stores
from pipeline.app.observe.answer_counts import counts_of_output
from pipeline.app.observe.shards import ShardState, together
from pipeline.app.observe.summary import MoneyFigures, RowFigures, RunError, Summary
from pipeline.app.running.publishing import metadata_of
from pipeline.config import Job, Shard
from pipeline.endings import Exit, StopKind
from pipeline.errors import InvalidInput, InvalidJob, JobLocked
from pipeline.journal import Journal, State
from pipeline.plan import FailureKinds, Plan, failure_kinds, load_plan
from pipeline.records import JsonObject
from pipeline.sink import (
    GatheredResults,
    JournalState,
    Results,
    is_foreign,
    journals_together,
    publish,
    shows,
    supersede,
)
from pipeline.storage import Destination
from pipeline.wording import counted

_MISSING, _RUNNING = "missing", "running"
_UNFINISHED = (_MISSING, _RUNNING, "partial")


class Gathered(Struct, frozen=True):
    """What became of the whole job, and where each of its shards stands."""

    summary: Summary
    shards: tuple[ShardState, ...]

    def as_json(self) -> JsonObject:
        """Return what `gather --json` prints: the keys of a run, and the shards."""
        return {**self.summary.as_json(), "shards": [one.as_json() for one in self.shards]}


class _Part(Struct, frozen=True):
    """A shard whose checkpoint could be read: its plan, and why its rows failed."""

    opened: OpenJob
    journal: Journal
    plan: Plan
    failures: FailureKinds

    def results(self) -> Results:
        config = self.opened.job.config
        return Results(self.opened.rows, self.plan, self.journal, self.opened.rows.carried, config.output.prefix)

    def summary(self) -> Summary:
        pending = self.plan.count(*_PENDING)
        is_good = self.failures.are_accepted
        status = "partial" if pending else "succeeded" if is_good else "failed_rows"
        figures = (RowFigures.of(self.plan), MoneyFigures.of(self.journal))
        return Summary(status=status).having(*figures, **self.failures.counts())


_PENDING = (State.NEW, State.ATTEMPTED, State.CHANGED)


def gather(job: Job, count: int) -> Gathered:
    """Publish the rows of all shards as the job's output, if every one of them has an outcome. Sends nothing.

    Raises:
        InvalidInput: a shard was run with other settings or over another input, or something else stands at the
            output's path.
        CheckpointFailed: a checkpoint cannot be trusted, or the disk failed.
    """
    started = time.monotonic()
    _refuse_another_count(job, count)
    opened = open_job(job, for_sending=False)
    if mistakes := [job.placed(mistake) for mistake in path_mistakes(job)]:
        raise InvalidJob(mistakes)
    try_stores(job)
    with ExitStack() as held:
        found = [_part(opened.in_shard(Shard(number, count)), held) for number in range(1, count + 1)]
        summaries = [one if isinstance(one, Summary) else one.summary() for one in found]
        states = tuple(ShardState.of(Shard(at, count), one) for at, one in enumerate(summaries, 1))
        summary = replace(together(job.config.name, summaries), requests=0, retries=0)
        parts = [one for one in found if isinstance(one, _Part)]
        if left := [one for one in states if one.state in _UNFINISHED]:
            summary = replace(summary, status="partial", exit_code=StopKind.SHARDS_UNFINISHED.exit)
            error = RunError(StopKind.SHARDS_UNFINISHED, _unfinished(job, left))
            return Gathered(replace(summary, error=error), states)
        output = _publish(opened, parts)
    counts = counts_of_output(output, job.config.output.prefix)
    is_good = all(one.status == "succeeded" for one in summaries)
    summary = summary.having(counts, output=str(output), exit_code=Exit.DONE if is_good else Exit.ROWS_FAILED)
    return Gathered(replace(summary, seconds=time.monotonic() - started), states)


def _refuse_another_count(job: Job, count: int) -> None:
    divisions = shards_of(job)
    if divisions and count not in divisions:
        known, say = ", ".join(map(str, divisions)), " or ".join(f"--shards {one}" for one in divisions)
        raise InvalidInput(f"{job.config.name!r} has no shards of {count}: it was divided into {known}; say {say}")


def _part(opened: OpenJob, held: ExitStack) -> _Part | Summary:
    """Return a shard with its plan; where its checkpoint is missing or in use, what is known of it."""
    job = opened.job
    if not Journal.exists(job.checkpoint_path):
        return Summary(status=_MISSING)
    try:
        journal = held.enter_context(reading(job))
    except JobLocked:
        return Summary(status=_RUNNING)
    assert journal is not None
    plan = checkpoint.saved_plan(opened, job.checkpoint_path, journal)
    if plan is None:
        plan = _planned_again(opened, journal)
    return _Part(opened, journal, plan, failure_kinds(plan, journal, max_runs=job.config.retry.max_runs))


def _planned_again(opened: OpenJob, journal: Journal) -> Plan:
    """Return the plan of a shard whose files are not those of its last run, if settings and rows are the same.

    So they are after a copy to another machine.
    """
    job = opened.job
    shard = f"shard {job.shard}"
    again = f"run it again first: {job.command('run')}"
    if None in checkpoint.settings_numbers(opened.settings, journal):
        raise InvalidInput(f"{shard} was run with other settings than the job has now; {again}")
    plan, last = plan_unsaved(opened, journal), load_plan(job.checkpoint_path)
    if last is not None and last.digest != plan.digest:
        raise InvalidInput(
            f"{shard} was run over another input: {counted(len(last), 'row')} then, {counted(len(plan), 'row')} of the"
            f" present input; {again}"
        )
    if changed := plan.count(State.CHANGED):
        raise InvalidInput(f"{shard}: {counted(changed, 'finished row')} had other settings; {again}")
    return plan


def _unfinished(job: Job, left: Sequence[ShardState]) -> str:
    numbers = ",".join(str(one.shard.number) for one in left)
    told = "; ".join(_told(one) for one in left)
    return f"{told}; nothing was written. Run {job.in_shard(left[0].shard).command('run')} (Slurm: --array={numbers})"


def _told(state: ShardState) -> str:
    if state.state == _MISSING:
        return f"shard {state.shard} has no checkpoint"
    if state.state == _RUNNING:
        return f"shard {state.shard} is being run"
    return f"shard {state.shard} has {counted(state.pending or 0, 'pending row')}"


def _publish(opened: OpenJob, parts: Sequence[_Part]) -> Destination:
    job = opened.job
    config, output = job.config.output, job.output
    results = GatheredResults(
        opened.rows,
        tuple(part.results() for part in parts),
        gathered_id([part.journal.checkpoint_id for part in parts]),
    )
    for place in output.places:
        if is_foreign(place, results.checkpoint_id) and not config.overwrite:
            raise InvalidJob([job.placed(checkpoint.foreign_output(place, "gathered from these shards"))])
    state = state_of(opened, results)
    if not shows(output, state, results.count, config.rows_per_file):
        metadata = metadata_of(
            opened, results.checkpoint_id, _journal_state(parts), tuple(dict.fromkeys(_run_ids(parts))), state
        )
        publish(results, output, config, metadata, whole=True)
    supersede(output, results.checkpoint_id, by_whole=True, overwrite=config.overwrite)
    return output


def _journal_state(parts: Sequence[_Part]) -> JournalState:
    return journals_together([JournalState.of(part.journal) for part in parts])


def _run_ids(parts: Sequence[_Part]) -> Iterator[str]:
    yield from sorted(run for part in parts for run in part.journal.runs())
