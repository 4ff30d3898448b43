"""What was probably meant by a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_LONGEST = 100
"""Characters of a name that is compared: the comparison takes time with the square of its length."""


def nearest(name: str, known: Iterable[str], count: int = 1) -> list[str]:
    """Return the known names most like the given one whatever their case, the most similar first; at most `count`."""
    if len(name) > _LONGEST:
        return []
    by_folded = {candidate.casefold(): candidate for candidate in known}
    return [by_folded[folded] for folded in get_close_matches(name.casefold(), by_folded, n=count)]


def did_you_mean(names: Sequence[str]) -> str | None:
    """Return the question that offers the names, as they are quoted already; None if there is none to offer."""
    return f"did you mean {' or '.join(names)}?" if names else None
