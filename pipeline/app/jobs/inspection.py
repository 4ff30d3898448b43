"""Everything that a job names, opened and checked as far as its mistakes allow, so that all of them show in one go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct, structs

from pipeline.app.jobs.division import division_mistakes
from pipeline.app.jobs.expecting import expected_of
from pipeline.app.jobs.material import read_variants
from pipeline.app.jobs.paths import path_mistakes
from pipeline.app.jobs.source_job import source_mistakes
from pipeline.app.jobs.stores import store_mistakes
from pipeline.catalogue import Model
from pipeline.config import Job, JobConfig, environment_mistakes, in_order, variants
from pipeline.config.models import InputConfig
from pipeline.errors import InvalidJob, Mistake
from pipeline.expect import Expected
from pipeline.plan import Variant
from pipeline.prompts import (
    BodyBuilder,
    Builder,
    PromptFailure,
    RequestBuilder,
    condition_mistakes,
    template_mistakes,
)
from pipeline.providers import UNBOUNDED, ParameterValues
from pipeline.sink import result_fields, unwritable
from pipeline.sources import ChosenRows, Source, TableSource, Undecided, column_mistakes, open_source, rows_of
from pipeline.sources.batch_requests import BODY_COLUMN, ID_COLUMN
from pipeline.sources.files import find_files
from pipeline.sources.identity import row_values
from pipeline.storage import split_uri

_CSV_RESTS_ON = ("input.csv.delimiter", "input.csv.encoding")
_WHERE = "input.where"
_OTEL_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_KEY_RESTS_ON = ("endpoint.kind", "endpoint.url", "endpoint.api_key_env")


class Inspection(Struct, frozen=True):
    """What was found: every mistake, at its place. The input and the request builder are None if they cannot be used;
    `expected` is None if nothing is expected of the answers.
    """

    mistakes: tuple[Mistake, ...]
    source: Source | None
    asked: tuple[Variant, ...]
    expected: Expected | None


def inspect_job(
    job: Job, environ: Mapping[str, str], *, for_sending: bool = True, known: Sequence[Mistake] = ()
) -> Inspection:
    """Open and check everything that a job names; sends and writes nothing.

    Args:
        for_sending: check also what only sending needs: the key, the packages, and that what a run writes can be
            written.
        known: the mistakes of the job file itself; what only follows from one of them is left out.
    """
    source, mistakes = _open(job)
    expected, unfit = expected_of(job.config)
    if for_sending and not wrong(_KEY_RESTS_ON, job, known):
        mistakes += environment_mistakes(job, environ)
    if for_sending:
        mistakes += path_mistakes(job)
        mistakes += store_mistakes(job)
        mistakes += division_mistakes(job)
        mistakes += _missing_packages(job.config)
    if source is not None and not wrong(("output.prefix", "input.columns"), job, known):
        mistakes += _clashes(job.config, source, expected)
        mistakes += _unwritable(job, source)
    asked, found = _asked(job, source)
    further = [
        job.placed(one) for one in (*mistakes, *unfit, *found) if one.key is None or not wrong([one.key], job, known)
    ]
    return Inspection(tuple(in_order([*known, *further], job.file)), source, asked, expected)


def wrong(keys: Sequence[str], job: Job | None, mistakes: Sequence[Mistake]) -> bool:
    """Return whether something is wrong with one of these keys, or below it."""
    for key in keys:
        if job is not None and job.is_doubtful(key):
            return True
        if any(one.key is not None and f"{one.key}.".startswith(f"{key}.") for one in mistakes):
            return True
    return False


def carried_columns(config: JobConfig, columns: Sequence[str]) -> Sequence[str] | None:
    """Return which of the input's columns the output has; None for all. Images are carried only if they are named."""
    if config.input.has_bodies and config.input.columns is None:
        return [ID_COLUMN]
    images = config.prompt.images
    if config.input.columns is not None or images is None:
        return config.input.columns
    return [name for name in columns if name not in images]


def samples_of(config: JobConfig) -> int | None:
    """Return how many answers the job asks for each row; None if it does not say."""
    return config.prompt.samples if "samples" in config.prompt.model_fields_set else None


def needs_max_tokens(config: JobConfig) -> bool:
    """Return whether a row without max_tokens could cost any amount, under a cap that has to hold."""
    limits, model = config.limits, config.model_facts
    return model is None and (limits.max_cost_usd is not None or limits.max_run_cost_usd is not None)


def _open(job: Job) -> tuple[Source | None, list[Mistake]]:
    section = job.config.input
    if job.is_doubtful("input.path"):
        return None, []
    if job.source_job is not None and (found := list(source_mistakes(job.source_job))):
        return None, [*found, *condition_mistakes(section.where)]
    if section.has_bodies and job.table is not None:
        suggestion = "leave it out, or name the file in `input.path`"
        return None, [Mistake("a frame is no file of requests", key="input.format", suggestion=suggestion)]
    if any(map(job.is_doubtful, _CSV_RESTS_ON)):
        return None, [*_missing_files(section), *condition_mistakes(section.where)]
    try:
        # A wrong id or column must not hide what is wrong with the templates.
        whole = section.model_copy(update={"id": None, "columns": None})
        source = (
            open_source(whole, _models(job.config), job.checkpoint_path)
            if job.table is None
            else TableSource(job.table)
        )
    except InvalidJob as error:
        # Where the format is wrong, the files are read by their endings; that this fails may follow from the format.
        unread = _missing_files(section) if job.is_doubtful("input.format") else error.mistakes
        return None, [*unread, *condition_mistakes(section.where)]
    mistakes = column_mistakes(source.schema, section)
    try:
        if section.where is not None:
            source = ChosenRows(source, _condition(section.where, source.schema.names))
    except InvalidJob as error:
        mistakes += error.mistakes
    if job.shard is not None and not mistakes:
        source = rows_of(job.shard, source, section.id_columns, job.checkpoint_path)
    return source, mistakes


def _missing_files(section: InputConfig) -> Sequence[Mistake]:
    """Return what is wrong with the files of this machine, however they are to be read."""
    files = [path for path in section.paths if not split_uri(path) and not os.path.isdir(path)]
    try:
        if files:
            find_files(files, "jsonl")
    except InvalidJob as error:
        return error.mistakes
    return ()


def _models(config: JobConfig) -> list[str]:
    return [variant.config.endpoint.model for variant in variants(config)]


def _condition(text: str, columns: Sequence[str]) -> Callable[[pa.RecordBatch], npt.NDArray[np.bool_]]:
    """Return a function that says of each row whether it counts; it raises Undecided where it cannot."""
    from pipeline.prompts.conditions import Condition

    condition = Condition(text, _WHERE, columns)

    def judge(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        found = np.zeros(batch.num_rows, np.bool_)
        for index, row in enumerate(row_values(batch)):
            try:
                found[index] = condition.holds(row)
            except PromptFailure as failure:
                raise Undecided(index, Mistake(failure.message, key=_WHERE)) from None
        return found

    return judge


def _missing_packages(config: JobConfig) -> Iterator[Mistake]:
    if config.metrics.textfile is not None and find_spec("prometheus_client") is None:
        yield _missing_extra("metrics", "metrics.textfile")
    if config.telemetry.otlp is not None and not _has_otel():
        yield _missing_extra("otel", "telemetry.otlp")


def _missing_extra(extra: str, key: str) -> Mistake:
    suggestion = f"pip install 'llm-batch-pipeline[{extra}]', or leave `{key.partition('.')[0]}` out"
    return Mistake(f"needs the extra `{extra}`, which is not installed", key=key, suggestion=suggestion)


def _has_otel() -> bool:
    try:
        return all(find_spec(name) is not None for name in _OTEL_PACKAGES)
    except ModuleNotFoundError:  # the package that it is within is not there
        return False


def _clashes(config: JobConfig, source: Source, expected: Expected | None) -> Iterator[Mistake]:
    carried = carried_columns(config, source.schema.names)
    carried = source.schema.names if carried is None else carried
    fields = result_fields(
        has_variants=config.sweep is not None,
        has_samples=samples_of(config) is not None,
        expected=expected,
        has_replies=config.output.raw_reply,
        shares=config.deduplicate or config.cache is not None,
    )
    added = [config.output.prefix + field.name for field in fields]
    taken = [repr(name) for name in carried if name in added and name in source.schema.names]
    if taken:
        columns = f"a column {taken[0]}" if len(taken) == 1 else f"columns {', '.join(taken)}"
        yield Mistake(
            f"the input already has {columns}, which the output adds",
            key="output.prefix",
            suggestion='set output.prefix, for example "answer_", or name the columns to carry in input.columns',
        )


def _unwritable(job: Job, source: Source) -> Iterator[Mistake]:
    if job.table is None or not job.writes_output:
        return  # what a file holds, Parquet holds
    carried = carried_columns(job.config, source.schema.names)
    fields = [field for field in source.schema if carried is None or field.name in carried]
    for name, why in unwritable(pa.schema(fields)):
        yield Mistake(
            f"the output cannot hold the column {name!r} of the input: {why}",
            key="output.path",
            suggestion="leave it out of input.columns, cast it to another type, or leave output.path out",
        )


def _asked(job: Job, source: Source | None) -> tuple[tuple[Variant, ...], list[Mistake]]:
    """Return the ways in which a job asks each row, and what is wrong with any of them."""
    asked: list[Variant] = []
    named, mistakes = read_variants(job.config)
    for variant in named:
        builder, found = builder_of(replace(job, config=variant.config), source)
        mistakes += [structs.replace(one, key=variant.placed_key(one.key)) for one in found]
        if builder is not None:
            endpoint = variant.config.endpoint
            asked.append(Variant(builder, endpoint.kind, endpoint.model, variant.name, variant.mark))
    return tuple(asked) if len(asked) == len(named) else (), list(dict.fromkeys(mistakes))


def builder_of(job: Job, source: Source | None) -> tuple[Builder | None, list[Mistake]]:
    """Return the request builder of a job, None if there can be none, and what is wrong with it."""
    expected, _ = expected_of(job.config)
    telling = expected.telling if expected is not None else None
    config = job.config
    if source is None:
        return None, template_mistakes(config.prompt)
    model = config.model_facts
    if config.input.has_bodies:
        return BodyBuilder(
            BODY_COLUMN,
            config.endpoint.model,
            model.context_window if model else None,
            needs_max_tokens=needs_max_tokens(config),
            extra_body=config.endpoint.extra_body,
        ), []
    try:
        return RequestBuilder(
            config.prompt,
            config.parameters,
            config.endpoint.model,
            source.schema.names,
            _ranges(job, model),
            model.context_window if model else None,
            needs_max_tokens=needs_max_tokens(config),
            extra_body=config.endpoint.extra_body,
            telling=telling,
        ), []
    except InvalidJob as error:
        return None, list(error.mistakes)


def _ranges(job: Job, model: Model | None) -> Mapping[str, ParameterValues]:
    if job.is_doubtful("endpoint.kind") or job.is_doubtful("endpoint.model"):
        return UNBOUNDED  # which ranges hold is not known then; that the columns are there still is
    return job.config.endpoint.provider.ranges(model)
