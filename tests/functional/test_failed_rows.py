"""`retry-failed --list`: which rows failed and why, as CSV, with nothing in it that a reader would run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from pipeline.app.use_cases.failed import COLUMNS, failed_rows
from tests.functional.conftest import KEY, KEY_VARIABLE, Endpoint, Workspace, answer, refusal, usual

SECRET_PROMPT = "a private question"


def make(ws: Workspace, endpoint: Endpoint) -> None:
    """A job with a row that failed for each of two causes, one that was cut off, and one that has its answer."""
    ws.given([["=1+1", "bad"], ["b", SECRET_PROMPT], ["c", "good"], ["d", "cut"]], ["id", "question"])
    ws.job(input={"id": "id"}, retry={"max_attempts": 1}, limits={"concurrency": 1})
    replies = {
        "bad": refusal(400, 5006, "=cmd|'/c calc'!A1\x1b[31m\nsecond line"),
        SECRET_PROMPT: refusal(413, 3006),
        "cut": answer("x", usage={"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110}),
    }
    endpoint.reply = lambda asked: replies.get(asked.prompt) or usual(asked)


@pytest.fixture
def listed(ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.chdir(ws.path)
    make(ws, endpoint)
    Run(load_job("job.yaml"), RunOptions()).execute()
    endpoint.forget()
    return ws


def test_the_failed_rows_are_listed_as_csv_and_nothing_is_sent(listed: Workspace, endpoint: Endpoint) -> None:
    before = listed.files()
    shown = listed.pipeline("retry-failed", "job.yaml", "--list")
    assert (shown.code, shown.err, endpoint.asked) == (0, "", [])
    assert listed.files() == before
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["row_id"], row["error_kind"], row["http_status"], row["attempts"]) for row in rows] == [
        ("'=1+1", "bad_request", "400", "1"),
        ("b", "request_too_large", "413", "1"),
    ]
    assert shown.out.count("\n") == 3
    assert "\x1b" not in shown.out
    assert r"\x1b[31m\nsecond line" in rows[0]["error_message"]
    assert SECRET_PROMPT not in shown.out
    as_json = listed.command("retry-failed", "--list", "--kind", "bad_request")
    assert [(row["row_id"], row["error_kind"]) for row in as_json["failed"]] == [("=1+1", "bad_request")]


def test_the_truncated_rows_are_listed_too_also_with_the_settings_that_would_ask_again(listed: Workspace) -> None:
    for overrides in ((), ("parameters.max_tokens=200",)):
        (row,) = failed_rows(load_job("job.yaml", overrides), "truncated")
        assert (row["row_id"], row["error_kind"]) == ("d", "truncated")
        assert row["error_message"] == "cut off after 100 tokens"
    assert len(list(failed_rows(load_job("job.yaml", ("parameters.max_tokens=200",)), None))) == 2


def test_a_job_that_never_ran_has_none(ws: Workspace, tmp_path: Path) -> None:
    ws.questions("a")
    ws.job()
    assert ws.pipeline("retry-failed", "job.yaml", "--list").out == ",".join(COLUMNS) + "\n"
    assert not (tmp_path / ".checkpoints").exists()
