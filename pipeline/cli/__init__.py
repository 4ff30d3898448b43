"""The `pipeline` command. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import json
import signal
import sys

import click

from pipeline import __version__
from pipeline.cli import look, make, run
from pipeline.errors import InvalidInput

NOT_BUILT_YET = ("recover", "report")


class _Commands(click.Group):
    """The group; it refuses by name what is documented and not built yet."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in NOT_BUILT_YET:
            raise click.UsageError(f"`pipeline {name}` is not built yet in version {__version__}.")
        return super().get_command(context, name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pipeline")
def commands() -> None:
    """Offline batch inference: a YAML job reads prompts, asks a chat endpoint, and writes one Parquet file.

    \b
    Exit codes: 0 every row has an answer; 2 the job, its input or a flag is wrong; 3 finished, some rows
    failed; 4 stopped at a cap or the deadline; 5 the endpoint refuses the job; 6 the disk or the checkpoint
    failed; 75 another run holds the lock; 130/143 stopped by a signal; 1 a fault of the program.
    """


for command in (*run.COMMANDS, *look.COMMANDS, *make.COMMANDS):
    commands.add_command(command)


def main() -> None:
    """The entry point: runs the command line and exits with the documented codes."""
    # Until a command takes the signals over, they end it with the documented exit codes.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, frame: sys.exit(128 + received))
    # What a terminal or pipe cannot show must not end a run.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(commands.main(standalone_mode=False))
    except click.ClickException as error:
        if "--json" in sys.argv:
            found = {"kind": InvalidInput.kind, "message": error.format_message()}
            click.echo(json.dumps({"error": found}, ensure_ascii=False))
        if sys.stderr.isatty():
            error.show()
        else:
            click.echo(f"pipeline: {error.format_message()}", err=True)
        sys.exit(InvalidInput.exit_code)
