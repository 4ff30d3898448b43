"""Keys under whatever the endpoint does with them, files that only their owner can read, and what a terminal sees."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.app.running.run import Run
from tests.functional.conftest import KEY, Asked, Endpoint, Reply, Workspace, answer, ended, refusal, usual
from tests.functional.test_cron import on_a_terminal
from tests.functional.test_secrets import assert_no_key

ESCAPED = "".join(f"\\u{ord(char):04x}" for char in KEY).encode()
ECHOES: list[Reply] = [
    refusal(400, 5006, f"bad header: {KEY}"),
    refusal(500, 3043, f"x {KEY}"),
    Reply(f"<html>{KEY}</html>".encode(), 502, {"Content-Type": f"text/html; key={KEY}"}),
    Reply(KEY.encode(), 530),
    Reply(b'{"result": {"response": "' + KEY.encode()),
    Reply(b'{"errors": [{"code": "' + ESCAPED + b'", "message": "' + ESCAPED + b'"}]}', 400),
    Reply(b'{"success": false, "errors": [{"message": "' + b"x" * 270 + ESCAPED + b'"}], "result": null}'),
    refusal(429, 3021, KEY, Retry_After=KEY),
    Reply(b"", 408, {"X-Key": KEY}),
    Reply({"message": KEY, "error": {KEY: KEY}}, 413),
    answer(f"your key is {KEY}"),
    answer({KEY: [KEY]}, tool_calls=[{"name": KEY, "arguments": json.dumps({"key": KEY})}]),
    answer("a", usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": KEY}),
    Reply(b'{"result": {"response": "' + ESCAPED + b'", "tool_calls": [{"a": "' + ESCAPED + b'"}]}}'),
    Reply(f'{{"result": {{"response": "é {KEY}"}}}}'.encode("latin-1"), 200, {"Content-Type": "a; charset=latin-1"}),
    answer(KEY, wait=0.0),
    Reply(answer(KEY).body, cut=True),
]


@pytest.mark.parametrize("flags", [("--verbose",), ("--json", "--verbose", "--log-format", "json")], ids=" ".join)
def test_a_key_that_comes_back_in_any_reply_is_kept_nowhere(
    ws: Workspace, endpoint: Endpoint, flags: tuple[str, ...]
) -> None:
    ws.questions(*range(len(ECHOES)))
    ws.job(retry={"max_attempts": 2, "max_runs": 0})
    endpoint.reply = lambda asked: (
        ECHOES[int(asked.prompt)] if endpoint.prompts.count(asked.prompt) < 3 else usual(asked)
    )
    results = [ws.pipeline("run", "job.yaml", *flags), ws.pipeline("export", "job.yaml", "--to", "jsonl", "out.jsonl")]
    assert [result.code for result in results] == [3, 0]
    assert "[key]" in str(ws.rows())
    assert_no_key(ws, *results)


@pytest.mark.parametrize(
    "reply",
    [
        refusal(403, 3023, KEY),
        refusal(404, 5007, f"{KEY} asked for it"),
        refusal(402, None, KEY),
        Reply(KEY.encode(), 302, {"Location": f"http://127.0.0.1:9/{KEY}"}),
        Reply(b'{"errors": [{"message": "' + ESCAPED + b'"}]}', 401),
    ],
    ids=["403", "404", "402", "302", "401"],
)
def test_a_key_in_what_stops_the_run_is_kept_nowhere(ws: Workspace, endpoint: Endpoint, reply: Reply) -> None:
    ws.questions("a")
    ws.job()
    endpoint.reply = lambda asked: reply
    shown = ws.pipeline("run", "job.yaml", "--verbose", "--json")
    assert shown.code == 5
    assert_no_key(ws, shown)


def test_the_key_stands_in_no_command_line_and_goes_to_no_child(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    endpoint.gate.clear()
    with ws.running() as process:
        endpoint.wait_for(1)
        running = Path(f"/proc/{process.pid}")
        assert KEY.encode() not in (running / "cmdline").read_bytes()
        assert not [one for one in (running / "task").glob("*/children") if one.read_text().strip()]
        endpoint.gate.set()
        assert ended(process).code == 0


def modes(directory: Path) -> dict[str, int]:
    """The permissions of a checkpoint and of everything in it, but for what is as it has to be."""
    usual = {path: 0o700 if path.is_dir() else 0o600 for path in (directory, *directory.iterdir())}
    found = {path: stat.S_IMODE(path.lstat().st_mode) for path in usual}
    return {path.name: mode for path, mode in found.items() if mode != usual[path]}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids="{:03o}".format, indirect=True)
@pytest.mark.usefixtures("umask")
def test_only_the_owner_can_read_a_checkpoint_whatever_the_umask(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(6))
    ws.job(limits={"concurrency": 2})
    endpoint.reply = lambda asked: answer("x", wait=5.0 if asked.prompt in "34" else 0.0)
    directory = ws.path / ".checkpoints/job"
    with ws.running() as process:
        endpoint.wait_for(5)
        names = {path.name for path in directory.iterdir()}
        assert {"journal.sqlite", "journal.sqlite-wal", "lock", "plan", "acknowledged", "progress.json"} <= names
        assert not modes(directory)
        process.kill()
    endpoint.reply = usual
    ws.command("status")  # which makes what SQLite shares between readers
    assert not modes(directory)
    ws.run()
    assert not modes(directory)
    assert stat.S_IMODE(directory.parent.stat().st_mode) & 0o022 == 0


def test_only_the_owner_can_read_what_planning_needs(
    ws: Workspace, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.questions("a", "b")
    ws.job()
    rename = Path.rename
    found: dict[str, int] = {}
    names: set[str] = set()

    def look(draft: Path, target: Path) -> Path:
        if draft.parent.name == "job":
            names.update(path.name for path in draft.parent.iterdir())
            found.update(modes(draft.parent))
        return rename(draft, target)

    monkeypatch.setattr(Path, "rename", look)
    before = os.umask(0)
    try:
        run_here().execute()
    finally:
        os.umask(before)
    assert {"planning.sqlite", "plan.new", "progress.json.new", "acknowledged.new", "journal.sqlite.new"} <= names
    assert not found


HOSTILE = "\x1b]0;owned\x07 \x1b[2J \x9b31m \u202e \u2028 \x85 \r\n end"


def is_plain(text: str) -> bool:
    """Whether a terminal shows it as it is: lines of printable characters, and the bar's own carriage return."""
    return all(char.isprintable() or char in "\n\r\t" for char in text)


def test_what_the_endpoint_says_reaches_no_terminal_as_a_command(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([[f"a {HOSTILE}", f"1{HOSTILE}"], ["b", "2"]], ["question", "id"])
    ws.job(input={"id": "id"})

    def reply(asked: Asked) -> Reply:
        return answer(HOSTILE) if asked.prompt == "b" else refusal(400, 5006, HOSTILE)

    endpoint.reply = reply
    ws.environment["NO_COLOR"] = "1"  # so that no escape is ours
    shown = [
        on_a_terminal(ws, *arguments)
        for arguments in (
            ("validate", "job.yaml", "--show", "2"),
            ("validate", "job.yaml", "--show", "2", "--json"),
            ("run", "job.yaml"),
            ("status", "job.yaml"),
            ("retry-failed", "job.yaml", "--json"),
        )
    ]
    endpoint.reply = lambda asked: refusal(402, None, HOSTILE)
    # What stopped the first left its row pending, so the second is a plain run.
    shown += [
        on_a_terminal(ws, *arguments)
        for arguments in (
            ("retry-failed", "job.yaml"),
            ("run", "job.yaml", "--log-format", "json"),
        )
    ]
    assert [result.code for result in shown] == [0, 0, 3, 0, 3, 5, 5]
    for result in shown:
        assert is_plain(result.out) and is_plain(result.err), result
    assert "owned" in shown[0].out and "owned" in shown[5].out
    json.loads(shown[1].out), json.loads(shown[4].out)


def test_mistakes_that_quote_hostile_text_stay_on_their_lines(ws: Workspace) -> None:
    ws.given([["a", f"1{HOSTILE}"], ["b", f"1{HOSTILE}"]], ["question", "id"])
    ws.job(input={"id": "id"})
    twice = ws.pipeline("run", "job.yaml")
    assert (twice.code, len(twice.lines)) == (2, 1)
    ws.job(input={"path": f"in {HOSTILE}.csv"}, name=HOSTILE, endpoint={"model": HOSTILE})
    wrong = ws.pipeline("run", "job.yaml", "--log-format", "json")
    assert wrong.code == 2
    assert all(isinstance(json.loads(line), dict) for line in wrong.lines)
    assert is_plain(twice.err) and is_plain(wrong.err)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("output.path", "x" * 300),
        ("output.path", "x" * 240 + ".parquet"),
        ("output.path", "nul\0.parquet"),
        ("checkpoint.path", "x" * 300),
        ("checkpoint.path", "in.parquet/below"),
        ("output.path", "."),
    ],
    ids=["long", "long with what is added", "NUL", "long checkpoint", "below a file", "directory"],
)
def test_a_path_that_cannot_be_is_exit_2_before_anything_is_sent(
    ws: Workspace, endpoint: Endpoint, key: str, path: str
) -> None:
    section, name = key.split(".")
    ws.questions("a")
    ws.job(**{section: {name: path}})
    result: Any = ws.pipeline("run", "job.yaml")
    assert (result.code, len(result.lines)) == (2, 1), result
    assert key in result.err
    assert not endpoint.asked


def test_the_senders_inherit_no_key(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job(limits={"processes": 3})
    ws.environment["A_COPY"] = f"Bearer {KEY}"
    endpoint.gate.clear()
    with ws.running() as process:
        endpoint.wait_for(1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        environments = [Path(f"/proc/{child}/environ").read_bytes() for child in children]
        endpoint.gate.set()
        assert ended(process).code == 0
    assert len(environments) == 2
    assert all(b"PATH=" in environment and KEY.encode() not in environment for environment in environments)


@pytest.mark.parametrize("processes", [1, 2])
def test_no_process_of_a_run_is_ever_dumped_to_a_core_file(ws: Workspace, endpoint: Endpoint, processes: int) -> None:
    ws.questions("a")
    ws.job(limits={"processes": processes})
    endpoint.gate.clear()
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    with ws.running() as process:
        endpoint.wait_for(1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for number in (*map(int, children), process.pid):
            assert resource.prlimit(number, resource.RLIMIT_CORE)[0] == 0
            resource.prlimit(number, resource.RLIMIT_CORE, unlimited)  # as where cores are piped, whatever the limit is
            os.kill(number, signal.SIGQUIT)
        assert process.wait(60) == -signal.SIGQUIT
    endpoint.gate.set()
    assert not [name for name in ws.files() if name.startswith("core")]
