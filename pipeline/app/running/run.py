"""A run of a job from its present state: prepare, send, publish."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from msgspec.structs import replace

from pipeline.app.jobs.held_checkpoint import HeldCheckpoint
from pipeline.app.jobs.job import open_job
from pipeline.app.jobs.locking import locked
from pipeline.app.jobs.restoring import refuse_copies_of_another_division, restore_missing
from pipeline.app.jobs.scratch import remove_leftovers
from pipeline.app.jobs.sharding import refuse_another_division
from pipeline.app.jobs.signals import Signals
from pipeline.app.jobs.stores import try_stores
from pipeline.app.observe.answer_counts import AnswerCounts
from pipeline.app.observe.figures import Figures
from pipeline.app.observe.monitoring import Monitoring
from pipeline.app.observe.status import known, written_output
from pipeline.app.observe.summary import MoneyFigures, RowFigures, Summary
from pipeline.app.observe.watcher import Watcher
from pipeline.app.running import longer_answers
from pipeline.app.running.acceptance import accept_failures
from pipeline.app.running.backups import Backups
from pipeline.app.running.context import RunContext
from pipeline.app.running.engine import check_engine, placing
from pipeline.app.running.finish import finish
from pipeline.app.running.options import RunOptions, select_retries
from pipeline.app.running.prepare import prepare
from pipeline.app.running.sending import refuse_unfit_options, send_rows
from pipeline.config import Job
from pipeline.endings import StopKind
from pipeline.errors import Interrupted, JobLocked, PipelineError, StoreFailed, StoreRefused
from pipeline.journal import read_progress
from pipeline.journal.orders import withdraw_orders
from pipeline.plan import FailureKinds
from pipeline.records import JsonObject
from pipeline.runner import Stop, StopRequest
from pipeline.sources import Source, Watched


class Run:
    """One run.

    `summary` is what is known of it at any moment, also after an error; `first_event` is the number of the first event
    of what it has sent, and `cancelled` how many batches it has canceled. With a `stop_request` it runs within a
    program that is not ours, and is asked to stop by that, also while it plans.
    """

    def __init__(
        self,
        job: Job,
        options: RunOptions,
        watcher: Watcher | None = None,
        *,
        stop_request: StopRequest | None = None,
    ) -> None:
        self._job = job
        self._options = options
        self._watcher = watcher or Watcher()
        self._signals = Signals()
        self._stop_request = stop_request or StopRequest()
        self._is_embedded = stop_request is not None
        self._is_planning = True
        self._held: HeldCheckpoint | None = None
        self._backups: Backups | None = None
        self._monitoring = Monitoring(job.config, self._watcher.warned)
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self._figures = Figures(Summary(job=job.config.name, run_id=run_id))
        self.first_event = 0
        self.cancelled = 0

    @property
    def summary(self) -> Summary:
        """What is known of the run."""
        return self._figures.summary

    def execute(self) -> Summary:
        """Run to the end, or until something stops it, and tell those who watch the job; they do not hear of a run
        that finds another one under way.

        A signal ends the run at once while nothing is being sent, and drains it otherwise.

        Raises:
            PipelineError: nothing could be sent, or the checkpoint failed; `summary` says what is known.
        """
        try:
            self._execute()
        except JobLocked:
            raise
        except Exception as error:
            if not isinstance(error, PipelineError):
                self._figures.summary = self._figures.summary.ended_by(PipelineError("a fault of the program"))
            self._monitoring.ended(self._figures.summary)
            raise
        self._monitoring.ended(self._figures.summary)
        return self._figures.summary

    def _execute(self) -> None:
        try:
            with self._signals:
                self._run()
        except PipelineError as error:
            self._end_by(error)
            raise
        finally:
            if self._held is not None:
                self._held.close()
            if self._backups is not None:
                self._backups.close()

    def _run(self) -> None:
        figures, options = self._figures, self._options
        with self._holding() as (context, held):
            last = read_progress(held.directory) or {}
            opened = context.opened
            prepared = prepare(opened, held, options, last)
            plan, journal = prepared.plan, prepared.journal
            figures.answers = AnswerCounts() if options.asks_longer else prepared.answers
            figures.update(RowFigures.of(plan), MoneyFigures.of(journal))
            if plan.kept_empty:
                assert held.checkpoint_id is not None
                none_failed = FailureKinds()
                output = written_output(self._job, held.checkpoint_id)
                figures.update(AnswerCounts(0, 0), status="kept", output=output, is_idle=True, **none_failed.counts())
                figures.write_at_rest(held.directory, journal, none_failed)
                return
            if options.accept:
                accept_failures(plan, held.writer(), kind=options.retry_kind, limit=options.limit)
                figures.update(RowFigures.of(plan), MoneyFigures.of(held.writer()))
                finish(context, plan, held, None)
                return
            select_retries(plan, journal, self._job.config.retry.max_runs, options, opened.rows.expected)
            figures.update(RowFigures.of(plan), MoneyFigures.of(journal), is_idle=not plan.count(*options.to_send))
            self._is_planning = False
            self._watcher.planned(opened, plan, options.to_send, prepared.notes)
            stop = None
            if options.limit != 0:
                refuse_unfit_options(context, journal)
                self.first_event = journal.totals.events + 1
                stop, self.cancelled = send_rows(context, plan, held)
            if options.asks_longer:
                assert held.journal is not None
                longer_answers.put_back(plan, held.journal)
                figures.update(RowFigures.of(plan))
            finish(context, plan, held, stop)
            if stop is not None and stop.kind is StopKind.COST_CAP and not figures.summary.requests:
                figures.update(is_said=_is_said(last, stop))

    @contextmanager
    def _holding(self) -> Iterator[tuple[RunContext, HeldCheckpoint]]:
        """Open the job and hold its checkpoint, restored if it is missing, and whatever else a run needs."""
        check_engine(self._options)
        opened = open_job(self._job, for_sending=not self._options.accept)
        self._figures.has_marks = opened.rows.has_marks
        if self._is_embedded:
            opened = replace(opened, rows=replace(opened.rows, source=self._interruptible(opened.rows.source)))
        if self._options.on_change != "rerun":
            refuse_another_division(self._job)
        with locked(self._job) as directory:
            self._monitoring.started()
            remove_leftovers(directory)
            withdraw_orders(directory)
            try_stores(self._job)
            restore_missing(self._job, directory)
            if self._options.on_change != "rerun":
                refuse_copies_of_another_division(self._job)
            self._held = HeldCheckpoint(self._job, directory)
            if self._job.backup is not None:
                self._backups = Backups(self._job, self._job.backup, directory, self._watcher.warned)
                self._backups.begin(self._held.journal)
            with placing(self._job, self._options) as placement:
                context = RunContext(
                    opened,
                    self._options,
                    self._figures,
                    self._watcher,
                    self._signals,
                    self._stop_request,
                    self._monitoring,
                    self._backups,
                    placement,
                )
                yield context, self._held

    def _end_by(self, error: PipelineError) -> None:
        """Have the summary say what ended the run, and what is valid all the same."""
        self._figures.update()
        if self._held is not None:
            if self._held.checkpoint_id is not None and not isinstance(error, StoreRefused | StoreFailed):
                with suppress(OSError):
                    self._figures.update(output=written_output(self._job, self._held.checkpoint_id))
            self._held.close()
        summary = self._figures.summary
        if summary.rows is None and not isinstance(error, Interrupted):
            summary = summary.with_job_of(known(self._job).summary)
        self._figures.summary = summary.ended_by(error)

    def _interruptible(self, source: Source) -> Source:
        """Return a source that ends with Interrupted where a stop is asked for while the run is still being planned."""

        def check() -> None:
            if self._is_planning and self._stop_request.signal is not None:
                raise Interrupted(self._stop_request.signal)

        return Watched(source, check)


def _is_said(last: JsonObject, stop: Stop) -> bool:
    """Return whether the run before ended at the same cost cap. The next request may be another row's; the cap and what
    is spent of it are the same.
    """
    before = Summary.of_json(last)
    return before is not None and before.error is not None and _cap(before.error.message) == _cap(stop.message)


def _cap(message: str) -> str:
    """Return of the message about a cost cap what it says of the cap."""
    return message.partition(", and the next request")[0]
