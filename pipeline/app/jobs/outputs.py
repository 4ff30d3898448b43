"""Read back the outputs that a job's checkpoint has written, to recover what a damaged checkpoint has lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from pipeline.cache import FROM_CACHE
from pipeline.config import Job
from pipeline.journal import Event, Published, State
from pipeline.journal.outcome import PUBLISHED, decode
from pipeline.plan import cell_mark
from pipeline.records import Row, Usage
from pipeline.retry import PASSING
from pipeline.sink import RAW_REPLY, RESULT_NAMES, OutputMetadata, parts_in, read_metadata, result_names
from pipeline.storage import Location, storage_of

_MICROSECONDS = 1_000_000
_ROWS_A_BATCH = 1024
_STAMPS = ("started_at", "finished_at")
_COLUMNS = (*("cost_usd" if name == "cost" else name for name in PUBLISHED), "answer_attempts", "raw_reply")


class Output(Struct, frozen=True):
    """One output file of a job, with what its metadata tells."""

    path: Location
    metadata: OutputMetadata

    @property
    def checkpoint_id(self) -> str:
        """The checkpoint that it was written from."""
        return str(self.metadata.checkpoint_id)

    def published(self, renumbered: int) -> Published:
        """Return what it records of the journal, whose events have had their numbers since commit `renumbered`."""
        journal = self.metadata.journal
        return Published(
            journal.commits,
            journal.events if journal.commits >= renumbered else None,
            journal.cost_usd,
            journal.possibly_billed_usd,
            journal.possibly_billed_requests,
        )

    def outcomes(self, *, has_ids: bool, marks: Mapping[str, str]) -> Iterator[tuple[Event, str]]:
        """Yield the outcome of each row, as an event under no plan, with the model that was asked. What is damaged in
        the file is left out. `has_ids`: the job names an id column; else a row's id is the key of its content. `marks`
        has what the journal calls each variant that the job has now.
        """
        with (
            suppress(OSError, pa.ArrowException),
            storage_of(self.path).open(self.path) as opened,
            pq.ParquetFile(opened, page_checksum_verification=True) as file,
        ):
            names = file.schema_arrow.names
            prefix = names[-1].removesuffix(RAW_REPLY.name).removesuffix(RESULT_NAMES[-1])
            found = result_names(names, prefix)
            columns = [prefix + name for name in found]
            for group in range(file.num_row_groups):
                with suppress(OSError, pa.ArrowException):
                    for batch in file.iter_batches(_ROWS_A_BATCH, [group], columns):
                        for row in _rows(batch.select(columns), found):
                            if row.get("shared_from") not in (None, FROM_CACHE):
                                continue  # it shares again what is restored for the row that paid
                            yield _event(row, has_ids, marks), row["model"]


def outputs(job: Job) -> list[Output]:
    """Return the files of the job's output and of its partial output that can be read, the newest first."""
    found: list[Output] = []
    for path, metadata in _written(job):
        if metadata is not None and metadata.job == job.config.name and metadata.checkpoint_id is not None:
            found.append(Output(path, metadata))
    return sorted(found, key=_age, reverse=True)


def _written(job: Job) -> Iterator[tuple[Location, OutputMetadata | None]]:
    for place in job.output.places:
        if place.is_directory:
            yield from ((part.path, part.metadata) for part in parts_in(place))
        else:
            yield place.path, read_metadata(place.path)


def _age(output: Output) -> tuple[str, int]:
    runs = output.metadata.run_ids or ("",)
    return runs[-1], output.metadata.journal.commits


def _rows(batch: pa.RecordBatch, names: list[str]) -> Iterator[Row]:
    stamps = {"started_at": pa.int64(), "finished_at": pa.int64()}
    arrays = [
        column.cast(stamps[name]) if name in stamps else column
        for name, column in zip(names, batch.columns, strict=True)
    ]
    yield from pa.RecordBatch.from_arrays(arrays, names).to_pylist()


def _event(row: Row, has_ids: bool, marks: Mapping[str, str]) -> Event:
    cost = row["cost_usd"]
    usage = Usage(row["prompt_tokens"], row["completion_tokens"], row["total_tokens"])
    facts = {name: row[name] for name in _COLUMNS if row.get(name) is not None}
    facts |= {name: facts[name] / _MICROSECONDS for name in _STAMPS if name in facts}
    if row.get("shared_from") is None:
        facts["tokens"] = usage.billed_tokens
    else:
        facts["shared_from"] = FROM_CACHE
    if row["status"] == "succeeded":
        state = State.UNPRICED if cost is None else State.ANSWERED
    else:
        state = State.FAILED_PASSING if row["error_kind"] in PASSING else State.FAILED
        facts["failed_runs"] = 1
    content = "" if has_ids else row["row_id"].partition("#")[0]
    row_id = row["row_id"] + cell_mark(marks.get(row.get("variant", ""), ""), row.get("sample_index", 0))
    return Event(0, 0, state, row_id, row["request_hash"], 0, content, decode(facts))
