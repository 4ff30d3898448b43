"""How many of a job's answers are truncated at max_tokens, or empty."""

from __future__ import annotations

from msgspec import Struct

from pipeline.errors import CheckpointFailed
from pipeline.journal import Journal
from pipeline.plan import SUCCEEDED, Plan
from pipeline.storage import Destination, storage_of

# As the journal writes them. Within a text of the record the quotes would be escaped.
_TRUNCATED = b'"truncated":true'
_EMPTY = b'"response_type":"empty"'


class AnswerCounts(Struct, frozen=True):
    """The numbers of truncated answers and of answers without text; None if unknown."""

    truncated: int | None = None
    empty: int | None = None

    def plus(self, truncated: int, empty: int) -> AnswerCounts:
        """Return the counts with others added; unknown counts stay unknown."""
        if self.truncated is None or self.empty is None:
            return AnswerCounts()
        return AnswerCounts(self.truncated + truncated, self.empty + empty)


def counts_of_output(output: Destination, prefix: str) -> AnswerCounts:
    """Count the answers in an output, the names of whose columns begin with `prefix`.

    Raises:
        CheckpointFailed: the disk does not give it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipeline.sink import files_of

    columns = [f"{prefix}{name}" for name in ("truncated", "response_type", "error_kind")]
    truncated = empty = 0
    try:
        for path in files_of(output):
            with storage_of(path).open(path) as opened, pq.ParquetFile(opened) as file:
                for batch in file.iter_batches(columns=columns):
                    # A failed row holds its last answer. To compare with a Python value, pyarrow would import pandas.
                    answers = batch.filter(batch.column(2).is_null())
                    truncated += answers.column(0).true_count
                    kinds = answers.column(1).value_counts().to_pylist()
                    empty += sum(one["counts"] for one in kinds if one["values"] == "empty")
    except (OSError, pa.ArrowException) as error:
        raise CheckpointFailed(f"{output}: the output was written and cannot be read back: {error}") from error
    return AnswerCounts(truncated, empty)


def counts_of_journal(plan: Plan, journal: Journal) -> AnswerCounts:
    """Count the answers of the plan by their records. Raises CheckpointFailed."""
    truncated = empty = 0
    for positions in plan.positions(SUCCEEDED):
        by_event = {plan.event(position): position for position in positions}
        for entry, text in journal.texts(sorted(by_event)):
            rows = 1 + plan.sharers(by_event[entry.seq])
            truncated += rows * (_TRUNCATED in text)
            empty += rows * (_EMPTY in text)
    return AnswerCounts(truncated, empty)
