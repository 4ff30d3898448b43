"""The result columns of an output, and how they are made from records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import get_args, get_type_hints

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.json import ParseOptions, ReadOptions, read_json

from pipeline.arrays import flags, strings
from pipeline.expect import Expected
from pipeline.journal.outcome import PUBLISHED, Outcome
from pipeline.sink.answers import ANSWER_ATTEMPTS, answer_columns, parsed_field

_STAMP = pa.timestamp("us", "UTC")
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), Decimal: pa.decimal128(18, 12)}
_NARROWER = {"attempts": pa.int32(), "http_status": pa.int32(), "started_at": _STAMP, "finished_at": _STAMP}
_HINTS = get_type_hints(Outcome)


def _column(name: str) -> pa.Field:
    """Return the column of a field of Outcome. It is nullable if the field may be None."""
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
_VARIANT = pa.field("variant", pa.string(), nullable=False)
RAW_REPLY = pa.field("raw_reply", pa.string())
_SAMPLE = pa.field("sample_index", pa.int32(), nullable=False)
SHARED_FROM = pa.field("shared_from", pa.string())
_OF_AN_ATTEMPT = ("latency_seconds", "started_at", "finished_at")
_ADDED_LATER = frozenset({"finish_reason", "reasoning", "cached_tokens", "reasoning_tokens", "served_model"})
KNOWN_NAMES = ("row_id", "status", "model", "request_hash")
"""The result columns that are not fields of a record."""
# The fields of a record as they are stored: timestamps are Unix seconds.
_RECORD_SCHEMA = pa.schema(
    field.with_type(pa.float64()) if pa.types.is_timestamp(field.type) else field
    for field in RESULT_FIELDS
    if field.name not in KNOWN_NAMES
)
# A million, made without `pa.scalar`, which imports pandas.
_MICROSECONDS = pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(np.array([1e6]))])[0]


def result_fields(
    *,
    has_variants: bool = False,
    has_samples: bool,
    expected: Expected | None = None,
    has_replies: bool = False,
    shares: bool = False,
) -> list[pa.Field]:
    """Return the columns that an output has beside the input's own, without its prefix."""
    behind: dict[str, list[pa.Field]] = {
        "row_id": [*([_VARIANT] if has_variants else []), *([_SAMPLE] if has_samples else [])]
    }
    if expected is not None:
        behind |= {"response_type": [parsed_field(expected)], "attempts": [ANSWER_ATTEMPTS]}
    if has_replies:
        behind["request_hash"] = [RAW_REPLY]
    if shares:
        behind["cost_usd"] = [SHARED_FROM]
    return [one for field in RESULT_FIELDS for one in (field, *behind.get(field.name, ()))]


def with_shared(columns: Mapping[str, pa.Array], payers: Sequence[str | None]) -> dict[str, pa.Array]:
    """Return the columns of rows of which some share the outcome of another: for each its `row_id`, else None. Those
    have sent nothing, and cost nothing.
    """
    count = len(payers)
    shared = flags([payer is not None for payer in payers])
    failed = pc.equal(columns["status"], strings(["failed"] * count))
    nothing = {name: pa.nulls(count, columns[name].type) for name in (*_OF_AN_ATTEMPT, "cost_usd")}
    free = pa.Array.from_buffers(columns["cost_usd"].type, count, [None, pa.py_buffer(bytes(16 * count))])
    nothing["cost_usd"] = pc.if_else(failed, nothing["cost_usd"], free)
    nothing["attempts"] = pa.Array.from_buffers(pa.int32(), count, [None, pa.py_buffer(bytes(4 * count))])
    found = {name: pc.if_else(shared, value, columns[name]) for name, value in nothing.items()}
    names = pc.if_else(shared, strings([payer or "" for payer in payers]), columns[SHARED_FROM.name])
    return {**columns, **found, SHARED_FROM.name: names}


def cell_columns(variants: list[str], samples: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
    """Return the columns that tell the rows of one input row apart."""
    numbers = pa.py_buffer(samples.astype(np.int32))
    return {
        _VARIANT.name: strings(variants),
        _SAMPLE.name: pa.Array.from_buffers(_SAMPLE.type, len(samples), [None, numbers]),
    }


def result_columns(
    text: bytes,
    known: Mapping[str, pa.Array],
    expected: Expected | None,
    *,
    has_replies: bool = False,
    shares: bool = False,
) -> dict[str, pa.Array]:
    """Return the columns of RESULT_FIELDS, those of what is expected, of the replies and of what is shared, from the
    record of each row as a line of JSON, and KNOWN_NAMES by column.
    """
    schema = _RECORD_SCHEMA if expected is None else _RECORD_SCHEMA.append(ANSWER_ATTEMPTS.with_nullable(True))
    further = [*([RAW_REPLY] if has_replies else []), *([SHARED_FROM] if shares else [])]
    schema = pa.schema([*schema, *further])
    table = (
        read_json(
            pa.BufferReader(text),
            read_options=ReadOptions(use_threads=False, block_size=len(text) + 1),  # in one piece
            parse_options=ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        if text
        else schema.empty_table()
    )
    # Each call of Arrow lets go of the interpreter lock, and has to wait for it again: there are few.
    chunks = table.to_batches()
    (columns,) = [dict(zip(schema.names, one.columns, strict=True)) for one in chunks] or [_no_columns(schema)]
    for name in ("started_at", "finished_at"):
        columns[name] = pc.round(pc.multiply(columns[name], _MICROSECONDS)).cast(pa.int64())
    answers = {} if expected is None else answer_columns(expected, columns, known["status"].to_pylist())
    answers |= {field.name: columns[field.name] for field in further}
    columns.update(known)
    return {**{field.name: _as(field.type, columns[field.name]) for field in RESULT_FIELDS}, **answers}


def _as(kind: pa.DataType, column: pa.Array) -> pa.Array:
    return column if column.type == kind else column.cast(kind)


def _no_columns(schema: pa.Schema) -> dict[str, pa.Array]:
    return {
        name: column.combine_chunks() for name, column in zip(schema.names, schema.empty_table().columns, strict=True)
    }


def result_names(names: Sequence[str], prefix: str) -> list[str]:
    """Return the names, without the prefix, of the result columns among an output's names; none if some are missing.

    Outputs of earlier versions lack columns that were added later; an input column of theirs may have such a name.
    """
    start = prefix + RESULT_NAMES[0]
    block = set(names[names.index(start) :]) if start in names else set()
    known = [*result_fields(has_variants=True, has_samples=True, shares=True), ANSWER_ATTEMPTS, RAW_REPLY]
    found = [field.name for field in known if prefix + field.name in block]
    return found if set(RESULT_NAMES) - set(found) <= _ADDED_LATER else []
