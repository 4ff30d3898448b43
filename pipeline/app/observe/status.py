"""The status of a job, by its checkpoint alone: its input is not read, and nothing is sent.

Only the progress file is read, which each run writes, however many rows the job has. The journal is read, as a stream,
only after a kill. What is slow to import is imported where it is needed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from msgspec import Struct, field, structs

from pipeline.app.jobs.locking import reading
from pipeline.app.jobs.sharding import latest_shards
from pipeline.app.jobs.standing import own_output
from pipeline.app.observe.gathered import gathered_output
from pipeline.app.observe.shards import ShardState, together
from pipeline.app.observe.summary import MoneyFigures, RowFigures, Summary
from pipeline.config import Job, Shard, read_job
from pipeline.errors import JobLocked, PipelineError, StoreFailed, StoreRefused
from pipeline.journal import Holder, Journal, read_holder, read_progress
from pipeline.journal.backup import Restored, read_restored
from pipeline.journal.totals import Totals
from pipeline.records import JsonObject
from pipeline.storage import LOCAL, Destination, StorePath, split_uri
from pipeline.wording import money

_WHILE_SENDING = (
    "recent_rows_per_second",
    "eta_seconds",
    "in_flight",
    "waiting",
    "paused_seconds",
    "quota",
    "trouble",
    "paused",
    "set",
)

_OF_THE_RUN = (
    "requests",
    "retries",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "seconds",
    "rows_per_second",
)


class JobStatus(Struct, frozen=True):
    """The status of a job, with what is known of its last run. `facts` are those of `Tracker`; `holder` is the process
    that runs the job, None if there is none.
    """

    summary: Summary
    is_running: bool = False
    holder: Holder | None = None
    facts: JsonObject = field(default_factory=dict)
    cache: JsonObject | None = None
    """What the job's cache has saved, as `cache_facts` tells it; None if the job names no cache."""
    restored: Restored | None = None
    """What the checkpoint was restored from; None if it was not."""
    shards: tuple[ShardState, ...] = ()
    """Where each shard stands, for a job that was divided."""
    knows_run: bool = True
    """Whether the figures of the last run are known."""

    def as_json(self) -> JsonObject:
        """Return what `status --json` prints."""
        holder = self.holder
        batches = self.facts.get("batches", [])
        written_at, seen_at = self.facts.get("updated_at"), self.facts.get("last_progress_at")
        return {
            **self.summary.as_json(),
            **({} if self.knows_run else dict.fromkeys(_OF_THE_RUN)),
            "concurrency": self.summary.concurrency,
            "running": self.is_running,
            "lock": holder and {"pid": holder.pid, "host": holder.host, "since": _stamp(holder.since)},
            "projected_cost_usd": self._projected_cost(),
            **{name: self.facts.get(name) if self.is_running else None for name in _WHILE_SENDING},
            "errors": self.facts.get("errors", []),
            **({} if self.cache is None else {"cache": self.cache}),
            **({} if self.restored is None else self.restored.facts()),
            **({"shards": [one.as_json() for one in self.shards]} if self.shards else {}),
            **({"batches": [_shown(batch) for batch in batches]} if batches else {}),
            "updated_at": _stamp(written_at),
            "silent_seconds": _age(written_at) if self.is_running else None,
            "last_progress_at": _stamp(seen_at),
            "last_progress_seconds": _age(seen_at),
        }

    def _projected_cost(self) -> str | None:
        """Return what the job will have cost in USD once the pending rows are answered, by what the answers of
        this run have; None where it has none.
        """
        found = self.summary
        if found.job_cost_usd is None or found.pending is None:
            return None
        if not found.pending:
            return money(found.job_cost_usd)
        answers = self.facts.get("answers_of_run")
        if not answers or not found.cost_usd:
            return None
        # By this run's answers alone: the job's cost holds replaced ones too.
        return money(round(found.job_cost_usd + found.cost_usd * found.pending / answers, 6))


def status(job: Job, *, restores: bool = True) -> JobStatus:
    """Return the status of a job, or of all its shards together. A missing checkpoint is restored first, where the job
    keeps copies and `restores`; without it no store is asked for anything.

    Raises InvalidJob if the checkpoint is another job's, CheckpointFailed.
    """
    if parts := latest_shards(job):
        return _of_shards(job, parts, restores)
    try:
        with reading(job, restores=restores) as journal:
            found = _without_checkpoint(job) if journal is None else _at_rest(job, journal)
            facts = cache_facts(Totals() if journal is None else journal.totals)
    except JobLocked:
        found = _under_way(job)
        facts = found.facts.get("cache") or cache_facts(Totals())
    found = structs.replace(found, restored=read_restored(job.checkpoint_path))
    return found if job.config.cache is None else structs.replace(found, cache=facts)


def _of_shards(job: Job, parts: Sequence[Job], restores: bool) -> JobStatus:
    found = [(part.shard, status(part, restores=restores)) for part in parts]
    summaries = [one.summary for _, one in found]
    states = tuple(ShardState.of(shard, summary) for (shard, _), summary in zip(found, summaries, strict=True) if shard)
    caches = [one.cache for _, one in found if one.cache is not None]
    cache = None
    if caches:
        saved = sum((Decimal(one["saved_usd"]) for one in caches), Decimal(0))
        cache = {"hits": sum(one["hits"] for one in caches), "saved_usd": money(saved)}
    facts = {name: [fact for _, one in found for fact in one.facts.get(name, [])] for name in ("errors", "batches")}
    is_running = any(one.is_running for _, one in found)
    summary = together(job.config.name, summaries, so_far=True)
    may_ask = restores or not isinstance(job.output.path, StorePath)
    if may_ask and summary.rows is not None and all(one.is_done for one in states):
        with suppress(JobLocked, StoreRefused, StoreFailed):  # a run of a shard has just begun, or nobody can tell
            summary = replace(summary, output=gathered_output(job, parts, summary.rows))
    return JobStatus(summary, is_running, facts=facts, cache=cache, shards=states)


def cache_facts(totals: Totals) -> JsonObject:
    """Return how many answers came from the job's cache, and what they had cost in USD, as `status --json` tells it."""
    return {"hits": totals.cache_hits, "saved_usd": money(totals.cache_saved_usd)}


def known(job: Job) -> JobStatus:
    """Return what is known here of a job even if something is wrong with it, its checkpoint or a store."""
    try:
        return status(job, restores=False)
    except (PipelineError, OSError):
        summary, facts = _last_written(job)
        return JobStatus(summary, facts=facts)


def known_of_file(path: str, overrides: Sequence[str], shard: Shard | None = None) -> JobStatus:
    """Return what is known of the job of a file that may have mistakes."""
    job, mistakes = read_job(path, overrides)
    wrong = {(mistake.key or "").partition(".")[0] for mistake in mistakes}
    if job is None or "name" in wrong:
        return JobStatus(Summary())
    if "checkpoint" in wrong:
        return JobStatus(Summary(job=job.config.name))
    return known(job if shard is None else job.in_shard(shard))


def written_output(job: Job, checkpoint_id: str) -> str | None:
    """Return the latest output that the checkpoint has written, the whole or the partial one; None if there is none.

    Raises StoreRefused, StoreFailed.
    """
    from pipeline.sink import is_complete, metadata_at

    found = [(place, metadata_at(place)) for place in job.output.places if is_complete(place)]
    ours = [(place, one) for place, one in found if one is not None and one.checkpoint_id == checkpoint_id]
    latest = max(ours, key=lambda one: (one[1].run_ids[-1:], one[1].journal.commits), default=None)
    return None if latest is None else str(latest[0])


def output_stamp(output: str | None) -> list[int | str] | None:
    """Return the version of an output on this machine, as it is kept in JSON; None where there is none."""
    if output is None or split_uri(output):
        return None
    try:
        version = LOCAL.version(Destination(Path(output), output.endswith("/")).head)
    except OSError:
        return None
    return None if version is None else list(version)


def _under_way(job: Job) -> JobStatus:
    summary, facts = _last_written(job)
    holder = read_holder(job.checkpoint_path)
    if holder is not None and (facts.get("pid") != holder.pid or facts.get("updated_at", 0) < holder.since):
        # It is still planning, and the file was written by the run before it.
        summary, facts = Summary().with_job_of(summary), {"errors": facts.get("errors", [])}
    return JobStatus(replace(summary, status="running", error=None), True, holder, facts)


def _without_checkpoint(job: Job) -> JobStatus:
    """Return the status of a job that was not run, or whose checkpoint is gone while its output stands here."""
    return JobStatus(Summary(job=job.config.name, output=own_output(job)))


def _at_rest(job: Job, journal: Journal) -> JobStatus:
    """Return the status of a job that is not running: as its last run wrote it, or by the journal after a kill."""
    last, facts = _last_written(job)
    if not _is_as_written(last.output, facts):
        last = replace(last, output=_output_now(job, journal, last))
    has_died = journal.totals.claims > sum(batch.requests for batch in journal.totals.batches)
    if facts.get("events") == journal.totals.events and last.status != "running" and not has_died:
        return JobStatus(last, facts=facts)
    run_id = journal.runs()[-1] if journal.runs() else None
    knows_run = run_id is not None and last.run_id == run_id
    if not knows_run:
        last = Summary(job=job.config.name, run_id=run_id, output=_output_now(job, journal, last))
    interrupted, errors = _found_in(job, journal, replace(last, status="interrupted", error=None, is_whole=False))
    return JobStatus(interrupted, facts={**facts, "errors": errors}, knows_run=knows_run)


def _output_now(job: Job, journal: Journal, last: Summary) -> str | None:
    """Return the latest output that is there; for one in a store, which is not asked, the last one that is known."""
    return last.output if isinstance(job.output.path, StorePath) else written_output(job, journal.checkpoint_id)


def _is_as_written(output: str | None, facts: JsonObject) -> bool:
    """Return whether the output is certainly the one that the last run left, so that it need not be read."""
    stamp = output_stamp(output)
    return stamp is not None and stamp == facts.get("output_stamp")


def _found_in(job: Job, journal: Journal, last: Summary) -> tuple[Summary, Sequence[JsonObject]]:
    """Return the summary with the job's figures by its journal, and why rows have failed."""
    from pipeline.app.observe.answer_counts import counts_of_journal
    from pipeline.plan import failure_kinds, load_plan

    plan = load_plan(job.checkpoint_path)
    if plan is None or plan.number != journal.totals.plan:
        return last.having(MoneyFigures.of(journal)), []
    plan.apply(journal.places())
    failures = failure_kinds(plan, journal, max_runs=job.config.retry.max_runs)
    answers = counts_of_journal(plan, journal)
    figures = (RowFigures.of(plan), MoneyFigures.of(journal), answers)
    return last.having(*figures, **failures.counts()), failures.facts(has_marks=job.config.has_marks)


def _last_written(job: Job) -> tuple[Summary, JsonObject]:
    """Return what the last run of the job wrote of itself: its summary, and further facts."""
    found = read_progress(job.checkpoint_path) or {}
    summary = Summary.of_json(found)
    if summary is None or summary.job != job.config.name:
        return Summary(job=job.config.name), {}
    return summary, found


def _shown(batch: JsonObject) -> JsonObject:
    """Return what is shown of an open batch."""
    names = ("batch_id", "status", "requests", "completed", "failed", "worst_usd")
    return {**{name: batch.get(name) for name in names}, "age_seconds": _age(batch.get("intended_at"))}


def _stamp(seconds: float | None) -> str | None:
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _age(seconds: float | None) -> float | None:
    return None if seconds is None else round(max(0.0, time.time() - seconds), 1)
