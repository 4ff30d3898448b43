"""Checks of `input` and `output`: what rows there are, and where they go."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pipeline.config.checks.findings import Finding, path
from pipeline.config.models import BATCH_FORMAT, JobConfig, OutputConfig
from pipeline.providers import kinds

_FORMAT = path("input.format")
_SENDS = path("expect.send")


def check_input(config: JobConfig) -> Iterator[Finding]:
    """Yield what is wrong with the input and the output of a job."""
    yield from _check_output(config)
    columns = config.input.columns or ()
    for index, column in enumerate(columns):
        if column in columns[:index]:
            yield Finding(("input", "columns", index), "this column is listed already", "list it once")
    if config.input.has_bodies:
        yield from _check_bodies(config)


def _check_output(config: JobConfig) -> Iterator[Finding]:
    if os.path.normpath(config.output.path) in map(os.path.normpath, config.input.paths):
        hint = "write the answers to another file"
        yield Finding(path("output.path"), "this is the input", hint, (path("input.path"),))
    usual = OutputConfig.model_fields["rows_per_file"].default  # may stand in the file as any default
    if config.output.rows_per_file != usual and not config.output.is_directory:
        hint = "leave it out, or let `output.path` end in `/`, which makes it a directory of part files"
        message = "the output is one file, however many rows it has"
        yield Finding(path("output.rows_per_file"), message, hint, (path("output.path"),))


def _check_bodies(config: JobConfig) -> Iterator[Finding]:
    endpoint = config.endpoint
    if not endpoint.provider.takes_batches:
        hint = f"it is for {kinds(lambda one: one.takes_batches)}"
        yield Finding(_FORMAT, f"{endpoint.provider.title} takes no such bodies", hint, (path("endpoint.kind"),))
    if not config.input.paths:
        message = "the output of a job is no file of requests"
        yield Finding(_FORMAT, message, "leave it out", (path("input.path"),))
    for name in ("prompt", "parameters"):
        if name in config.model_fields_set:
            message = f"with `input.format: {BATCH_FORMAT}` the bodies are sent as they are"
            yield Finding((name,), message, "leave the section out", (_FORMAT,))
    if config.input.id is not None:
        yield Finding(path("input.id"), "the id is the `custom_id` of each line", "leave it out", (_FORMAT,))
    if config.expect is not None and config.expect.send not in ("auto", "none"):
        message = f"with `input.format: {BATCH_FORMAT}` nothing is added to the bodies"
        yield Finding(_SENDS, message, "leave it out: the answers are checked all the same", (_FORMAT,))
