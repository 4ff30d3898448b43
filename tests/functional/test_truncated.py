"""`retry-failed --kind truncated`: a longer answer for those that were cut off, and nothing else changes."""

from __future__ import annotations

import itertools
import random
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from pipeline.app.use_cases.recover import recover
from pipeline.cli.summary import SummaryText
from pipeline.config import JobCall
from pipeline.errors import InvalidInput
from pipeline.journal import Changes, Claim, Journal
from tests.functional.conftest import KEY, KEY_VARIABLE, Asked, Endpoint, Reply, Workspace, answer, ended, refusal

NEEDED = {"short": 20, "long": 150, "longer": 350}
"""How many tokens the answer to each prompt takes."""
MORE = ("--set", "parameters.max_tokens=200")


def tokens(asked: Asked) -> Reply:
    """An answer of as many tokens as it takes, or as it may."""
    allowed = asked.body["data"]["max_tokens"]
    count = min(NEEDED[asked.prompt.split("-")[0]], allowed)
    usage = {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": 10 + count}
    return answer(f"{asked.prompt}: {count}", usage=usage)


def price(completion_tokens: int) -> Decimal:
    """What an answer of so many tokens costs in USD."""
    return (10 * Decimal("0.32") + completion_tokens * Decimal("0.34")) / 1_000_000


class Job:
    """The usual job run inside this process, which is quicker than a command."""

    def __init__(self, ws: Workspace, endpoint: Endpoint) -> None:
        self.ws = ws
        self.endpoint = endpoint

    def do(self, *overrides: str, **options: Any) -> dict[str, Any]:
        """One run: what it said, with its exit code and the prompts it sent."""
        self.endpoint.forget()
        made = Run(load_job("job.yaml", overrides), RunOptions(**options)).execute()
        line = SummaryText(made, JobCall("job.yaml")).one_line()
        return {**made.as_json(), "code": made.exit_code, "sent": sorted(self.endpoint.prompts), "line": line}

    def longer(self, max_tokens: int | None = 200, **options: Any) -> dict[str, Any]:
        """`retry-failed --kind truncated --set parameters.max_tokens=N`."""
        overrides = [] if max_tokens is None else [f"parameters.max_tokens={max_tokens}"]
        return self.do(*overrides, retry=True, retry_kind="truncated", **options)

    def answers(self) -> dict[str, tuple[str, bool]]:
        """Each row's answer, and whether it was cut off."""
        return {row["question"]: (row["response"], row["truncated"]) for row in self.ws.rows()}


@pytest.fixture
def job(ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.chdir(ws.path)
    ws.job()
    endpoint.reply = tokens
    return Job(ws, endpoint)


def test_only_the_rows_cut_off_are_asked_again_and_later_runs_of_either_kind_send_nothing(job: Job) -> None:
    job.ws.questions("short-1", "long-1", "short-2", "longer-1")
    first = job.do()
    before = {row["question"]: row for row in job.ws.rows()}
    found = job.longer()
    assert (found["code"], found["status"], found["sent"]) == (0, "succeeded", ["long-1", "longer-1"])
    assert job.answers() == {
        "short-1": ("short-1: 20", False),
        "long-1": ("long-1: 150", False),
        "short-2": ("short-2: 20", False),
        "longer-1": ("longer-1: 200", True),
    }
    after = {row["question"]: row for row in job.ws.rows()}
    assert after["short-1"] == before["short-1"]
    assert after["long-1"]["request_hash"] != before["long-1"]["request_hash"]
    assert (after["long-1"]["cost_usd"], after["long-1"]["attempts"]) == (price(150), 1)
    assert Decimal(found["job_cost_usd"]) == Decimal(first["job_cost_usd"]) + price(150) + price(200)
    output = job.ws.files()["out.parquet"]
    for overrides in ((), ("parameters.max_tokens=200",), ()):
        again = job.do(*overrides)
        assert (again["code"], again["sent"], again["succeeded"]) == (0, [], 4)
        assert job.ws.files()["out.parquet"] == output


def test_it_can_go_on_to_ever_longer_answers(job: Job) -> None:
    job.ws.questions("short", "long", "longer")
    job.do()
    assert job.longer(200)["sent"] == ["long", "longer"]
    assert job.longer(400)["sent"] == ["longer"]
    assert job.answers() == {
        "short": ("short: 20", False),
        "long": ("long: 150", False),
        "longer": ("longer: 350", False),
    }
    for overrides in ((), ("parameters.max_tokens=200",), ("parameters.max_tokens=400",)):
        assert job.do(*overrides)["sent"] == []
        assert job.answers()["longer"] == ("longer: 350", False)
        assert job.answers()["long"] == ("long: 150", False)


@pytest.mark.parametrize("max_tokens", [None, 100, 50])
def test_what_would_buy_the_same_again_is_refused(job: Job, max_tokens: int | None) -> None:
    job.ws.questions("short", "long")
    job.do()
    files = job.ws.files()
    with pytest.raises(
        InvalidInput, match=r"1 truncated answer, cut off after up to 100 tokens.*parameters\.max_tokens=N"
    ):
        job.longer(max_tokens)
    assert job.endpoint.prompts == []
    assert {name: one for name, one in job.ws.files().items() if "lock" not in name} == {
        name: one for name, one in files.items() if "lock" not in name
    }


def test_where_no_answer_was_cut_off_nothing_is_sent(job: Job) -> None:
    job.ws.questions("short")
    job.do()
    found = job.longer()
    assert (found["code"], found["sent"], found["status"]) == (0, [], "succeeded")
    assert job.do()["sent"] == []


def test_a_failure_takes_no_answer_away_and_is_told(job: Job) -> None:
    job.ws.questions("short", "long-1", "long-2")
    job.ws.job(retry={"max_attempts": 2})
    job.do()
    billed = {
        "errors": [],
        "messages": [],
        "result": {"response": None, "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}},
        "success": False,
    }
    job.endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "long-1" else Reply(billed)
    found = job.longer()
    assert Counter(found["sent"]) == {"long-1": 1, "long-2": 2}
    assert (found["code"], found["status"], found["succeeded"], found["failed"]) == (3, "failed_rows", 3, 0)
    assert found["error"]["kind"] == "still_truncated"
    assert "2 rows failed when asked again; the truncated answers are kept" in found["line"]
    assert "bad_request 1 (such as " in found["line"]
    assert job.answers()["long-1"] == ("long-1: 100", True)
    for overrides in ((), ("parameters.max_tokens=200",)):
        later = job.do(*overrides)
        assert (later["code"], later["sent"], later["succeeded"]) == (0, [], 3)
    job.endpoint.reply = tokens
    assert job.longer()["sent"] == ["long-1", "long-2"]
    rows = {row["question"]: row for row in job.ws.rows()}
    assert rows["long-2"]["response"] == "long-2: 150"
    assert (rows["long-1"]["attempts"], rows["long-2"]["attempts"]) == (2, 3)
    assert rows["long-2"]["cost_usd"] == price(150) + 2 * price(5)


def test_with_limit_the_others_keep_what_they_have(job: Job) -> None:
    job.ws.questions("long-1", "long-2", "long-3")
    job.do()
    found = job.longer(limit=1)
    assert (found["code"], found["sent"], found["pending"], found["succeeded"]) == (0, ["long-1"], 0, 3)
    assert job.answers()["long-2"] == ("long-2: 100", True)
    assert job.do("parameters.max_tokens=200")["sent"] == []
    assert job.longer(limit=0)["sent"] == []
    assert job.longer()["sent"] == ["long-2", "long-3"]


def test_pending_and_failed_rows_stay_as_they_are(job: Job) -> None:
    job.ws.questions("long-1", "short-bad", "short-later")
    job.endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "short-bad" else tokens(asked)
    job.do(limit=2)
    found = job.longer()
    assert (found["code"], found["sent"], found["failed"], found["pending"]) == (0, ["long-1"], 1, 1)
    assert job.do()["sent"] == ["short-later"]
    job.endpoint.reply = tokens
    job.ws.questions("long-1", "short-bad", "short-later", "long-2")
    assert job.do()["sent"] == ["long-2"]
    found = job.longer()
    assert (found["code"], found["sent"], found["failed"], found["pending"]) == (3, ["long-2"], 1, 0)
    rows = job.ws.rows()
    assert [row["status"] for row in rows] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert rows[3]["response"] == "long-2: 150"
    # A failed row whose request changed is sent without asking, by a run that sends such rows.
    assert job.do("parameters.max_tokens=200")["sent"] == ["short-bad"]


def test_another_change_is_still_refused(job: Job) -> None:
    job.ws.questions("short", "long")
    job.do()
    with pytest.raises(InvalidInput, match=r"2 finished rows would be sent again.*parameters\.temperature"):
        job.do("parameters.max_tokens=200", "parameters.temperature=0.5", retry=True, retry_kind="truncated")
    with pytest.raises(InvalidInput, match=r"2 finished rows would be sent again.*retry-failed --kind truncated sends"):
        job.do("parameters.max_tokens=200")


def test_keep_lets_rows_that_changed_otherwise_keep_their_answers_and_asks_none_of_them(job: Job) -> None:
    job.ws.questions("short", "long")
    job.do()
    found = job.do(
        "parameters.max_tokens=200", "parameters.temperature=0.5", retry=True, retry_kind="truncated", on_change="keep"
    )
    assert (found["code"], found["sent"], found["succeeded"]) == (0, [], 2)
    assert job.answers()["long"] == ("long: 100", True)


def test_max_tokens_may_have_come_from_a_column(job: Job) -> None:
    job.ws.given([["short", 50], ["long", 100], ["longer", 300]], ["question", "budget"])
    job.ws.job(parameters={"max_tokens": {"column": "budget"}})
    job.do()
    assert job.longer(200)["sent"] == ["long"]
    assert [row["response"] for row in job.ws.rows()] == ["short: 20", "long: 150", "longer: 300"]
    assert job.do()["sent"] == []
    assert job.longer(400)["sent"] == ["longer"]
    assert job.do()["sent"] == []
    assert job.answers()["longer"] == ("longer: 350", False)


def test_rows_appended_and_carried_columns_changed_since_block_nothing(job: Job) -> None:
    job.ws.given([["a", "short", "x"], ["b", "long", "x"]], ["id", "question", "note"])
    job.ws.job(input={"id": "id"})
    job.do()
    job.ws.given([["b", "long", "y"], ["a", "short", "y"], ["c", "longer", "y"]], ["id", "question", "note"])
    assert job.longer()["sent"] == ["long"]
    assert job.do()["sent"] == ["longer"]
    assert [row["response"] for row in job.ws.rows()] == ["long: 150", "short: 20", "longer: 100"]
    assert job.longer()["sent"] == ["longer"]
    assert job.do("parameters.max_tokens=200")["sent"] == []


def test_equal_prompts_each_get_their_own_answer(job: Job) -> None:
    job.ws.questions("long", "long", "short")
    job.do()
    assert job.longer()["sent"] == ["long", "long"]
    job.ws.questions("long", "long", "short", "long")
    # The answer that was replaced is there for a new row that asks what it was given to.
    assert job.do()["sent"] == []
    assert [row["response"] for row in job.ws.rows()] == ["long: 150", "long: 150", "short: 20", "long: 100"]
    assert job.do("parameters.max_tokens=200")["sent"] == []


def test_rerun_asks_no_row_again_whose_own_request_was_answered(job: Job) -> None:
    job.ws.questions("short", "long")
    job.do()
    job.longer()
    assert job.do(on_change="rerun")["sent"] == []
    assert job.answers()["long"] == ("long: 150", False)


def test_a_kill_half_way_loses_no_answer_and_asks_no_answered_row_again(job: Job) -> None:
    job.ws.questions(*(f"long-{number}" for number in range(5)))
    job.ws.job(limits={"concurrency": 1})
    first = job.do()
    job.endpoint.forget()

    def reply(asked: Asked) -> Reply:
        if asked.prompt == "long-2":
            job.endpoint.gate.clear()
        return tokens(asked)

    job.endpoint.reply = reply
    with job.ws.running("--kind", "truncated", *MORE, command="retry-failed") as process:
        job.endpoint.wait_for(3)
        process.kill()
        process.wait()
    status = job.ws.command("status", *MORE)
    assert (status["status"], status["succeeded"], status["pending"]) == ("interrupted", 5, 0)
    job.endpoint.gate.set()
    job.endpoint.reply = tokens
    cost = Decimal(first["job_cost_usd"]) + 2 * price(150)
    for overrides in ((), ("parameters.max_tokens=200",)):
        found = job.do(*overrides)
        assert (found["code"], found["sent"], found["succeeded"]) == (0, [], 5)
        assert Decimal(found["job_cost_usd"]) == cost
        assert [row["response"][-3:] for row in job.ws.rows()] == ["150", "150", "100", "100", "100"]
    assert Decimal(found["possibly_billed_usd"]) > 0
    assert job.longer()["sent"] == ["long-2", "long-3", "long-4"]
    assert [(row["response"][-3:], row["attempts"]) for row in job.ws.rows()] == [
        ("150", 1),
        ("150", 1),
        ("150", 2),
        ("150", 1),
        ("150", 1),
    ]


def test_a_signal_lets_what_is_in_flight_come_home_and_shows_it(job: Job) -> None:
    job.ws.questions(*(f"long-{number}" for number in range(4)))
    job.ws.job(limits={"concurrency": 1})
    job.do()
    job.endpoint.forget()

    def reply(asked: Asked) -> Reply:
        job.endpoint.gate.clear()
        return tokens(asked)

    job.endpoint.reply = reply
    with job.ws.running("--kind", "truncated", *MORE, command="retry-failed") as process:
        job.endpoint.wait_for(1)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        job.endpoint.gate.set()
        result = ended(process)
    assert (result.code, result.data["succeeded"], result.data["pending"]) == (143, 4, 0)
    assert [row["response"][-3:] for row in job.ws.rows()] == ["150", "100", "100", "100"]


class _Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def kill_at(commit: int, *, before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die at the n-th commit to the journal, right before it or right after."""
    made, left = Journal.commit, itertools.count(1)

    def dying(*given: Any, **named: Any) -> int:
        is_last = next(left) == commit
        if is_last and before:
            raise _Killed
        first = made(*given, **named)
        if is_last:
            raise _Killed
        return first

    monkeypatch.setattr(Journal, "commit", dying)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_done_in_whatever_order_nothing_is_bought_twice_and_no_answer_gets_shorter(
    job: Job, seed: int
) -> None:
    chance = random.Random(seed)
    asked: list[tuple[str, int]] = []

    def reply(one: Asked) -> Reply:
        if chance.random() < 0.2:
            return refusal(chance.choice([400, 500]), 5006)
        asked.append((one.prompt, one.body["data"]["max_tokens"]))
        return tokens(one)

    job.endpoint.reply = reply
    job.ws.job(retry={"max_attempts": 1}, limits={"concurrency": 1})
    rows = [f"{chance.choice(list(NEEDED))}-{number}" for number in range(6)]
    shown: dict[str, int] = {}
    kills = 0
    for _ in range(9):
        job.ws.questions(*rows)
        with pytest.MonkeyPatch.context() as patched:
            if chance.random() < 0.4:
                kill_at(chance.randint(1, 10), before=chance.random() < 0.5, monkeypatch=patched)
            try:
                if chance.random() < 0.6:
                    job.longer(chance.choice([100, 200, 400]), limit=chance.choice([None, 2]))
                else:
                    job.do()
            except InvalidInput:  # the same would be bought again
                pass
            except _Killed:
                kills += 1
                continue
        if job.ws.exists("out.parquet"):
            now = {row["question"]: int(row["response"].split(": ")[1]) for row in job.ws.rows() if row["response"]}
            assert all(now[question] >= length for question, length in shown.items())
            shown = now
        if chance.random() < 0.3:
            rows.append(f"{chance.choice(list(NEEDED))}-{len(rows)}")
    # A kill leaves one request at most of which nobody knows what came of it.
    assert len(asked) - len(set(asked)) <= kills


def test_a_recovery_gives_the_answer_back_that_a_row_was_to_keep(job: Job) -> None:
    job.ws.questions("long-0", "long-1", "long-2")
    job.ws.job(limits={"concurrency": 1})
    job.do()
    job.longer(limit=1)
    directory = load_job("job.yaml").checkpoint_path
    journal = Journal.write(directory)
    ((entry, history),) = [
        one
        for one in journal.records(range(1, journal.totals.events + 1))
        if one[1].source == 2 and one[1].kept_as is not None
    ]
    _, plan, position, _, row_id, request_hash, settings, content, _ = entry
    journal.commit(
        Changes(
            claims=[Claim(1, plan, position, row_id, request_hash, settings, content, time.time(), "0.1", 50, history)]
        )
    )
    journal.close()
    with closing(sqlite3.connect(directory / "journal.sqlite", isolation_level=None)) as damaged:
        damaged.execute("DELETE FROM events WHERE seq = 1")  # so that every other event gets another number
    assert recover(load_job("job.yaml")).answers == 3
    for overrides in (("parameters.max_tokens=200",), ()):
        found = job.do(*overrides)
        assert (found["code"], found["sent"]) == (0, [])
        assert [row["response"] for row in job.ws.rows()] == ["long-0: 150", "long-1: 100", "long-2: 100"]
    assert found["possibly_billed_usd"] == "0.1"
    assert job.longer()["sent"] == ["long-1", "long-2"]
    assert job.ws.rows()[1]["attempts"] == 2
