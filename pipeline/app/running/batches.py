"""Buying by a provider's batches, and collecting those that are out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial

from pipeline.app.jobs import recent_sends
from pipeline.app.jobs.caching import open_cache
from pipeline.app.jobs.checkpoint import register_settings
from pipeline.app.jobs.drafting import forget_plan
from pipeline.app.jobs.endpoint import endpoint_address, sender_config
from pipeline.app.jobs.held_checkpoint import HeldCheckpoint
from pipeline.app.jobs.scratch import scratch
from pipeline.app.observe.control import Controls
from pipeline.app.observe.summary import MoneyFigures, RowFigures
from pipeline.app.observe.throughput import Tracker
from pipeline.app.running.context import RunContext
from pipeline.app.running.lines_out import open_lines
from pipeline.app.running.pauses import longest_pause, resume_pause
from pipeline.batches import BatchApi, BatchSender, Book, Calls, Creation, Desk, Incoming, Orders, Outgoing, Purchase
from pipeline.config import LimitsConfig, shown_address
from pipeline.journal import Event, Journal
from pipeline.limits import Pause
from pipeline.plan import Plan
from pipeline.redaction import Redaction
from pipeline.runner import Asking, CachedAnswers, Progress, Stop, Work, feed, while_unchanged
from pipeline.runner.admission import Admission
from pipeline.runner.pending import PendingCommit

_USUAL_POLL_SECONDS = 60.0


class BatchRun:
    """The part of a run that has to do with batches."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._opened = context.opened
        self._config = context.opened.job.config
        self._options = context.options
        self._figures = context.figures
        self._watcher = context.watcher
        self._signals = context.signals
        self._stop_request = context.stop_request
        self._is_stale = False

    @property
    def _run_id(self) -> str:
        return self._figures.summary.run_id or ""

    def send(self, plan: Plan, held: HeldCheckpoint, progress: Progress, *, only_collect: bool) -> Stop | None:
        """Buy the rows that a plan names by batches, unless they are only to be collected, and wait for all that are
        out. `progress` is what the run has done before. Returns what stopped it.

        Raises:
            PipelineError: nothing could be sent, or the checkpoint failed.
        """
        pause = Pause()
        if (too_long := self._resume(pause, held)) is not None:
            return too_long
        limits = self._config.limits if self._figures.controls is None else self._figures.controls.limits
        with self._sender(plan, held, pause, limits, progress, only_collect=only_collect) as (sender, book):
            with self._signals.draining(self._stop_request, sender.wake):
                try:
                    stop = sender.run()
                finally:
                    self._end(book, plan, held)
            return stop or self._stop_request.stop()

    def has_left(self, plan: Plan) -> bool:
        """Return whether lines came back without an answer, so that their rows are to be sent one by one; not where the
        plan does not know of every answer.
        """
        return self._options.limit is None and not self._is_stale and plan.count(*self._options.to_send) > 0

    def cancel(self, plan: Plan, held: HeldCheckpoint) -> tuple[int, Stop | None]:
        """Ask for every open batch to be canceled, wait up to `limits.timeout_seconds` for their ends, and collect what
        was answered. Returns how many were asked for, and what stopped it.
        """
        pause, limits = Pause(), self._config.limits
        if (too_long := self._resume(pause, held)) is not None:
            return 0, too_long
        limits = limits.model_copy(update={"deadline_seconds": None})
        with (
            self._sender(plan, held, pause, limits, Progress(), only_collect=True) as (sender, book),
            self._signals.draining(self._stop_request, sender.wake),
        ):
            try:
                return sender.cancel(limits.timeout_seconds)
            finally:
                self._end(book, plan, held)

    def _resume(self, pause: Pause, held: HeldCheckpoint) -> Stop | None:
        """Keep the pause that an earlier run was asked for, or return a stop where it is too long."""
        journal, now = held.writer(), time.time()
        recent_sends.see(journal, (), now)
        return resume_pause(pause, self._config, journal, now)

    @contextmanager
    def _sender(
        self,
        plan: Plan,
        held: HeldCheckpoint,
        pause: Pause,
        limits: LimitsConfig,
        progress: Progress,
        *,
        only_collect: bool,
    ) -> Iterator[tuple[BatchSender, Book]]:
        journal, config = held.writer(), self._config
        settings = register_settings(self._opened.settings, journal)
        if not only_collect or not self._figures.summary.requests:
            journal.register_run(self._run_id)
        where = " and ".join(map(shown_address, config.endpoint.urls))
        self._figures.tracker = Tracker(
            plan.count(*self._options.to_send), self._figures.left_alone, where=where, has_marks=self._figures.has_marks
        )
        batch = None if only_collect else config.endpoint.batch
        polling = _USUAL_POLL_SECONDS if config.endpoint.batch is None else config.endpoint.batch.poll_seconds
        with (
            endpoint_address(self._opened.job) as address,
            scratch(held.directory) as place,
            open_cache(self._opened.job, self._opened.rows.expected, self._watcher.warned) as cached,
        ):
            sending = sender_config(self._opened.job, address, os.environ)
            redaction = Redaction(sending.key, sending.header_values)
            api = BatchApi(
                sending.endpoint,
                sending.headers,
                redaction,
                pause=pause,
                timeout_seconds=limits.timeout_seconds,
                most_seconds=config.retry.max_elapsed_seconds,
                most_pause_seconds=longest_pause(config),
            )
            admission = Admission(
                # Rates and concurrency are of requests one by one.
                limits.model_copy(update={"requests_per_minute": None, "tokens_per_minute": None}),
                terms=self._opened.terms,
                spent=journal.totals.cost_usd + journal.totals.possibly_billed_usd + open_lines(journal)[1],
            )
            expected = self._opened.rows.expected
            asking = None if expected is None else Asking(expected, self._watcher.warned)
            book = Book(
                PendingCommit(journal, plan, cached, lambda events: self._context.recorded(events, journal), progress),
                terms=self._opened.terms_of_single,
                max_attempts=config.retry.max_attempts,
                admission=admission,
                asking=asking,
            )
            book.learn_places(lambda: feed(self._opened.rows, plan, journal, settings))
            controls = self._figures.controls or Controls(held.directory, limits, held.writer, self._run_id)
            self._figures.controls = controls
            orders = Orders(limits, admission, started=self._figures.started, is_held=controls.is_paused)
            calls = Calls(self._stop_request, journal, pause, orders, controls.poll)
            desk = Desk(book, api, calls, polling)
            creation = Creation(desk)
            outgoing = None
            if batch is not None:
                works = partial(self._works, plan, journal, settings, cached)
                purchase = Purchase(config.name, batch, sending.endpoint, self._options.limit, place, asking)
                outgoing = Outgoing(works, desk, creation, orders, purchase, admission)
            incoming = Incoming(
                desk,
                creation,
                endpoint=sending.endpoint,
                redaction=redaction,
                scratch=place,
                keeps_replies=sending.keeps_replies,
                is_embedded=config.endpoint.is_simulator,
            )
            sender = BatchSender(
                desk,
                incoming,
                outgoing,
                orders,
                waits=not self._options.no_wait,
                stop_request=self._stop_request,
                observe=lambda progress: self._observe(progress, plan, held),
            )
            try:
                yield sender, book
            finally:
                api.close()

    def _works(
        self, plan: Plan, journal: Journal, settings: Sequence[int], cached: CachedAnswers | None
    ) -> Iterator[Work | Event]:
        works = feed(self._opened.rows, plan, journal, settings, self._options.to_send, cached=cached)
        return while_unchanged(works, self._opened.rows.source.files)

    def _observe(self, progress: Progress, plan: Plan, held: HeldCheckpoint) -> None:
        self._figures.take(progress)
        self._watcher.progressed(progress, self._figures.summary)
        self._figures.see(progress, plan, held.writer(), held.directory)

    def _end(self, book: Book, plan: Plan, held: HeldCheckpoint) -> None:
        self._figures.take(book.progress)
        self._figures.out = (0, Decimal(0))
        with suppress(Exception):  # of a journal that failed, what is known stands in the summary already
            self._figures.update(RowFigures.of(plan), MoneyFigures.of(held.writer()))
        self._is_stale = book.is_stale
        if book.is_stale:
            forget_plan(held.directory)
