"""From a plan to answers in the journal: the part of a run that costs money."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
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
    StopRequest,
    Workload,
    feed,
    while_unchanged,
)
from pipeline.wording import money

if TYPE_CHECKING:
    from pipeline.limits.shared import SharedLimit


def send_one_by_one(
    context: RunContext, plan: Plan, held: HeldCheckpoint, before: Progress | None = None
) -> tuple[Stop | None, Progress]:
    """Send the rows that a plan names until every one is through, or something stops it. Returns that, and how it went.

    Args:
        before: what the run has done, where batches have left rows that it was to collect; then it sends from here.

    Raises:
        PipelineError: nothing could be sent, or the checkpoint failed.
    """
    opened, options, figures, warn = context.opened, context.options, context.figures, context.watcher.warned
    job, config, journal = opened.job, opened.job.config, held.writer()
    names = config.endpoint.urls
    to_send = plan.count(*options.to_send)
    rows = min(to_send, options.limit or to_send)
    estimate = quick_estimate(opened, plan, options.to_send) if before is None else None
    expectation = None if estimate is None else Expectation(estimate, rows / max(1, to_send))
    observer = _observer(context, expectation, plan, held, rows)
    tells_load = config.endpoint.provider.shows_load and config.limits.concurrency == "auto"
    pause, now = Pause(len(names)), time.time()
    sent = recent_sends.sent_lately(journal, config.limits, now)
    recent_sends.see(journal, sent, now)
    if (too_long := resume_pause(pause, config, journal, now)) is not None:
        return too_long, before or Progress()
    settings = checkpoint.register_settings(opened.settings, journal)
    controls = _controls(context, held)
    limits = controls.limits
    figures.out = open_lines(journal)
    expected = opened.rows.expected
    demand = Demand.of(config, rows)
    engines = Engines(demand, context.placement if before is None else None, warn)
    common = job.whole.config.limits
    begun = Work.now()
    with (
        _shared_limit(common.shared, common.requests_per_minute, common.tokens_per_minute) as shared,
        endpoint_address(job) as address,
        engines.room(sender_config(job, address, os.environ)) as sender,
        reading_load(names if address is None else (address,), is_told=tells_load) as load,
        open_cache(job, expected, warn) as cached,
    ):
        works = feed(opened.rows, plan, journal, settings, options.to_send, _drawn(plan, options), cached)
        works = without_open_lines(while_unchanged(works, opened.rows.source.files), journal)
        seconds = figures.started + (limits.deadline_seconds or math.inf) - time.monotonic()
        # Last: from here on it is closed, whatever happens.
        engine = engines.start(sender, pause, seconds, partial(_refuse_stopped, context.stop_request))
        asking = None if expected is None else Asking(expected, warn)
        servers = Servers(names, pause, warn) if len(names) > 1 else None
        runner = Runner(
            Workload(works, plan, journal, options.limit, cached, before),
            Rules(limits, config.retry, opened.terms, asking),
            Destination(engine, pause, servers, shared, load),
            context.stop_request,
            observers=Observers(
                recorded=lambda events: context.recorded(events, journal),
                progressed=observer.see,
                poll=controls.poll,
            ),
            started=figures.started,
        )
        runner.remember(sent)
        runner.hold(controls.is_paused)
        with context.signals.draining(context.stop_request, engine.wake):
            try:
                stop = runner.run()
            finally:
                room = engine.slots
                engine.close()
                figures.take(runner.progress)
                busy = Work.now().busy_since(begun, engines.processes - 1)
                most, so_far = demand.most_in_flight, runner.progress.limited_by
                figures.update(limited_by=of_machine(so_far, room=room, most=most, busy=busy))
                # What is in doubt where the journal failed is in no total.
                lines, worst_usd = figures.out
                lines, worst_usd = lines + runner.in_doubt(), worst_usd + runner.in_doubt_usd()
                figures.update(RowFigures.of(plan), MoneyFigures.while_open(journal, lines, worst_usd))
        if over := figures.summary.over_reserve_usd:
            warn(
                f"the endpoint billed ${money(over)} beyond the assumed worst case of its requests; what it was is"
                " reserved for every later request"
            )
        # One that came too late for the runner still bounds the time for publishing.
        return stop or context.stop_request.stop(), runner.progress


def _refuse_stopped(request: StopRequest) -> None:
    """Raise Interrupted where a stop is asked for before anything can be sent."""
    if request.signal is not None:
        raise Interrupted(request.signal)


def _controls(context: RunContext, held: HeldCheckpoint) -> Controls:
    """Return what follows orders to the run, which begins here unless it has sent before."""
    figures, limits = context.figures, context.opened.job.config.limits
    if figures.controls is None:
        run_id = figures.summary.run_id or ""
        held.writer().register_run(run_id)
        figures.controls = Controls(held.directory, limits, held.writer, run_id)
    return figures.controls


def _observer(
    context: RunContext, expectation: Expectation | None, plan: Plan, held: HeldCheckpoint, rows: int
) -> _Observer:
    """Return what keeps the figures of a run up to date from here on, while it sends so many rows."""
    figures, config = context.figures, context.opened.job.config
    others = [one for one in FAILED if one not in context.options.to_send]
    figures.left_alone = failure_kinds(plan, held.writer(), others)
    where = " and ".join(map(shown_address, config.endpoint.urls))
    figures.tracker = Tracker(rows, figures.left_alone, where=where, has_marks=figures.has_marks)
    return _Observer(context, expectation, plan, held, config.limits.drain_seconds)


class _Observer:
    """Keeps the figures of a run up to date while it sends, and tells those who watch it."""

    def __init__(
        self,
        context: RunContext,
        expectation: Expectation | None,
        plan: Plan,
        held: HeldCheckpoint,
        drain_seconds: float,
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
        if self._expectation is not None:
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
