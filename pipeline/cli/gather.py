"""`pipeline gather`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import Console
from pipeline.cli.failures import known_of_job, of_run
from pipeline.cli.options import ended, job_options, load
from pipeline.wording import counted

if TYPE_CHECKING:
    from pipeline.app.use_cases.gather import Gathered
    from pipeline.cli.summary import SummaryText
    from pipeline.config import Job

_MOST_SHARDS = 99_999


@click.command()
@job_options
@click.option(
    "--shards", "count", type=click.IntRange(1, _MOST_SHARDS), required=True, metavar="N", help="How many there are."
)
def gather(job_file: str, overrides: Sequence[str], is_json: bool, count: int) -> None:
    """Write the answers of N shards as one output, in input order; sends nothing and keeps the shards' outputs.

    Exit 3 names each shard that is missing or not finished, and then nothing is written. Exit 2 if a shard was run with
    other settings or over another input.
    """
    console = Console(is_json)

    def action() -> None:
        from pipeline.app.use_cases.gather import gather as write

        job = load(job_file, overrides)
        found = write(job, count)
        summary = found.summary
        if console.is_json or (console.is_chatty and summary.error is None):
            console.result(_text(found, job), found.as_json(), is_good=not summary.exit_code)
        if summary.error is not None:
            console.warn(f"{summary.job}: {summary.error.message}", kind=summary.error.kind)
        elif summary.exit_code and not console.is_chatty:
            console.warn(_one_line(found, job), exit_code=summary.exit_code)
        sys.exit(summary.exit_code)

    ended(console, action, lambda error: of_run(error, known_of_job(error, job_file, overrides)))


COMMANDS = (gather,)


def _one_line(found: Gathered, job: Job) -> str:
    summary = found.summary
    return f"{summary.job}: {_told(found, job).cause}: {_rows(found)}; see {summary.output}"


def _text(found: Gathered, job: Job) -> str:
    told, summary = _told(found, job), found.summary
    lines = [f"{summary.job}: {told.cause}", f"  rows      {_rows(found)}"]
    if (cost := told.cost(has_run=False)) is not None:
        lines.append(f"  cost      {cost}")
    return "\n".join([*lines, f"  output    {summary.output}"])


def _told(found: Gathered, job: Job) -> SummaryText:
    from pipeline.cli.summary import SummaryText
    from pipeline.config import JobCall

    return SummaryText(found.summary, JobCall(job.file, job.overrides), job)


def _rows(found: Gathered) -> str:
    from pipeline.cli.summary import counts_text

    return f"{counts_text(found.summary)} in {counted(len(found.shards), 'shard')}"
