"""Options that commands share, and how a command ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.cli.console import Console
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.config import Job

Command = TypeVar("Command", bound=Callable[..., Any])


def job_options(command: Command) -> Command:
    """JOB, --set and --json, which every command with a job takes."""
    command = click.option("--json", "is_json", is_flag=True, help="Print exactly one JSON object on stdout.")(command)
    command = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set any key of the job file.",
    )(command)
    return click.argument("job_file", metavar="JOB")(command)


def load(job_file: str, overrides: Sequence[str]) -> Job:
    """The job of a command."""
    from pipeline.app.job import load_job

    return load_job(job_file, overrides)


def ended(console: Console, action: Callable[[], None]) -> None:
    """Do what a command does; its errors become a line and an exit code."""
    try:
        action()
    except PipelineError as error:
        if console.is_json:
            click.echo(json.dumps({"error": {"kind": error.kind, "message": str(error)}}, ensure_ascii=False))
        console.error(error)
        sys.exit(error.exit_code)
