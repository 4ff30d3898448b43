"""The JSON Schema, the examples that stand in the repository, and mistakes as people read them."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from pipeline.config import InvalidJob, Mistake, format_mistake, format_mistake_line, job_schema, load_job
from pipeline.records import canonical_json

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "configs").rglob("*.yaml"))

JOB: dict[str, Any] = {
    "name": "a",
    "input": {"path": "x.csv"},
    "prompt": {"user": "x"},
    "endpoint": {"model": "qwen/qwq-32b"},
    "output": {"path": "o.parquet"},
}


def fits(job: Mapping[str, Any]) -> bool:
    return bool(jsonschema.Draft202012Validator(job_schema()).is_valid(job))


def test_the_pages_made_from_the_code_are_current() -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "generate.py"))["written_pages"]()
    assert len(pages) == 5
    assert [path.name for path, text in pages.items() if path.read_text(encoding="utf-8") != text] == [], "make docs"


def test_the_schema_is_one_and_every_key_is_described() -> None:
    schema = job_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        assert section.get("description")
        if "properties" in section:
            assert section["additionalProperties"] is False
            for field in section["properties"].values():
                assert field.get("description") or "$ref" in field.get("anyOf", [field])[0]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_fit_the_schema_and_are_read(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    schema = os.path.relpath(ROOT / "configs" / "job.schema.json", example.parent)
    assert text.startswith(f"# yaml-language-server: $schema={schema}\n")
    jsonschema.validate(YAML(typ="safe", pure=True).load(text), job_schema())
    load_job(example, environ={})


def test_make_all_in_a_fresh_clone_needs_no_key_and_no_file_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    listing = subprocess.check_output(["git", "ls-files", "configs"], cwd=ROOT, text=True)
    jobs = [file for file in listing.split() if Path(file).match("configs/*.yaml") and file.count("/") == 1]
    assert jobs
    configs = [load_job(file, environ={}).config for file in jobs]
    outputs = {config.output.path for config in configs}
    for config in configs:
        assert config.endpoint.url == "simulator"
        assert all(path in outputs or Path(path).is_file() for path in config.input.paths)


def test_the_conversations_are_whole() -> None:
    lines = (ROOT / "data" / "conversations.jsonl").read_text(encoding="utf-8").splitlines()
    conversations = [json.loads(line) for line in lines]
    assert len({one["id"] for one in conversations}) == len(conversations)
    for one in conversations:
        roles = [message["role"] for message in one["messages"] if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"], one["id"]
        assert all(message["content"].strip() for message in one["messages"])


@pytest.mark.parametrize(
    "section",
    [
        {"limits": {"requests_per_minute": "${RPM:-300}", "concurrency": "${N}", "max_cost_usd": "${CAP}"}},
        {"parameters": {"temperature": "${T}", "top_k": {"column": "k"}, "seed": None}},
        {"output": {"path": "${OUT}", "overwrite": "${FORCE:-false}", "compression": "${C}"}},
        {"name": "job-${NAME}"},
        {"input": {"path": ["a", "${B}"], "format": "${F}"}},
        {"prompt": {"messages": "chat", "user": None}},
        {"limits": None, "checkpoint": None, "parameters": None, "retry": None},
    ],
)
def test_the_schema_takes_variables_wherever_values_stand(section: dict[str, Any]) -> None:
    assert fits(JOB | section)


@pytest.mark.parametrize(
    "section",
    [
        {"limits": {"concurrency": 0}},
        {"limits": {"concurrency": "8"}},
        {"limits": {"concurency": 8}},
        {"limits": {"max_cost_usd": 0}},
        {"output": {"path": "x", "compression": "zip"}},
        {"output": {}},
        {"output": None},
        {"prompt": {}},
        {"prompt": {"user": "x", "column": "y"}},
        {"parameters": {"top_p": 1}, "input": {"path": "x", "format": "openai-batch"}},
        {"name": "two words"},
        {"colour": "red"},
    ],
)
def test_the_schema_marks_mistakes(section: dict[str, Any]) -> None:
    assert not fits(JOB | section)


def test_the_schema_wants_a_prompt_unless_the_rows_bring_their_requests() -> None:
    job = {name: section for name, section in JOB.items() if name != "prompt"}
    requests = {"path": "x.jsonl", "format": "openai-batch"}
    assert not fits(job)
    assert not fits(job | {"input": {"path": "x.jsonl", "format": "jsonl"}})
    assert fits(job | {"input": requests})
    assert not fits(JOB | {"input": requests})


def test_the_document_of_a_job_fits_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text(canonical_json(JOB | {"limits": {"max_cost_usd": 0.5}, "parameters": {"max_tokens": 5}}))
    assert fits(load_job(path, environ={}).document)


def test_a_mistake_is_shown_with_its_line_and_a_caret(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: a\nlimits:\n  concurency: 64\n")
    with pytest.raises(InvalidJob) as refused:
        load_job(path, environ={})
    mistake = next(one for one in refused.value.mistakes if one.line == 3)
    assert format_mistake(mistake) == (
        f"{path}:3:3: limits.concurency: unknown key\n"
        "     3 |   concurency: 64\n"
        "       |   ^\n"
        "       = did you mean `concurrency`?"
    )
    assert format_mistake_line(mistake) == f"{path}:3:3: limits.concurency: unknown key; did you mean `concurrency`?"


def test_a_mistake_without_a_place_is_one_line() -> None:
    assert format_mistake(Mistake("no such file", "job.yaml")) == "job.yaml: no such file"
    assert format_mistake(Mistake("no such file")) == "no such file"


def test_the_caret_stands_under_wide_characters_and_tabs() -> None:
    lines = format_mistake(Mistake("m", "f", 1, 6, source="a: 漢字\tx")).splitlines()
    assert lines[1] == "     1 | a: 漢字 x"
    assert lines[2] == "       |        ^"


def test_a_long_line_is_cut_around_its_mistake() -> None:
    lines = format_mistake(Mistake("m", "f", 1, 5001, source="a" * 5000 + "X" + "b" * 5000)).splitlines()
    assert len(lines[1]) < 120
    assert lines[1][lines[2].index("^")] == "X"


def test_nothing_that_acts_on_a_terminal_comes_through() -> None:
    hostile = "\x1b[2J\x9b\r\n\x07\u202e\u2028\x00"
    mistake = Mistake(hostile, hostile, 1, 3, hostile, hostile, hostile)
    assert format_mistake_line(mistake).isprintable()
    assert all(line.isprintable() for line in format_mistake(mistake).split("\n"))
    assert len(format_mistake(mistake).split("\n")) == 4
