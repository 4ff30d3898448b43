"""The files of an input together, as one stream of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from pipeline.config.models import InputConfig
from pipeline.errors import InvalidJob, Mistake
from pipeline.records import digest
from pipeline.sources import batch_requests, csv, jsonl, parquet
from pipeline.sources.chosen import ChosenRows
from pipeline.sources.chunks import FileNotes, FileReader
from pipeline.sources.files import InputFile, check_unchanged, file_facts, find_files, watched
from pipeline.sources.identity import is_id_type
from pipeline.sources.json_columns import is_json
from pipeline.sources.memory import TableSource
from pipeline.sources.places import Place, input_error
from pipeline.sources.widening import wider
from pipeline.suggest import did_you_mean, nearest


class Source(Protocol):
    """An input of any format, opened and checked as far as that goes without reading all of it."""

    schema: pa.Schema
    """All columns of the input, in order, their types as they are in the files."""

    files: tuple[InputFile, ...]
    """In the order they are read."""

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the rows from position `start` (from 0) on, in order; never an empty batch.

        A batch has at most 4,096 rows and about 16 MiB, unless a single row is larger. Raises InvalidJob at an invalid
        row, with its place, and if a file is no longer what it was at opening.
        """
        ...

    def place(self, position: int) -> Place:
        """Return where the row at a position is.

        May read the files up to there. Raises IndexError if there is no such row.
        """
        ...


class _FileSource:
    def __init__(self, readers: Sequence[FileReader]) -> None:
        self.schema = _common_schema(readers)
        self.files = tuple(reader.file for reader in readers)
        self._readers = tuple(readers)
        self.notes = [FileNotes() for _ in readers]

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        skip = start
        for reader, notes in zip(self._readers, self.notes, strict=True):
            if notes.rows is not None and skip >= notes.rows:
                skip -= notes.rows
                continue
            mark = notes.mark_before(skip)
            counted = 0 if mark is None else mark.rows
            skip -= counted
            with watched(reader.file):
                for chunk in reader.chunks(mark):
                    notes.add(chunk.mark)
                    counted += chunk.rows
                    if skip >= chunk.rows:
                        skip -= chunk.rows
                        continue
                    for batch in chunk.read():
                        skipped = min(skip, batch.num_rows)
                        skip -= skipped
                        if skipped < batch.num_rows:
                            yield self._in_order(batch.slice(skipped), reader.file.path)
            notes.rows = counted
        for file in self.files:
            check_unchanged(file)

    def place(self, position: int) -> Place:
        left = position
        for reader, notes in zip(self._readers, self.notes, strict=True):
            if notes.rows is not None and left >= notes.rows:
                left -= notes.rows
                continue
            mark = notes.mark_before(left)
            left -= 0 if mark is None else mark.rows
            for chunk in reader.chunks(mark):
                if left < chunk.rows:
                    return chunk.place(left)
                left -= chunk.rows
        raise IndexError(f"the input has no row at position {position}")

    def _in_order(self, batch: pa.RecordBatch, path: str) -> pa.RecordBatch:
        own = batch.schema
        if own.equals(self.schema):
            return batch
        at = {name: index for index, name in enumerate(own.names)}
        fields, columns = [], []
        for field in self.schema:
            index = at[field.name]
            mine, column = own.field(index), batch.column(index)
            if not is_json(mine):
                column = column if mine.type == field.type else _cast(column, field, path)
                mine = field.with_metadata(mine.metadata)
            fields.append(mine)
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _cast(column: pa.Array, field: pa.Field, path: str) -> pa.Array:
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        message = f'{path}: column "{field.name}" cannot be read as {field.type}, which another file needs: {error}'
        raise input_error(message, "write the files with one type") from error


def open_source(config: InputConfig, models: Sequence[str] = (), work: Path = Path()) -> Source:
    """Find the files, read their columns and check what can be checked so; JSONL is read whole, once, for its types.

    Several files must have the same columns, in any order; the order of the first file counts. Types that differ only
    in how values are stored are read as the wider one. Batch files have to be for `models`. What is read of objects in
    a store is kept beside the directory `work`.

    Raises InvalidJob if no file matches, one cannot be read or holds nothing, the columns are invalid or differ between
    files, `input.id` or one of `input.columns` is missing, or the id is neither text, integer nor UUID.
    """
    id_columns = config.id_columns
    files, file_format = find_files(config.paths, config.file_format, config.storage.options, work)
    if file_format == "csv":
        readers = csv.readers(files, config.csv)
    elif file_format == "parquet":
        readers = parquet.readers(files)
    elif config.has_bodies:
        readers = batch_requests.readers(files, models)
    else:
        readers = jsonl.readers(files)
    source = _FileSource(readers)
    mistakes = column_mistakes(source.schema, id_columns, config.columns)
    if mistakes:
        raise InvalidJob(mistakes)
    return source


class Watched:
    """A source that calls `check` before each batch; what that raises ends the reading."""

    def __init__(self, source: Source, check: Callable[[], None]) -> None:
        self.schema = source.schema
        self.files = source.files
        self.source = source
        self._check = check

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the rows from position `start` on."""
        for batch in self.source.batches(start):
            self._check()
            yield batch

    def place(self, position: int) -> Place:
        """Return where the row at a position is."""
        return self.source.place(position)


def fingerprint(source: Source) -> str:
    """Return 32 hexadecimal digits that change when a file is renamed, written or replaced."""
    if isinstance(source, Watched | ChosenRows):
        return fingerprint(source.source)
    if isinstance(source, TableSource):
        return source.fingerprint
    return digest([file_facts(file) for file in source.files])


def notes_of_files(source: Source) -> list[FileNotes]:
    """Return what is known of each file of a source, to which the caller may add.

    It is an empty list for rows that are chosen among those of the files.
    """
    if isinstance(source, Watched):
        return notes_of_files(source.source)
    return source.notes if isinstance(source, _FileSource) else []


def _common_schema(readers: Sequence[FileReader]) -> pa.Schema:
    """Return the first file's columns, each of the widest type that a file has, and nullable if it is in any.

    Of the metadata of columns only the names of extension types are kept.
    """
    first = readers[0]
    common = {field.name: field for field in first.schema}
    for reader in readers[1:]:
        own = {field.name: field for field in reader.schema}
        errors = [f'no column "{name}"' for name in common if name not in own]
        errors += [f'a further column "{name}"' for name in own if name not in common]
        for name in common.keys() & own.keys():
            one, other = common[name], own[name]
            kind = wider(one.type, other.type)
            if kind is None:
                errors.append(f'column "{name}" is {other.type}, there {one.type}')
            else:
                metadata = one.metadata if _extension(one) == _extension(other) else None
                common[name] = pa.field(name, kind, one.nullable or other.nullable, metadata)
        if errors:
            raise input_error(
                f"{reader.file.path}: its columns differ from those of {first.file.path}: {'; '.join(errors)}"
            )
    return pa.schema(field.with_metadata(_extension(field)) for field in common.values())


def _extension(field: pa.Field) -> dict[bytes, bytes] | None:
    """Return the metadata that names an extension type which is not known here."""
    found = {key: value for key, value in (field.metadata or {}).items() if key.startswith(b"ARROW:extension:")}
    return found or None


def column_mistakes(schema: pa.Schema, id_columns: Sequence[str], columns: Sequence[str] | None) -> list[Mistake]:
    """Return what is wrong with `input.id` and `input.columns`, given the input's columns."""
    named = [("input.id", name) for name in id_columns]
    named += [(f"input.columns[{index}]", name) for index, name in enumerate(columns or ())]
    mistakes = [
        Mistake(f'the input has no column "{name}"', key=key, suggestion=_near(name, schema.names))
        for key, name in named
        if name not in schema.names
    ]
    for name in id_columns:
        if name in schema.names and not is_id_type(schema.field(name).type):
            message = f'column "{name}" is {schema.field(name).type}; an id must be text or an integer'
            hint = "leave `input.id` out: rows are known by content"
            mistakes.append(Mistake(message, key="input.id", suggestion=hint))
    return mistakes


def _near(name: str, names: Sequence[str]) -> str:
    if question := did_you_mean([f"`{near}`" for near in nearest(name, names, count=3)]):
        return question
    return f"it has {', '.join(names[:10])}{', …' if len(names) > 10 else ''}" if names else "it has no columns"
