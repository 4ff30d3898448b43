"""The first rows tried before anything is sent: what is wrong with the job, and which rows fail by themselves."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable

from msgspec import Struct, field

from pipeline.errors import ErrorKind, Mistake
from pipeline.prompts.failures import PromptFailure, spelled
from pipeline.records import Request, Row


class Trial(Struct):
    """What came of trying rows. `rows` is how many were tried, `unsendable` counts those that make no request."""

    mistakes: list[Mistake] = field(default_factory=list)
    rows: int = 0
    unsendable: Counter[ErrorKind] = field(default_factory=Counter)


def try_rows(
    request: Callable[[Row, float], Request],
    rows: Iterable[Row],
    seconds: float,
    total_seconds: float,
    most_tokens: float | None,
) -> Trial:
    """Make the requests of some rows, and send none.

    A template that exceeds its bounds on any row is a mistake; and so is a template, a messages column or a parameter's
    column that fails on every row. What fails on some rows is not, nor is a prompt that is empty, too long, or lacks a
    value: those rows fail by themselves. A row that asks for more than `most_tokens` is a mistake too. One row may take
    `seconds`; none is begun after `total_seconds`.
    """
    tried = Trial()
    end = time.monotonic() + total_seconds
    first: PromptFailure | None = None
    some_fit = False
    for row in rows:
        if time.monotonic() > end:
            break
        tried.rows += 1
        try:
            max_tokens = request(row, seconds).max_tokens
        except PromptFailure as failure:
            if failure.exceeded_limit:
                tried.mistakes = [Mistake(f"{failure.message} (row {tried.rows} of the input)", key=failure.key)]
                return tried
            tried.unsendable[failure.kind] += 1
            some_fit = some_fit or failure.kind is not ErrorKind.PROMPT_ERROR or failure.lacks_value
            first = first or failure
            continue
        some_fit = True
        if most_tokens is not None and max_tokens is not None and max_tokens > most_tokens:
            tried.mistakes = [_asks_for_too_much(max_tokens, most_tokens, tried.rows)]
            return tried
    if first is not None and not some_fit:
        tried.mistakes = [Mistake(f"{first.message}, and so do all rows tried", key=first.key)]
    return tried


def same_for_all_rows(templates: Iterable[str], columns: Iterable[str]) -> Mistake:
    """Return the mistake of a prompt that uses none of the input's columns, with the column that it may be meant to
    use.
    """
    text = "\n".join(templates)
    meant = next((one for one in columns if re.search(rf"(?<!\{{)\{{ *{re.escape(one)} *\}}(?!\}})", text)), None)
    if meant is None:
        suggestion = "use one, as in {{ column }}; or set `prompt.constant: true` to ask every row the same"
    else:
        suggestion = f"write {{{{ {spelled(meant)} }}}} instead of {{{meant}}}"
    return Mistake("uses no column, so every row would be asked the same", key="prompt.user", suggestion=suggestion)


def _asks_for_too_much(max_tokens: int, most_tokens: float, number: int) -> Mistake:
    return Mistake(
        f"row {number} of the input asks for {max_tokens:,} tokens, more than `limits.tokens_per_minute` allows,"
        f" {most_tokens:,g}",
        key="parameters.max_tokens",
        suggestion=f"lower it there, or raise `limits.tokens_per_minute` to at least {max_tokens:,}",
    )
