"""Source order x journal -> one Parquet file: whole, checked, on disk, and only then at its path."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.json import ParseOptions, ReadOptions, read_json

from pipeline.errors import CheckpointFailed, InvalidInput
from pipeline.journal import EventHead, Journal, sync_path
from pipeline.journal.facts import is_amount, is_count
from pipeline.journal.outcome import PUBLISHED, Outcome
from pipeline.plan import FAILED, SUCCEEDED, Plan, Rows, RowsDigest, Standing
from pipeline.sources import pick, written_column
from pipeline.sources.files import is_touched

# Rows are joined so many at a time that they take about these bytes, going by the ones before.
_BYTES_A_SLICE = 2 * 2**20
# With more than this, fewer rows are joined: the ones before were shorter.
_MOST_BYTES_A_SLICE = 4 * _BYTES_A_SLICE
_MOST_ROWS_A_SLICE = 512
_ROWS_AT_FIRST = 16
_ROWS_A_GROUP = 65_536
_BYTES_A_GROUP = 8 * 2**20
_METADATA_KEY = b"llm-batch-pipeline"

_STAMP = pa.timestamp("us", "UTC")
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), Decimal: pa.decimal128(18, 12)}
_NARROWER = {"attempts": pa.int32(), "http_status": pa.int32(), "started_at": _STAMP, "finished_at": _STAMP}
_HINTS = get_type_hints(Outcome)


def _column(name: str) -> pa.Field:
    """Return the column of a field of Outcome: nullable where the field may be None."""
    kind, *_ = get_args(_HINTS[name]) or (_HINTS[name],)
    column = "cost_usd" if name == "cost" else name
    return pa.field(column, _NARROWER.get(name, _TYPES[kind]), nullable=kind is not _HINTS[name])


_AFTER_MODEL = PUBLISHED.index("served_model")
RESULT_FIELDS = (
    pa.field("row_id", pa.string(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    *(_column(name) for name in PUBLISHED[:_AFTER_MODEL]),
    pa.field("model", pa.string(), nullable=False),
    *(_column(name) for name in PUBLISHED[_AFTER_MODEL:]),
    pa.field("request_hash", pa.string(), nullable=False),
)
"""The columns that stand beside the input's own, as docs/output.md describes them."""

RESULT_NAMES = tuple(field.name for field in RESULT_FIELDS)
_ADDED_LATER = frozenset({"finish_reason", "reasoning", "cached_tokens", "reasoning_tokens", "served_model"})
# Numbers, as a plan holds them: comparing those with members of an enum is slow.
_FAILED = frozenset(map(int, FAILED))
_ADOPTED = frozenset({int(Standing.ADOPTED), int(Standing.ADOPTED_UNPRICED)})
_KNOWN_NAMES = ("row_id", "status", "model", "request_hash")
# What a record tells, as it does: stamps are Unix seconds.
_RECORD_SCHEMA = pa.schema(
    field.with_type(pa.float64()) if pa.types.is_timestamp(field.type) else field
    for field in RESULT_FIELDS
    if field.name not in _KNOWN_NAMES
)
# A million, made without `pa.scalar`, which imports pandas.
_MICROSECONDS = pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(np.array([1e6]))])[0]
_MOST_PIECES = 256


class OutOfTime(Exception):
    """The output could not be written within the time that was given."""


@dataclass(frozen=True, slots=True)
class Results:
    """The rows of the input beside what is known of each. `columns` are the input columns to carry, None for all;
    `standings` is where the rows stand that are wanted, by default with any outcome.
    """

    rows: Rows
    plan: Plan
    journal: Journal
    columns: Sequence[str] | None
    prefix: str
    standings: tuple[Standing, ...] = (*SUCCEEDED, *FAILED)

    @property
    def schema(self) -> pa.Schema:
        """The output's schema; it does not depend on the data."""
        source = self.rows.source.schema
        carried = [source.field(name) for name in (source.names if self.columns is None else self.columns)]
        return pa.schema([*carried, *(field.with_name(self.prefix + field.name) for field in RESULT_FIELDS)])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every row that stands so, in input order.

        Raises:
            InvalidInput: the input is no longer what the plan was made for.
            CheckpointFailed: the journal is damaged.
        """
        models = {number: description["model"] for number, description in self.journal.settings().items()}
        schema = self.schema
        rows = _ROWS_AT_FIRST
        # A file whose time of change is another may hold other rows, though its size and its other time are the same.
        touched, digest = self._is_touched(), RowsDigest()
        for start, batch in self.rows.batches():
            if start + batch.num_rows > len(self.plan):
                raise _changed()
            if touched:
                ids, contents = self.rows.identities(start, batch)
                digest.update(ids, contents)
            else:
                ids = self.rows.ids(start, batch)
            unique = self.plan.row_ids(range(start, start + batch.num_rows), ids)
            offset = 0
            while offset < batch.num_rows:
                part = batch.slice(offset, rows)
                joined = self._join(part, start + offset, unique[offset : offset + rows], models, schema)
                if joined is None:
                    rows = max(1, rows // 4)
                    continue
                yield joined
                offset += rows
                if joined.nbytes:
                    rows = min(_MOST_ROWS_A_SLICE, max(1, joined.num_rows * _BYTES_A_SLICE // joined.nbytes))
        if digest.hexdigest() != self.plan.digest if touched else self._is_touched():
            raise _changed()

    def _is_touched(self) -> bool:
        return any(is_touched(file) for file in self.rows.source.files)

    def at(self, positions: Sequence[int]) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """Return the rows at ascending positions, one at a time: the input's row, and what `batches` gives for it.

        Raises as `batches` does.
        """
        models = {number: description["model"] for number, description in self.journal.settings().items()}
        schema, left = self.schema, list(positions)
        for start, batch in self.rows.batches(left[0]) if left else ():
            while left and left[0] < start + batch.num_rows:
                position = left.pop(0)
                row = batch.slice(position - start, 1)
                ids = self.plan.row_ids([position], self.rows.ids(position, row))
                yield row, self._join(row, position, ids, models, schema)
            if not left:
                return

    def _join(
        self, batch: pa.RecordBatch, start: int, ids: list[str], models: Mapping[int, str], schema: pa.Schema
    ) -> pa.RecordBatch | None:
        """The rows of a batch beside their records; None where they are several and take too many bytes at once."""
        standings = self.plan.standings(start, start + batch.num_rows)
        finished = np.flatnonzero(np.isin(standings, [int(one) for one in self.standings]))
        events = self.plan.events(start, start + batch.num_rows)[finished].tolist()
        found: dict[int, tuple[EventHead, bytes]] = {}
        size = 0
        for entry, text in self.journal.texts(sorted(events)):
            found[entry.seq] = entry, text
            size += len(text)
            if size > _MOST_BYTES_A_SLICE and batch.num_rows > 1:
                return None
        texts: list[bytes] = []
        known: dict[str, list[str]] = {name: [] for name in _KNOWN_NAMES}
        for offset, standing, event in zip(finished.tolist(), standings[finished].tolist(), events, strict=True):
            entry, text = found[event]
            if entry.row_id != ids[offset] and standing not in _ADOPTED:
                raise _changed()
            texts.append(text)
            known["row_id"].append(ids[offset])
            known["status"].append("failed" if standing in _FAILED else "succeeded")
            known["model"].append(models[entry.settings])
            known["request_hash"].append(entry.request_hash)
        if len(finished) < batch.num_rows:
            batch = pick(batch, finished)
        carried = [written_column(batch, schema.field(at)) for at in range(len(schema) - len(RESULT_NAMES))]
        return pa.RecordBatch.from_arrays([*carried, *_result_columns(texts, known)], schema=schema)


def _result_columns(texts: list[bytes], known: Mapping[str, list[str]]) -> list[pa.Array]:
    """The columns of RESULT_FIELDS, from the record of each row, a JSON object, and what else is known of it."""
    text = b"\n".join(texts)
    table = (
        read_json(
            pa.BufferReader(text),
            read_options=ReadOptions(use_threads=False, block_size=len(text) + 1),  # in one piece
            parse_options=ParseOptions(explicit_schema=_RECORD_SCHEMA, unexpected_field_behavior="ignore"),
        )
        if texts
        else _RECORD_SCHEMA.empty_table()
    )
    columns = {name: table.column(name).combine_chunks() for name in _RECORD_SCHEMA.names}
    for name in ("started_at", "finished_at"):
        columns[name] = pc.round(pc.multiply(columns[name], _MICROSECONDS)).cast(pa.int64())
    columns.update((name, _strings(values)) for name, values in known.items())
    return [columns[field.name].cast(field.type) for field in RESULT_FIELDS]


def _strings(values: list[str]) -> pa.StringArray:
    """Made without `pa.array`, which imports pandas."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def _changed() -> InvalidInput:
    return InvalidInput("the input changed while it was read; run the job again to plan with what it is now")


def partial_path(output: Path) -> Path:
    """Where a run that stops early leaves what it has."""
    return output.with_name(output.name.removesuffix(".parquet") + ".partial.parquet")


def draft_path(path: Path, checkpoint_id: str) -> Path:
    """Where the file for `path` is written first: each checkpoint has a place of its own, so that no two jobs meet."""
    return path.with_name(f".{path.name}.{checkpoint_id}.writing")


def result_names(names: Sequence[str], prefix: str) -> list[str]:
    """Return the names, without the prefix, of the result columns among an output's; none where they are not all there.

    Outputs of earlier versions lack some that were added later; an input column of theirs may have such a name.
    """
    start = prefix + RESULT_NAMES[0]
    block = set(names[names.index(start) :]) if start in names else set()
    found = [name for name in RESULT_NAMES if prefix + name in block]
    return found if set(RESULT_NAMES) - set(found) <= _ADDED_LATER else []


def is_own(path: Path, checkpoint_id: str) -> bool:
    """Whether an output stands at `path` that was written from this checkpoint."""
    return (read_metadata(path) or {}).get("checkpoint_id") == checkpoint_id


def is_foreign(path: Path, checkpoint_id: str) -> bool:
    """Whether something else stands there."""
    return path.exists() and not is_own(path, checkpoint_id)


def shows(path: Path, state: str, rows: int) -> bool:
    """Return whether the file at `path` is the output of this state, in so many rows."""
    metadata = read_metadata(path)
    return metadata is not None and metadata.get("state") == state and pq.read_metadata(path).num_rows == rows


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return what this program wrote into a Parquet file's metadata; None where the file is not one of ours.

    What the file says of its journal is checked: `journal` has `simulated`, `commits`, `events` and the two amounts,
    each only where it is sound, and `run_ids` are texts.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        text = (pq.read_schema(path).metadata or {}).get(_METADATA_KEY)
        found = None if text is None else json.loads(text)
    except (OSError, pa.ArrowException, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    runs, journal = found.get("run_ids"), found.get("journal")
    is_list = isinstance(runs, list) and all(isinstance(run, str) for run in runs)
    return {**found, "run_ids": runs if is_list else [], "journal": _sound_facts(journal)}


def _sound_facts(journal: Any) -> dict[str, Any]:
    if not isinstance(journal, dict):
        return {}
    tests: dict[str, Callable[[Any], bool]] = {
        "simulated": lambda value: isinstance(value, bool),
        "commits": is_count,
        "events": is_count,
        "cost_usd": is_amount,
        "possibly_billed_usd": is_amount,
    }
    return {name: journal[name] for name, is_sound in tests.items() if name in journal and is_sound(journal[name])}


def publish(
    results: Results,
    path: Path,
    *,
    compression: str,
    metadata: Mapping[str, Any],
    whole: bool,
    overwrite: bool,
    seconds: float | None = None,
) -> int:
    """Write the results beside `path`, check them, and put them in its place. Returns the number of rows.

    Args:
        whole: every row of the plan must be there.
        overwrite: replace a file that was not written from this checkpoint too.
        seconds: give up after so long.

    Raises:
        OutOfTime: it took longer than `seconds`; `path` is as it was.
        CheckpointFailed: the disk failed, or the check did; `path` is as it was.
        InvalidInput: a file of somebody else's has come to stand at `path`, and was left there.
    """
    checkpoint_id = results.journal.checkpoint_id
    draft = draft_path(path, checkpoint_id)
    give_up = None if seconds is None else time.monotonic() + seconds
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows, cost = _write(results, draft, compression, metadata, give_up)
        if whole and rows != len(results.plan):
            raise CheckpointFailed(f"{path}: {rows} rows where the plan has {len(results.plan)}; it was not published")
        _check(draft, results, rows, cost)
        _sync(draft)
        with _alone_in(path.parent):
            if not overwrite and is_foreign(path, checkpoint_id):
                raise InvalidInput(
                    f"output.path: {path} was put there by something else while the job ran; move it away, or set"
                    " output.overwrite: true, and run the job again: every answer is safe in its checkpoint"
                )
            draft.rename(path)
        sync_path(path.parent)
    except (OSError, pa.ArrowException) as error:
        raise CheckpointFailed(f"{path}: the output cannot be written: {error}") from error
    finally:
        with suppress(OSError):
            draft.unlink()
    return rows


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep other jobs from putting an output here between the look at what stands there and the renaming."""
    file = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no such lock
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def remove(path: Path) -> None:
    """Take away an output that is superseded, if it is there. Raises CheckpointFailed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointFailed(f"{path}: superseded, and cannot be removed: {error.strerror}") from error


def _write(
    results: Results, draft: Path, compression: str, metadata: Mapping[str, Any], give_up: float | None
) -> tuple[int, Decimal]:
    schema = results.schema
    kept = {**(schema.metadata or {}), _METADATA_KEY: json.dumps(metadata, ensure_ascii=False).encode()}
    cost_column = results.prefix + "cost_usd"
    rows, cost = 0, Decimal(0)
    group: list[pa.RecordBatch] = []
    group_rows = group_bytes = 0
    written: Future[None] | None = None
    with (
        pq.ParquetWriter(
            draft,
            schema.with_metadata(kept),
            compression=compression,
            write_page_checksum=True,  # answers may have to be recovered from here: damage must not pass for one
        ) as writer,
        ThreadPoolExecutor(1) as beside,
    ):
        for batch in results.batches():
            if give_up is not None and time.monotonic() >= give_up:
                raise OutOfTime
            if not batch.num_rows:
                continue  # of rows without an outcome nothing is kept, not even that they are none
            group.append(batch)
            if len(group) >= _MOST_PIECES:
                # Each piece holds some kilobytes of its own, however few rows are in it.
                group = pa.Table.from_batches(group).combine_chunks().to_batches()
            group_rows += batch.num_rows
            group_bytes += batch.nbytes
            rows += batch.num_rows
            cost += pc.sum(batch.column(cost_column)).as_py() or 0
            if group_rows >= _ROWS_A_GROUP or group_bytes >= _BYTES_A_GROUP:
                if written is not None:
                    written.result()  # one group is written while the next is joined, and no more wait
                written = beside.submit(writer.write_table, pa.Table.from_batches(group))
                group, group_rows, group_bytes = [], 0, 0
        if written is not None:
            written.result()
        if group:
            writer.write_table(pa.Table.from_batches(group))
    return rows, cost


def _check(draft: Path, results: Results, rows: int, cost: Decimal) -> None:
    """Read the file back: the rows, the schema and the money must be what was meant to be written."""
    column = results.prefix + "cost_usd"
    with pq.ParquetFile(draft) as file:
        read_cost = sum(
            (pc.sum(batch.column(0)).as_py() or Decimal(0) for batch in file.iter_batches(columns=[column])), Decimal(0)
        )
        sound = file.metadata.num_rows == rows and file.schema_arrow.names == results.schema.names and read_cost == cost
    if not sound:
        raise CheckpointFailed(f"{draft}: reads back otherwise than it was written; nothing was published")


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)
