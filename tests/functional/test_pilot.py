"""`estimate --pilot N`: N random rows within the normal journal, and what they teach about the rest."""

from __future__ import annotations

import random
import signal
from decimal import Decimal
from typing import Any

import pytest

from tests.functional.conftest import (
    COST,
    KEY_VARIABLE,
    RUN_KEYS,
    Asked,
    Endpoint,
    Reply,
    Workspace,
    answer,
    ended,
    refusal,
    usual,
)
from tests.functional.test_cron import on_a_terminal
from tests.support.commands import Result

ESTIMATE_KEYS = {
    "job",
    "rows",
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "seconds",
    "spent_usd",
    "possibly_billed_usd",
    "whole_job_usd",
    "affordable_rows",
    "learned_from",
    "assumptions",
}


def varied(asked: Asked) -> Reply:
    """An answer whose length hangs on the prompt, in tokens that follow its bytes."""
    prompt = 10 + len(asked.prompt) // 4
    completion = 10 + hash_of(asked.prompt) % 60
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return answer(f"answer to {asked.prompt}", usage=usage)


def hash_of(text: str) -> int:
    return sum(position * ord(character) for position, character in enumerate(text, 1))


def bounds(found: dict[str, Any]) -> list[Decimal]:
    return [Decimal(str(found[bound])) for bound in ("low", "expected", "high")]


def questions(ws: Workspace, count: int) -> list[str]:
    texts = [f"question {number}{' and more' * (number % 7)}" for number in range(count)]
    ws.questions(*texts)
    return texts


def test_a_pilot_is_a_run_of_random_rows_that_tells_what_the_rest_and_the_whole_job_come_to(
    ws: Workspace, endpoint: Endpoint
) -> None:
    texts = questions(ws, 200)
    ws.job(limits={"max_cost_usd": 0.002, "max_run_cost_usd": 1})
    endpoint.reply = varied
    before = ws.command("estimate")
    assert before.keys() == ESTIMATE_KEYS
    assert (before["spent_usd"], before["learned_from"]) == ("0", 0)
    assert (endpoint.asked, ws.exists(".checkpoints")) == ([], False)

    found = ws.command("estimate", "--pilot", "40")
    assert found.keys() == ESTIMATE_KEYS | {"pilot"}
    assert found["pilot"].keys() == RUN_KEYS
    assert len(set(endpoint.prompts)) == len(endpoint.prompts) == 40
    assert set(endpoint.prompts) < set(texts)
    assert set(endpoint.prompts) != set(texts[:40])
    assert found["rows"] == {"total": 200, "done": 40, "new": 160, "changed": 0, "to_retry": 0, "orphaned": 0}
    assert (found["requests"], found["learned_from"], found["pilot"]["succeeded"]) == (160, 40, 40)
    spent = Decimal(found["spent_usd"])
    assert spent == Decimal(found["pilot"]["cost_usd"]) > 0
    rest, whole = bounds(found["cost_usd"]), bounds(found["whole_job_usd"])
    assert [float(bound - spent) for bound in whole] == pytest.approx(list(map(float, rest)), rel=1e-4)

    low, expected, high = bounds(found["affordable_rows"]["max_cost_usd"])
    assert 0 < low < expected < high < 160
    assert bounds(found["affordable_rows"]["max_run_cost_usd"]) == [160, 160, 160]
    capped = ws.run(code=4)
    assert low <= capped["requests"] <= high

    ran = ws.run("--set", "limits.max_cost_usd=1")
    assert rest[0] <= Decimal(capped["cost_usd"]) + Decimal(ran["cost_usd"]) <= rest[2] < Decimal("1.3") * rest[0]
    assert whole[0] <= Decimal(ran["job_cost_usd"]) <= whole[2]
    for name in ("prompt_tokens", "completion_tokens"):
        low, _, high = bounds(found[name])
        assert low <= capped[name] + ran[name] <= high
    assert len(set(endpoint.prompts)) == len(endpoint.prompts) == 200
    assert [row["response"] for row in ws.rows()] == [f"answer to {text}" for text in texts]


def test_pilots_one_after_the_other_send_no_row_again_and_few_rows_teach_with_those_before(
    ws: Workspace, endpoint: Endpoint
) -> None:
    texts = questions(ws, 40)
    ws.job()
    few = ws.command("estimate", "--pilot", "3", "--seed", "4")
    assert set(endpoint.prompts) == {texts[row] for row in random.Random(4).sample(range(40), 3)}
    assert (few["learned_from"], few["requests"]) == (0, 37)
    assert "--pilot" in few["assumptions"]
    more = ws.command("estimate", "--pilot", "3", "--seed", "4")
    assert (more["learned_from"], more["requests"]) == (6, 34)
    rest = ws.command("estimate", "--pilot", "1000")
    assert (rest["pilot"]["requests"], rest["rows"]["done"], ws.exists("out.parquet")) == (34, 40, True)
    done = ws.command("estimate", "--pilot", "5")
    assert (done["pilot"]["requests"], done["requests"], done["assumptions"]) == (0, 0, "nothing is left to send")
    assert bounds(done["whole_job_usd"]) == [40 * Decimal(COST)] * 3
    assert sorted(endpoint.prompts) == sorted(texts)


def test_estimate_learns_from_what_the_journal_has_seen_of_the_model(ws: Workspace, endpoint: Endpoint) -> None:
    questions(ws, 80)
    ws.job()
    endpoint.reply = varied
    ws.run("--limit", "30")
    assumed = ws.command("estimate", "--set", "endpoint.model=meta/llama-3.1-8b-instruct")
    learned = ws.command("estimate")
    changed = ws.command("estimate", "--set", "parameters.temperature=1", "--set", "prompt.user=Say {{ question }}")
    assert [one["learned_from"] for one in (assumed, learned, changed)] == [0, 30, 30]
    assert (learned["requests"], changed["requests"], changed["rows"]["changed"]) == (50, 80, 30)
    low, expected, high = bounds(learned["completion_tokens"])
    assert 50 * 10 < low < expected < high < 50 * 70
    # The longer prompt is counted: `Say ` is a token more for each row.
    tokens = [sum(bounds(one["prompt_tokens"])) / 3 / one["requests"] for one in (learned, changed)]
    assert 0.6 < tokens[1] - tokens[0] < 1.4


def test_nothing_is_learned_from_answers_to_what_a_row_asks_no_more(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([[number, f"question {number}"] for number in range(30)], ["id", "question"])
    ws.job(input={"id": "id"})
    ws.run("--limit", "10")
    ws.given(
        [[number, f"{'longer ' * 9 if number > 1 else ''}question {number}"] for number in range(30)],
        ["id", "question"],
    )
    found = ws.command("estimate")
    assert (found["rows"]["done"], found["rows"]["changed"], found["learned_from"]) == (2, 8, 0)


def test_rows_of_a_pilot_that_fail_are_exit_3_and_count_as_what_they_cost(ws: Workspace, endpoint: Endpoint) -> None:
    questions(ws, 100)
    ws.job()
    endpoint.reply = lambda asked: refusal(400, 5006) if hash_of(asked.prompt) % 2 else usual(asked)
    found = ws.command("estimate", "--pilot", "40", code=3)
    failed = found["pilot"]["failed"]
    assert 0 < failed < 40
    expected = Decimal(COST) * found["requests"] * (40 - failed) / 40
    assert float(bounds(found["cost_usd"])[1]) == pytest.approx(float(expected), rel=0.05)
    assert found["learned_from"] == 40


@pytest.mark.parametrize(
    ("reply", "limits", "code", "kind"),
    [
        (refusal(401, 10000), {}, 5, "bad_credentials"),
        (usual, {"max_cost_usd": 0.0003}, 4, "cost_cap"),
    ],
    ids=["credentials", "cap"],
)
def test_a_pilot_that_is_stopped_ends_as_a_run_does_and_says_so_in_one_line(
    ws: Workspace, endpoint: Endpoint, reply: Any, limits: dict[str, Any], code: int, kind: str
) -> None:
    questions(ws, 40)
    ws.job(limits=limits)
    endpoint.reply = reply if callable(reply) else lambda asked: reply
    found = ws.pipeline("estimate", "job.yaml", "--json", "--pilot", "30")
    assert (found.code, len(found.lines)) == (code, 1)
    assert found.data.keys() == {"pilot", "error"}
    assert found.data["error"]["kind"] == found.data["pilot"]["error"]["kind"] == kind
    spent = Decimal(found.data["pilot"]["job_cost_usd"])
    assert spent + Decimal(found.data["pilot"]["possibly_billed_usd"]) <= Decimal("0.0003")


def test_a_pilot_keeps_the_lock_the_rate_and_the_signals_of_a_run(ws: Workspace, endpoint: Endpoint) -> None:
    questions(ws, 20)
    ws.job(limits={"concurrency": 2})
    endpoint.gate.clear()
    with ws.running("--pilot", "10", command="estimate") as process:
        endpoint.wait_for(2)
        assert ws.pipeline("estimate", "job.yaml", "--pilot", "1") == Result(75, "", "")
        process.send_signal(signal.SIGTERM)
        endpoint.gate.set()
        stopped = ended(process)
    assert (stopped.code, stopped.data["error"]["kind"]) == (143, "interrupted")
    assert stopped.data["pilot"]["succeeded"] == len(endpoint.asked) == 2
    assert ws.run()["requests"] == 18


@pytest.mark.parametrize(
    "flags", [("--pilot", "0"), ("--pilot", "-3"), ("--pilot", "x"), ("--seed", "x")], ids=" ".join
)
def test_a_wrong_pilot_is_exit_2_and_nothing_is_sent(ws: Workspace, endpoint: Endpoint, flags: tuple[str, ...]) -> None:
    ws.questions("a")
    ws.job()
    refused = ws.pipeline("estimate", "job.yaml", *flags)
    assert (refused.code, len(refused.lines), endpoint.asked) == (2, 1, [])
    assert flags[0] in refused.err


def test_a_pilot_needs_the_key_and_a_plain_estimate_does_not(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    ws.environment.pop(KEY_VARIABLE)
    assert ws.command("estimate")["requests"] == 1
    assert KEY_VARIABLE in ws.command("estimate", "--pilot", "1", code=2)["error"]["message"]


def test_a_person_reads_what_is_left_what_a_cap_pays_for_and_the_whole_job(ws: Workspace, endpoint: Endpoint) -> None:
    questions(ws, 40)
    ws.job(limits={"max_cost_usd": 1})
    shown = on_a_terminal(ws, "estimate", "job.yaml", "--pilot", "10")
    assert shown.code == 0
    for words in (
        "40 total, 10 done, 30 new",
        "10 requests for $0.0001",
        "still to send:",
        "whole job:",
        "max_cost_usd        pays for 30 (30 to 30) rows",
        "with $0.0001 spent so far",
        "learned from 10 rows drawn at random",
    ):
        assert words in shown.out.replace("\r", "") + shown.err, words
