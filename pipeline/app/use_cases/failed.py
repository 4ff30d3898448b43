"""The rows that failed or were truncated, one by one, for people and spreadsheets."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.app.jobs.checkpoint import refuse_lost_answers
from pipeline.app.jobs.columns import samples_of
from pipeline.app.jobs.job import open_job
from pipeline.app.jobs.locking import reading
from pipeline.app.jobs.planning import plan_unsaved
from pipeline.app.running.longer_answers import former_rows
from pipeline.cache import FROM_CACHE
from pipeline.config import Job
from pipeline.errors import TRUNCATED
from pipeline.plan import FAILED, SUCCEEDED
from pipeline.records import Row
from pipeline.sink import Results

COLUMNS = ("row_id", "error_kind", "error_message", "http_status", "attempts", "cost_usd", "finished_at")
"""The columns of the output that are listed for each row. None of them holds a prompt."""


def listed_columns(job: Job) -> tuple[str, ...]:
    """Return the columns that are listed for a job's rows: COLUMNS, and what tells the rows of an input row apart."""
    row_id, *others = COLUMNS
    variant = ["variant"] if job.config.sweep is not None else []
    sample = ["sample_index"] if samples_of(job.config) is not None else []
    return (row_id, *variant, *sample, *others)


def failed_rows(job: Job, kind: str | None) -> Iterator[Row]:
    """Yield every row that failed, or those of one kind, in input order. Sends nothing.

    Rows that share the outcome of another are left out.

    The kind `truncated` means the rows with a truncated answer.

    Raises:
        JobLocked: a run is under way.
        InvalidInput, CheckpointFailed: as a run would.
    """
    opened = open_job(job, for_sending=False)
    with reading(job) as journal:
        refuse_lost_answers(job, journal)
        if journal is None:
            return
        plan = plan_unsaved(opened, journal, former=former_rows(opened, journal))
        is_truncated = kind == TRUNCATED
        results = Results(opened.rows, plan, journal, (), "", SUCCEEDED if is_truncated else FAILED)
        columns = listed_columns(job)
        for batch in results.batches():
            for row in batch.to_pylist():
                if row.get("shared_from") not in (None, FROM_CACHE):
                    continue
                if is_truncated and row["truncated"]:
                    told = {"error_kind": TRUNCATED, "error_message": _length(row["completion_tokens"])}
                    yield {name: row[name] for name in columns} | told
                elif not is_truncated and kind in (None, row["error_kind"]):
                    yield {name: row[name] for name in columns}


def _length(completion_tokens: int | None) -> str:
    return "cut off" if completion_tokens is None else f"cut off after {completion_tokens} tokens"
