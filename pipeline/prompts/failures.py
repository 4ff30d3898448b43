"""What goes wrong with a prompt: on one row (`PromptFailure`), or in the job (`Mistake`)."""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterable

from pipeline.errors import ErrorKind, Mistake
from pipeline.suggest import did_you_mean, nearest


class PromptFailure(Exception):
    """A row that makes no request; nothing is sent for it. The message never holds values of the row.

    `key` is the job file's key the failure comes from, `template_line` the line (from 1) inside a template, where
    known. `exceeded_limit` tells a template that does too much (or never ends) from one that fails, `lacks_value` a row
    that fails because a value is missing in it.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        key: str | None = None,
        template_line: int | None = None,
        exceeded_limit: bool = False,
        lacks_value: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.key = key
        self.template_line = template_line
        self.exceeded_limit = exceeded_limit
        self.lacks_value = lacks_value


def missing_column(
    key: str, column: str, columns: Iterable[str], where: str = "", *, spells: bool = False, whose: str = "input"
) -> Mistake:
    """Return the mistake of naming a column that the input does not have, with the most similar names that it has.

    With `spells` the names are written as a template has to write them.
    """
    known = list(columns)
    near = meant(column, known, spells=spells)
    return Mistake(
        message=f"{where}the {whose} has no column {column!r}; it has: {', '.join(map(repr, known)) or 'none'}",
        key=key,
        suggestion=near or ("name one of these columns" if known else None),
    )


def meant(name: str, known: Iterable[str], *, spells: bool = False) -> str | None:
    """Return the known names most like the given one, as a question; None if none is similar."""
    near = nearest(name, known, count=3)
    if spells:
        # `{{ Betrag (€) }}` and `{{ order-id }}` ask for `Betrag` and `order`, which need not be close in length.
        near += [one for one in known if one not in near and not is_plain(one) and one.startswith(name)]
    return did_you_mean([spelled(one) if spells and not is_plain(one) else repr(one) for one in near])


def is_plain(column: str) -> bool:
    """Return whether a template can use the column by its bare name."""
    return column.isidentifier() and not keyword.iskeyword(column)


def spelled(column: str) -> str:
    """Return the column as a template has to write it: `question`, or `row["Betrag (€)"]`."""
    return column if is_plain(column) else f"row[{json.dumps(column, ensure_ascii=False)}]"
