"""Options that commands share, and how a command ends."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.app.jobs.signals import Signals
from pipeline.cli.console import Console
from pipeline.cli.failures import Failure, error_alone
from pipeline.endings import Exit
from pipeline.errors import InvalidInput, JobLocked, PipelineError
from pipeline.storage import split_uri
from pipeline.wording import ranges

if TYPE_CHECKING:
    from pipeline.config import Job, Shard

FAULT = "a fault of the program; the traceback is on stderr"

Command = TypeVar("Command", bound=Callable[..., Any])


class Count(click.IntRange):
    """A number of rows; one beyond what Python can count with means all."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number that was given."""
        return min(super().convert(value, param, ctx), sys.maxsize)


def job_options(command: Command) -> Command:
    """Add JOB, --set and --json, which every command with a job takes."""
    return click.argument("job_file", metavar="JOB")(set_and_json(command))


def set_and_json(command: Command) -> Command:
    """Add --set and --json."""
    command = click.option("--json", "is_json", is_flag=True, help="Print exactly one JSON object on stdout.")(command)
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set any key of the job file.",
    )(command)


def shard_option(command: Command) -> Command:
    """Add --shard."""
    return click.option(
        "--shard",
        callback=_shard,
        metavar="I/N",
        help="Only shard I of N, with a checkpoint, an output and limits of its own.",
    )(command)


def _shard(context: click.Context, option: click.Parameter, given: str | None) -> Shard | None:
    if given is None:
        return None
    from pipeline.config import Shard

    found = Shard.parse(given)
    if found is None:
        raise click.BadParameter(f"{given!r} is no shard: write I/N with I from 1 to N, such as 1/4", context, option)
    return found


def load(job_file: str, overrides: Sequence[str], shard: Shard | None = None) -> Job:
    """Return the job of a command, or a shard of it."""
    from pipeline.config import read_job

    job, mistakes = read_job(job_file, overrides)
    if job is None or mistakes:
        # Slow to import, and there only to find what else is wrong.
        from pipeline.app.jobs.job import load_job

        job = load_job(job_file, overrides)
    return job if shard is None else job.in_shard(shard)


def load_one(job_file: str, overrides: Sequence[str], shard: Shard | None, *words: str) -> Job:
    """Return what `load` does, for a command that needs one checkpoint; `words` are its further ones.

    Raises InvalidInput if the job was divided and no shard is named.
    """
    from pipeline.app.jobs.sharding import latest_shards, shards_of

    job = load(job_file, overrides, shard)
    if shard is None and (parts := latest_shards(job)):
        from pipeline.config import JobCall

        count = len(parts)
        begun = [part.shard for part in shards_of(job)[count] if part.shard is not None]
        known = ranges(one.number for one in begun)
        call = JobCall(job_file, [one for one in overrides if one not in words], begun[0])
        command = call.command(click.get_current_context().command.name or "", *words)
        raise InvalidInput(
            f"{job.config.name!r} runs in shards, and this needs one of them: {known} of {count:,} have a checkpoint;"
            f" say which, such as {command}"
        )
    return job


def local_path(text: str) -> Path:
    """Return the path of a file that is written on this machine. Raises InvalidInput if it names a store."""
    if split_uri(text) is not None:
        raise InvalidInput(f"{text}: this file is written on this machine, and can be copied into a store then")
    return Path(text)


def ended(console: Console, action: Callable[[], None], failure: Failure = error_alone) -> None:
    """Do what a command does; its errors, faults of the program and signals included, become words and an exit code.
    `failure` is what --json prints of an error.
    """
    try:
        with Signals():
            action()
    except PipelineError as error:
        sys.exit(failed(console, error, failure))
    except Exception:
        sys.exit(faulty(console))


def reported(failure: Failure = error_alone) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command its console in place of --json, and end it as `ended` does."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def reporting(is_json: bool, **given: Any) -> None:
            console = Console(is_json)
            ended(console, functools.partial(command, console=console, **given), failure)

        return reporting

    return decorate


def failed(console: Console, error: PipelineError, failure: Failure = error_alone) -> int:
    """Say why a command ended, but in cron not that another run is under way. Returns the exit code."""
    if console.is_json:
        console.result("", failure(error))
    if console.is_chatty or not isinstance(error, JobLocked):
        console.error(error)
    return error.exit_code


def faulty(console: Console) -> int:
    """Say that the exception being handled is a fault of the program. Returns the exit code."""
    if console.is_json:
        console.result("", error_alone(PipelineError(FAULT)))
    console.fault()
    return Exit.FAULT
