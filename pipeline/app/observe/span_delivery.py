"""Delivers spans from a thread of its own, so that no collector can hold up a run."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pipeline.addresses import is_loopback

MOST_SECONDS = 2.0
"""How long the end of a run waits for the delivery."""

_MOST_WAITING = 4_096
_SPANS_A_MESSAGE = 512
_SECONDS_A_MESSAGE = 0.2


class SpanDelivery(SpanProcessor):
    """Delivers spans to a collector as they end; drops those for which there is no room.

    The SDK's own batches write to the log what goes wrong, with the address, which is a secret.
    """

    def __init__(self, url: str) -> None:
        session = requests.Session()
        # To this machine without a proxy, as requests to the endpoint go.
        session.trust_env = not is_loopback(urlsplit(url).hostname or "")
        self._exporter: SpanExporter = OTLPSpanExporter(url, timeout=MOST_SECONDS, session=session)
        self._waiting: queue.Queue[ReadableSpan] = queue.Queue(_MOST_WAITING)
        self._ended = 0
        self._delivered = 0
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._deliver, daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended, or drop it."""
        self._ended += 1
        with suppress(queue.Full):
            self._waiting.put_nowait(span)

    def close(self) -> str | None:
        """Wait for the delivery, but not for long. Return what was not delivered, or None."""
        self._is_closing.set()
        self._thread.join(MOST_SECONDS)
        self._exporter.shutdown()
        lost = self._ended - self._delivered
        return f"telemetry.otlp: {lost:,} of {self._ended:,} spans were not delivered" if lost else None

    def _deliver(self) -> None:
        log = logging.getLogger(OTLPSpanExporter.__module__)
        silence = _Silence(threading.get_ident())
        log.addFilter(silence)
        try:
            while not (self._is_closing.is_set() and self._waiting.empty()):
                spans = self._gathered()
                # An error's text holds the address; that the spans are lost is told at the end.
                with suppress(Exception):
                    if spans and self._exporter.export(spans) is SpanExportResult.SUCCESS:
                        self._delivered += len(spans)
        finally:
            log.removeFilter(silence)

    def _gathered(self) -> list[ReadableSpan]:
        """Return what has ended within a moment, at most as many as fit in a message."""
        if self._waiting.qsize() < _SPANS_A_MESSAGE:
            self._is_closing.wait(_SECONDS_A_MESSAGE)
        spans: list[ReadableSpan] = []
        while len(spans) < _SPANS_A_MESSAGE and not self._waiting.empty():
            spans.append(self._waiting.get())
        return spans


class _Silence(logging.Filter):
    """Drops what a thread logs."""

    def __init__(self, thread: int) -> None:
        super().__init__()
        self._thread = thread

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._thread
