"""How a run ended, by what came of its rows."""

from __future__ import annotations

from msgspec import Struct

from pipeline.app.observe.summary import RunError
from pipeline.app.running.longer_answers import in_vain
from pipeline.app.running.options import RunOptions
from pipeline.endings import Exit, StopKind
from pipeline.plan import FailureKinds
from pipeline.runner import Stop


class Ending(Struct, frozen=True):
    """A run's `status`, its exit code, why it did not end well, and whether it is whole for all that."""

    status: str
    exit_code: int
    error: RunError | None = None
    is_whole: bool = False


def ending(
    stop: Stop | None,
    options: RunOptions,
    *,
    is_whole: bool,
    is_published: bool,
    failed_now: FailureKinds,
    is_accepted: bool,
    has_marks: bool,
) -> Ending:
    """Return how a run ended.

    Args:
        stop: what ended it before all rows were through.
        is_whole: every row has an outcome.
        is_published: a file shows all outcomes that there are.
        failed_now: the rows that failed in this run.
        is_accepted: the job has no failed row but those that the user accepted.
        has_marks: as for `input_row_id`.
    """
    if stop is not None:
        status = "interrupted" if stop.kind is StopKind.INTERRUPTED else "stopped"
        is_done = stop.kind is StopKind.INTERRUPTED and is_whole and is_published
        message = f"{stop.kind.meaning}, after the last row: the output is complete" if is_done else stop.message
        return Ending(status, stop.exit_code, RunError(stop.kind, message), is_done)
    if options.cancel:
        return Ending("succeeded" if is_whole else "partial", Exit.DONE)
    if options.asks_longer and failed_now.rows:
        return Ending(
            "failed_rows" if is_whole else "partial", Exit.ROWS_FAILED, in_vain(failed_now, has_marks=has_marks)
        )
    if not is_whole:
        return Ending("partial", Exit.ROWS_FAILED if failed_now.rows else Exit.DONE)
    return Ending("succeeded", Exit.DONE) if is_accepted else Ending("failed_rows", Exit.ROWS_FAILED)
