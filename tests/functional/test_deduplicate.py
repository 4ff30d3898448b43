"""`deduplicate: true`: the same request is sent once, and who shares the answer says who paid."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.functional.conftest import COST, MODEL, Asked, Endpoint, Reply, Simulated, Workspace, answer, refusal
from tests.support.oracle import SOCKET_SECONDS, Ledger

SMALL = "meta/llama-3.1-8b-instruct"


def numbered() -> Callable[[Asked], Reply]:
    """Answers that are all different, in the order they are asked for."""
    count = itertools.count(1)
    return lambda asked: answer(f"{asked.prompt} {next(count)}")


def job(ws: Workspace, **sections: Any) -> None:
    """The usual job, with ids and equal requests sent once."""
    ws.job(**{"deduplicate": True, "input": {"id": "key"}, **sections})


def rows(ws: Workspace, *pairs: str) -> None:
    """Rows such as `x=a`: an id and what it asks."""
    ws.given([pair.split("=") for pair in pairs], ["key", "question"])


def shared(ws: Workspace, name: str = "out.parquet") -> dict[str, str | None]:
    """Who paid for each row."""
    return {row["row_id"]: row["shared_from"] for row in ws.rows(name)}


@pytest.fixture(autouse=True)
def different(endpoint: Endpoint) -> None:
    endpoint.reply = numbered()


def test_the_first_row_pays_and_the_others_have_its_answer_for_nothing(ws: Workspace, endpoint: Endpoint) -> None:
    rows(ws, "u=a", "v=b", "w=a", "x=a", "y=c", "z=b")
    job(ws)
    plan = ws.command("estimate")
    assert plan["rows"]["new"] == 6 and plan["requests"] == 3
    found = ws.run()
    assert (found["rows"], found["succeeded"], found["pending"], found["requests"]) == (6, 6, 0, 3)
    assert Counter(endpoint.prompts) == {"a": 1, "b": 1, "c": 1}
    assert shared(ws) == {"u": None, "v": None, "w": "u", "x": "u", "y": None, "z": "v"}
    by_id = {row["row_id"]: row for row in ws.rows()}
    for sharer, payer in (("w", "u"), ("x", "u"), ("z", "v")):
        one, other = by_id[sharer], by_id[payer]
        differ = {
            "key",
            "row_id",
            "shared_from",
            "cost_usd",
            "attempts",
            "latency_seconds",
            "started_at",
            "finished_at",
        }
        assert {name for name in one if one[name] != other[name]} == differ
        assert (one["cost_usd"], one["attempts"], one["latency_seconds"], one["started_at"]) == (0, 0, None, None)
    assert sum(row["cost_usd"] for row in by_id.values()) == Decimal(found["job_cost_usd"]) == 3 * Decimal(COST)
    names = ws.table().schema.names
    assert names[names.index("cost_usd") + 1] == "shared_from"
    assert ws.run()["requests"] == 0
    assert [row["shared_from"] for row in ws.command("show", "--id", "x")["rows"]] == ["u"]
    assert ws.command("status")["succeeded"] == 6


def test_without_it_each_row_is_sent_and_adding_it_later_shares_with_answers_that_are_there(
    ws: Workspace, endpoint: Endpoint
) -> None:
    rows(ws, "u=a", "v=a")
    job(ws, deduplicate=False)
    assert ws.run()["requests"] == 2
    assert "shared_from" not in ws.table().schema.names
    job(ws)
    assert ws.run()["requests"] == 0
    assert shared(ws) == {"u": None, "v": None}
    rows(ws, "t=a", "u=a", "v=a", "w=a")
    assert ws.run()["requests"] == 0
    assert shared(ws) == {"t": "u", "u": None, "v": None, "w": "u"}
    job(ws, deduplicate=False)
    for flags in (), ("--on-change", "keep"):
        assert "2 finished rows that share" in ws.run(*flags, code=2)["error"]["message"]
    assert ws.run("--on-change", "rerun", "--limit", "1")["requests"] == 1
    assert ws.run()["requests"] == 1


def test_turning_it_off_asks_before_answers_are_bought_that_rows_have(ws: Workspace, endpoint: Endpoint) -> None:
    rows(ws, "u=a", "v=a", "w=b")
    job(ws)
    ws.run()
    before = shared(ws)
    job(ws, deduplicate=False)
    said = ws.run(code=2)["error"]["message"]
    assert said.startswith("1 finished row that shares another row's answer would be sent, for about $0.00001")
    assert len(endpoint.asked) == 2
    job(ws)
    assert ws.run()["requests"] == 0 and shared(ws) == before
    rows(ws, "u=a", "w=b", "x=c")
    ws.run()
    job(ws, deduplicate=False)
    assert ws.run()["requests"] == 0


def test_samples_and_variants_share_only_with_the_same_sample_and_variant_of_other_rows(
    ws: Workspace, endpoint: Endpoint
) -> None:
    rows(ws, "u=a", "v=a")
    job(ws, prompt={"user": "{{ question }}", "samples": 3}, sweep={"endpoint.model": [MODEL, SMALL]})
    assert ws.run()["requests"] == 6
    found = ws.rows()
    first, second = found[:6], found[6:]
    assert len({row["response"] for row in first}) == 6
    assert [row["response"] for row in second] == [row["response"] for row in first]
    assert {row["shared_from"] for row in second} == {"u"} and {row["shared_from"] for row in first} == {None}


def test_rows_that_will_share_are_not_bought_where_answers_leave_the_job(ws: Workspace, endpoint: Endpoint) -> None:
    rows(ws, "u=a", "v=a", "w=a")
    seeded = {"seed": 1, "max_tokens": 64}
    job(ws, input={}, parameters=seeded, prompt={"user": "{{ question }}", "samples": 3})
    assert ws.run()["requests"] == 3
    job(ws, input={}, parameters=seeded)
    found = ws.run()
    assert (found["rows"], found["succeeded"], found["requests"]) == (3, 3, 0)


def test_if_the_first_fails_the_others_fail_with_it_and_a_retry_mends_all(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "a" else answer("x")
    rows(ws, "u=a", "v=a", "w=b", "x=a")
    job(ws)
    found = ws.run(code=3)
    assert (found["succeeded"], found["failed"], found["requests"]) == (1, 3, 2)
    assert found["failures"] == {"bad_request": 3}
    failed = [row for row in ws.rows() if row["status"] == "failed"]
    assert {row["error_kind"] for row in failed} == {"bad_request"}
    assert [(row["shared_from"], row["attempts"], row["cost_usd"]) for row in failed] == [
        (None, 1, None),
        ("u", 0, None),
        ("u", 0, None),
    ]
    assert len(ws.command("show", "--failed")["rows"]) == 3
    endpoint.reply = numbered()
    again = ws.command("retry-failed")
    assert (again["requests"], again["succeeded"], again["failed"]) == (1, 4, 0)


def test_a_first_row_that_leaves_hands_its_answer_and_cost_to_the_next(ws: Workspace, endpoint: Endpoint) -> None:
    rows(ws, "u=a", "v=a", "w=a")
    job(ws)
    ws.run()
    rows(ws, "v=a", "w=a", "x=a")
    found = ws.run()
    assert found["requests"] == 0
    assert shared(ws) == {"v": None, "w": "v", "x": "v"}
    assert sum(row["cost_usd"] for row in ws.rows()) == Decimal(COST) == Decimal(found["job_cost_usd"])
    rows(ws, "x=a", "u=a")
    assert ws.run()["requests"] == 0
    assert set(shared(ws).values()) == {None, "u"} or set(shared(ws).values()) == {None, "x"}
    assert sum(row["cost_usd"] for row in ws.rows()) == Decimal(COST)


def test_equal_rows_without_an_id_and_rows_without_a_request(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "a", "", "", "b")
    ws.job(deduplicate=True)
    found = ws.run(code=3)
    assert (found["succeeded"], found["failed"], found["requests"]) == (3, 2, 2)
    first, second, *empty = ws.rows()[:4]
    assert second["shared_from"] == first["row_id"] and second["row_id"] == first["row_id"] + "#2"
    assert [(row["error_kind"], row["shared_from"]) for row in empty] == [("empty_prompt", None)] * 2


def test_a_limit_sends_so_many_and_the_partial_output_has_all_that_share(ws: Workspace) -> None:
    rows(ws, "u=a", "v=b", "w=a", "x=b", "y=c")
    job(ws)
    found = ws.run("--limit", "1")
    assert (found["requests"], found["succeeded"], found["pending"]) == (1, 2, 3)
    assert shared(ws, "out.partial.parquet") == {"u": None, "w": "u"}
    assert ws.run()["requests"] == 2


def test_changed_settings_buy_each_request_once_and_keep_none_is_asked(ws: Workspace, endpoint: Endpoint) -> None:
    rows(ws, "u=a", "v=a", "w=b")
    job(ws)
    ws.run()
    job(ws, parameters={"temperature": 0.5})
    assert "2 finished rows" in ws.run(code=2)["error"]["message"]
    assert ws.run("--on-change", "rerun")["requests"] == 2
    assert shared(ws) == {"u": None, "v": "u", "w": None}


def test_recovery_from_the_output_alone_shares_as_before(ws: Workspace) -> None:
    rows(ws, "u=a", "v=a", "w=b")
    job(ws)
    ws.run()
    before = shared(ws)
    (ws.path / ".checkpoints/job/journal.sqlite").write_bytes(b"")
    assert ws.command("recover")["recovered"] == 2
    found = ws.run()
    assert found["requests"] == 0 and shared(ws) == before
    assert Decimal(found["job_cost_usd"]) == 2 * Decimal(COST)


def test_kills_buy_nothing_twice_and_the_sums_are_the_ledgers(
    ws: Workspace, simulate: Callable[..., Simulated]
) -> None:
    served = simulate("--latency-seconds", "0.02")
    rows(ws, *(f"{number}=question {number % 40}" for number in range(120)))
    job(ws, endpoint={"url": served.url}, limits={"concurrency": 4})
    for _ in range(3):
        with ws.running() as process:
            served.wait_for_answers(5)
            process.kill()
        time.sleep(SOCKET_SECONDS)
    found = ws.run()
    assert (found["rows"], found["succeeded"]) == (120, 120)
    ledger, made = Ledger(served.ledger), ws.rows()
    cost, possibly = Decimal(found["job_cost_usd"]), Decimal(found["possibly_billed_usd"])
    assert sum(row["cost_usd"] for row in made) == cost
    assert cost <= ledger.billed <= cost + possibly
    assert 40 <= len(ledger.exchanges) <= 40 + found["possibly_billed_requests"]
    assert shared(ws) == {str(number): None if number < 40 else str(number % 40) for number in range(120)}
