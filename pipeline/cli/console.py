"""What a person sees: results on stdout, everything else on stderr, and nothing at all where all is well in cron."""

from __future__ import annotations

import json
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click
from msgspec import Struct

from pipeline.app.jobs.signals import ignore_signals
from pipeline.errors import InvalidJob, PipelineError
from pipeline.records import JsonObject

if TYPE_CHECKING:
    from pipeline.cli.logfile import LogFile


_LARGE = 1e15
_COLORS = {"warning": "yellow", "error": "red"}


class Console(Struct, frozen=True):
    """Where and how much a command speaks.

    `is_chatty` is True on a terminal or with --verbose, unless --quiet: only then is a success worth words. `log_file`
    takes every word in any case.
    """

    is_json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False
    log_format: Literal["text", "json"] = "text"
    log_file: LogFile | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether a person is likely to watch stderr."""
        return sys.stderr.isatty()

    @property
    def is_chatty(self) -> bool:
        """Whether to speak when all is well."""
        return not self.is_quiet and (self.is_verbose or self.is_terminal)

    @property
    def is_heard(self) -> bool:
        """Whether what is said while all is well is read anywhere."""
        return self.is_chatty or self.log_file is not None

    def result(self, text: str, data: JsonObject, *, is_good: bool | None = None) -> None:
        """Print the result of a command: `data` as one JSON object with --json, else `text`. No signal interrupts it.

        On a terminal the first line is green where `is_good`, and yellow where it is not.
        """
        ignore_signals()
        if self.is_json:
            click.echo(json_text(data))
            return
        first, newline, rest = printable(text).partition("\n")
        if is_good is not None:
            first = colored(first, "green" if is_good else "yellow", sys.stdout)
        click.echo(first + newline + rest)

    def note(self, message: str) -> None:
        """Say something that is worth knowing if all is well."""
        self._log("info", message, {}, message if self.is_chatty else None)

    def acknowledge(self, message: str) -> None:
        """Say that something the user just did was heard; with --quiet too, where a person watches."""
        self._log("info", message, {}, message if self.is_chatty or self.is_terminal else None)

    def caution(self, message: str) -> None:
        """Say something that may become a problem."""
        self._log("warning", message, {}, f"warning: {message}" if self.is_chatty else None)

    def warn(self, message: str, **facts: Any) -> None:
        """Say that something is wrong; printed even in cron."""
        self._log("error", message, facts, message)

    def record(self, message: str, **facts: Any) -> None:
        """Say something in the log file only."""
        self._log("info", message, facts, None)

    def error(self, error: PipelineError) -> None:
        """Say why a command ends badly: a line for each mistake, with its place where people watch."""
        if isinstance(error, InvalidJob):
            from pipeline.config import format_mistake, format_mistake_line

            for mistake in error.mistakes:
                in_full = self.is_chatty and self.log_format == "text"
                line = format_mistake_line(mistake)
                self._log("error", line, {}, format_mistake(mistake) if in_full else line)
        else:
            self.warn(str(error), kind=error.kind)

    def fault(self) -> None:
        """Print the traceback of the exception that is being handled: a fault of the program."""
        self.warn(traceback.format_exc().rstrip())

    def _log(self, level: str, message: str, facts: JsonObject, shown: str | None) -> None:
        """Write to the log file, and to stderr unless `shown` is None; as text, `shown` is printed."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        if self.log_format == "json":
            logged = line = json_text({"time": stamp, "level": level, "message": message, **facts})
        else:
            logged, line = f"{stamp} {level.upper()} {printable(message)}", printable(shown or "")
        if self.log_file is not None:
            self.log_file.add(logged)
        if shown is not None:
            if self.log_format == "text" and level in _COLORS:
                line = colored(line, _COLORS[level], sys.stderr)
            click.echo(line, err=True)


def colored(text: str, color: str, stream: TextIO) -> str:
    """Return the text in a color where `stream` is a terminal that shows colors and nobody asked for none: `NO_COLOR`
    (https://no-color.org) and `TERM=dumb` do.
    """
    is_wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return click.style(text, fg=color) if is_wanted else text


def json_text(data: Any, indent: int | None = None) -> str:
    """Return JSON text, on one line without `indent`. Its strings have no newlines and no control sequences."""
    text = json.dumps(data, ensure_ascii=False, indent=indent)
    return "".join(char if char == "\n" or char.isprintable() else json.dumps(char)[1:-1] for char in text)


def printable(text: str) -> str:
    """Return the text without control sequences; newlines and tabs are kept."""
    return "".join(char if char in "\n\t" or char.isprintable() else repr(char)[1:-1] for char in text)


def figure(value: Any) -> str:
    """Return a value of a summary for a person: numbers with separators, and `unknown` for what is not known."""
    if isinstance(value, float) and value >= _LARGE:
        return f"{value:.3g}"
    return "unknown" if value is None else f"{value:,}" if isinstance(value, int | float) else str(value)
