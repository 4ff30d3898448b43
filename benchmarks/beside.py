"""What benchmarks of other tools beside ours have in common: the words of the command line, environments, the table."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from benchmarks import BUILD
from benchmarks.document import put_table
from benchmarks.peers.__main__ import OURS
from benchmarks.peers.environments import python_of
from benchmarks.table import Row, as_text, save


def arguments(module: str, about: str | None, peers: Mapping[str, str], rows: int) -> argparse.Namespace:
    """Return the words given: `rows`, `only` and `document`. TERM ends the process from now on as an exit does."""
    parser = argparse.ArgumentParser(description=about, prog=f"python -m benchmarks.{module}")
    parser.add_argument("-n", "--rows", type=int, default=rows)
    parser.add_argument("--only", action="append", choices=peers, help="this peer alone; repeatable")
    parser.add_argument("--document", action="store_true", help="put the table into docs/performance.md")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    return parser.parse_args()


def tools(names: Iterable[str], peers: Mapping[str, str], table: list[Row]) -> Iterator[tuple[str, Path | None]]:
    """Yield this program with None, then each named peer with the interpreter of its environment. Where that cannot be
    made, the table says so instead.
    """
    yield OURS, None
    for name in names:
        try:
            python = python_of(peers[name])
        except subprocess.CalledProcessError as error:
            table.append(Row(name, f"skipped: its environment cannot be made: {error}"))
            continue
        yield name, python


def finish(name: str, table: list[Row], *, document: bool) -> None:
    """Print and store the table, and exit with 1 where a bar was missed."""
    print(as_text(table))
    save(table, BUILD / "results" / f"{name}.jsonl")
    if document:
        put_table(name, table)
    sys.exit(any(row.is_missed for row in table))
