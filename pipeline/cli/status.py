"""`pipeline status`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline.app.signals import Signals
from pipeline.cli.console import Console, printable
from pipeline.cli.failures import of_status
from pipeline.cli.options import ended, job_options, load
from pipeline.errors import Interrupted
from pipeline.limits import Trouble

if TYPE_CHECKING:
    from pipeline.app.status import JobStatus

_SECONDS_A_LOOK = 2.0
_CLEAR = "\x1b[H\x1b[2J"
"""The cursor to the upper left and the screen empty (ECMA-48); what scrolled off it stays."""
_SILENT_SECONDS = 10.0
"""A run writes its figures every second; one that has not for so long is stopped, or waits for its disk."""


@click.command()
@job_options
@click.option("--watch", is_flag=True, help="Look again every two seconds until the job is over, or Ctrl-C.")
def status(job_file: str, overrides: Sequence[str], is_json: bool, watch: bool) -> None:
    """Show where a job stands, also while it runs.

    With --watch --json the one object is printed when the job is over.
    """
    console = Console(is_json)

    def action() -> None:
        from pipeline.app.status import status as look

        job = load(job_file, overrides)
        found = look(job)
        while watch and found.is_running:
            if not is_json:
                _show(status_text(found, job_file))
            time.sleep(_SECONDS_A_LOOK)
            found = look(job)
        if watch and not is_json:
            _show(status_text(found, job_file))
        else:
            console.result(status_text(found, job_file), found.as_json())

    def watched() -> None:
        try:
            with Signals():
                action()
        except Interrupted as error:
            sys.exit(error.exit_code)  # the usual way out, and no run's: there is nothing to say about it

    ended(console, watched if watch and not is_json else action, lambda error: of_status(error, job_file, overrides))


COMMANDS = (status,)


def _show(text: str) -> None:
    """In the place of what was shown before; where no terminal is, below it."""
    is_terminal = sys.stdout.isatty()
    click.echo(f"{_CLEAR if is_terminal else ''}{printable(text)}{'' if is_terminal else chr(10)}")


def status_text(found: JobStatus, job_file: str) -> str:
    """Where a job stands, for people: a line for each matter, the next command last."""
    from pipeline.cli.summary import cost_text, counts_text, next_command

    data, summary = found.as_json(), found.summary
    lines: list[tuple[str, str]] = []
    if summary.rows is not None:
        lines.append(("rows", counts_text(summary)))
    if found.is_running:
        lines += _speed(data)
    if summary.requests:
        lines.append(("requests", f"{summary.requests:,} ({summary.retries:,} retries) in {duration(summary.seconds)}"))
        lines.append(("tokens", f"{summary.prompt_tokens:,} prompt, {summary.completion_tokens:,} completion"))
    if summary.job_cost_usd is not None:
        projected = f"; about ${data['projected_cost_usd']} in the end" if summary.pending else ""
        lines.append(("cost", cost_text(summary) + projected))
    lines += [("failed", f"{one['rows']:,} {one['kind']}, such as {one['example']}") for one in data["errors"]]
    if summary.error is not None:
        lines.append(("stopped", summary.error.message))
    if summary.output:
        lines.append(("output", summary.output))
    if not found.is_running:
        lines.append(("next", next_command(summary, job_file)))
    return "\n".join([f"{summary.job}: {_state(found, data)}", *(f"  {name:<9} {text}" for name, text in lines)])


def _state(found: JobStatus, data: dict[str, Any]) -> str:
    if not found.is_running:
        at = f", {data['updated_at']}" if data["updated_at"] else ""
        return found.summary.status.replace("_", " ") + at
    return f"running: {found.holder}" if found.holder else "running"


def _speed(data: dict[str, Any]) -> list[tuple[str, str]]:
    """How fast a run is, and whether it still moves."""
    if data["updated_at"] is None:
        return [("progress", "it has not begun to send")]
    lines = []
    if data["recent_rows_per_second"] is not None:
        eta = "" if data["eta_seconds"] is None else f", {duration(data['eta_seconds'])} left"
        lines.append(("rate", f"{data['recent_rows_per_second']:,.1f} rows/s over the last minute{eta}"))
    flight = f"{data['in_flight'] or 0:,} in flight, {data['waiting'] or 0:,} waiting for another try"
    if data["paused_seconds"]:
        flight += f", the endpoint asks for a pause of {data['paused_seconds']:.0f} s"
    lines.append(("now", flight))
    if (found := data["trouble"]) is not None:
        trouble = Trouble(found["cause"], found["failures"], found["seconds"], found["gives_up_in_seconds"])
        lines.append(("trouble", trouble.told(found["where"])))
    if data["last_progress_seconds"] is not None:
        lines.append(("progress", f"{duration(data['last_progress_seconds'])} ago a request came to its end"))
    if data["silent_seconds"] > _SILENT_SECONDS:
        lines.append(("silent", f"for {duration(data['silent_seconds'])}: it is stopped, or waits for its disk"))
    return lines


def duration(seconds: float) -> str:
    """A time span in the two units that matter."""
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {whole % 60} s"
    return f"{seconds:.1f} s"
