"""The documentation says what is there."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.app.observe.metrics import families
from pipeline.app.observe.summary import Summary
from pipeline.cli import commands
from pipeline.config import MetricsConfig, NotifyConfig, TelemetryConfig

REPOSITORY = Path(__file__).resolve().parents[2]
TEST_NAME = re.compile(r"`([\w/]+\.py)::(\w+)`")
OTHER_TOOLS = {
    *("--now",),  # of systemctl
    *("--array", "--job-name", "--open-mode", "--output", "--requeue", "--signal", "--time"),  # of Slurm
    *("--joblog", "--resume-failed", "--termseq"),  # of GNU parallel
}
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def test_every_test_that_reliability_names_is_there() -> None:
    named = TEST_NAME.findall((REPOSITORY / "docs" / "reliability.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^ *def {name}\(", (REPOSITORY / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert not missing


@pytest.mark.parametrize(
    "page", sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]), ids=lambda p: p.name
)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]), ids=lambda p: p.name
)
def test_every_link_to_a_heading_finds_it(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if link[1] not in _anchors(page.parent / link[0] if link[0] else page)] == []


def test_the_runbook_has_every_exit_code_that_the_help_names() -> None:
    listed = re.findall(r"^\| ([\d, ]+) \|", OPERATIONS, re.MULTILINE)
    helped = (commands.help or "").partition("Exit codes:")[2]
    assert {int(code) for codes in listed for code in codes.split(", ")} == {
        *map(int, re.findall(r"\b\d+\b", helped)),
        137,  # which is the shell's word for SIGKILL
    }


def test_the_runbook_has_every_metric_and_no_other() -> None:
    summary = Summary(rows=0, job_cost_usd=Decimal(0), possibly_billed_usd=Decimal(0))
    samples = {sample.name for family in families("job", summary, 0.0, {}) for sample in family.samples}
    assert set(re.findall(r"^\| `(llm_batch_\w+)` \|", OPERATIONS, re.MULTILINE)) == samples


@pytest.mark.parametrize("page", ["docs/operations.md", "configs/examples/dataoorts.yaml"])
def test_every_key_of_notify_metrics_and_telemetry_is_described(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    keys = ["notify", *NotifyConfig.model_fields, "metrics", *MetricsConfig.model_fields]
    keys += ["telemetry", *TelemetryConfig.model_fields]
    assert [key for key in keys if f"{key}:" not in text] == []


def test_the_flags_in_the_runbook_and_the_examples_are_there() -> None:
    examples = [path for path in (REPOSITORY / "examples").rglob("*") if path.is_file()]
    pages = [OPERATIONS, *(path.read_text(encoding="utf-8") for path in examples)]
    known = {word for command in commands.commands.values() for option in command.params for word in option.opts}
    flags = {flag for page in pages for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", page)} - OTHER_TOOLS
    assert "--log-file" in flags and flags - known == set()


def test_the_places_that_the_architecture_names_are_there() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Where is what")[2].partition("## Glossary")[0]
    paths = re.findall(r"`((?:pipeline|configs)/[\w./]*)`", table)
    assert len(paths) > 30
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []
    names = re.findall(r"`(pipeline/[\w/]+\.py)` \(`(\w+)`\)", table)
    assert len(names) > 20
    assert [
        (path, name)
        for path, name in names
        if not re.search(
            rf"^ *(def|class) {name}\b|^{name}\b.* = ", (REPOSITORY / path).read_text(encoding="utf-8"), re.MULTILINE
        )
    ] == []


@pytest.mark.parametrize(
    "page", sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]), ids=lambda p: p.name
)
def test_every_table_has_a_head_of_as_many_cells_as_its_rule(page: Path) -> None:
    """Without one, GitHub shows the table as a line of text."""
    lines = page.read_text(encoding="utf-8").splitlines()
    rules = [number for number, line in enumerate(lines) if re.fullmatch(r"\|(-+\|)+", line)]
    assert [number + 1 for number in rules if lines[number - 1].count("|") != lines[number].count("|")] == []
