"""`--log-file`: everything that a run has to say, for its owner alone, whatever is shown."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from pipeline.cli import logfile
from tests.functional.conftest import KEY, Endpoint, Workspace, refusal, usual


def test_a_silent_run_leaves_its_plan_progress_and_end_in_the_log(ws: Workspace) -> None:
    ws.questions("a", "b")
    ws.job()
    for _ in range(2):
        ran = ws.pipeline("run", "job.yaml", "--log-file", "logs/run.log")
        assert (ran.code, ran.out, ran.err) == (0, "", "")
    text = (ws.path / "logs" / "run.log").read_text(encoding="utf-8")
    assert text.count(" INFO plan: 2 rows: ") == 2
    assert "job: succeeded, exit code 0: 2 answered, 0 failed, 0 pending of 2 rows; 2 requests, $0.00002," in text
    assert " INFO nothing to send\n" in text


def test_a_log_of_json_ends_each_run_with_its_summary_and_holds_every_line_of_stderr(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "bad")
    ws.job()
    endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "bad" else usual(asked)
    ran = ws.pipeline("run", "job.yaml", "--log-file", "run.log", "--log-format", "json", "--json")
    lines = [json.loads(line) for line in (ws.path / "run.log").read_text(encoding="utf-8").splitlines()]
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
    assert [json.loads(line) for line in ran.lines] == [line for line in lines if line["level"] == "error"]
    assert (lines[-1]["exit_code"], lines[-1]["summary"]) == (3, ran.data)


def test_a_run_that_finds_another_under_way_says_so_in_the_log_alone(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    endpoint.gate.clear()
    with ws.running() as process:
        endpoint.wait_for(1)
        ran = ws.pipeline("run", "job.yaml", "--log-file", "run.log")
        assert (ran.code, ran.out, ran.err) == (75, "", "")
        endpoint.gate.set()
        process.communicate(timeout=20)
    assert "exit code 75" in (ws.path / "run.log").read_text(encoding="utf-8")


def test_prompts_answers_and_keys_stand_in_no_log(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("hyacinth", "bad hyacinth", "down hyacinth")
    ws.job(retry={"max_attempts": 2})
    replies = {"bad hyacinth": refusal(400, 5006, f"hyacinth {KEY}"), "down hyacinth": refusal(500, None, "hyacinth")}
    endpoint.reply = lambda asked: replies.get(asked.prompt) or usual(asked)
    for style in ("text", "json"):
        ws.pipeline("run", "job.yaml", "-v", "--log-file", "run.log", "--log-format", style)
    text = (ws.path / "run.log").read_text(encoding="utf-8")
    assert "2 failed" in text
    assert "hyacinth" not in text and "answer to" not in text and KEY not in text


@pytest.mark.parametrize("umask", [0], indirect=True)
@pytest.mark.usefixtures("umask")
def test_only_the_owner_can_read_a_log_whatever_the_umask(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    assert ws.pipeline("run", "job.yaml", "--log-file", "run.log").code == 0
    assert stat.S_IMODE((ws.path / "run.log").stat().st_mode) == 0o600


def test_a_log_is_rotated_and_no_line_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "MOST_BYTES", 100)
    lines = [f"line {number:03} of the log" for number in range(30)]
    for line in lines:
        log = logfile.LogFile(str(tmp_path / "run.log"))
        log.add(line)
        log.close()
    paths = [tmp_path / "run.log", *(tmp_path / f"run.log.{number}" for number in range(1, 6))]
    assert sorted(path for path in tmp_path.iterdir()) == sorted(paths)
    assert all(path.stat().st_size <= 100 and stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    kept = [line for path in reversed(paths) for line in path.read_text().splitlines()]
    assert kept == lines[-len(kept) :] and len(kept) > 20


@pytest.mark.parametrize("path", [".", "in.parquet/run.log"])
def test_a_log_that_cannot_be_opened_is_exit_2_in_one_line(ws: Workspace, endpoint: Endpoint, path: str) -> None:
    ws.questions("a")
    ws.job()
    refused = ws.pipeline("run", "job.yaml", "--log-file", path)
    assert (refused.code, refused.out, len(refused.lines)) == (2, "", 1)
    assert "--log-file" in refused.err and not endpoint.asked
    assert ws.run("--log-file", path, code=2)["error"]["kind"] == "invalid_input"


def test_a_log_on_a_disk_that_fills_up_fails_no_run(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    ran = ws.pipeline("run", "job.yaml", "--log-file", "/dev/full")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_a_log_is_written_over_nothing_but_a_log(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    ws.run()
    (ws.path / "notes.txt").write_text("mine")
    (ws.path / "run.log.3").write_text("mine")
    (ws.path / "soft").symlink_to("in.parquet")
    os.mkfifo(ws.path / "pipe")
    before, endpoint.asked = ws.files(), []
    refusals = {
        "in.parquet": "the job's input",
        "soft": "the job's input",
        "job.yaml": "the job file",
        "out.parquet": "the job's output",
        ".checkpoints/job/journal.sqlite": "the job's checkpoint",
        ".checkpoints/job/run.log": "the job's checkpoint",
        "notes.txt": "no log",
        "run.log": "run.log.3",
        "pipe": "cannot be written to",
    }
    for path, words in refusals.items():
        refused = ws.pipeline("run", "job.yaml", "--log-file", path)
        assert (refused.code, "--log-file" in refused.err, words in refused.err) == (2, True, True), refused
    assert ws.files() == before
    assert not endpoint.asked


def test_a_log_of_either_form_is_continued_in_the_other(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    for style in ("text", "json", "text"):
        assert ws.pipeline("run", "job.yaml", "--log-file", "run.log", "--log-format", style).code == 0
