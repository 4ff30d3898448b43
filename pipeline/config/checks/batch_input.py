"""What a job may say whose rows bring the bodies of their requests."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.checks.findings import Finding, path
from pipeline.config.models import BATCH_FORMAT, JobConfig
from pipeline.providers import kinds

_FORMAT = path("input.format")
_SENDS = path("expect.send")


def check_batch_input(config: JobConfig) -> Iterator[Finding]:
    """Yield what does not go together with `input.format: openai-batch`."""
    if not config.input.has_bodies:
        return
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
