"""The settings of a job's requests, as the journal holds them."""

from __future__ import annotations

from pipeline.config import JobConfig
from pipeline.expect import Expected
from pipeline.records import JsonObject


def settings_of(config: JobConfig, expected: Expected | None) -> JsonObject:
    """Return what makes finished rows changed when it changes: endpoint kind, model, prompt, parameters, extra body,
    and what the answers have to be.
    """
    return {
        "endpoint_kind": config.endpoint.kind,
        "model": config.endpoint.model,
        "prompt": config.prompt.model_dump(exclude_none=True, exclude={"constant", "samples"}),
        "parameters": config.parameters.model_dump(exclude_none=True),
        **({"extra_body": config.endpoint.extra_body} if config.endpoint.extra_body else {}),
        **({} if expected is None else {"expect": dict(expected.facts)}),
    }
