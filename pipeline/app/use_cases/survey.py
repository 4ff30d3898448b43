"""The rows that are to be sent, measured before they are, and what the journal shows of rows like them."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from pipeline.app.jobs.caching import reading_cache
from pipeline.app.jobs.job import OpenJob
from pipeline.catalogue import Terms
from pipeline.config import ParametersConfig, PromptConfig
from pipeline.errors import InvalidJob
from pipeline.estimate import MIN_ROWS, Measure, Part, Sample, Sizes, size
from pipeline.journal import Journal, State
from pipeline.plan import SUCCEEDED, TO_SEND, Plan, Rows, UnsentFailure, spread_rows
from pipeline.prompts import RequestBuilder
from pipeline.providers import UNBOUNDED
from pipeline.records import JsonObject, digest
from pipeline.runner import CachedAnswers

_MOST_ROWS = 2000
_OVER = (*SUCCEEDED, State.FAILED)


class _Known(Struct, frozen=True):
    """A row whose request is over: how it was made, its hash, and what it came to."""

    rows: Rows
    request_hash: str
    measure: Measure


def survey(
    opened: OpenJob, plan: Plan, journal: Journal | None, pilot_from: int = 0, *, learns: bool = False
) -> list[Part]:
    """Measure all requests that would be sent, and draw a sample of finished ones, by model and in one pass over the
    input.

    Where a pilot has sent enough rows, the sample is of those: rows whose last event has the number `pilot_from` or a
    later one. Else it is of all that the journal knows of the model, answers under former settings only where there
    are hardly others. Requests that the job's cache answers, or that wait in a batch, are not sent. `learns` draws it
    also where no request would be sent.
    """
    with reading_cache(opened.job, opened.rows.expected) as cached:
        return _survey(opened, plan, journal, pilot_from, cached, learns=learns)


def _survey(
    opened: OpenJob,
    plan: Plan,
    journal: Journal | None,
    pilot_from: int,
    cached: CachedAnswers | None,
    *,
    learns: bool,
) -> list[Part]:
    looks = bool(learns or plan.count(*TO_SEND))
    sizes = {model: Sizes(answers=opened.rows.most_answers) for model in opened.terms}
    known: dict[int, _Known] = {}
    is_drawn = False
    if journal is not None and looks:
        positions, is_drawn = _sampled(plan, pilot_from)
        known = _known(opened, plan, journal, positions)
    samples = {model: Sample(is_drawn) for model in opened.terms}
    sampled = np.asarray(sorted(known), np.int64)
    out = {(claim.row_id, claim.request_hash) for claim in journal.lines_out()} if journal is not None else set()
    wanted = [int(state) for state in TO_SEND]
    for start, batch in opened.rows.batches() if looks else ():
        stop = start + opened.rows.count(batch)
        is_sent = np.isin(plan.states(start, stop), wanted)
        if is_sent.any():
            part = opened.rows.part(start, batch, np.flatnonzero(is_sent))
            row_ids = plan.row_ids(part.positions, part.ids)
            for position, row_id, (request, request_hash) in zip(part.positions, row_ids, part.requests(), strict=True):
                if isinstance(request, UnsentFailure) or (row_id, request_hash) in out:
                    continue
                if cached is None or not cached.has(request, request_hash, opened.rows.cell(position)[1]):
                    sizes[request.model].add(request)
        first, last = np.searchsorted(sampled, (start, stop))
        if first < last:
            part = opened.rows.part(start, batch, sampled[first:last] - start)
            for position, values, content in zip(part.positions, part.values, part.contents, strict=True):
                row = known[position]
                request, request_hash = row.rows.request(values, content, position)
                if request_hash == row.request_hash and not isinstance(request, UnsentFailure):
                    samples[request.model].add(size(request), row.measure)
    return [
        Part(sizes[model], terms.price, samples[model], terms.chat_template) for model, terms in opened.terms.items()
    ]


def _sampled(plan: Plan, pilot_from: int) -> tuple[list[int], bool]:
    """Return the positions of the rows to learn from, and whether they were drawn at random."""
    choose = partial(spread_rows, plan, most=_MOST_ROWS)
    drawn = choose(_OVER, since=pilot_from) if pilot_from else []
    if len(drawn) >= MIN_ROWS:
        return drawn, True
    found: list[int] = []
    for states in (_OVER, (*_OVER, State.CHANGED)):
        if len(found) < MIN_ROWS:
            found = choose(states, since=1)
    return found, False


def _known(opened: OpenJob, plan: Plan, journal: Journal, positions: Collection[int]) -> dict[int, _Known]:
    """Return what the journal has of the rows at these positions, leaving out what nothing can be learned from."""
    found = journal.settings()
    by_settings = {number: _rows_of(opened, settings) for number, settings in found.items()}
    prices = {number: opened.terms.get(settings["model"], Terms(None)).price for number, settings in found.items()}
    by_event = {plan.event(position): position for position in positions}
    known: dict[int, _Known] = {}
    for (seq, _, _, state, _, request_hash, settings, *_), record in journal.records(sorted(by_event)):
        rows, measure = by_settings.get(settings), Measure.of(state, record, prices.get(settings))
        if rows is not None and measure is not None:
            known[by_event[seq]] = _Known(rows, request_hash, measure)
    return known


def _rows_of(opened: OpenJob, settings: JsonObject) -> Rows | None:
    """Return the input's rows with the requests of these settings; None for another model or missing columns."""
    rows, model = opened.rows, (settings["endpoint_kind"], settings["model"])
    if digest(settings) in map(digest, opened.settings):
        return rows
    if model not in [(asked.endpoint_kind, asked.model) for asked in rows.variants]:
        return None
    prompt, parameters = PromptConfig(**settings["prompt"]), ParametersConfig(**settings["parameters"])
    try:
        builder = RequestBuilder(
            prompt,
            parameters,
            settings["model"],
            rows.source.schema.names,
            UNBOUNDED,
            None,
            extra_body=settings.get("extra_body"),
            telling=None if rows.expected is None else rows.expected.telling,
        )
    except InvalidJob:
        return None
    as_then = (
        replace(asked, builder=builder) if (asked.endpoint_kind, asked.model) == model else asked
        for asked in rows.variants
    )
    return replace(rows, variants=tuple(as_then))
