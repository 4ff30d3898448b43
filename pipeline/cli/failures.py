"""What --json prints of a command that failed: the keys that it always has, as far as they are known, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pipeline.errors import CheckpointFailed, Interrupted, InvalidInput, InvalidJob, Mistake, PipelineError
from pipeline.records import JsonObject

if TYPE_CHECKING:
    from pipeline.app.observe.summary import Summary
    from pipeline.config import Shard

Failure = Callable[[PipelineError], JsonObject]
_MISTAKE = ("file", "line", "column", "key", "message", "suggestion")


def error_alone(error: PipelineError) -> JsonObject:
    """Return the error of a command that has nothing else to say."""
    return {"error": {"kind": error.kind, "message": str(error)}}


def of_run(error: PipelineError, known: Summary | None = None) -> JsonObject:
    """Return the summary of a run that could not start."""
    from pipeline.app.observe.summary import Summary

    return (known or Summary()).ended_by(error).as_json()


def known_of_job(error: PipelineError, job_file: str, overrides: Sequence[str], shard: Shard | None = None) -> Summary:
    """Return the job's own figures, for the summary of a command that an error ended before it looked at them."""
    from pipeline.app.observe.status import known_of_file
    from pipeline.app.observe.summary import Summary

    if isinstance(error, Interrupted):
        return Summary()  # what was being read may never end
    return Summary().with_job_of(known_of_file(job_file, overrides, shard).summary)


def of_status(
    error: PipelineError, job_file: str | None = None, overrides: Sequence[str] = (), shard: Shard | None = None
) -> JsonObject:
    """Return what is known of a job whose file or checkpoint is wrong."""
    from pipeline.app.observe.status import JobStatus, known_of_file
    from pipeline.app.observe.summary import Summary

    # After a signal nothing is read any more: what was being read may never end.
    if job_file is None or isinstance(error, Interrupted):
        known = JobStatus(Summary())
    else:
        known = known_of_file(job_file, overrides, shard)
    return replace(known, summary=known.summary.ended_by(error)).as_json()


def of_validate(error: PipelineError) -> JsonObject:
    """Return every mistake with its place."""
    if not isinstance(error, InvalidInput | CheckpointFailed):
        return error_alone(error)
    mistakes = error.mistakes if isinstance(error, InvalidJob) else (Mistake(str(error)),)
    return {"valid": False, "errors": [{name: getattr(one, name) for name in _MISTAKE} for one in mistakes]}


OF_COMMANDS: Mapping[str | None, Failure] = {
    "run": of_run,
    "retry-failed": of_run,
    "status": of_status,
    "validate": of_validate,
}
"""By the command's name, for what is wrong with the command line itself."""
