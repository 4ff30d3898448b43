"""The first rows of a job as a person reads them: what was asked, and what came back. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import pyarrow as pa
from msgspec import Struct

from pipeline.app.jobs.job import open_job
from pipeline.app.jobs.so_far import parts_of, results_of
from pipeline.config import Job
from pipeline.errors import InvalidInput
from pipeline.plan import FAILED, SUCCEEDED, Plan, Rows, UnsentFailure, settled, settled_positions
from pipeline.records import Message, Row, json_text
from pipeline.sink import AnyResults, GatheredResults, Results
from pipeline.sources.identity import row_values


class ShownRow(Struct, frozen=True):
    """A row with its outcome. `prompt` is what was asked, without the system prompt; None for a row that makes no
    request. `result` has the output's own columns by their names without prefix, `carried` the input's columns.
    """

    prompt: str | None
    result: Row
    carried: Row


def show(job: Job, *, count: int, failed: bool = False, row_id: str | None = None) -> list[ShownRow]:
    """Return the first `count` rows that have an outcome, in input order; of the failed ones only, or those of the
    input row with an id. They are of all shards, where the job was divided. Works while a run is under way.

    Raises:
        InvalidInput: nothing was run yet, no row with the id has an outcome, or as a run would.
        CheckpointFailed: the checkpoint cannot be trusted.
    """
    opened = open_job(job, for_sending=False)
    with parts_of(opened, amid_a_run=True) as parts:
        results = results_of(opened, parts, FAILED if failed else (*SUCCEEDED, *FAILED))
        if row_id is not None:
            found = _with_id(results, row_id)
            if not found:
                raise InvalidInput(f"no row with the id {row_id!r} has {'failed' if failed else 'an outcome'} so far")
        elif isinstance(results, GatheredResults):
            found = list(islice(_each(results), count))
        else:
            found = list(_at(results, list(islice(settled_positions(results.plan, results.states), count))))
        return [_shown(opened.rows, results, *one) for one in found]


_Found = tuple[int, pa.RecordBatch, pa.RecordBatch]
"""A row: its position, its input row, and the row of the output."""


def _with_id(results: AnyResults, row_id: str) -> list[_Found]:
    """Return the rows with an outcome that the input row with an id makes."""
    for part in results.known if isinstance(results, GatheredResults) else [results]:
        cells = _positions(part.rows, part.plan, row_id)
        positions = [one for one in cells if settled(part.plan, one, one + 1).states[0] in part.states]
        if positions:
            return list(_at(part, positions))
    return []


def _each(results: GatheredResults) -> Iterator[_Found]:
    for joined in results.joined():
        for index, position in enumerate(joined.positions.tolist()):
            yield position, joined.asked.slice(index, 1), joined.rows.slice(index, 1)


def _at(results: Results, positions: Sequence[int]) -> Iterator[_Found]:
    for position, (asked, row) in zip(positions, results.at(positions), strict=False):
        yield position, asked, row


def _positions(rows: Rows, plan: Plan, row_id: str) -> range:
    """Return the positions of the rows that the input row with an id makes."""
    for start, batch in rows.batches():
        stop = min(start + rows.count(batch), len(plan))
        ids = plan.row_ids(range(start, stop), rows.ids(start, batch)[: stop - start])[:: rows.cells]
        own = [rows.input_id(one) for one in ids]
        if row_id in own:
            first = start + own.index(row_id) * rows.cells
            return range(first, first + rows.cells)
    return range(0)


def _shown(rows: Rows, results: AnyResults, position: int, asked: pa.RecordBatch, joined: pa.RecordBatch) -> ShownRow:
    (values,) = row_values(asked)
    request, _ = rows.request(values, "", position)
    prompt = None if isinstance(request, UnsentFailure) else _text(request.messages)
    (row,) = joined.to_pylist()
    names = [results.prefix + field.name for field in results.fields]
    result = {name.removeprefix(results.prefix): row.pop(name) for name in names}
    return ShownRow(prompt, result, row)


def _text(messages: Sequence[Message]) -> str:
    """Return the messages without the system prompt, each with its role if there are several."""
    asked = [message for message in messages if message["role"] != "system"] or list(messages)
    texts = [_content(message) for message in asked]
    if len(asked) == 1:
        return texts[0]
    return "\n".join(f"{message['role']}: {text}" for message, text in zip(asked, texts, strict=True))


def _content(message: Message) -> str:
    content = message.get("content") or ""
    if "tool_calls" in message:
        return "\n".join(filter(None, [content if isinstance(content, str) else "", json_text(message["tool_calls"])]))
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] if "text" in part else f"[{part.get('type', 'part')}]" for part in content)
