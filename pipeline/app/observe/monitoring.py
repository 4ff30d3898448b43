"""Those who watch a job's runs from outside. Whatever goes wrong with them is a warning, and no run's concern."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.app.jobs.paths import is_foreign
from pipeline.app.jobs.signals import Signals
from pipeline.app.observe.summary import Summary
from pipeline.config import JobConfig
from pipeline.errors import Interrupted

if TYPE_CHECKING:
    from pipeline.app.observe.expectation import Exceeded
    from pipeline.app.observe.notify import Notifier
    from pipeline.app.observe.spans import Spans
    from pipeline.journal import Event, Journal


class Monitoring:
    """Reports one run to the job's `notify`, `metrics` and `telemetry`; `warn` gets what could not be delivered."""

    def __init__(self, config: JobConfig, warn: Callable[[str], None]) -> None:
        self._job = config.name
        self._textfile = None if config.metrics.textfile is None else Path(config.metrics.textfile)
        self._traced = config.telemetry.otlp and (
            config.telemetry.otlp,
            config.telemetry.sample_rate,
            config.name,
            config.endpoint.kind,
            config.endpoint.model,
        )
        self._warn = warn
        self._notifier: Notifier | None = None
        self._spans: Spans | None = None
        self._tells_rows = True
        with self._harmless("notify"):
            if config.notify.ping_url is not None or config.notify.webhook_url is not None:
                from pipeline.app.observe.notify import Notifier

                self._notifier = Notifier(config.notify, config.name)

    def started(self) -> None:
        """Tell that the run holds the job's lock. Waits for nothing."""
        with self._harmless("notify"):
            if self._notifier is not None:
                self._notifier.started()
        with self._harmless("telemetry"):
            if self._traced:
                from pipeline.app.observe.spans import Spans

                self._spans = Spans(*self._traced)

    def recorded(self, events: Sequence[Event], journal: Journal) -> None:
        """Tell what is on disk of rows. Waits for nothing."""
        if self._spans is not None and self._tells_rows:
            self._tells_rows = False  # after an error
            with self._harmless("telemetry"):
                self._spans.recorded(events, journal.models)
                self._tells_rows = True

    def exceeded(self, summary: Summary, exceeded: Exceeded) -> None:
        """Tell that the run has left the range of its estimate. Waits for nothing."""
        with self._harmless("notify"):
            if self._notifier is not None:
                self._notifier.exceeded(summary, exceeded)

    def ended(self, summary: Summary) -> None:
        """Tell how the run ended. A signal ends the wait for replies, and does not change how the run ended."""
        with suppress(Interrupted), Signals():
            with self._harmless("metrics.textfile"):
                if self._textfile is not None and not is_foreign("metrics.textfile", self._textfile):
                    from pipeline.app.observe.metrics import write_metrics

                    write_metrics(self._textfile, self._job, summary, time.time())
            with self._harmless("notify"):
                for fault in self._notifier.ended(summary) if self._notifier is not None else ():
                    self._warn(fault)
            with self._harmless("telemetry"):
                if self._spans is not None and (lost := self._spans.ended(summary)) is not None:
                    self._warn(lost)

    @contextmanager
    def _harmless(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Another error's text may hold an address, which is a secret.
            self._warn(f"{what}: {(isinstance(error, OSError) and error.strerror) or type(error).__name__}")
