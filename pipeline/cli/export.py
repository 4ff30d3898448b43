"""`pipeline export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import Console
from pipeline.cli.options import ended, job_options, load
from pipeline.errors import InvalidInput
from pipeline.wording import counted

if TYPE_CHECKING:
    pass

_NOT_BUILT_YET = ("parquet", "messages", "prompt-completion", "openai-batch", "hf")
_FORMATS = ("jsonl", "csv", *_NOT_BUILT_YET)


@click.command()
@job_options
@click.option("--to", type=click.Choice(_FORMATS), required=True, help="The shape; jsonl and csv so far.")
@click.option(
    "--overwrite", is_flag=True, help="Replace a file that no export of this job wrote; write into a pipe or a device."
)
@click.argument("path")
def export(job_file: str, overrides: Sequence[str], is_json: bool, to: str, overwrite: bool, path: str) -> None:
    """Write the answers so far to PATH in another shape; `-` is stdout.

    A file at PATH that an export of this job wrote is replaced, any other only with --overwrite, and what the job
    lives by never.
    """
    console = Console(is_json)

    def action() -> None:
        from pipeline.app.answers import export_answers

        if to in _NOT_BUILT_YET:
            raise InvalidInput(f"--to {to} is not built yet; jsonl and csv are")
        if path == "-" and is_json:
            raise InvalidInput("PATH - and --json both write to stdout; leave one of them out")
        rows = export_answers(load(job_file, overrides), to, None if path == "-" else Path(path), overwrite=overwrite)
        if path == "-":
            click.echo(f"{counted(rows, 'row')}", err=True)
        else:
            console.result(f"{path}: {counted(rows, 'row')}", {"path": path, "rows": rows})

    ended(console, action)


COMMANDS = (export,)
