"""`pipeline export --with`: the output of a job together with what another job has said of its rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.sources import parquet
from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, answer, refusal

QUESTIONS = ["a", "b", "c"]
SAMPLES = 3


@pytest.fixture
def judged(ws: Workspace, endpoint: Endpoint) -> Workspace:
    """Three answers to each question (`a0`, `a1`, `a2`), the first of `c` failed; their number as a mark, apart from
    those of `b`, which are all the same. What failed is not judged, nor is `a1`.
    """
    said: dict[str, int] = {}

    def reply(asked: Asked) -> Reply:
        if asked.prompt.startswith("judge "):
            mark = 7 if "b" in asked.prompt else int(asked.prompt[-1])
            return answer(json.dumps({"mark": mark}))
        said[asked.prompt] = said.get(asked.prompt, -1) + 1
        text = f"{asked.prompt}{said[asked.prompt]}"
        return refusal(400, 7, "no") if text == "c0" else answer(text)

    endpoint.reply = reply
    ws.questions(*QUESTIONS)
    ws.job(prompt={"user": "{{ question }}", "samples": SAMPLES}, limits={"concurrency": 1})
    ws.run(code=3)
    judge(ws)
    assert ws.pipeline("run", "judge.yaml").code == 0
    return ws


def judge(ws: Workspace, **sections: Any) -> None:
    schema = {"type": "object", "properties": {"mark": {"type": "integer"}}}
    usual: dict[str, Any] = {
        "name": "judge",
        "input": {
            "path": {"job": "job.yaml"},
            "where": "status == 'succeeded' and response != 'a1'",
            "columns": ["question"],
        },
        "prompt": {"user": "judge {{ response }}"},
        "expect": {"json_schema": schema, "send": "none"},
        "output": {"path": "judge.parquet", "prefix": "judge_"},
    }
    ws.job("judge.yaml", **{**usual, **sections})


def export(ws: Workspace, to: str, *flags: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    done = ws.command("export", "--to", to, "--with", "judge.yaml", *flags, "out.jsonl")
    return done, [json.loads(line) for line in (ws.path / "out.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("batch_rows", [1024, 1])
def test_rows_have_the_other_job_s_columns_beside_theirs(
    judged: Workspace, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr(parquet, "BATCH_ROWS", batch_rows)
    _, rows = export(judged, "jsonl", "--failed")
    assert [(row["row_id"], row["response"], row["judge_parsed"]) for row in rows if row["question"] != "b"] == [
        (rows[0]["row_id"], "a0", {"mark": 0}),
        (rows[0]["row_id"], "a1", None),
        (rows[0]["row_id"], "a2", {"mark": 2}),
        (rows[6]["row_id"], None, None),
        (rows[6]["row_id"], "c1", {"mark": 1}),
        (rows[6]["row_id"], "c2", {"mark": 2}),
    ]
    assert list(rows[0]) == [*judged.table().schema.names, *judged.table("judge.parquet").schema.names[1:]]


def test_pairs_and_filters_by_the_other_job_s_marks(judged: Workspace) -> None:
    done, pairs = export(judged, "preference", "--score", "judge_parsed.mark")
    assert pairs == [
        {"prompt": "a", "chosen": "a2", "rejected": "a0"},
        {"prompt": "c", "chosen": "c2", "rejected": "c1"},
    ]
    assert done["left_out"] == {"failed": 1, "without a best and a worst answer": 1}
    _, good = export(judged, "messages", "--where", "judge_status == 'succeeded' and judge_parsed.mark == 2")
    assert [line["messages"][-1]["content"] for line in good] == ["a2", "c2"]
    _, rows = export(judged, "jsonl", "--columns", "response,judge_parsed", "--where", "judge_status is none")
    assert rows == [{"response": "a1", "judge_parsed": None}]


def test_what_the_other_job_has_to_be(judged: Workspace) -> None:
    def refused(*flags: str) -> str:
        done = judged.pipeline("export", "job.yaml", "--to", "jsonl", "--with", *flags, "out.jsonl")
        assert done.code == 2, done.err
        assert not judged.exists("out.jsonl")
        return done.err

    assert "does not read the output of job.yaml" in refused("job.yaml")
    assert "no column 'judge_pased'" in refused("judge.yaml", "--columns", "judge_pased")
    judge(judged, prompt={"user": "judge {{ response }}", "samples": 2})
    assert "several rows of each" in refused("judge.yaml")
    judge(judged, output={"path": "judge.parquet", "prefix": ""})
    assert "run it first: pipeline run judge.yaml" in refused("judge.yaml")
    assert judged.pipeline("run", "judge.yaml").code == 0
    assert "output.prefix" in refused("judge.yaml")
    judge(judged)
    judged.questions(*QUESTIONS, "d")
    judged.run(code=3)
    assert "3 of 10 rows have no outcome yet; run it first: pipeline run judge.yaml" in refused("judge.yaml")
