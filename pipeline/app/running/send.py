"""From a plan to answers in the journal: the part of a run that costs money."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.app.jobs import checkpoint, recent_sends
from pipeline.app.jobs.caching import open_cache
from pipeline.app.jobs.endpoint import endpoint_address, reading_load, sender_config
from pipeline.app.jobs.held_checkpoint import HeldCheckpoint
from pipeline.app.jobs.quick_estimate import quick_estimate
from pipeline.app.observe.control import Controls
from pipeline.app.observe.expectation import Expectation
from pipeline.app.observe.summary import MoneyFigures, RowFigures
from pipeline.app.observe.throughput import Tracker
from pipeline.app.running.context import RunContext
from pipeline.app.running.engine import Engines
from pipeline.app.running.limited import Work, of_machine
from pipeline.app.running.lines_out import open_lines, without_open_lines
from pipeline.app.running.options import RunOptions
from pipeline.app.running.pauses import resume_pause
from pipeline.config import shown_address
from pipeline.engines import Demand
from pipeline.errors import Interrupted
from pipeline.journal import Journal
from pipeline.limits import Pause, Servers
from pipeline.plan import FAILED, Plan, drawn_rows, failure_kinds
from pipeline.runner import (
    Asking,
    Destination,
    Observers,
    Progress,
    Rules,
    Runner,
    Stop,
    Workload,
    feed,
    while_unchanged,
)
from pipeline.wording import money

if TYPE_CHECKING:
    from pipeline.limits.shared import SharedLimit


class RowSender:
    """Sends the rows that a plan names."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._opened = context.opened
        self._job = context.opened.job
        self._options = context.options
        self._figures = context.figures
        self._watcher = context.watcher
        self._signals = context.signals
        self._stop_request = context.stop_request
        self.progress = Progress()

    def send(self, plan: Plan, held: HeldCheckpoint) -> Stop | None:
        """Send until every row is through, or something stops it; that is returned.

        Raises:
            PipelineError: nothing could be sent, or the checkpoint failed.
        """
        journal, config, options = held.writer(), self._job.config, self._options
        to_send = plan.count(*options.to_send)
        rows = min(to_send, options.limit or to_send)
        self._begin(plan, journal, rows)
        estimate = quick_estimate(self._opened, plan, options.to_send)
        expectation = Expectation(estimate, rows / max(1, to_send))
        observer = _Observer(self._context, expectation, plan, held, config.limits.drain_seconds)
        names = config.endpoint.urls
        tells_load = config.endpoint.provider.shows_load and config.limits.concurrency == "auto"
        pause, now = Pause(len(names)), time.time()
        sent = recent_sends.sent_lately(journal, config.limits, now)
        recent_sends.see(journal, sent, now)
        if (too_long := resume_pause(pause, self._job.config, journal, now)) is not None:
            return too_long
        settings = checkpoint.register_settings(self._opened.settings, journal)
        run_id = self._figures.summary.run_id or ""
        journal.register_run(run_id)
        self._figures.out = open_lines(journal)
        controls = self._figures.controls = Controls(held.directory, config.limits, held.writer, run_id)
        expected = self._opened.rows.expected
        demand = Demand.of(config, rows)
        engines = Engines(demand, self._context.placement, self._watcher.warned)
        common = self._job.whole.config.limits
        begun = Work.now()
        with (
            _shared_limit(common.shared, common.requests_per_minute, common.tokens_per_minute) as shared,
            endpoint_address(self._job) as address,
            engines.room(sender_config(self._job, address, os.environ)) as sender,
            reading_load(names if address is None else (address,), is_told=tells_load) as load,
            open_cache(self._job, expected, self._watcher.warned) as cached,
        ):
            works = feed(self._opened.rows, plan, journal, settings, options.to_send, _drawn(plan, options), cached)
            works = without_open_lines(while_unchanged(works, self._opened.rows.source.files), journal)
            seconds = self._figures.started + (config.limits.deadline_seconds or math.inf) - time.monotonic()
            # Last: from here on it is closed, whatever happens.
            engine = engines.start(sender, pause, seconds, self._check)
            asking = None if expected is None else Asking(expected, self._watcher.warned)
            servers = Servers(names, pause, self._watcher.warned) if len(names) > 1 else None
            runner = Runner(
                Workload(works, plan, journal, options.limit, cached),
                Rules(config.limits, config.retry, self._opened.terms, asking),
                Destination(engine, pause, servers, shared, load),
                self._stop_request,
                observers=Observers(
                    recorded=lambda events: self._context.recorded(events, journal),
                    progressed=observer.see,
                    poll=controls.poll,
                ),
                started=self._figures.started,
            )
            runner.remember(sent)
            with self._signals.draining(self._stop_request, engine.wake):
                try:
                    stop = runner.run()
                finally:
                    room = engine.slots
                    engine.close()
                    self.progress = runner.progress
                    self._figures.take(runner.progress)
                    busy = Work.now().busy_since(begun, engines.processes - 1)
                    limited_by = of_machine(
                        runner.progress.limited_by, room=room, most=demand.most_in_flight, busy=busy
                    )
                    self._figures.update(limited_by=limited_by)
                    # What is in doubt where the journal failed is in no total.
                    lines, worst_usd = self._figures.out
                    money_known = MoneyFigures.while_open(
                        journal, runner.in_doubt() + lines, runner.in_doubt_usd() + worst_usd
                    )
                    self._figures.update(RowFigures.of(plan), money_known)
            if over := self._figures.summary.over_reserve_usd:
                self._watcher.warned(
                    f"the endpoint billed ${money(over)} beyond the assumed worst case of its requests; what it was is"
                    " reserved for every later request"
                )
            # One that came too late for the runner still bounds the time for publishing.
            return stop or self._stop_request.stop()

    def _begin(self, plan: Plan, journal: Journal, rows: int) -> None:
        others = [one for one in FAILED if one not in self._options.to_send]
        self._figures.left_alone = failure_kinds(plan, journal, others)
        where = " and ".join(map(shown_address, self._job.config.endpoint.urls))
        self._figures.tracker = Tracker(rows, self._figures.left_alone, where=where, has_marks=self._figures.has_marks)

    def _check(self) -> None:
        """Raise Interrupted where a stop is asked for before anything can be sent."""
        if self._stop_request.signal is not None:
            raise Interrupted(self._stop_request.signal)


class _Observer:
    """Keeps the figures of a run up to date while it sends, and tells those who watch it."""

    def __init__(
        self, context: RunContext, expectation: Expectation, plan: Plan, held: HeldCheckpoint, drain_seconds: float
    ) -> None:
        self._context = context
        self._expectation = expectation
        self._plan = plan
        self._held = held
        self._drain_seconds = drain_seconds
        self._is_stopping = False

    def see(self, progress: Progress) -> None:
        """Take in how far the sending is."""
        context, figures = self._context, self._context.figures
        figures.take(progress)
        if context.stop_request.signal is not None and not self._is_stopping:
            self._is_stopping = True
            context.watcher.stopping(progress.in_flight, self._drain_seconds)
        context.watcher.progressed(progress, figures.summary)
        for exceeded in self._expectation.exceeded(progress.cost_usd, figures.summary.seconds):
            context.exceeded(exceeded)
        figures.see(progress, self._plan, self._held.writer(), self._held.directory)


def _drawn(plan: Plan, options: RunOptions) -> list[int] | None:
    if options.seed is None or options.limit is None:
        return None
    return drawn_rows(plan, options.to_send, options.limit, options.seed)


@contextmanager
def _shared_limit(
    name: str | None, requests_per_minute: float | None, tokens_per_minute: float | None
) -> Iterator[SharedLimit | None]:
    """Open the limit that the job has in common with others, while it sends; None where it names none."""
    if name is None:
        yield None
        return
    from pipeline.limits.limit_file import limit_path
    from pipeline.limits.shared import SharedLimit

    shared = SharedLimit(limit_path(name), requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute)
    try:
        yield shared
    finally:
        shared.close()
