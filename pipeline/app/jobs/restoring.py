"""The restoring of a missing checkpoint from the copy that its job keeps in a store."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.app.jobs.scratch import scratch_in
from pipeline.app.jobs.sharding import SENT_AGAIN, latest_shards
from pipeline.config import Job, Shard
from pipeline.errors import InvalidInput, InvalidJob, Mistake, StoreRefused
from pipeline.journal import Identity, Journal
from pipeline.journal.backup import Restored, is_missing, read_file, restore
from pipeline.journal.files import DATABASE_NAME
from pipeline.storage import storage_of
from pipeline.wording import counted

COMMITS, COPIED_AT, CHECKPOINT_ID = "commits", "copied", "checkpoint"
"""The notes on a copy: names that each store allows."""


def restore_missing(job: Job, directory: Path) -> None:
    """Restore the checkpoint of a job that keeps copies, where it is missing and there is a copy. The caller holds the
    job's lock.

    Raises:
        InvalidJob: the copy is of another job, or the store refuses.
        StoreFailed: the store cannot be reached.
        CheckpointFailed: the copy is damaged, or the disk failed.
    """
    path = job.backup
    if path is None or not is_missing(directory):
        return
    try:
        facts = storage_of(path).facts(path)
        if facts is None:
            return
        with scratch_in(directory) as place:
            with (
                storage_of(path).spool(path, facts.version).open() as source,
                (place / DATABASE_NAME).open("wb") as copy,
            ):
                shutil.copyfileobj(source, copy, 2**20)
            journal = read_file(place)
            try:
                _refuse_foreign(job, str(path), journal.identity)
                journal.verify()
                commits = journal.totals.commits
            finally:
                journal.close()
            copied_at = facts.notes.get(COPIED_AT, "")
            restore(place / DATABASE_NAME, directory, Restored(str(path), copied_at, commits))
    except StoreRefused as error:
        raise InvalidJob([job.placed(Mistake(str(error), key="checkpoint.backup"))]) from error


def refuse_copies_of_another_division(job: Job) -> None:
    """Refuse to begin a job, or a shard of it, anew while only the store knows that its rows were divided otherwise.

    Raises InvalidInput; InvalidJob where the store refuses, and StoreFailed where it cannot be reached.
    """
    path = job.whole.backup
    if path is None or Journal.exists(job.checkpoint_path) or latest_shards(job.whole):
        return
    own = 0 if job.shard is None else job.shard.count
    folder = path.with_key(path.key.rpartition("/")[0])
    try:
        names = storage_of(path).names(folder)
    except StoreRefused as error:
        raise InvalidJob([job.placed(Mistake(str(error), key="checkpoint.backup"))]) from error
    counts = {shard.count for name in names if (shard := Shard.named(name)) is not None}
    if own in counts:
        return
    kept = [f"{counted(count, 'shard')} (run --shard I/{count})" for count in sorted(counts)]
    if own and DATABASE_NAME in names:
        kept.append("runs without --shard")
    if kept:
        raise InvalidInput(
            f"{folder} has copies of {' and '.join(kept)}, and {job.config.name!r} would begin anew: {SENT_AGAIN}"
        )


def _refuse_foreign(job: Job, path: str, identity: Identity) -> None:
    if identity.job != job.config.name:
        message = f"{path} is the copy of a checkpoint of the job {identity.job!r}"
    elif identity.simulated != job.config.endpoint.is_simulator:
        holds = "the simulator" if identity.simulated else "a real endpoint"
        message = f"{path} is the copy of a checkpoint with answers of {holds}"
    else:
        return
    hint = "give this job a folder of its own"
    raise InvalidJob([job.placed(Mistake(message, key="checkpoint.backup", suggestion=hint))])
