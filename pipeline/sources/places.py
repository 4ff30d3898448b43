"""Where something in the input is, and what is wrong there."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pipeline.errors import InvalidJob, Mistake


class Place(Struct, frozen=True):
    """A line of a text file, or a row of a file that has no lines; both count from 1."""

    file: str
    number: int
    unit: Literal["line", "row"] = "line"

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"

    def error(self, message: str, suggestion: str | None = None, *, key: str = "input.path") -> InvalidJob:
        """Return the error for this place; `key` is that of the job file which has to do with it."""
        if self.unit == "line":
            return InvalidJob([Mistake(message, self.file, self.number, key=key, suggestion=suggestion)])
        return InvalidJob([Mistake(f"row {self.number}: {message}", self.file, key=key, suggestion=suggestion)])


def input_error(message: str, suggestion: str | None = None) -> InvalidJob:
    """Return the error for what `input.path` names; the message names the file."""
    return InvalidJob([Mistake(message, key="input.path", suggestion=suggestion)])
