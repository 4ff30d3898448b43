"""`pipeline inspect` and `pipeline compare`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.functional.conftest import USUAL_USAGE, Asked, Endpoint, Reply, Workspace, answer, refusal

REPLIES: dict[str, Reply] = {
    "fails": refusal(400, 7, "no"),
    "long": answer(
        "I think that it goes on", usage={"prompt_tokens": 4, "completion_tokens": 100, "total_tokens": 104}
    ),
    "null": answer(None),
    "a": answer("I think that it is a"),
    "b": answer("I think that it is b"),
    "c": answer("It depends"),
}


def reply(asked: Asked) -> Reply:
    return REPLIES[asked.prompt.split("#")[0]]


@pytest.fixture
def done(ws: Workspace, endpoint: Endpoint) -> Workspace:
    endpoint.reply = reply
    ws.given(
        [[str(n), name] for n, name in enumerate(["a", "b", "c", "c", "null", "long", "fails"])], ["id", "question"]
    )
    ws.job(input={"id": "id"})
    ws.run(code=3)
    return ws


def test_the_figures_of_a_job_s_answers(done: Workspace) -> None:
    found = done.command("inspect")
    assert found["rows"] == 7
    assert found["columns"]["question"] == {"null_rate": 0.0, "distinct": 6}
    assert found["columns"]["response"] == {"null_rate": pytest.approx(2 / 7, abs=1e-6), "distinct": 4}
    assert found["columns"]["error_kind"]["distinct"] == 1
    assert (found["truncated"], found["empty"], found["refused"]) == (1, 1, 0)
    assert found["duplicates"] == {"exact": 1, "near": 1, "compared": 6}
    assert found["distinct_per_prompt"] is None
    assert "agreement" not in found
    assert found["openings"][0] == {"opening": "I think that it", "rows": 3}
    lengths = found["response"]["characters"]
    assert (lengths["min"], lengths["max"]) == (0, len("I think that it goes on"))
    assert found["response"]["tokens"]["max"] == 100
    assert found["prompt"]["characters"]["p50"] == 1
    assert found["prompt"]["tokens"]["min"] == 4
    shown = done.pipeline("inspect", "job.yaml").out
    for part in ("7 rows", "1 truncated, 1 empty", "1 to the letter, 1 nearly", "I think that it", "error_kind"):
        assert part in shown


def test_samples_are_counted_as_different_answers_of_a_row(ws: Workspace, endpoint: Endpoint) -> None:
    said: dict[str, int] = {}

    def count(asked: Asked) -> Reply:
        said[asked.prompt] = said.get(asked.prompt, 0) + 1
        return answer("yes" if asked.prompt == "same" else str(said[asked.prompt]))

    endpoint.reply = count
    ws.questions("same", "other")
    ws.job(prompt={"user": "{{ question }}", "samples": 3})
    ws.run()
    assert ws.command("inspect", "--no-near")["distinct_per_prompt"] == 2.0
    assert "2 different answers a row" in ws.pipeline("inspect", "job.yaml", "--no-near").out


@pytest.fixture
def sampled(ws: Workspace, endpoint: Endpoint) -> Workspace:
    """Three answers to each question in two variants: each digit of it is one; the last one fails."""
    said: dict[tuple[str, float], int] = {}

    def reply(asked: Asked) -> Reply:
        key = (asked.prompt, asked.body["data"]["temperature"])
        said[key] = said.get(key, -1) + 1
        one = asked.prompt[said[key]]
        return refusal(400, 7, "no") if one == "x" else answer(json.dumps({"n": int(one), "mood": {"good": True}}))

    endpoint.reply = reply
    ws.questions("111", "112", "123", "12x", "1xx")
    properties = {"n": {"type": "number"}, "mood": {"type": "object", "properties": {"good": {"type": "boolean"}}}}
    ws.job(
        prompt={"user": "{{ question }}", "samples": 3},
        expect={"json_schema": {"type": "object", "properties": properties}, "send": "none", "attempts": 1},
        sweep={"parameters.temperature": [0, 1]},
        limits={"concurrency": 1},
    )
    ws.run(code=3)
    return ws


def test_the_agreement_of_samples_is_the_same_in_inspect_and_in_the_report(sampled: Workspace) -> None:
    share = round((1 + 2 / 3 + 1 / 3 + 1 / 2) / 4, 6)
    found = sampled.command("inspect", "--no-near")["agreement"]
    assert found == {
        "n": {"rows": 8, "share": pytest.approx(share, abs=1e-6), "unanimous": 2, "tied": 4},
        "mood": {"rows": 8, "share": 1.0, "unanimous": 8, "tied": 0},
    }
    words = "agreement     of n: 62.5% on average over 8 rows; 2 unanimous, 4 tied"
    assert words in sampled.pipeline("inspect", "job.yaml", "--no-near").out
    assert sampled.pipeline("report", "job.yaml").code == 0
    page = (sampled.path / "out.html").read_text()
    assert '<td class="n">8</td><td class="n">62.5%</td><td class="n">2</td><td class="n">4</td>' in page
    assert '<td class="n">8</td><td class="n">100.0%</td><td class="n">8</td><td class="n">0</td>' in page


def test_a_job_that_never_ran_has_nothing_to_look_at(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    for command in (("inspect", "job.yaml"), ("compare", "job.yaml", "job.yaml")):
        refused = ws.pipeline(*command)
        assert (refused.code, "run it first" in refused.err) == (2, True)


def other_job(ws: Workspace, *names: tuple[str, str]) -> None:
    ws.given(names, ["id", "question"], "other.csv")
    ws.job("other.yaml", name="other", input={"path": "other.csv", "id": "id"}, output={"path": "other.parquet"})
    assert ws.pipeline("run", "other.yaml").code in (0, 3)


def compare(ws: Workspace) -> dict[str, Any]:
    done = ws.pipeline("compare", "job.yaml", "other.yaml", "--json")
    assert done.code == 0, done.err
    return done.data


def test_rows_of_two_jobs_are_compared_by_their_ids(done: Workspace) -> None:
    other_job(done, ("1", "b"), ("0", "b"), ("2", "c"), ("3", "fails"), ("6", "a"), ("9", "a"))
    found = compare(done)
    assert {name: found[name] for name in ("same", "changed", "only_a", "only_b", "failed_a", "failed_b")} == {
        "same": 2,
        "changed": 1,
        "only_a": 2,
        "only_b": 1,
        "failed_a": 1,
        "failed_b": 1,
    }
    assert found["agreement"] == {"response": pytest.approx(2 / 3, abs=1e-6)}
    shown = done.pipeline("compare", "job.yaml", "other.yaml").out
    assert "2 answers the same, 1 changed" in shown
    assert "agreement of response: 66.7%" in shown


def test_the_first_sample_is_compared_with_the_row_of_a_job_without_samples(ws: Workspace) -> None:
    ws.given([("1", "a"), ("2", "b")], ["id", "question"])
    ws.job(input={"id": "id"})
    ws.run()
    sampled = {"user": "{{ question }}", "samples": 2}
    ws.job("other.yaml", name="other", input={"id": "id"}, prompt=sampled, output={"path": "other.parquet"})
    assert ws.pipeline("run", "other.yaml").code == 0
    found = compare(ws)
    assert (found["same"], found["changed"], found["only_a"], found["only_b"]) == (2, 0, 0, 2)


def test_of_no_rows_no_share_is_told(ws: Workspace) -> None:
    ws.given([], ["question"])
    ws.job()
    ws.run()
    assert ws.command("inspect")["columns"]["question"] == {"null_rate": None, "distinct": 0}
    assert "question                 unknown          0" in ws.pipeline("inspect", "job.yaml").out


def test_a_cost_that_is_not_known_is_no_zero(ws: Workspace, endpoint: Endpoint) -> None:
    choice = {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    endpoint.reply = lambda _: Reply({"choices": [choice], "usage": USUAL_USAGE})
    ws.questions("a", "b")
    own = {"kind": "openai", "url": ws.url.replace("/api/v1", "/v1"), "model": "team/own"}
    ws.job(endpoint=own, sweep={"parameters.temperature": [0, 1]})
    ws.run()
    found = ws.pipeline("compare", "job.yaml", "job.yaml", "--json").data
    assert found["cost_usd"] == {"a": None, "b": None, "difference": None}
    assert "cost: unknown and unknown" in ws.pipeline("compare", "job.yaml", "job.yaml").out
    assert {one["cost_usd"] for one in ws.command("inspect")["variants"].values()} == {None}
    assert "cost unknown," in ws.pipeline("inspect", "job.yaml").out
    page = (ws.path / ws.command("report")["path"]).read_text(encoding="utf-8")
    variants = page[page.index("Different answers") :]
    assert "\N{EN DASH}" in variants[: variants.index("</tr>", variants.index("</td>"))]
    assert ws.pipeline("list", "--json").data["jobs"][0]["job_cost_usd"] is None
    for command in (["estimate"], ["plan"], ["clean", "--yes"]):
        shown = ws.pipeline(command[0], "job.yaml", *command[1:]).out
        assert "unknown" in shown and "$0" not in shown


def test_tokens_that_no_reply_reports_are_no_zero(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda _: answer("yes", usage=None)
    ws.questions("a", "b")
    ws.job(sweep={"parameters.temperature": [0, 1]})
    ws.run()
    found = ws.pipeline("compare", "job.yaml", "job.yaml", "--json").data
    assert found["tokens"] == {"a": None, "b": None, "difference": None}
    assert "tokens: unknown and unknown" in ws.pipeline("compare", "job.yaml", "job.yaml").out
    variants = ws.command("inspect")["variants"].values()
    assert {(one["prompt_tokens"], one["completion_tokens"]) for one in variants} == {(None, None)}
    assert "unknown prompt tokens, unknown completion tokens" in ws.pipeline("inspect", "job.yaml").out
    page = (ws.path / ws.command("report")["path"]).read_text(encoding="utf-8")
    row = page[page.index("Different answers") :].partition("</thead>")[2].partition("</tr>")[0]
    assert row.count("\N{EN DASH}") == 3


def test_a_job_agrees_with_itself_and_costs_the_same(done: Workspace) -> None:
    same = done.pipeline("compare", "job.yaml", "job.yaml", "--json").data
    assert (same["same"], same["changed"], same["only_a"]) == (6, 0, 0)
    assert same["agreement"] == {"response": 1.0}
    assert same["cost_usd"]["difference"] == "0"
    assert same["cost_usd"]["a"] == done.command("status")["job_cost_usd"]
    assert same["tokens"]["difference"] == 0
