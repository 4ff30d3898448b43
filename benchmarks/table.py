"""The rows that benchmarks report, and how they are shown and kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HEADINGS = ("what", "measured", "limit beside it", "bar", "reached")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `reached` says whether the bar was, None where there is no bar."""

    what: str
    measured: str
    limit: str = ""
    bar: str = ""
    reached: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """The texts, in the order of `HEADINGS`."""
        verdict = "" if self.reached is None else "yes" if self.reached else "NO"
        return (self.what, self.measured, self.limit, self.bar, verdict)


def as_text(rows: Sequence[Row]) -> str:
    """The table with its columns aligned, for a terminal."""
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def as_markdown(rows: Sequence[Row]) -> str:
    """The table for docs/performance.md."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def save(rows: Iterable[Row], path: Path) -> None:
    """Keep the rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")


def load(path: Path) -> list[Row]:
    """The rows that were kept; none where there is no file."""
    if not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def replace_between(document: str, name: str, text: str) -> str:
    """The document with `text` between its markers `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises ValueError where it has no such markers.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the document has no place for {name}: {begin} ... {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"
