"""Exports for training: conversations, pairs of prompt and completion, pairs of preferred and rejected answers.

They have the forms that TRL reads (huggingface.co/docs/trl/dataset_formats).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import Any, BinaryIO

import pyarrow as pa
from msgspec import Struct

from pipeline.errors import InvalidInput
from pipeline.exports.cells import json_text
from pipeline.exports.fields import Field, find_field, may_be_number
from pipeline.exports.selection import Chosen
from pipeline.exports.text import as_text
from pipeline.records import JsonObject, Request, Row
from pipeline.sources.identity import row_values

NO_PAIR = "without a best and a worst answer"
ONE_SCORE = "with fewer than two answers that have a score"
NO_ANSWER = "without a prompt or an answer"


class Answered(Struct, frozen=True):
    """A request with its answer: the assistant's message, and what is wanted of its row."""

    request: Request
    answer: JsonObject
    row: Row

    @property
    def is_text(self) -> bool:
        """Whether the prompt is one text, and so is the answer."""
        (first, *others) = self.request.messages
        is_one = not others and first["role"] == "user" and isinstance(first.get("content"), str)
        return is_one and "tool_calls" not in self.answer and "tools" not in self.request.extra_body

    @property
    def prompt(self) -> Any:
        """The prompt as a text, or else its messages."""
        return self.request.messages[0]["content"] if self.is_text else list(self.request.messages)

    @property
    def completion(self) -> Any:
        """The answer in the prompt's form."""
        return self.answer["content"] or "" if self.is_text else [self.answer]


def write_messages(chosen: Chosen, file: BinaryIO) -> int:
    """Write a conversation for each row, the system prompt and all."""
    lines = (_with_tools({"messages": [*one.request.messages, one.answer]}, one) for one in _answered(chosen))
    return _write_lines(lines, file)


def write_prompt_completion(chosen: Chosen, file: BinaryIO) -> int:
    """Write a prompt and its completion for each row: texts where the prompt is one user message, else messages."""
    lines = (_with_tools({"prompt": one.prompt, "completion": one.completion}, one) for one in _answered(chosen))
    return _write_lines(lines, file)


def preference_writer(score: str | None) -> Callable[[Chosen, BinaryIO], int]:
    """Return the writer of pairs of a row's best and worst answer, by a column of the output or the input, or a field
    of one.
    """
    if score is None:
        raise InvalidInput("--to preference needs --score COLUMN, the column that says how good an answer is")

    def write(chosen: Chosen, file: BinaryIO) -> int:
        output = chosen.results.schema
        further = [one for one in chosen.results.rows.source.schema if one.name not in output.names]
        field = find_field(score, pa.schema([*output, *further]), chosen.results.prefix, "--score")
        if not may_be_number(field.type):
            words = f"{score!r} is never a number (its type is {field.type})"
            raise InvalidInput(f"--score: {words}; name a column or a field that is one")
        return _write_lines(_pairs(chosen, field), file)

    return write


def _pairs(chosen: Chosen, score: Field) -> Iterator[JsonObject]:
    row_id, variant = chosen.column("row_id"), chosen.column("variant")
    answered = _answered(chosen, row_id, variant, score.path[0])
    for _, samples in groupby(answered, lambda one: (one.row[row_id], one.row.get(variant))):
        scored = [(value, one) for one in samples if (value := _number(score.value(one.row))) is not None]
        if len(scored) < 2:
            chosen.left_out[ONE_SCORE] += 1
            continue
        (high, best), (low, worst) = (pick(scored, key=lambda pair: pair[0]) for pick in (max, min))
        if high == low:
            chosen.left_out[NO_PAIR] += 1
            continue
        pair = {"prompt": best.prompt, "chosen": best.completion, "rejected": worst.completion}
        yield _with_tools(pair, best)


def _number(value: Any) -> Decimal | None:
    """Return a number, or one that is written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        found = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _answered(chosen: Chosen, *further: str) -> Iterator[Answered]:
    """Yield the rows with what they asked; those without a prompt or an answer are counted as left out. They have the
    columns of the answer and `further` ones, of the output or else of the input, for most of the time goes into making
    Python's values of them.
    """
    status, answer = chosen.column("status"), (chosen.column("response"), chosen.column("tool_calls"))
    wanted = {status, *answer, *further}
    for part in chosen.parts():
        rows = part.rows.select([name for name in part.rows.schema.names if name in wanted])
        for name in wanted.intersection(part.asked().schema.names).difference(part.rows.schema.names):
            rows = rows.append_column(name, part.asked().column(name))
        for request, row in zip(part.requests(), row_values(rows), strict=True):
            if request is None or (row[status] == "failed" and all(row[name] is None for name in answer)):
                chosen.left_out[NO_ANSWER] += 1
            else:
                yield Answered(request, _assistant(row, chosen), row)


def _assistant(row: Row, chosen: Chosen) -> JsonObject:
    calls = row[chosen.column("tool_calls")]
    called = {} if calls is None else {"tool_calls": json.loads(calls)}
    return {"role": "assistant", "content": row[chosen.column("response")], **called}


def _with_tools(line: JsonObject, one: Answered) -> JsonObject:
    tools = one.request.extra_body.get("tools")
    return line if tools is None else {**line, "tools": tools}


def _write_lines(lines: Iterator[JsonObject], file: BinaryIO) -> int:
    rows = 0
    with as_text(file) as text:
        for line in lines:
            text.write(json_text(line) + "\n")
            rows += 1
    return rows
