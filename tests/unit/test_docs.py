"""The documentation says what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TEST_NAME = re.compile(r"`([\w/]+\.py)::(\w+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def test_every_test_that_reliability_names_is_there() -> None:
    named = TEST_NAME.findall((REPOSITORY / "docs" / "reliability.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    missing = [
        f"{file}::{name}" for file, name in named
        if not re.search(rf"^ *def {name}\(", (REPOSITORY / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE)
    ]  # fmt: skip
    assert not missing


@pytest.mark.parametrize(
    "page", sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]), ids=lambda p: p.name
)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
