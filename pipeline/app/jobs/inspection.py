"""Everything that a job names, opened and checked as far as its mistakes allow, so that all of them show in one go."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.util import find_spec

from msgspec import Struct

from pipeline.app.jobs.builders import asked_of
from pipeline.app.jobs.columns import column_clashes, unwritable_columns
from pipeline.app.jobs.division import division_mistakes
from pipeline.app.jobs.expecting import expected_of
from pipeline.app.jobs.input import open_input
from pipeline.app.jobs.material import read_variants
from pipeline.app.jobs.paths import path_mistakes
from pipeline.app.jobs.stores import store_mistakes
from pipeline.config import Job, JobVariant, environment_mistakes, in_order
from pipeline.config.schema import KeyPath, touches
from pipeline.errors import Mistake
from pipeline.expect import Expected
from pipeline.plan import Variant
from pipeline.sources import Source

_OTEL_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_KEY_RESTS_ON = ("endpoint.kind", "endpoint.url", "endpoint.api_key_env")


class Inspection(Struct, frozen=True):
    """What was found: every mistake, at its place. The input and the request builder are None if they cannot be used;
    `expected` is None if nothing is expected of the answers. `variants` have what their prompts name in files.
    """

    mistakes: tuple[Mistake, ...]
    source: Source | None
    variants: tuple[JobVariant, ...]
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
    config = job.config
    source, mistakes = open_input(job)
    expected, unfit = expected_of(config)
    if for_sending and not wrong(_KEY_RESTS_ON, job.doubtful, known):
        mistakes += environment_mistakes(job, environ)
    if for_sending:
        mistakes += path_mistakes(job)
        mistakes += store_mistakes(job)
        mistakes += division_mistakes(job)
        mistakes += _missing_packages(
            for_metrics=config.metrics.textfile is not None, for_traces=config.telemetry.otlp is not None
        )
    if source is not None and not wrong(("output.prefix", "input.columns"), job.doubtful, known):
        mistakes += column_clashes(config, source, expected)
        mistakes += unwritable_columns(job, source)
    named, unread = read_variants(config)
    asked, found = asked_of(job, named, source)
    further = [
        job.placed(one)
        for one in (*mistakes, *unfit, *dict.fromkeys([*unread, *found]))
        if one.key is None or not wrong([one.key], job.doubtful, known)
    ]
    return Inspection(tuple(in_order([*known, *further], job.file)), source, named, asked, expected)


def wrong(keys: Sequence[str], doubtful: Collection[KeyPath], mistakes: Sequence[Mistake]) -> bool:
    """Return whether something is wrong with one of these keys, or below it; `doubtful` is as of a `Job`."""
    for key in keys:
        if touches(key, doubtful):
            return True
        if any(one.key is not None and f"{one.key}.".startswith(f"{key}.") for one in mistakes):
            return True
    return False


def _missing_packages(*, for_metrics: bool, for_traces: bool) -> Iterator[Mistake]:
    if for_metrics and find_spec("prometheus_client") is None:
        yield _missing_extra("metrics", "metrics.textfile")
    if for_traces and not _has_otel():
        yield _missing_extra("otel", "telemetry.otlp")


def _missing_extra(extra: str, key: str) -> Mistake:
    suggestion = f"pip install 'llm-batch-pipeline[{extra}]', or leave `{key.partition('.')[0]}` out"
    return Mistake(f"needs the extra `{extra}`, which is not installed", key=key, suggestion=suggestion)


def _has_otel() -> bool:
    try:
        return all(find_spec(name) is not None for name in _OTEL_PACKAGES)
    except ModuleNotFoundError:  # the package that it is within is not there
        return False
