"""The answers so far in another shape, row by row."""

from __future__ import annotations

import base64
import csv
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from pipeline.errors import CheckpointFailed
from pipeline.records import Row
from pipeline.sink import Results
from pipeline.sources.identity import row_values
from pipeline.storage import LOCAL

# https://owasp.org/www-community/attacks/CSV_Injection; spreadsheets look behind leading blanks too.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@]")
_NUMBER = re.compile(r"[+-][0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def export(results: Results, to: str, path: Path, record: Callable[[Path], None]) -> int:
    """Write every row that has an outcome to `path`, whole or not at all. Returns the number of rows.

    Args:
        record: is told of the complete file before it is put at `path`; may raise OSError.

    Raises CheckpointFailed where the file cannot be written.
    """
    try:
        with (
            LOCAL.publish(path, results.journal.checkpoint_id, record) as draft,
            draft.open("w", encoding="utf-8", newline="") as file,
        ):
            return FORMATS[to](results, file)
    except OSError as error:
        raise CheckpointFailed(f"{path}: the export cannot be written: {error.strerror}") from error


def stream(results: Results, to: str, path: Path | None) -> int:
    """Write every row that has an outcome into a pipe or a device as it stands, or to stdout where there is no path.
    Returns the number of rows.

    Raises CheckpointFailed where it cannot be written to.
    """
    try:
        if path is not None:
            with path.open("w", encoding="utf-8", newline="") as file:
                return FORMATS[to](results, file)
        text = TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
        try:
            return FORMATS[to](results, text)
        finally:
            text.flush()
            text.detach()
    except OSError as error:
        raise CheckpointFailed(f"{path or 'stdout'}: the export cannot be written: {error.strerror}") from error


def _write_jsonl(results: Results, file: TextIO) -> int:
    rows = 0
    for row in _rows(results):
        file.write(_json(row) + "\n")
        rows += 1
    return rows


def _write_csv(results: Results, file: TextIO) -> int:
    """Nulls are empty cells; nested values are JSON text. No text, wherever it comes from, starts a formula."""
    writer = csv.writer(file)
    writer.writerow([safe_cell(name) for name in results.schema.names])
    rows = 0
    for row in _rows(results):
        writer.writerow([safe_cell(value) for value in row.values()])
        rows += 1
    return rows


def _rows(results: Results) -> Iterator[Row]:
    for batch in results.batches():
        yield from row_values(batch)


def safe_cell(value: Any) -> Any:
    """Return the value of a cell. A spreadsheet runs some texts as a formula; an apostrophe before them prevents that.
    Plain numbers stay as they are.
    """
    if isinstance(value, list | dict):
        return _json(value)
    if isinstance(value, bytes):
        return _base64(value)
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return "'" + value
    return value


def _json(value: Any) -> str:
    """JSON text of values of a row: bytes are Base64, what JSON has no form for is text, NaN and infinity are null."""
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, default=_plain, allow_nan=False)


def _plain(value: Any) -> str:
    return _base64(value) if isinstance(value, bytes) else str(value)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


FORMATS: dict[str, Callable[[Results, TextIO], int]] = {"jsonl": _write_jsonl, "csv": _write_csv}
