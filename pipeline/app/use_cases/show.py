"""The first rows of a job as a person reads them: what was asked, and what came back. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import Struct

from pipeline.app.jobs.job import OpenJob, open_job
from pipeline.app.jobs.moment import at_a_moment
from pipeline.app.jobs.planning import plan_unsaved
from pipeline.config import Job
from pipeline.errors import InvalidInput
from pipeline.plan import FAILED, SUCCEEDED, Plan, UnsentFailure, settled, settled_positions
from pipeline.records import Message, Row, json_text
from pipeline.sink import Results
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
    input row with an id. Works while a run is under way.

    Raises:
        InvalidInput: nothing was run yet, no row with the id has an outcome, or as a run would.
        CheckpointFailed: the checkpoint cannot be trusted.
    """
    opened = open_job(job, for_sending=False)
    with at_a_moment(job) as (journal, _):
        plan = plan_unsaved(opened, journal)
        states = FAILED if failed else (*SUCCEEDED, *FAILED)
        if row_id is not None:
            positions = [
                one for one in _positions(opened, plan, row_id) if settled(plan, one, one + 1).states[0] in states
            ]
            if not positions:
                raise InvalidInput(f"no row with the id {row_id!r} has {'failed' if failed else 'an outcome'} so far")
        else:
            positions = list(islice(settled_positions(plan, states), count))
        results = Results(opened.rows, plan, journal, opened.carried, job.config.output.prefix, states)
        return list(_rows(opened, results, positions))


def _positions(opened: OpenJob, plan: Plan, row_id: str) -> range:
    """Return the positions of the rows that the input row with an id makes."""
    rows = opened.rows
    for start, batch in rows.batches():
        stop = min(start + rows.count(batch), len(plan))
        ids = plan.row_ids(range(start, stop), rows.ids(start, batch)[: stop - start])[:: rows.cells]
        own = [rows.input_id(one) for one in ids]
        if row_id in own:
            first = start + own.index(row_id) * rows.cells
            return range(first, first + rows.cells)
    return range(0)


def _rows(opened: OpenJob, results: Results, positions: Sequence[int]) -> Iterator[ShownRow]:
    for position, (batch, joined) in zip(positions, results.at(positions), strict=False):
        (values,) = row_values(batch)
        request, _ = opened.rows.request(values, "", position)
        prompt = None if isinstance(request, UnsentFailure) else _text(request.messages)
        (row,) = joined.to_pylist()
        names = [results.prefix + field.name for field in results.fields]
        result = {name.removeprefix(results.prefix): row.pop(name) for name in names}
        yield ShownRow(prompt, result, row)


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
