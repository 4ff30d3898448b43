"""`prompt.samples`: several answers for a row, each a row of its own that is bought once."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import pipeline
from tests.functional.conftest import COST, Asked, Endpoint, Reply, Simulated, Workspace, answer, refusal, usual
from tests.support.oracle import SOCKET_SECONDS, Ledger

PROMPT = {"user": "{{ question }}"}


def numbered() -> Callable[[Asked], Reply]:
    """Answers that are all different, in the order they are asked for."""
    count = itertools.count(1)
    return lambda asked: answer(f"{asked.prompt} {next(count)}")


def job(ws: Workspace, samples: int | None, **sections: Any) -> None:
    """The usual job with so many samples, none named for None."""
    ws.job(prompt=PROMPT if samples is None else {**PROMPT, "samples": samples}, **sections)


def cells(ws: Workspace, name: str = "out.parquet") -> list[tuple[str, int]]:
    """The output's rows by question and sample."""
    return [(row["question"], row["sample_index"]) for row in ws.rows(name)]


def seeds(endpoint: Endpoint) -> list[Any]:
    """The seeds of all requests so far."""
    return sorted(asked.body["data"]["seed"] for asked in endpoint.asked)


@pytest.fixture(autouse=True)
def different(endpoint: Endpoint) -> None:
    endpoint.reply = numbered()


def test_each_sample_is_a_row_of_the_output_in_order_and_costs_its_own(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["a", "1"], ["b", "2"]], ["question", "note"])
    job(ws, 3)
    found = ws.run()
    assert (found["rows"], found["succeeded"], found["requests"]) == (6, 6, 6)
    assert Decimal(found["job_cost_usd"]) == 6 * Decimal(COST)
    rows = ws.rows()
    assert cells(ws) == [(question, sample) for question in "ab" for sample in range(3)]
    assert [row["note"] for row in rows] == ["1"] * 3 + ["2"] * 3
    assert len({row["response"] for row in rows}) == 6
    assert all(row["response"].startswith(row["question"]) for row in rows)
    assert len({row["row_id"] for row in rows}) == 2
    assert len({row["request_hash"] for row in rows}) == 2, "without a seed the samples of a row ask the same"
    names = ws.table().schema.names
    assert names[names.index("row_id") + 1] == "sample_index"
    assert ws.table().schema.field("sample_index") == pa.field("sample_index", pa.int32(), nullable=False)


def test_raising_the_samples_buys_the_new_ones_and_lowering_keeps_the_others_for_later(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    job(ws, None)
    ws.run()
    first = {row["question"]: row["response"] for row in ws.rows()}
    assert "sample_index" not in ws.table().schema.names
    job(ws, 4)
    plan = ws.command("estimate")
    assert (plan["rows"], plan["requests"]) == (
        {"total": 8, "done": 2, "new": 6, "changed": 0, "to_retry": 0, "orphaned": 0},
        6,
    )
    assert ws.run()["requests"] == 6
    four = ws.rows()
    assert {row["question"]: row["response"] for row in four if row["sample_index"] == 0} == first
    job(ws, 2)
    assert ws.command("estimate")["rows"]["orphaned"] == 4
    assert ws.run()["requests"] == 0
    assert ws.rows() == [row for row in four if row["sample_index"] < 2]
    job(ws, 5)
    assert ws.run()["requests"] == 2
    assert [row for row in ws.rows() if row["sample_index"] < 4] == four
    job(ws, 1)
    assert ws.run()["requests"] == 0
    assert cells(ws) == [("a", 0), ("b", 0)]
    assert Decimal(ws.command("status")["job_cost_usd"]) == 10 * Decimal(COST)


def test_equal_rows_and_ids_keep_their_own_samples(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("same", "same", "other")
    job(ws, 2)
    assert ws.run()["requests"] == 6
    once = ws.rows()
    assert len({(row["row_id"], row["sample_index"]) for row in once}) == 6
    assert [row["row_id"].partition("#")[2] for row in once] == ["", "", "2", "2", "", ""]
    ws.questions("new", "same", "other", "same")
    assert ws.run()["requests"] == 2
    kept = {(row["row_id"], row["sample_index"]): row["response"] for row in ws.rows()}
    assert {(row["row_id"], row["sample_index"]): row["response"] for row in once}.items() <= kept.items()

    ws.given([["x", "same"], ["y", "same"]], ["key", "question"])
    job(ws, 2, name="named", input={"id": "key"}, output={"path": "named.parquet"}, checkpoint={"path": "named"})
    assert ws.run()["requests"] == 4
    assert [(row["row_id"], row["sample_index"]) for row in ws.rows("named.parquet")] == [
        ("x", 0),
        ("x", 1),
        ("y", 0),
        ("y", 1),
    ]
    ws.given([["x", "same"], ["x", "same"]], ["key", "question"])
    assert "'x' (in.parquet, row 1 and in.parquet, row 2)" in ws.run(code=2)["error"]["message"]


def test_sample_k_asks_with_the_seed_plus_k_which_wraps_within_its_range(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    job(ws, 3, parameters={"seed": 7})
    assert ws.run()["requests"] == 3
    assert seeds(endpoint) == [7, 8, 9]
    assert len({row["request_hash"] for row in ws.rows()}) == 3
    endpoint.forget()
    job(ws, 3, parameters={"seed": 9_999_999_999})
    assert ws.run("--on-change", "rerun")["requests"] == 3
    assert seeds(endpoint) == [1, 2, 9_999_999_999]


def test_a_seed_from_a_column_moves_on_for_each_sample(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["a", "5"], ["b", ""]], ["question", "start"])
    job(ws, 2, parameters={"seed": {"column": "start"}})
    assert ws.run()["requests"] == 4
    assert Counter(asked.body["data"].get("seed") for asked in endpoint.asked) == {5: 1, 6: 1, None: 2}


def test_failed_samples_fail_alone_and_only_they_are_asked_again(ws: Workspace, endpoint: Endpoint) -> None:
    replies = {"a": iter([answer("one"), refusal(400, 5006), answer("three")])}
    endpoint.reply = lambda asked: next(replies[asked.prompt])
    ws.questions("a")
    job(ws, 3, limits={"concurrency": 1})
    found = ws.run(code=3)
    assert (found["succeeded"], found["failed"]) == (2, 1)
    assert [row["status"] for row in ws.rows()] == ["succeeded", "failed", "succeeded"]
    errors = ws.command("status")["errors"]
    assert [(one["kind"], one["rows"], one["example"]) for one in errors] == [
        ("bad_request", 1, ws.rows()[1]["row_id"])
    ]
    endpoint.reply = lambda asked: answer("two")
    assert ws.command("retry-failed")["requests"] == 1
    assert [row["response"] for row in ws.rows()] == ["one", "two", "three"]
    failed = ws.command("show", "--id", ws.rows()[0]["row_id"])["rows"]
    assert [(row["sample_index"], row["response"]) for row in failed] == [(0, "one"), (1, "two"), (2, "three")]


def test_a_limit_counts_output_rows_and_the_partial_output_has_the_samples_so_far(ws: Workspace) -> None:
    ws.questions("a", "b")
    job(ws, 3)
    found = ws.run("--limit", "4")
    assert (found["succeeded"], found["pending"], found["requests"]) == (4, 2, 4)
    assert cells(ws, "out.partial.parquet") == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
    assert ws.run()["requests"] == 2


def test_a_cap_stops_amid_the_samples_of_a_row_and_the_rest_is_bought_later(ws: Workspace) -> None:
    ws.questions("a", "b")
    job(ws, 5, limits={"concurrency": 1, "max_cost_usd": 0.00012})
    found = ws.run(code=4)
    assert found["pending"] + found["succeeded"] == 10 and 0 < found["succeeded"] < 10
    job(ws, 5)
    assert ws.run()["requests"] == 10 - found["succeeded"]


def test_kills_amid_the_samples_buy_nothing_twice_and_the_sums_are_the_ledgers(
    ws: Workspace, simulate: Callable[..., Simulated]
) -> None:
    served = simulate("--latency-seconds", "0.02")
    ws.questions(*(f"question {number}" for number in range(12)))
    for samples in (1, 6, 10):
        job(ws, samples, endpoint={"url": served.url}, limits={"concurrency": 8}, parameters={"seed": 3})
        with ws.running() as process:
            served.wait_for_answers(5)
            process.kill()
        time.sleep(SOCKET_SECONDS)
    found = ws.run()
    assert (found["rows"], found["succeeded"]) == (120, 120)
    ledger = Ledger(served.ledger)
    rows = ws.rows()
    assert cells(ws) == [(f"question {number}", sample) for number in range(12) for sample in range(10)]
    cost, possibly = Decimal(found["job_cost_usd"]), Decimal(found["possibly_billed_usd"])
    assert sum(row["cost_usd"] for row in rows) == cost
    assert cost <= ledger.billed <= cost + possibly
    answered = sum(one.answered is not None and one.answered["status"] == 200 for one in ledger.exchanges)
    assert 120 <= answered <= 120 + found["possibly_billed_requests"]


def test_recovery_from_the_output_alone_gives_every_sample_back(ws: Workspace) -> None:
    ws.given([["x", "a"], ["y", "b"]], ["key", "question"])
    job(ws, 3, input={"id": "key"})
    ws.run()
    before = ws.rows()
    (ws.path / ".checkpoints/job/journal.sqlite").write_bytes(b"")
    assert ws.command("recover")["recovered"] == 6
    assert ws.run()["requests"] == 0
    answers = [(row["row_id"], row["sample_index"], row["response"]) for row in before]
    assert [(row["row_id"], row["sample_index"], row["response"]) for row in ws.rows()] == answers


def test_validation_counts_the_samples_and_shows_what_each_would_ask(ws: Workspace) -> None:
    ws.questions("a", "b")
    job(ws, 3, parameters={"seed": 1})
    assert "valid; 6 rows" in ws.pipeline("validate", "job.yaml").out
    shown = ws.command("validate", "--show", "4")["requests"]
    assert [one["data"]["seed"] for one in shown] == [1, 2, 3, 1]
    assert [one["data"]["messages"][-1]["content"] for one in shown] == ["a", "a", "a", "b"]


@pytest.mark.parametrize("samples", [0, 10_001, "4", 1.5])
def test_a_number_of_samples_that_is_none_is_refused(ws: Workspace, endpoint: Endpoint, samples: object) -> None:
    ws.questions("a")
    ws.job(prompt={**PROMPT, "samples": samples})
    result = ws.pipeline("run", "job.yaml")
    assert result.code == 2 and "prompt.samples" in result.err
    assert not endpoint.asked


def test_an_id_with_the_character_that_parts_samples_is_refused(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["a\x1f1", "x"]], ["key", "question"])
    job(ws, 2, input={"id": "key"})
    assert "U+001F" in ws.run(code=2)["error"]["message"]
    assert not endpoint.asked
    job(ws, 1, input={"id": "key"})
    assert ws.run()["requests"] == 1


def test_without_marks_an_id_with_the_character_that_parts_samples_stays_whole(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ids = ["a\x1f1", "a\x1f2", "a\x1f3"]
    ws.given([[ids[0], "x"], [ids[1], "y"], [ids[2], "y"]], ["key", "question"])
    job(ws, None, input={"id": "key"}, deduplicate=True)
    ws.run()
    assert [row["row_id"] for row in ws.rows()] == ids
    assert [row["shared_from"] for row in ws.rows()] == [None, None, ids[1]]
    assert ws.pipeline("show", "job.yaml", "--id", ids[1]).code == 0


@pytest.mark.parametrize("samples", [None, 1])
def test_failures_name_such_an_id_whole(ws: Workspace, endpoint: Endpoint, samples: int | None) -> None:
    row_id = "a\x1f1"
    ws.given([[row_id, "x"], ["b", "y"]], ["key", "question"])
    endpoint.reply = lambda asked: refusal(400) if asked.prompt == "x" else usual(asked)
    job(ws, samples, input={"id": "key"})
    ws.run(code=3)
    assert [one["example"] for one in ws.command("status")["errors"]] == [row_id]
    (ws.path / ".checkpoints/job/progress.json").unlink()
    assert [one["example"] for one in ws.command("status")["errors"]] == [row_id]
    assert ws.pipeline("report", "job.yaml").code == 0
    assert r"a\x1f1" in (ws.path / "out.html").read_text(encoding="utf-8")


def test_a_longer_answer_that_failed_names_such_an_id_whole(ws: Workspace, endpoint: Endpoint) -> None:
    row_id = "a\x1f1"
    ws.given([[row_id, "x"]], ["key", "question"])
    cut = {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110}
    endpoint.reply = lambda asked: answer("and so on", usage=cut)
    job(ws, None, input={"id": "key"})
    ws.run()
    endpoint.reply = lambda asked: refusal(400)
    asked = ("--kind", "truncated", "--set", "parameters.max_tokens=200")
    assert f"(such as {row_id})" in ws.command("retry-failed", *asked, code=3)["error"]["message"]


def test_samples_count_as_their_row_in_what_failures_name(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["a", "x"]], ["key", "question"])
    endpoint.reply = lambda asked: refusal(400)
    job(ws, 3, input={"id": "key"})
    ws.run(code=3)
    assert [one["example"] for one in ws.command("status")["errors"]] == ["a"]


def test_ask_returns_a_frame_with_each_row_once_for_each_sample(
    ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAOORTS_API_KEY", "sk-none-of-your-business")
    frame = pd.DataFrame({"question": ["a", "b"]}, index=["x", "y"])
    arguments: dict[str, Any] = {
        "user": "{{ question }}",
        "model": "meta/llama-4-scout-17b-16e-instruct",
        "checkpoint": ws.path / "asked",
        "endpoint": {"url": ws.url},
    }
    answers = pipeline.ask(frame, samples=2, **arguments)
    assert list(answers.index) == ["x", "x", "y", "y"]
    assert list(answers["sample_index"]) == [0, 1, 0, 1]
    assert all(row.response.startswith(row.question) for row in answers.itertuples())
    assert len(endpoint.asked) == 4
    table = pipeline.ask(pa.table({"question": ["a", "b"]}), samples=3, **arguments)
    assert table.num_rows == 6 and len(endpoint.asked) == 6


def test_lists_for_people_say_which_sample_and_variant_a_row_is(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: refusal(400, 5006) if asked.body["data"]["seed"] == 2 else answer("x")
    ws.given([["k", "a"], ["l", "a"]], ["key", "question"])
    sweep = {"parameters.temperature": [0.5]}
    job(ws, 2, parameters={"seed": 1}, input={"id": "key"}, sweep=sweep, deduplicate=True)
    ws.run(code=3)
    listed = ws.pipeline("retry-failed", "job.yaml", "--list").out.splitlines()
    assert [line.split(",")[:4] for line in listed] == [
        ["row_id", "variant", "sample_index", "error_kind"],
        ["k", "temperature=0.5", "1", "bad_request"],
    ]
    shown = ws.pipeline("show", "job.yaml", "-n", "9").out
    assert "k (temperature=0.5, sample 1): failed" in shown
    assert "l (temperature=0.5, sample 0): succeeded" in shown and "shared from k" in shown
