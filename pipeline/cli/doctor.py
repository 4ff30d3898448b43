"""`pipeline doctor`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from pipeline.cli.console import Console, printable
from pipeline.cli.options import reported, set_and_json
from pipeline.endings import Exit
from pipeline.errors import InvalidInput


@click.command()
@click.argument("job_file", metavar="[JOB]", required=False)
@set_and_json
@click.option("--online", is_flag=True, help="Also ask the endpoint for one token, and say what that costs.")
@reported()
def doctor(console: Console, job_file: str | None, overrides: Sequence[str], online: bool) -> None:
    """Check what runs depend on: Python, packages, disk, SQLite, clock, proxy and key.

    With JOB, check that job's endpoint, key and paths. Exits with 0 when everything is fine, else with 6 for the disk,
    5 for the endpoint, and 2 for anything else. Sends nothing without --online.
    """
    from pipeline.app.use_cases.doctor import default_job, run_checks
    from pipeline.config import load_job

    if job_file is None and overrides:
        raise InvalidInput("--set needs a JOB whose key it sets")
    job = default_job() if job_file is None else load_job(job_file, overrides)
    checks = list(run_checks(job, os.environ))
    if online and all(check.is_ok for check in checks if check.name in ("proxy", "key")):
        from pipeline.app.use_cases.probe import ask

        checks += ask(job, os.environ, lambda words: click.echo(printable(words), err=True))
    lines = []
    for check in checks:
        remedy = "" if check.is_ok else f": {check.remedy}"
        lines.append(f"{'ok' if check.is_ok else 'FIX':<4}  {check.name:<8}  {check.message}{remedy}")
    data = [
        {"name": check.name, "ok": check.is_ok, "message": check.message, "remedy": check.remedy} for check in checks
    ]
    code = next((check.exit_code for check in checks if not check.is_ok), Exit.DONE)
    console.result("\n".join(lines), {"ok": not code, "checks": data})
    sys.exit(code)


COMMANDS = (doctor,)
