"""Commands that need no job: init, schema, simulate."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.endings import Exit
from pipeline.errors import InvalidInput


@click.command()
@click.argument("directory", metavar="DIR")
def init(directory: str) -> None:
    """Write a commented starter job, a sample input, and the same job for the real endpoint to DIR."""
    from importlib.resources import files

    target = Path(directory)
    starter = {
        name: files("pipeline.cli").joinpath("starter", name).read_text("utf-8")
        for name in ("job.yaml", "prompts.csv", "real.yaml")
    }
    standing = [str(target / name) for name in starter if os.path.exists(target / name)]
    if standing:
        click.echo(f"{', '.join(standing)}: exists already; nothing was written", err=True)
        sys.exit(Exit.INVALID)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, text in starter.items():
            (target / name).write_text(text, encoding="utf-8")
    except OSError as error:
        click.echo(f"{target}: cannot be written to: {error.strerror}", err=True)
        sys.exit(Exit.INVALID)
    click.echo(
        f"wrote {', '.join(str(target / name) for name in starter)}\n"
        f"next: cd {shlex.quote(str(target))} && pipeline run job.yaml   (no key, no network, no cost)\n"
        "then: export DATAOORTS_API_KEY=… && pipeline run real.yaml"
    )


@click.command()
def schema() -> None:
    """Print the job file's JSON Schema."""
    from pipeline.config import job_schema

    click.echo(json.dumps(job_schema(), indent=2))


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 picks a free port.")
@click.option("--ledger", metavar="PATH", help="Append every request and its bill to this JSON Lines file.")
@click.option("--latency-seconds", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Mean latency.")
@click.option(
    "--latency-spread", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Sigma of its logarithm."
)
@click.option(
    "--fault-rate", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share of faulty replies."
)
@click.option(
    "--broken-json-rate",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of structured answers that are not what was asked for.",
)
@click.option("--varies", is_flag=True, help="Answer a request that is asked again differently, unless it has a seed.")
@click.option("--seed", type=int, default=0, show_default=True, help="Makes answers, latencies and faults repeatable.")
@click.option(
    "--batch-seconds", type=click.FloatRange(min=0), default=0.0, show_default=True, help="How long a batch takes."
)
@click.option(
    "--batch-fault",
    "batch_faults",
    multiple=True,
    metavar="NAME",
    help="What the first batch meets, then the second, and so on; docs/simulator.md lists the names.",
)
@click.option(
    "--requests-per-minute", type=click.FloatRange(min=0, min_open=True), help="Refuse requests beyond this rate."
)
@click.option("--best-concurrency", type=click.IntRange(min=1), help="Work on so many at once; the others wait.")
def simulate(**settings: Any) -> None:
    """Serve the embedded endpoint on 127.0.0.1 (/api/v1 and /v1/chat/completions) until interrupted."""
    from pipeline.simulator import Settings, serve

    try:
        serve(Settings(**settings), click.echo)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        flags = f"--port {settings['port']}" + (f" --ledger {settings['ledger']}" if settings["ledger"] else "")
        raise InvalidInput(f"{flags}: the embedded endpoint cannot start: {error}") from error


COMMANDS = (init, schema, simulate)
