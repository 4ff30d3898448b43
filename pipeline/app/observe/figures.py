"""The figures of a run at any moment, for those who watch it and for `status`."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.app.observe.answer_counts import AnswerCounts
from pipeline.app.observe.control import Controls
from pipeline.app.observe.status import cache_facts, output_stamp
from pipeline.app.observe.summary import MoneyFigures, RowFigures, Summary
from pipeline.app.observe.throughput import Tracker
from pipeline.journal import Journal, write_progress
from pipeline.plan import FailureKinds, Plan
from pipeline.records import JsonObject
from pipeline.runner import Progress

_PROGRESS_FILE_SECONDS = 1.0


class Figures:
    """Keeps the summary of a run, and word of it in the progress file. Times are of the monotonic clock, in seconds.

    `failed_now` are the rows that failed in this run, `left_alone` the failed rows that it does not send. `answers` are
    those from before it; None in them is not known, and stays so. `out` are the lines in batches that the sending has
    nothing to do with, and what they may cost at most. `has_marks` is as for `input_row_id`, once
    the job is open.
    """

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        self.has_marks = False
        self.started = time.monotonic()
        self.failed_now = FailureKinds()
        self.left_alone = FailureKinds()
        self.answers = AnswerCounts()
        self.tracker = Tracker(0, FailureKinds())
        self.controls: Controls | None = None
        self.out: tuple[int, Decimal] = (0, Decimal(0))
        self._succeeded = 0
        self._written_at = 0.0

    def update(self, *figures: Struct, **known: Any) -> None:
        """Take in what is known now, by the names of the summary."""
        self.summary = self.summary.having(*figures, seconds=self._seconds(), **known)

    def take(self, progress: Progress) -> None:
        """Take in how far the sending is."""
        seconds = self._seconds()
        self.failed_now, self._succeeded = progress.failures, progress.succeeded
        self.update(
            status="running",
            requests=progress.requests,
            retries=progress.retries,
            prompt_tokens=progress.prompt_tokens,
            completion_tokens=progress.completion_tokens,
            cached_tokens=progress.cached_tokens,
            reasoning_tokens=progress.reasoning_tokens,
            cost_usd=progress.cost_usd,
            over_reserve_usd=progress.over_reserve_usd,
            concurrency=None if progress.limited_by is None else progress.slots,
            limited_by=progress.limited_by,
            rows_per_second=progress.succeeded / seconds,
        )

    def see(self, progress: Progress, plan: Plan, journal: Journal, directory: Path) -> None:
        """Follow a run that is sending: write the progress file, but not more often than once a second."""
        self.tracker.see(progress)
        seconds = self.summary.seconds
        if self._written_at and seconds - self._written_at < _PROGRESS_FILE_SECONDS:
            return
        self._written_at = seconds
        failures = (self.left_alone + progress.failures).counts()["failures"]
        answers = self.answers.plus(progress.truncated, progress.empty)
        # Of the journal's open claims, which are the requests in flight, ten thousand are not read once a second.
        lines, worst_usd = self.out
        money = MoneyFigures.while_open(journal, progress.in_flight + lines, progress.in_doubt_usd + worst_usd)
        summary = self.summary.having(RowFigures.of(plan), money, answers, failures=failures)
        self._write(directory, summary, journal, self.tracker.facts(progress))

    def write_at_rest(self, directory: Path, journal: Journal, failures: FailureKinds) -> None:
        """Write what `status` has to know once no run is under way, and would be slow to find."""
        facts = {
            "last_progress_at": self.tracker.last_progress_at,
            "errors": failures.facts(has_marks=self.has_marks),
            "output_stamp": output_stamp(self.summary.output),
        }
        self._write(directory, self.summary, journal, facts)

    def _write(self, directory: Path, summary: Summary, journal: Journal, facts: JsonObject) -> None:
        of_file = {
            "events": journal.totals.events,
            "cache": cache_facts(journal.totals),
            "pid": os.getpid(),
            "updated_at": time.time(),
            "answers_of_run": self._succeeded,
            "is_whole": summary.is_whole,
            "batches": [batch.facts() for batch in journal.totals.batches],
            **({} if self.controls is None else self.controls.facts()),
        }
        with suppress(OSError):  # a full disk shows at the journal; this file is only for those who watch
            write_progress(directory, {**summary.as_json(), **of_file, **facts})

    def _seconds(self) -> float:
        return max(1e-9, time.monotonic() - self.started)
