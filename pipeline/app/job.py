"""A job file with everything it names opened and checked, before anything is sent or written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.app.inspection import inspect_job, needs_max_tokens, samples_of
from pipeline.app.pricing import price_of
from pipeline.catalogue import ChatTemplate, Model, Price
from pipeline.config import Job, read_job
from pipeline.errors import InvalidJob
from pipeline.expect import Telling
from pipeline.plan import Rows, Variant
from pipeline.records import JsonObject, Row, digest
from pipeline.sources import Source, fingerprint

PLAN_VERSION = 2
TRIED_ROWS = 1000
"""Rows whose requests are made before anything is sent, to see whether they can be."""


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that is fit to run: its rows, the model's facts, and the settings that its requests are made under."""

    job: Job
    rows: Rows
    model: Model | None
    price: Price | None

    @property
    def settings(self) -> JsonObject:
        """What makes finished rows changed when it changes: endpoint kind, model, prompt, parameters, extra body, and
        what the answers have to be.
        """
        config = self.job.config
        return {
            "endpoint_kind": config.endpoint.kind,
            "model": config.endpoint.model,
            "prompt": config.prompt.model_dump(exclude_none=True, exclude={"constant", "samples"}),
            "parameters": config.parameters.model_dump(exclude_none=True),
            **({"extra_body": config.endpoint.extra_body} if config.endpoint.extra_body else {}),
            **({} if self.rows.expected is None else {"expect": dict(self.rows.expected.facts)}),
        }

    @property
    def fingerprint(self) -> str:
        """Names the input and the settings: where it is unchanged, so is every row's request."""
        config = self.job.config.input
        reading = [config.format, config.id, config.csv.model_dump()]
        if config.where is not None:
            reading.append(config.where)
        needed: list[Any] = ["max_tokens"] if needs_max_tokens(self.job.config) else []
        if self.rows.cells > 1:
            needed.append({"samples": self.rows.samples})
        return digest([PLAN_VERSION, fingerprint(self.rows.source), reading, self.settings, *needed])

    @property
    def telling(self) -> Telling | None:
        """How the endpoint is told what the answers have to be."""
        return None if self.rows.expected is None else self.rows.expected.telling

    @property
    def answers(self) -> int:
        """The most answers that a row is asked for."""
        return 1 if self.rows.expected is None else self.rows.expected.attempts

    @property
    def chat_template(self) -> ChatTemplate | None:
        """What the model's chat template adds, as far as known."""
        return self.model.chat_template if self.model else None

    @property
    def context_window(self) -> int | None:
        """Tokens the model can take, as far as known."""
        return self.model.context_window if self.model else None


def load_job(path: str | Path | JsonObject, overrides: Sequence[str] = (), *, table: Any = None) -> Job:
    """Read a job. Where it has mistakes, what can still be looked at is, so that all show in one go. Takes the
    arguments of `pipeline.config.read_job`.

    Raises:
        InvalidJob: with every mistake, those of the input and the templates included.
    """
    job, mistakes = read_job(path, overrides, table=table)
    if job is not None and mistakes:
        raise InvalidJob(inspect_job(job, os.environ, known=mistakes).mistakes)
    if job is None:
        raise InvalidJob(mistakes)
    return job


def open_job(job: Job, environ: Mapping[str, str] | None = None, *, for_sending: bool = True) -> OpenJob:
    """Open and check everything that a job names; sends and writes nothing.

    Args:
        for_sending: check also what only sending needs: the key, and that what a run writes can be written.

    Raises:
        InvalidJob: with every mistake that could be found.
    """
    found = inspect_job(job, os.environ if environ is None else environ, for_sending=for_sending)
    if found.mistakes or found.source is None or found.prompter is None:
        raise InvalidJob(found.mistakes)
    config = job.config
    asked = Variant(found.prompter, config.endpoint.kind, config.endpoint.model)
    rows = Rows(found.source, config.input.id, (asked,), samples_of(config), config.input.columns, found.expected)
    return OpenJob(job, rows, config.model_facts, price_of(config))


def try_templates(opened: OpenJob) -> None:
    """Make the requests of the first rows, under a watch.

    Raises InvalidJob where a template spins, every one of them fails, or all of them are the same: then it is the job
    that is wrong.
    """
    most_tokens = opened.job.config.limits.tokens_per_minute
    (asked,) = opened.rows.variants
    tried = asked.prompter.trial(first_rows(opened.rows.source, TRIED_ROWS), most_tokens=most_tokens)
    if tried.mistakes:
        raise InvalidJob([opened.job.placed(mistake) for mistake in tried.mistakes])


def first_rows(source: Source, count: int) -> Iterator[Row]:
    """Yield the first rows of the input as Python values."""
    from pipeline.sources.identity import row_values

    for batch in source.batches():
        taken = batch.slice(0, count)
        yield from row_values(taken)
        count -= taken.num_rows
        if count <= 0:
            return
