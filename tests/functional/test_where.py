"""`input.where`: only the rows for which it holds are rows of the job."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import pipeline
from tests.functional.conftest import Endpoint, Workspace


def test_only_the_rows_that_it_holds_for_are_asked_counted_and_written(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([[str(n), f"q{n}"] for n in range(9000)], ["score", "question"])
    ws.job(input={"where": "score | int >= 8990"}, limits={"concurrency": 8})
    assert ws.command("estimate")["rows"]["total"] == 10
    assert ws.run("--limit", "3")["pending"] == 7
    summary = ws.run()
    assert (summary["rows"], summary["succeeded"]) == (10, 10)
    assert [row["question"] for row in ws.rows()] == [f"q{n}" for n in range(8990, 9000)]
    assert len(endpoint.asked) == 10


def test_another_condition_buys_only_what_is_new(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([[str(n), f"q{n}"] for n in range(6)], ["score", "question"])
    ws.job(input={"where": "score | int > 2"})
    ws.run()
    endpoint.forget()
    ws.job(input={"where": "score | int > 1"})
    ws.run()
    assert endpoint.prompts == ["q2"]
    assert [row["question"] for row in ws.rows()] == ["q2", "q3", "q4", "q5"]
    ws.job()
    ws.run()
    assert sorted(endpoint.prompts) == ["q0", "q1", "q2"]


def test_a_row_that_lacks_the_column_is_left_out(ws: Workspace, endpoint: Endpoint) -> None:
    lines = [{"question": "a", "score": 5}, {"question": "b"}, {"question": "c", "score": None}]
    (ws.path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ws.job(input={"path": "in.jsonl", "where": "score is none or score > 4"})
    assert ws.run()["rows"] == 2
    assert sorted(endpoint.prompts) == ["a", "c"]


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("score = 4", "`==` compares"),
        ("scor > 1", "did you mean 'score'?"),
        ("score >", "input.where"),
        ("score > 1 }}{{ question", "input.where"),
        ("score > 1", "row 1: the expression of input.where"),
        ("score.__class__", "cannot be read"),
    ],
)
def test_a_condition_that_cannot_be_told_is_refused_before_anything_is_sent(
    ws: Workspace, endpoint: Endpoint, where: str, words: str
) -> None:
    ws.given([["5", "a"]], ["score", "question"])
    ws.job(input={"where": where})
    for command in ("validate", "run"):
        refused = ws.pipeline(command, "job.yaml")
        assert (refused.code, words in refused.err) == (2, True), refused.err
    assert endpoint.asked == []
    assert not ws.exists(".checkpoints/job")


def test_without_a_single_row_it_is_as_an_empty_input(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    empty = ws.pipeline("run", "job.yaml", "--set", "input.where=question == 'b'", "--json")
    ws.questions()
    assert ws.pipeline("run", "job.yaml", "--json").code == empty.code
    assert endpoint.asked == []


def test_rows_of_a_frame_are_chosen_too(ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ws.path)
    job = {
        "name": "frame",
        "input": {"where": "score > 1"},
        "prompt": {"user": "{{ question }}"},
        "endpoint": {"url": "simulator", "model": "meta/llama-4-scout-17b-16e-instruct"},
        "output": {"path": "out.parquet"},
    }
    frame = pd.DataFrame({"score": [1, 2, 3], "question": list("abc")})
    assert pipeline.Job(job, input=frame).run().frame()["question"].tolist() == ["b", "c"]
