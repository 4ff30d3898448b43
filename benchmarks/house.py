"""Prints how the code is built, beside an earlier commit: python -m benchmarks.house [COMMIT]"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from benchmarks.walk import ROOT, walked

COPIES = {
    "suggestions for unknown names": r"\bget_close_matches\(",
    "tests for a loopback address": r"def is_loopback\b",
    "repairs of lone surrogates": r"\.encode\(\"utf-16[^)]*\)\.decode\(\"utf-16",
    "writers of a draft and its place": r"^ +draft\.rename\((?:path|directory / (?!_DEC)[\w\"]+)\)$",
    "calls of fsync": r"\bos\.fsync\(",
    "endpoint kinds compared as text": r"\bkind (?:==|!=) \"(?:openai|dataoorts)\"",
    "exit codes as numbers": r"\bStop\(\s*\d|sys\.exit\([1-9]|exit_code(?::? int)? ?==? ?(?:.* else )?[1-9]\d*\b",
    "stop words as text": r"\"(?:outage|cost_cap|no_progress|all_refused|still_truncated)\"",
}
"""Ideas that had several copies, and a pattern that finds one."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the package: its room, its name, its text."""

    room: str
    name: str
    text: str

    @property
    def lines(self) -> int:
        """Return the number of lines, blank ones included."""
        return self.text.count("\n")

    def functions(self) -> Iterator[tuple[int, str]]:
        """Yield each function with the number of its parameters, without `self` and `cls`."""
        for node in ast.walk(ast.parse(self.text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                yield len([name for name in names if name not in ("self", "cls")]), f"{self.name} {node.name}"


def modules(root: Path) -> list[Module]:
    """Return the modules of the package below a directory."""
    package = root / "pipeline"
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found.append(Module(parts[0], "/".join(parts), path.read_text(encoding="utf-8")))
    return found


def figures(root: Path) -> dict[str, str]:
    """Return the figures of the whole by their names."""
    found = modules(root)
    texts = [module.text for module in found if module.name != "endings"]
    longest = max(found, key=lambda module: module.lines)
    most, function = max(pair for module in found for pair in module.functions())
    places = ("pipeline", "tests", "benchmarks")
    own = [path for place in places for path in (root / place).rglob("*.py") if "/." not in str(path.relative_to(root))]
    return {
        "modules": f"{len(found)}",
        "lines": f"{sum(module.lines for module in found):,}",
        "longest module": f"{longest.lines} ({longest.name})",
        "modules over 300 lines": f"{sum(module.lines > 300 for module in found)}",
        "most parameters": f"{most} ({function})",
        "untyped dicts": str(_count(r"(?:dict|Mapping)\[str, Any\]", texts)),
        "formatter exemptions": str(_count(r"# fmt: skip\n", [path.read_text(encoding="utf-8") for path in own])),
        **{idea: str(_count(pattern, texts)) for idea, pattern in COPIES.items()},
    }


def figures_with_walk(root: Path) -> dict[str, str]:
    """Return the figures and the walk of the job file, for which the package is run."""
    return {**figures(root), "returns of the job file's walk": str(walked(root))}


def rooms(root: Path) -> dict[str, str]:
    """Return the modules and lines of each room by its name."""
    by_room: dict[str, list[Module]] = {}
    for module in modules(root):
        by_room.setdefault(module.room, []).append(module)
    return {
        room: f"{len(found)} / {sum(module.lines for module in found):,}" for room, found in sorted(by_room.items())
    }


def table(of: Callable[[Path], dict[str, str]], roots: list[Path], titles: list[str]) -> str:
    """Return a Markdown table with a column for each directory."""
    columns = [of(root) for root in roots]
    names = list(dict.fromkeys(name for column in columns for name in column))
    lines = [f"| | {' | '.join(titles)} |", "|---|" + "---|" * len(titles)]
    lines += [f"| {name} | {' | '.join(column.get(name, '') for column in columns)} |" for name in names]
    return "\n".join(lines)


def _count(pattern: str, texts: list[str]) -> int:
    return sum(len(re.findall(pattern, text, re.MULTILINE)) for text in texts)


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as place:
        roots, titles = [ROOT], ["now"]
        if len(sys.argv) > 1:
            packed = subprocess.run(["git", "archive", sys.argv[1]], cwd=ROOT, check=True, capture_output=True).stdout
            with tarfile.open(fileobj=BytesIO(packed)) as archive:
                archive.extractall(place, filter="data")
            roots, titles = [Path(place), ROOT], ["before", "now"]
        print(table(figures_with_walk, roots, titles))
        print("\nModules and lines of each room:\n")
        print(table(rooms, roots, titles))


if __name__ == "__main__":
    main()
