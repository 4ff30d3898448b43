"""The object stores that a job writes to, looked at before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config import Job
from pipeline.errors import InvalidJob, Mistake, StoreRefused
from pipeline.storage import StorePath, storage_of


def store_mistakes(job: Job) -> Iterator[Mistake]:
    """Yield why a store will not do for what the job writes, as far as looking shows it. Raises StoreFailed."""
    for key, path in _written(job):
        try:
            storage_of(path).version(path)
        except StoreRefused as error:
            yield Mistake(str(error), key=key)


def written_mistakes(job: Job) -> Iterator[Mistake]:
    """Yield why a store would refuse what the job writes; leaves nothing behind. Raises StoreFailed."""
    for key, path in _written(job):
        try:
            storage_of(path).try_to_write(path)
        except StoreRefused as error:
            yield Mistake(str(error), key=key)


def try_stores(job: Job) -> None:
    """Remove what killed uploads have left in the stores that the job writes to, and see whether it may write there.

    Raises:
        StoreRefused, InvalidJob: a store refuses.
        StoreFailed: a store cannot be reached.
    """
    for _, path in _written(job):
        storage_of(path).abandon_uploads(path)
    if mistakes := [job.placed(mistake) for mistake in written_mistakes(job)]:
        raise InvalidJob(mistakes)


def _written(job: Job) -> Iterator[tuple[str, StorePath]]:
    if job.writes_output and not job.is_doubtful("output.path") and isinstance(job.output.head, StorePath):
        yield "output.path", job.output.head
    if not job.is_doubtful("checkpoint.backup") and job.backup is not None:
        yield "checkpoint.backup", job.backup
