"""A run and a share of its rows as spans, by OpenTelemetry's conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/ names the attributes. What is sent are figures, names and stable
words, and never a sentence, which might repeat a prompt or an answer.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit, urlunsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

from pipeline.app.observe.span_delivery import SpanDelivery
from pipeline.app.observe.summary import Summary
from pipeline.journal import ANSWERS, FAILURES, Event
from pipeline.version import __version__

_NAME = "llm-batch-pipeline"
_TRACES_PATH = "/v1/traces"


class Spans:
    """One run's spans, sent to the collector at `url`. Nothing here waits but `ended`.

    `kind` is the endpoint's, and `sample_rate` the share of the rows that get a span of their own.
    """

    def __init__(self, url: str, sample_rate: float, job: str, kind: str, model: str) -> None:
        self._sample_rate = sample_rate
        self._delivery = SpanDelivery(traces_url(url))
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create({"service.name": _NAME, "service.version": __version__}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._delivery)
        self._tracer = provider.get_tracer(_NAME, __version__)
        self._common: Mapping[str, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": kind,
        }
        self._models: Mapping[int, str] = {}
        self._run = self._tracer.start_span(
            f"run {job}",
            attributes={
                **self._common,
                "gen_ai.request.model": model,
                "llm_batch.job": job,
            },
        )
        self._within_run = set_span_in_context(self._run)

    def recorded(self, events: Iterable[Event], models: Callable[[], Mapping[int, str]]) -> None:
        """Take in what was recorded of rows; `models` gives the model by the number of the settings."""
        for event in events:
            if (event.state in ANSWERS or event.state in FAILURES) and is_sampled(event.row_id, self._sample_rate):
                if event.settings_id not in self._models:
                    self._models = models()
                self._row(event)

    def ended(self, summary: Summary) -> str | None:
        """End the run's span and wait for the delivery. Return what was not delivered, for a log, or None."""
        self._run.set_attributes(
            {
                "gen_ai.usage.input_tokens": summary.prompt_tokens,
                "gen_ai.usage.output_tokens": summary.completion_tokens,
                "gen_ai.usage.cache_read.input_tokens": summary.cached_tokens,
                "gen_ai.usage.reasoning.output_tokens": summary.reasoning_tokens,
                "llm_batch.run_id": summary.run_id or "",
                "llm_batch.status": summary.status,
                "llm_batch.exit_code": summary.exit_code,
                "llm_batch.requests": summary.requests,
                "llm_batch.cost_usd": float(summary.cost_usd),
            }
        )
        for name in ("rows", "succeeded", "failed", "pending"):
            _set(self._run, f"llm_batch.{name}", getattr(summary, name))
        if summary.error is not None:
            _fail(self._run, summary.error.kind)
        self._run.end()
        return self._delivery.close()

    def _row(self, event: Event) -> None:
        record, model, now = event.record, self._models[event.settings_id], time.time()
        span = self._tracer.start_span(
            f"chat {model}",
            context=self._within_run,
            kind=SpanKind.CLIENT,
            attributes={**self._common, "gen_ai.request.model": model},
            start_time=_nanoseconds(record.started_at or now),
        )
        _set(span, "gen_ai.response.model", record.served_model)
        _set(span, "gen_ai.response.finish_reasons", None if record.finish_reason is None else [record.finish_reason])
        _set(span, "gen_ai.usage.input_tokens", record.prompt_tokens)
        _set(span, "gen_ai.usage.output_tokens", record.completion_tokens)
        _set(span, "gen_ai.usage.cache_read.input_tokens", record.cached_tokens)
        _set(span, "gen_ai.usage.reasoning.output_tokens", record.reasoning_tokens)
        _set(span, "http.response.status_code", record.http_status)
        _set(span, "llm_batch.attempts", record.attempts)
        _set(span, "llm_batch.cost_usd", None if record.cost is None else float(record.cost))
        if record.error_kind is not None:
            _fail(span, record.error_kind)
        span.end(_nanoseconds(record.finished_at or now))


def is_sampled(row_id: str, sample_rate: float) -> bool:
    """Return whether a row is in the sample. A row is in that of each run, or in none."""
    return zlib.crc32(row_id.encode("utf-8", "surrogatepass")) < sample_rate * 2**32


def traces_url(url: str) -> str:
    """Return where a collector takes traces: below its address, unless that names the place itself."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith(_TRACES_PATH) else path + _TRACES_PATH))


def _set(span: Span, name: str, value: AttributeValue | None) -> None:
    if value is not None:
        span.set_attribute(name, value)


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", str(kind))
    span.set_status(Status(StatusCode.ERROR))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
