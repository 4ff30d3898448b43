"""The findings run outside CI; here is only what can be known of a script without running it."""

import os
import re
import shlex
from pathlib import Path

import pytest

FINDINGS = Path(__file__).parents[2] / "findings"
SCRIPTS = sorted(FINDINGS.glob("*.sh"))


def test_the_table_names_every_script_once_and_no_other() -> None:
    rows = re.findall(r"^\| \[(\S+)\]\((\S+)\)", (FINDINGS / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == [(script.name, script.name) for script in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_finding_is_executable_pinned_and_says_what_was_seen(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    (packages,) = re.findall(r"^install (.+)$", text, re.MULTILINE)
    assert all(re.fullmatch(r"[\w.\[\]-]+==[\d.]+", package) for package in shlex.split(packages))
    assert re.search(r"^#> .+\n\. .+check\.sh", text, re.MULTILINE)
    assert re.search(r"^# For a batch: ", text, re.MULTILINE)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_table_names_the_versions_that_are_installed(script: Path) -> None:
    rows = (FINDINGS / "README.md").read_text(encoding="utf-8").splitlines()
    (row,) = [row for row in rows if f"({script.name})" in row]
    versions = re.findall(r"\d+(?:\.\d+)+", row.split("|")[2])
    installed = re.findall(r"(?:==|@)([\d.]+)", script.read_text(encoding="utf-8"))
    assert versions and set(versions) <= set(installed)
