"""The command that writes a page about a job: report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import Console
from pipeline.cli.options import job_options, load_one, local_path, reported, shard_option

if TYPE_CHECKING:
    from pipeline.config import Shard


@click.command()
@job_options
@shard_option
@click.option("--out", metavar="PATH", help="Where to write it; default: the output's path with .html for .parquet.")
@reported()
def report(console: Console, job_file: str, overrides: Sequence[str], shard: Shard | None, out: str | None) -> None:
    """Write one self-contained HTML page about a job, also while it runs; print its path.

    It has totals, cost and throughput over time, latencies, tokens, errors, the slowest and costliest rows, the plan
    and the configuration; no prompt and no answer. An earlier report of the same job at the path is replaced, any other
    file only with output.overwrite: true. Needs the extra `report` (matplotlib).
    """
    from pipeline.app.use_cases.report import report as write

    job = load_one(job_file, overrides, shard)
    made = write(job, None if out is None else local_path(out))
    data = {"job": job.config.name, "path": str(made.path), "rows": made.rows, "running": made.running}
    console.result(str(made.path), data)


COMMANDS = (report,)
