"""CONTRACT section 4, promises 1, 3 and 4: what is never asked twice, and what is asked of the user first."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.functional.conftest import COST, Endpoint, Reply, Workspace, refusal, usual


@pytest.fixture
def finished(ws: Workspace, endpoint: Endpoint) -> Workspace:
    """A job of six rows, three of which ask the same, done."""
    ws.given([[f"i{n}", q] for n, q in enumerate(["a", "b", "c", "same", "same", "same"])], ["id", "question"])
    ws.job()
    ws.run()
    endpoint.forget()
    return ws


ROWS = [["i0", "a"], ["i1", "b"], ["i2", "c"], ["i3", "same"], ["i4", "same"], ["i5", "same"]]


@pytest.mark.parametrize("id_column", [None, "id"])
def test_rows_appended_removed_and_put_in_another_order_buy_nothing_twice(
    ws: Workspace, endpoint: Endpoint, id_column: str | None
) -> None:
    ws.given(ROWS, ["id", "question"])
    ws.job(input={"id": id_column})
    ws.run()
    endpoint.forget()
    ws.given([["i9", "new"], *ROWS[::-1][:-1]], ["id", "question"])
    found = ws.run()
    assert endpoint.prompts == ["new"]
    assert [row["question"] for row in ws.rows()] == ["new", "same", "same", "same", "c", "b"]
    assert [row["response"] for row in ws.rows()] == [f"answer to {row['question']}" for row in ws.rows()]
    assert Decimal(found["job_cost_usd"]) == 7 * Decimal(COST)
    ws.given(ROWS, ["id", "question"])
    assert ws.run()["requests"] == 0
    assert [row["id"] for row in ws.rows()] == [row[0] for row in ROWS]


def test_another_file_name_format_or_id_and_a_new_column_buy_nothing_twice(
    finished: Workspace, endpoint: Endpoint
) -> None:
    ws = finished
    (ws.path / "in.parquet").rename(ws.path / "other.parquet")
    ws.job(input={"path": "other.parquet"})
    assert ws.run()["requests"] == 0
    columns = {"id": [row[0] for row in ROWS], "question": [row[1] for row in ROWS]}
    pq.write_table(pa.table(columns), ws.path / "in.parquet")
    ws.job(input={"path": "in.parquet"})
    assert ws.run()["requests"] == 0
    pq.write_table(pa.table({**columns, "number": range(6)}), ws.path / "in.parquet")
    assert ws.run()["requests"] == 0
    assert [row["number"] for row in ws.rows()] == list(range(6))
    ws.job(input={"path": "in.parquet", "id": "id"})
    assert ws.run()["requests"] == 0
    assert [row["row_id"] for row in ws.rows()] == columns["id"]
    ws.job(input={"path": "in.parquet", "id": "number"})
    assert ws.run()["requests"] == 0
    assert [row["row_id"] for row in ws.rows()] == [str(n) for n in range(6)]
    assert not endpoint.asked


def test_take_over_is_one_to_one(finished: Workspace, endpoint: Endpoint) -> None:
    ws = finished
    ws.given([[f"n{n}", "same"] for n in range(5)], ["id", "question"])
    assert ws.run()["requests"] == 2
    assert endpoint.prompts == ["same", "same"]


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": {"user": "Say {{ question }}"}},
        {"endpoint": {"model": "google/gemma-3-12b-it"}},
        {"parameters": {"temperature": 0.3}},
    ],
    ids=["prompt", "model", "parameters"],
)
def test_changed_settings_are_refused_with_the_count_the_difference_and_the_cost(
    finished: Workspace, endpoint: Endpoint, change: dict[str, dict[str, object]]
) -> None:
    ws = finished
    ws.given([*ROWS, ["i6", "new"]], ["id", "question"])
    ws.job(**change)
    before = (ws.path / "out.parquet").read_bytes()
    refused = ws.pipeline("run", "job.yaml")
    assert (refused.code, len(refused.lines)) == (2, 1)
    assert "another `name:`" in refused.err
    difference = {"prompt": "prompt", "endpoint": "gemma-3-12b-it", "parameters": "temperature"}[next(iter(change))]
    assert all(word in refused.err for word in ("6", difference, "$", "--on-change"))
    assert not endpoint.asked
    assert (ws.path / "out.parquet").read_bytes() == before
    estimated = ws.command("estimate")["rows"]
    assert (estimated["changed"], estimated["new"], estimated["done"]) == (6, 1, 0)


def test_rerun_sends_changed_rows_and_the_job_cost_keeps_what_was_replaced(
    finished: Workspace, endpoint: Endpoint
) -> None:
    ws = finished
    ws.job(prompt={"user": "Say {{ question }}"})
    found = ws.run("--on-change", "rerun")
    assert found["requests"] == 6
    assert Counter(endpoint.prompts) == {"Say a": 1, "Say b": 1, "Say c": 1, "Say same": 3}
    assert Decimal(found["job_cost_usd"]) == 12 * Decimal(COST)
    assert Decimal(found["cost_usd"]) == 6 * Decimal(COST)
    assert {row["response"] for row in ws.rows()} == {f"answer to Say {q}" for q in ("a", "b", "c", "same")}
    assert {row["cost_usd"] for row in ws.rows()} == {Decimal(COST)}
    endpoint.forget()
    assert ws.run()["requests"] == 0
    ws.job()
    assert ws.run()["requests"] == 0
    assert {row["response"] for row in ws.rows()} == {f"answer to {q}" for q in ("a", "b", "c", "same")}


def test_an_interrupted_rerun_goes_on_without_asking_again(finished: Workspace, endpoint: Endpoint) -> None:
    ws = finished
    ws.job(prompt={"user": "Say {{ question }}"})
    ws.run("--on-change", "rerun", "--limit", "2")
    assert ws.run("--on-change", "rerun")["requests"] == 4
    assert len(endpoint.asked) == 6


def test_keep_is_remembered_for_these_settings_and_new_rows_use_the_new_ones(
    finished: Workspace, endpoint: Endpoint
) -> None:
    ws = finished
    hashes = [row["request_hash"] for row in ws.rows()]
    ws.given([*ROWS, ["i6", "new"]], ["id", "question"])
    ws.job(endpoint={"model": "google/gemma-3-12b-it"})
    found = ws.run("--on-change", "keep")
    assert (endpoint.prompts, found["requests"], found["succeeded"]) == (["new"], 1, 7)
    assert [row["request_hash"] for row in ws.rows()][:6] == hashes
    assert [row["model"].partition("/")[0] for row in ws.rows()] == [*["meta"] * 6, "google"]
    ws.given([*ROWS, ["i6", "new"], ["i7", "newer"]], ["id", "question"])
    assert ws.run()["requests"] == 1
    ws.job(endpoint={"model": "google/gemma-3-12b-it"}, parameters={"temperature": 1})
    ws.run(code=2)
    ws.job()
    ws.given(ROWS, ["id", "question"])
    assert ws.run()["requests"] == 0


def test_with_an_id_only_a_changed_request_counts(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([[n, f"q{n}", "x"] for n in range(6)], ["id", "question", "note"])
    ws.job(input={"id": "id"})
    ws.run()
    endpoint.forget()
    ws.given([[n, f"q{n}", "y"] for n in range(6)], ["id", "question", "note"])
    shown = ws.pipeline("run", "job.yaml", "--verbose")
    assert shown.code == 0
    assert "6" in next(line for line in shown.lines if "carried" in line)
    assert not endpoint.asked
    assert {row["note"] for row in ws.rows()} == {"y"}
    ws.given([[n, f"q{n}" if n > 1 else f"new{n}", "y"] for n in range(6)], ["id", "question", "note"])
    found = ws.run()
    assert sorted(endpoint.prompts) == ["new0", "new1"]
    assert Decimal(found["job_cost_usd"]) == 8 * Decimal(COST)
    ws.given([[n, f"other{n}" if n < 4 else f"q{n}", "y"] for n in range(6)], ["id", "question", "note"])
    refused = ws.pipeline("run", "job.yaml")
    assert (refused.code, len(refused.lines)) == (2, 1)
    assert "another `name:`" in refused.err
    assert all(word in refused.err for word in ("4", "6", "$", "--on-change"))
    assert ws.run("--on-change", "rerun")["requests"] == 4


def test_half_of_the_rows_is_not_more_than_half(ws: Workspace) -> None:
    ws.given([[n, f"q{n}"] for n in range(4)], ["id", "question"])
    ws.job(input={"id": "id"})
    ws.run()
    ws.given([[n, f"q{n}" if n > 1 else f"new{n}"] for n in range(4)], ["id", "question"])
    assert ws.run()["requests"] == 2


def test_an_empty_input_with_answers_is_refused_until_the_user_says_so(finished: Workspace, endpoint: Endpoint) -> None:
    ws = finished
    before = (ws.path / "out.parquet").read_bytes()
    ws.given([], ["id", "question"])
    assert "6" in ws.run(code=2)["error"]["message"]
    kept = ws.run("--on-change", "keep")
    assert (kept["status"], kept["rows"], kept["requests"], kept["output"]) == ("kept", 0, 0, "out.parquet")
    assert (Decimal(kept["job_cost_usd"]), kept["possibly_billed_usd"]) == (6 * Decimal(COST), "0")
    assert (kept["unpriced_rows"], kept["truncated"], kept["empty"], kept["failures"]) == (0, 0, 0, {})
    assert ws.command("status").items() >= {**kept, "running": False}.items()
    again = ws.run()
    own = {name: again[name] for name in ("run_id", "seconds")}
    assert again == {**kept, **own}
    assert (ws.path / "out.parquet").read_bytes() == before
    assert ws.run("--on-change", "rerun")["requests"] == 0
    assert ws.table().num_rows == 0
    ws.given(ROWS, ["id", "question"])
    assert ws.run()["requests"] == 0
    assert ws.table().num_rows == 6
    assert not endpoint.asked


def test_rerun_sends_rows_that_were_kept_before(finished: Workspace, endpoint: Endpoint) -> None:
    ws = finished
    ws.job(prompt={"user": "Say {{ question }}"})
    assert ws.run("--on-change", "keep")["requests"] == 0
    assert ws.run("--on-change", "rerun")["requests"] == 6
    assert ws.rows()[0]["response"] == "answer to Say a"


def test_without_an_id_the_plan_shows_new_rows_with_their_cost_before_anything_is_sent(
    finished: Workspace, endpoint: Endpoint
) -> None:
    ws = finished
    ws.given([["i0", "changed"], *ROWS[1:]], ["id", "question"])
    endpoint.gate.clear()
    with ws.running("--verbose") as process:
        endpoint.wait_for(1)
        process.kill()
        shown = process.communicate()[1].decode().splitlines()
    plan = [line for line in shown if "new" in line]
    assert plan
    assert any("1 new" in line and "5 done" in line for line in plan)
    assert any("$" in line for line in shown), shown


def test_a_failed_row_whose_request_changed_is_sent_without_asking(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["1", "a"], ["2", "bad"]], ["id", "question"])
    ws.job(input={"id": "id"})
    endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "bad" else usual(asked)
    ws.run(code=3)
    assert ws.run(code=3)["requests"] == 0
    ws.given([["1", "a"], ["2", "good"]], ["id", "question"])
    assert ws.run()["requests"] == 1
    assert sorted(endpoint.prompts) == ["a", "bad", "good"]


def test_the_cost_of_a_change_is_told_at_the_new_price(finished: Workspace, endpoint: Endpoint) -> None:
    ws = finished
    ws.job(prompt={"user": "Say {{ question }}"}, pricing={"input_usd_per_million": 320, "output_usd_per_million": 340})
    assert "$0.06," in ws.run(code=2)["error"]["message"]
    assert ws.run("--on-change", "rerun")["cost_usd"] == "0.06"
    ws.job(prompt={"user": "{{ question }}?"}, endpoint={"kind": "openai", "model": "unknown"})
    assert "cost that is not known" in ws.run(code=2)["error"]["message"]


def test_without_an_id_a_new_input_in_the_place_of_most_of_the_old_is_refused_until_the_user_says_so(
    finished: Workspace, endpoint: Endpoint
) -> None:
    ws = finished
    ws.given([["n0", "d"], ["n1", "e"], ["n2", "f"], ["n3", "g"], *ROWS[:2]], ["id", "question"])
    message = ws.run(code=2)["error"]["message"]
    assert all(words in message for words in ("4 of 6", "4 new", "$0.00004;", "--on-change rerun", "another `name:`"))
    assert not endpoint.asked
    assert ws.command("estimate")["rows"]["new"] == 4
    assert ws.run("--on-change", "rerun")["requests"] == 4
    assert ws.run()["requests"] == 0
    ws.given(
        [["n0", "d"], ["n1", "e"], ["n2", "f"], ["n3", "g"], *ROWS[:2], *[[f"m{n}", f"m{n}"] for n in range(9)]],
        ["id", "question"],
    )
    assert ws.run()["requests"] == 9, "what was orphaned before counts no more"


def test_rows_that_only_leave_and_new_rows_with_an_id_are_no_reason_to_refuse(ws: Workspace) -> None:
    ws.given(ROWS, ["id", "question"])
    ws.job(input={"id": "id"})
    ws.run()
    ws.given([[f"n{n}", f"q{n}"] for n in range(6)], ["id", "question"])
    assert ws.run()["requests"] == 6
    ws.given([["n0", "q0"]], ["id", "question"])
    ws.job()
    assert ws.run()["requests"] == 0


def test_duplicate_ids_are_exit_2_and_named(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["x1", "a"], ["x2", "b"], ["x1", "c"]], ["id", "question"])
    ws.job(input={"id": "id"})
    assert "x1" in ws.run(code=2)["error"]["message"]
    assert ws.command("validate", code=2)["valid"] is False
    assert not endpoint.asked


def test_keep_counts_though_a_rerun_was_begun_and_not_finished(finished: Workspace, endpoint: Endpoint) -> None:
    ws = finished
    ws.job(prompt={"user": "Say {{ question }}"})
    ws.run("--on-change", "rerun", "--limit", "2")
    endpoint.forget()
    kept = ws.run("--on-change", "keep")
    assert (kept["requests"], kept["succeeded"]) == (0, 6)
    assert ws.run()["requests"] == 0
    assert not endpoint.asked


def test_kept_answers_are_not_bought_again_for_a_new_column_format_or_id(
    finished: Workspace, endpoint: Endpoint
) -> None:
    ws = finished
    ws.job(prompt={"user": "Say {{ question }}"})
    ws.run("--on-change", "keep")
    columns = {"id": [row[0] for row in ROWS], "question": [row[1] for row in ROWS], "number": range(6)}
    pq.write_table(pa.table(columns), ws.path / "in.parquet")
    for changes in ({"path": "in.parquet"}, {"path": "in.parquet", "id": "number"}):
        ws.job(prompt={"user": "Say {{ question }}"}, input=changes)
        assert ws.run()["requests"] == 0
    assert [row["response"] for row in ws.rows()] == [f"answer to {row[1]}" for row in ROWS]
    assert not endpoint.asked


def test_changed_settings_are_refused_also_where_the_rows_are_known_by_an_id_from_now_on(
    finished: Workspace, endpoint: Endpoint
) -> None:
    ws = finished
    ws.job(prompt={"user": "Say {{ question }}"}, input={"id": "id"})
    refused = ws.run(code=2)
    assert "6 finished rows" in refused["error"]["message"]
    assert not endpoint.asked
    assert ws.run("--on-change", "keep")["requests"] == 0


def test_the_difference_is_named_though_some_rows_were_asked_anew_already(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given(ROWS, ["id", "question"])
    ws.job(input={"id": "id"})
    ws.run()
    ws.job(input={"id": "id"}, prompt={"user": "Say {{ question }}"})
    ws.run("--on-change", "rerun", "--limit", "2")
    ws.given([["i0", "edited"], *ROWS[1:]], ["id", "question"])
    message = ws.run(code=2)["error"]["message"]
    assert "prompt.user" in message and "an earlier change" not in message


def test_one_edited_row_under_settings_that_ask_the_same_is_sent(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given(ROWS, ["id", "question"])
    ws.job(input={"id": "id"})
    ws.run()
    endpoint.forget()
    ws.given([["i0", "edited"], *ROWS[1:]], ["id", "question"])
    ws.job(input={"id": "id"}, prompt={"user": "{{question}}"})
    assert ws.run()["requests"] == 1
    assert endpoint.prompts == ["edited"]


def test_a_row_that_is_edited_and_edited_back_keeps_its_history(ws: Workspace, endpoint: Endpoint) -> None:
    billed = {
        "errors": [{"code": 3043}],
        "messages": [],
        "success": False,
        "result": {"usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}},
    }
    ws.job(input={"id": "id"}, retry={"max_attempts": 1})
    ws.given([["i0", "a"], ["i1", "b"]], ["id", "question"])
    endpoint.reply = lambda asked: Reply(billed) if asked.prompt == "b" else usual(asked)
    ws.run(code=3)
    endpoint.reply = usual
    ws.given([["i0", "a"], ["i1", "other"]], ["id", "question"])
    ws.run()
    ws.given([["i0", "a"], ["i1", "b"]], ["id", "question"])
    ws.run()
    row = ws.rows()[1]
    assert (row["response"], row["attempts"], row["cost_usd"]) == ("answer to b", 2, 2 * Decimal(COST))
