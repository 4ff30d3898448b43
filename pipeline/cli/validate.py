"""`pipeline validate`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import Console, json_text
from pipeline.cli.failures import of_validate
from pipeline.cli.options import Count, job_options, reported
from pipeline.wording import counted

if TYPE_CHECKING:
    from pipeline.prompts import Trial


@click.command()
@job_options
@click.option("--show", type=Count(min=0), default=0, metavar="N", help="Show the first N requests.")
@reported(of_validate)
def validate(console: Console, job_file: str, overrides: Sequence[str], show: int) -> None:
    """Check everything that can be checked without a call, and name all mistakes at once."""
    from pipeline.app.jobs.disk import checkpoint_warnings
    from pipeline.app.jobs.machine import too_few_threads
    from pipeline.app.use_cases.validate import validate as check
    from pipeline.config import key_note
    from pipeline.engines import Demand

    found = check(job_file, overrides, show)
    for warning in checkpoint_warnings(found.job.checkpoint_path):
        console.caution(warning)
    if (key := key_note(found.job.config.endpoint, os.environ)) is not None:
        console.caution(f"{key}; endpoint.api_key_env names the variable of another")
    if (lack := too_few_threads(Demand.of(found.job.config, found.rows))) is not None:
        console.caution(f"limits.concurrency: {lack.message}: {lack.remedy}")
    data = {
        "valid": True,
        "errors": [],
        "unsendable": dict(found.tried.unsendable),
        **({"requests": found.requests} if show else {}),
    }
    shown = "".join(f"\n{json_text(request, indent=2)}" for request in found.requests)
    console.result(f"{job_file}: valid; {counted(found.rows, 'row')}{_unsendable(found.tried)}{shown}", data)


def _unsendable(tried: Trial) -> str:
    count = tried.unsendable.total()
    if not count:
        return ""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in tried.unsendable.most_common())
    rows = counted(tried.rows, "row")
    return f"\nof the first {rows}, {count:,} will fail before anything is sent: {kinds}; --show N says why"


COMMANDS = (validate,)
