"""`pipeline clean`: the checkpoint of a finished job goes, once its output has shown that it holds all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from pipeline.app.jobs import checkpoint
from pipeline.app.jobs.job import OpenJob, open_job
from pipeline.app.jobs.locking import locked, open_journal
from pipeline.app.running.options import RunOptions, select_retries
from pipeline.config import Job
from pipeline.errors import CheckpointFailed, InvalidInput
from pipeline.journal import Journal
from pipeline.journal.files import foreign_names, own_files, remove_own
from pipeline.plan import FAILED, SUCCEEDED, TO_SEND, WITHOUT_PRICE
from pipeline.records import JsonObject
from pipeline.sink import Results, files_of, is_complete, is_own, result_names
from pipeline.storage import Destination, Location, stands, storage_of
from pipeline.wording import counted, money

_ROWS_A_BATCH = 1024


class CleanupPlan(Struct, frozen=True):
    """A checkpoint that is not needed any more: of how many answers and failed rows, how many of these without a known
    cost, at which cost over all runs, in how many bytes, and the output that holds them.
    """

    job: str
    path: Path
    output: Destination
    succeeded: int
    failed: int
    unpriced: int
    job_cost_usd: Decimal
    bytes: int
    left: tuple[str, ...]

    def as_json(self, *, removed: bool) -> JsonObject:
        """Return what `--json` prints."""
        return {
            "job": self.job,
            "removed": removed,
            "checkpoint": str(self.path),
            "output": str(self.output),
            "succeeded": self.succeeded,
            "failed": self.failed,
            "job_cost_usd": money(self.job_cost_usd),
            "bytes": self.bytes,
            "left": list(self.left),
        }


def clean(job: Job, confirm: Callable[[CleanupPlan], bool]) -> tuple[CleanupPlan, bool]:
    """Remove a finished job's checkpoint, if `confirm` agrees; gives what it was, and whether it was removed.

    Raises:
        InvalidInput: there is no checkpoint, the job is not finished, or its output does not hold all of it.
        CheckpointFailed: the checkpoint cannot be trusted, or not be removed.
        JobLocked: a run of the job is under way.
    """
    directory = job.checkpoint_path
    if not Journal.exists(directory):
        left = _removed(directory)
        if stands(left):
            _remove_leftover(left)
            raise InvalidInput(f"nothing more to clean: {left}, which an interrupted clean had left, is removed now")
        raise InvalidInput(f"nothing to clean: there is no checkpoint at {directory}")
    with locked(job):
        journal = open_journal(job, directory)
        assert journal is not None
        try:
            found = _verified(open_job(job, for_sending=False), directory, journal)
        finally:
            journal.close()
        is_wanted = confirm(found)
        if is_wanted:
            _remove(directory)
    return found, is_wanted


def _verified(opened: OpenJob, directory: Path, journal: Journal) -> CleanupPlan:
    config = opened.job.config
    journal.verify()
    plan = checkpoint.saved_plan(opened, directory, journal)
    again = f"run the job first: {opened.job.command('run')}"
    if plan is None:
        raise InvalidInput(f"the input or the settings have changed since the last run of {config.name!r}; {again}")
    select_retries(plan, journal, config.retry.max_runs, RunOptions(), opened.rows.expected)
    if left := plan.count(*TO_SEND):
        raise InvalidInput(f"{config.name!r} is not finished: the next run would send {counted(left, 'row')}; {again}")
    if plan.orphaned:
        raise InvalidInput(
            f"the checkpoint of {config.name!r} holds {counted(plan.orphaned, 'paid answer')} of rows that left the"
            " input, and no output does; the checkpoint is left as it is"
        )
    output = opened.job.output
    if not is_complete(output):
        raise InvalidInput(f"{output} is not there, and nothing else holds the answers of {config.name!r}; {again}")
    if not is_own(output, journal.checkpoint_id):
        raise InvalidInput(
            f"{output} was not written from the checkpoint of {config.name!r}; move it away, and {again}"
        )
    results = Results(opened.rows, plan, journal, opened.rows.carried, config.output.prefix)
    if not _holds(output, results):
        raise InvalidInput(
            f"{output} does not hold what the checkpoint of {config.name!r} does; move it away, and {again}"
        )
    return CleanupPlan(
        config.name,
        directory,
        output,
        plan.rows(*SUCCEEDED),
        plan.rows(*FAILED),
        plan.count(*WITHOUT_PRICE),
        journal.totals.cost_usd,
        sum(path.stat().st_size for path in own_files(directory)),
        tuple(foreign_names(directory)),
    )


def _holds(output: Destination, results: Results) -> bool:
    """Return whether the output, read whole, has each row as the checkpoint has it."""
    try:
        files = files_of(output)
        with storage_of(files[0]).open(files[0]) as first:
            schema = pq.read_schema(first)
        columns = [results.prefix + name for name in result_names(schema.names, results.prefix)]
        if not columns:
            return False
        written = _rows_of(files, columns)
        left = schema.empty_table().select(columns)
        for batch in results.batches():
            while left.num_rows < batch.num_rows and (more := next(written, None)) is not None:
                left = pa.concat_tables([left, pa.Table.from_batches([more])])
            here, left = left.slice(0, batch.num_rows), left.slice(batch.num_rows)
            wanted = pa.Table.from_batches([batch]).select(columns)
            if not all(map(pa.ChunkedArray.equals, here.columns, wanted.columns)):
                return False
        return left.num_rows == 0 and next(written, None) is None
    except (OSError, pa.ArrowException):
        return False


def _rows_of(files: Sequence[Location], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for path in files:
        with storage_of(path).open(path) as opened, pq.ParquetFile(opened, page_checksum_verification=True) as file:
            yield from file.iter_batches(_ROWS_A_BATCH, columns=columns)


def _remove_leftover(removed: Path) -> None:
    try:
        remove_own(removed)
    except OSError as error:
        raise CheckpointFailed(f"{removed}: cannot be removed: {error.strerror}") from error


def _removed(directory: Path) -> Path:
    """Return what a checkpoint in a directory of its own is called while it is removed."""
    return directory.with_name(f".{directory.name}.removed")


def _remove(directory: Path) -> None:
    """Remove the checkpoint. One in a directory of its own goes under its name at once, so that a kill leaves it whole
    or gone; beside other files, its own are removed one by one, and they stay.
    """
    removed = _removed(directory)
    try:
        if directory.is_symlink() or foreign_names(directory):
            remove_own(directory)
            return
        if removed.exists():  # a kill cut this off before
            _remove_leftover(removed)
        directory.rename(removed)
        _remove_leftover(removed)
    except OSError as error:
        raise CheckpointFailed(f"{directory}: cannot be removed: {error.strerror}") from error
