"""JSONL files: one object a line. A first pass finds the columns and their types, a second gives the rows.

The columns are the keys of all files' objects, in order of first sight. A column whose values are all of one scalar
type has it in the output (bool, int64, double, string; string too where all are null). Where types are mixed (an
integer beside a float too), values are lists or objects, or an integer does not fit into int64, the whole column is
JSON text there. Absent and null are null there.

A row's prompt, id and key depend on that row alone. So where the output's column does not tell what the row says (the
column is JSON text there, or some row lacks the key), the batches hold it as `json_columns` describes.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline.errors import InvalidJob
from pipeline.records import JsonObject
from pipeline.sources.chunks import BATCH_BYTES, BATCH_ROWS, Chunk, FileReader, Mark
from pipeline.sources.files import InputFile, watched
from pipeline.sources.json_columns import ABSENT, MAX_LEVELS, Written, is_json, json_array, json_field
from pipeline.sources.places import Place, input_error
from pipeline.sources.streams import pieces

LINE_BYTES = 64 * 2**20
JSON_TEXT = "JSON text"

_MOST_FORMS = 1000
_CHUNK_BYTES = BATCH_BYTES // 4
_BLANKS = b" \t\r"
_TYPES = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string()}
_TOO_DEEP = f"nested too deeply: more than {MAX_LEVELS} levels"
_ONE_OBJECT = 'each line holds one object, such as {"question": "…"}'
# An escape of a surrogate pair, half a pair (the group), or any other escape.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def readers(files: Sequence[InputFile]) -> list[FileReader]:
    """Read every file once, for the columns that they have together.

    Raises InvalidJob, with the line, at what is not a JSON object, a duplicate key, NaN or Infinity.
    """
    columns = _Columns()
    for file in files:
        with watched(file):
            for number, line in _lines(file):
                columns.add(_parse(file.path, number, line))
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
        yield Place(file.path, number), _parse(file.path, number, line)


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
    rows = [_parse(path, number, line, _KNOWN.decode) for number, line in enumerate(lines, start=first)]
    columns = []
    for field in schema:
        try:
            if is_json(field):
                columns.append(json_array(row.get(field.name, ABSENT) for row in rows))
            else:
                columns.append(pa.array([row[field.name] for row in rows], type=field.type))
        except (pa.ArrowException, KeyError, TypeError, ValueError, OverflowError) as error:
            raise input_error(f'{path}: column "{field.name}" is no longer {field.type} throughout') from error
    yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _parse(path: str, number: int, line: bytes, decode: Callable[[str], Any] | None = None) -> dict[str, object]:
    """Return the object of a line, by `decode` if it is known to be sound."""
    try:
        text = line.decode("utf-8")
        if "\\u" in text:
            # Half a surrogate pair is not text; it becomes U+FFFD, before keys are compared.
            text = _ESCAPE.sub(lambda escape: "\\ufffd" if escape[1] else escape[0], text)
        value = (decode or _DECODER.decode)(text)
    except (ValueError, _Refused, RecursionError) as error:
        raise _refusal(Place(path, number), line, error) from error
    if isinstance(value, list):
        message = "not a JSON object but an array"
        raise Place(path, number).error(message, "write each item on a line: `jq -c '.[]'`")
    if not isinstance(value, dict):
        raise Place(path, number).error("not a JSON object", _ONE_OBJECT)
    if line.count(b"[") + line.count(b"{") > MAX_LEVELS and _levels(value) > MAX_LEVELS:
        raise Place(path, number).error(_TOO_DEEP)
    return value


def _refusal(place: Place, line: bytes, error: Exception) -> InvalidJob:
    """Return what is wrong with a line, given the error at decoding it."""
    if isinstance(error, UnicodeDecodeError):
        return place.error(f"not UTF-8: {error.reason}", "JSON is UTF-8; convert the file")
    if isinstance(error, json.JSONDecodeError):
        spread = place.number == 1 and line.strip() in (b"[", b"{")
        hint = (
            "it is spread over lines; write each object on one: `jq -c '.[]'` or `jq -c .`" if spread else _ONE_OBJECT
        )
        return place.error(f"not JSON: {error.msg} (column {error.colno})", hint)
    if isinstance(error, _Refused):
        return place.error(str(error))
    if isinstance(error, RecursionError):
        return place.error(_TOO_DEEP)
    return place.error("an integer is too long", "write it as a string")  # Python's own limit on digits


def _levels(value: dict[str, object]) -> int:
    """Return how deep the lists and objects of a row are nested."""
    levels = 0
    within: list[Any] = [value]
    while within:
        levels += 1
        values = (item for one in within for item in (one.values() if isinstance(one, dict) else one))
        within = [item for item in values if isinstance(item, (dict, list))]
    return levels


class _Refused(Exception):
    """Why a piece of JSON is not taken."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        duplicate = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _Refused(f'the key "{duplicate}" occurs twice in one object')
    return value


def _constant(name: str) -> float:
    raise _Refused(f"{name} is not JSON; write null")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _Refused("a number is beyond what a double can hold; write it as a string")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
_KNOWN = json.JSONDecoder(parse_constant=_constant, parse_float=_float)
"""Takes a third of the time for lines that have been read before: no key of theirs occurs twice."""


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
