"""Structured answers: told, checked, asked for again, each of them billed and on disk."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import pipeline
from tests.functional.conftest import (
    COST,
    KEY,
    KEY_VARIABLE,
    MODEL,
    Asked,
    Endpoint,
    Reply,
    Simulated,
    Workspace,
    answer,
    refusal,
)
from tests.support.oracle import SOCKET_SECONDS, Ledger, billed, is_known

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "why": {"type": "string"}}, "required": ["n"]}
GOOD, BAD = '{"n": 7}', '{"n": "seven"}'
WORDS = "$.n: 'seven' is not of type 'integer'"
MARKED_MODEL = "meta/llama-3.1-8b-instruct"


def expecting(ws: Workspace, expect: dict[str, Any] | None = None, **sections: Any) -> None:
    ws.job(expect={"json_schema": SCHEMA, **(expect or {})}, **sections)


def answers(*texts: Any) -> Callable[[Asked], Reply]:
    """Replies in turn, whatever is asked; the last one again and again."""
    left = list(texts)

    def reply(_: Asked) -> Reply:
        text = left.pop(0) if len(left) > 1 else left[0]
        return text if isinstance(text, Reply) else answer(text)

    return reply


def test_an_answer_is_read_into_the_schemas_types(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    expecting(ws)
    endpoint.reply = answers('Sure:\n```json\n{"n": 7, "more": [1]}\n```')
    ws.run()
    (row,) = ws.rows()
    assert row["parsed"] == {"n": 7, "why": None}
    assert (row["status"], row["answer_attempts"], row["attempts"]) == ("succeeded", 1, 1)
    assert row["response"] == 'Sure:\n```json\n{"n": 7, "more": [1]}\n```'
    schema = ws.table().schema
    assert schema.field("parsed").type == pa.struct([("n", pa.int64()), ("why", pa.string())])
    assert schema.field("answer_attempts").type == pa.int32()
    names = schema.names
    assert names[names.index("response_type") + 1] == "parsed"
    assert names[names.index("attempts") + 1] == "answer_attempts"


def test_an_invalid_answer_is_asked_for_again_with_what_is_wrong_and_both_are_billed(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a")
    expecting(ws)
    endpoint.reply = answers(BAD, GOOD)
    summary = ws.run()
    first, second = (asked.body["data"]["messages"] for asked in endpoint.asked)
    assert second[: len(first)] == first
    assert second[len(first)] == {"role": "assistant", "content": BAD}
    assert WORDS in second[-1]["content"]
    (row,) = ws.rows()
    assert (row["attempts"], row["answer_attempts"], row["error_kind"]) == (2, 2, None)
    assert row["cost_usd"] == 2 * Decimal(COST) == Decimal(summary["job_cost_usd"])
    assert (summary["requests"], summary["retries"], summary["rows"]) == (2, 1, 1)
    assert (summary["prompt_tokens"], row["prompt_tokens"]) == (20, 10)


def test_a_row_none_of_whose_answers_holds_fails_with_the_validators_words(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    expecting(ws)
    endpoint.reply = answers(BAD)
    summary = ws.run(code=3)
    assert summary["failures"] == {"invalid_answer": 2}
    assert summary["requests"] == 6
    for row in ws.rows():
        assert (row["status"], row["error_kind"], row["error_message"]) == ("failed", "invalid_answer", WORDS)
        assert (row["response"], row["parsed"], row["answer_attempts"], row["attempts"]) == (BAD, None, 3, 3)
        assert row["cost_usd"] == 3 * Decimal(COST)
    endpoint.forget()
    ws.run(code=3)
    assert not endpoint.asked, "an invalid answer lasts"
    endpoint.reply = answers(BAD, GOOD)
    assert ws.command("retry-failed", code=0)["job_cost_usd"] == str(9 * Decimal(COST))
    assert WORDS in json.dumps(endpoint.asked[0].body), "the answer on disk goes along"
    assert [row["answer_attempts"] for row in ws.rows()] in ([5, 4], [4, 5])


def test_an_answer_that_was_cut_off_counts_and_is_asked_for_as_it_was(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    expecting(ws, {"attempts": 2})
    cut = answer(GOOD, usage={"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110})
    endpoint.reply = answers(cut)
    assert ws.run(code=3)["truncated"] == 0, "a failed row has no answer"
    (row,) = ws.rows()
    assert (row["error_kind"], row["truncated"], row["parsed"]) == ("truncated_answer", True, None)
    assert endpoint.asked[0].body == endpoint.asked[1].body


def test_each_answer_has_a_seed_of_its_own_and_the_row_the_hash_of_the_first(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    expecting(ws, {"send": "none", "feedback": False}, parameters={"seed": 9999999999})
    endpoint.reply = answers(BAD, BAD, GOOD)
    ws.run()
    assert [asked.body["data"]["seed"] for asked in endpoint.asked] == [9999999999, 1000000, 2000000]
    hashes = {row["request_hash"] for row in ws.rows()}
    ws.job("plain.yaml", name="plain", parameters={"seed": 9999999999}, output={"path": "plain.parquet"})
    endpoint.reply = answers(GOOD)
    assert ws.pipeline("run", "plain.yaml").code == 0
    assert {row["request_hash"] for row in ws.rows("plain.parquet")} == hashes, "send: none puts nothing on the wire"


def test_attempts_of_sending_are_counted_apart(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    expecting(ws, {"attempts": 4}, retry={"max_attempts": 2})
    endpoint.reply = answers(BAD, refusal(500), BAD, BAD, GOOD)
    ws.run()
    (row,) = ws.rows()
    assert (row["attempts"], row["answer_attempts"]) == (5, 4)


@pytest.mark.parametrize(
    ("kind", "model", "expect", "is_told_in_form"),
    [
        ("dataoorts", None, {}, False),
        ("dataoorts", MARKED_MODEL, {}, True),
        ("dataoorts", None, {"send": "response_format"}, True),
        ("openai", "some-model", {}, True),
        ("openai", "some-model", {"send": "prompt"}, False),
    ],
)
def test_each_endpoint_is_told_in_its_own_form(
    kind: str, model: str | None, expect: dict[str, Any], is_told_in_form: bool, ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a")
    given = {"kind": kind, **({"model": model} if model else {})}
    url = f"http://127.0.0.1:{endpoint.port}/v1" if kind == "openai" else endpoint.url
    expecting(
        ws, expect, endpoint={**given, "url": url}, pricing={"input_usd_per_million": 1, "output_usd_per_million": 1}
    )
    choice = {"choices": [{"message": {"content": GOOD}, "finish_reason": "stop"}], "usage": {}}
    endpoint.reply = answers(Reply(choice) if kind == "openai" else GOOD)
    ws.run()
    body = endpoint.asked[0].body
    sent = body if kind == "openai" else body["data"]
    bare = SCHEMA if kind == "dataoorts" else {"name": "answer", "schema": SCHEMA, "strict": False}
    form = {"type": "json_schema", "json_schema": bare}
    assert sent.get("response_format") == (form if is_told_in_form else None)
    assert (sent["messages"][0]["role"] == "system") is not is_told_in_form
    assert ws.rows()[0]["parsed"] == {"n": 7, "why": None}


def test_an_endpoint_that_refuses_the_form_is_told_in_the_prompt(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(12))
    expecting(ws, endpoint={"model": MARKED_MODEL})

    def reply(asked: Asked) -> Reply:
        if "response_format" in asked.body["data"]:
            return refusal(400, 5025, "this model does not support JSON Schema")
        return answer(GOOD)

    endpoint.reply = reply
    result = ws.pipeline("run", "job.yaml", "--json", "--verbose")
    assert result.code == 0, result.err
    assert result.err.count("does not take `response_format`") == 1
    assert all(row["status"] == "succeeded" for row in ws.rows())
    refused = sum("response_format" in asked.body["data"] for asked in endpoint.asked)
    assert refused <= 4, "those in flight when the first was refused"
    endpoint.forget()
    ws.run()
    assert not endpoint.asked


def test_choices_and_patterns_have_their_columns(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job(expect={"choices": ["yes", "no"]})
    endpoint.reply = answers("maybe", " yes\n")
    ws.run()
    (row,) = ws.rows()
    assert (row["parsed"], row["response"], row["answer_attempts"]) == ("yes", " yes\n", 2)
    ws.job(name="other", expect={"regex": r"(?P<value>\d+) (?P<unit>\w+)"}, output={"path": "other.parquet"})
    endpoint.reply = answers("about 12 cm")
    ws.run()
    assert ws.rows("other.parquet")[0]["parsed"] == {"value": "12", "unit": "cm"}


def test_a_change_of_what_is_expected_judges_the_answers_on_disk_again(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b", "c")
    endpoint.reply = lambda asked: answer(asked.prompt)
    ws.questions("1", "22", "three")
    ws.job(expect={"regex": r"\d", "send": "none", "feedback": False})
    assert ws.run(code=3)["failures"] == {"invalid_answer": 1}
    cost = ws.command("status")["job_cost_usd"]
    endpoint.forget()

    # A wider one: what failed holds now, free.
    ws.job(expect={"regex": r"\w", "send": "none", "feedback": False})
    assert ws.command("estimate")["rows"]["done"] == 3
    lines = ws.pipeline("export", "job.yaml", "--to", "jsonl", "-").out.splitlines()
    assert [(json.loads(line)["parsed"], json.loads(line)["error_kind"]) for line in lines][-1] == ("t", None)
    summary = ws.run()
    assert (summary["succeeded"], summary["job_cost_usd"]) == (3, cost)
    assert [row["parsed"] for row in ws.rows()] == ["1", "2", "t"]
    assert [row["answer_attempts"] for row in ws.rows()] == [1, 1, 3]
    assert not endpoint.asked

    # A narrower one: what no longer holds is changed, and the user is asked first.
    ws.job(expect={"regex": r"\d\d", "send": "none", "feedback": False})
    refused = ws.command("run", code=2)
    assert "2 finished rows would be sent again" in refused["error"]["message"]
    assert "expect.regex" in refused["error"]["message"]
    assert not endpoint.asked
    endpoint.reply = lambda asked: answer("44")
    summary = ws.run("--on-change", "rerun")
    assert sorted(endpoint.prompts) == ["1", "three"]
    assert [row["parsed"] for row in ws.rows()] == ["44", "22", "44"]
    assert [row["answer_attempts"] for row in ws.rows()] == [2, 1, 4]
    assert sum(row["cost_usd"] for row in ws.rows()) == Decimal(summary["job_cost_usd"])

    # None at all: nothing is asked.
    endpoint.forget()
    ws.job()
    assert ws.run()["succeeded"] == 3
    assert not endpoint.asked


@pytest.mark.parametrize("sections", [{}, {"deduplicate": True}, {"cache": {"path": "answers.cache"}}])
def test_an_answer_that_holds_again_costs_what_was_asked_meanwhile_too(
    ws: Workspace, endpoint: Endpoint, sections: dict[str, Any]
) -> None:
    ws.questions("1", "two", "three")
    endpoint.reply = lambda asked: answer(asked.prompt)
    ws.job(**sections)
    ws.run()
    strict = {"regex": r"\d", "send": "none", "feedback": False, "attempts": 3}
    ws.job(expect=strict, **sections)
    assert ws.run("--on-change", "rerun", code=3)["failures"] == {"invalid_answer": 2}
    endpoint.forget()
    for expect, answers_asked in (({**strict, "regex": r"\w"}, [1, 3, 3]), (None, None)):
        ws.job(**({} if expect is None else {"expect": expect}), **sections)
        summary = ws.run()
        assert summary["succeeded"] == 3
        rows = ws.rows()
        assert [row["attempts"] for row in rows] == [1, 3, 3]
        assert sum(row["cost_usd"] for row in rows) == Decimal(summary["job_cost_usd"]) == 7 * Decimal(COST)
        assert answers_asked is None or [row["answer_attempts"] for row in rows] == answers_asked
    assert not endpoint.asked


def test_kept_answers_stay_though_they_do_not_hold(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("1", "two")
    endpoint.reply = lambda asked: answer(asked.prompt)
    ws.job()
    ws.run()
    ws.job(expect={"regex": r"\d", "send": "none"})
    endpoint.forget()
    assert ws.run("--on-change", "keep")["succeeded"] == 2
    assert [row["parsed"] for row in ws.rows()] == ["1", None]
    ws.run()
    assert not endpoint.asked


def test_more_attempts_go_on_where_the_last_ones_ended(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    expecting(ws, {"attempts": 2})
    endpoint.reply = answers(BAD)
    ws.run(code=3)
    expecting(ws, {"attempts": 4})
    endpoint.forget()
    assert ws.command("estimate")["rows"]["to_retry"] == 1
    ws.run(code=3)
    assert len(endpoint.asked) == 2
    assert ws.rows()[0]["answer_attempts"] == 4


def test_an_estimate_knows_the_further_answers_at_worst(ws: Workspace) -> None:
    ws.questions(*range(20))
    ws.job()
    plain = ws.command("estimate")
    expecting(ws, {"attempts": 5, "send": "none"})
    found = ws.command("estimate")
    assert (found["requests"], found["completion_tokens"]["expected"]) == (
        plain["requests"],
        plain["completion_tokens"]["expected"],
    )
    assert found["completion_tokens"]["high"] == 5 * plain["completion_tokens"]["high"] == 5 * 20 * 100
    assert found["prompt_tokens"]["high"] == 5 * plain["prompt_tokens"]["high"] + 4 * 20 * 100
    assert Decimal(found["cost_usd"]["high"]) > 5 * Decimal(plain["cost_usd"]["high"])
    assert "5 answers a row" in found["assumptions"]


def test_show_tells_the_value_and_the_number_of_answers(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    expecting(ws)
    endpoint.reply = answers(BAD, GOOD)
    ws.run()
    text = ws.pipeline("show", "job.yaml").out
    assert '  parsed: {"n": 7, "why": null}' in text
    assert "2 requests, 2 answers" in text
    assert ws.command("show")["rows"][0]["parsed"] == {"n": 7, "why": None}


def test_python_asks_with_what_is_expected(ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ws.path)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    endpoint.reply = answers(BAD, GOOD)
    found = pipeline.ask(
        pa.table({"q": ["a", "b"]}),
        user="{{ q }}",
        model=MODEL,
        endpoint={"url": endpoint.url, "api_key_env": KEY_VARIABLE},
        checkpoint="kept",
        expect={"json_schema": SCHEMA},
    )
    assert found["parsed"].to_pylist() == 2 * [{"n": 7, "why": None}]
    assert sorted(found["answer_attempts"].to_pylist()) == [1, 2]


def test_the_caps_hold_with_each_answer_reserved(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(40))
    cap = Decimal("0.002")
    expecting(ws, {"attempts": 5}, limits={"max_cost_usd": float(cap)})
    endpoint.reply = answers(BAD)
    summary = ws.run(code=4)
    assert Decimal(summary["job_cost_usd"]) <= cap
    assert summary["requests"] == len(endpoint.asked)


def test_rows_that_share_a_request_share_its_valid_answer(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["1", "a"], ["2", "a"]], ["id", "question"])
    expecting(ws, input={"id": "id"}, deduplicate=True)
    endpoint.reply = answers(BAD, GOOD)
    ws.run()
    first, second = ws.rows()
    assert first["parsed"] == second["parsed"] == {"n": 7, "why": None}
    assert (first["cost_usd"], second["cost_usd"], second["shared_from"]) == (2 * Decimal(COST), 0, "1")


def test_samples_are_each_asked_until_one_is_valid(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    prompt = {"user": "{{ question }}", "samples": 3}
    expecting(ws, {"feedback": False}, prompt=prompt, parameters={"seed": 5}, limits={"concurrency": 1})
    endpoint.reply = lambda asked: answer(BAD if asked.body["data"]["seed"] < 1_000_000 else GOOD)
    ws.run()
    assert sorted(one.body["data"]["seed"] for one in endpoint.asked) == [5, 6, 7, 1_000_005, 1_000_006, 1_000_007]
    assert [(row["sample_index"], row["answer_attempts"]) for row in ws.rows()] == [(0, 2), (1, 2), (2, 2)]


def test_limit_counts_rows_and_not_answers(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(6))
    expecting(ws)
    asked: Counter[str] = Counter()

    def third_is_good(request: Asked) -> Reply:
        question = next(one["content"] for one in request.body["data"]["messages"] if one["role"] == "user")
        asked[question] += 1
        return answer(GOOD if asked[question] == 3 else BAD)

    endpoint.reply = third_is_good
    summary = ws.run("--limit", "2")
    assert (summary["succeeded"], summary["pending"]) == (2, 4)
    assert summary["requests"] == 6


@pytest.mark.parametrize(
    ("expect", "key"),
    [
        ({}, "expect"),
        ({"choices": ["a"], "regex": "b"}, "expect.regex"),
        ({"choices": ["a", " a "]}, "expect.choices[1]"),
        ({"choices": []}, "expect.choices"),
        ({"regex": "("}, "expect.regex"),
        ({"regex": "a", "send": "response_format"}, "expect.send"),
        ({"choices": ["a"], "attempts": 21}, "expect.attempts"),
        ({"json_schema": {"type": "objekt"}}, "expect.json_schema"),
        ({"json_schema": {"$ref": "#/$defs/gone"}}, "expect.json_schema"),
        ({"json_schema": {"$ref": "https://example.com/s"}}, "expect.json_schema"),
        ({"json_schema": "gone.json"}, "expect.json_schema"),
    ],
)
def test_what_cannot_be_expected_is_refused_before_anything_is_sent(
    expect: dict[str, Any], key: str, ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a")
    ws.job(expect=expect)
    found = ws.command("validate", code=2)
    assert key in [error["key"] for error in found["errors"]]
    ws.run(code=2)
    assert not endpoint.asked


def test_an_input_column_named_parsed_is_refused_only_where_the_output_has_one(ws: Workspace) -> None:
    ws.given([["a", "b"]], ["question", "parsed"])
    ws.job()
    assert ws.pipeline("validate", "job.yaml").code == 0
    expecting(ws)
    assert "parsed" in ws.pipeline("validate", "job.yaml").err


def test_a_kill_between_two_answers_keeps_the_first_and_its_cost(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    expecting(ws)
    held = threading.Event()

    def reply(_: Asked) -> Reply:
        if len(endpoint.asked) == 1:
            return answer(BAD)
        held.wait(30)
        return answer(GOOD)

    endpoint.reply = reply
    with ws.running() as process:
        endpoint.wait_for(2)
        process.kill()
    held.set()
    endpoint.reply = answers(GOOD)
    status = ws.command("status")
    assert Decimal(status["job_cost_usd"]) == Decimal(COST)
    assert status["possibly_billed_requests"] == 1
    endpoint.forget()
    ws.run()
    assert len(endpoint.asked) == 1
    assert WORDS in json.dumps(endpoint.asked[0].body)
    (row,) = ws.rows()
    assert (row["attempts"], row["answer_attempts"], row["cost_usd"]) == (3, 2, 2 * Decimal(COST))


def test_a_kill_while_changed_rows_are_asked_again_keeps_the_count_though_the_input_grows(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b", "c")
    endpoint.reply = lambda asked: answer("1" if asked.prompt == "a" else "22")
    ws.job(expect={"regex": r"\d", "send": "none", "feedback": False})
    ws.run()
    ws.job(expect={"regex": r"\d\d", "send": "none", "feedback": False})
    held = threading.Event()
    endpoint.forget()

    def reply(_: Asked) -> Reply:
        if len(endpoint.asked) > 1:
            held.wait(30)
        return answer("2")

    endpoint.reply = reply
    with ws.running("--on-change", "rerun") as process:
        endpoint.wait_for(2)
        process.kill()
    held.set()
    ws.questions("a", "b", "c", "d")
    endpoint.reply = answers("33")
    endpoint.forget()
    summary = ws.run()
    assert sorted(endpoint.prompts) == ["a", "d"]
    row = ws.rows()[0]
    assert (row["parsed"], row["answer_attempts"], row["attempts"]) == ("33", 3, 4)
    assert row["cost_usd"] == 3 * Decimal(COST)
    assert Decimal(summary["job_cost_usd"]) == 6 * Decimal(COST)


def test_with_broken_answers_and_kills_the_costs_are_the_ledgers_and_nothing_is_bought_twice(
    ws: Workspace, simulate: Callable[..., Simulated]
) -> None:
    served = simulate("--broken-json-rate", "0.3", "--latency-seconds", "0.02", "--fault-rate", "0.05")
    ws.questions(*(f"question {number}" for number in range(120)))
    slots = 6
    expecting(
        ws,
        {"attempts": 4},
        endpoint={"url": served.url},
        parameters={"max_tokens": 400},
        limits={"concurrency": slots},
        retry={"initial_seconds": 0.01, "max_seconds": 0.02},
    )
    kills = 0
    for _ in range(4):
        enough = 30 + len(served.records("answered"))
        with ws.running() as process:
            while len(served.records("answered")) < enough and process.poll() is None:
                time.sleep(0.01)
            kills += process.poll() is None
            process.kill()
        time.sleep(SOCKET_SECONDS)
    assert kills >= 2
    result = ws.pipeline("run", "job.yaml", "--json")
    assert result.code in (0, 3), result.err
    ledger = Ledger(served.ledger)
    cost, possibly = Decimal(result.data["job_cost_usd"]), Decimal(result.data["possibly_billed_usd"])
    assert cost <= ledger.billed <= cost + possibly
    rows = ws.rows()
    assert sum(row["cost_usd"] or 0 for row in rows) == cost
    recorded = sum(row["attempts"] for row in rows)
    assert 0 <= recorded - len(ledger.exchanges) <= slots * kills, "what a kill kept from going out counts too"
    known = sum((billed(one) for one in ledger.exchanges if is_known(one)), Decimal(0))
    assert known - cost <= slots * kills * Decimal("0.0002"), "no more was bought twice than was in flight"
    answered = [row for row in rows if row["status"] == "succeeded"]
    assert len(answered) >= 0.97 * len(rows)
    assert all(row["parsed"]["n"] is not None for row in answered)
    assert max(row["answer_attempts"] for row in rows) > 1


def test_ninety_nine_of_a_hundred_rows_are_valid_where_a_fifth_of_the_answers_is_broken(ws: Workspace) -> None:
    ws.questions(*range(600))
    expecting(
        ws,
        endpoint={"url": "simulator", "api_key_env": "FUNCTIONAL_TEST_KEY"},
        parameters={"max_tokens": 400},
        limits={"concurrency": 32},
        simulator={"broken_json_rate": 0.2, "ledger": "sim.jsonl", "seed": 3},
    )
    result = ws.pipeline("run", "job.yaml", "--json")
    assert result.data["succeeded"] >= 0.99 * 600
    assert result.data["requests"] > 650
    assert Decimal(result.data["job_cost_usd"]) == Ledger(ws.path / "sim.jsonl").billed
