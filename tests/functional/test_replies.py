"""CONTRACT section 3: what the endpoint sends, and what becomes of it; one run for many rows."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from tests.functional.conftest import COST, USUAL_USAGE, Asked, Endpoint, Reply, Workspace, answer, refusal


def by_prompt(ws: Workspace, endpoint: Endpoint, replies: dict[str, Any], code: int = 0) -> dict[str, dict[str, Any]]:
    """Run a row for each reply; a list of replies is given out one by one. The output's rows, by their prompt."""
    turns: Counter[str] = Counter()

    def reply(asked: Asked) -> Reply | None:
        found = replies[asked.prompt]
        turns[asked.prompt] += 1
        chosen: Reply | None = found[min(turns[asked.prompt], len(found)) - 1] if isinstance(found, list) else found
        return chosen

    endpoint.reply = reply
    ws.questions(*replies)
    ws.job()
    ws.run(code=code)
    return {row["question"]: row for row in ws.rows()}


def test_a_response_of_any_type_is_an_answer_with_its_type(ws: Workspace, endpoint: Endpoint) -> None:
    flat, wrapped = [{"name": "f", "arguments": {"x": 1}}], [{"id": "1", "type": "function", "function": {"name": "f"}}]
    rows = by_prompt(
        ws,
        endpoint,
        {
            "text": answer("é\n漢"),
            "object": answer({"b": 1, "a": ["é"]}),
            "list": answer([1, "two", None]),
            "number": answer(42),
            "boolean": answer(True),
            "null": answer(None),
            "nothing": answer(""),
            "flat": answer(None, tool_calls=flat),
            "wrapped": answer("x", tool_calls=wrapped),
            "none": answer("x", tool_calls=[]),
            "surrogate": Reply(json.dumps(answer("a\ud800b").body).encode()),
        },
    )
    shown = {name: (row["status"], row["response"], row["response_type"]) for name, row in rows.items()}
    assert {status for status, _, _ in shown.values()} == {"succeeded"}
    assert {name: facts[1:] for name, facts in shown.items() if name not in ("object", "list")} == {
        "text": ("é\n漢", "text"),
        "number": ("42", "json"),
        "boolean": ("true", "json"),
        "null": (None, "empty"),
        "nothing": (rows["nothing"]["response"], "empty"),
        "flat": (None, "empty"),
        "wrapped": ("x", "text"),
        "none": ("x", "text"),
        "surrogate": ("a\ufffdb", "text"),
    }
    assert rows["nothing"]["response"] in ("", None)
    assert json.loads(rows["object"]["response"]) == {"b": 1, "a": ["é"]}
    assert json.loads(rows["list"]["response"]) == [1, "two", None]
    assert (json.loads(rows["flat"]["tool_calls"]), json.loads(rows["wrapped"]["tool_calls"])) == (flat, wrapped)
    assert rows["none"]["tool_calls"] is rows["text"]["tool_calls"] is None


def test_what_the_reply_tells_of_an_answer_stands_beside_it(ws: Workspace, endpoint: Endpoint) -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 100,
        "prompt_cache_hit_tokens": 4.0,
        "completion_tokens_details": {"reasoning_tokens": 70},
    }
    rows = by_prompt(
        ws,
        endpoint,
        {
            "told": answer("4", usage=usage, reasoning="2 + 2", finish_reason="stop", model="other"),
            "cut": answer(None, reasoning_content="hm", finish_reason="MAX_TOKENS"),
            "refused": answer(None, refusal="I will not"),
            "nothing": answer("a"),
        },
    )
    names = (
        "response",
        "response_type",
        "truncated",
        "finish_reason",
        "reasoning",
        "cached_tokens",
        "reasoning_tokens",
        "served_model",
        "attempts",
    )
    assert {prompt: tuple(row[name] for name in names) for prompt, row in rows.items()} == {
        "told": ("4", "text", False, "stop", "2 + 2", 4, 70, "other", 1),
        "cut": (None, "empty", True, "MAX_TOKENS", "hm", None, None, None, 1),
        "refused": ("I will not", "refusal", False, None, None, None, None, None, 1),
        "nothing": ("a", "text", False, None, None, None, None, None, 1),
    }
    assert rows["told"]["cost_usd"] == (10 * Decimal("0.32") + 90 * Decimal("0.34")) / 10**6


def test_usage_that_is_no_sound_count_is_null_and_never_zero(ws: Workspace, endpoint: Endpoint) -> None:
    def counts(prompt: Any, completion: Any, total: Any = 30) -> Reply:
        return answer("x", usage={"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total})

    rows = by_prompt(
        ws,
        endpoint,
        {
            "missing": answer("x", usage=None),
            "negative": counts(-1, 20),
            "fraction": counts(10, 20.5),
            "text": counts("10", 20),
            "beyond": counts(2**63, 20),
            "zeros": counts(0, 0, 0),
            "total": counts(10, 20, None),
            "list": answer("x", usage=[1]),
            "boolean": counts(True, 20),
            "sound": counts(10, 20),
            "large": counts(2**63 - 1, 20, 2**63),
        },
    )
    found = {
        name: (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"], row["cost_usd"])
        for name, row in rows.items()
    }
    large = found.pop("large")
    assert large[:3] == (2**63 - 1, 20, None)
    assert found == {
        "missing": (None, None, None, None),
        "negative": (None, 20, 30, None),
        "fraction": (10, None, 30, None),
        "text": (None, 20, 30, None),
        "beyond": (None, 20, 30, None),
        "zeros": (None, None, None, None),
        "total": (10, 20, None, Decimal(COST)),
        "list": (None, None, None, None),
        "boolean": (None, 20, 30, None),
        "sound": (10, 20, 30, Decimal(COST)),
    }
    status = ws.command("status")
    assert status["unpriced_rows"] == 8 + (large[3] is None)
    assert Decimal(status["possibly_billed_usd"]) > 0


def test_truncated_says_whether_the_answer_stopped_at_max_tokens(ws: Workspace, endpoint: Endpoint) -> None:
    rows = by_prompt(
        ws,
        endpoint,
        {
            "cut": answer("x", usage={**USUAL_USAGE, "completion_tokens": 100}),
            "whole": answer("x"),
            "unknown": answer("x", usage=None),
        },
    )
    assert {name: row["truncated"] for name, row in rows.items()} == {"cut": True, "whole": False, "unknown": None}


NOT_USABLE = {
    "success false": refusal(200, 3043),
    "no result": Reply({"success": True, "result": None}),
    "no JSON": Reply(b"{"),
    "no body": Reply(b""),
    "a list": Reply([]),
    "500": refusal(500, 3043),
    "502": Reply(b"<html>502</html>", 502),
    "503": Reply(b"error code: 1033", 503),
    "524": Reply(b"<html></html>", 524),
    "408": refusal(408, 3007),
    "cut": None,
    "half": Reply(answer("x").body, cut=True),
    "challenge": Reply(b"<html>wait</html>", 403, {"Content-Type": "text/html"}),
    "json mode": refusal(400, None, "JSON Mode couldn't be met"),
}


def test_what_passes_is_tried_again_and_counts_as_an_attempt(ws: Workspace, endpoint: Endpoint) -> None:
    rows = by_prompt(ws, endpoint, {name: [reply, answer("at last")] for name, reply in NOT_USABLE.items()})
    assert {row["status"] for row in rows.values()} == {"succeeded"}
    assert {name: row["attempts"] for name, row in rows.items()} == dict.fromkeys(NOT_USABLE, 2)
    assert {row["cost_usd"] for row in rows.values()} == {Decimal(COST)}
    assert {row["error_kind"] for row in rows.values()} == {None}


POSSIBLY_BILLED = {
    "200": refusal(200, 3043),
    "no JSON": Reply(b"{"),
    "408": refusal(408, 3007),
    "504": Reply(b"", 504),
    "524": Reply(b"", 524),
    "no reply": None,
    "cut": Reply(answer("x").body, cut=True),
}
NOT_BILLED = {"500": refusal(500, 3043), "502": Reply(b"", 502), "429": refusal(429, 3021), "503": refusal(503)}


@pytest.mark.parametrize(("replies", "is_possible"), [(POSSIBLY_BILLED, True), (NOT_BILLED, False)])
def test_what_was_possibly_billed_is_counted_apart_at_its_worst_case(
    ws: Workspace, endpoint: Endpoint, replies: dict[str, Reply | None], is_possible: bool
) -> None:
    by_prompt(ws, endpoint, {name: [reply, answer("x")] for name, reply in replies.items()})
    found = ws.command("status")
    # The worst case of each is at least its max_tokens.
    least = len(replies) * 100 * Decimal("0.00000034") if is_possible else Decimal(0)
    possibly = Decimal(found["possibly_billed_usd"])
    assert possibly > least if is_possible else possibly == 0
    assert Decimal(found["job_cost_usd"]) == len(replies) * Decimal(COST)
    assert found["unpriced_rows"] == 0


def test_a_reply_that_cannot_be_used_but_was_billed_is_part_of_the_rows_cost(ws: Workspace, endpoint: Endpoint) -> None:
    billed = Reply({"success": False, "errors": [{"code": 3043, "message": "no"}], "result": {"usage": USUAL_USAGE}})
    row = by_prompt(ws, endpoint, {"a": [billed, answer("x")]})["a"]
    assert row["cost_usd"] == 2 * Decimal(COST)
    assert Decimal(ws.command("status")["possibly_billed_usd"]) == 0


def test_what_lies_in_the_row_fails_it_at_once(ws: Workspace, endpoint: Endpoint) -> None:
    deep = b'{"success": true, "result": {"response": ' + b"[" * 1200 + b"]" * 1200 + b"}}"
    rows = by_prompt(
        ws,
        endpoint,
        {
            "5006": refusal(400, 5006),
            "in text": refusal(400, None, "AiError: 5006: bad"),
            "413": refusal(413, 3006),
            "window": refusal(400, 5021),
            "schema": refusal(400, 5025),
            "422": refusal(422),
            "bad at 200": refusal(200, 5006),
            "deep": Reply(deep),
            "good": answer("x"),
        },
        code=3,
    )
    assert {name: (row["status"], row["error_kind"], row["attempts"]) for name, row in rows.items()} == {
        "5006": ("failed", "bad_request", 1),
        "in text": ("failed", "bad_request", 1),
        "413": ("failed", "request_too_large", 1),
        "window": ("failed", "request_too_large", 1),
        "schema": ("failed", "schema_not_supported", 1),
        "422": ("failed", "bad_request", 1),
        "bad at 200": ("failed", "bad_request", 1),
        "deep": ("failed", "reply_too_large", 1),
        "good": ("succeeded", None, 1),
    }
    assert len(endpoint.asked) == 9


def test_a_reply_beyond_64_mib_is_a_typed_failure(ws: Workspace, endpoint: Endpoint) -> None:
    rows = by_prompt(ws, endpoint, {"big": Reply(b" " * (65 * 2**20)), "good": answer("x")}, code=3)
    assert (rows["big"]["error_kind"], rows["big"]["attempts"]) == ("reply_too_large", 1)


def test_rows_that_make_no_request_fail_typed_and_unsent(ws: Workspace, endpoint: Endpoint) -> None:
    words = " ".join(str(n) for n in range(200_000))
    rows = [
        {"q": "good", "n": 2},
        {"q": "", "n": 1},
        {"q": None, "n": 1},
        {"q": "  \n", "n": 1},
        {"q": "zero", "n": 0},
        {"q": words, "n": 1},
    ]
    (ws.path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ws.job(
        input={"path": "in.jsonl"},
        endpoint={"model": "meta/llama-3.1-8b-instruct"},
        prompt={"user": "{{ q or '' }}{{ '' if 6 // n else '' }}"},
    )
    found = ws.run(code=3)
    assert endpoint.prompts == ["good"]
    assert (found["succeeded"], found["failed"], found["requests"]) == (1, 5, 1)
    names = ("status", "error_kind", "attempts", "cost_usd", "http_status")
    shown = [tuple(row[name] for name in names) for row in ws.rows()]
    assert shown[1:] == [
        ("failed", kind, 0, None, None)
        for kind in ("empty_prompt", "empty_prompt", "empty_prompt", "prompt_error", "context_window_exceeded")
    ]
    assert ws.run(code=3)["requests"] == 0


def test_a_row_whose_null_would_be_printed_fails_unsent_and_names_the_column(ws: Workspace, endpoint: Endpoint) -> None:
    rows = [{"q": "a", "n": "b"}, {"q": "c", "n": None}, {"q": "d", "n": "e"}]
    (ws.path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ws.job(input={"path": "in.jsonl"}, prompt={"user": "{{ q }}{{ n }}"})
    assert ws.command("validate")["unsendable"] == {"prompt_error": 1}
    assert ws.run(code=3)["requests"] == 2
    assert sorted(endpoint.prompts) == ["ab", "de"]
    failed = ws.rows()[1]
    assert (failed["error_kind"], failed["attempts"]) == ("prompt_error", 0)
    assert "'n'" in failed["error_message"]


def test_a_prompt_that_is_the_same_for_all_rows_is_refused_unless_it_is_meant(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    ws.job(prompt={"user": "{question}"})
    for command in ("validate", "run", "estimate"):
        assert "{{ question }}" in json.dumps(ws.command(command, code=2))
    assert not endpoint.asked
    ws.job(prompt={"user": "Tell a joke", "constant": True})
    assert ws.run()["succeeded"] == 2
    ws.job(prompt={"user": "{question}"})
    ws.questions("a")
    ws.job(name="other", prompt={"user": "{question}"}, output={"path": "other.parquet"})
    assert ws.run()["succeeded"] == 1


@pytest.mark.parametrize("template", ["{{ qestion }}", "{{ question", "{{ question | nosuch }}", "{{ 1 // 0 }}"])
def test_a_template_that_cannot_work_is_exit_2_before_anything_is_sent(
    ws: Workspace, endpoint: Endpoint, template: str
) -> None:
    ws.questions("a", "b")
    ws.job(prompt={"user": template})
    refused = ws.pipeline("run", "job.yaml")
    assert (refused.code, len(refused.lines)) == (2, 1)
    assert "prompt.user" in refused.err
    assert not endpoint.asked
