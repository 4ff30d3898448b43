"""The job whose output is the input of another one: whether it is complete, and what the other one records of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.app.jobs.sharding import latest_shards
from pipeline.config import Job
from pipeline.errors import InvalidJob, JobLocked, Mistake
from pipeline.plan import FAILED, SUCCEEDED
from pipeline.records import JsonObject
from pipeline.sink import AnyResults, holds, is_complete, is_own, metadata_at
from pipeline.storage import storage_of
from pipeline.wording import counted

if TYPE_CHECKING:
    from pipeline.app.jobs.job import OpenJob
    from pipeline.app.jobs.so_far import Part

_KEY = "input.path.job"


def source_mistakes(other: Job) -> Iterator[Mistake]:
    """Yield why the output of a job cannot be read yet: it has to have an outcome for each row under its present job
    file and input, and the output has to show them.

    Raises CheckpointFailed where its checkpoint cannot be trusted.
    """
    from pipeline.app.jobs.job import open_job
    from pipeline.app.jobs.so_far import parts_of, results_of

    try:
        opened = open_job(other, for_sending=False)
        with parts_of(opened) as parts:
            if missing := next((part.opened.job for part in parts if part.journal is None), None):
                which = "" if missing.shard is None else f" in shard {missing.shard}"
                yield _to_do(f"{other.file} has no answers yet{which}", missing.command("run"))
                return
            yield from _unpublished(opened, parts, results_of(opened, parts))
    except JobLocked:
        yield Mistake(f"{other.file} is being run", key=_KEY, suggestion="wait until it has ended")
    except InvalidJob as error:
        first, hint = error.mistakes[0], f"`{other.command('validate')}` names all that is wrong"
        if first.key == _KEY:  # of a chain, what is to run before all else
            hint = first.suggestion or hint
        yield Mistake(f"{other.file}: {first.message}", key=_KEY, suggestion=hint)


def _unpublished(opened: OpenJob, parts: Sequence[Part], results: AnyResults) -> Iterator[Mistake]:
    """Yield what the parts of a job, each of which was run, lack before its output is what they have."""
    from pipeline.app.jobs.shown import is_shown, plans_of

    job = opened.job
    plans = plans_of(results)
    left = [len(plan) - plan.rows(*SUCCEEDED, *FAILED) for plan in plans]
    if any(left):
        rows = counted(sum(map(len, plans)), "row")
        first = next(part.opened.job for part, pending in zip(parts, left, strict=True) if pending)
        yield _to_do(f"{job.file} is not complete: {sum(left):,} of {rows} have no outcome yet", first.command("run"))
        return
    output, config = job.output, job.config.output
    publishes = job.command("gather", "--shards", str(len(parts))) if latest_shards(job) else job.command("run")
    if not (is_complete(output) and is_own(output, results.checkpoint_id)):
        yield _to_do(f"{job.file} has not published its output, {config.path}", publishes)
    elif not (is_shown(opened, results) or (output.is_directory and holds(results, output, config))):
        yield _to_do(f"{config.path} does not show what {job.file} has now", publishes)


def _to_do(message: str, command: str) -> Mistake:
    return Mistake(message, key=_KEY, suggestion=f"run it first: {command}")


def source_facts(other: Job) -> JsonObject:
    """Return what an output says of the job that it was made from, by that job's own output. The hash is that of the
    file, or of the manifest. Raises OSError.
    """
    output = other.output
    metadata = metadata_at(output)
    with storage_of(output.head).open(output.head) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "name": other.config.name,
        "run_ids": [] if metadata is None else list(metadata.run_ids),
        "sha256": digest,
    }
