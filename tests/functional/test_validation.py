"""CONTRACT sections 1 and 2: all mistakes at once, each at its place, before anything is sent or written.

Most of it is asked of `validate` inside this process; a few tests see that the commands say the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.app.jobs.job import load_job, open_job
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from pipeline.app.use_cases.validate import validate
from pipeline.errors import InvalidJob, Mistake
from tests.functional.conftest import KEY, KEY_VARIABLE, Endpoint, Workspace, ended

INPUT = "in.csv"


@pytest.fixture(autouse=True)
def here(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the workspace's directory with its environment; whatever a test finds wrong, nothing was sent for it."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.chdir(ws.path)
    yield


def mistakes(*overrides: str) -> list[Mistake]:
    """What `validate` finds wrong."""
    with pytest.raises(InvalidJob) as refused:
        validate("job.yaml", overrides)
    return list(refused.value.mistakes)


def by_key(*overrides: str) -> dict[str | None, Mistake]:
    found = mistakes(*overrides)
    assert len({one.key for one in found}) == len(found), found
    return {one.key: one for one in found}


def refused_by_run(*overrides: str) -> list[Mistake]:
    """What a run ends with, before anything is sent."""
    with pytest.raises(InvalidJob) as refused:
        Run(load_job("job.yaml", overrides), RunOptions()).execute()
    return list(refused.value.mistakes)


def everything(path: Path) -> list[str]:
    return sorted(str(one) for one in path.rglob("*"))


# ---- what is concluded from a mistake


@pytest.mark.parametrize(
    ("prompt", "key"), [({"prompt": "ask {{ question }}"}, "prompt"), ({"template": "ask {{ question }}"}, "template")]
)
def test_a_prompt_in_another_form_is_one_mistake(ws: Workspace, prompt: dict[str, str], key: str) -> None:
    ws.questions("a", "b")
    ws.job()
    job = json.loads((ws.path / "job.yaml").read_text())
    del job["prompt"]
    (ws.path / "job.yaml").write_text(json.dumps(job | prompt))
    assert [one.key for one in mistakes()] == [key]


# ---- what is written


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("output.path", "/proc/nope/out.parquet"),
        ("output.path", "in.csv/out.parquet"),
        ("output.path", "o" * 245 + ".parquet"),
        ("output.path", f"new/{'o' * 300}/out.parquet"),
        ("checkpoint.path", "/proc/nope"),
        ("checkpoint.path", "in.csv"),
        ("checkpoint.path", "new/" + "c" * 300),
        ("simulator.ledger", "in.csv/ledger.jsonl"),
        ("simulator.ledger", "/proc/nope/ledger.jsonl"),
        ("simulator.ledger", "."),
    ],
)
def test_what_cannot_be_written_is_known_before_anything_is_sent(
    ws: Workspace, endpoint: Endpoint, key: str, value: str
) -> None:
    ws.questions("a")
    ws.job(**({"endpoint": {"url": "simulator"}} if key == "simulator.ledger" else {}))
    before = everything(ws.path)
    for found in (mistakes(f"{key}={value}"), refused_by_run(f"{key}={value}")):
        assert [(one.key, one.file) for one in found] == [(key, f"--set {key}=…")]
        assert "cannot be written to" in found[0].message or "too long" in found[0].message
        assert found[0].suggestion
    assert everything(ws.path) == before
    assert not endpoint.asked


def test_looking_leaves_nothing_behind_and_takes_nothing_away(ws: Workspace) -> None:
    ws.questions("a")
    ws.job(output={"path": "new/deep/out.parquet"}, checkpoint={"path": "empty"})
    (ws.path / "empty").mkdir()
    before = everything(ws.path)
    assert validate("job.yaml").rows == 1
    open_job(load_job("job.yaml"))
    assert everything(ws.path) == before


@pytest.mark.parametrize(
    ("section", "key", "what"),
    [
        ({"output": {"path": "same.parquet", "overwrite": True}}, "output.path", "the input"),
        ({"output": {"path": "hard.parquet", "overwrite": True}}, "output.path", "the input"),
        (
            {"output": {"path": "cp/journal.parquet", "overwrite": True}, "checkpoint": {"path": "cp"}},
            "output.path",
            "in the checkpoint",
        ),
        ({"output": {"path": "link/out.parquet"}, "checkpoint": {"path": "cp"}}, "output.path", "in the checkpoint"),
        ({"checkpoint": {"path": "."}}, "checkpoint.path", "holds the job file"),
        ({"checkpoint": {"path": "data"}, "input": {"path": "data/in.csv"}}, "checkpoint.path", "holds the input"),
        ({"checkpoint": {"path": "data/../data/cp"}, "input": {"path": "data"}}, "checkpoint.path", "read as input"),
        (
            {"checkpoint": {"path": "data/cp"}, "input": {"path": "**/*.json", "format": "jsonl"}},
            "checkpoint.path",
            "read as input",
        ),
        ({"checkpoint": {"path": ".checkpoints"}}, "checkpoint.path", "within each other"),
        ({"checkpoint": {"path": ".checkpoints/other/mine"}}, "checkpoint.path", "within each other"),
        ({"output": {"path": "data/out.parquet"}, "input": {"path": "data"}}, "output.path", "input.path: data"),
        ({"output": {"path": "all/out.parquet"}, "input": {"path": ["data"]}}, "output.path", "read as input"),
        ({"output": {"path": "parts/b.parquet"}, "input": {"path": "part?/*.p*"}}, "output.path", "read as input"),
        (
            {"output": {"path": "parts/b.parquet"}, "input": {"path": "**/b.partial*", "format": "csv"}},
            "output.path",
            "b.partial.parquet would be read as input",
        ),
        ({"simulator": {"ledger": "in.csv"}}, "simulator.ledger", "the input"),
        ({"simulator": {"ledger": "./job.yaml"}}, "simulator.ledger", "the job file"),
        ({"simulator": {"ledger": "out.parquet"}}, "simulator.ledger", "the output"),
        ({"simulator": {"ledger": ".checkpoints/job/journal.sqlite"}}, "simulator.ledger", "in the checkpoint"),
        (
            {"simulator": {"ledger": "data/ledger.jsonl"}, "input": {"path": "data"}},
            "simulator.ledger",
            "read as input",
        ),
        ({"metrics": {"textfile": ".checkpoints/job/a.prom"}}, "metrics.textfile", "in the checkpoint"),
        ({"simulator": {"ledger": "pipe"}}, "simulator.ledger", "a named pipe"),
        ({"output": {"path": "pipe.parquet", "overwrite": True}}, "output.path", "a named pipe"),
        ({"output": {"path": "null.parquet", "overwrite": True}}, "output.path", "a device"),
        ({"output": {"path": "/"}}, "output.path", "needs a name"),
        ({"output": {"path": "out.csv"}}, "output.path", "ends in .parquet"),
        ({"output": {"path": "out"}}, "output.path", "ends in .parquet"),
    ],
)
def test_nothing_is_written_over_within_or_around_what_the_job_needs(
    ws: Workspace, section: dict[str, Any], key: str, what: str
) -> None:
    ws.questions("a")
    for name in ("data", "cp", "parts", ".checkpoints/other"):
        (ws.path / name).mkdir(parents=True)
    for name in ("data/in.csv", "data/b.partial.csv", "data/in.json"):
        (ws.path / name).write_text('{"question": "a"}\n' if name.endswith("json") else "question\na\n")
    pq.write_table(pa.table({"question": ["a"]}), ws.path / "parts/a.parquet")
    (ws.path / "same.parquet").symlink_to("in.csv")
    (ws.path / "link").symlink_to("cp")
    (ws.path / "all").symlink_to("data")
    (ws.path / "null.parquet").symlink_to("/dev/null")
    (ws.path / ".checkpoints/other/journal.sqlite").touch()
    os.link(ws.path / "in.csv", ws.path / "hard.parquet")
    for name in ("pipe", "pipe.parquet"):
        os.mkfifo(ws.path / name)
    ws.job(endpoint={"url": "simulator"}, **section)
    found = [one for one in mistakes() if one.key == key]
    assert found, "accepted"
    assert what in found[0].message, found
    assert (found[0].line or 0) > 0 and found[0].suggestion


def test_places_beside_the_input_are_right(ws: Workspace) -> None:
    (ws.path / "data").mkdir()
    (ws.path / "data/in.csv").write_text("question\na\n")
    ws.job(input={"path": "data/*.csv"}, output={"path": "data/out.parquet"}, checkpoint={"path": "data/.cp"})
    validate("job.yaml")
    ws.job(input={"path": "data"}, output={"path": "data/.out/out.parquet"}, checkpoint={"path": "data/.cp"})
    validate("job.yaml")


# ---- what stands already


@pytest.mark.parametrize("name", ["out.parquet", "out.partial.parquet"])
def test_a_file_that_the_job_did_not_write_is_a_mistake_unless_it_may_be_replaced(ws: Workspace, name: str) -> None:
    ws.questions("a")
    ws.job()
    (ws.path / name).write_bytes(b"mine")
    for found in (by_key(), {one.key: one for one in refused_by_run()}):
        assert list(found) == ["output.path"]
        assert (found["output.path"].file, found["output.path"].line is None) == ("job.yaml", False)
        assert f"{name} exists" in found["output.path"].message
    validate("job.yaml", ["output.overwrite=true"])
    ws.job()
    ws.run("--limit", "1", "--set", "output.overwrite=true")
    validate("job.yaml")  # what stands there now is this job's own


def test_a_checkpoint_of_another_job_or_another_endpoint_is_a_mistake(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run("--limit", "1")
    before = everything(ws.path)
    simulated = "endpoint.url=simulator"
    for overrides, key in (
        (["name=other", "checkpoint.path=.checkpoints/job"], "checkpoint.path"),
        ([simulated], "endpoint.url"),
    ):
        found = by_key(*overrides, "output.path=other.parquet")
        assert list(found) == [key]
        assert found[key].suggestion
        assert ".checkpoints/job" in found[key].message
    assert everything(ws.path) == before
    Run(load_job("job.yaml", ["name=played", simulated, "output.path=played.parquet"]), RunOptions()).execute()
    assert list(by_key("name=played", "output.path=played.parquet")) == ["endpoint.url"]


def test_a_damaged_checkpoint_is_exit_6_for_a_job_that_is_right(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    ws.run()
    for path in (ws.path / ".checkpoints/job").glob("journal*"):
        path.write_bytes(b"garbage" * 1000)
    found = ws.command("validate", code=6)
    assert (found["valid"], len(found["errors"])) == (False, 1)
    assert ".checkpoints/job" in found["errors"][0]["message"]
    assert list(by_key("limits.concurrency=0")) == ["limits.concurrency"]


def test_a_run_under_way_keeps_no_one_from_validating(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job()
    endpoint.gate.clear()
    with ws.running() as process:
        endpoint.wait_for(1)
        assert validate("job.yaml").rows == 2
        endpoint.gate.set()
        assert ended(process).code == 0


# ---- all at once


def test_a_mistake_within_input_holds_back_no_other(ws: Workspace) -> None:
    ws.given([["1", "a"], ["1", "b"]], ["problem", "status"])
    ws.job(input={"id": "problem", "idd": "x"}, prompt={"user": "{{ question }}", "system": "{% if %}"})
    assert by_key().keys() == {"input.idd", "input.id", "output.prefix", "prompt.user", "prompt.system"}


def test_without_its_input_a_jobs_templates_are_checked_as_far_as_that_goes(ws: Workspace) -> None:
    ws.job(input={"path": "missing.csv"}, prompt={"user": "{{ question }", "system": "{{ a | uper }}"})
    found = by_key()
    assert found.keys() == {"input.path", "prompt.user", "prompt.system"}
    assert found["prompt.system"].suggestion == "did you mean 'upper'?"
    ws.job(input={"path": "missing.csv"})
    assert by_key().keys() == {"input.path"}


def test_a_wrong_id_and_wrong_columns_are_mistakes_of_their_own(ws: Workspace) -> None:
    ws.given([["1", "a", "x"]], ["problem_id", "question", "topic"])
    ws.job(input={"id": "problemid", "columns": ["topic", "questoin", "zzz"]})
    found = by_key()
    assert {key: one.suggestion for key, one in found.items()} == {
        "input.id": "did you mean `problem_id`?",
        "input.columns[1]": "did you mean `question`?",
        "input.columns[2]": "it has problem_id, question, topic",
    }
    assert len({(one.file, one.line) for one in found.values()}) == 3
    assert refused_by_run() == list(found.values())


def test_a_wrong_format_hides_no_other_mistake(ws: Workspace) -> None:
    ws.given([["1", "a"]], ["problem", "question"])
    wrong = {"format": "cvs", "id": "problme", "where": "topci == 1"}
    ws.job(input=wrong, prompt={"user": "{{ questoin }}"})
    assert by_key().keys() == {"input.format", "input.id", "input.where", "prompt.user"}
    ws.job(input={**wrong, "path": "missing.csv"}, prompt={"user": "{{ questoin }}"})
    assert by_key().keys() == {"input.format", "input.path"}
    ws.job(input={"csv": {"delimiter": ",,"}, "path": "missing.csv"})
    assert by_key().keys() == {"input.csv.delimiter", "input.path"}
    (ws.path / INPUT).rename(ws.path / "in.txt")  # without an ending that says what it is, its columns are not known
    ws.job(input={**wrong, "path": "in.txt"}, prompt={"user": "{{ questoin }}"})
    assert by_key().keys() == {"input.format"}


def test_every_name_that_the_output_takes_is_named(ws: Workspace) -> None:
    ws.given([["a"] * 4], ["question", "status", "response", "model"])
    ws.job()
    (found,) = mistakes()
    assert found.key == "output.prefix"
    assert all(name in found.message for name in ("'status'", "'response'", "'model'"))
    assert "question" not in found.message


def test_a_missing_column_of_a_parameter_and_a_missing_file_have_suggestions(ws: Workspace) -> None:
    ws.given([["a", "9"]], ["question", "tokens"])
    ws.job(parameters={"max_tokens": {"column": "token"}, "seed": {"column": "zzz"}})
    found = by_key()
    assert found["parameters.max_tokens"].suggestion == "did you mean 'tokens'?"
    assert found["parameters.seed"].suggestion
    assert by_key("input.path=inn.csv")["input.path"].suggestion == "did you mean `in.csv`?"
    assert str(ws.path) in str(by_key("input.path=elsewhere/x.csv")["input.path"].suggestion)


@pytest.mark.parametrize("cells", [["hello", "[]"], ["[1]", '{"role": "user"}']])
def test_a_messages_column_that_holds_none_is_a_mistake_like_a_template_that_always_fails(
    ws: Workspace, endpoint: Endpoint, cells: list[str]
) -> None:
    ws.questions(cells[0])
    ws.job(prompt={"messages": "question"})
    for found in (mistakes(), refused_by_run()):
        assert [one.key for one in found] == ["prompt.messages"]
        assert "all rows tried" in found[0].message
    ws.questions(*cells[:1], '[{"role": "user", "content": "hi"}]')
    validate("job.yaml")
    ws.questions("", "")
    validate("job.yaml")
    assert not endpoint.asked


# ---- data


BAD_FILES: dict[str, tuple[bytes, int]] = {
    "ragged": (b"id,question\n1,a\n2\n", 3),
    "nul": (b"id,question\n1,a\n2,\0\n", 3),
    "blank": (b"id,question\n\n1,a\n", 2),
    "double": (b"id,id\n1,a\n", 1),
    "encoding": (b"id,question\n1,a\n2,b\n3,caf\xe9\n", 4),
    "no id": (b"id,question\n1,a\n,b\n", 3),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_fault_in_the_data_is_placed_there_and_hides_no_mistake_of_the_job(ws: Workspace, fault: str) -> None:
    content, line = BAD_FILES[fault]
    (ws.path / "in.csv").write_bytes(content)
    ws.job(input={"id": "id"})
    (found,) = mistakes()
    key = "input.id" if fault == "no id" else "input.path"
    assert (found.file, found.line, found.key) == ("in.csv", line, key)
    assert found.suggestion
    assert refused_by_run() == [found]
    assert mistakes("limits.concurrency=0")[1:] == [found]


def test_a_fault_in_the_data_is_one_line_with_its_place_in_every_command(ws: Workspace, endpoint: Endpoint) -> None:
    (ws.path / "in.csv").write_bytes(b"question\na\nb,c\n")
    ws.job()
    wanted = {"file": "in.csv", "line": 3, "column": None, "key": "input.path"}
    (error,) = ws.command("validate", code=2)["errors"]
    assert error.items() >= wanted.items()
    for command in ("validate", "run", "estimate"):
        shown = ws.pipeline(command, "job.yaml")
        assert (shown.code, shown.lines[0].startswith("in.csv:3: input.path: 2 cells")) == (2, True), shown
    assert "in.csv, line 3: 2 cells" in ws.run(code=2)["error"]["message"]
    assert not endpoint.asked


def test_ids_that_stand_twice_are_placed_at_the_key_and_named_with_their_lines(ws: Workspace) -> None:
    ws.given([["1", "a"], ["2", "b"], ["1", "c"]], ["id", "question"])
    ws.job(input={"id": "id"})
    text = (ws.path / "job.yaml").read_text().splitlines()
    for found in (mistakes(), refused_by_run()):
        (one,) = found
        assert (one.file, one.key) == ("job.yaml", "input.id")
        assert one.line is not None and '"id": "id"' in text[one.line - 1]
        assert "in.csv, line 2" in one.message and "in.csv, line 4" in one.message
        assert one.suggestion


def test_the_order_is_that_of_the_job_file(ws: Workspace) -> None:
    ws.questions("a")
    ws.job(limits={"concurrency": 0}, prompt={"user": "{{ q }}"}, retry={"max_runs": -1}, output={"path": "/proc/x/y"})
    found = mistakes()
    assert [one.line for one in found] == sorted(one.line or 0 for one in found)
    assert [one.key for one in found] == ["prompt.user", "limits.concurrency", "retry.max_runs", "output.path"]
    with pytest.raises(InvalidJob) as refused:
        load_job("job.yaml")
    assert list(refused.value.mistakes) == found


def test_json_lines_have_their_places_too(ws: Workspace) -> None:
    (ws.path / "in.jsonl").write_text(json.dumps({"question": "a"}) + "\n{question: b}\n")
    ws.job(input={"path": "in.jsonl"})
    (found,) = mistakes()
    assert (found.file, found.line, found.key) == ("in.jsonl", 2, "input.path")


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"metrics": {"textfile": "notes.prom"}}, "metrics.textfile"),
        ({"endpoint": {"url": "simulator"}, "simulator": {"ledger": "notes.prom"}}, "simulator.ledger"),
    ],
)
def test_a_file_that_is_no_ledger_and_no_metrics_is_left_alone(
    ws: Workspace, section: dict[str, Any], key: str
) -> None:
    ws.questions("a")
    ws.job(**section)
    (ws.path / "notes.prom").write_text("dear diary\n")
    refused = ws.run(code=2)
    assert key in refused["error"]["message"] and "notes.prom exists, and is no file of" in refused["error"]["message"]
    assert (ws.path / "notes.prom").read_text() == "dear diary\n"
    (ws.path / "notes.prom").unlink()
    for _ in range(2):  # its own is gone on with
        assert ws.run()["succeeded"] == 1
