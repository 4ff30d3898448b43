"""Real servers at pinned versions: 500 questions each, through a kill of the server and one of the run."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from tests.servers.servers import KEY, KINDS, Server, installed
from tests.support.commands import command

MAX_TOKENS = 8
SLOTS = 8
ASKED_AGAIN = 25
_MOST_SECONDS = 1200

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, model: Path) -> Iterator[Server]:
    """Each of the servers, ready; one that cannot be installed here is skipped by name."""
    name = request.param
    try:
        for one in filter(None, (KINDS[name].behind, name)):
            installed(one)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{name} cannot be installed here: {error}")
    found = Server(name, model)
    try:
        found.start()
        yield found
    finally:
        found.kill()


@pytest.mark.timeout(3600)
def test_every_row_is_answered_once_through_a_kill_of_the_server_and_one_of_the_run(
    server: Server,
    questions: list[str],
    start: Start,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SERVER_KEY", KEY)
    rows = len(questions)
    pq.write_table(pa.table({"id": range(rows), "question": questions}), tmp_path / "questions.parquet")
    job = {
        "name": "job",
        "input": {"path": "questions.parquet", "id": "id"},
        "prompt": {"user": "{{ question }}"},
        "endpoint": {"kind": "openai", "url": server.url, "model": server.model_name, "api_key_env": "SERVER_KEY"},
        "parameters": {"max_tokens": MAX_TOKENS, "temperature": 0},
        "limits": {"concurrency": SLOTS},
        "output": {"path": "answers.parquet", "raw_reply": True},
    }
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    begun = time.monotonic()
    run = start("run", "job.yaml", "--json", cwd=tmp_path)
    _until(run, tmp_path, rows * 3 // 10)
    server.kill()
    time.sleep(1)
    server.start()
    _until(run, tmp_path, rows * 6 // 10)
    run.kill()
    run.wait()
    out, err = start("run", "job.yaml", "--json", cwd=tmp_path).communicate(timeout=_MOST_SECONDS)
    seconds = time.monotonic() - begun
    summary = json.loads(out)
    assert (summary["succeeded"], summary["pending"]) == (rows, 0), err

    found = pq.read_table(tmp_path / "answers.parquet").to_pylist()
    assert [(row["id"], row["question"]) for row in found] == list(enumerate(questions))
    assert {row["status"] for row in found} == {"succeeded"}
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    told = [json.loads(row["raw_reply"])["usage"] for row in found]
    assert [[row[name] for name in counts] for row in found] == [[usage[name] for name in counts] for usage in told]
    again = range(0, rows, rows // ASKED_AGAIN)
    assert [found[row]["prompt_tokens"] for row in again] == [_asked(server, questions[row]) for row in again]
    sent, tokens = sum(row["attempts"] for row in found), [sum(row[name] for row in found) for name in counts[:2]]
    with capsys.disabled():
        print(
            f"\n{server.name} {server.version}: {rows} rows in {seconds:.0f} s, {sent} requests; {tokens[0]:,} prompt"
            f" and {tokens[1]:,} completion tokens, as the server counted them"
        )


def _until(run: subprocess.Popen[str], directory: Path, rows: int) -> None:
    """Wait until a run has had so many rows answered."""
    give_up = time.monotonic() + _MOST_SECONDS
    while (done := _answered(directory)) < rows:
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < give_up, f"{done} rows are answered"
        time.sleep(0.2)


def _answered(directory: Path) -> int:
    found = command("status", "job.yaml", "--json", directory=directory, environment=os.environ)
    return int(found.data.get("succeeded") or 0)


def _asked(server: Server, question: str) -> int:
    """Return how many tokens the server counts in a question that is asked without our program."""
    body: dict[str, Any] = {"model": server.model_name, "messages": [{"role": "user", "content": question}]}
    headers = {"Authorization": f"Bearer {KEY}"}
    reply = requests.post(f"{server.url}/chat/completions", json={**body, "max_tokens": 1}, headers=headers, timeout=60)
    return int(reply.json()["usage"]["prompt_tokens"])
