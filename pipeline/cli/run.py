"""`pipeline run` and `pipeline retry-failed`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import click

from pipeline.app.signals import Signals
from pipeline.cli.console import Console
from pipeline.cli.options import FAULT, Command, job_options, load
from pipeline.errors import TRUNCATED, ErrorKind, Interrupted, InvalidInput, PipelineError

if TYPE_CHECKING:
    from pipeline.app.summary import Summary
    from pipeline.cli.logfile import LogFile


def _log_file(context: click.Context, parameter: click.Parameter, path: str | None) -> LogFile | None:
    if path is None:
        return None
    from pipeline.cli.logfile import LogFile

    try:
        return LogFile(path)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path} cannot be written to: {getattr(error, 'strerror', error)}") from error


def _run_options(command: Command) -> Command:
    for option in reversed((
        click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Send at most N rows, in input order."),
        click.option("--quiet", "-q", is_flag=True, help="Say nothing while all is well, on a terminal too."),
        click.option("--verbose", "-v", is_flag=True, help="Show plan, progress and summary in any case."),
        click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
                     help="How lines on stderr and in the log file look."),
        click.option("--log-file", metavar="PATH", callback=_log_file,
                     help="Add every line to PATH, shown or not; it is rotated."),
        click.option("--on-change", type=click.Choice(["refuse", "rerun", "keep"]), default="refuse",
                     show_default=True, help="What to do with finished rows that would be asked anew."),
        click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
                     help="Where the sending runs (ray is not built yet)."),
    )):  # fmt: skip
        command = option(command)
    return job_options(command)


@click.command()
@_run_options
def run(job_file: str, **options: Any) -> None:
    """Run a job from wherever it stands: first run, resume, retry, new rows."""
    _execute(job_file, options)


@click.command("retry-failed")
@_run_options
@click.option("--kind", metavar="KIND",
              help="Only rows that failed with this error_kind; `truncated`: those whose answer was cut off at"
                   " max_tokens, with a higher one (--set parameters.max_tokens=N).")  # fmt: skip
@click.option("--list", "is_list", is_flag=True, help="Send nothing; print these rows as CSV, with what went wrong.")
def retry_failed(job_file: str, kind: str | None, is_list: bool, **options: Any) -> None:
    """Send failed rows again, the permanently failed ones too, and no others."""
    kinds = [*sorted(ErrorKind), TRUNCATED]
    if kind is not None and kind not in kinds:
        raise click.BadParameter(f"{kind!r} is no error_kind; one of: {', '.join(kinds)}", param_hint="--kind")
    if is_list:
        from pipeline.cli.failed import list_failed

        console = Console(options["is_json"], options["quiet"], options["verbose"], options["log_format"])
        list_failed(console, job_file, options["overrides"], kind=kind, limit=options["limit"])
    else:
        _execute(job_file, options, retry=True, retry_kind=kind)


COMMANDS = (run, retry_failed)


def _execute(job_file: str, options: dict[str, Any], **retry: Any) -> None:
    console = Console(
        options["is_json"], options["quiet"], options["verbose"], options["log_format"], options["log_file"]
    )
    summary, error = _summary_of(
        console, job_file, options["overrides"],
        limit=options["limit"], on_change=options["on_change"], engine=options["engine"], **retry,
    )  # fmt: skip
    if console.is_json or (console.is_chatty and error is None):
        from pipeline.cli.summary import summary_text

        console.result(summary_text(summary, job_file), summary.as_json())
    if error is not None:
        _say_error(console, error, summary)
    elif summary.exit_code and not summary.is_idle and (console.is_json or not console.is_chatty):
        from pipeline.cli.summary import one_line

        console.warn(one_line(summary), exit_code=summary.exit_code)
    if console.log_file is not None:
        from pipeline.cli.summary import log_line

        console.record(log_line(summary), exit_code=summary.exit_code, summary=summary.as_json())
    sys.exit(summary.exit_code)


def _say_error(console: Console, error: PipelineError, summary: Summary) -> None:
    from pipeline.cli.summary import counts_text

    if summary.exit_code == 75 and not console.is_chatty:
        console.record(str(error), kind=error.kind)
    elif summary.rows is None or (isinstance(error, InvalidInput) and not summary.requests):
        console.error(error)
    else:
        console.warn(f"{summary.job}: {error}: {counts_text(summary)}", kind=error.kind)


def _summary_of(
    console: Console, job_file: str, overrides: Sequence[str], *, engine: Literal["local", "ray"], **options: Any
) -> tuple[Summary, PipelineError | None]:
    """Run, and say how it ended; an error is given beside the summary of what is known."""
    from pipeline.app.options import RunOptions
    from pipeline.app.run import Run
    from pipeline.app.status import known_of_file
    from pipeline.app.summary import RunError, Summary
    from pipeline.cli.progress import ConsoleWatcher

    started: Run | None = None
    try:
        with Signals():
            if engine == "ray":
                raise InvalidInput("--engine ray is not built yet; leave it out to use the local engine")
            job = load(job_file, overrides)
            with ConsoleWatcher(console) as watcher:
                started = Run(job, RunOptions(**options), watcher)
                return started.execute(), None
    except PipelineError as error:
        if started is not None:
            return started.summary.ended_by(error), error
        known = (
            Summary()
            if isinstance(error, Interrupted)
            else Summary().with_job_of(known_of_file(job_file, overrides).summary)
        )
        return known.ended_by(error), error
    except Exception:
        console.fault()
        known = Summary() if started is None else started.summary
        return replace(known, status="stopped", error=RunError(PipelineError.kind, FAULT), exit_code=1), None
