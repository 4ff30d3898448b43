"""`telemetry`: spans of runs and rows for a collector, without their words, and without a wait for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.app.jobs import inspection
from pipeline.app.observe import span_delivery
from pipeline.app.running.run import Run
from pipeline.errors import InvalidJob
from pipeline.simulator import Settings, Simulator
from tests.functional.conftest import COST, KEY, MODEL, USUAL_USAGE, Endpoint, Workspace, answer, refusal, usual
from tests.support.receiver import Receiver

SECRET = "6f1c2a7e"
"""Part of the address."""


class Collector(Receiver):
    """A collector of spans."""

    @property
    def url(self) -> str:
        """Where the job sends its spans."""
        return f"{self.address}/{SECRET}?token={SECRET}"

    @property
    def spans(self) -> list[Any]:
        """Every span that arrived, in order of arrival."""
        requests = [ExportTraceServiceRequest.FromString(body) for _, _, body in self.posts]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    served = Collector()
    yield served
    served.close()


def attributes(span: Any) -> dict[str, Any]:
    found = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [inner.string_value for inner in value.values] if kind == "array_value" else value
    return found


def test_a_run_and_its_rows_are_spans_by_the_conventions(
    ws: Workspace, endpoint: Endpoint, collector: Collector
) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 15}}
    good = answer("yes", usage={**USUAL_USAGE, **details}, wait=0.05)
    endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "bad" else good
    ws.questions("good", "bad")
    ws.job(telemetry={"otlp": collector.url, "sample_rate": 1})
    ws.environment["OTEL_EXPORTER_OTLP_HEADERS"] = "x-token=1"
    began = time.time()
    summary = ws.run(code=3)
    spans = {span.name: [one for one in collector.spans if one.name == span.name] for span in collector.spans}
    assert sorted(map(len, spans.values())) == [1, 2] and set(spans) == {"run job", f"chat {MODEL}"}
    (run,) = spans["run job"]
    rows = {attributes(span).get("error.type", ""): span for span in spans[f"chat {MODEL}"]}
    assert {span.trace_id for span in rows.values()} == {run.trace_id}
    assert {span.parent_span_id for span in rows.values()} == {run.span_id} and not run.parent_span_id
    told = attributes(rows[""])
    common = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "dataoorts", "gen_ai.request.model": MODEL}
    assert told == {
        **common,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 8,
        "gen_ai.usage.reasoning.output_tokens": 15,
        "http.response.status_code": 200,
        "llm_batch.attempts": 1,
        "llm_batch.cost_usd": pytest.approx(float(COST)),
    }
    assert rows[""].end_time_unix_nano - rows[""].start_time_unix_nano >= 0.05e9
    assert began <= rows[""].start_time_unix_nano / 1e9 <= time.time()
    (kind,) = set(rows) - {""}
    assert rows[kind].status.code == 2 and rows[kind].status.message == ""
    assert kind in summary["failures"] and attributes(rows[kind])["http.response.status_code"] == 400
    told = attributes(run)
    assert (
        told.items()
        >= {
            **common,
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_read.input_tokens": 8,
            "gen_ai.usage.reasoning.output_tokens": 15,
            "llm_batch.run_id": summary["run_id"],
            "llm_batch.exit_code": 3,
            "llm_batch.rows": 2,
            "llm_batch.succeeded": 1,
            "llm_batch.failed": 1,
        }.items()
    )
    assert "error.type" not in told and run.status.code == 0
    paths = {(path, headers["x-token"]) for path, headers, _ in collector.posts}
    assert paths == {(f"/{SECRET}/v1/traces?token={SECRET}", "1")}


@pytest.mark.parametrize(("rate", "share"), [(0, 0.0), (0.25, 0.25)])
def test_rows_are_sampled(ws: Workspace, collector: Collector, rate: float, share: float) -> None:
    ws.questions(*(f"question {number}" for number in range(400)))
    ws.job(telemetry={"otlp": collector.url, "sample_rate": rate}, limits={"concurrency": 32})
    ws.run()
    spans = collector.spans
    assert [span.name for span in spans if span.name.startswith("run")] == ["run job"]
    assert (len(spans) - 1) / 400 == pytest.approx(share, abs=0.1 if rate else 0)


def test_rows_that_are_bought_by_batches_are_spans_too(ws: Workspace, collector: Collector) -> None:
    simulator = Simulator(Settings(ledger=str(ws.path / "ledger.jsonl")))
    try:
        ws.questions("a", "b", "c")
        endpoint = {"kind": "openai", "url": f"{simulator.start()}/v1", "batch": {"poll_seconds": 0.05}}
        ws.job(endpoint=endpoint, telemetry={"otlp": collector.url, "sample_rate": 1})
        summary = ws.run()
    finally:
        simulator.stop()
    rows = [attributes(span) for span in collector.spans if span.name.startswith("chat")]
    assert len(rows) == 3
    assert sum(row["gen_ai.usage.output_tokens"] for row in rows) == summary["completion_tokens"]


def test_no_words_are_told_and_the_address_stands_nowhere(
    ws: Workspace, endpoint: Endpoint, collector: Collector
) -> None:
    ws.job(telemetry={"otlp": collector.url, "sample_rate": 1})
    shown = ""
    collector.status = 503
    for code, words, reply in (
        (5, ("hyacinth",), refusal(402, message=f"hyacinth {KEY}")),
        (0, ("hyacinth",), None),
        (3, ("hyacinth", "dahlia"), refusal(400, message="dahlia")),
    ):
        ws.questions(*words)
        endpoint.reply = lambda asked, reply=reply: reply or usual(asked)  # type: ignore[misc]
        ran = ws.pipeline("run", "job.yaml", "--log-file", "run.log", "-v")
        assert ran.code == code, ran
        shown += ran.out + ran.err
        collector.status = 200
    run = next(span for span in collector.spans if span.name == "run job")
    assert (run.status.code, run.status.message) == (2, "") and attributes(run)["error.type"]
    shown += ws.pipeline("config", "job.yaml").out + ws.pipeline("validate", "job.yaml").out
    assert len(collector.posts) >= 3 and not [
        body for _, _, body in collector.posts if b"hyacinth" in body or b"dahlia" in body
    ]
    assert not [body for _, _, body in collector.posts if KEY.encode() in body]
    assert SECRET not in shown
    (ws.path / "job.yaml").unlink()
    assert [name for name, content in ws.files().items() if SECRET.encode() in content] == []


@pytest.mark.parametrize("status", [404, 503])
def test_what_the_exporter_logs_reaches_no_log_of_a_program_around_a_run(
    ws: Workspace,
    collector: Collector,
    run_here: Callable[[], Run],
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    collector.status = status
    ws.questions("a")
    ws.job(telemetry={"otlp": collector.url, "sample_rate": 1})
    assert run_here().execute().exit_code == 0
    assert collector.posts and [one for one in caplog.records if one.name.startswith("opentelemetry")] == []


@pytest.mark.parametrize("how", ["dead", "refusing", "silent"])
def test_a_collector_that_is_down_or_slow_fails_no_run_and_holds_it_up_for_a_bounded_time(
    ws: Workspace, collector: Collector, how: str
) -> None:
    url = collector.url
    if how == "dead":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/{SECRET}"
    collector.status = 404
    if how == "silent":
        collector.gate.clear()
    ws.questions("a", "b")
    ws.job(telemetry={"otlp": url, "sample_rate": 1})
    began = time.monotonic()
    ran = ws.pipeline("run", "job.yaml", "--log-file", "run.log")
    assert time.monotonic() - began < 15
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    log = (ws.path / "run.log").read_text()
    assert log.count(" WARNING ") == 1 and "telemetry.otlp: 3 of 3 spans were not delivered" in log
    assert len(ws.rows()) == 2 and SECRET not in log


def test_spans_beyond_the_room_for_them_are_dropped_without_a_wait(
    ws: Workspace, collector: Collector, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span_delivery, "_MOST_WAITING", 1)
    monkeypatch.setattr(span_delivery, "MOST_SECONDS", 0.5)
    collector.gate.clear()
    ws.questions(*(f"question {number}" for number in range(50)))
    ws.job(telemetry={"otlp": collector.url, "sample_rate": 1})
    began = time.monotonic()
    assert run_here().execute().exit_code == 0
    assert time.monotonic() - began < 10
    assert len(ws.rows()) == 50


def test_telemetry_without_its_extra_is_a_mistake_at_its_key(
    ws: Workspace, endpoint: Endpoint, run_here: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(name: str) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(name)
        return find_spec(name)

    ws.questions("a")
    ws.job(telemetry={"otlp": "https://collector.example.com"})
    monkeypatch.setattr(inspection, "find_spec", without)
    with pytest.raises(InvalidJob) as refused:
        run_here().execute()
    (mistake,) = refused.value.mistakes
    assert mistake.key == "telemetry.otlp" and mistake.line and "llm-batch-pipeline[otel]" in str(mistake)
    assert refused.value.exit_code == 2 and not endpoint.asked
