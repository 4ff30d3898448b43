"""The rows that benchmarks report, and how they are shown and kept."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HEADINGS = ("what", "measured", "limit beside it", "bar", "reached")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `used` is how much of the bar is used up, at most 1 where it is reached; None without one.

    `at_most` and `at_least` give it; of several parts of a bar the one that is used most counts.
    """

    what: str
    measured: str
    limit: str = ""
    bar: str = ""
    used: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether there is a bar that was not reached."""
        return self.used is not None and self.used > 1

    def cells(self) -> tuple[str, ...]:
        """Return the texts, in the order of `HEADINGS`."""
        verdict = "" if self.used is None else "NO" if self.is_missed else "yes"
        return (self.what, self.measured, self.limit, self.bar, verdict)


def at_most(value: float, bar: float) -> float:
    """How much is used of a bar that `value` must not exceed."""
    return value / bar


def at_least(value: float, bar: float) -> float:
    """How much is used of a bar that `value` must reach."""
    return bar / value if value else math.inf


def as_text(rows: Sequence[Row]) -> str:
    """Return the table with its columns aligned, for a terminal."""
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the table for docs/performance.md."""
    return markdown(HEADINGS, [row.cells() for row in rows])


def markdown(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table with these headings."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (headings, ("---",) * len(headings), *lines))


def save(rows: Iterable[Row], path: Path) -> None:
    """Keep the rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")


def load(path: Path) -> list[Row]:
    """Return the rows that were kept; none if there is no file."""
    if not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
