"""Checks of `prompt`: exactly one source of the user's message, and nothing that is said twice."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.checks.findings import Finding, path
from pipeline.config.models import PROMPT_KEYS, JobConfig
from pipeline.wording import listed


def check_prompt(config: JobConfig) -> Iterator[Finding]:
    """Yield what is wrong with the prompt of a job."""
    if config.input.has_bodies:
        return
    if "prompt" not in config.model_fields_set:
        yield Finding(("prompt",), "required, but missing", 'add `prompt: {user: "{{ question }}"}`')
        return
    given = config.prompt.given
    others = tuple(("prompt", name) for name in PROMPT_KEYS)
    if not given:
        hint = 'add `user: "{{ question }}"`, or `column:` or `messages:` with the name of a column'
        yield Finding(("prompt",), f"one of {listed(PROMPT_KEYS, 'or')} is required", hint, others)
    for name in given[1:]:
        message = f"`{given[0]}` is set already; a prompt has one of {listed(PROMPT_KEYS, 'or')}"
        yield Finding(("prompt", name), message, "keep one of them", others)
    if config.prompt.examples is not None and config.prompt.messages is not None:
        hint = "put them into the messages, or leave one of the two out"
        message = "examples come before the user's message, and `messages` brings whole conversations"
        yield Finding(path("prompt.examples"), message, hint, (path("prompt.messages"),))
    if config.prompt.images is not None and config.prompt.messages is not None:
        hint = "put them into the messages, as parts of the type `image_url`"
        message = "`messages` brings whole conversations, with their images"
        yield Finding(path("prompt.images"), message, hint, (path("prompt.messages"),))
    if config.prompt.tools is not None and "tools" in (config.endpoint.extra_body or {}):
        hint = "keep one of the two"
        yield Finding(path("endpoint.extra_body.tools"), "`prompt.tools` is set already", hint, (path("prompt.tools"),))
