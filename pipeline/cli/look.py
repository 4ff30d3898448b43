"""Commands that look without sending: validate, export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.console import Console, json_text
from pipeline.cli.failures import of_validate
from pipeline.cli.options import ended, job_options, load
from pipeline.errors import InvalidInput
from pipeline.wording import counted

if TYPE_CHECKING:
    from pipeline.prompts import Trial

_NOT_BUILT_YET = ("parquet", "messages", "prompt-completion", "openai-batch", "hf")
_FORMATS = ("jsonl", "csv", *_NOT_BUILT_YET)


@click.command()
@job_options
@click.option("--show", type=click.IntRange(min=0), default=0, metavar="N", help="Show the first N requests.")
def validate(job_file: str, overrides: Sequence[str], is_json: bool, show: int) -> None:
    """Check everything that can be checked without a call, and name all mistakes at once."""
    console = Console(is_json)

    def action() -> None:
        from pipeline.app.disk import checkpoint_warnings
        from pipeline.app.look import validate as check
        from pipeline.app.machine import too_few_threads

        found = check(job_file, overrides, show)
        for warning in checkpoint_warnings(found.job.checkpoint_path):
            console.caution(warning)
        if (lack := too_few_threads(found.job, found.rows)) is not None:
            console.caution(f"limits.concurrency: {lack.message}: {lack.remedy}")
        data: dict[str, Any] = {"valid": True, "errors": [], "unsendable": dict(found.tried.unsendable)}
        if show:
            data["requests"] = found.requests
        shown = "".join(f"\n{json_text(request, indent=2)}" for request in found.requests)
        console.result(f"{job_file}: valid; {counted(found.rows, 'row')}{_unsendable(found.tried)}{shown}", data)

    ended(console, action, of_validate)


def _unsendable(tried: Trial) -> str:
    count = tried.unsendable.total()
    if not count:
        return ""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in tried.unsendable.most_common())
    rows = counted(tried.rows, "row")
    return f"\nof the first {rows}, {count:,} will fail before anything is sent: {kinds}; --show N says why"


@click.command()
@job_options
@click.option("--to", type=click.Choice(_FORMATS), required=True, help="The shape; jsonl and csv so far.")
@click.option("--overwrite", is_flag=True,
              help="Replace a file that no export of this job wrote; write into a pipe or a device.")  # fmt: skip
@click.argument("path")
def export(job_file: str, overrides: Sequence[str], is_json: bool, to: str, overwrite: bool, path: str) -> None:
    """Write the answers so far to PATH in another shape; `-` is stdout.

    A file at PATH that an export of this job wrote is replaced, any other only with --overwrite, and what the job
    lives by never.
    """
    console = Console(is_json)

    def action() -> None:
        from pipeline.app.look import export_answers

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


COMMANDS = (validate, export)
