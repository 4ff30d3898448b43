"""Everything that can be checked of a job without a call."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.app.jobs import checkpoint
from pipeline.app.jobs.caching import refuse_unusable_cache
from pipeline.app.jobs.columns import samples_of
from pipeline.app.jobs.inspection import inspect_job, wrong
from pipeline.app.jobs.locking import reading
from pipeline.app.jobs.machine import too_few_files
from pipeline.app.jobs.scratch import scratch
from pipeline.app.jobs.stores import written_mistakes
from pipeline.app.jobs.trial import TRIED_ROWS, first_rows, try_first_rows
from pipeline.config import Job, ParametersConfig, PromptConfig, in_order, read_job, variants
from pipeline.config.wire import make_endpoint
from pipeline.engines import Demand
from pipeline.errors import CheckpointFailed, InvalidJob, JobLocked, Mistake
from pipeline.images import Image
from pipeline.journal import Journal
from pipeline.plan import Rows, UnsentFailure, Variant, draft_plan
from pipeline.prompts import RequestBuilder, Trial
from pipeline.records import JsonObject, Row
from pipeline.sources import Source
from pipeline.wording import counted

_TRIAL_SECONDS = 60.0
"""How long rows are tried for at validation: TRIED_ROWS of them, unless they are slow."""


class ValidationResult(Struct, frozen=True):
    """A job without mistakes: the number of its rows, what came of trying the first of them, and the bodies of the
    first requests (for a row that makes none, why).
    """

    job: Job
    rows: int
    tried: Trial
    requests: list[JsonObject]


def validate(
    path: str | Path | JsonObject, overrides: Sequence[str] = (), show: int = 0, *, table: Any = None
) -> ValidationResult:
    """Check all that can be checked without a call, including the whole input and whatever prevents a run.

    Raises:
        InvalidJob: with every mistake.
        CheckpointFailed: the job is right, but its checkpoint cannot be trusted.
    """
    job, mistakes = read_job(path, overrides, table=table)
    if job is None:
        raise InvalidJob(mistakes)
    found = inspect_job(job, os.environ, known=mistakes)
    mistakes = list(found.mistakes)
    if not wrong(["output.path", "output.storage"], job.doubtful, mistakes):
        mistakes += written_mistakes(job)
    rows, tried = 0, Trial()
    if found.source is not None:
        rows, further = _count_rows(job, found.source, found.mistakes)
        mistakes += further
        if found.asked:
            source = found.source
            tried = try_first_rows(job, found.asked, lambda: _valid_rows(source), _TRIAL_SECONDS)
            mistakes += [one for one in tried.mistakes if one.key is None or not job.is_doubtful(one.key)]
    if (
        not wrong(["limits", "endpoint.url"], job.doubtful, mistakes)
        and (lack := too_few_files(Demand.of(job.config, rows))) is not None
    ):
        mistakes.append(Mistake(lack.message, key="limits.concurrency", suggestion=lack.remedy))
    try:
        _check_existing(job, mistakes)
    except InvalidJob as error:
        mistakes += error.mistakes
    except CheckpointFailed:
        if not mistakes:
            raise
    if mistakes or found.source is None or not found.asked:
        raise InvalidJob(in_order([job.placed(mistake) for mistake in mistakes], job.file))
    asked = Rows(found.source, (), found.asked, samples_of(job.config))
    return ValidationResult(job, rows, tried, _first_requests(job, asked, show))


def _count_rows(job: Job, source: Source, known: Sequence[Mistake]) -> tuple[int, Sequence[Mistake]]:
    """Return how many rows there are, and what is wrong with one of them or with their ids."""
    section, model = job.config.input, job.config.endpoint.model
    id_columns = () if wrong(["input.id"], job.doubtful, known) else section.id_columns
    # Nothing is asked for a plan without a journal, so any prompt will do, also where the job's is wrong.
    builder = RequestBuilder(PromptConfig(user="-"), ParametersConfig(), model, source.schema.names, {}, None)
    kind = job.config.endpoint.kind
    asked = tuple(Variant(builder, kind, model, one.name, one.mark) for one in variants(job.config))
    try:
        with (
            scratch(job.checkpoint_path) as directory,
            draft_plan(
                Rows(source, id_columns, asked, samples_of(job.config)),
                iter(()),
                directory,
                number=1,
                fingerprint="",
            ) as made,
        ):
            return len(made.plan), ()
    except InvalidJob as error:
        return 0, error.mistakes


def _valid_rows(source: Source) -> Iterator[Row]:
    with suppress(InvalidJob):  # said already, when they were counted
        yield from first_rows(source, TRIED_ROWS)


def _check_existing(job: Job, known: Sequence[Mistake]) -> None:
    """Raise what a run would, for the existing checkpoint, the cache and the file at the output's path."""
    if wrong(
        ["name", "checkpoint.path", "endpoint.url", "output.path", "output.overwrite", "cache"], job.doubtful, known
    ):
        return
    if job.config.cache is not None:
        refuse_unusable_cache(Path(job.config.cache.path))
    directory = job.checkpoint_path
    if not Journal.exists(directory):
        checkpoint.refuse_foreign_output(job, directory, None, allow_gathered=True)
        return
    with suppress(JobLocked), reading(job) as journal:  # a run under way has checked this itself
        checkpoint.refuse_foreign_output(job, directory, journal)


def _first_requests(job: Job, rows: Rows, count: int) -> list[JsonObject]:
    endpoint = make_endpoint(job.config.endpoint, "http://127.0.0.1" if job.config.endpoint.is_simulator else None)
    values = [row for row in first_rows(rows.source, -(-count // rows.cells)) for _ in range(rows.cells)][:count]
    requests: list[JsonObject] = []
    for request, _ in rows.requests(range(len(values)), values, [""] * len(values)):
        if isinstance(request, UnsentFailure):
            requests.append({"error_kind": request.kind, "error_message": request.message})
        else:
            requests.append(json.loads(json.dumps(endpoint.payload(request), default=_image_in_words)))
    return requests


def _image_in_words(image: Image) -> str:
    return f"data:{image.media_type};base64,… ({counted(len(image.data), 'byte')})"
