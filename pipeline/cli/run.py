"""`pipeline run` and `pipeline retry-failed`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import click
from msgspec import Struct

from pipeline.app.jobs.signals import Signals
from pipeline.cli.console import Console
from pipeline.cli.failures import known_of_job
from pipeline.cli.options import FAULT, Command, Count, job_options, load, load_one, shard_option
from pipeline.endings import Exit
from pipeline.errors import TRUNCATED, ErrorKind, InvalidInput, PipelineError

if TYPE_CHECKING:
    from pipeline.app.observe.summary import Summary
    from pipeline.cli.logfile import LogFile
    from pipeline.cli.summary import SummaryText
    from pipeline.config import Job, JobCall, Shard


class _Flags(Struct, frozen=True):
    """The flags that `run` and `retry-failed` share, by the names of their parameters."""

    overrides: Sequence[str]
    is_json: bool
    quiet: bool
    verbose: bool
    log_format: Literal["text", "json"]
    log_file: str | None
    limit: int | None
    on_change: Literal["refuse", "rerun", "keep"]
    engine: Literal["local", "ray"]
    address: str | None
    shard: Shard | None
    no_wait: bool

    def console(self, log_file: LogFile | None = None) -> Console:
        """Return the console that these flags ask for."""
        return Console(self.is_json, self.quiet, self.verbose, self.log_format, log_file)


def _log_file(path: str | None, job_file: str, overrides: Sequence[str]) -> LogFile | None:
    """Open the log, unless it would be written over something else. Raises click.BadParameter."""
    if path is None:
        return None
    from pipeline.cli.logfile import LogFile, refuse_foreign

    try:
        refuse_foreign(path, job_file, overrides)
        return LogFile(path)
    except InvalidInput as error:
        raise click.BadParameter(str(error), param_hint="--log-file") from error
    except (OSError, ValueError) as error:
        words = f"{path} cannot be written to: {getattr(error, 'strerror', error)}"
        raise click.BadParameter(words, param_hint="--log-file") from error


def _run_options(command: Command) -> Command:
    for option in reversed(
        (
            click.option("--limit", type=Count(min=0), metavar="N", help="Send at most N rows, in input order."),
            click.option("--quiet", "-q", is_flag=True, help="Print nothing if all is well, on a terminal too."),
            click.option("--verbose", "-v", is_flag=True, help="Always show plan, progress and summary."),
            click.option(
                "--log-format",
                type=click.Choice(["text", "json"]),
                default="text",
                show_default=True,
                help="Format of lines on stderr and in the log file.",
            ),
            click.option(
                "--log-file", metavar="PATH", help="Append every line to PATH, shown or not; the file is rotated."
            ),
            click.option(
                "--on-change",
                type=click.Choice(["refuse", "rerun", "keep"]),
                default="refuse",
                show_default=True,
                help="What to do with finished rows that would be sent again.",
            ),
            click.option(
                "--engine",
                type=click.Choice(["local", "ray"]),
                default="local",
                show_default=True,
                help="What sends the requests: this machine, or actors of a Ray cluster.",
            ),
            click.option(
                "--address",
                metavar="ADDRESS",
                help="The Ray cluster; default: this machine's, or one started here.",
            ),
            click.option("--no-wait", is_flag=True, help="endpoint.batch: submit, collect what is ready, and end."),
        )
    ):
        command = option(command)
    return job_options(shard_option(command))


@click.command()
@_run_options
def run(job_file: str, **options: Any) -> None:
    """Run a job from its present state: first run, resume, retry, new rows."""
    _execute(job_file, _Flags(**options))


@click.command("retry-failed")
@_run_options
@click.option(
    "--kind",
    metavar="KIND",
    help="Only rows that failed with this error_kind; `truncated`: those whose answer was truncated at"
    " max_tokens, with a higher one (--set parameters.max_tokens=N).",
)
@click.option("--list", "is_list", is_flag=True, help="Send nothing; print these rows as CSV, with what went wrong.")
@click.option(
    "--accept",
    is_flag=True,
    help="Send nothing; accept these failures: the rows stay failed, and exit 3 no longer counts them.",
)
def retry_failed(job_file: str, kind: str | None, is_list: bool, accept: bool, **options: Any) -> None:
    """Send failed rows again, permanent failures included, and no others."""
    flags = _Flags(**options)
    kinds = [*sorted(ErrorKind), TRUNCATED]
    if kind is not None and kind not in kinds:
        raise click.BadParameter(f"{kind!r} is not an error_kind; one of: {', '.join(kinds)}", param_hint="--kind")
    if accept and (is_list or kind == TRUNCATED):
        hint = "give one of --accept and --list" if is_list else f"rows of --kind {TRUNCATED} have an answer"
        raise click.UsageError(f"--accept cannot be used here: {hint}")
    if is_list:
        from pipeline.cli.failed import list_failed

        list_failed(flags.console(), job_file, flags.overrides, flags.shard, kind=kind, limit=flags.limit)
    else:
        _execute(job_file, flags, retry=True, retry_kind=kind, accept=accept)


COMMANDS = (run, retry_failed)


def _execute(job_file: str, flags: _Flags, **retry: Any) -> None:
    from pipeline.config import JobCall

    log_file = _log_file(flags.log_file, job_file, flags.overrides)
    console = flags.console(log_file)
    told, error = _run_and_summarize(
        console,
        JobCall(job_file, flags.overrides, flags.shard),
        limit=flags.limit,
        on_change=flags.on_change,
        engine=flags.engine,
        address=flags.address,
        no_wait=flags.no_wait,
        **retry,
    )
    summary = told.summary
    if console.is_json or (console.is_chatty and error is None):
        console.result(told.text(), summary.as_json(), is_good=not summary.exit_code)
    if error is not None:
        _say_error(console, error, summary)
    elif summary.exit_code and not (summary.is_idle or summary.is_said) and (console.is_json or not console.is_chatty):
        console.warn(told.one_line(), exit_code=summary.exit_code)
    if log_file is not None:
        console.record(told.log_line(), exit_code=summary.exit_code, summary=summary.as_json())
        log_file.close()
    sys.exit(summary.exit_code)


def _say_error(console: Console, error: PipelineError, summary: Summary) -> None:
    from pipeline.cli.summary import counts_text

    if summary.exit_code == Exit.LOCKED and not console.is_chatty:
        console.record(str(error), kind=error.kind)
    elif summary.rows is None or (isinstance(error, InvalidInput) and not summary.requests):
        console.error(error)
    else:
        console.warn(f"{summary.job}: {error}: {counts_text(summary)}", kind=error.kind)


def _load(call: JobCall, *, retry: bool = False, retry_kind: str | None = None, accept: bool = False, **_: Any) -> Job:
    """Return the job; failed rows are those of one checkpoint, new rows may begin another."""
    if not retry:
        return load(call.file, call.overrides, call.shard)
    kind = [] if retry_kind is None else ["--kind", retry_kind]
    return load_one(call.file, call.overrides, call.shard, *kind, *(["--accept"] if accept else []))


def _run_and_summarize(console: Console, call: JobCall, **options: Any) -> tuple[SummaryText, PipelineError | None]:
    """Run, and say how it ended; an error is given beside the summary of what is known."""
    from pipeline.app.observe.summary import RunError, Summary
    from pipeline.app.running.options import RunOptions
    from pipeline.app.running.run import Run
    from pipeline.cli.progress import ConsoleWatcher
    from pipeline.cli.summary import SummaryText

    job: Job | None = None
    started: Run | None = None
    try:
        with Signals():
            job = _load(call, **options)
            with ConsoleWatcher(console) as watcher:
                started = Run(job, RunOptions(**options), watcher)
                return SummaryText(started.execute(), call, job), None
    except PipelineError as error:
        if started is not None:
            return SummaryText(started.summary.ended_by(error), call, job), error
        known = known_of_job(error, call.file, call.overrides, call.shard)
        return SummaryText(known.ended_by(error), call, job), error
    except Exception:
        console.fault()
        known = Summary() if started is None else started.summary
        stopped = replace(known, status="stopped", error=RunError(PipelineError.kind, FAULT), exit_code=Exit.FAULT)
        return SummaryText(stopped, call, job), None
