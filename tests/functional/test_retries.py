"""CONTRACT section 4, promise 7: who fails, how often it is tried, and when it is tried again."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from tests.functional.conftest import COST, Asked, Endpoint, Reply, Workspace, refusal, usual
from tests.support.commands import Result


def failing(*prompts: str) -> dict[str, Reply]:
    return dict.fromkeys(prompts, refusal(500, 3043))


def answer_all_but(endpoint: Endpoint, bad: dict[str, Reply]) -> None:
    endpoint.reply = lambda asked: bad.get(asked.prompt) or usual(asked)


def test_a_row_out_of_attempts_fails_when_others_are_answered(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("bad", *range(9))
    ws.job(retry={"max_attempts": 3})
    answer_all_but(endpoint, failing("bad"))
    found = ws.run(code=3)
    assert (found["succeeded"], found["failed"], found["requests"], found["retries"]) == (9, 1, 12, 2)
    row = ws.rows()[0]
    assert (row["error_kind"], row["attempts"], row["http_status"]) == ("server_error", 3, 500)


def test_fewer_than_five_unfinished_rows_may_fail_by_themselves(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b", "c")
    ws.job(retry={"max_attempts": 2})
    answer_all_but(endpoint, failing("a", "b", "c"))
    assert ws.run(code=3)["failed"] == 3
    assert Counter(endpoint.prompts) == {"a": 2, "b": 2, "c": 2}


def test_passing_failures_are_sent_again_by_max_runs_later_runs_and_then_only_by_retry_failed(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("good", "bad", "worse")
    ws.job(retry={"max_attempts": 1, "max_runs": 2})
    answer_all_but(endpoint, {**failing("bad"), "worse": refusal(400, 5006)})
    sent = []
    for command in ("run", "run", "run", "run", "retry-failed", "run"):
        endpoint.forget()
        ws.command(command, code=3)
        sent.append(sorted(endpoint.prompts))
    assert sent == [["bad", "good", "worse"], ["bad"], ["bad"], [], ["bad", "worse"], []]
    assert {row["question"]: row["attempts"] for row in ws.rows()} == {"good": 1, "bad": 4, "worse": 2}
    endpoint.reply = usual
    assert ws.run(code=3)["requests"] == 0
    assert ws.command("retry-failed")["succeeded"] == 3


def test_max_runs_0_never_sends_a_failed_row_again_by_itself(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("bad", "good")
    ws.job(retry={"max_attempts": 1, "max_runs": 0})
    answer_all_but(endpoint, failing("bad"))
    ws.run(code=3)
    endpoint.reply = usual
    assert ws.run(code=3)["requests"] == 0


def test_retry_failed_of_a_kind_sends_only_that_kind(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("good", "bad", "large", "down")
    ws.job(retry={"max_attempts": 1})
    answer_all_but(endpoint, {"bad": refusal(400, 5006), "large": refusal(413, 3006), **failing("down")})
    ws.run(code=3)
    endpoint.forget()
    ws.command("retry-failed", "--kind", "request_too_large", code=3)
    assert endpoint.prompts == ["large"]
    endpoint.forget()
    endpoint.reply = usual
    found = ws.command("retry-failed", "--limit", "1", code=3)
    assert (endpoint.prompts, found["failed"]) == (["bad"], 2)
    assert ws.command("retry-failed")["failed"] == 0


def test_retry_failed_leaves_pending_rows_pending(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("bad", "good", "large", "later", "last")
    ws.job()
    answer_all_but(endpoint, {"bad": refusal(400, 5006), "large": refusal(413, 3006)})
    ws.run("--limit", "3", code=3)
    endpoint.forget()
    answer_all_but(endpoint, {"large": refusal(413, 3006)})
    found = ws.command("retry-failed", code=3)
    assert sorted(endpoint.prompts) == ["bad", "large"]
    assert (found["succeeded"], found["failed"], found["pending"], found["output"]) == (2, 1, 2, "out.partial.parquet")
    assert not ws.exists("out.parquet")
    found = ws.command("retry-failed", "--kind", "bad_request")
    assert (found["requests"], found["failed"], found["pending"]) == (0, 1, 2)
    endpoint.reply = usual
    assert ws.command("retry-failed")["pending"] == 2
    assert ws.run()["requests"] == 2
    assert ws.table().num_rows == 5


def test_retry_failed_sends_nothing_and_says_so_where_no_row_failed(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job()
    never_ran = ws.pipeline("retry-failed", "job.yaml", "--verbose")
    assert (never_ran.code, never_ran.lines[-1]) == (0, "nothing to send")
    assert "2 pending of 2 rows" in never_ran.out
    assert ws.pipeline("retry-failed", "job.yaml") == Result(0, "", "")
    ws.run("--limit", "1")
    assert ws.command("retry-failed")["pending"] == 1
    assert len(endpoint.asked) == 1


def test_with_limit_only_what_was_sent_now_makes_exit_3_while_rows_are_pending(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("bad", "a", "b", "c")
    ws.job()
    answer_all_but(endpoint, {"bad": refusal(400, 5006)})
    ws.run("--limit", "1", code=3)
    found = ws.run("--limit", "1")
    assert (found["failed"], found["pending"]) == (1, 2)
    assert ws.run("--limit", "0")["pending"] == 2
    assert ws.run(code=3)["pending"] == 0


def test_429_uses_up_no_attempt(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job(retry={"max_attempts": 1})
    replies = [refusal(429, 3021), refusal(429, 3040), refusal(429), refusal(429, 3021, "x", Retry_After="0")]
    endpoint.reply = lambda asked: replies[len(endpoint.asked) - 1] if len(endpoint.asked) <= 4 else usual(asked)
    found = ws.run()
    assert (found["requests"], found["retries"]) == (5, 4)
    row = ws.rows()[0]
    assert (row["attempts"], row["cost_usd"]) == (5, Decimal(COST))


def test_attempts_begin_anew_in_each_run_and_are_counted_over_all(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job(retry={"max_attempts": 2})
    answer_all_but(endpoint, failing("a"))
    ws.run(code=3)
    turns: list[Asked] = []

    def reply(asked: Asked) -> Reply:
        turns.append(asked)
        return usual(asked) if len(turns) == 2 else refusal(500)

    endpoint.reply = reply
    ws.run()
    assert ws.rows()[0]["attempts"] == 4
