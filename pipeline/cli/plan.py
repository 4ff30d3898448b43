"""`pipeline plan`: what the jobs of a chain take and cost together, before any of them runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from pipeline.cli.console import Console, figure
from pipeline.cli.options import load, reported, set_and_json
from pipeline.wording import counted, money

if TYPE_CHECKING:
    from pipeline.app.use_cases.chain import ChainPlan
    from pipeline.app.use_cases.needs import Needs
    from pipeline.estimate import Range


@click.command()
@click.argument("job_files", metavar="JOB...", nargs=-1, required=True)
@set_and_json
@reported()
def plan(console: Console, job_files: Sequence[str], overrides: Sequence[str]) -> None:
    """Show what the jobs of a chain take and cost, each by itself and together; sends nothing.

    A chain is jobs that read each other's output (input.path: {job: ...}). The jobs that a named one reads come along.
    Rows that a job is yet to make are estimated. --set holds for each job that is named.
    """
    from pipeline.app.use_cases.chain import plan_chain

    found = plan_chain([load(file, overrides) for file in job_files])
    console.result("\n".join(_lines(found)), found.as_json())


def _lines(found: ChainPlan) -> Iterator[str]:
    for number, stage in enumerate(found.stages, 1):
        simulated = " simulated" if stage.is_simulated else ""
        rows = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in asdict(stage.rows).items())
        yield f"{number}. {stage.job} ({stage.file}): {rows}"
        if stage.rows_to_come.high:
            yield f"  {'rows to come':<19} {_range(stage.rows_to_come)}"
        yield from _needs(stage.needs, simulated)
        yield f"  {stage.assumptions}"
    yield f"{counted(len(found.stages), 'stage')}, one after the other:"
    yield from _needs(found.needs, " simulated" if all(stage.is_simulated for stage in found.stages) else "")


def _needs(needs: Needs, simulated: str) -> Iterator[str]:
    yield f"  {'requests':<19} {_range(needs.requests)}"
    yield f"  {'prompt tokens':<19} {_range(needs.prompt_tokens)}"
    yield f"  {'completion tokens':<19} {_range(needs.completion_tokens)}"
    cost = None if needs.cost_usd is None else needs.cost_usd.map(money)
    spent = f", with ${money(needs.spent_usd)}{simulated} spent so far" if cost is not None or needs.spent_usd else ""
    yield f"  {'cost usd':<19} {_range(cost)}{simulated}{spent}"
    yield f"  {'seconds':<19} {_range(needs.seconds)}"


def _range(values: Range[Any] | None) -> str:
    if values is None:
        return "unknown"
    if values.low == values.high:
        return figure(values.expected)
    return f"{figure(values.expected)} ({figure(values.low)} to {figure(values.high)})"


COMMANDS = (plan,)
