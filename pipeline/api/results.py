"""The answers of a job so far, as Arrow or pandas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.api.words import python_words
from pipeline.app.observe.summary import Summary

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from pipeline.config import Job


@dataclass(frozen=True)
class Results:
    """The rows of a job that have an outcome, in input order, read from its checkpoint each time.

    The columns are those of the output file: the input's own, then what docs/output.md lists. Nothing is sent.

    Every method raises `errors.NoCheckpoint` if nothing was run yet, `errors.JobLocked` while a run is under way, and
    `errors.InvalidInput` if the answers do not belong to the present input.
    """

    _job: Job = field(repr=False)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in record batches of a few MiB, so that memory stays bounded however many rows there are."""
        with python_words():
            yield from (batch for batch in self._batches(failed_only=False) if batch.num_rows)

    def table(self) -> pa.Table:
        """Return all rows as a pyarrow.Table."""
        return self._table(failed_only=False)

    def frame(self) -> pd.DataFrame:
        """Return all rows as a pandas DataFrame of Arrow-backed types, so that integers and decimals stay exact."""
        return _frame(self.table())

    def failed(self) -> pd.DataFrame:
        """Return the rows that failed as a pandas DataFrame; `error_kind` and `error_message` say why."""
        return _frame(self._table(failed_only=True))

    def _table(self, *, failed_only: bool) -> pa.Table:
        import pyarrow as pa

        with python_words():
            found = list(self._batches(failed_only=failed_only))
        return pa.Table.from_batches(found)

    def _batches(self, *, failed_only: bool) -> Iterator[pa.RecordBatch]:
        from pipeline.app.use_cases.answers import answers

        return answers(self._job, failed_only=failed_only)


@dataclass(frozen=True)
class Result(Results):
    """The result of a run, with the answers of the job so far."""

    summary: Summary = field(kw_only=True)

    @property
    def exit_code(self) -> int:
        """Return the exit code that the command would end with: 0, 3, 4, 5 or 7."""
        return self.summary.exit_code


def _frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame
