"""`limits.concurrency: auto`: what a run finds, says and keeps, on the embedded endpoint and on a server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from pipeline import engines
from pipeline.endings import LimitedBy
from tests.functional.conftest import Endpoint, Workspace, ended, usual

SIMULATOR = {"url": "simulator"}


def simulated(
    ws: Workspace,
    rows: int,
    *,
    endpoint: Mapping[str, str] | None = None,
    limits: Mapping[str, int] | None = None,
    **sections: object,
) -> None:
    ws.questions(*(f"q{n}" for n in range(rows)))
    of_limits = {"concurrency": "auto", "processes": 1, **(limits or {})}
    ws.job(endpoint={**SIMULATOR, **(endpoint or {})}, limits=of_limits, **sections)


@pytest.mark.parametrize("kind", ["dataoorts", "openai"])
def test_a_run_says_how_many_it_had_in_flight_and_why_no_more(ws: Workspace, kind: str) -> None:
    simulated(ws, 300, endpoint={"kind": kind}, simulator={"latency_seconds": 0.1, "best_concurrency": 20})
    found = ws.run()
    assert found["succeeded"] == found["requests"] == 300
    assert found["limited_by"] in set(LimitedBy)
    assert found["concurrency"] >= 8
    status = ws.command("status")
    assert (status["limited_by"], status["concurrency"]) == (found["limited_by"], found["concurrency"])
    again = ("--set", "name=again", "--set", "output.path=again.parquet", "--limit", "40", "--verbose")
    told = ws.pipeline("run", "job.yaml", *again)
    assert "in flight up to" in told.out + told.err


def test_the_standard_transport_has_its_cap(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines._MOST_IN_THREADS == 256
    monkeypatch.setattr(engines, "_MOST_IN_THREADS", 12)
    most = {"lean": 0, "standard": 0}
    for transport in most:
        simulated(
            ws,
            300,
            name=transport,
            endpoint={"transport": transport},
            output={"path": f"{transport}.parquet"},
            simulator={"latency_seconds": 0.1},
        )
        found = ws.run()
        assert found["succeeded"] == 300
        most[transport] = found["concurrency"]
    assert most["standard"] <= 12 < most["lean"]


def test_several_processes_send_what_is_found(ws: Workspace) -> None:
    simulated(ws, 800, limits={"processes": 2}, simulator={"latency_seconds": 0.05, "best_concurrency": 40})
    found = ws.run()
    assert found["succeeded"] == found["requests"] == 800
    assert 8 <= found["concurrency"] < 400


def test_a_run_with_a_number_says_nothing_of_it(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("q")
    ws.job()
    found = ws.run()
    assert "concurrency" not in found
    assert "limited_by" not in found


def test_a_number_can_be_set_and_left_to_the_run_again(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*(f"q{n}" for n in range(300)))
    ws.job(limits={"concurrency": "auto"})
    endpoint.reply = lambda asked: replace(usual(asked), wait=0.1)
    with ws.running() as process:
        endpoint.wait_for(3)
        ws.command("control", "set", "limits.concurrency=2")
        time.sleep(1.2)
        assert ws.command("status")["concurrency"] == 2
        assert "2 of 2 in flight" in ws.pipeline("status", "job.yaml").out
        ws.command("control", "set", "limits.concurrency=auto")
        result = ended(process)
    assert (result.code, result.data["succeeded"]) == (0, 300)
    assert result.data["concurrency"] > 2


@pytest.mark.parametrize("value", ["automatic", 0, 20_001, 1.5])
def test_other_words_and_numbers_are_refused(ws: Workspace, value: object) -> None:
    ws.questions("q")
    ws.job(limits={"concurrency": value})
    errors = ws.command("validate", code=2)["errors"]
    assert [error["key"] for error in errors] == ["limits.concurrency"]
