"""`limits.wait_for_quota_seconds`: a quota that is waited for, what is said of it, and what ends the wait."""

from __future__ import annotations

import signal
import time

import pytest

from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, ended, refusal, usual

QUOTA = refusal(429, 4006, "daily free allocation used up")


def used_up_for(endpoint: Endpoint, seconds: float, reply: Reply = QUOTA) -> None:
    """Let the endpoint answer nothing for so long after its first request."""

    def answer(asked: Asked) -> Reply:
        return reply if time.monotonic() < endpoint.asked[0].at + seconds else usual(asked)

    endpoint.reply = answer


def test_a_daily_quota_is_waited_for_and_told(ws: Workspace, endpoint: Endpoint) -> None:
    used_up_for(endpoint, 1.5)
    ws.questions(*"abcdef")
    ws.job(limits={"concurrency": 2, "wait_for_quota_seconds": 8})
    result = ws.pipeline("run", "job.yaml", "--verbose")
    assert result.code == 0, result.err
    assert "the daily quota is used up: waiting until 2" in result.err
    assert "(limits.wait_for_quota_seconds)" in result.err
    assert len([row for row in ws.rows() if row["status"] == "succeeded"]) == 6


def test_without_the_key_a_daily_quota_ends_the_run(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: QUOTA
    ws.questions(*"abcdef")
    ws.job()
    assert ws.run(code=5)["error"]["kind"] == "daily_quota"


def test_the_wait_ends_when_it_was_asked_to_and_no_row_fails(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: QUOTA
    ws.questions(*"abcdef")
    ws.job(limits={"wait_for_quota_seconds": 2})
    begun = time.monotonic()
    found = ws.run(code=5)
    assert (found["error"]["kind"], found["failed"], found["pending"]) == ("daily_quota", 0, 6)
    assert 2.0 <= time.monotonic() - begun < 6.0


def test_a_long_pause_stands_in_the_journal_and_the_next_run_waits_its_rest(ws: Workspace, endpoint: Endpoint) -> None:
    used_up_for(endpoint, 3.0, refusal(429, 3021, Retry_After="3"))
    ws.questions("a", "b", "c")
    ws.job(limits={"concurrency": 1, "wait_for_quota_seconds": 60}, retry={"max_elapsed_seconds": 1})
    with ws.running() as process:
        endpoint.wait_for(1)
        time.sleep(1.2)
        status = ws.command("status")
        assert status["quota"]["cause"] == "the endpoint asked for a pause"
        assert 0 < status["quota"]["until"] - time.time() < 3
        assert "waiting until" in ws.pipeline("status", "job.yaml").out
        process.kill()
        process.wait()
    assert len(endpoint.asked) == 1
    assert ws.run("--set", "limits.wait_for_quota_seconds=1", code=5)["error"]["kind"] == "retry_after"
    assert len(endpoint.asked) == 1
    assert ws.run()["succeeded"] == 3
    assert endpoint.asked[1].at - endpoint.asked[0].at >= 3.0


def test_a_signal_ends_the_wait_at_once(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: refusal(429, 4006, Retry_After="1000")
    ws.questions("a", "b")
    ws.job(limits={"concurrency": 1, "wait_for_quota_seconds": 2000})
    with ws.running() as process:
        endpoint.wait_for(1)
        time.sleep(0.5)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert ended(process).code == 143
        assert time.monotonic() - begun < 3.0
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("value", [-1, "long"])
def test_a_wait_that_is_none_is_refused(ws: Workspace, value: object) -> None:
    ws.questions("a")
    ws.job(limits={"wait_for_quota_seconds": value})
    assert [error["key"] for error in ws.command("validate", code=2)["errors"]] == ["limits.wait_for_quota_seconds"]
