"""`pipeline cancel`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import Console
from pipeline.cli.options import ended, job_options, load_one, shard_option

if TYPE_CHECKING:
    from pipeline.config import Shard


@click.command()
@job_options
@shard_option
def cancel(job_file: str, overrides: Sequence[str], is_json: bool, shard: Shard | None) -> None:
    """Cancel the batches that are out at the provider, and keep what they have answered.

    It waits up to limits.timeout_seconds for their end; what is still ending is collected by the next run.
    """
    console = Console(is_json)

    def action() -> None:
        from pipeline.app.observe.status import known
        from pipeline.app.running.lines_out import has_open_batches
        from pipeline.app.running.options import RunOptions
        from pipeline.app.running.run import Run
        from pipeline.cli.summary import counts_text

        job = load_one(job_file, overrides, shard)
        summary, cancelled = known(job).summary, 0
        if has_open_batches(job):
            run = Run(job, RunOptions(cancel=True))
            summary, cancelled = run.execute(), run.cancelled
        batches = "1 batch" if cancelled == 1 else f"{cancelled:,} batches"
        error = f"; {summary.error.message}" if summary.exit_code and summary.error is not None else ""
        console.result(
            f"{job.config.name}: {batches} canceled; {counts_text(summary)}{error}",
            {**summary.as_json(), "cancelled": cancelled},
        )
        if cancelled or summary.exit_code:
            sys.exit(summary.exit_code)

    ended(console, action)


COMMANDS = (cancel,)
