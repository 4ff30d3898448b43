"""What goes wrong with a prompt: on one row (`PromptFailure`), or in the job (`Mistake`)."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from pipeline.errors import ErrorKind, Mistake


class PromptFailure(Exception):
    """A row that gives no request; nothing is sent for it. The message never holds what stands in the row.

    `key` is the job file's key the failure comes from, `template_line` the line (from 1) inside a template, where
    known. `exceeded_limit` tells a template that does too much (or never ends) from one that fails.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        key: str | None = None,
        template_line: int | None = None,
        exceeded_limit: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.key = key
        self.template_line = template_line
        self.exceeded_limit = exceeded_limit


def missing_column(key: str, column: str, columns: Iterable[str], where: str = "") -> Mistake:
    """The mistake of naming a column that the input does not have, with the nearest names it does have."""
    known = list(columns)
    return Mistake(
        message=f"{where}the input has no column {column!r}; it has: {', '.join(map(repr, known)) or 'none'}",
        key=key,
        suggestion=nearest(column, known) or ("name one of these columns" if known else None),
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known names most like the given one, as a question; None where none is near."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    near = [by_folded[folded] for folded in get_close_matches(name.casefold(), by_folded)]
    return f"did you mean {' or '.join(map(repr, near))}?" if near else None
