"""The way to a job's checkpoint: its lock, and the journal for reading. Light, because `status` begins here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.config import Job
from pipeline.errors import CheckpointDamaged, CheckpointFailed, InvalidInput, InvalidJob, Mistake
from pipeline.journal import Identity, JobLock, Journal
from pipeline.journal.backup import is_missing


@contextmanager
def locked(job: Job, *, shared: bool = False) -> Iterator[Path]:
    """Hold the job's lock and give the checkpoint's directory. A new one that stays empty is removed again."""
    directory = job.checkpoint_path
    try:
        for above in reversed(directory.parents):
            if not above.exists():
                above.mkdir(mode=0o755, exist_ok=True)  # whatever the umask says, nobody else takes paid answers away
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise CheckpointFailed(f"checkpoint.path: {directory} cannot be made: {error.strerror}") from error
    with JobLock(directory, shared=shared):
        try:
            yield directory
        except CheckpointDamaged as error:
            error.command = job.command("recover")
            raise
        finally:
            with suppress(OSError):
                if not Journal.exists(directory) and {path.name for path in directory.iterdir()} <= {"lock"}:
                    (directory / "lock").unlink()
                    directory.rmdir()


def open_journal(job: Job, directory: Path) -> Journal | None:
    """Open the job's journal for reading; return None if nothing has been sent yet.

    Raises:
        InvalidJob: it belongs to another job, or to another kind of endpoint.
        CheckpointFailed: it is missing or cannot be trusted.
    """
    if not Journal.exists(directory):
        return None
    journal = Journal.read(directory)
    try:
        refuse_foreign_checkpoint(job, directory, journal.identity)
    except InvalidInput:
        journal.close()
        raise
    return journal


def refuse_foreign_checkpoint(job: Job, directory: Path, identity: Identity) -> None:
    """Refuse a checkpoint of another job, or of another kind of endpoint. Raises InvalidJob."""
    if identity.job != job.config.name:
        message = f"{directory} belongs to the job {identity.job!r}"
        mistake = Mistake(message, key="checkpoint.path", suggestion="give this job one of its own")
    elif identity.simulated != job.config.endpoint.is_simulator:
        has, asks = ("the simulator", "a real endpoint") if identity.simulated else ("a real endpoint", "the simulator")
        message = f"the checkpoint {directory} holds answers of {has}, and endpoint.url now names {asks}"
        mistake = Mistake(message, key="endpoint.url", suggestion="give the job another `name:` or checkpoint.path")
    else:
        return
    raise InvalidJob([job.placed(mistake)])


@contextmanager
def reading(job: Job, *, restores: bool = True) -> Iterator[Journal | None]:
    """Open the journal for reading, under a lock that other readers share. A missing one is restored first, where the
    job keeps copies and `restores`.

    Raises JobLocked, CheckpointFailed; InvalidJob where the checkpoint is another job's.
    """
    if restores and job.backup is not None and is_missing(job.checkpoint_path):
        from pipeline.app.jobs.restoring import restore_missing

        with locked(job) as directory:
            restore_missing(job, directory)
    try:
        is_there = job.checkpoint_path.exists()
    except OSError as error:
        raise CheckpointFailed(f"checkpoint.path: {job.checkpoint_path}: {error.strerror}") from error
    if not is_there:
        yield None
        return
    with locked(job, shared=True) as directory:
        journal = open_journal(job, directory)
        try:
            yield journal
        finally:
            if journal is not None:
                journal.close()
