"""Buying by a provider's batches: every line once, at half the price, whatever dies when."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.simulator import Settings, Simulator, read_ledger, wire
from pipeline.simulator.apis import APIS
from pipeline.simulator.batches import Batches
from pipeline.simulator.chat_request import Refusal
from tests.functional.conftest import Endpoint, Workspace, ended, wait_until

MODEL = "meta/llama-4-scout-17b-16e-instruct"
OTHER_MODEL = "meta/llama-3.1-8b-instruct"


class Provider:
    """A workspace whose job buys by batches of a simulator, and the ledger of that."""

    def __init__(self, ws: Workspace, **settings: Any) -> None:
        self.ws = ws
        self.ledger = ws.path / "ledger.jsonl"
        self.simulator = Simulator(Settings(ledger=str(self.ledger), **settings))
        self.url = self.simulator.start() + "/v1"

    def job(self, batch: dict[str, Any] | None = None, **sections: Any) -> None:
        endpoint = {"kind": "openai", "url": self.url, "model": MODEL}
        made = {"poll_seconds": 0.05, **(batch or {})}
        self.ws.job(endpoint={**endpoint, "batch": made}, **sections)

    @property
    def prompts(self) -> Counter[str]:
        return Counter(one.asked["prompt"] for one in read_ledger(self.ledger))

    @property
    def cost(self) -> Decimal:
        answered = [one.answered for one in read_ledger(self.ledger) if one.answered is not None]
        return sum((Decimal(one["cost_usd"]) for one in answered), Decimal(0))

    def files(self) -> list[list[str]]:
        """The lines of each batch."""
        import requests

        found = requests.get(f"{self.url}/batches", timeout=5).json()["data"]
        inputs = [f"{self.url}/files/{batch['input_file_id']}/content" for batch in found]
        return [requests.get(one, timeout=5).text.splitlines() for one in inputs]

    @property
    def batches(self) -> int:
        import requests

        return len(requests.get(f"{self.url}/batches", timeout=5).json()["data"])


@pytest.fixture
def provider(ws: Workspace) -> Any:
    found: list[Provider] = []

    def make(rows: int = 10, **settings: Any) -> Provider:
        ws.questions(*(f"question {n}" for n in range(rows)))
        found.append(Provider(ws, **settings))
        return found[-1]

    yield make
    for one in found:
        one.simulator.stop()


Make = Callable[..., Provider]


def left_out(ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch, *, is_over: bool) -> Provider:
    """Leave ten rows in a batch, which is over at the next look at it, or a second after its creation."""
    bought = provider(batch_seconds=0.0 if is_over else 1.0)
    bought.job()
    with held(monkeypatch):
        ws.run("--no-wait", code=7)
    return bought


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Meanwhile no batch of the simulator comes to an end."""
    with monkeypatch.context() as patched:
        patched.setattr(Batches, "_looked_at", lambda self, batch: batch)
        yield


def test_rows_are_bought_by_batches_at_half_the_price(ws: Workspace, provider: Make) -> None:
    bought = provider()
    bought.job({"requests": 4})
    summary = ws.run()
    assert (summary["succeeded"], summary["requests"], summary["pending"]) == (10, 10, 0)
    assert [row["question"] for row in ws.rows()] == [f"question {n}" for n in range(10)]
    assert set(bought.prompts.values()) == {1}
    assert bought.batches == 3
    assert Decimal(summary["job_cost_usd"]) == bought.cost > 0
    assert sum(row["cost_usd"] for row in ws.rows()) == bought.cost
    assert summary["possibly_billed_usd"] == "0"
    ws.job(endpoint={"kind": "openai", "url": bought.url, "model": MODEL}, name="full", output={"path": "full.parquet"})
    full = ws.run()
    assert Decimal(full["cost_usd"]) == 2 * Decimal(summary["cost_usd"])
    single = ws.command("estimate", "--set", "name=new")["cost_usd"]["high"]
    bought.job(name="another")
    assert Decimal(ws.command("estimate")["cost_usd"]["high"]) == Decimal(single) / 2
    assert [row["response"] for row in ws.rows("full.parquet")] == [row["response"] for row in ws.rows()]


def test_without_waiting_a_run_ends_with_7_until_the_batch_has_ended(ws: Workspace, provider: Make) -> None:
    bought = provider(batch_seconds=1.5)
    bought.job()
    first = ws.run("--no-wait", code=7)
    assert (first["pending"], first["succeeded"], first["error"]["kind"]) == (10, 0, "batch_waiting")
    assert Decimal(first["possibly_billed_usd"]) > 0
    assert ws.run("--no-wait", code=7)["pending"] == 10
    status = ws.command("status")
    assert (status["pending"], status["possibly_billed_usd"]) == (10, first["possibly_billed_usd"])
    summary = ws.run()
    assert (summary["succeeded"], summary["possibly_billed_usd"], bought.batches) == (10, "0", 1)
    assert Decimal(summary["job_cost_usd"]) == bought.cost
    assert ws.run("--no-wait")["requests"] == 0


@pytest.mark.parametrize("fault", ["lines_lost", "lines_failed", "expired"])
def test_lines_that_are_missing_failed_or_expired_are_asked_again(ws: Workspace, provider: Make, fault: str) -> None:
    bought = provider(batch_faults=(fault,))
    bought.job()
    summary = ws.run()
    assert summary["succeeded"] == 10
    assert summary["requests"] > 10
    assert bought.batches == 2
    assert set(bought.prompts.values()) == {1}
    assert Decimal(summary["job_cost_usd"]) == bought.cost
    assert {row["attempts"] for row in ws.rows()} == {1, 2}


def test_a_line_that_never_comes_fails_after_its_attempts(ws: Workspace, provider: Make) -> None:
    bought = provider(rows=3, batch_faults=("lines_lost",) * 2)
    bought.job(retry={"max_attempts": 2})
    summary = ws.run(code=3)
    assert (summary["failed"], summary["succeeded"]) == (1, 2)
    assert ws.rows()[0]["error_kind"] == "server_error"


def test_a_batch_that_is_failed_whole_leaves_its_rows_pending(ws: Workspace, provider: Make) -> None:
    bought = provider(batch_faults=("failed",))
    bought.job()
    summary = ws.run(code=5)
    assert (summary["error"]["kind"], summary["pending"], summary["possibly_billed_usd"]) == ("batch_failed", 10, "0")
    assert "the simulator failed this batch" in summary["error"]["message"]
    summary = ws.run()
    assert (summary["succeeded"], summary["requests"]) == (10, 10)
    assert {row["attempts"] for row in ws.rows()} == {1}


@pytest.mark.parametrize("fault", ["create_never", "create_late"])
def test_a_creation_without_an_answer_creates_no_second_batch(ws: Workspace, provider: Make, fault: str) -> None:
    bought = provider(batch_faults=(fault,))
    bought.job(limits={"timeout_seconds": 1})
    assert ws.run()["succeeded"] == 10
    assert bought.batches == 1
    assert set(bought.prompts.values()) == {1}


def test_a_download_that_is_cut_is_made_again(ws: Workspace, provider: Make) -> None:
    bought = provider(batch_faults=("cut_file",))
    bought.job()
    summary = ws.run()
    assert (summary["succeeded"], summary["requests"], bought.batches) == (10, 10, 1)


def test_the_worst_of_a_whole_batch_is_held_under_the_caps(ws: Workspace, provider: Make) -> None:
    bought = provider()
    bought.job(limits={"max_cost_usd": 0.00006}, parameters={"max_tokens": 100})
    summary = ws.run(code=4)
    assert summary["error"]["kind"] == "cost_cap"
    assert 0 < summary["succeeded"] < 10
    assert bought.cost <= Decimal("0.00006")
    bought.job(limits={"max_cost_usd": 1}, parameters={"max_tokens": 100})
    assert ws.run()["succeeded"] == 10
    assert set(bought.prompts.values()) == {1}


def test_a_limit_is_of_lines(ws: Workspace, provider: Make) -> None:
    bought = provider()
    bought.job()
    summary = ws.run("--limit", "4")
    assert (summary["succeeded"], summary["pending"], len(bought.prompts)) == (4, 6, 4)


def test_a_job_whose_lines_are_all_refused_stays_pending(ws: Workspace, provider: Make) -> None:
    bought = provider(30)
    price = {"input_usd_per_million": 1, "output_usd_per_million": 1}
    endpoint = {"kind": "openai", "url": bought.url, "model": "no/such-model", "batch": {"poll_seconds": 0.05}}
    ws.job(endpoint=endpoint, pricing=price)
    summary = ws.run(code=5)
    assert summary["error"]["kind"] == "all_refused"
    assert (summary["failed"], summary["pending"], summary["requests"]) == (0, 30, 30)
    assert ws.run("--limit", "5", code=3)["failures"] == {"model_not_found": 5}  # too few to tell
    models = [MODEL, "no/such-model"]
    output = {"path": "swept.parquet"}
    ws.job(endpoint=endpoint, name="swept", sweep={"endpoint.model": models}, output=output)
    summary = ws.run(code=3)  # another model was answered
    assert (summary["succeeded"], summary["failed"], summary["pending"]) == (30, 30, 0)


def test_each_batch_asks_one_model(ws: Workspace, provider: Make) -> None:
    bought = provider(5)
    bought.job({"requests": 4}, sweep={"endpoint.model": [MODEL, OTHER_MODEL]}, output={"path": "out.parquet"})
    assert ws.run("--limit", "3")["succeeded"] == 3
    first = [(row["question"], row["model"]) for row in ws.rows("out.partial.parquet")]
    assert first == [("question 0", MODEL), ("question 0", OTHER_MODEL), ("question 1", MODEL)]
    summary = ws.run()
    assert (summary["succeeded"], summary["requests"]) == (10, 7)
    files = bought.files()
    models = [{json.loads(line)["body"]["model"] for line in lines} for lines in files]
    assert all(len(one) == 1 for one in models)
    assert sorted(map(len, files)) == [1, 2, 3, 4]


def test_rows_in_a_batch_are_not_sent_one_by_one_and_are_collected(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = provider()
    bought.job()
    with held(monkeypatch):
        ws.run("--limit", "4", "--no-wait", code=7)
        ws.job(endpoint={"kind": "openai", "url": bought.url, "model": MODEL})
        assert ws.run("--no-wait", code=7)["succeeded"] == 6
    assert ws.run("--no-wait")["succeeded"] == 10
    assert set(bought.prompts.values()) == {1}
    assert len(ws.rows()) == 10


@pytest.mark.parametrize("moment", range(6))
def test_a_killed_run_creates_nothing_twice_and_loses_nothing(ws: Workspace, provider: Make, moment: int) -> None:
    bought = provider(rows=30, batch_seconds=0.6)
    bought.job({"requests": 10})
    with ws.running() as run:
        wait_until(lambda: any((ws.path / ".checkpoints").glob("job/journal*")))
        time.sleep(0.15 * moment)
        run.kill()
    summary = ws.run()
    assert (summary["succeeded"], summary["pending"]) == (30, 0)
    assert set(bought.prompts.values()) == {1}
    assert bought.batches == 3
    assert Decimal(summary["job_cost_usd"]) == bought.cost


def test_a_signal_ends_the_waiting_at_once_and_leaves_the_batch_out(ws: Workspace, provider: Make) -> None:
    bought = provider(batch_seconds=3.0)
    bought.job({"poll_seconds": 30})
    with ws.running() as run:
        wait_until(lambda: bought.batches == 1)
        run.send_signal(signal.SIGTERM)
        assert run.wait(5) == 143
    bought.job()
    summary = ws.run()
    assert (summary["succeeded"], bought.batches) == (10, 1)


@pytest.mark.parametrize("is_over", [False, True])
def test_an_input_that_grew_while_its_rows_were_out_is_planned_anew_and_nothing_is_bought_twice(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch, is_over: bool
) -> None:
    bought = left_out(ws, provider, monkeypatch, is_over=is_over)
    ws.questions("another", *(f"question {n}" for n in range(10)))
    assert ws.run()["succeeded"] == 11
    assert set(bought.prompts.values()) == {1}
    assert ws.rows()[0]["question"] == "another"


def test_a_server_without_batches_is_told_before_anything_is_created(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    url = ws.url.replace("/api/v1", "/v1")
    ws.job(endpoint={"kind": "openai", "url": url, "model": "m", "batch": {}}, retry={"max_elapsed_seconds": 1})
    summary = ws.run(code=5)
    assert summary["pending"] == 1
    assert summary["requests"] == 0


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_that_does_not_know_a_call_for_batches_is_not_asked_again(ws: Workspace, status: int) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        ws.questions("a")
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        ws.job(endpoint={"kind": "openai", "url": url, "model": "m", "batch": {}})
        summary = ws.run(code=5)
        server.shutdown()
    assert summary["error"]["kind"] == "no_batches"
    assert (summary["pending"], len(asked)) == (1, 1)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"batch": {}}, "no Batches API"),
        ({"kind": "openai", "url": ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"], "batch": {}}, "one server"),
        ({"kind": "openai", "batch": {"requests": 50001}}, "50,000"),
        ({"kind": "openai", "batch": {"price_factor": 1.5}}, "price_factor"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(ws: Workspace, section: dict[str, Any], words: str) -> None:
    ws.questions("a")
    ws.job(endpoint=section)
    refused = ws.pipeline("validate", "job.yaml")
    assert (refused.code, words in refused.err) == (2, True), refused.err


def test_not_waiting_is_for_batches_alone(ws: Workspace) -> None:
    ws.questions("a")
    ws.job()
    refused = ws.pipeline("run", "job.yaml", "--no-wait")
    assert (refused.code, "--no-wait" in refused.err) == (2, True)


def test_a_status_shows_what_is_out(ws: Workspace, provider: Make) -> None:
    bought = provider(batch_seconds=30)
    bought.job()
    ws.run("--no-wait", code=7)
    (batch,) = ws.command("status")["batches"]
    assert (batch["requests"], batch["completed"], batch["status"]) == (10, 0, "in_progress")
    assert batch["age_seconds"] >= 0
    assert Decimal(batch["worst_usd"]) == Decimal(ws.command("status")["possibly_billed_usd"])
    shown = ws.pipeline("status", "job.yaml").out
    assert f"{batch['batch_id']}: in progress" in shown
    assert "0 of 10 lines" in shown


def test_what_was_canceled_is_taken_back_and_bought_later(ws: Workspace, provider: Make) -> None:
    bought = provider(batch_seconds=30)
    bought.job()
    assert ws.command("cancel")["cancelled"] == 0
    ws.run("--no-wait", code=7)
    cancelled = ws.command("cancel")
    assert (cancelled["cancelled"], cancelled["pending"], cancelled["possibly_billed_usd"]) == (1, 10, "0")
    assert ws.command("cancel")["cancelled"] == 0
    ws.job(endpoint={"kind": "openai", "url": bought.url, "model": MODEL})
    assert ws.run()["succeeded"] == 10
    assert set(bought.prompts.values()) == {1}


def test_the_batches_of_the_embedded_endpoint_end_with_its_run_and_their_rows_are_bought_by_the_next(
    ws: Workspace,
) -> None:
    ws.questions("a", "b")
    endpoint = {"kind": "openai", "url": "simulator", "model": MODEL, "batch": {"poll_seconds": 0.05}}
    ws.job(endpoint=endpoint, simulator={"batch_seconds": 30})
    ws.run("--no-wait", code=7)
    ws.job(endpoint=endpoint)
    summary = ws.run()
    assert (summary["succeeded"], summary["possibly_billed_usd"]) == (2, "0")


def test_a_batch_that_the_provider_no_longer_has_is_given_up_by_cancel_and_counts_as_possibly_billed(
    ws: Workspace, provider: Make
) -> None:
    bought = provider(batch_seconds=30)
    bought.job()
    ws.run("--no-wait", code=7)
    empty = provider()
    empty.job()
    stopped = ws.run(code=5)
    assert (stopped["error"]["kind"], stopped["pending"]) == ("batch_failed", 10)
    assert "`pipeline cancel` gives it up" in stopped["error"]["message"]
    given_up = ws.command("cancel")
    assert (given_up["cancelled"], given_up["pending"]) == (1, 10)
    assert Decimal(given_up["possibly_billed_usd"]) > 0
    assert ws.run()["succeeded"] == 10


def test_a_server_that_cannot_cancel_keeps_its_batch(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = provider()
    bought.job()
    monkeypatch.setattr(Batches, "_cancel", lambda self, batch: wire.json_reply(404, {"error": {"message": "no"}}))
    with held(monkeypatch):
        ws.run("--no-wait", code=7)
        ws.command("cancel", code=5)
    assert ws.run()["succeeded"] == 10
    assert set(bought.prompts.values()) == {1}


@pytest.mark.parametrize("is_over", [False, True])
def test_a_batch_that_a_damaged_checkpoint_lost_sight_of_is_kept_by_the_recovery(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch, is_over: bool
) -> None:
    bought = left_out(ws, provider, monkeypatch, is_over=is_over)
    path = ws.path / ".checkpoints/job/journal.sqlite"
    content = bytearray(path.read_bytes())
    content[24:28] = b"\0\0\0\0"
    content[100:108] = b"damaged!"
    path.write_bytes(content)
    assert ws.pipeline("run", "job.yaml").code == 6
    assert ws.pipeline("recover", "job.yaml").code == 0
    assert ws.run()["succeeded"] == 10
    assert set(bought.prompts.values()) == {1}
    assert bought.batches == 1


def test_answers_of_batches_go_into_a_cache_and_come_from_it(ws: Workspace, provider: Make) -> None:
    bought = provider()
    bought.job(cache={"path": "answers.cache"})
    assert ws.run()["succeeded"] == 10
    bought.job(cache={"path": "answers.cache"}, name="again", output={"path": "again.parquet"})
    again = ws.run()
    assert (again["succeeded"], again["requests"], again["job_cost_usd"]) == (10, 0, "0")
    assert set(bought.prompts.values()) == {1}
    assert [row["response"] for row in ws.rows("again.parquet")] == [row["response"] for row in ws.rows()]


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_an_invalid_answer_is_asked_for_again_in_a_further_batch(ws: Workspace, provider: Make) -> None:
    bought = provider(40, broken_json_rate=0.3)
    bought.job(expect={"json_schema": SCHEMA, "attempts": 6}, output={"raw_reply": True})
    summary = ws.run()
    assert (summary["succeeded"], summary["pending"]) == (40, 0)
    assert Decimal(summary["job_cost_usd"]) == bought.cost > 0
    rows = ws.rows()
    assert all(isinstance(row["parsed"]["n"], int) for row in rows)
    assert max(row["answer_attempts"] for row in rows) > 1
    assert sum(row["answer_attempts"] for row in rows) == summary["requests"] == sum(bought.prompts.values())
    assert sum(row["cost_usd"] for row in rows) == bought.cost
    assert all(row["response"] in json.loads(row["raw_reply"])["choices"][0]["message"]["content"] for row in rows)


def test_a_row_none_of_whose_lines_is_valid_fails(ws: Workspace, provider: Make) -> None:
    bought = provider(3, broken_json_rate=1)
    bought.job(expect={"json_schema": SCHEMA, "attempts": 2})
    assert ws.run(code=3)["failures"] == {"invalid_answer": 3}
    assert [row["answer_attempts"] for row in ws.rows()] == [2, 2, 2]
    assert Decimal(ws.command("status")["job_cost_usd"]) == bought.cost


def test_a_form_that_the_lines_are_refused_for_is_left_for_the_prompt(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/v1/chat/completions"
    api = APIS[path]

    def read(body: dict[str, Any]) -> Any:
        if "response_format" in body:
            raise Refusal(400, 5006, "response_format is not supported")
        return api.read(body)

    monkeypatch.setitem(APIS, path, replace(api, read=read))
    bought = provider(6)
    bought.job(expect={"json_schema": SCHEMA})
    assert ws.run()["succeeded"] == 6
    assert [(row["attempts"], row["answer_attempts"]) for row in ws.rows()] == [(2, 1)] * 6


def test_images_go_into_the_lines_of_a_batch(ws: Workspace, provider: Make) -> None:
    bought = provider(1)
    photo = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\nphoto").decode()
    ws.given([["what is it?", photo]], ["question", "photo"])
    bought.job(prompt={"user": "{{ question }}", "images": ["photo"]})
    assert ws.run()["succeeded"] == 1
    assert ws.rows()[0]["prompt_tokens"] > 1000


def test_a_run_that_waits_for_batches_pauses_goes_on_and_takes_other_caps(ws: Workspace, provider: Make) -> None:
    bought = provider(20, batch_seconds=0.5)
    bought.job({"requests": 5, "poll_seconds": 0.1}, limits={"max_cost_usd": 0.00004}, parameters={"max_tokens": 100})
    with ws.running() as run:
        wait_until(lambda: bought.batches >= 1)
        assert ws.command("control", "pause")["said"] == "paused: nothing new is sent"
        wait_until(lambda: ws.command("status")["paused"] and ws.command("status")["in_flight"] == 0)
        batches = bought.batches
        ws.command("control", "set", "limits.max_cost_usd=1")
        time.sleep(0.4)
        assert (bought.batches, run.poll()) == (batches, None)
        refused = ws.pipeline("control", "job.yaml", "set", "limits.concurrency=3")
        assert (refused.code, "sent one by one" in refused.err) == (2, True)
        ws.command("control", "resume")
        assert ended(run).data["succeeded"] == 20
    assert set(bought.prompts.values()) == {1}


def test_a_deadline_that_is_set_ends_the_wait_for_a_batch(ws: Workspace, provider: Make) -> None:
    bought = provider(batch_seconds=30)
    bought.job({"poll_seconds": 30})
    with ws.running() as run:
        wait_until(lambda: bought.batches == 1)
        ws.command("control", "set", "limits.deadline_seconds=1")
        result = ended(run, 5)
    assert (result.code, result.data["error"]["kind"]) == (4, "deadline")


@pytest.mark.parametrize("call", ["POST /v1/files", "POST /v1/batches", "GET /v1/batches"])
def test_a_pause_that_a_batch_call_is_asked_for_holds_for_later_runs(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    calls: list[str] = []
    reply = Batches.reply

    def replied(batches: Batches, request: wire.HttpRequest) -> wire.Reply | None:
        calls.append(f"{request.method} {request.path}")
        if calls[-1] == call:
            return wire.Reply(429, {"Retry-After": "1000"}, b'{"error": {"message": "too many batches"}}')
        return reply(batches, request)

    monkeypatch.setattr(Batches, "reply", replied)
    bought = provider()
    bought.job()
    summary = ws.run(code=5)
    assert (summary["error"]["kind"], summary["pending"]) == ("retry_after", 10)
    assert "pause of 1000 s" in summary["error"]["message"]
    assert "too many batches" in summary["error"]["message"]
    asked = len(calls)
    assert ws.run(code=5)["error"]["kind"] == "retry_after"
    patient = ("--set", "retry.max_elapsed_seconds=2000", "--set", "limits.deadline_seconds=0.3")
    assert ws.run(*patient, code=4)["requests"] == 0
    assert calls[asked:] == []


def test_a_pause_within_a_run_is_waited_out(ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []
    reply = Batches.reply

    def replied(batches: Batches, request: wire.HttpRequest) -> wire.Reply | None:
        calls.append(time.monotonic())
        if len(calls) == 1:
            return wire.Reply(429, {"Retry-After": "0.3"}, b'{"error": {"message": "too many batches"}}')
        return reply(batches, request)

    monkeypatch.setattr(Batches, "reply", replied)
    bought = provider()
    bought.job()
    assert ws.run()["succeeded"] == 10
    assert calls[1] - calls[0] >= 0.3


def test_what_waits_in_a_batch_is_not_asked_again_because_the_settings_changed(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = left_out(ws, provider, monkeypatch, is_over=True)
    bought.job(parameters={"max_tokens": 50})
    for flags in ((), ("--no-wait",), ("--on-change", "keep")):
        message = ws.run(*flags, code=2)["error"]["message"]
        assert "10 rows that wait in a batch would be asked again" in message
        assert "pipeline cancel job.yaml" in message and "--on-change rerun" in message
    assert bought.batches == 1
    assert ws.command("cancel")["requests"] == 10
    assert "10 finished rows would be sent again" in ws.run(code=2)["error"]["message"]
    assert ws.run("--on-change", "keep")["succeeded"] == 10
    assert set(bought.prompts.values()) == {1}


def test_what_waits_in_a_batch_is_asked_again_once_the_user_says_so(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = left_out(ws, provider, monkeypatch, is_over=True)
    bought.job(parameters={"max_tokens": 50})
    with held(monkeypatch):
        ws.run("--on-change", "rerun", "--no-wait", code=7)
        ws.questions(*(f"question {n}" for n in range(11)))
        ws.run("--no-wait", code=7)
    assert ws.run()["succeeded"] == 11
    assert sum(bought.prompts.values()) == 21
    assert Decimal(ws.command("status")["job_cost_usd"]) == bought.cost


def test_a_cancel_is_no_matter_of_changed_settings(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = provider(2)
    bought.job()
    ws.run()
    ws.questions(*(f"question {n}" for n in range(3)))
    with held(monkeypatch):
        assert ws.run("--no-wait", code=7)["error"]["message"] == "1 row is waiting in a batch"
    bought.job(parameters={"max_tokens": 50})
    found = ws.command("cancel")
    assert (found["succeeded"], found["pending"], found["requests"]) == (2, 1, 1)
    assert "3 finished rows would be sent again" in ws.run(code=2)["error"]["message"], "it is for the user to say"
    bought.job()
    assert (ws.run()["requests"], len(ws.rows())) == (0, 3)
    assert set(bought.prompts.values()) == {1}


@pytest.mark.parametrize("fault", ["lines_lost", "lines_failed", "expired"])
def test_what_a_batch_leaves_unanswered_is_sent_one_by_one_where_the_job_buys_so_now(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    bought = provider(batch_faults=(fault,))
    bought.job()
    with held(monkeypatch):
        ws.run("--no-wait", code=7)
    ws.questions(*(f"question {n}" for n in range(12)))
    summary = ws.run("--set", "endpoint.batch=null", "--set", "limits.max_run_cost_usd=1")
    assert (summary["succeeded"], summary["pending"], summary["status"]) == (12, 0, "succeeded")
    assert (len(bought.prompts), bought.batches) == (12, 1)
    assert summary["requests"] == sum(row["attempts"] for row in ws.rows()) > 12
    assert Decimal(summary["job_cost_usd"]) == Decimal(summary["cost_usd"]) == bought.cost
    assert sum(row["cost_usd"] for row in ws.rows()) == bought.cost
    assert ws.run("--set", "endpoint.batch=null")["requests"] == 0


def test_one_cap_holds_for_all_that_a_run_sends(ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    bought = provider(batch_faults=("lines_lost",))
    bought.job()
    with held(monkeypatch):
        ws.run("--no-wait", code=7)
    stopped = ws.run("--set", "endpoint.batch=null", "--set", "limits.max_run_cost_usd=0.00012", code=4)
    assert (stopped["error"]["kind"], stopped["pending"]) == ("cost_cap", 4)
    assert "by this run" in stopped["error"]["message"]


def test_a_row_waits_for_the_row_of_the_same_request_that_is_in_a_batch(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = provider()
    ws.given([["b", "same"], ["c", "same"], ["d", "other"]], ["id", "question"])
    bought.job(input={"id": "id"})
    with held(monkeypatch):
        ws.run("--no-wait", code=7)
        ws.given([["a", "same"], ["b", "same"], ["c", "same"], ["d", "other"], ["e", "other"]], ["id", "question"])
        bought.job(input={"id": "id"}, deduplicate=True)
        assert ws.command("estimate")["requests"] == 0
        assert ws.run("--no-wait", code=7)["pending"] == 5
    summary = ws.run()
    assert (summary["succeeded"], summary["requests"], bought.batches) == (5, 3, 1)
    assert sorted(bought.prompts.values()) == [1, 2], "two of them were bought before they could share"
    assert [row["shared_from"] for row in ws.rows()] == ["b", None, None, None, "d"]
    assert Decimal(summary["job_cost_usd"]) == sum(row["cost_usd"] for row in ws.rows()) == bought.cost
    assert ws.command("estimate")["rows"]["done"] == 5
    assert ws.run()["requests"] == 0


@pytest.mark.parametrize("attempts", [1, 2])
def test_an_answer_out_of_a_batch_is_judged_by_what_is_expected_now(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    bought = provider(4)
    before, now = ({"regex": words, "send": "none", "attempts": attempts} for words in (".", "^never this$"))
    bought.job(expect=before, parameters={"max_tokens": 2000})
    with held(monkeypatch):
        ws.run("--no-wait", code=7)
    bought.job(expect=now, parameters={"max_tokens": 2000})
    summary = ws.run(code=3)
    assert (summary["failures"], summary["requests"]) == ({"invalid_answer": 4}, 4 * attempts)
    assert [row["answer_attempts"] for row in ws.rows()] == [attempts] * 4
    for rows in (4, 5):
        ws.questions(*(f"question {n}" for n in range(rows)))
        estimate = ws.command("estimate")
        assert (estimate["requests"], estimate["rows"]["changed"]) == (rows - 4, 0)
        assert ws.command("status")["failed"] == 4
    assert ws.run(code=3)["requests"] == attempts
    bought.job(expect=before, parameters={"max_tokens": 2000})
    assert ws.run()["requests"] == 0


@pytest.mark.parametrize("is_priced", [True, False])
def test_lines_of_a_model_that_has_left_the_sweep_are_billed(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch, is_priced: bool
) -> None:
    bought = provider(3)
    prices = {
        MODEL: {"input_usd_per_million": 1, "output_usd_per_million": 2},
        OTHER_MODEL: {"input_usd_per_million": 3, "output_usd_per_million": 4},
    }
    bought.job(sweep={"endpoint.model": [MODEL, OTHER_MODEL]}, pricing={"by_model": prices})
    with held(monkeypatch):
        ws.run("--no-wait", code=7)
    whole = ws.path / "whole"
    shutil.copytree(ws.path / ".checkpoints", whole)
    assert ws.run()["succeeded"] == 6
    cost = ws.command("status")["job_cost_usd"]
    shutil.rmtree(ws.path / ".checkpoints")
    whole.rename(ws.path / ".checkpoints")
    (ws.path / "out.parquet").unlink()
    left = prices if is_priced else {MODEL: prices[MODEL]}
    bought.job(sweep={"endpoint.model": [MODEL]}, pricing={"by_model": left})
    summary = ws.run()
    assert (summary["succeeded"], summary["job_cost_usd"]) == (3, cost)


def test_rows_that_wait_in_a_batch_are_no_requests_to_send(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = provider(4)
    bought.job()
    with held(monkeypatch):
        ws.run("--no-wait", code=7)
        ws.questions(*(f"question {n}" for n in range(6)))
        for flags in ((), ("--set", "endpoint.batch=null")):
            found = ws.command("estimate", *flags)
            assert (found["requests"], found["rows"]["new"]) == (2, 6)
            assert Decimal(found["possibly_billed_usd"]) > 0


def test_a_chain_is_planned_with_the_answers_that_are_still_in_a_batch(
    ws: Workspace, provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = provider(10)
    bought.job()
    prompt = {"user": "judge {{ response }}"}
    second = {"name": "second", "prompt": prompt, "output": {"path": "second.parquet", "prefix": "second_"}}
    ws.job("second.yaml", **second, input={"path": {"job": "job.yaml"}})
    before = ws.pipeline("plan", "second.yaml", "--json").data["stages"]
    with held(monkeypatch):
        ws.run("--no-wait", code=7)
        found = ws.pipeline("plan", "second.yaml", "--json").data["stages"]
    assert found[0]["requests"]["high"] == 0
    assert found[1]["requests"] == before[1]["requests"]
    assert found[1]["prompt_tokens"] == before[1]["prompt_tokens"]
