"""CONTRACT section 1: the commands, and the exact shape of what they print with --json."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.use_cases.export import export_answers
from pipeline.errors import InvalidInput
from tests.functional.conftest import (
    COST,
    KEY,
    KEY_VARIABLE,
    MODEL,
    RUN_KEYS,
    STATUS_KEYS,
    Asked,
    Endpoint,
    Reply,
    Simulated,
    Workspace,
    answer,
    ended,
    usual,
    wait_until,
)
from tests.support.processes import COMMAND

INPUT = "in.csv"

COMMANDS_WITH_JOB = ("run", "validate", "estimate", "status", "retry-failed", "recover", "report", "export", "gather")
COMMANDS = (*COMMANDS_WITH_JOB, "simulate", "init", "schema", "models")


def test_the_help_names_every_command_and_every_exit_code(ws: Workspace) -> None:
    shown = ws.pipeline("--help")
    assert shown.code == 0
    assert shown.err == ""
    assert all(name in shown.out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(ws: Workspace, command: str) -> None:
    shown = ws.pipeline(command, "--help")
    assert shown.code == 0
    assert command in shown.out
    if command in COMMANDS_WITH_JOB:
        assert "--set" in shown.out
        assert "--json" in shown.out
    if command in ("run", "retry-failed"):
        flags = ("--limit", "--quiet", "--verbose", "--log-format", "--on-change", "--engine", "--address")
        assert all(flag in shown.out for flag in flags)


def test_python_m_pipeline_is_the_same_and_help_imports_neither_pandas_nor_pyarrow() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipeline", "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "pipeline" in imported
    assert not imported & {"pandas", "pyarrow", "numpy", "requests", "jinja2"}
    script = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout == script.stdout.replace("Usage: pipeline ", "Usage: python -m pipeline ")


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (
            "--engine ray",
            "--engine ray: Ray is not installed; install the extra: pip install 'llm-batch-pipeline[ray]'",
        ),
        ("--address 10.0.0.1:6379", "--address names a Ray cluster; add --engine ray, or leave it out"),
        ("--engine ray --address ray://10.0.0.1:10001", "the run, which has to be a node of the cluster"),
    ],
)
@pytest.mark.parametrize("command", ["run", "retry-failed"])
def test_an_engine_that_cannot_be_used_is_refused_before_anything_is_written(
    ws: Workspace, endpoint: Endpoint, command: str, flags: str, wanted: str
) -> None:
    ws.questions("a")
    ws.job()
    refused = ws.pipeline(command, "job.yaml", *flags.split())
    assert refused.code == 2
    assert wanted in refused.err
    assert not endpoint.asked
    assert not ws.exists(".checkpoints")


def test_run_prints_one_object_with_exactly_the_documented_keys(ws: Workspace) -> None:
    ws.questions("a", "b")
    ws.job()
    found = ws.run()
    assert found.keys() == RUN_KEYS
    for name, kind in (("seconds", float), ("rows_per_second", float), ("run_id", str)):
        value = found.pop(name)
        assert isinstance(value, kind)
        assert value
    assert found == {
        "job": "job",
        "status": "succeeded",
        "rows": 2,
        "succeeded": 2,
        "failed": 0,
        "pending": 0,
        "requests": 2,
        "retries": 0,
        "prompt_tokens": 20,
        "completion_tokens": 40,
        "cost_usd": "0.00002",
        "job_cost_usd": "0.00002",
        "unpriced_rows": 0,
        "possibly_billed_usd": "0",
        "possibly_billed_requests": 0,
        "output": "out.parquet",
        "truncated": 0,
        "empty": 0,
        "failures": {},
        "accepted": {},
        "to_retry": {},
    }


def test_the_jobs_figures_span_all_runs_and_the_rest_is_this_runs(ws: Workspace) -> None:
    ws.questions("a", "b", "c")
    ws.job()
    ws.run("--limit", "2")
    found = ws.run()
    assert (found["rows"], found["succeeded"], found["pending"]) == (3, 3, 0)
    assert (found["requests"], found["prompt_tokens"], found["completion_tokens"]) == (1, 10, 20)
    assert Decimal(found["cost_usd"]) == Decimal(COST)
    assert Decimal(found["job_cost_usd"]) == 3 * Decimal(COST)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "job.yaml", "--json", "--no-such-flag"),
        ("run", "--json"),
        ("run", "job.yaml", "--json", "--limit", "x"),
        ("retry-failed", "job.yaml", "--json", "--kind", "nonsense"),
        ("recover", "job.yaml", "--json"),
        ("run", "job.yaml", "--json", "--engine", "ray"),
        ("run", "missing.yaml", "--json"),
        ("status", "missing.yaml", "--json"),
        ("estimate", "job.yaml", "--json", "--pilot", "0"),
        ("run", "job.yaml", "--json", "--on-change", "foo"),
        ("run", "job.yaml", "--json", "--engine", "foo"),
        ("status", "job.yaml", "--json", "--no-such-flag"),
        ("status", "--json"),
    ],
    ids=" ".join,
)
def test_with_json_a_usage_error_is_one_object_too(ws: Workspace, arguments: tuple[str, ...]) -> None:
    ws.questions("a")
    ws.job()
    refused = ws.pipeline(*arguments)
    assert refused.code == 2
    error = refused.data["error"]
    assert error.keys() == {"kind", "message"}
    assert error["message"]
    keys = {"run": RUN_KEYS, "retry-failed": RUN_KEYS, "status": STATUS_KEYS}
    assert refused.data.keys() == keys.get(arguments[0], set()) | {"error"}
    known = "--engine ray" in " ".join(arguments)  # the flags are right, so the job file was read
    assert refused.data.get("job") == ("job" if known else None)


@pytest.mark.parametrize("arguments", [("--no-such-flag",), ("--show", "-1")], ids=" ".join)
def test_validate_gives_its_own_object_for_a_wrong_flag_too(ws: Workspace, arguments: tuple[str, ...]) -> None:
    found = ws.pipeline("validate", "job.yaml", "--json", *arguments)
    assert (found.code, len(found.lines), found.data["valid"]) == (2, 1, False)
    (mistake,) = found.data["errors"]
    assert mistake.keys() == {"file", "line", "column", "key", "message", "suggestion"}
    assert arguments[0] in mistake["message"]


def test_a_wrong_job_gives_one_object_on_exit_2(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job(limits={"concurrency": 0})
    found = ws.run(code=2)
    assert found.keys() >= {"error", "status"}
    assert "limits.concurrency" in found["error"]["message"]
    assert not endpoint.asked


def test_validate_says_it_is_valid_and_shows_requests_as_they_would_be_sent(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("first", "second", "third")
    ws.job(prompt={"system": "Be brief.", "user": "Say {{ question }}"}, parameters={"temperature": 0.5})
    assert ws.command("validate") == {"valid": True, "errors": [], "unsendable": {}}
    shown = ws.command("validate", "--show", "2")
    assert shown.keys() == {"valid", "errors", "unsendable", "requests"}
    wanted = {
        "model": MODEL,
        "data": {
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say first"}],
            "max_tokens": 100,
            "temperature": 0.5,
        },
    }
    assert shown["requests"][0] == wanted
    assert len(shown["requests"]) == 2
    assert not endpoint.asked
    ws.run("--limit", "1")
    assert endpoint.asked[0].body == wanted


def test_validate_names_every_mistake_with_its_place(ws: Workspace) -> None:
    ws.questions("a")
    (ws.path / "job.yaml").write_text(
        "name: job\n"
        "input: {path: in.csv}\n"
        "prompt: {user: '{{ question }}'}\n"
        "endpoint: {url: simulator, model: meta/llama-4-scout-17b-16e-instruct}\n"
        "limits:\n"
        "  concurency: 8\n"
        "  timeout_seconds: fast\n"
        "retry: {max_attempts: 0}\n"
        "output: {path: out.parquet}\n"
    )
    found = ws.command("validate", code=2)
    assert found["valid"] is False
    errors: dict[str, dict[str, Any]] = {error["key"]: error for error in found["errors"]}
    assert all(e.keys() == {"file", "line", "column", "key", "message", "suggestion"} for e in found["errors"])
    assert errors.keys() == {"limits.concurency", "limits.timeout_seconds", "retry.max_attempts"}
    unknown = errors["limits.concurency"]
    assert (unknown["file"], unknown["line"], unknown["column"]) == ("job.yaml", 6, 3)
    assert "concurrency" in unknown["suggestion"]
    assert errors["limits.timeout_seconds"]["line"] == 7
    assert errors["retry.max_attempts"]["line"] == 8


def test_estimate_gives_the_plan_and_ranges_and_sends_nothing(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*(f"question number {n}" for n in range(10)))
    ws.job()
    found = ws.command("estimate")
    assert found["rows"] == {"total": 10, "done": 0, "new": 10, "changed": 0, "to_retry": 0, "orphaned": 0}
    assert found["requests"] == 10
    for name in ("prompt_tokens", "completion_tokens", "cost_usd", "seconds"):
        assert found[name].keys() == {"low", "expected", "high"}
        kind = str if name == "cost_usd" else (int, float)
        assert all(isinstance(value, kind) for value in found[name].values())
        low, expected, high = (Decimal(str(found[name][bound])) for bound in ("low", "expected", "high"))
        assert 0 < low <= expected <= high
    assert found["completion_tokens"]["high"] <= 10 * 100
    assert not endpoint.asked
    assert not ws.exists(".checkpoints")
    ws.run("--limit", "4")
    ws.questions(*(f"question number {n}" for n in range(1, 12)))
    after = ws.command("estimate")
    assert after["rows"] == {"total": 11, "done": 3, "new": 8, "changed": 0, "to_retry": 0, "orphaned": 1}
    assert after["requests"] == 8


def test_status_before_during_and_after(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b", "c", "d", "e")
    ws.job(limits={"concurrency": 1})
    before = ws.command("status")
    assert before["running"] is False
    assert not ws.exists(".checkpoints")

    def reply(asked: Asked) -> Reply:
        if asked.prompt == "d":
            endpoint.gate.clear()
        return usual(asked)

    endpoint.reply = reply
    with ws.running() as process:
        endpoint.wait_for(4)
        # The figures that status reads are up to a second old.
        wait_until(lambda: ws.command("status")["succeeded"] == 3)
        during = ws.command("status")
        endpoint.gate.set()
        done = ended(process).data
    assert during.keys() == STATUS_KEYS
    assert during["running"] is True
    assert during["rows"] == 5
    assert during["succeeded"] == 3
    assert during["pending"] == 2
    assert Decimal(during["job_cost_usd"]) == 3 * Decimal(COST)
    assert ws.command("status").items() >= {**done, "running": False}.items()


def test_status_after_a_kill_knows_the_run_that_was_cut_off_and_the_output_so_far(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b", "c", "d")
    ws.job(limits={"concurrency": 1})
    first = ws.run("--limit", "1")

    def reply(asked: Asked) -> Reply:
        if asked.prompt == "d":
            endpoint.gate.clear()
        return answer("x", wait=1.2 if asked.prompt == "c" else 0.0)

    endpoint.reply = reply
    with ws.running() as process:
        endpoint.wait_for(4)  # "c" takes longer than the figures that status reads are old
        process.kill()
        process.wait()
    found = ws.command("status")
    assert found["run_id"] not in (None, first["run_id"])
    assert (found["status"], found["running"], found["output"]) == ("interrupted", False, "out.partial.parquet")
    assert (found["rows"], found["succeeded"], found["pending"]) == (4, 3, 1)
    assert (found["requests"] >= 1, found["prompt_tokens"] >= 10, Decimal(found["cost_usd"]) > 0) == (True, True, True)
    assert Decimal(found["job_cost_usd"]) == 3 * Decimal(COST)
    assert Decimal(found["possibly_billed_usd"]) > 0


def test_status_says_what_is_known_where_the_job_or_its_checkpoint_is_wrong(ws: Workspace) -> None:
    ws.questions("a", "b")
    ws.job()
    ran = ws.run()
    ws.job(limits={"concurrency": 0})
    wrong = ws.command("status", code=2)
    assert wrong.pop("error")["kind"] == "invalid_job"
    assert wrong.items() >= {**ran, "status": "stopped", "running": False}.items()
    ws.job()
    (ws.path / ".checkpoints/job/journal.sqlite").write_bytes(b"garbage")
    damaged = ws.command("status", code=6)
    assert damaged.pop("error")["kind"] == "checkpoint_failed"
    assert damaged.items() >= {**ran, "status": "stopped", "running": False}.items()


def test_set_takes_any_key_as_yaml_and_is_repeatable(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    ws.run(
        "--set",
        "output.path=other.parquet",
        "--set",
        "parameters.temperature=1.5",
        "--set",
        "prompt.system=Be brief.",
        "--set",
        "output.compression=snappy",
    )
    assert ws.exists("other.parquet")
    assert endpoint.asked[0].body["data"]["temperature"] == 1.5
    assert endpoint.asked[0].body["data"]["messages"][0] == {"role": "system", "content": "Be brief."}
    refused = ws.pipeline("run", "job.yaml", "--set", "limits.concurency=3")
    assert refused.code == 2
    assert "concurency" in refused.err


def test_export_writes_the_answers_so_far(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "=1+1", "c")
    ws.job()
    endpoint.reply = lambda asked: answer("=HYPERLINK(1)" if asked.prompt == "a" else asked.prompt)
    ws.run("--limit", "2")
    assert ws.command("export", "--to", "jsonl", "out.jsonl")
    lines = [json.loads(line) for line in (ws.path / "out.jsonl").read_text().splitlines()]
    assert [(row["question"], row["response"]) for row in lines] == [("a", "=HYPERLINK(1)"), ("=1+1", "=1+1")]
    assert ws.command("export", "--to", "csv", "out.csv")
    header, first, _ = (ws.path / "out.csv").read_text().splitlines()
    assert header.startswith("question,row_id,status,response")
    assert ",=HYPERLINK" not in first
    assert len(endpoint.asked) == 2


def test_export_never_overwrites_what_the_job_lives_by(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run("--limit", "1")
    partial = (ws.path / "out.partial.parquet").read_bytes()
    ws.run()
    (ws.path / "out.partial.parquet").write_bytes(partial)
    (ws.path / "soft.csv").symlink_to("out.parquet")
    os.link(ws.path / "out.parquet", ws.path / "hard.csv")
    os.link(ws.path / ".checkpoints/job/journal.sqlite", ws.path / "journal.csv")
    (ws.path / "state").symlink_to(".checkpoints/job")
    before = ws.files()
    places = (
        "out.parquet",
        "out.partial.parquet",
        "in.csv",
        "job.yaml",
        ".checkpoints/job/journal.sqlite",
        ".checkpoints/job/new.csv",
        "state/new.csv",
        "soft.csv",
        "hard.csv",
        "journal.csv",
    )
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.chdir(ws.path)
    job = load_job("job.yaml")  # in this process: ten commands would take seconds
    for place in places:
        with pytest.raises(InvalidInput, match="name another file"):
            export_answers(job, "csv", Path(place))
    assert "job's output" in ws.command("export", "--to", "csv", "out.parquet", code=2)["error"]["message"]
    assert ws.files() == before
    for place in places[:2]:
        with pytest.raises(InvalidInput, match="name another file"):
            export_answers(job, "csv", Path(place), overwrite=True)
    assert ws.command("export", "--to", "csv", "answers.csv")["rows"] == 2


def test_export_replaces_only_what_an_export_of_the_job_wrote(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run()
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.chdir(ws.path)
    job, mine = load_job("job.yaml"), Path("mine.csv")
    assert export_answers(job, "csv", mine).rows == 2
    assert export_answers(job, "jsonl", Path("../") / ws.path.name / mine).rows == 2
    with mine.open("a") as file:
        file.write("a note\n")
    Path("soft.csv").symlink_to(mine)
    Path("null.csv").symlink_to("/dev/null")
    os.mkfifo("pipe.csv")
    other = Path("other/journal.sqlite")
    other.parent.mkdir()
    other.write_text("another job's")
    refusals = {
        "mine.csv": "no export of this job",
        "soft.csv": "symbolic link",
        "pipe.csv": "pipe",
        "null.csv": "symbolic link",
        "other/journal.sqlite": "in a checkpoint",
    }
    for path, words in refusals.items():
        with pytest.raises(InvalidInput, match=words):
            export_answers(job, "csv", Path(path))
    with pytest.raises(InvalidInput, match="in a checkpoint"):
        export_answers(job, "csv", other, overwrite=True)
    Path(".checkpoints/job/exports.json").write_bytes(b"[[[[")
    assert export_answers(job, "csv", mine, overwrite=True).rows == 2
    assert export_answers(job, "csv", mine).rows == 2
    refused = ws.pipeline("export", "job.yaml", "--to", "csv", "job.yaml", "--overwrite")
    assert (refused.code, "the job file" in refused.err) == (2, True)


def test_export_writes_to_stdout_and_into_a_pipe_when_told_to(ws: Workspace) -> None:
    ws.questions("a", "é")
    ws.job()
    ws.run()
    found = ws.pipeline("export", "job.yaml", "--to", "jsonl", "-")
    assert [json.loads(line)["question"] for line in found.out.splitlines()] == ["a", "é"]
    assert (found.code, found.err) == (0, "2 rows\n")
    assert ws.pipeline("export", "job.yaml", "--to", "jsonl", "-", "--json").code == 2
    os.mkfifo(ws.path / "pipe")
    reader = subprocess.Popen(["cat", "pipe"], cwd=ws.path, stdout=subprocess.PIPE)
    assert ws.pipeline("export", "job.yaml", "--to", "jsonl", "--overwrite", "pipe").code == 0
    assert len(reader.communicate(timeout=20)[0].splitlines()) == 2
    assert (ws.path / "pipe").is_fifo()


def test_no_text_of_a_csv_export_starts_a_formula_and_numbers_stay_numbers(ws: Workspace, endpoint: Endpoint) -> None:
    hostile = [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-1+1",
        "@SUM(A1)",
        "\tx",
        "\rx",
        "\nx",
        "  =1+1",
        "\u00a0@x",
        "-1_0",
        "-inf",
        "-5",
        "+4.25",
        "-1e-3",
    ]
    plain = ["a=1", "  x", "007", ""]
    cells = [*hostile, *plain]
    ws.given([[f"{cell}#{n}", cell, "q"] for n, cell in enumerate(cells)], ["id", "=note", "question"])
    ws.job(input={"id": "id"})
    endpoint.reply = lambda asked: answer("-2.5")
    ws.run()
    ws.command("export", "--to", "csv", "out.csv")
    with (ws.path / "out.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header[:4] == ["id", "'=note", "question", "row_id"]
    assert [row[1] for row in rows] == [*("'" + cell for cell in hostile), *plain]
    assert all(row[0] == row[3] == f"'{hostile[n]}#{n}" for n, row in enumerate(rows[: len(hostile)]))
    assert {(row[header.index("response")], row[header.index("prompt_tokens")]) for row in rows} == {("'-2.5", "10")}


def test_the_starter_job_runs_as_it_is_and_is_never_overwritten(ws: Workspace) -> None:
    assert ws.pipeline("init", "starter").code == 0
    (starter := Workspace(ws.path / "starter", "")).environment.pop("FUNCTIONAL_TEST_KEY")
    assert starter.pipeline("validate", "job.yaml").code == 0
    assert starter.pipeline("run", "job.yaml").code == 0
    assert starter.table("answers.parquet").num_rows > 0
    starter.environment["DATAOORTS_API_KEY"] = "for-a-check-that-sends-nothing"
    assert starter.pipeline("validate", "real.yaml").code == 0
    before = starter.files()
    assert ws.pipeline("init", "starter").code == 2
    assert starter.files() == before


def test_the_schema_accepts_the_job_file_and_refuses_an_unknown_key(ws: Workspace) -> None:
    schema = json.loads(ws.pipeline("schema").out)
    ws.job()
    job = json.loads((ws.path / "job.yaml").read_text())
    jsonschema.validate(job, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**job, "outputs": {}}, schema)


def test_models_shows_prices_with_their_date(ws: Workspace) -> None:
    shown = ws.pipeline("models")
    assert shown.code == 0
    row = next(line for line in shown.out.splitlines() if MODEL in line)
    assert all(fact in row for fact in ("0.32", "0.34", "130,000", "2025-06-11"))
    assert any(model["name"] == MODEL for model in ws.pipeline("models", "--json").data["models"])


def test_simulate_prints_its_address_first_and_serves_both_apis(ws: Workspace, simulate: Any) -> None:
    served: Simulated = simulate()
    base = served.url.removesuffix("/api/v1")
    assert base.startswith("http://127.0.0.1:")
    ws.questions("a", "b")
    ws.job(endpoint={"url": served.url})
    assert ws.run()["succeeded"] == 2
    ws.job(name="other", endpoint={"kind": "openai", "url": f"{base}/v1"}, output={"path": "other.parquet"})
    assert ws.run()["succeeded"] == 2
    assert {record["path"] for record in served.records("asked")} == {"/api/v1", "/v1/chat/completions"}


@pytest.mark.parametrize("fault", ["port", "ledger"])
def test_simulate_says_in_one_line_what_it_cannot_have(ws: Workspace, endpoint: Endpoint, fault: str) -> None:
    ws.questions("a")
    flags = {"port": ("--port", str(endpoint.port)), "ledger": ("--ledger", "in.csv/ledger.jsonl")}[fault]
    refused = ws.pipeline("simulate", *flags)
    assert (refused.code, refused.out, len(refused.lines)) == (2, "", 1), refused.err
    assert all(word in refused.err for word in flags)


def test_a_job_runs_from_python(tmp_path: Path, ws: Workspace) -> None:
    ws.questions("a", "b")
    ws.job()
    code = (
        "import pipeline; r = pipeline.run('job.yaml'); s = r.summary;"
        " print(s.status, s.succeeded, s.exit_code, s.cost_usd)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ws.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[:3] == ["succeeded", "2", "0"]
    assert Decimal(done.stdout.split()[3]) == 2 * Decimal(COST)
    assert done.stderr == ""


def test_a_working_directory_that_was_removed_is_exit_2(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    (ws.path / "gone").mkdir()
    ws.prefix = ("sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh")
    found = ws.pipeline("run", str(ws.path / "job.yaml"), "--json")
    assert (found.code, found.data["error"]["kind"]) == (2, "invalid_input")
    assert "working directory" in found.err
