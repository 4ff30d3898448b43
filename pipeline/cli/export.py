"""`pipeline export`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.console import Console
from pipeline.cli.options import job_options, load, local_path, reported, shard_option
from pipeline.errors import InvalidInput
from pipeline.wording import counted

if TYPE_CHECKING:
    from pipeline.config import Shard

_FORMATS = (
    "jsonl",
    "csv",
    "parquet",
    "messages",
    "prompt-completion",
    "preference",
    "hf",
    "openai-batch",
    "openai-batch-requests",
)


@click.command()
@job_options
@shard_option
@click.option("--to", type=click.Choice(_FORMATS), required=True, help="The shape.")
@click.option("--failed", is_flag=True, help="Add the failed and the truncated rows.")
@click.option("--where", metavar="EXPR", help="Only the rows of the output for which this expression is true.")
@click.option(
    "--dedup",
    type=click.Choice(("exact", "near")),
    help="Of rows with the same prompt and answer the first; near: with 80% of their words in common.",
)
@click.option(
    "--vote",
    metavar="FIELD",
    help="Of a row's samples one that has the most frequent FIELD (a column, or parsed.NAME); ties are left out.",
)
@click.option(
    "--with",
    "beside",
    metavar="JOB",
    help="Add the columns that this job's output has for the rows: a job that reads the output of the first one.",
)
@click.option("--columns", metavar="A,B", help="Only these columns of the output, in this order.")
@click.option(
    "--score", metavar="COLUMN", help="preference: the column of the output or input that says how good an answer is."
)
@click.option("--split", metavar="A=0.9,B=0.1", help="hf: the share of each split.")
@click.option("--raw-cells", is_flag=True, help="csv: leave texts that start a formula as they are.")
@click.option("--bom", is_flag=True, help="csv: begin with the mark by which Excel knows UTF-8.")
@click.option(
    "--overwrite", is_flag=True, help="Replace a file that no export of this job wrote; write into a pipe or a device."
)
@click.argument("path")
@reported()
def export(
    console: Console,
    job_file: str,
    overrides: Sequence[str],
    shard: Shard | None,
    to: str,
    path: str,
    overwrite: bool,
    beside: str | None,
    **choices: Any,
) -> None:
    """Write the answers so far to PATH in another format; `-` is stdout. Failed and truncated rows are left out.

    A file at PATH is replaced if an export of this job wrote it; any other file only with --overwrite. The job's own
    files are never replaced.
    """
    from pipeline.app.use_cases.export import ExportOptions, export_answers
    from pipeline.exports import Selection

    if path == "-" and console.is_json:
        raise InvalidInput("PATH - and --json both write to stdout; leave one of them out")
    columns = None if choices["columns"] is None else tuple(choices.pop("columns").split(","))
    choices["columns"] = columns
    selection = Selection(**{name: choices.pop(name) for name in ("failed", "where", "dedup", "vote", "columns")})
    target = None if path == "-" else local_path(path)
    other = None if beside is None else load(beside, ())
    options = ExportOptions(selection, beside=other, **choices)
    done = export_answers(load(job_file, overrides, shard), to, target, options, overwrite=overwrite)
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in done.left_out.items())
    if left_out:
        click.echo(f"left out: {left_out}" + ("" if done.rows else "; nothing is left to write"), err=True)
    if path == "-":
        click.echo(f"{counted(done.rows, 'row')}", err=True)
    else:
        data = {"path": path, "rows": done.rows, "left_out": dict(done.left_out)}
        console.result(f"{path}: {counted(done.rows, 'row')}", data)


COMMANDS = (export,)
