"""The output of one job as the input of the next."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, answer, refusal


def reply(asked: Asked) -> Reply:
    return refusal(400, 7, "no") if asked.prompt == "fails" else answer(f"answer to {asked.prompt}")


@pytest.fixture
def chain(ws: Workspace, endpoint: Endpoint) -> Workspace:
    """Two jobs; the second one asks of each answer of the first, and carries three columns."""
    endpoint.reply = reply
    ws.given([["1", "a"], ["2", "fails"], ["3", "c"]], ["id", "question"])
    ws.job(input={"id": "id"})
    ws.job(
        "second.yaml",
        name="second",
        input={
            "path": {"job": "job.yaml"},
            "where": "status == 'succeeded'",
            "columns": ["id", "question", "response"],
        },
        prompt={"user": "judge {{ response }}"},
        output={"path": "second.parquet", "prefix": "judge_"},
    )
    return ws


def run(ws: Workspace, code: int = 0) -> dict[str, object]:
    done = ws.pipeline("run", "second.yaml", "--json")
    assert done.code == code, (done.code, done.err)
    return done.data


def test_the_next_job_reads_what_the_first_has_published(chain: Workspace, endpoint: Endpoint) -> None:
    chain.run(code=3)
    assert run(chain)["rows"] == 2
    rows = chain.rows("second.parquet")
    assert [(row["id"], row["response"], row["judge_response"]) for row in rows] == [
        (id_, f"answer to {name}", f"answer to judge answer to {name}") for id_, name in (("1", "a"), ("3", "c"))
    ]
    assert [row["judge_row_id"] for row in rows] == ["1", "3"]
    metadata = json.loads(pq.read_metadata(chain.path / "second.parquet").metadata[b"llm-batch-pipeline"])
    assert metadata["source_job"]["name"] == "job"
    assert len(metadata["source_job"]["run_ids"]) == 1
    assert len(metadata["source_job"]["sha256"]) == 64
    asked = len(endpoint.asked)
    assert run(chain)["requests"] == 0
    assert len(endpoint.asked) == asked


def test_an_incomplete_job_is_not_read(chain: Workspace, endpoint: Endpoint) -> None:
    message = str(run(chain, 2)["error"])
    assert "no answers yet" in message
    assert "pipeline run job.yaml" in message
    chain.run("--limit", "1")
    assert "2 of 3 rows have no outcome yet" in str(run(chain, 2)["error"])
    assert chain.pipeline("validate", "second.yaml").code == 2
    chain.run(code=3)
    chain.given([["1", "a"], ["2", "fails"], ["3", "c"], ["4", "d"]], ["id", "question"])
    assert "1 of 4 rows" in str(run(chain, 2)["error"])
    assert not any(asked.prompt.startswith("judge") for asked in endpoint.asked)


def test_what_changes_in_the_first_job_is_asked_again_in_the_second(chain: Workspace, endpoint: Endpoint) -> None:
    chain.run(code=3)
    run(chain)
    chain.given([["1", "a"], ["2", "b"], ["3", "c"]], ["id", "question"])
    chain.run()
    endpoint.forget()
    assert run(chain)["rows"] == 3
    assert endpoint.prompts == ["judge answer to b"]


@pytest.mark.parametrize("path", ["out.parquet", "out/"])
def test_an_output_that_does_not_show_what_its_job_has_is_not_read(
    chain: Workspace, endpoint: Endpoint, path: str
) -> None:
    output = {"path": path, **({"rows_per_file": 2} if path == "out/" else {})}
    rows = [["1", "a"], ["2", "b"], ["3", "c"], ["4", "d"]]
    chain.given(rows, ["id", "question"])
    chain.job(input={"id": "id"}, output=output)
    chain.run()
    run(chain)
    for present in (rows[:2], rows[::-1], [*rows[:3], ["5", "d"]]):
        chain.given(present, ["id", "question"])
        endpoint.forget()
        told = chain.pipeline("run", "second.yaml")
        assert (told.code, endpoint.asked) == (2, [])
        assert f"{path} does not show what job.yaml has now; run it first: pipeline run job.yaml" in told.err
        chain.run()
        assert run(chain)["rows"] == len(present)
    chain.given(rows[:2], ["id", "question"])
    chain.run()
    assert run(chain)["rows"] == 2  # whole parts are left as they were, and say so of an earlier state


def test_a_chain_of_three_names_what_to_run_first(chain: Workspace) -> None:
    third = {"path": {"job": "second.yaml"}, "columns": ["id"]}
    chain.job(
        "third.yaml", name="third", input=third, prompt={"user": "{{ judge_response }}"}, output={"path": "3.parquet"}
    )
    assert "run it first: pipeline run job.yaml" in chain.pipeline("run", "third.yaml").err


def test_longer_answers_under_another_setting_are_read(chain: Workspace, endpoint: Endpoint) -> None:
    chain.job(input={"id": "id"}, parameters={"max_tokens": 5})
    endpoint.reply = lambda asked: answer(
        asked.prompt, usage={"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
    )
    chain.run()
    chain.pipeline("retry-failed", "job.yaml", "--kind", "truncated", "--set", "parameters.max_tokens=50")
    assert run(chain)["rows"] == 3


def test_samples_are_told_apart_by_their_number(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job(prompt={"user": "{{ question }}", "samples": 2})
    ws.run()
    ws.job(
        "second.yaml",
        name="second",
        input={"path": {"job": "job.yaml"}},
        prompt={"user": "judge {{ response }}"},
        output={"path": "second.parquet", "prefix": "judge_"},
    )
    assert run(ws)["succeeded"] == 4
    first = [f"{row['row_id']}/{row['sample_index']}" for row in ws.rows()]
    assert [row["judge_row_id"] for row in ws.rows("second.parquet")] == first


def test_jobs_that_read_each_other_or_have_mistakes_are_refused(ws: Workspace) -> None:
    ws.questions("a")
    ws.job(input={"path": {"job": "second.yaml"}})
    ws.job("second.yaml", name="second", input={"path": {"job": "job.yaml"}}, output={"path": "second.parquet"})
    refused = ws.pipeline("validate", "job.yaml")
    assert (refused.code, "in turn" in refused.err) == (2, True), refused.err
    ws.job("second.yaml", name="second", prompt={"user": "{{ questoin }}"}, output={"path": "x.csv"})
    refused = ws.pipeline("validate", "job.yaml")
    assert (refused.code, "has mistakes" in refused.err) == (2, True), refused.err
    ws.job(input={"path": {"job": "nowhere.yaml"}})
    refused = ws.pipeline("validate", "job.yaml")
    assert (refused.code, "nowhere.yaml" in refused.err) == (2, True), refused.err


def test_several_columns_make_an_id_together(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["1", "x", "a"], ["1", "y", "b"], ["2", "x", "c"]], ["book", "page", "question"])
    ws.job(input={"id": ["book", "page"]})
    ws.run()
    assert [row["row_id"] for row in ws.rows()] == ["1/x", "1/y", "2/x"]
    ws.given([["1", "x", "a"], ["1", "x", "b"]], ["book", "page", "question"])
    refused = ws.pipeline("run", "job.yaml")
    assert (refused.code, "'book', 'page'" in refused.err) == (2, True), refused.err
