"""Rows in the place of answers that nobody has asked for yet, so that the prompts made from them can be measured."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipeline.app.jobs.job import OpenJob
from pipeline.sink import output_schema

_SHORT = "x"
_KNOWN: dict[str, Any] = {"status": "succeeded", "response_type": "text", "finish_reason": "stop", "truncated": False}
_ABSENT = frozenset({"tool_calls", "reasoning", "error_kind", "error_message", "shared_from"})


def stand_ins(opened: OpenJob, rows: pa.Table, characters: int) -> pa.Table:
    """Return what the output of a job will be like for some rows of its input, one row each: succeeded, with an answer
    of this many characters. The texts within `parsed` share them; its numbers are 1, its lists have one item.
    """
    config = opened.job.config
    schema = output_schema(opened.rows, opened.rows.carried, config.output.prefix)
    carried = len(rows.schema.names) if opened.rows.carried is None else len(opened.rows.carried)
    choices = None if config.expect is None else config.expect.choices
    answer = _SHORT * characters if choices is None else max(choices, key=len)
    columns = []
    for index, field in enumerate(schema):
        if index < carried:
            columns.append(rows.column(field.name))
            continue
        name = field.name.removeprefix(config.output.prefix)
        value = answer if name == "response" else _KNOWN.get(name, _SHORT)
        if name == "parsed":
            value = answer[: max(1, len(answer) // max(1, _texts(field.type)))]
        made = None if name in _ABSENT else _KNOWN.get(name, _of_type(field.type, value))
        columns.append(pa.chunked_array([pa.array([made] * rows.num_rows, field.type)]))
    return pa.table(columns, schema=schema)


def _of_type(kind: pa.DataType, text: str) -> Any:
    """Return a value of an Arrow type; None for one that has none of the usual kinds."""
    if pa.types.is_struct(kind):
        return {field.name: _of_type(field.type, text) for field in kind}
    if pa.types.is_list(kind):
        return [_of_type(kind.value_type, text)]
    if pa.types.is_string(kind):
        return text
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Decimal(1) if pa.types.is_decimal(kind) else 1
    return None


def _texts(kind: pa.DataType) -> int:
    """Return how many texts a value of a type has."""
    if pa.types.is_struct(kind):
        return sum(_texts(field.type) for field in kind)
    return _texts(kind.value_type) if pa.types.is_list(kind) else int(pa.types.is_string(kind))
