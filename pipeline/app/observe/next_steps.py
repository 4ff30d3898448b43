"""What to type next, after a run or by a job's status: only commands that can help, with the flags that were given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from pipeline.app.observe.summary import Summary
from pipeline.config import Job, JobCall
from pipeline.endings import StopKind
from pipeline.errors import NOT_HELD, TRUNCATED
from pipeline.wording import counted

_MAX_TOKENS = "parameters.max_tokens"
_JOB_CAP, _RUN_CAP = "limits.max_cost_usd", "limits.max_run_cost_usd"
_REMEDIES: Mapping[str, str] = {kind: kind.remedy for kind in StopKind}
_MAYBE_FOR_WANT_OF_A_KEY = frozenset({StopKind.OUTAGE, StopKind.ALL_REFUSED})
"""LiteLLM's proxy answers a request without a key with 500, or with 400 where it has no database."""


class Step(Struct, frozen=True):
    """A command, and when or why it helps; `why` may be empty."""

    command: str
    why: str = ""

    def __str__(self) -> str:
        # A shell takes what follows for a comment, so the line can be copied as a whole.
        return f"{self.command}  # {self.why}" if self.why else self.command


def next_steps(summary: Summary, call: JobCall, job: Job | None = None) -> list[Step]:
    """Return what to do next, the most useful first; never empty. `job` tells its settings, where it could be read."""
    steps = list(_after_stop(summary, call, job))
    if not steps and summary.pending:
        steps = [Step(call.command("run"))]
    if not steps:
        steps = [*_for_failures(summary, call), *_for_truncated(summary, call, job)]
    if steps:
        return steps
    if summary.status == "not_started" and summary.output:
        return [Step(call.command("recover"), "makes the checkpoint anew from the output; without it no run begins")]
    if not summary.is_whole and (summary.rows is None or summary.status in ("not_started", "interrupted", "stopped")):
        return [Step(call.command("run"))]
    return [Step(call.command("show" if summary.output else "status"))]


def _after_stop(summary: Summary, call: JobCall, job: Job | None) -> Iterator[Step]:
    error = summary.error
    if error is None or error.kind == StopKind.STILL_TRUNCATED or summary.is_whole:
        return
    if error.kind == StopKind.COST_CAP:
        yield _after_cap(summary, call, error.message)
    else:
        why = _REMEDIES.get(error.kind, "")
        if error.kind in _MAYBE_FOR_WANT_OF_A_KEY and job is not None and job.config.endpoint.api_key_env is None:
            why += "; some servers say so when they miss a key, which endpoint.api_key_env names"
        yield Step(call.command("run"), why)


def _after_cap(summary: Summary, call: JobCall, message: str) -> Step:
    if message.startswith(_RUN_CAP) and summary.requests:
        return Step(call.command("run"), f"{_RUN_CAP} applies to each run separately")
    key = _RUN_CAP if message.startswith(_RUN_CAP) else _JOB_CAP
    return Step(call.command("run", "--set", f"{key}=USD", without=[key]), f"with a higher {key}")


def _for_failures(summary: Summary, call: JobCall) -> Iterator[Step]:
    if not summary.failures:
        return
    from pipeline.retry import PASSING  # slow to import, and seldom needed

    accepted, to_retry = summary.accepted or {}, summary.to_retry or {}
    left = {kind: rows - accepted.get(kind, 0) for kind, rows in summary.failures.items()}
    if to_retry:
        yield Step(call.command("run"), f"sends {_kinds(to_retry)} again")
    passing = {kind: rows - to_retry.get(kind, 0) for kind, rows in left.items() if kind in PASSING}
    for kind in (kind for kind, rows in passing.items() if rows > 0):
        yield Step(call.command("retry-failed", "--kind", kind), f"{kind} may have passed")
    for kind in (kind for kind, rows in left.items() if rows > 0 and kind in NOT_HELD):
        yield Step(call.command("retry-failed", "--kind", kind), f"asks for further answers in place of {kind}")
    lasting = {kind: rows for kind, rows in left.items() if rows > 0 and kind not in PASSING | NOT_HELD}
    if lasting:
        yield Step(call.command("show", "--failed"), f"{_kinds(lasting)} would fail again: change these rows and run")
        flags = ["--kind", next(iter(lasting))] if len(lasting) == 1 and len(left) > 1 else []
        yield Step(call.command("retry-failed", "--accept", *flags), "or leave them failed")


def _for_truncated(summary: Summary, call: JobCall, job: Job | None) -> Iterator[Step]:
    if not summary.truncated:
        return
    why = f"{counted(summary.truncated, 'answer')} cut off at max_tokens"
    max_tokens = None if job is None else job.config.parameters.max_tokens
    flags = ["retry-failed", "--kind", TRUNCATED]
    if isinstance(max_tokens, int):
        raised = f"{_MAX_TOKENS}={2 * max_tokens}"
        yield Step(call.command(*flags, "--set", raised, without=[_MAX_TOKENS]), why)
    else:
        yield Step(call.command(*flags), f"{why}; first raise {_MAX_TOKENS}")
    yield Step(call.command("show"), "to see the answers")


def _kinds(rows: Mapping[str, int]) -> str:
    return kinds_text(rows.items())


def kinds_text(rows: Iterable[tuple[str, int]]) -> str:
    """Return failed rows by kind: `2 timeout, 1 bad_request`."""
    return ", ".join(f"{count:,} {kind}" for kind, count in rows)
