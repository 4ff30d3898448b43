"""The `pipeline` command. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from pipeline.app.jobs.signals import Signals
from pipeline.cli import (
    cancel,
    control,
    doctor,
    estimate,
    export,
    gather,
    jobs,
    make,
    models,
    plan,
    quality,
    recover,
    report,
    run,
    show,
    status,
    validate,
)
from pipeline.cli.console import Console, printable
from pipeline.cli.failures import OF_COMMANDS, error_alone
from pipeline.cli.memory import keep_little
from pipeline.cli.options import failed as say_failure
from pipeline.cli.options import faulty
from pipeline.cli.streams import protect_streams
from pipeline.endings import Exit
from pipeline.engines.cores import write_no_core
from pipeline.engines.cycles import look_for_few
from pipeline.errors import InvalidInput, PipelineError
from pipeline.suggest import did_you_mean, nearest
from pipeline.version import __version__

_OTHER_NAMES = {
    "resume": "run",
    "start": "run",
    "continue": "run",
    "submit": "run",
    "retry": "retry-failed",
    "rerun": "retry-failed",
    "metrics": "status",
    "progress": "status",
    "ps": "list",
    "ls": "list",
    "jobs": "list",
    "stop": "control",
    "config": "validate",
    "check": "validate",
    "lint": "validate",
    "cost": "estimate",
    "preview": "show",
    "head": "show",
    "view": "show",
    "new": "init",
    "create": "init",
    "repair": "recover",
    "serve": "simulate",
}
"""What other tools call our commands, and people look for."""


class _Commands(click.Group):
    """The commands; for a name that is none, the error says which one is meant."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = arguments[0]
        if name not in self.commands and not name.startswith("-"):
            meant = [_OTHER_NAMES[name.lower()]] if name.lower() in _OTHER_NAMES else nearest(name, self.commands)
            known = [f"`pipeline {one}`" for one in meant if one in self.commands]
            hint = did_you_mean(known) or "see `pipeline --help`"
            raise click.UsageError(f"there is no command {name!r}; {hint}", context)
        return super().resolve_command(context, arguments)


_HELP = """Offline batch inference: a YAML job reads prompts, asks a chat endpoint, and writes one Parquet file.

\b
Exit codes:
"""


def _exit_codes() -> str:
    return "\n".join(f"  {code.codes:<13}  {code.meaning}" for code in Exit)


@click.group(
    cls=_Commands,
    help=_HELP + _exit_codes(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="pipeline")
def commands() -> None:
    """Offline batch inference."""


for module in (
    cancel,
    run,
    estimate,
    plan,
    validate,
    export,
    status,
    jobs,
    doctor,
    recover,
    gather,
    report,
    show,
    quality,
    make,
    models,
    control,
):
    for command in module.COMMANDS:
        commands.add_command(command)


def main() -> None:
    """Set up the process, run the command line, and exit with one of the documented codes."""
    keep_little()
    write_no_core()
    look_for_few()
    stdout = protect_streams()
    code = run_command(sys.argv[1:])
    if (lost := stdout.lost()) is not None:
        click.echo(f"pipeline: stdout cannot be written to: {lost.strerror}", err=True)
        code = code or Exit.CHECKPOINT
    gc.freeze()  # else the interpreter looks through all there is before it ends, for a tenth of a second
    sys.exit(code)


def run_command(arguments: Sequence[str]) -> Any:
    """Run a command line without the name of the program; returns its exit code. Every error becomes words and a code.

    Leaves the process as it is, but signals may be ignored afterwards: what the command has to say is all that is left.
    """
    console = Console("--json" in arguments)
    try:
        with Signals():
            _stand_somewhere()
            return commands.main(list(arguments), standalone_mode=False)
    except SystemExit as ended:
        return ended.code
    except click.ClickException as error:
        message = error.format_message().replace("\n\t", " ")  # choices, which click puts on a line each
        if console.is_json:
            context = error.ctx if isinstance(error, click.UsageError) else None
            failure = OF_COMMANDS.get(context.command.name if context else None, error_alone)
            console.result("", failure(InvalidInput(message)))
        if console.is_terminal:
            error.show()
        else:
            click.echo(f"pipeline: {printable(message)}", err=True)
        return Exit.INVALID
    except PipelineError as error:
        return say_failure(console, error)
    except Exception:
        return faulty(console)


def _stand_somewhere() -> None:
    """Raise InvalidInput where the working directory is gone: paths would lead nowhere."""
    try:
        os.getcwd()
    except OSError as error:
        words = f"the working directory cannot be used ({error.strerror}); change to one that is there"
        raise InvalidInput(words) from error
