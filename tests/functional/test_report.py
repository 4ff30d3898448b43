"""`pipeline report`: one page about a job, whatever state it is in, that stands by itself."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.running.run import Run
from pipeline.app.use_cases.report import Report
from pipeline.app.use_cases.report import report as write_report
from pipeline.errors import CheckpointDamaged, InvalidInput
from tests.functional.conftest import (
    KEY,
    KEY_VARIABLE,
    Asked,
    Endpoint,
    Reply,
    Workspace,
    answer,
    ended,
    refusal,
    usual,
)

HOSTILE = "<script>alert('id')</script>\"\x1b[31m\u202e"
ESCAPED = "&lt;script&gt;alert(&#39;id&#39;)&lt;/script&gt;&#34;\\x1b[31m\\u202e"


@pytest.fixture
def report(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Writes the job's report inside this process, in the workspace's directory."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.chdir(ws.path)
    return lambda *overrides, out=None: write_report(load_job("job.yaml", overrides), out)


def text_of(ws: Workspace, name: str = "out.html") -> str:
    """What a page says, without its markup and style; the words stand one blank apart."""
    page = (ws.path / name).read_text(encoding="utf-8").partition("</style>")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_the_page_shows_ids_kinds_and_figures_and_no_prompt_or_answer(ws: Workspace, endpoint: Endpoint) -> None:
    def reply(asked: Asked) -> Reply:
        if "bad" in asked.prompt:
            return refusal(400, 5006, HOSTILE)
        return answer("secret answer", usage={"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100})

    endpoint.reply = reply
    ws.given([["one", "private question"], [HOSTILE, "bad private question"]], ["id", "question"])
    ws.job(input={"id": "id"}, prompt={"system": "private system", "user": "{{ question }}"})
    ws.run(code=3)
    done = ws.pipeline("report", "job.yaml")
    assert (done.code, done.out, done.err) == (0, "out.html\n", "")
    page, text = (ws.path / "out.html").read_text(encoding="utf-8"), text_of(ws)
    assert not re.search(r"private|secret answer|<script|\s(?:style|on\w+)=", page)
    assert KEY not in page
    assert f"bad_request 1 1 {ESCAPED} HTTP 400: 5006: {ESCAPED}" in text
    for words in (
        "job finished, some rows failed",
        "Rows answered 1 of 2 1 failed 0 pending 1 truncated",
        "exactly $0.000354",
        "1,000 of prompts 100 of answers",
        "2 1 failed (50.0%) in 1 run",
        "one succeeded",
        "done 1 have an answer",
        "0.32 prompt 0.34 answer",
        "api_key_env " + KEY_VARIABLE,
        "system a text of 14 characters",
    ):
        assert words in text, words


def test_a_report_of_the_job_is_made_anew_and_nothing_else_is_replaced(
    ws: Workspace, run_here: Callable[[], Run], report: Callable[..., Report]
) -> None:
    ws.questions("a")
    ws.job()
    run_here().execute()
    assert report() == Report(Path("out.html"), 1, False)
    first = (ws.path / "out.html").stat()
    report()
    assert (ws.path / "out.html").stat().st_ino != first.st_ino
    assert not [name for name in os.listdir(ws.path) if name.endswith(".writing")]
    (ws.path / "out.html").write_text("<html>my own page</html>")
    (ws.path / "dangling.html").symlink_to("nowhere")
    for path in (None, Path("dangling.html")):
        with pytest.raises(InvalidInput, match=r"no report of the job 'job'.*output\.overwrite: true"):
            report(out=path)
    assert (ws.path / "out.html").read_text() == "<html>my own page</html>"
    report("output.overwrite=true")
    assert "Rows answered 1 of 1" in text_of(ws)
    report(out=Path("deep/in/x.html"))
    assert "Rows answered 1 of 1" in text_of(ws, "deep/in/x.html")


def test_what_the_job_lives_by_is_never_overwritten(ws: Workspace, report: Callable[..., Report]) -> None:
    ws.questions("a")
    ws.job()
    before = ws.files()
    for path in ("job.yaml", "in.parquet", "out.parquet", ".checkpoints/job/x.html", "."):
        with pytest.raises(InvalidInput, match=r"name another file|name a file"):
            report("output.overwrite=true", out=Path(path))
    assert ws.files() == before


def test_while_a_run_is_under_way_the_page_shows_what_is_acknowledged(
    ws: Workspace, endpoint: Endpoint, report: Callable[..., Report]
) -> None:
    ws.questions(*(f"q{number}" for number in range(10)))
    ws.job()

    def reply(asked: Asked) -> Reply:
        if len(endpoint.asked) > 6:
            endpoint.gate.clear()
        return usual(asked)

    endpoint.reply = reply
    with ws.running() as run:
        endpoint.wait_for(7)
        made = report()
        text = text_of(ws)
        assert made.running
        endpoint.reply = usual
        endpoint.gate.set()
        assert ended(run).code == 0
    answered = re.search(r"Rows answered (\d+) of 10 0 failed (\d+) pending", text)
    assert answered
    assert 3 <= int(answered[1]) < 10
    assert int(answered[1]) + int(answered[2]) == 10
    assert "job running" in text
    assert "in flight" in text
    assert not report().running
    assert "Rows answered 10 of 10" in text_of(ws)


def test_after_a_kill_the_page_shows_what_was_saved(
    ws: Workspace, endpoint: Endpoint, report: Callable[..., Report]
) -> None:
    ws.questions(*(f"q{number}" for number in range(10)))
    ws.job()
    endpoint.reply = lambda asked: answer("late", wait=60 if len(endpoint.asked) > 4 else 0)
    with ws.running() as run:
        endpoint.wait_for(8)
        run.send_signal(signal.SIGKILL)
        run.wait()
    before = {name: content for name, content in ws.files().items() if not name.endswith("-shm")}
    assert report() == Report(Path("out.html"), 10, False)
    assert "job interrupted" in text_of(ws)
    assert re.search(r"Rows answered [1-4] of 10 0 failed [6-9] pending", text_of(ws))
    assert "possibly billed" in text_of(ws)
    after = {name: content for name, content in ws.files().items() if not name.endswith("-shm")}
    del after["out.html"]
    assert after == before


def test_an_input_without_rows_and_one_without_prices_have_a_page_too(
    ws: Workspace, endpoint: Endpoint, run_here: Callable[[], Run], report: Callable[..., Report]
) -> None:
    ws.questions()
    ws.job()
    run_here().execute()
    assert report().rows == 0
    assert "No request has been sent so far." in text_of(ws)
    ws.questions("a")
    ws.job(name="unpriced", output={"path": "unpriced.parquet"})
    endpoint.reply = lambda _: answer("priceless", usage=None)
    run_here().execute()
    assert report().rows == 1
    text = text_of(ws, "unpriced.html")
    assert "1 without a known cost" in text
    assert "No row has a known cost so far." in text
    assert "Cost so far, USD" not in text
    assert "Cost unknown of 1 answer " in text and "Tokens billed unknown no reply reported them" in text
    assert "exactly $0" not in text and "0.000000" not in text


def test_a_damaged_checkpoint_has_no_page(
    ws: Workspace, run_here: Callable[[], Run], report: Callable[..., Report]
) -> None:
    ws.questions("a")
    ws.job()
    run_here().execute()
    journal = ws.path / ".checkpoints" / "job" / "journal.sqlite"
    journal.write_bytes(journal.read_bytes().replace(b"answer to a", b"answer to b"))
    with pytest.raises(CheckpointDamaged, match="pipeline recover"):
        report()
    assert not ws.exists("out.html")


def test_it_does_not_read_the_input_and_needs_no_key(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    ws.run()
    (ws.path / "in.parquet").unlink()
    del ws.environment[KEY_VARIABLE]
    assert ws.command("report", "--out", "x.html") == {"job": "job", "path": "x.html", "rows": 1, "running": False}
    assert "Rows answered 1 of 1" in text_of(ws, "x.html")


def test_a_job_that_was_not_run_has_no_page(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    refused = ws.pipeline("report", "job.yaml")
    assert (refused.code, refused.out) == (2, "")
    assert "has not been run yet" in refused.err
    assert not ws.exists("out.html")
    assert not ws.exists(".checkpoints")


def test_without_the_extra_the_command_says_what_to_install(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    (ws.path / "absent").mkdir()
    (ws.path / "absent" / "matplotlib.py").write_text("raise ImportError('No module named matplotlib')")
    ws.environment["PYTHONPATH"] = str(ws.path / "absent")
    refused = ws.pipeline("report", "job.yaml", "--json")
    assert refused.code == 2
    assert "pip install 'llm-batch-pipeline[report]'" in refused.data["error"]["message"]
    assert len(refused.lines) == 1
