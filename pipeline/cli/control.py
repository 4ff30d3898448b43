"""`pipeline control`: orders to a run under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import Console
from pipeline.cli.options import job_options, load_one, reported, shard_option
from pipeline.errors import InvalidInput

if TYPE_CHECKING:
    from pipeline.config import Shard


@click.command()
@job_options
@shard_option
@click.argument("action", type=click.Choice(["pause", "resume", "set"]))
@click.argument("setting", required=False, metavar="[limits.KEY=VALUE]")
@reported()
def control(
    console: Console, job_file: str, overrides: Sequence[str], shard: Shard | None, action: str, setting: str | None
) -> None:
    """Act on the current run of a job, within a second.

    `pause` sends nothing new and lets requests in flight finish. `resume` continues. `set` changes a limit for the rest
    of the run, such as limits.concurrency=8 or limits.max_cost_usd=20. Exit 2 if no run is under way.
    """
    from pipeline.app.observe.control import order, settable_key

    key = ""
    if (setting is not None) != (action == "set"):
        needed = "`set` needs limits.KEY=VALUE" if action == "set" else f"`{action}` takes nothing more"
        raise InvalidInput(f"control: {needed}")
    if setting is not None:
        key = setting.partition("=")[0].strip()
        settable_key(key)
    given = [] if setting is None else [setting]
    job = load_one(job_file, [*overrides, *given], shard, action, *given)
    said = order(job, action, key)
    console.result(f"{job.config.name}: {said}", {"job": job.config.name, "action": action, "said": said})


COMMANDS = (control,)
