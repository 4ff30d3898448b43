"""What is wrong with `expect`, as far as other keys decide it."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.checks.findings import Finding, path
from pipeline.config.models import JobConfig
from pipeline.wording import listed

_KINDS = ("json_schema", "choices", "regex")


def check_expect(config: JobConfig) -> Iterator[Finding]:
    """Return what is wrong with what a job expects of its answers."""
    expect = config.expect
    if expect is None:
        return
    given = [name for name in _KINDS if getattr(expect, name) is not None]
    others = tuple(("expect", name) for name in _KINDS)
    if not given:
        hint = "add `json_schema:`, `choices:` or `regex:`, or leave the section out"
        yield Finding(("expect",), f"one of {listed(_KINDS, 'or')} is required", hint, others)
    for name in given[1:]:
        message = f"`{given[0]}` is set already; `expect` has one of {listed(_KINDS, 'or')}"
        yield Finding(("expect", name), message, "keep one of them", others)
    seen: set[str] = set()
    for index, choice in enumerate(expect.choices or ()):
        if not choice.strip() or choice.strip() in seen:
            message = "this choice is listed already" if choice.strip() else "a choice has to be more than white space"
            yield Finding(
                ("expect", "choices", index), f"{message}; white space around it does not count", "leave it out"
            )
        seen.add(choice.strip())
    if expect.regex is not None and expect.send == "response_format":
        hint = "set `send: prompt` or `send: none`"
        yield Finding(path("expect.send"), "no endpoint takes a regular expression", hint, (path("expect.regex"),))
    if "response_format" in (config.endpoint.extra_body or {}) and expect.send in ("auto", "response_format"):
        hint = "leave it out, or set `expect.send: none` to tell the endpoint by it"
        at = path("endpoint.extra_body.response_format")
        yield Finding(at, "the pipeline writes this key itself", hint, (path("expect.send"),))
