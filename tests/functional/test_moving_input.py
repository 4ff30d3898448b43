"""FAULTS.md: input that changes during a run. What was answered is kept, nothing is published wrongly."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.functional.conftest import Endpoint, Workspace, answer, ended

INPUT = "in.csv"

ROWS = 3000


def replaced(ws: Workspace) -> None:
    ws.given([[f"other {number}"] for number in range(ROWS)], ["question"], "new.csv")
    os.replace(ws.path / "new.csv", ws.path / "in.csv")


def rewritten(ws: Workspace) -> None:
    text = (ws.path / "in.csv").read_text()
    (ws.path / "in.csv").write_text(text.replace("question 5", "question X"))


def truncated(ws: Workspace) -> None:
    os.truncate(ws.path / "in.csv", 40)


def appended(ws: Workspace) -> None:
    with (ws.path / "in.csv").open("a") as file:
        file.write("one more\n")


def removed(ws: Workspace) -> None:
    (ws.path / "in.csv").unlink()


@pytest.mark.parametrize(
    ("change", "left"), [(replaced, ROWS), (replaced, 6), (rewritten, 6), (truncated, 6), (appended, 6), (removed, 6)]
)
def test_an_input_that_changes_during_a_run_ends_it_and_costs_no_answer(
    ws: Workspace, endpoint: Endpoint, change: Callable[[Workspace], None], left: int
) -> None:
    ws.questions(*(f"question {number}" for number in range(left)))
    before = (ws.path / "in.csv").read_bytes()
    ws.job(limits={"concurrency": 4})
    endpoint.gate.clear()
    with ws.running() as process:
        endpoint.wait_for(4)
        change(ws)
        endpoint.reply = lambda asked: answer("x", wait=0.02)
        endpoint.gate.set()
        result = ended(process)
    assert (result.code, len(result.lines)) == (2, 1), result
    assert "in.csv" in result.err and "while it was read" in result.err
    assert result.data["pending"] + result.data["succeeded"] == left
    assert not ws.exists("out.parquet") and not ws.exists("out.partial.parquet")
    asked = list(endpoint.prompts)
    assert len(asked) < ROWS / 2
    assert not [prompt for prompt in asked if "other" in prompt or "X" in prompt or "more" in prompt]

    # Put back, it is the same job: nothing is asked twice.
    (ws.path / "in.csv").write_bytes(before)
    endpoint.forget()
    assert ws.run("--limit", "5")["failed"] == 0
    assert not set(endpoint.prompts) & set(asked)
