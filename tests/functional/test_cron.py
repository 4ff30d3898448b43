"""CONTRACT section 1, its last paragraph: what is said without a terminal, and with one."""

from __future__ import annotations

import json
import os
import pty
import re
import termios
import threading

import pytest

from tests.functional.conftest import Endpoint, Workspace, refusal, usual
from tests.support.commands import Result

INPUT = "in.csv"


def on_a_terminal(ws: Workspace, *arguments: str, columns: int = 120) -> Result:
    """Run the command with stderr on a pseudo-terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other side is closed
                return
            if not part:
                return
            shown.extend(part)

    with ws.start(*arguments, stderr=theirs) as process:
        os.close(theirs)
        reader = threading.Thread(target=read)
        reader.start()
        out, _ = process.communicate(timeout=30)
    reader.join()
    os.close(ours)
    return Result(process.wait(), out.decode(), shown.decode())


def test_success_and_nothing_to_send_are_silent(ws: Workspace) -> None:
    ws.questions("a", "b")
    ws.job()
    for arguments in ((), (), ("--limit", "1"), ("--quiet",)):
        assert ws.pipeline("run", "job.yaml", *arguments) == Result(0, "", "")
    assert ws.pipeline("retry-failed", "job.yaml") == Result(0, "", "")


@pytest.mark.parametrize(
    ("reply", "change", "code"),
    [
        (refusal(400, 5006), {}, 3),
        (refusal(402), {}, 5),
        (refusal(500), {"retry": {"max_elapsed_seconds": 0.3}}, 5),
        (None, {"limits": {"max_cost_usd": 0.00000001}}, 4),
    ],
    ids=["failed rows", "payment", "outage", "cap"],
)
def test_everything_else_says_why_in_one_line_with_the_counts(
    ws: Workspace, endpoint: Endpoint, reply: object, change: dict[str, dict[str, float]], code: int
) -> None:
    ws.questions(*range(7))
    ws.job(**change)
    endpoint.reply = lambda asked: reply  # type: ignore[assignment, return-value]
    ended = ws.pipeline("run", "job.yaml")
    assert (ended.code, ended.out, len(ended.lines)) == (code, "", 1)
    counts = "0 answered, 7 failed, 0 pending" if code == 3 else "0 answered, 0 failed, 7 pending"
    assert counts in ended.err
    assert ended.err.startswith("job: ")


def test_a_run_that_has_nothing_to_send_is_silent_even_where_rows_failed_before(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "bad")
    ws.job()
    endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "bad" else usual(asked)
    assert len(ws.pipeline("run", "job.yaml").lines) == 1
    again = ws.pipeline("run", "job.yaml")
    assert (again.code, again.out, again.err) == (3, "", "")


def test_exit_2_is_one_line_for_each_mistake(ws: Workspace) -> None:
    ws.questions("a")
    ws.job(limits={"concurrency": 0, "nonsense": 1}, retry={"max_runs": -1}, colour="red")
    ended = ws.pipeline("run", "job.yaml")
    assert (ended.code, ended.out, len(ended.lines)) == (2, "", 4)
    assert ws.pipeline("validate", "job.yaml") == ended
    assert ws.pipeline("validate", "job.yaml", "--json").err == ended.err
    for key in ("limits.concurrency", "limits.nonsense", "retry.max_runs", "colour"):
        assert sum(key in line for line in ended.lines) == 1
    assert all("job.yaml:" in line for line in ended.lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "missing.yaml"),
        ("run", "job.yaml", "--nonsense"),
        ("run", "job.yaml", "--limit", "x"),
        ("run",),
        ("recover", "job.yaml"),
        ("retry-failed", "job.yaml", "--kind", "x"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_one_line_too(ws: Workspace, arguments: tuple[str, ...]) -> None:
    ws.questions("a")
    ws.job()
    ended = ws.pipeline(*arguments)
    assert (ended.code, ended.out, len(ended.lines)) == (2, "", 1), ended.err


def test_a_mistake_in_the_yaml_itself_is_one_line_with_its_place(ws: Workspace) -> None:
    (ws.path / "job.yaml").write_text("name: job\ninput: {path: [in.csv\nprompt: x\n")
    ended = ws.pipeline("run", "job.yaml")
    assert (ended.code, ended.out, len(ended.lines)) == (2, "", 1)
    assert "job.yaml:" in ended.err


def test_verbose_speaks_without_a_terminal_and_log_format_json_makes_every_line_an_object(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a secret question")
    ws.job()
    shown = ws.pipeline("run", "job.yaml", "--verbose", "--log-format", "json")
    assert shown.code == 0
    assert shown.lines
    assert all(isinstance(json.loads(line), dict) for line in shown.lines)
    assert "a secret question" not in shown.err + shown.out
    assert "answer to" not in shown.err + shown.out


def test_a_terminal_sees_progress_and_a_summary_that_ends_with_the_next_command(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b", "bad")
    ws.job()
    endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "bad" else usual(asked)
    shown = on_a_terminal(ws, "run", "job.yaml")
    assert shown.code == 3
    assert "3/3" in shown.err
    summary = shown.out + shown.err
    assert "2 answered, 1 failed, 0 pending" in summary
    assert "next      pipeline show job.yaml --failed  # 1 bad_request would fail again" in shown.out
    assert "\n            pipeline retry-failed job.yaml --accept  # or leave them failed" in shown.out
    endpoint.reply = usual
    shown = on_a_terminal(ws, "retry-failed", "job.yaml")
    assert shown.code == 0
    assert shown.out.rstrip().splitlines()[-1] == "  next      pipeline show job.yaml"


@pytest.mark.parametrize("columns", [80, 60])
def test_the_whole_cost_is_on_the_progress_line_of_a_narrow_terminal(ws: Workspace, columns: int) -> None:
    ws.given([[str(number), f"question {number}"] for number in range(80)], ["id", "question"])
    ws.job(
        input={"id": "id"},
        endpoint={"url": "simulator"},
        limits={"concurrency": 8},
        simulator={"latency_seconds": 0.03, "fault_rate": 0.1},
    )
    shown = on_a_terminal(ws, "run", "job.yaml", columns=columns)
    lines = [line for line in shown.err.replace("\n", "\r").split("\r") if "/80 rows" in line]
    assert max(map(len, lines)) <= columns
    assert any(re.search(r"rows, \$0\.\d+ of about \$0\.\d+ simulated(,|$)", line.rstrip()) for line in lines)


def test_a_cost_far_below_a_cent_is_not_0_on_the_progress_line(ws: Workspace) -> None:
    ws.questions(*range(3))
    ws.job()
    assert "3/3 rows, $0.00003 of about $0.00003" in on_a_terminal(ws, "run", "job.yaml").err


def test_quiet_is_silent_on_a_terminal_too_while_all_is_well(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    assert on_a_terminal(ws, "run", "job.yaml", "--quiet") == Result(0, "", "")


def test_json_on_a_terminal_keeps_stdout_to_one_object(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    shown = on_a_terminal(ws, "run", "job.yaml", "--json")
    assert shown.data["succeeded"] == 1


def test_a_cap_that_lets_nothing_through_is_said_once_with_its_amount_until_it_changes(ws: Workspace) -> None:
    ws.questions("a", "b")
    ws.job(limits={"max_cost_usd": 0.00000001})
    first = ws.pipeline("run", "job.yaml")
    assert (first.code, first.out, len(first.lines)) == (4, "", 1)
    assert "limits.max_cost_usd is $0.00000001, of which $0 is spent by the job so far" in first.err
    assert "0 answered, 0 failed, 2 pending of 2 rows" in first.err
    assert first.err.rstrip().endswith(
        "next: pipeline run job.yaml --set limits.max_cost_usd=USD (with a higher limits.max_cost_usd)"
    )
    assert ws.pipeline("run", "job.yaml") == Result(4, "", "")
    changed = ws.pipeline("run", "job.yaml", "--set", "limits.max_cost_usd=0.00000002")
    assert (changed.code, len(changed.lines)) == (4, 1)


def test_the_line_counts_failures_by_kind_and_suggests_what_helps_with_the_flags_that_were_given(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "bad", "large")
    ws.job()
    endpoint.reply = lambda asked: (
        usual(asked) if asked.prompt == "a" else refusal(400 if asked.prompt == "bad" else 413)
    )
    ended = ws.pipeline("run", "job.yaml", "--set", "output.path=a b.parquet")
    assert (ended.code, ended.out, len(ended.lines)) == (3, "", 1)
    assert "1 bad_request" in ended.err and "1 request_too_large" in ended.err
    assert "next: pipeline show job.yaml --set 'output.path=a b.parquet' --failed" in ended.err


@pytest.mark.parametrize(
    ("environment", "is_colored"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
    ids=["colors", "NO_COLOR", "dumb"],
)
def test_a_terminal_shows_colors_unless_they_are_not_wanted(
    ws: Workspace, environment: dict[str, str], is_colored: bool
) -> None:
    ws.questions("a")
    ws.job()
    ws.environment |= environment
    shown = on_a_terminal(ws, "report", "missing.yaml")
    assert shown.code == 2
    assert shown.err.startswith("\x1b[31m") == is_colored
    assert ("\x1b" in shown.err) == is_colored
