"""`pipeline plan`: what the jobs of a chain take and cost, before any of them runs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, answer

ROWS = 20


def reply(asked: Asked) -> Reply:
    return answer("5" if asked.prompt.startswith("judge") and "1" in asked.prompt else "2")


@pytest.fixture
def chain(ws: Workspace, endpoint: Endpoint) -> Workspace:
    """Three jobs: two answers to each question, a mark for each answer, and the good ones written anew."""
    endpoint.reply = reply
    ws.questions(*range(ROWS))
    ws.job("a.yaml", name="a", prompt={"user": "{{ question }}", "samples": 2}, output={"path": "a.parquet"})
    follow(ws, "b", "a", "judge {{ question }}: {{ response }}", columns=["question", "sample_index"])
    follow(ws, "c", "b", "write {{ question }} anew: {{ b_response }}", "b_response | int > 3", columns=["question"])
    return ws


def follow(ws: Workspace, name: str, other: str, user: str, where: str | None = None, **section: Any) -> None:
    """Write a job that reads another one."""
    chosen = {} if where is None else {"where": where}
    ws.job(
        f"{name}.yaml",
        name=name,
        input={"path": {"job": f"{other}.yaml"}, **chosen, **section},
        prompt={"user": user},
        output={"path": f"{name}.parquet", "prefix": f"{name}_"},
    )


def plan(ws: Workspace, *jobs: str) -> dict[str, Any]:
    done = ws.pipeline("plan", *(jobs or ("c.yaml",)), "--json")
    assert done.code == 0, done.err
    return done.data


def run(ws: Workspace, *names: str) -> None:
    for name in names:
        assert ws.pipeline("run", f"{name}.yaml").code == 0


def span(low: Any, expected: Any = None, high: Any = None) -> dict[str, Any]:
    return {
        "low": low,
        "expected": low if expected is None else expected,
        "high": high if high is not None else low if expected is None else expected,
    }


def test_stages_without_any_input_are_priced(chain: Workspace, endpoint: Endpoint) -> None:
    found = plan(chain)
    first, second, third = found["stages"]
    assert [stage["job"] for stage in (first, second, third)] == ["a", "b", "c"]
    assert first["rows"]["new"] == 2 * ROWS
    assert (first["rows_to_come"], first["requests"]) == (span(0), span(2 * ROWS))
    assert second["rows_to_come"] == second["requests"] == span(2 * ROWS)
    # Nothing tells how many rows the condition will keep.
    assert third["requests"] == span(0, 2 * ROWS)
    assert found["requests"] == span(4 * ROWS, 6 * ROWS)
    for bound in ("low", "expected", "high"):
        costs = [Decimal(stage["cost_usd"][bound]) for stage in found["stages"]]
        assert Decimal(found["cost_usd"][bound]) == sum(costs)
        assert all(costs) if bound != "low" else all(costs[:2])
    # Each prompt of the second quotes an answer of the first, at most as long as its max_tokens allow.
    quoted = first["completion_tokens"]["high"]
    assert second["prompt_tokens"]["high"] > quoted
    assert second["prompt_tokens"]["expected"] > 0.4 * quoted
    assert endpoint.asked == []
    shown = chain.pipeline("plan", "a.yaml", "b.yaml", "c.yaml").out
    for part in ("1. a (a.yaml): 40 total", "rows to come        40 (0 to 40)", "3 stages, one after the other"):
        assert part in shown
    assert "made-up answers" in shown


def test_what_is_there_tells_what_is_to_come(chain: Workspace) -> None:
    run(chain, "a", "b")
    chain.questions(*range(ROWS), *range(100, 100 + ROWS))
    found = plan(chain, "b.yaml", "c.yaml")
    first, second, third = found["stages"]
    assert (first["rows"]["done"], first["requests"]["expected"]) == (2 * ROWS, 2 * ROWS)
    assert (second["rows"]["done"], second["rows"]["new"]) == (2 * ROWS, 0)
    assert second["requests"] == span(2 * ROWS)
    assert second["spent_usd"] == "0.0004"
    # The answers so far are as long and as good as the others are taken to be: those to a question with a 1 in it.
    assert second["completion_tokens"]["expected"] == 2 * ROWS * 20
    good = 2 * sum("1" in str(question) for question in range(ROWS))
    assert third["rows"]["total"] == third["rows"]["new"] == good
    assert third["rows_to_come"]["expected"] == good
    assert 0 < third["rows_to_come"]["low"] < good < third["rows_to_come"]["high"] < 2 * ROWS
    # Two stages of which the second is complete are as `estimate` says.
    chain.questions(*range(ROWS))
    assert plan(chain)["stages"][2]["rows_to_come"] == span(0)


def test_the_plan_of_a_finished_chain_is_what_estimate_says(chain: Workspace) -> None:
    run(chain, "a", "b", "c")
    found = plan(chain)
    assert found["requests"] == span(0)
    assert found["cost_usd"] == span("0")
    alone = chain.pipeline("estimate", "c.yaml", "--json").data
    assert found["stages"][2]["rows"] == alone["rows"]
    assert Decimal(found["spent_usd"]) == Decimal("0.0004") * 2 + Decimal(alone["spent_usd"])
    assert [one for one in chain.files() if one.endswith(".new")] == []


def test_prompts_that_need_real_answers_have_no_figures(chain: Workspace) -> None:
    follow(chain, "b", "a", "{{ {'2': question}[response] }}", columns=["question"])
    stage = plan(chain, "b.yaml")["stages"][1]
    assert stage["requests"] == span(2 * ROWS)
    assert stage["cost_usd"] == stage["prompt_tokens"] == {"low": None, "expected": None, "high": None}
    assert "without the answers before them" in stage["assumptions"]
    shown = chain.pipeline("plan", "b.yaml").out
    assert "cost usd            unknown\n" in shown
    assert "None" not in shown


def test_a_sweep_in_a_later_stage_counts_each_variant(chain: Workspace) -> None:
    chain.job(
        "b.yaml",
        name="b",
        input={"path": {"job": "a.yaml"}, "columns": ["question"]},
        prompt={"user": "{{ response }}", "samples": 2},
        sweep={"parameters.temperature": [0, 1]},
        output={"path": "b.parquet", "prefix": "b_"},
    )
    assert plan(chain, "b.yaml")["stages"][1]["requests"] == span(2 * ROWS * 4)


def test_what_cannot_be_planned_is_refused(chain: Workspace) -> None:
    twice = chain.pipeline("plan", "a.yaml", "./a.yaml")
    assert (twice.code, "twice" in twice.err) == (2, True)
    follow(chain, "b", "a", "{{ respons }}", columns=["question"])
    refused = chain.pipeline("plan", "b.yaml")
    assert (refused.code, "'response'" in refused.err) == (2, True), refused.err
    assert chain.pipeline("plan").code == 2
