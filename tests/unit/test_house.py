"""The figures about the code itself, of a small package."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.house import COPIES, figures, rooms, table
from benchmarks.walk import ROOT, Walk, walked

ONE = '''"""A module."""


def load(path: str, *, limit: int) -> dict[str, Any]:
    sys.exit(2)


class Reader:
    def __init__(self, a, b, c):
        self.found = get_close_matches(a, b)
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pipeline" / "sources").mkdir(parents=True)
    (tmp_path / "pipeline" / "sources" / "csv.py").write_text(ONE)
    (tmp_path / "pipeline" / "sources" / "long.py").write_text("\n" * 301)
    (tmp_path / "pipeline" / "retry.py").write_text("x = {}  # fmt: skip\ny = draft.rename(path)\n")
    (tmp_path / "benchmarks" / ".build").mkdir(parents=True)
    (tmp_path / "benchmarks" / ".build" / "installed.py").write_text("x = 1  # fmt: skip\n")
    return tmp_path


def test_the_figures_are_counted_over_the_package(root: Path) -> None:
    found = figures(root)
    assert (found["modules"], found["lines"]) == ("3", "313")
    assert (found["longest module"], found["modules over 300 lines"]) == ("301 (sources/long)", "1")
    assert found["most parameters"] == "3 (sources/csv __init__)"
    assert (found["untyped dicts"], found["formatter exemptions"]) == ("1", "1")
    assert (found["suggestions for unknown names"], found["exit codes as numbers"]) == ("1", "1")
    assert found["writers of a draft and its place"] == "0"  # a value, not a line of its own


def test_a_room_is_a_folder_or_a_module(root: Path) -> None:
    assert rooms(root) == {"retry": "1 / 2", "sources": "2 / 311"}


def test_a_table_has_a_column_for_each_tree_and_a_row_for_each_name(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "pipeline").mkdir(parents=True)
    (other / "pipeline" / "old.py").write_text("\n")
    assert table(rooms, [other, root], ["before", "now"]).splitlines() == [
        "| | before | now |",
        "|---|---|---|",
        "| old | 1 / 1 |  |",
        "| retry |  | 1 / 2 |",
        "| sources |  | 2 / 311 |",
    ]


BARS = {
    "modules over 300 lines": 0,
    "untyped dicts": 25,
    "formatter exemptions": 9,
    **dict.fromkeys(COPIES, 0),
    "suggestions for unknown names": 1,
    "tests for a loopback address": 1,
    "repairs of lone surrogates": 1,
    "writers of a draft and its place": 2,  # of files, and of a folder
    "calls of fsync": 3,  # one is a check of the disk
}
"""How many there may be."""


def test_this_package_keeps_its_bars() -> None:
    found = figures(ROOT)
    assert {name: found[name] for name, most in BARS.items() if int(found[name]) > most} == {}


def test_a_walk_returns_where_it_enters_a_module_again() -> None:
    walk = Walk.of(["cli/run", "config/job", "config/job", "cli/run", "sink/parquet", "cli/run"])
    assert (walk.modules, walk.returns, walk.most) == (3, 2, "2 to cli/run")


def test_a_walk_follows_the_functions_that_are_given_the_job() -> None:
    walk = walked(ROOT)
    assert walk.modules > 20 and walk.returns <= 15, walk  # the bar; `python -m benchmarks.house` prints the figures
