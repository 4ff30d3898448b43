"""Small pieces of text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

LONG_SECONDS = 1e9


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 row`, `2,000 rows`, `3 retries`."""
    if count == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {plural}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return the words as code in a sentence: "`a`, `b` and `c`"."""
    marked = [f"`{word}`" for word in words]
    return marked[0] if len(marked) == 1 else f"{', '.join(marked[:-1])} {last} {marked[-1]}"


def range_text(noun: str, minimum: float | None, maximum: float | None) -> str:
    """Return what a number may be, bounds included: `a number from 0 to 2`, `an integer of at least 1`."""
    if maximum is None:
        return noun if minimum is None else f"{noun} of at least {minimum:,}"
    return f"{noun} of at most {maximum:,}" if minimum is None else f"{noun} from {minimum:,} to {maximum:,}"


def ranges(numbers: Iterable[int]) -> str:
    """Return ascending numbers as text: `1-3,7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def lasting(seconds: float) -> str:
    """Return how long something lasts: `90 s`, `over 30 years`."""
    return f"{seconds:.0f} s" if seconds < LONG_SECONDS else "over 30 years"


def money(amount: Decimal) -> str:
    """Return USD as exact decimal text, without an exponent or trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded_money(amount: Decimal, decimals: int) -> str:
    """Return USD with so many decimals, and with more where it would read as 0: its first two digits."""
    is_seen = not amount or round(amount, decimals)
    return f"{amount:,.{decimals if is_seen else 1 - amount.adjusted()}f}"
