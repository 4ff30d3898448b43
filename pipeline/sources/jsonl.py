"""JSONL files: one object a line. A first pass finds the columns and their types, a second gives the rows.

The columns are the keys of all files' objects, in order of first sight. A column whose values are all of one scalar
type has it in the output (bool, int64, double, string; string too where all are null). Where types are mixed (an
integer beside a float too), values are lists or objects, or an integer does not fit into int64, the whole column is
JSON text there. Absent and null are null there.

A row's prompt, id and key depend on that row alone. So where the output's column does not tell what the row says (the
column is JSON text there, or some row lacks the key), the batches hold it as `json_columns` describes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline.arrays import scalars
from pipeline.records import JsonObject
from pipeline.sources.chunks import BATCH_BYTES, BATCH_ROWS, Chunk, FileReader, Mark
from pipeline.sources.files import InputFile, watched
from pipeline.sources.json_columns import ABSENT, Written, is_json, json_array, json_field
from pipeline.sources.json_line import parse, parse_again
from pipeline.sources.places import Place, input_error
from pipeline.sources.streams import pieces

LINE_BYTES = 64 * 2**20
JSON_TEXT = "JSON text"

_MOST_FORMS = 1000
_CHUNK_BYTES = BATCH_BYTES // 4
_BLANKS = b" \t\r"
_TYPES = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string()}


def readers(files: Sequence[InputFile]) -> list[FileReader]:
    """Read every file once, for the columns that they have together.

    Raises InvalidJob, with the line, at what is not a JSON object, a duplicate key, NaN or Infinity.
    """
    columns = _Columns()
    for file in files:
        with watched(file):
            for number, line in _lines(file):
                columns.add(parse(file.path, number, line))
    if columns.rows and not columns.kinds:
        raise input_error(f"{files[0].path}: the objects have no keys, so there are no columns")
    kinds, everywhere = columns.kinds, columns.everywhere()
    written = pa.schema([pa.field(name, _TYPES.get(kind or "str", pa.string())) for name, kind in kinds.items()])
    read = pa.schema([_field(field, kinds[field.name], field.name in everywhere) for field in written])
    return [FileReader(file, written, partial(chunks, file, read)) for file in files]


class _Columns:
    """The keys of objects, in order of first sight, with the type of their values so far."""

    def __init__(self) -> None:
        self.kinds: dict[str, str | None] = {}
        self.rows = 0
        self._had = Counter[Any]()
        self._forms = Counter[tuple[Any, ...]]()
        """How many objects had these keys, and after them these types. Most are like one before."""

    def add(self, row: dict[str, object]) -> None:
        self.rows += 1
        form = (*row, *map(type, row.values()))
        if form not in self._forms or int in form:  # an integer may be too large for its type
            for name, value in row.items():
                self.kinds[name] = _joined(self.kinds.get(name), _kind(value))
        self._forms[form] += 1
        if len(self._forms) > _MOST_FORMS:
            self._settle()

    def everywhere(self) -> set[str]:
        """Return the keys that all objects have."""
        self._settle()
        return {name for name, rows in self._had.items() if rows == self.rows}

    def _settle(self) -> None:
        for form, rows in self._forms.items():
            self._had.update(dict.fromkeys(form[: len(form) // 2], rows))
        self._forms.clear()


def _field(written: pa.Field, kind: str | None, everywhere: bool) -> pa.Field:
    if kind != JSON_TEXT and everywhere:
        return written
    form: Written = "text" if kind == JSON_TEXT else "value"
    return json_field(written.name, form)


def _kind(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return JSON_TEXT
    kind = type(value).__name__
    return kind if kind in _TYPES else JSON_TEXT


def _joined(before: str | None, kind: str | None) -> str | None:
    if before is None or kind is None or before == kind:
        return before or kind
    return JSON_TEXT


def objects(file: InputFile) -> Iterator[tuple[Place, JsonObject]]:
    """Yield each line's object, with its place. Raises InvalidJob as `readers` does."""
    for number, line in _lines(file):
        yield Place(file.path, number), parse(file.path, number, line)


def chunks(file: InputFile, schema: pa.Schema, _: Mark | None = None) -> Iterator[Chunk]:
    """Yield a file's rows in the columns of `schema`, whatever other keys they have."""
    path = file.path
    lines: list[bytes] = []
    size = first = 0
    for number, line in _lines(file):
        if lines and (len(lines) == BATCH_ROWS or size + len(line) > _CHUNK_BYTES):
            yield _chunk(path, first, lines, schema)
            lines, size = [], 0
        if not lines:
            first = number
        lines.append(line)
        size += len(line)
    if lines:
        yield _chunk(path, first, lines, schema)


def _chunk(path: str, first: int, lines: list[bytes], schema: pa.Schema) -> Chunk:
    return Chunk(len(lines), partial(_read, path, first, lines, schema), lambda index: Place(path, first + index))


def _read(path: str, first: int, lines: list[bytes], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows = [parse_again(path, number, line) for number, line in enumerate(lines, start=first)]
    columns = []
    for field in schema:
        try:
            if is_json(field):
                columns.append(json_array(row.get(field.name, ABSENT) for row in rows))
            else:
                columns.append(scalars([row[field.name] for row in rows], field.type))
        except (pa.ArrowException, KeyError, TypeError, ValueError, OverflowError) as error:
            raise input_error(f'{path}: column "{field.name}" is no longer {field.type} throughout') from error
    yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _lines(file: InputFile) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with their numbers, without line breaks, byte order mark, and blank lines at the end of the file.

    Raises InvalidJob at a blank line with more after it, and at a line of more than 64 MiB.
    """
    blank = 0
    number = 0
    for number, line in enumerate(_raw_lines(file), start=1):
        if not line.strip(_BLANKS):
            blank = blank or number
        elif blank:
            raise Place(file.path, blank).error("a blank line between the rows", "take it out")
        else:
            yield number, line


def _raw_lines(file: InputFile) -> Iterator[bytes]:
    carry: list[bytes] = []
    carried = 0
    first = True
    for piece in pieces(file):
        head, *rest = (piece.removeprefix(b"\xef\xbb\xbf") if first else piece).split(b"\n")
        first = False
        carry.append(head)
        carried += len(head)
        if rest:
            yield b"".join(carry)
            yield from rest[:-1]
            carry, carried = [rest[-1]], len(rest[-1])
        if carried > LINE_BYTES:
            limit = LINE_BYTES // 2**20
            raise input_error(f"{file.path}: a line is longer than {limit} MiB; is this one object a line?")
    if carried:
        yield b"".join(carry)
