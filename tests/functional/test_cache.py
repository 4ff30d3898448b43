"""`cache`: answers to the same request from any job that names it."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

from tests.functional.conftest import COST, MODEL, Asked, Endpoint, Reply, Simulated, Workspace, answer, ended, refusal
from tests.support.oracle import SOCKET_SECONDS, Ledger

SMALL = "meta/llama-3.1-8b-instruct"
FILE = ".cache/answers"


def numbered() -> Callable[[Asked], Reply]:
    """Answers that are all different, in the order they are asked for."""
    count = itertools.count(1)
    return lambda asked: answer(f"{asked.prompt} {next(count)}")


def job(ws: Workspace, name: str, *, cache: dict[str, Any] | None = None, **sections: Any) -> None:
    """A job of its own with the cache that all have in common."""
    output = {"path": f"{name}.parquet"}
    ws.job(name=name, cache={"path": FILE} if cache is None else cache, **{"output": output, **sections})


def stored(ws: Workspace) -> sqlite3.Connection:
    """The cache's file, opened as it stands."""
    return sqlite3.connect(ws.path / FILE, isolation_level=None)


@pytest.fixture(autouse=True)
def different(endpoint: Endpoint) -> None:
    endpoint.reply = numbered()


def test_another_job_takes_the_answers_for_nothing_and_status_says_what_that_saved(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    job(ws, "first")
    assert ws.run()["requests"] == 2
    assert ws.command("status")["cache"] == {"hits": 0, "saved_usd": "0"}
    first = {row["question"]: row for row in ws.rows("first.parquet")}
    assert {row["shared_from"] for row in first.values()} == {None}

    ws.questions("c", "b", "a")
    job(ws, "second")
    found = ws.run()
    assert (found["rows"], found["succeeded"], found["requests"], found["cost_usd"]) == (3, 3, 1, COST)
    rows = ws.rows("second.parquet")
    assert [row["shared_from"] for row in rows] == [None, "cache", "cache"]
    for row in rows[1:]:
        bought = first[row["question"]]
        differ = {"shared_from", "cost_usd", "attempts", "latency_seconds", "started_at", "finished_at"}
        assert {name for name in row if row[name] != bought[name]} == differ
        assert (row["cost_usd"], row["attempts"], row["latency_seconds"], row["finished_at"]) == (0, 0, None, None)
    assert sum(row["cost_usd"] for row in rows) == Decimal(found["job_cost_usd"]) == Decimal(COST)
    status = ws.command("status")
    assert status["cache"] == {"hits": 2, "saved_usd": "0.00002"}
    assert "2 answers taken, $0.00002 saved" in ws.pipeline("status", "job.yaml").out
    assert ws.run()["requests"] == 0
    assert ws.command("status")["cache"]["hits"] == 2


def test_equal_rows_of_one_run_take_what_is_known_when_they_are_sent(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", *range(8), "a")
    job(ws, "by_turns", limits={"concurrency": 1})
    assert ws.run()["requests"] == 9
    assert [row["shared_from"] for row in ws.rows("by_turns.parquet")] == [None] * 9 + ["cache"]

    ws.questions("d", "d", "e", "d")
    job(ws, "side_by_side", limits={"concurrency": 1})
    assert ws.run()["requests"] == 2
    assert [row["shared_from"] for row in ws.rows("side_by_side.parquet")] == [None, "cache", None, "cache"]

    ws.questions("f", "f")
    job(ws, "by_rate", limits={"concurrency": 2, "requests_per_minute": 1})  # the second row waits for its turn
    assert ws.run()["requests"] == 1
    assert [row["shared_from"] for row in ws.rows("by_rate.parquet")] == [None, "cache"]

    ws.questions("b", "b", "b")
    endpoint.gate.clear()
    job(ws, "at_once", limits={"concurrency": 3})
    with ws.running() as process:
        endpoint.wait_for(9 + 2 + 1 + 3)
        endpoint.gate.set()
        assert ended(process).data["requests"] == 3
    ws.questions("c", "c", "c")
    job(ws, "shared", limits={"concurrency": 3}, deduplicate=True)
    assert ws.run()["requests"] == 1


def test_only_the_same_request_to_the_same_endpoint_is_served(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    job(ws, "first")
    ws.run()
    other = Endpoint()
    try:
        changes: list[dict[str, Any]] = [
            {"endpoint": {"model": SMALL}},
            {"parameters": {"temperature": 0.5}},
            {"prompt": {"user": "{{ question }}", "system": "Be kind."}},
            {"endpoint": {"extra_body": {"x": 1}}},
            {"endpoint": {"url": other.url}},
            {"endpoint": {"kind": "openai", "url": f"http://127.0.0.1:{endpoint.port}/api/v1"}},
        ]
        for number, change in enumerate(changes):
            other.reply = endpoint.reply = lambda asked: (
                answer("x")
                if "data" in asked.body
                else Reply(
                    {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
                )
            )
            job(ws, f"other{number}", **change)
            found = ws.run()
            assert (found["succeeded"], found["requests"]) == (1, 1), change
    finally:
        other.close()
    job(ws, "same")
    assert ws.run()["requests"] == 0


def test_an_endpoint_is_the_same_by_its_base_and_by_its_whole_address(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: Reply({"choices": [{"message": {"content": "yes"}}]})
    ws.questions("a")
    base = endpoint.url.replace("/api/v1", "/v1")
    for name, url in {"base": base, "whole": f"{base}/chat/completions", "slash": f"{base}/"}.items():
        job(ws, name, endpoint={"kind": "openai", "url": url, "model": "m"})
        assert ws.run()["requests"] == (name == "base")


def test_sample_k_takes_the_kth_answer_and_the_rest_is_bought(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    job(ws, "two", prompt={"user": "{{ question }}", "samples": 2})
    assert ws.run()["requests"] == 2
    two = [row["response"] for row in ws.rows("two.parquet")]
    job(ws, "four", prompt={"user": "{{ question }}", "samples": 4})
    assert ws.run()["requests"] == 2
    four = ws.rows("four.parquet")
    assert [row["response"] for row in four][:2] == two and len({row["response"] for row in four}) == 4
    assert [row["shared_from"] for row in four] == ["cache", "cache", None, None]
    job(ws, "seeded", prompt={"user": "{{ question }}", "samples": 3}, parameters={"seed": 5})
    assert ws.run()["requests"] == 3
    job(ws, "one", parameters={"seed": 7})
    assert ws.run()["requests"] == 0
    assert ws.rows("one.parquet")[0]["response"] == ws.rows("seeded.parquet")[2]["response"]


def test_answers_expire_and_a_new_one_takes_their_place(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    job(ws, "first")
    ws.run()
    with closing(stored(ws)) as file:
        file.execute("UPDATE answers SET stored_at = stored_at - 86400 * 3")
    job(ws, "lasting")
    assert ws.run()["requests"] == 0
    short = {"path": FILE, "ttl_days": 2.5}
    job(ws, "fresh", cache=short)
    assert ws.run()["requests"] == 1
    job(ws, "again", cache=short)
    assert ws.run()["requests"] == 0
    assert ws.rows("again.parquet")[0]["response"] == ws.rows("fresh.parquet")[0]["response"]


def test_failures_do_not_enter_and_an_answer_that_is_not_expected_stays_and_the_row_is_sent(
    ws: Workspace, endpoint: Endpoint
) -> None:
    endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "bad" else answer("maybe")
    ws.questions("bad", "good")
    job(ws, "first")
    ws.run(code=3)
    endpoint.reply = lambda asked: answer("yes")
    job(ws, "second")
    assert ws.run()["requests"] == 1
    ws.questions("good")
    job(ws, "strict", expect={"choices": ["yes", "no"], "send": "none"})
    found = ws.run()
    assert (found["succeeded"], found["requests"]) == (1, 1)
    assert ws.rows("strict.parquet")[0]["parsed"] == "yes"
    job(ws, "loose")
    assert ws.run()["requests"] == 0
    assert ws.rows("loose.parquet")[0]["response"] == "maybe"


def test_a_row_that_shares_names_the_row_that_has_the_answer_of_the_cache(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    job(ws, "first")
    ws.run()
    ws.given([["x", "a"], ["y", "a"], ["z", "b"]], ["key", "question"])
    job(ws, "second", deduplicate=True, input={"id": "key"})
    assert ws.run()["requests"] == 1
    assert [row["shared_from"] for row in ws.rows("second.parquet")] == ["cache", "x", None]


def foreign_text(ws: Workspace) -> None:
    (ws.path / FILE).write_text("my notes\n" * 100)


def foreign_database(ws: Workspace) -> None:
    with closing(sqlite3.connect(ws.path / FILE)) as file:
        file.execute("CREATE TABLE answers (key TEXT)")


@pytest.mark.parametrize("put", [foreign_text, foreign_database])
def test_a_file_that_is_no_cache_is_refused_and_left_alone(
    ws: Workspace, endpoint: Endpoint, put: Callable[[Workspace], None]
) -> None:
    ws.questions("a")
    (ws.path / ".cache").mkdir()
    put(ws)
    before = (ws.path / FILE).read_bytes()
    job(ws, "first")
    for command in ("validate", "run"):
        result = ws.pipeline(command, "job.yaml")
        assert result.code == 6 and "cache.path" in result.err and "no cache of this program" in result.err
    assert (ws.path / FILE).read_bytes() == before and not endpoint.asked


def test_a_cache_that_cannot_be_written_ends_a_run_before_the_first_call(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    (ws.path / FILE).mkdir(parents=True)
    for path in (FILE, "/proc/nowhere/answers"):
        job(ws, "first", cache={"path": path})
        for command in ("validate", "run"):
            result = ws.pipeline(command, "job.yaml")
            assert result.code == 6 and f"cache.path: {path.split('nowhere')[0].rstrip('/')}" in result.err, result
    job(ws, "first", parameters={"temperature": -1})
    assert ws.pipeline("run", "job.yaml").code == 2
    assert not endpoint.asked


def test_a_broken_cache_ends_a_run_before_the_first_call(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    job(ws, "first")
    ws.run()
    whole = (ws.path / FILE).read_bytes()
    (ws.path / FILE).write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    endpoint.forget()
    job(ws, "second")
    result = ws.pipeline("run", "job.yaml")
    assert result.code == 6 and ".cache/answers" in result.err, result
    assert not endpoint.asked


def test_an_answer_that_is_damaged_is_never_served_and_the_run_goes_on_without_the_cache(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    job(ws, "first")
    ws.run()
    with closing(stored(ws)) as file:
        file.execute("UPDATE answers SET record = CAST(replace(CAST(record AS TEXT), 'a ', 'z ') AS BLOB)")
    job(ws, "second")
    result = ws.pipeline("run", "job.yaml", "--verbose")
    assert result.code == 0 and "is left alone from now on" in result.err
    assert all(row["response"][0] != "z" for row in ws.rows("second.parquet"))
    assert [row["shared_from"] for row in ws.rows("second.parquet")] == [None, None]


def test_the_cache_is_no_other_file_of_the_job(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    job(ws, "first", cache={"path": "in.parquet"})
    assert "cache.path" in ws.pipeline("run", "job.yaml").err
    job(ws, "first", cache={"path": "first.parquet"})
    assert "cache.path" in ws.pipeline("run", "job.yaml").err
    assert not endpoint.asked


def test_a_kill_costs_no_answer_and_two_jobs_at_once_share_one_cache(
    ws: Workspace, simulate: Callable[..., Simulated]
) -> None:
    served = simulate("--latency-seconds", "0.02")
    ws.questions(*(f"question {number}" for number in range(60)))
    limits = {"concurrency": 6}
    job(ws, "one", endpoint={"url": served.url}, limits=limits)
    for _ in range(2):
        with ws.running() as process:
            served.wait_for_answers(5)
            process.kill()
        time.sleep(SOCKET_SECONDS)
    with ws.running() as first:
        served.wait_for_answers(2)
        job(ws, "two", endpoint={"url": served.url}, limits=limits)
        with ws.running() as second:
            results = [ended(first), ended(second)]
    assert [result.code for result in results] == [0, 0], results
    one, two = (result.data for result in results)
    ledger = Ledger(served.ledger)
    costs = [sum(row["cost_usd"] for row in ws.rows(f"{name}.parquet")) for name in ("one", "two")]
    assert costs == [Decimal(one["job_cost_usd"]), Decimal(two["job_cost_usd"])]
    assert sum(costs) <= ledger.billed <= sum(costs) + Decimal(one["possibly_billed_usd"])
    by_question = {row["question"]: row["response"] for row in ws.rows("one.parquet")}
    assert {row["question"]: row["response"] for row in ws.rows("two.parquet")} == by_question
    assert Counter(row["shared_from"] for row in ws.rows("two.parquet"))["cache"] > 0
    job(ws, "three", endpoint={"url": served.url})
    assert ws.run()["requests"] <= one["possibly_billed_requests"]


def test_a_stand_in_for_the_endpoint_serves_nothing_to_the_endpoint_itself(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    job(ws, "simulated", endpoint={"url": "simulator", "model": MODEL})
    assert ws.run()["requests"] == 1
    job(ws, "real")
    assert ws.run()["requests"] == 1
    job(ws, "simulated2", endpoint={"url": "simulator", "model": MODEL})
    assert ws.run()["requests"] == 0


def test_recovery_from_the_output_alone_keeps_the_answers_of_the_cache(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    job(ws, "first")
    ws.run()
    job(ws, "second")
    ws.run()
    (ws.path / ".checkpoints/second/journal.sqlite").write_bytes(b"")
    assert ws.command("recover")["recovered"] == 2
    found = ws.run()
    assert (found["requests"], found["job_cost_usd"]) == (0, "0")
    assert [row["shared_from"] for row in ws.rows("second.parquet")] == ["cache", "cache"]


def test_the_estimate_counts_no_request_that_the_cache_answers_and_leaves_no_file(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    job(ws, "first")
    assert ws.command("estimate")["requests"] == 2
    assert not ws.exists(FILE)
    ws.run()
    ws.questions("a", "b", "c")
    job(ws, "second")
    found = ws.command("estimate")
    assert (found["rows"]["new"], found["requests"]) == (3, 1)
    assert ws.run()["requests"] == 1
