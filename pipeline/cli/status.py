"""`pipeline status`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pipeline.app.jobs.signals import Signals
from pipeline.cli.console import Console, printable
from pipeline.cli.failures import of_status
from pipeline.cli.options import ended, job_options, load, shard_option
from pipeline.errors import Interrupted
from pipeline.limits import Trouble
from pipeline.records import JsonObject
from pipeline.wording import LONG_SECONDS, counted, lasting, ranges

if TYPE_CHECKING:
    from pipeline.app.observe.shards import ShardState
    from pipeline.app.observe.status import JobStatus
    from pipeline.config import Job, JobCall, Shard

_SECONDS_A_LOOK = 2.0
_CLEAR = "\x1b[H\x1b[2J"
"""The cursor to the upper left and the screen empty (ECMA-48); what scrolled off it stays."""
_SILENT_SECONDS = 10.0
"""A run writes its figures every second; one that has not for so long is stopped, or waits for its disk."""


_IS_GOOD = {"succeeded": True, "failed_rows": False, "stopped": False, "interrupted": False}


@click.command()
@job_options
@shard_option
@click.option("--watch", is_flag=True, help="Refresh every two seconds until the job ends, or Ctrl-C.")
def status(job_file: str, overrides: Sequence[str], is_json: bool, shard: Shard | None, watch: bool) -> None:
    """Show the status of a job, also while it runs.

    With --watch --json the one object is printed when the job ends.
    """
    console = Console(is_json)

    def action() -> None:
        from pipeline.app.observe.status import status as get_status
        from pipeline.config import JobCall

        job = load(job_file, overrides, shard)
        found = get_status(job)

        def text() -> str:
            return status_text(found, JobCall(job_file, overrides, shard), job)

        while watch and found.is_running:
            if not is_json:
                _show(text())
            time.sleep(_SECONDS_A_LOOK)
            found = get_status(job)
        if watch and not is_json:
            _show(text())
        else:
            console.result(text(), found.as_json(), is_good=_IS_GOOD.get(found.summary.status))

    def watched() -> None:
        try:
            with Signals():
                action()
        except Interrupted as error:
            sys.exit(error.exit_code)  # the usual way out, and no run's: there is nothing to say about it

    ended(
        console,
        watched if watch and not is_json else action,
        lambda error: of_status(error, job_file, overrides, shard),
    )


COMMANDS = (status,)


def _show(text: str) -> None:
    """Show a text in place of the one before; below it if the terminal cannot do that."""
    can_clear = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    click.echo(f"{_CLEAR if can_clear else ''}{printable(text)}{'' if can_clear else chr(10)}")


def status_text(found: JobStatus, call: JobCall, job: Job | None = None) -> str:
    """Return the status of a job for people, one line per item, the next command last."""
    from pipeline.cli.summary import SummaryText, counts_text, requests_text, tokens_text

    data, summary = found.as_json(), found.summary
    told = SummaryText(summary, call, job)
    lines: list[tuple[str, str]] = []
    if summary.rows is not None:
        lines.append(("rows", counts_text(summary, with_kinds=not data["errors"])))
    if found.shards:
        lines.append(("shards", _shards_text(found.shards)))
    elif found.is_running:
        lines += _speed(data)
    if summary.requests and not found.shards:  # their last runs were several, at several times
        lines.append(("requests", f"{requests_text(summary)} in {duration(summary.seconds)}"))
        lines.append(("tokens", tokens_text(summary)))
    if (cost := told.cost(has_run=not found.shards and found.knows_run)) is not None:
        projected = data["projected_cost_usd"] if summary.pending else None
        lines.append(("cost", cost if projected is None else f"{cost}; about ${projected} in the end"))
    if found.restored is not None:
        lines.append(("restored", f"from {found.restored.path}, a copy of {found.restored.copied_at}"))
    if found.cache is not None:
        lines.append(("cache", f"{counted(found.cache['hits'], 'answer')} taken, ${found.cache['saved_usd']} saved"))
    lines += [("failed", f"{one['rows']:,} {one['kind']}, such as {one['example']}") for one in data["errors"]]
    lines += [("batch", _batch_text(one)) for one in data.get("batches", [])]
    if summary.error is not None:
        lines.append(("stopped", summary.error.message))
    if summary.output:
        lines.append(("output", summary.output))
    shown = [f"{summary.job}: {_state(found, data)}", *(f"  {name:<9} {text}" for name, text in lines)]
    if found.is_running:
        return "\n".join(shown)
    if found.shards:
        return "\n".join([*shown, f"  next      {_after_shards(found, call)}"])
    return "\n".join([*shown, *told.next_lines("  next      ")])


def _shards_text(shards: Sequence[ShardState]) -> str:
    numbers: dict[str, list[int]] = {}
    for one in shards:
        numbers.setdefault(one.state, []).append(one.shard.number)
    told = (f"{len(found):,} {state.replace('_', ' ')} ({ranges(found)})" for state, found in numbers.items())
    return ", ".join(told)


def _after_shards(found: JobStatus, call: JobCall) -> str:
    left = next((one.shard for one in found.shards if not one.is_done), None)
    if left is not None:
        return call.command("run", "--shard", str(left))
    if found.summary.output:
        return call.command("inspect")
    return call.command("gather", "--shards", str(len(found.shards)))


def _batch_text(batch: JsonObject) -> str:
    name = batch["batch_id"] or "not known to be created"
    done = f"{batch['completed'] + batch['failed']:,} of {batch['requests']:,} lines"
    worst = "" if batch["worst_usd"] is None else f", at most ${batch['worst_usd']}"
    return f"{name}: {batch['status'].replace('_', ' ')}, {duration(batch['age_seconds'])} old, {done}{worst}"


def _state(found: JobStatus, data: JsonObject) -> str:
    if not found.is_running:
        at = f", {data['updated_at']}" if data["updated_at"] else ""
        return found.summary.status.replace("_", " ") + at
    return f"running: {found.holder}" if found.holder else "running"


def _speed(data: JsonObject) -> list[tuple[str, str]]:
    """Return how fast a run is, and whether it still moves."""
    if data["updated_at"] is None:
        return [("progress", "it has not begun to send")]
    lines = []
    if data["paused"]:
        lines.append(("paused", "by `pipeline control`; nothing new is sent until it resumes"))
    if data["set"]:
        lines.append(("set", ", ".join(f"{key}={value}" for key, value in data["set"].items())))
    if data["recent_rows_per_second"] is not None:
        eta = "" if data["eta_seconds"] is None else f", {duration(data['eta_seconds'])} left"
        lines.append(("rate", f"{data['recent_rows_per_second']:,.1f} rows/s over the last minute{eta}"))
    most = f" of {data['concurrency']:,}" if data["concurrency"] else ""
    flight = f"{data['in_flight'] or 0:,}{most} in flight, {data['waiting'] or 0:,} waiting for another try"
    if data["paused_seconds"]:
        flight += f", the endpoint asks for a pause of {duration(data['paused_seconds'])}"
    lines.append(("now", flight))
    if (waits := data["quota"]) is not None:
        lines.append(("quota", waiting_text(waits["cause"], waits["until"])))
    if (found := data["trouble"]) is not None:
        trouble = Trouble(found["cause"], found["failures"], found["seconds"], found["gives_up_in_seconds"])
        lines.append(("trouble", trouble.sentence(found["where"])))
    if data["last_progress_seconds"] is not None:
        lines.append(("progress", f"{duration(data['last_progress_seconds'])} ago a request came to its end"))
    if data["silent_seconds"] > _SILENT_SECONDS:
        lines.append(("silent", f"for {duration(data['silent_seconds'])}: it is stopped, or waits for its disk"))
    return lines


def waiting_text(cause: str, until: float) -> str:
    """Return what a run waits for, and until when it does; `until` is in Unix seconds."""
    return f"{cause}: waiting until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    if seconds >= LONG_SECONDS:
        return lasting(seconds)
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {whole % 60} s"
    return f"{seconds:.1f} s"
