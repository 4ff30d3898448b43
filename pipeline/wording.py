"""Small pieces of text for people."""

from __future__ import annotations

LONG_SECONDS = 1e9


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 row`, `2,000 rows`, `3 retries`."""
    if count == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {plural}"


def lasting(seconds: float) -> str:
    """Return how long something lasts: `90 s`, `over 30 years`."""
    return f"{seconds:.0f} s" if seconds < LONG_SECONDS else "over 30 years"
