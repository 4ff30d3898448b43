"""`notify` and `metrics`: who is told what of a run, and that nothing of it ever fails one."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.app.jobs import inspection
from pipeline.app.observe import notify
from pipeline.app.observe.summary import Summary
from pipeline.app.running.run import Run
from pipeline.config import NotifyConfig
from pipeline.errors import InvalidJob
from tests.functional.conftest import (
    COST,
    KEY,
    RUN_KEYS,
    USUAL_USAGE,
    Endpoint,
    Workspace,
    answer,
    ended,
    refusal,
    usual,
    wait_until,
)
from tests.support.receiver import Receiver

SECRET = "6f1c2a7e"
"""Part of the addresses."""


class Listener(Receiver):
    """A server that is told of runs."""

    def __init__(self) -> None:
        super().__init__()
        self.location = f"{self.address}/elsewhere"

    @property
    def told(self) -> list[tuple[str, str]]:
        """The path and body of each POST."""
        return [(path, body.decode()) for path, _, body in self.posts]

    @property
    def section(self) -> dict[str, str]:
        """The job's `notify`."""
        return {"ping_url": f"{self.address}/ping/{SECRET}?create=1", "webhook_url": f"{self.address}/hook/{SECRET}"}

    @property
    def pings(self) -> list[str]:
        """What the check was told, in order: "start", "" for a success, "fail"."""
        paths = [path.partition("?")[0].split("/") for path, _ in self.told if path.endswith("?create=1")]
        assert all(parts[:3] == ["", "ping", SECRET] for parts in paths)
        return ["/".join(parts[3:]) for parts in paths]

    @property
    def hooks(self) -> list[dict[str, Any]]:
        """What the webhook was sent."""
        return [json.loads(body) for path, body in self.told if path == f"/hook/{SECRET}"]


@pytest.fixture
def listener() -> Iterator[Listener]:
    served = Listener()
    yield served
    served.close()


def metrics(ws: Workspace) -> dict[str, float]:
    """The samples of figures.prom by name and by labels other than the job."""
    found = {}
    for family in text_string_to_metric_families((ws.path / "figures.prom").read_text(encoding="utf-8")):
        for sample in family.samples:
            assert sample.labels["job"] == "job"
            others = [value for label, value in sorted(sample.labels.items()) if label != "job"]
            found[" ".join([sample.name.removeprefix("llm_batch_"), *others])] = sample.value
    return found


def test_start_success_and_the_summary_are_told_and_an_idle_run_only_shows_that_it_lives(
    ws: Workspace, listener: Listener
) -> None:
    ws.questions("a", "b")
    ws.job(notify=listener.section)
    shown = ws.run()
    assert listener.pings == ["start", ""]
    (told,) = listener.hooks
    assert set(told) == RUN_KEYS | {"exit_code"}
    assert told == {**shown, "exit_code": 0}
    texts = [body for path, body in listener.told if path.endswith("?create=1")]
    assert texts == ["job", "job: exit 0: succeeded: 2 answered, 0 failed, 0 pending of 2 rows"]
    ws.run()
    assert listener.pings == ["start", "", "start", ""]
    assert len(listener.hooks) == 1


@pytest.mark.parametrize(
    ("reply", "change", "code", "kind"),
    [
        (refusal(400, 5006), {}, 3, None),
        (refusal(402), {}, 5, "payment_required"),
        (None, {"limits": {"max_cost_usd": 0.00000001}}, 4, "cost_cap"),
    ],
    ids=["failed rows", "payment", "cap"],
)
def test_every_other_end_is_a_failure_with_its_exit_code_and_kind_in_both(
    ws: Workspace,
    endpoint: Endpoint,
    listener: Listener,
    reply: Any,
    change: dict[str, Any],
    code: int,
    kind: str | None,
) -> None:
    ws.questions("a", "b")
    ws.job(notify=listener.section, metrics={"textfile": "figures.prom"}, **change)
    endpoint.reply = lambda asked: reply
    ws.run(code=code)
    assert listener.pings == ["start", "fail"]
    (told,) = listener.hooks
    assert (told["exit_code"], told.get("error")) == (code, kind and {"kind": kind})
    assert f"exit {code}: " in listener.told[-1][1] or f"exit {code}: " in listener.told[-2][1]
    figures = metrics(ws)
    assert figures["last_run_exit_code"] == code and "last_success_timestamp_seconds" not in figures


def test_what_is_wrong_before_the_lock_is_held_is_a_failure_without_a_start(ws: Workspace, listener: Listener) -> None:
    ws.job(notify=listener.section, metrics={"textfile": "figures.prom"})
    ws.run(code=2)
    assert listener.pings == ["fail"]
    assert listener.hooks[0]["error"] == {"kind": "invalid_job"}
    assert metrics(ws)["last_run_exit_code"] == 2


def test_a_run_that_finds_another_under_way_says_nothing_and_a_drained_one_is_a_failure(
    ws: Workspace, endpoint: Endpoint, listener: Listener
) -> None:
    ws.questions("a", "b")
    ws.job(notify=listener.section, metrics={"textfile": "figures.prom"}, limits={"concurrency": 1})
    endpoint.gate.clear()
    with ws.running() as process:
        endpoint.wait_for(1)
        ws.run(code=75)
        assert listener.pings == ["start"] and not ws.exists("figures.prom")
        process.send_signal(signal.SIGTERM)
        endpoint.gate.set()
        assert ended(process).code == 143
    assert listener.pings == ["start", "fail"]
    assert listener.hooks[0]["error"] == {"kind": "interrupted"}
    assert metrics(ws)["last_run_exit_code"] == 143


def test_a_fault_of_the_program_is_told_too(
    ws: Workspace, listener: Listener, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("the question was: a")

    ws.questions("a")
    ws.job(notify=listener.section, metrics={"textfile": "figures.prom"})
    monkeypatch.setattr("pipeline.app.running.run.send_rows", fail)
    with pytest.raises(ZeroDivisionError):
        run_here().execute()
    assert listener.pings == ["start", "fail"]
    assert listener.hooks[0]["error"] == {"kind": "internal_error"}
    assert metrics(ws)["last_run_exit_code"] == 1


@pytest.mark.parametrize("status", [None, 302, 404])
def test_listeners_that_are_dead_or_refuse_fail_no_run_and_are_a_warning_in_the_log_alone(
    ws: Workspace, listener: Listener, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "MOST_SECONDS", 1.0)
    section = listener.section
    if status is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            section = {
                name: url.replace(listener.address, f"http://127.0.0.1:{free.getsockname()[1]}")
                for name, url in section.items()
            }
    else:
        listener.status = status
    ws.questions("a", "b")
    ws.job(notify=section)
    ran = ws.pipeline("run", "job.yaml", "--log-file", "run.log")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    warnings = [line for line in (ws.path / "run.log").read_text().splitlines() if " WARNING " in line]
    reason = "ConnectionError" if status is None else f"HTTP {status}"
    assert [line.partition(" WARNING ")[2] for line in warnings] == [
        f"notify.ping_url: {reason}",
        f"notify.ping_url: {reason}",
        f"notify.webhook_url: {reason}",
    ]
    assert len(ws.rows()) == 2 and not [path for path, _ in listener.told if path.endswith("elsewhere")]


def test_a_listener_that_never_replies_holds_a_run_up_for_a_bounded_time(
    ws: Workspace, endpoint: Endpoint, listener: Listener, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "MOST_SECONDS", 0.3)
    listener.gate.clear()
    ws.questions("a")
    ws.job(notify=listener.section)
    began = time.monotonic()
    assert run_here().execute().exit_code == 0
    assert time.monotonic() - began < 5
    assert listener.pings == ["start", ""] and len(endpoint.asked) == 1


def test_a_signal_ends_the_wait_for_a_listener_and_changes_nothing_of_how_the_run_ended(
    ws: Workspace, listener: Listener, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        wait_until(lambda: len(listener.hooks) == 1)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(notify, "MOST_SECONDS", 60.0)
    ws.questions("a")
    ws.job(notify={"webhook_url": listener.section["webhook_url"]})
    listener.gate.clear()
    thread = threading.Thread(target=interrupt)
    thread.start()
    began = time.monotonic()
    assert run_here().execute().exit_code == 0
    assert time.monotonic() - began < 30
    thread.join()


def test_the_end_is_told_after_the_start(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "MOST_SECONDS", 60.0)
    notifier = notify.Notifier(NotifyConfig(ping_url=listener.section["ping_url"]), "job")
    listener.gate.clear()
    notifier.started()
    thread = threading.Thread(target=notifier.ended, args=(Summary(job="job"),))
    thread.start()
    wait_until(lambda: bool(listener.told))
    time.sleep(0.2)  # for what would be told now if nothing waited for the start
    assert listener.pings == ["start"]
    listener.gate.set()
    thread.join()
    assert listener.pings == ["start", ""]


def test_prompts_answers_and_keys_are_told_to_nobody_and_the_addresses_stand_nowhere(
    ws: Workspace, endpoint: Endpoint, listener: Listener
) -> None:
    ws.questions("hyacinth")
    # One address written out, one from a variable; the job file itself is where the first one may stand.
    ws.environment["PING"] = listener.section["ping_url"]
    ws.job(notify={**listener.section, "ping_url": "${PING}"}, metrics={"textfile": "figures.prom"})
    shown = ""
    for reply in (refusal(402, message=f"hyacinth {KEY}"), refusal(500, message="hyacinth"), None):
        endpoint.reply = lambda asked, reply=reply: reply or usual(asked)  # type: ignore[misc]
        ran = ws.pipeline("run", "job.yaml", "--log-file", "run.log", "-v", "--set", "retry.max_elapsed_seconds=0.2")
        shown += ran.out + ran.err
    assert listener.pings == ["start", "fail", "start", "fail", "start", ""]
    assert len(listener.hooks) == 3
    for _, body in listener.told:
        assert "hyacinth" not in body and KEY not in body and "answer to" not in body
    assert SECRET not in shown
    (ws.path / "job.yaml").unlink()
    for name, content in ws.files().items():
        assert SECRET.encode() not in content, name
        assert KEY.encode() not in content, name


def test_metrics_go_on_from_run_to_run(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job(metrics={"textfile": "figures.prom"})
    before = time.time()
    ws.run()
    first = metrics(ws)
    assert before <= first["last_success_timestamp_seconds"] <= first["last_run_timestamp_seconds"] <= time.time()
    assert first["last_run_duration_seconds"] > 0
    counts = {
        "last_run_exit_code": 0,
        "rows succeeded": 2,
        "rows failed": 0,
        "rows pending": 0,
        "requests_total": 2,
        "tokens_total prompt": 20,
        "tokens_total completion": 40,
        "cost_usd": 2 * float(COST),
        "possibly_billed_usd": 0,
    }
    assert {name: first[name] for name in counts} == pytest.approx(counts)

    endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "bad" else usual(asked)
    ws.questions("a", "b", "c", "bad")
    ws.run(code=3)
    second = metrics(ws)
    assert second["last_success_timestamp_seconds"] == first["last_success_timestamp_seconds"]
    counts |= {
        "last_run_exit_code": 3,
        "rows succeeded": 3,
        "rows failed": 1,
        "requests_total": 4,
        "tokens_total prompt": 30,
        "tokens_total completion": 60,
        "cost_usd": 3 * float(COST),
    }
    assert {name: second[name] for name in counts} == pytest.approx(counts)
    assert [name for name in ws.files() if "figures" in name] == ["figures.prom"]

    (ws.path / "figures.prom").write_text("no such file {")
    ws.run(code=2)
    assert (ws.path / "figures.prom").read_text() == "no such file {"


def test_metrics_count_cached_and_reasoning_tokens_from_run_to_run(ws: Workspace, endpoint: Endpoint) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 15}}
    endpoint.reply = lambda asked: answer("yes", usage={**USUAL_USAGE, **details})
    ws.job(metrics={"textfile": "figures.prom"})
    for rows, cached, reasoning in ((2, 16, 30), (3, 24, 45)):
        ws.questions(*"abc"[:rows])
        ws.run()
        found = metrics(ws)
        assert (found["cached_tokens_total"], found["reasoning_tokens_total"]) == (cached, reasoning)
        assert (found["tokens_total prompt"], found["tokens_total completion"]) == (10 * rows, 20 * rows)


def test_metrics_that_cannot_be_written_fail_no_run(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job(metrics={"textfile": "figures.prom"})
    endpoint.gate.clear()
    with ws.running("--log-file", "run.log") as process:
        endpoint.wait_for(1)
        (ws.path / "figures.prom").mkdir()
        endpoint.gate.set()
        result = ended(process)
    assert (result.code, result.err) == (0, "")
    assert "WARNING metrics.textfile: Is a directory" in (ws.path / "run.log").read_text()


def test_a_place_where_metrics_cannot_be_written_is_known_before_anything_is_sent(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a")
    (ws.path / "taken.prom").mkdir()
    (ws.path / "file").touch()
    for textfile in ("taken.prom", "file/figures.prom"):
        ws.job(metrics={"textfile": textfile})
        refused = ws.pipeline("run", "job.yaml")
        assert (refused.code, len(refused.lines)) == (2, 1)
        assert "metrics.textfile" in refused.err and "job.yaml:" in refused.err
    assert not endpoint.asked


def test_metrics_without_their_extra_are_a_mistake_at_their_key(
    ws: Workspace, endpoint: Endpoint, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.questions("a")
    ws.job(metrics={"textfile": "figures.prom"})
    monkeypatch.setattr(inspection, "find_spec", lambda name: None)
    with pytest.raises(InvalidJob) as refused:
        run_here().execute()
    (mistake,) = refused.value.mistakes
    assert mistake.key == "metrics.textfile" and mistake.line and "llm-batch-pipeline[metrics]" in str(mistake)
    assert not endpoint.asked


def test_a_run_that_costs_more_than_its_estimate_says_so_once(
    ws: Workspace, endpoint: Endpoint, listener: Listener
) -> None:
    dear = {"prompt_tokens": 1_000_000, "completion_tokens": 20, "total_tokens": 1_000_020}
    endpoint.reply = lambda asked: answer("yes", usage=dear, wait=0.8)
    ws.questions("a", "b", "c")
    ws.job(limits={"concurrency": 1}, notify=listener.section)
    result = ws.pipeline("run", "job.yaml", "--verbose")
    assert result.code == 0, result.err
    assert result.err.count("of its estimate at most") == 1
    told, final = listener.hooks
    assert (told["status"], told["exceeded"]["measure"]) == ("running", "cost_usd")
    assert float(told["exceeded"]["now"]) > float(told["exceeded"]["estimate"]["high"])
    assert final["exit_code"] == 0
    assert "exceeded" not in final
