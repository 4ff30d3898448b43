"""What a person sees: results on stdout, everything else on stderr, and nothing at all where all is well in cron."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import click

from pipeline.app.signals import ignore_signals
from pipeline.errors import InvalidJob, PipelineError


@dataclass(frozen=True, slots=True)
class Console:
    """Where and how much a command speaks.

    `is_chatty` is True on a terminal or with --verbose, unless --quiet: only then is a success worth words.
    """

    is_json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False
    log_format: Literal["text", "json"] = "text"

    @property
    def is_terminal(self) -> bool:
        """Whether a person is likely to watch stderr."""
        return sys.stderr.isatty()

    @property
    def is_chatty(self) -> bool:
        """Whether to speak when all is well."""
        return not self.is_quiet and (self.is_verbose or self.is_terminal)

    def result(self, text: str, data: Mapping[str, Any]) -> None:
        """The last that a command says: `data` as one JSON object with --json, else `text`. No signal cuts it off."""
        ignore_signals()
        click.echo(json_text(data) if self.is_json else printable(text))

    def note(self, message: str) -> None:
        """Something that is worth knowing while all is well."""
        if self.is_chatty:
            self._log("info", message, {})

    def caution(self, message: str) -> None:
        """Something that may not end well."""
        if self.is_chatty:
            self._log("warning", message if self.log_format == "json" else f"warning: {message}", {})

    def warn(self, message: str, **facts: Any) -> None:
        """Something that is not well; said even in cron."""
        self._log("error", message, facts)

    def error(self, error: PipelineError) -> None:
        """Why a command ends badly: a line for each mistake, with its place where people watch."""
        if isinstance(error, InvalidJob):
            from pipeline.config import format_mistake, format_mistake_line

            for mistake in error.mistakes:
                in_full = self.is_chatty and self.log_format == "text"
                self._log("error", format_mistake(mistake) if in_full else format_mistake_line(mistake), {})
        else:
            self._log("error", str(error), {"kind": error.kind})

    def fault(self) -> None:
        """The traceback of the exception that is being handled: a fault of the program."""
        self._log("error", traceback.format_exc().rstrip(), {})

    def _log(self, level: str, message: str, facts: Mapping[str, Any]) -> None:
        if self.log_format == "json":
            stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
            message = json_text({"time": stamp, "level": level, "message": message, **facts})
        else:
            message = printable(message)
        click.echo(message, err=True)


def json_text(data: Any, indent: int | None = None) -> str:
    """JSON text, on one line without `indent`. Its strings hold nothing that ends a line, or that a terminal obeys."""
    text = json.dumps(data, ensure_ascii=False, indent=indent)
    return "".join(char if char == "\n" or char.isprintable() else json.dumps(char)[1:-1] for char in text)


def printable(text: str) -> str:
    """The text without anything that a terminal would obey; line ends and tabs stay."""
    return "".join(char if char in "\n\t" or char.isprintable() else repr(char)[1:-1] for char in text)
