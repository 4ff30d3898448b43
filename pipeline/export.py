"""The answers so far in another shape, row by row."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from pipeline.errors import CheckpointFailed
from pipeline.sink import Results, draft_path

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_FROM_ENDPOINT = ("response", "tool_calls", "error_message")


def export(results: Results, to: str, path: Path) -> int:
    """Write every row that has an outcome to `path`, whole or not at all. Returns the number of rows.

    Raises CheckpointFailed where the file cannot be written.
    """
    draft = draft_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8", newline="") as file:
            rows = FORMATS[to](results, file)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as error:
        raise CheckpointFailed(f"{path}: the export cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return rows


def _write_jsonl(results: Results, file: TextIO) -> int:
    rows = 0
    for row in _rows(results):
        file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
        rows += 1
    return rows


def _write_csv(results: Results, file: TextIO) -> int:
    """Nulls are empty cells; nested values are JSON text. What the endpoint sent never starts a formula."""
    guarded = {results.prefix + name for name in _FROM_ENDPOINT}
    writer = csv.writer(file)
    writer.writerow(results.schema.names)
    rows = 0
    for row in _rows(results):
        writer.writerow([_defused(value) if name in guarded else _cell(value) for name, value in row.items()])
        rows += 1
    return rows


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    for batch in results.batches():
        yield from pa.Table.from_batches([batch]).to_pylist()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value


def _defused(value: Any) -> Any:
    """A spreadsheet runs a cell that starts so as a formula; an apostrophe makes it text. Plain numbers stay."""
    if not isinstance(value, str) or not value.startswith(_FORMULA_STARTS):
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value


FORMATS: dict[str, Callable[[Results, TextIO], int]] = {"jsonl": _write_jsonl, "csv": _write_csv}
