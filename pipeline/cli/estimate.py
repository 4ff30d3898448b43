"""`pipeline estimate`, with or without a pilot."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from pipeline.app.observe.summary import Summary
from pipeline.cli.console import Console, figure
from pipeline.cli.options import job_options, load, reported, shard_option
from pipeline.wording import counted, money

if TYPE_CHECKING:
    from pipeline.app.use_cases.forecast import Forecast
    from pipeline.cli.summary import SummaryText
    from pipeline.config import Shard
    from pipeline.estimate import Range

_MOST_PILOT_ROWS = 100_000


@click.command()
@job_options
@shard_option
@click.option(
    "--pilot",
    type=click.IntRange(1, _MOST_PILOT_ROWS),
    metavar="N",
    help="Send N random rows of the job and learn from them; their answers count as done.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="A different seed draws different rows for the pilot."
)
@reported()
def estimate(
    console: Console, job_file: str, overrides: Sequence[str], shard: Shard | None, pilot: int | None, seed: int
) -> None:
    """Show the plan with tokens, cost and time as ranges; sends nothing without --pilot.

    A pilot is a run of N rows, with the same lock, limits, caps and exit codes.
    """
    from pipeline.app.running.options import RunOptions
    from pipeline.app.running.run import Run
    from pipeline.app.use_cases.forecast import plan_ahead
    from pipeline.cli.summary import SummaryText
    from pipeline.config import JobCall

    job = load(job_file, overrides, shard)
    if pilot is None:
        found = plan_ahead(job, RunOptions())
        console.result(_text(found, None, job.config.endpoint.is_simulator), found.as_json())
        return
    console.note(f"pilot: {counted(pilot, 'row')} at most, drawn with seed {seed}")
    run = Run(job, RunOptions(limit=pilot, seed=seed))
    summary = run.execute()
    if summary.error is not None:
        _stopped(console, SummaryText(summary, JobCall(job_file, overrides, shard), job))
    else:
        found = plan_ahead(job, RunOptions(), run.first_event)
        text = _text(found, summary, job.config.endpoint.is_simulator)
        console.result(text, {**found.as_json(), "pilot": summary.as_json()})
    sys.exit(summary.exit_code)


def _stopped(console: Console, told: SummaryText) -> None:
    """Say why a pilot gave no estimate; what it has learned is in the journal."""
    if console.is_json:
        pilot = told.summary.as_json()
        console.result("", {"pilot": pilot, "error": pilot["error"]})
    console.warn(f"{told.one_line()}; the answers so far are saved", exit_code=told.summary.exit_code)


def _text(found: Forecast, pilot: Summary | None, is_simulated: bool) -> str:
    simulated = " simulated" if is_simulated else ""
    rows = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in asdict(found.rows).items())
    lines = [f"{found.job}: {rows}"]
    if pilot is not None:
        lines.append(
            f"  {'pilot':<19} {counted(pilot.requests, 'request')} for ${money(pilot.cost_usd)}{simulated}"
            f" in {pilot.seconds:,.1f} s; its answers count as done"
        )
        if pilot.failed:
            lines.append(f"  {'failed so far':<19} {counted(pilot.failed, 'row')}")
    estimate = found.estimate
    lines += [
        "still to send:",
        f"  {'requests':<19} {estimate.requests:,}",
        f"  {'prompt tokens':<19} {_range(estimate.prompt_tokens)}",
        f"  {'completion tokens':<19} {_range(estimate.completion_tokens)}",
        f"  {'cost usd':<19} {_usd(found.cost_usd)}{simulated}",
        f"  {'seconds':<19} {_range(found.seconds)}",
    ]
    for cap, bought in found.affordable_rows.items():
        lines.append(f"  {cap:<19} pays for {'an unknown number of' if bought is None else _range(bought)} rows")
    is_known = found.spent_usd or found.whole_job_usd is not None
    spent = f"with ${money(found.spent_usd)}{simulated} spent so far" if is_known else "what was spent so far included"
    if found.possibly_billed_usd:
        spent += f", but not ${money(found.possibly_billed_usd)} possibly billed in addition"
    lines += [
        "whole job:",
        f"  {'cost usd':<19} {_usd(found.whole_job_usd)}{simulated}, {spent}",
        found.assumptions,
        *([] if found.restored is None else [found.restored.note]),
    ]
    return "\n".join(lines)


def _range(values: Range[Any]) -> str:
    return f"{figure(values.expected)} ({figure(values.low)} to {figure(values.high)})"


def _usd(amounts: Range[Decimal] | None) -> str:
    return "unknown" if amounts is None else _range(amounts.map(money))


COMMANDS = (estimate,)
