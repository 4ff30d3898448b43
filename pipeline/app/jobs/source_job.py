"""The job whose output is the input of another one: whether it is complete, and what the other one records of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from pipeline.app.jobs.locking import reading
from pipeline.app.jobs.sharding import gathered_id, latest_shards
from pipeline.config import Job
from pipeline.errors import InvalidJob, JobLocked, Mistake
from pipeline.plan import FAILED, SUCCEEDED
from pipeline.records import JsonObject
from pipeline.sink import is_complete, is_own, metadata_at
from pipeline.storage import storage_of
from pipeline.wording import counted

_KEY = "input.path.job"


def source_mistakes(other: Job) -> Iterator[Mistake]:
    """Yield why the output of a job cannot be read yet: it has to have an outcome for each row under its present job
    file and input.

    Raises CheckpointFailed where its checkpoint cannot be trusted.
    """
    from pipeline.app.jobs.job import in_shards, open_job
    from pipeline.app.jobs.planning import plan_unsaved

    divided, output = latest_shards(other), other.output
    command = other.command("gather", "--shards", str(len(divided))) if divided else other.command("run")
    first = f"run it first: {command}"
    try:
        checkpoint_ids: list[str] = []
        rows = pending = 0
        for part in in_shards(open_job(other, for_sending=False)):
            with reading(part.job) as journal:
                if journal is None:
                    which = "" if part.job.shard is None else f" in shard {part.job.shard}"
                    yield Mistake(f"{other.file} has no answers yet{which}", key=_KEY, suggestion=first)
                    return
                plan = plan_unsaved(part, journal)
                rows, pending = rows + len(plan), pending + len(plan) - plan.rows(*SUCCEEDED, *FAILED)
                checkpoint_ids.append(journal.checkpoint_id)
        own = gathered_id(checkpoint_ids) if divided else checkpoint_ids[0]
        if pending:
            words = f"{other.file} is not complete: {pending:,} of {counted(rows, 'row')} have no outcome yet"
            yield Mistake(words, key=_KEY, suggestion=first)
        elif not (is_complete(output) and is_own(output, own)):
            words = f"{other.file} has not published its output, {other.config.output.path}"
            yield Mistake(words, key=_KEY, suggestion=first)
    except JobLocked:
        yield Mistake(f"{other.file} is being run", key=_KEY, suggestion="wait until it has ended")
    except InvalidJob as error:
        message = f"{other.file}: {error.mistakes[0].message}"
        yield Mistake(message, key=_KEY, suggestion=f"`{other.command('validate')}` names all that is wrong")


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
