"""A run of a job, from wherever it stands to as far as it gets."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.app import checkpoint, earlier, truncated
from pipeline.app.acceptance import accept_failures
from pipeline.app.access import locked, open_journal
from pipeline.app.endpoint import endpoint_address, sending_to
from pipeline.app.job import OpenJob, open_job, try_templates
from pipeline.app.machine import room_for_connections
from pipeline.app.monitoring import Monitoring
from pipeline.app.options import RunOptions, select_retries
from pipeline.app.outcomes import AnswerCounts, counts_of_journal, counts_of_output
from pipeline.app.publishing import publish_rows
from pipeline.app.scratch import remove_leftovers
from pipeline.app.signals import Signals
from pipeline.app.status import file_stamp, known, written_output
from pipeline.app.summary import RunError, Summary, job_figures, money, row_figures
from pipeline.app.tracking import Tracker
from pipeline.config import Job, LimitsConfig, shown_address
from pipeline.engines import processes_for
from pipeline.engines.local import LocalEngine
from pipeline.engines.processes import ProcessEngine
from pipeline.engines.sending import Sending
from pipeline.errors import Interrupted, InvalidInput, JobLocked, PipelineError
from pipeline.journal import Journal, lost_claims, plus, read_progress, write_progress
from pipeline.limits import Pause
from pipeline.plan import FAILED, FailureKinds, Plan, Standing, drawn_rows, failure_kinds
from pipeline.records import digest
from pipeline.runner import Engine, Progress, Runner, Stop, StopRequest, feed, while_unchanged
from pipeline.sources import Source, Watched
from pipeline.wording import counted, lasting

if TYPE_CHECKING:
    from pipeline.limits.shared import SharedLimit

_PROGRESS_FILE_SECONDS = 1.0
_PENDING = (Standing.NEW, Standing.ATTEMPTED, Standing.CHANGED)


class Watcher:
    """What a run tells while it goes on. The command line shows it; by default nobody listens."""

    def planned(self, opened: OpenJob, plan: Plan, to_send: tuple[Standing, ...], notes: list[str]) -> None:
        """The plan is made, and nothing has been sent yet. `to_send` is where the rows stand that will be."""

    def progressed(self, progress: Progress, summary: Summary) -> None:
        """Every half second or so while requests are under way."""

    def warned(self, message: str) -> None:
        """Something beside the run went wrong."""

    def stopping(self, in_flight: int, seconds: float) -> None:
        """A signal came while requests were under way: so many are waited for, up to so long."""


class Run:
    """One run. `summary` is what is known of it at any moment, also after an error; `first_event` is the number of the
    first event of what it has sent. With a `stop_request` it runs within a program that is not ours, and is asked
    to stop by that, also while it plans.
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
        self._started = time.monotonic()
        self._signals = Signals()
        self._stop_request = stop_request or StopRequest()
        self._is_embedded = stop_request is not None
        self._is_planning = True
        self._is_stopping = False
        self._journal: Journal | None = None
        self._is_writer = False
        self._failed_now = FailureKinds()
        self._left_alone = FailureKinds()
        self._answers_before = AnswerCounts()
        self._answered = 0
        self._tracker = Tracker(0, FailureKinds())
        self._progress_written = 0.0
        self.first_event = 0
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.summary = Summary(job=job.config.name, run_id=run_id)

    def execute(self) -> Summary:
        """Run to the end, or until something stops it, and tell those who watch the job; they do not hear of a run
        that finds another one under way.

        A signal ends the run at once while nothing is being sent, and drains it otherwise.

        Raises:
            PipelineError: nothing could be sent, or the checkpoint failed; `summary` says what is known.
        """
        monitoring = Monitoring(self._job.config, self._watcher.warned)
        try:
            self._execute(monitoring)
        except JobLocked:
            raise
        except Exception as error:
            if not isinstance(error, PipelineError):
                self.summary = self.summary.ended_by(PipelineError("a fault of the program"))
            monitoring.ended(self.summary)
            raise
        monitoring.ended(self.summary)
        return self.summary

    def _execute(self, monitoring: Monitoring) -> None:
        try:
            with self._signals:
                opened = open_job(self._job, for_sending=not self._options.accept)
                if self._is_embedded:
                    opened = replace(opened, rows=replace(opened.rows, source=self._interruptible(opened.rows.source)))
                with locked(self._job) as directory:
                    monitoring.started()
                    remove_leftovers(directory)
                    self._run(opened, directory)
        except PipelineError as error:
            self._update()
            if self._journal is not None:
                with suppress(OSError):
                    self._update(output=written_output(self._job, self._journal.checkpoint_id))
            self._close()
            if self.summary.rows is None and not isinstance(error, Interrupted):
                self.summary = self.summary.with_job_of(known(self._job).summary)
            self.summary = self.summary.ended_by(error)
            raise
        finally:
            self._close()

    def _interruptible(self, source: Source) -> Source:
        """Return a source that ends with Interrupted where a stop is asked for while the run is still being planned."""

        def check() -> None:
            if self._is_planning and self._stop_request.signal is not None:
                raise Interrupted(self._stop_request.signal)

        return Watched(source, check)

    def _close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _run(self, opened: OpenJob, directory: Path) -> None:
        self._journal = open_journal(self._job, directory)
        if self._journal is not None:
            self._journal.sync()
        checkpoint.refuse_foreign_output(self._job, directory, self._journal)
        notes: list[str] = []
        last = read_progress(directory) or {}
        plan = checkpoint.standing_plan(opened, directory, self._journal)
        if plan is not None and (self._options.asks_longer or self._decides_anew(plan)):
            plan = None
        self._answers_before = self._answers_of(plan, last)
        self._settle_claims(plan, directory)
        if plan is None:
            try_templates(opened)
            plan = self._plan_anew(opened, directory, notes)
        journal = self._journal
        assert journal is not None
        if plan.kept_empty:
            output = written_output(self._job, journal.checkpoint_id)
            self._update(status="kept", output=output, is_idle=True, **job_figures(plan, journal))
            self._write_progress(directory, self.summary, journal, self._at_rest(FailureKinds()))
            return
        if self._options.accept:
            kind, limit = self._options.retry_kind, self._options.limit
            journal = self._writer(directory)
            accept_failures(plan, journal, kind=kind, limit=limit)
            self._update(**job_figures(plan, journal))
            self._finish(opened, plan, journal, directory, None)
            return
        select_retries(plan, journal, self._job.config.retry.max_runs, self._options)
        self._update(**job_figures(plan, journal))
        self._is_planning = False
        self._watcher.planned(opened, plan, self._options.to_send, notes)
        stop = None
        self._update(is_idle=not plan.count(*self._options.to_send))
        if not self.summary.is_idle and self._options.limit != 0:
            journal = self._writer(directory)
            stop = self._send(opened, plan, journal, directory)
        if self._options.asks_longer:
            truncated.put_back(plan, journal)
            self._update(**row_figures(plan))
        self._finish(opened, plan, journal, directory, stop)
        if stop is not None and stop.kind == "cost_cap" and not self.summary.requests:
            before = Summary.of_json(last)
            # The next request may be another row's; the cap and what is spent of it are the same.
            is_same = (
                before is not None and before.error is not None and _cap(before.error.message) == _cap(stop.message)
            )
            self._update(is_said=is_same)

    def _answers_of(self, plan: Plan | None, last: Mapping[str, Any]) -> AnswerCounts:
        """What is known of the answers before anything is sent: by the progress file, if nothing has changed since."""
        if self._journal is None:
            return AnswerCounts(0, 0)
        if plan is None or plan.count(Standing.CHANGED) or last.get("events") != self._journal.totals.events:
            return AnswerCounts()
        return AnswerCounts(last.get("truncated"), last.get("empty"))

    # ---- planning

    def _decides_anew(self, plan: Plan) -> bool:
        """Whether the user says otherwise now about rows that an earlier run kept, or was to ask again."""
        if self._options.on_change == "keep":
            return plan.count(Standing.CHANGED) > 0
        return self._options.on_change == "rerun" and plan.keeps_answers()

    def _plan_anew(self, opened: OpenJob, directory: Path, notes: list[str]) -> Plan:
        keep = self._options.on_change == "keep"
        rerun = self._options.on_change == "rerun"
        former = truncated.former_rows(opened, self._journal) if self._options.asks_longer else ()
        with checkpoint.planner(opened, directory, self._journal, forget_kept=rerun, former=former) as made:
            if self._options.on_change == "refuse":
                checkpoint.refuse_changes(opened, directory, self._journal, made)
            chosen: Sequence[int] = ()
            if self._options.asks_longer and self._journal is not None:
                chosen = truncated.choose(made, self._journal, opened)
            if self._journal is None:
                Journal.create(directory, job=self._job.config.name, simulated=self._job.config.endpoint.is_simulator)
            elif carried := made.carried_changes():
                notes.append(
                    f"the carried columns of {counted(carried, 'finished row')} changed; nothing is sent again for that"
                )
            journal = self._writer(directory)
            settings = journal.register_settings(digest(opened.settings), opened.settings)
            kept = checkpoint.keep_changes(made) if keep else ()
            made.plan.kept_empty = keep and not len(made.plan) and made.answers() > 0
            checkpoint.record_plan(made.plan, directory, journal, settings, chain(made.adoptions(), kept))
            if chosen:
                truncated.mark(made, chosen, journal, settings)
        checkpoint.keep_plan(made.plan, directory)
        return made.plan

    def _settle_claims(self, plan: Plan | None, directory: Path) -> None:
        """Record what a kill cut off, before anything else is sent; the journal is read whole before it is touched."""
        journal = self._journal
        if journal is None or not journal.claims():
            return
        if plan is None:
            for _ in journal.index():
                pass
        journal = self._writer(directory)
        events, claims, worst = lost_claims(journal.claims())
        first = journal.commit(events, release=claims, possibly_billed_usd=worst, possibly_billed_requests=len(events))
        if plan is not None:
            plan.take(first, events)

    def _writer(self, directory: Path) -> Journal:
        if self._journal is None or not self._is_writer:
            if self._journal is not None:
                self._journal.close()
            self._journal = Journal.write(directory)
            self._is_writer = True
        return self._journal

    # ---- sending

    def _send(self, opened: OpenJob, plan: Plan, journal: Journal, directory: Path) -> Stop | None:
        config = self._job.config
        to_send = plan.count(*self._options.to_send)
        self._left_alone = failure_kinds(plan, journal, [one for one in FAILED if one not in self._options.to_send])
        rows = min(to_send, self._options.limit or to_send)
        self._tracker = Tracker(rows, self._left_alone, where=shown_address(config.endpoint.url))
        pause, now = Pause(), time.time()
        sent = earlier.sent_lately(journal, config.limits, now)
        earlier.see(journal, sent, now)
        if (too_long := self._wait_out_pause(journal, pause, now)) is not None:
            return too_long
        self.first_event = journal.totals.events + 1
        settings = journal.register_settings(digest(opened.settings), opened.settings)
        journal.register_run(self.summary.run_id or "")
        processes = processes_for(config.limits, rows)
        with (
            room_for_connections(self._job, rows),
            _shared_limit(config.limits) as shared,
            endpoint_address(self._job) as address,
        ):
            sending = sending_to(self._job, address, os.environ)
            works = feed(opened.rows, plan, journal, settings, self._options.to_send, self._drawn(plan))
            works = while_unchanged(works, opened.rows.source.files)
            engine = self._engine(sending, processes, pause)  # last: from here on it is closed, whatever happens
            runner = Runner(
                feed=works, plan=plan, journal=journal, engine=engine, pause=pause,
                limits=config.limits, retry=config.retry, settings=settings, price=opened.price,
                context_window=opened.context_window, limit=self._options.limit,
                stop_request=self._stop_request, shared=shared,
                started=self._started, observe=lambda progress: self._observe(progress, plan, journal, directory),
            )  # fmt: skip
            runner.remember(sent)
            with self._signals.draining(self._stop_request, engine.wake):
                try:
                    stop = runner.run()
                finally:
                    engine.close()
                    self._take(runner.progress)
                    # What is in doubt where the journal failed stands in no total.
                    totals = journal.totals
                    self._update(
                        **row_figures(plan),
                        job_cost_usd=totals.cost_usd,
                        possibly_billed_usd=totals.possibly_billed_usd + runner.in_doubt_usd(),
                        possibly_billed_requests=plus(totals.possibly_billed_requests, runner.in_doubt()),
                    )
            if over := self.summary.over_reserve_usd:
                self._watcher.warned(
                    f"the endpoint billed ${money(over)} beyond the assumed worst case of its requests; what it was is"
                    " reserved for every later request"
                )
            # One that came too late for the runner still bounds the time for publishing.
            return stop or self._stop_request.stop()

    def _engine(self, sending: Sending, processes: int, pause: Pause) -> Engine:
        if processes > 1:
            try:
                seconds = self._started + (self._job.config.limits.deadline_seconds or math.inf) - time.monotonic()
                return ProcessEngine(sending, processes - 1, pause, self._watcher.warned, seconds)
            except InvalidInput:
                raise
            except PipelineError as error:
                if self._job.config.limits.processes != "auto":
                    raise
                self._watcher.warned(f"{error}. This run sends from one process.")
        client = sending.client(pause)
        return LocalEngine(client.attempt, sending.slots, client.abandon, self._watcher.warned)

    def _drawn(self, plan: Plan) -> list[int] | None:
        options = self._options
        if options.seed is None or options.limit is None:
            return None
        return drawn_rows(plan, options.to_send, options.limit, options.seed)

    def _wait_out_pause(self, journal: Journal, pause: Pause, now: float) -> Stop | None:
        """Keep the endpoint's Retry-After of an earlier run, or stop where it is too long for this one."""
        left = journal.totals.pause_left(now)
        if left > self._job.config.retry.max_elapsed_seconds:
            return Stop(
                5, "retry_after", f"the endpoint asked for a pause with {lasting(left)} left, longer than"
                " retry.max_elapsed_seconds",
            )  # fmt: skip
        pause.extend(time.monotonic() + left)
        return None

    def _take(self, progress: Progress) -> None:
        seconds = self._seconds()
        self._failed_now, self._answered = progress.failures, progress.succeeded
        self.summary = replace(
            self.summary, status="running", requests=progress.requests, retries=progress.retries,
            prompt_tokens=progress.prompt_tokens, completion_tokens=progress.completion_tokens,
            cost_usd=progress.cost_usd, over_reserve_usd=progress.over_reserve_usd, seconds=seconds,
            rows_per_second=progress.succeeded / seconds,
        )  # fmt: skip

    def _observe(self, progress: Progress, plan: Plan, journal: Journal, directory: Path) -> None:
        self._take(progress)
        self._tracker.see(progress)
        seconds = self.summary.seconds
        if self._stop_request.signal is not None and not self._is_stopping:
            self._is_stopping = True
            self._watcher.stopping(progress.in_flight, self._job.config.limits.drain_seconds)
        self._watcher.progressed(progress, self.summary)
        if seconds - self._progress_written >= _PROGRESS_FILE_SECONDS or not self._progress_written:
            self._progress_written = seconds
            failures = (self._left_alone + progress.failures).counts()["failures"]
            figures = {**job_figures(plan, journal), "failures": failures, **asdict(self._answers_now(progress))}
            self._write_progress(directory, replace(self.summary, **figures), journal, self._tracker.facts(progress))

    def _answers_now(self, progress: Progress) -> AnswerCounts:
        before = self._answers_before
        if before.truncated is None or before.empty is None or self._options.asks_longer:
            return AnswerCounts()
        return AnswerCounts(before.truncated + progress.truncated, before.empty + progress.empty)

    def _write_progress(self, directory: Path, summary: Summary, journal: Journal, facts: Mapping[str, Any]) -> None:
        of_file = {"events": journal.totals.events, "pid": os.getpid(), "updated_at": time.time(),
                   "answers_of_run": self._answered}  # fmt: skip
        with suppress(OSError):  # a full disk shows at the journal; this file is only for those who watch
            write_progress(directory, {**summary.as_json(), **of_file, **facts})

    def _at_rest(self, failures: FailureKinds) -> dict[str, Any]:
        """What `status` has to know once no run is under way, and would be slow to find."""
        return {
            "last_progress_at": self._tracker.last_progress_at,
            "errors": failures.facts(),
            "output_stamp": file_stamp(self.summary.output),
        }

    # ---- the end

    def _finish(self, opened: OpenJob, plan: Plan, journal: Journal, directory: Path, stop: Stop | None) -> None:
        """Publish what there is, and say how the run ended."""
        is_whole = plan.count(*_PENDING) == 0
        seconds = self._job.config.limits.drain_seconds if self._stop_request.signal is not None else None
        path, is_current = publish_rows(opened, plan, journal, is_whole=is_whole, seconds=seconds)
        failures = failure_kinds(plan, journal, max_runs=self._job.config.retry.max_runs)
        status, code, error = "succeeded", 0, None
        if stop is not None:
            status = "interrupted" if stop.kind == "interrupted" else "stopped"
            code, error = stop.exit_code, RunError(stop.kind, stop.message)
        elif not is_whole:
            status, code = "partial", 3 if self._failed_now.rows else 0
        elif not failures.are_accepted:
            status, code = "failed_rows", 3
        if self._options.asks_longer and self._failed_now.rows and stop is None:
            status, code = "failed_rows" if is_whole else status, 3
            error = truncated.in_vain(self._failed_now)
        answers = AnswerCounts()
        if is_current:
            prefix = self._job.config.output.prefix
            answers = counts_of_journal(plan, journal) if path is None else counts_of_output(path, prefix)
        self._update(
            status=status, exit_code=code, error=error, output=None if path is None else str(path),
            **asdict(answers), **failures.counts(),
        )  # fmt: skip
        self._write_progress(directory, self.summary, journal, self._at_rest(failures))

    def _update(self, **known: Any) -> None:
        seconds = self._seconds()
        self.summary = replace(self.summary, seconds=seconds, **known)

    def _seconds(self) -> float:
        return max(1e-9, time.monotonic() - self._started)


def _cap(message: str) -> str:
    """Of the message about a cost cap what it says of the cap."""
    return message.partition(", and the next request")[0]


@contextmanager
def _shared_limit(limits: LimitsConfig) -> Iterator[SharedLimit | None]:
    """The limit that the job has in common with others, while it sends; None where it names none."""
    if limits.shared is None:
        yield None
        return
    from pipeline.limits.limit_file import limit_path
    from pipeline.limits.shared import SharedLimit

    shared = SharedLimit(
        limit_path(limits.shared), requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
    )  # fmt: skip
    try:
        yield shared
    finally:
        shared.close()
