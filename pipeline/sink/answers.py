"""The columns for structured answers: the parsed value, and the number of answers so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from pyarrow.json import ParseOptions, ReadOptions, read_json

from pipeline.expect import Expected
from pipeline.records import json_text
from pipeline.surrogates import well_formed

ERROR = b'"error_kind":'
"""What stands in the text of a record with an error."""

_ERRORS = ("error_kind", "error_message")
ANSWER_ATTEMPTS = pa.field("answer_attempts", pa.int32(), nullable=False)


def parsed_field(expected: Expected) -> pa.Field:
    """Return the column of the parsed values."""
    return pa.field("parsed", expected.expectation.type)


def as_answer(text: bytes) -> bytes:
    """Return the record of an answer that was invalid when it was recorded, and is valid by what is expected now."""
    return to_json({name: value for name, value in from_json(text).items() if name not in _ERRORS})


def answer_columns(expected: Expected, columns: Mapping[str, pa.Array], statuses: Sequence[str]) -> dict[str, pa.Array]:
    """Return these columns, made from those of the records. A row that failed has no parsed value."""
    answers = [
        (response if status == "succeeded" else None, truncated)
        for response, truncated, status in zip(
            columns["response"].to_pylist(), columns["truncated"].to_pylist(), statuses, strict=True
        )
    ]
    # An answer from before answers were counted was the first.
    counts = [
        int(response_type is not None) if count is None else count
        for count, response_type in zip(
            columns[ANSWER_ATTEMPTS.name].to_pylist(), columns["response_type"].to_pylist(), strict=True
        )
    ]
    counted = pa.py_buffer(np.array(counts, np.int32))
    return {
        "parsed": parsed_column(expected, answers),
        ANSWER_ATTEMPTS.name: pa.Array.from_buffers(ANSWER_ATTEMPTS.type, len(counts), [None, counted]),
    }


def parsed_column(expected: Expected, answers: Iterable[tuple[str | None, bool | None]]) -> pa.Array:
    """Return the value parsed from each answer, given as its text and whether it was truncated; null if invalid or
    missing.
    """
    schema = pa.schema([parsed_field(expected)])
    values = [expected.value(response, truncated=truncated) for response, truncated in answers]
    if not values:
        return schema.empty_table().column(0).combine_chunks()
    # Made without `pa.array`, which imports pandas.
    text = "\n".join(well_formed(json_text({"parsed": value})) for value in values).encode()
    table = read_json(
        pa.BufferReader(text),
        read_options=ReadOptions(use_threads=False, block_size=len(text) + 1),  # in one piece
        parse_options=ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    return table.column(0).combine_chunks()
