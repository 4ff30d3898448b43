"""The tables and their places in the pages of docs/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.plot import draw
from benchmarks.table import Row, as_markdown

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
SCALING = DOCUMENT.with_name("scaling.md")


def put_table(name: str, rows: Sequence[Row], plot: bool = False) -> None:
    """Put a table, with its plot where one is wanted, between its markers.

    Raises ValueError where the document has none of that name.
    """
    text = as_markdown(rows)
    if plot:
        path = DOCUMENT.with_name(f"performance-{name}.svg")
        draw(rows, path)
        text += f"\n\n![How much of each bar is used up]({path.name})"
    put_text(name, text)


def put_text(name: str, text: str, document: Path = DOCUMENT) -> None:
    """Put a text between its markers of a page. Raises ValueError where the page has none of that name."""
    document.write_text(replace_between(document.read_text(encoding="utf-8"), name, text), encoding="utf-8")


def replace_between(document: str, name: str, text: str) -> str:
    """Return the document with `text` between its markers `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises ValueError where it has no such markers.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the document has no place for {name}: {begin} … {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"
