"""One job of a chain, planned before the job that it reads is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from pipeline.app.jobs.job import OpenJob, open_job
from pipeline.app.jobs.quick_estimate import rounded_usd, scaled
from pipeline.app.running.options import RunOptions
from pipeline.app.use_cases.forecast import LookedOver, look_over
from pipeline.app.use_cases.needs import Needs, Stage
from pipeline.app.use_cases.stand_ins import stand_ins
from pipeline.app.use_cases.survey import survey
from pipeline.config import Job
from pipeline.estimate import (
    BOUNDS,
    BYTES_A_TOKEN,
    MIN_ROWS,
    Estimate,
    Part,
    Range,
    Sizes,
    estimate_parts,
    share_range,
)
from pipeline.journal import Journal
from pipeline.plan import Counts, Plan, UnsentFailure
from pipeline.sink import Results, output_schema
from pipeline.wording import counted

_SAMPLE_ROWS = 200
_T = TypeVar("_T", int, float, Decimal)


class PlannedStage(Struct, frozen=True):
    """A stage with what the next one can know of its output: the rows that have an outcome, in the file at `path` (None
    where that is complete), how many of them, and how many are yet to come; and how long an answer will be, by bound.
    """

    stage: Stage
    opened: OpenJob
    before: PlannedStage | None
    path: Path | None
    settled: int
    coming: Range[float]
    answer_tokens: Mapping[str, float]

    @property
    def is_known(self) -> bool:
        """Whether enough rows of the input exist to tell what further ones will be like."""
        return self.before is None or _are_enough(self.opened, self.stage.rows)

    def imagined(self, bound: str) -> pa.Table:
        """Return what rows of the output may be like."""
        if self.before is not None and not self.is_known:
            rows = self.before.imagined(bound)
        else:
            source = self.opened.rows.source
            first = next(source.batches(), None)
            rows = pa.Table.from_batches([] if first is None else [first.slice(0, _SAMPLE_ROWS)], source.schema)
        characters = round(self.answer_tokens[bound] * BYTES_A_TOKEN[bound])
        return stand_ins(self.opened, rows, max(1, characters))


def plan_stage(job: Job, before: PlannedStage | None, path: Path | None) -> PlannedStage:
    """Plan one job.

    Args:
        before: the job that it reads, where that is not complete.
        path: where to put the rows of this job that have an outcome, for the job that reads them.

    Raises as `plan_chain` does.
    """
    opened = open_job(job if before is None else _on_file(job, before.path), for_sending=False)
    with _Settled(opened, path) as settled:
        found = look_over(opened, RunOptions(), partial(_measured, settled, learns=before is not None))
    if before is None:
        further: _Further | None = None
        to_come = Range(0, 0, 0)
        estimates = dict.fromkeys(BOUNDS, estimate_parts(found.parts, job.config.limits))
    else:
        further = _Further(opened, found, before)
        to_come = further.rows
        estimates = {bound: further.estimate(bound) for bound in BOUNDS}
    one = estimates["expected"]
    requests = sum(part.sizes.requests for part in found.parts)
    is_measured = further is None or further.is_measured
    needs = Needs(
        to_come.map(lambda rows: requests + rows),
        _bounds(estimates, lambda found: found.prompt_tokens) if is_measured else None,
        _bounds(estimates, lambda found: found.completion_tokens) if is_measured else None,
        _cost(estimates) if is_measured else None,
        _bounds(estimates, lambda found: found.seconds).map(lambda s: round(s, 1)) if is_measured else None,
        found.spent_usd,
    )
    words = "; ".join([one.assumptions, *(further.words() if further is not None else ())])
    stage = Stage(job.config.name, job.file, job.config.endpoint.is_simulator, found.rows, to_come, needs, words)
    if not one.requests and path is not None:  # all may be in batches, whose answers will be like others
        estimates = dict.fromkeys(BOUNDS, _first_requests(opened, found))
    tokens = {bound: getattr(of.completion_tokens, bound) / max(1, of.requests) for bound, of in estimates.items()}
    pending = found.rows.total - settled.rows
    return PlannedStage(stage, opened, before, path, settled.rows, to_come.map(lambda n: float(pending + n)), tokens)


def _on_file(job: Job, path: Path | None) -> Job:
    """Return a job with the rows of another one that have an outcome as its input."""
    section = job.config.input.model_copy(update={"path": str(path)})
    return replace(job, config=job.config.model_copy(update={"input": section}), source_job=None)


def _on_table(job: Job, table: pa.Table) -> Job:
    """Return a job with some rows as its input, each of which it chooses."""
    section = job.config.input.model_copy(update={"where": None})
    return replace(job, config=job.config.model_copy(update={"input": section}), table=table)


def _are_enough(opened: OpenJob, rows: Counts) -> bool:
    return rows.total // opened.rows.cells >= MIN_ROWS


class _Settled:
    """The rows of a job that have an outcome, written to a file in the form of its output; nowhere without a path."""

    def __init__(self, opened: OpenJob, path: Path | None) -> None:
        schema = output_schema(opened.rows, opened.rows.carried, opened.job.config.output.prefix)
        self._writer = None if path is None else pq.ParquetWriter(path, schema)
        self.rows = 0

    def __enter__(self) -> _Settled:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, part: OpenJob, plan: Plan, journal: Journal) -> None:
        """Take in the rows of a shard, or of the whole job."""
        if self._writer is None:
            return
        for batch in Results(part.rows, plan, journal, part.rows.carried, part.job.config.output.prefix).batches():
            self._writer.write_batch(batch)
            self.rows += batch.num_rows


def _measured(settled: _Settled, part: OpenJob, plan: Plan, journal: Journal | None, *, learns: bool) -> list[Part]:
    if journal is not None:
        settled.add(part, plan, journal)
    return survey(part, plan, journal, learns=learns)


class _Further:
    """The requests for the rows that the job before is yet to make, as many as there will be."""

    def __init__(self, opened: OpenJob, found: LookedOver, before: PlannedStage) -> None:
        self._opened = opened
        self._found = found
        self._before = before
        self._share = self._kept()
        self._inputs = Range(*(getattr(before.coming, b) * getattr(self._share, b) for b in BOUNDS))
        self._is_known = _are_enough(opened, found.rows)
        self.is_measured = True

    @property
    def rows(self) -> Range[int]:
        """How many rows there will be."""
        return self._inputs.map(lambda inputs: round(inputs * self._opened.rows.cells))

    def _kept(self) -> Range[float]:
        """Return the share of the rows that `input.where` keeps."""
        if self._opened.job.config.input.where is None:
            return Range(1.0, 1.0, 1.0)
        if self._before.settled < MIN_ROWS:
            return Range(0.0, 1.0, 1.0)
        return share_range(self._found.rows.total // self._opened.rows.cells, self._before.settled)

    def estimate(self, bound: str) -> Estimate:
        """Return the estimate of these requests together with those for the rows that there are."""
        limits, inputs = self._opened.job.config.limits, getattr(self._inputs, bound)
        if not inputs:
            return estimate_parts(self._found.parts, limits)
        opened = self._opened
        if not self._is_known:
            opened = open_job(_on_table(opened.job, self._before.imagined(bound)), for_sending=False)
        sizes = _measure(opened)
        asked = sum(one.requests for one in sizes.values())
        self.is_measured = self.is_measured and asked > 0
        times = inputs * opened.rows.cells / max(1, asked)
        sizes = {model: scaled(size, times) for model, size in sizes.items()}
        return estimate_parts([*self._found.parts, *_as_parts(opened, self._found, sizes)], limits)

    def words(self) -> Iterable[str]:
        """Yield what the figures rest on."""
        rows, name = self.rows, self._before.stage.job
        if not rows.high:
            return
        yield f"{rows.expected:,} rows ({rows.low:,} to {rows.high:,}) are yet to come from {name}"
        if self._opened.job.config.input.where is not None:
            share = self._share.map(lambda part: f"{part:.0%}")
            known = f"as of {counted(self._before.settled, 'row')} so far" if self._is_known else "nothing is known yet"
            yield f"`input.where` keeps {share.expected} ({share.low} to {share.high}) of them, {known}"
        if not self.is_measured:
            yield "their prompts cannot be made without the answers before them"
        elif self._is_known:
            yield "their prompts are taken to be like those of the rows so far"
        else:
            yield f"their prompts are measured with made-up answers, as long as {name}'s are estimated to be"


def _first_requests(opened: OpenJob, found: LookedOver) -> Estimate:
    """Return the estimate of the requests for the first rows of the input, whatever has become of them."""
    return estimate_parts(_as_parts(opened, found, _measure(opened)), opened.job.config.limits)


def _as_parts(opened: OpenJob, found: LookedOver, sizes: Mapping[str, Sizes]) -> list[Part]:
    """Return requests of these sizes to each model, with what was learned of others to it."""
    learned = dict(zip(opened.terms, (part.sample for part in found.parts), strict=False))
    return [
        Part(sizes[model], terms.price, learned[model], terms.chat_template) for model, terms in opened.terms.items()
    ]


def _measure(opened: OpenJob) -> dict[str, Sizes]:
    """Return the sizes of the requests for the first rows of the input, by model."""
    sizes = {model: Sizes(answers=opened.rows.most_answers) for model in opened.terms}
    for start, batch in opened.rows.batches():
        few = batch.slice(0, _SAMPLE_ROWS)
        for request, _ in opened.rows.part(start, few, np.arange(opened.rows.count(few))).requests():
            if not isinstance(request, UnsentFailure):
                sizes[request.model].add(request)
        break
    return sizes


def _bounds(estimates: Mapping[str, Estimate], figure: Callable[[Estimate], Range[_T]]) -> Range[_T]:
    return Range(*(getattr(figure(estimates[bound]), bound) for bound in BOUNDS))


def _cost(estimates: Mapping[str, Estimate]) -> Range[Decimal] | None:
    costs = [one.cost_usd for one in estimates.values()]
    known = [getattr(cost, bound) for cost, bound in zip(costs, estimates, strict=True) if cost is not None]
    return rounded_usd(Range(*known)) if len(known) == len(costs) else None
