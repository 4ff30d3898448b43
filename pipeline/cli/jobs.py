"""Commands for whoever has many jobs: list, clean."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import Console, printable
from pipeline.cli.options import job_options, load_one, reported, shard_option
from pipeline.errors import InvalidInput
from pipeline.wording import counted, rounded_money

if TYPE_CHECKING:
    from pipeline.app.use_cases.clean import CleanupPlan
    from pipeline.app.use_cases.list_jobs import JobInfo
    from pipeline.config import Shard

_MOST_NAMES = 5
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


@click.command("list")
@click.option("--json", "is_json", is_flag=True, help="Print exactly one JSON object on stdout.")
@reported()
def list_(console: Console) -> None:
    """Show every job that has a checkpoint under .checkpoints/: state, rows, cost, age."""
    from pipeline.app.use_cases.list_jobs import CHECKPOINTS, list_jobs

    jobs, now = list_jobs(), time.time()
    lines = _table(jobs, now) if jobs else [f"no job has a checkpoint under {CHECKPOINTS}/"]
    console.result("\n".join(lines), {"jobs": [one.as_json(now) for one in jobs]})


def _table(jobs: Sequence[JobInfo], now: float) -> list[str]:
    cells: list[tuple[str, ...]] = [("job", "state", "rows", "answered", "failed", "cost USD", "last active")]
    for one in jobs:
        counts = ("?" if count is None else f"{count:,}" for count in (one.rows, one.succeeded, one.failed))
        usd = one.job_cost_usd
        cost = "?" if usd is None else rounded_money(usd, 4) + (" simulated" if one.is_simulated else "")
        cells.append((one.title, one.state.replace("_", " "), *counts, cost, _age(one, now)))
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for row in cells:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join([*left, *right]))
    return lines + [f"{one.title}: {one.error}" for one in jobs if one.error]


def _age(job: JobInfo, now: float) -> str:
    if job.active_at is None:
        return "?"
    seconds = max(0.0, now - job.active_at)
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    return f"{seconds / size:.0f} {unit} ago"


@click.command()
@job_options
@shard_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask; for scripts.")
@reported()
def clean(console: Console, job_file: str, overrides: Sequence[str], shard: Shard | None, yes: bool) -> None:
    """Delete the checkpoint of a finished job, if its output has all answers.

    Refuses if the job is running or not finished, or if the output is missing, damaged or another job's.
    `pipeline recover` can rebuild the checkpoint from the output.
    """

    def confirm(found: CleanupPlan) -> bool:
        if yes:
            return True
        if not console.is_terminal:
            raise InvalidInput(f"nobody can be asked whether {found.path} may be removed; say --yes")
        question = (
            f"Remove {found.path} ({found.bytes / 1e6:,.1f} MB)? {found.output} holds its {_words(found)}{_left(found)}"
        )
        try:
            return click.confirm(printable(question), err=True)
        except click.Abort:  # nobody answered
            return False

    from pipeline.app.use_cases.clean import clean as remove

    found, is_removed = remove(load_one(job_file, overrides, shard), confirm)
    text = f"removed {found.path}; {found.output} holds its {_words(found)}{_left(found)}"
    if not is_removed:
        text = "nothing was removed"
    console.result(text, found.as_json(removed=is_removed))


def _words(found: CleanupPlan) -> str:
    from pipeline.wording import money

    failed = f" and {counted(found.failed, 'failed row')}" if found.failed else ""
    is_known = found.job_cost_usd or not found.unpriced
    cost = f"for ${money(found.job_cost_usd)}" if is_known else "at an unknown cost"
    return f"{counted(found.succeeded, 'answer')}{failed}, {cost}"


def _left(found: CleanupPlan) -> str:
    if not found.left:
        return ""
    more = f" and {len(found.left) - _MOST_NAMES:,} more" if len(found.left) > _MOST_NAMES else ""
    return f"\nleft in {found.path}, for it is not the checkpoint's: {', '.join(found.left[:_MOST_NAMES])}{more}"


COMMANDS = (list_, clean)
