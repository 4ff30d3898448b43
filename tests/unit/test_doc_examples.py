"""Run what README and docs show: every fenced block and every command is taken from the page itself."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

import pipeline
from pipeline.cli import commands
from pipeline.config import load_job
from tests.support.commands import Result, command

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "data" / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))
EXAMPLES = sorted(path for path in (REPOSITORY / "examples").rglob("*") if path.is_file())
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:pipeline|make) [a-z][^`\n]*)`")
ROWS = 8

NOT_RUN = {
    "make setup && source .venv/bin/activate": "makes the environment that this test runs in",
    "pip install .": "installs packages",
    "pip install 'llm-batch-pipeline[ray]'": "installs packages",
    "export DATAOORTS_API_KEY=...": "the key is the reader's own",
    "pipeline run job.yaml --engine ray": "needs Ray; see `make test-ray`",
    "ray job submit": "needs Ray; see `make test-ray`",
    "pipeline control": "acts on a run under way; see functional/test_control.py",
    "time() - llm_batch_last_success_timestamp_seconds > 3600": "needs a Prometheus server",
    "llm_batch_last_run_exit_code > 0": "needs a Prometheus server",
}
"""Lines that are not run, by how they begin, each with the reason."""

SAMPLES = ("gsm8k: 1,319 total", "gsm8k-answers: running")
"""What a command prints, by how it begins. Its lines are compared by their labels."""


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def _blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            before = text[: found.start()]
            if found[1] == "text" or (found[1] == "python" and _is_signature(before, found[2])):
                continue  # made from the docstrings; unit/test_api.py holds the page to them
            yield Block(str(page.relative_to(REPOSITORY)), before.count("\n") + 1, found[1], found[2])


def _is_signature(before: str, text: str) -> bool:
    heading = re.findall(r"^#+ `(.+)`$", before, re.MULTILINE)
    return bool(heading) and text.startswith((heading[-1] + "(", heading[-1].rpartition(".")[2] + "("))


BLOCKS = list(_blocks())
YAML_BLOCKS = [block for block in BLOCKS if block.language == "yaml"]
PYTHON_BLOCKS = [block for block in BLOCKS if block.language == "python"]
SHELL_BLOCKS = [
    block for block in BLOCKS if block.language in {"sh", "console", ""} and not block.text.startswith(SAMPLES)
]
JOB_BLOCK = next(block for block in YAML_BLOCKS if block.text.startswith("# job.yaml"))


def _lines(block: Block) -> list[str]:
    """Return the commands of a shell block without their comments."""
    return [
        line for raw in block.text.replace("\\\n", "").splitlines() if (line := re.sub(r"(^|\s)#.*", "", raw).strip())
    ]


def _reason(line: str) -> str | None:
    return next((reason for start, reason in NOT_RUN.items() if line.startswith(start)), None)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a directory with the first page's job and some of its rows; the simulator answers for the endpoint."""
    (tmp_path / "data").mkdir()
    rows = pd.read_csv(REPOSITORY / "data" / "demo_prompts.csv", dtype=str, keep_default_na=False)
    rows.head(ROWS).to_csv(tmp_path / "data" / "demo_prompts.csv", index=False)
    problems = (REPOSITORY / "data" / "word_problems.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "data" / "word_problems.jsonl").write_text("".join(problems[:ROWS]), encoding="utf-8")
    shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    text = JOB_BLOCK.text.replace("endpoint: {", "endpoint: {url: simulator, ")
    assert text != JOB_BLOCK.text
    (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAOORTS_API_KEY", "a-key")
    return tmp_path


def _run(*words: str) -> Result:
    """Run the command where the test stands, and see it succeed."""
    done = command(*words, directory=Path.cwd(), environment=os.environ)
    assert done.code == 0, (words, done.err)
    return done


def _check_words(words: list[str]) -> None:
    """Check that a command has the flags that are shown with it."""
    assert words[0] in commands.commands, words
    known = {flag for option in commands.commands[words[0]].params for flag in option.opts} | {"--help"}
    flags = {word.partition("=")[0] for word in words[1:] if word.startswith("-")}
    assert flags <= known, (words, flags - known)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_of_a_language_that_is_tested(block: Block) -> None:
    assert block in YAML_BLOCKS + PYTHON_BLOCKS + SHELL_BLOCKS or block.text.startswith(SAMPLES)


@pytest.mark.parametrize("block", YAML_BLOCKS, ids=str)
def test_a_job_or_a_part_of_one_is_valid(block: Block, desk: Path) -> None:
    yaml = YAML(typ="safe")
    job = yaml.load(JOB_BLOCK.text)
    if block != JOB_BLOCK:
        del job["limits"]  # a cap on cost needs a price, which not every endpoint has
    if block.text.startswith("# models.yaml"):
        (desk / "models.yaml").write_text(block.text, encoding="utf-8")
        job["catalogue"] = "models.yaml"
    else:
        job |= yaml.load(block.text)
    text = StringIO()
    yaml.dump(job, text)
    path = desk / "merged.yaml"
    path.write_text(text.getvalue(), encoding="utf-8")
    named = {name: "https://example.com/" for name in re.findall(r"\$\{(\w+)\}", block.text)}
    load_job(path, environ={**os.environ, **named})


@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=str)
def test_a_python_example_runs(block: Block, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = functools.partial(pipeline.ask, endpoint={"url": "simulator"})
    monkeypatch.setattr(pipeline, "ask", simulated, raising=False)
    names: dict[str, Any] = {"pipeline": pipeline, "pandas": pd, "frame": pd.DataFrame({"question": ["a?", "b?"]})}
    if "read_parquet" in block.text:
        _run("run", "job.yaml", "--quiet")
    exec(compile(block.text, str(block), "exec"), names)
    if "answers" in names:
        assert names["answers"]["status"].tolist() == ["succeeded"] * 2


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=str)
def test_a_shell_example_runs(block: Block, desk: Path) -> None:
    lines = _lines(block)
    if not any(line.startswith("pipeline validate") for line in lines):
        _run("run", "job.yaml", "--quiet")
    for line in lines:
        words = shlex.split(line.partition(" > ")[0])
        if words[0] == "pipeline":
            _check_words(words[1:])
        if _reason(line):
            continue
        if words[0] == "make":
            _make(words[1])
        else:
            assert words[0] == "pipeline", line
            _run(*words[1:])


def _make(target: str) -> None:
    found = subprocess.run(
        ["make", "-n", "-o", ".venv/.installed", target], check=False, cwd=REPOSITORY, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr


LABEL = re.compile(r"^  (\w+(?: \w+)*)  +\S", re.MULTILINE)


def _labels(start: str) -> list[str]:
    (block,) = [block for block in BLOCKS if block.text.startswith(start)]
    return LABEL.findall(block.text)


def test_an_estimate_has_the_lines_that_its_page_shows(desk: Path) -> None:
    done = _run("estimate", "job.yaml", "--pilot", "5")
    assert set(_labels("gsm8k: 1,319 total")) - set(LABEL.findall(done.out + done.err)) == set()


def test_the_lines_of_a_status_are_ones_that_the_command_can_print() -> None:
    places = ("status.py", "summary.py")
    printed = "".join((REPOSITORY / "pipeline" / "cli" / name).read_text(encoding="utf-8") for name in places)
    assert [label for label in _labels("gsm8k-answers: running") if label not in printed] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_that_a_sentence_names_is_there_with_its_flags(page: Path) -> None:
    for words in map(str.split, INLINE.findall(FENCE.sub("", page.read_text(encoding="utf-8")))):
        if words[0] == "pipeline":
            _check_words(words[1:])
        elif re.fullmatch(r"[a-z-]+", words[1]):
            assert re.search(rf"^{words[1]}:", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_an_example_job_is_valid_and_the_commands_in_its_comments_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = {name: "https://example.com/" for name in re.findall(r"\$\{(\w+)\}", text)}
    load_job(path, environ={**os.environ, **named})
    for line in re.findall(r"^# +pipeline (\w.*)", text, re.MULTILINE):
        words = line.split()
        _check_words(words)
        assert all((REPOSITORY / word).exists() for word in words if word.startswith("configs/"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_commands_of_a_scheduler_example_exist(path: Path) -> None:
    command = r"^[^#\n]*(?:/pipeline|\$\(PIPELINE\)) ((?:run|status|doctor) [^\n;&|\"']*)"
    lines = re.findall(command, path.read_text(encoding="utf-8"), re.M)
    for line in lines:
        _check_words(line.split())
    assert lines or path.suffix in {".timer", ".yaml"}


def test_every_line_that_is_not_run_is_still_on_a_page() -> None:
    lines = [line for block in SHELL_BLOCKS for line in _lines(block)]
    assert [start for start in NOT_RUN if not any(line.startswith(start) for line in lines)] == []
