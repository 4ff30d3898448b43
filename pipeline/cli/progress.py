"""A run's plan and progress as it goes: a bar on a terminal, lines with --verbose or in a log file, nothing in cron."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pipeline.app.observe.summary import Summary
from pipeline.app.observe.watcher import Watcher
from pipeline.catalogue import known_prices, list_version, unpriced_models
from pipeline.cli.console import Console
from pipeline.cli.status import duration, waiting_text
from pipeline.config import key_note, shown_address
from pipeline.wording import counted, money, rounded_money

if TYPE_CHECKING:
    from pipeline.app.jobs.job import OpenJob
    from pipeline.journal import State
    from pipeline.limits import QuotaNotice, Trouble
    from pipeline.plan import Plan
    from pipeline.runner import Progress

_SECONDS_A_LINE = 5.0
_SECONDS_A_CAUSE = 60.0
_BAR = "{percentage:3.0f}%|{bar:8}| {n_fmt}/{total_fmt} rows{postfix}"
_NARROW_BAR = "{percentage:3.0f}% {n_fmt}/{total_fmt} rows{postfix}"
_COLUMNS_OF_A_BAR = 80


class ConsoleWatcher(Watcher):
    """Shows a run on a console. Leaving the `with` block takes the bar away."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Any = None
        self._to_send = 0
        self._has_price = False
        self._is_simulated = False
        self._sending_since = 0.0
        self._last_line = 0.0
        self._where = ""
        self._last_told = -math.inf
        self._told_cause = ""
        self._told_quota: QuotaNotice | None = None

    def planned(self, opened: OpenJob, plan: Plan, to_send: tuple[State, ...], notes: list[str]) -> None:
        """Say what will be sent, before anything is."""
        console = self._console
        counts = plan.counts()
        for note in notes:
            console.caution(note)
        self._to_send = plan.count(*to_send)
        unpriced = unpriced_models(opened.terms)
        self._has_price = not unpriced
        self._is_simulated = opened.job.config.endpoint.is_simulator
        console.note(
            f"plan: {counted(counts.total, 'row')}: {counts.done:,} done, {counts.new:,} new,"
            f" {counts.changed:,} changed, {counts.to_retry:,} to retry; {counted(counts.orphaned, 'orphaned answer')}"
        )
        if not self._to_send:
            console.note("nothing to send")
        elif console.is_heard:
            from pipeline.app.jobs.disk import disk_warnings
            from pipeline.app.jobs.quick_estimate import quick_estimate, rounded_usd

            estimate = quick_estimate(opened, plan, to_send)
            if estimate.cost_usd is not None:
                spent = rounded_usd(estimate.cost_usd).map(money)
                simulated = ", simulated" if self._is_simulated else ""
                how = opened.job.command("estimate")
                console.note(
                    f"to send: {counted(self._to_send, 'row')} for about ${spent.expected} "
                    f"(${spent.low} to ${spent.high}{simulated}; `{how}` says how)"
                )
            else:
                console.note(f"to send: {counted(self._to_send, 'row')}")
            for warning in disk_warnings(opened, plan, estimate.completion_tokens.expected):
                console.caution(warning)
        self._where = " and ".join(map(shown_address, opened.job.config.endpoint.urls))
        limits = opened.job.config.limits
        if self._to_send and limits.max_cost_usd is None and limits.max_run_cost_usd is None:
            console.note("no cost cap is set; limits.max_cost_usd sets one")
        if self._to_send and unpriced:
            console.caution(
                f"no price is known for {' and '.join(unpriced)}, so costs stay unknown; `pricing:` sets one"
            )
        if self._to_send and (words := _whose_prices(opened)) is not None:
            console.note(words)
        if self._to_send and (key := key_note(opened.job.config.endpoint, os.environ)) is not None:
            console.note(key)
        self._sending_since = time.monotonic()
        if self._to_send and console.is_chatty and console.is_terminal and console.log_format == "text":
            from tqdm import tqdm

            # The figures come first, because the line is truncated at the terminal's width.
            is_narrow = 0 < os.get_terminal_size(sys.stderr.fileno()).columns < _COLUMNS_OF_A_BAR
            shape = _NARROW_BAR if is_narrow else _BAR
            self._bar = tqdm(total=self._to_send, dynamic_ncols=True, bar_format=shape)

    def progressed(self, progress: Progress, summary: Summary) -> None:
        """Show the figures."""
        finished = progress.succeeded + progress.failed
        seconds = max(0.001, time.monotonic() - self._sending_since)
        figures = ", ".join(self._figures(progress, finished, seconds))
        if progress.trouble is not None:
            self._tell(progress.trouble)
        if progress.quota is not None and progress.quota != self._told_quota:
            self._told_quota = progress.quota
            self.warned(f"{waiting_text(progress.quota.cause, progress.quota.until)} (limits.wait_for_quota_seconds)")
        if self._bar is not None:
            self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update(finished - self._bar.n)
        if time.monotonic() - self._last_line >= _SECONDS_A_LINE:
            self._last_line = time.monotonic()
            say = self._console.note if self._bar is None else self._console.record
            say(f"{finished:,} of {counted(self._to_send, 'row')}, {figures}")

    def _figures(self, progress: Progress, finished: int, seconds: float) -> Iterator[str]:
        """Return the progress as text, the most important first; what is not known yet is left out."""
        if progress.paused_seconds > 0:
            yield f"the endpoint asks for a pause of {duration(progress.paused_seconds)}"
        yield self._cost(progress, finished)
        if finished:
            yield f"{finished / seconds:,.1f} rows/s"
            yield f"{duration((self._to_send - finished) * seconds / finished)} left"
        if progress.failed:
            yield f"{progress.failed:,} failed"
        if progress.retries:
            yield counted(progress.retries, "retry")
        if tokens := progress.prompt_tokens + progress.completion_tokens:
            yield f"{tokens / seconds:,.0f} tokens/s"

    def _cost(self, progress: Progress, finished: int) -> str:
        if not self._has_price:
            return "cost unknown"
        cost = f"${_rounded(progress.cost_usd)}"
        if finished and progress.cost_usd:
            cost += f" of about ${_rounded(progress.cost_usd / finished * self._to_send)}"
        return cost + (" simulated" if self._is_simulated else "")

    def _tell(self, trouble: Trouble) -> None:
        """Say why nothing comes in: at once, soon again where the cause is another one, and now and then."""
        silent = time.monotonic() - self._last_told
        if silent < (_SECONDS_A_CAUSE if trouble.cause == self._told_cause else _SECONDS_A_LINE):
            return
        self._last_told, self._told_cause = time.monotonic(), trouble.cause
        if self._bar is not None:
            self._bar.clear()
        self._console.caution(trouble.sentence(self._where))

    def warned(self, message: str) -> None:
        """Say it where it is worth words."""
        with self._beside_bar():
            self._console.caution(message)

    def stopping(self, in_flight: int, seconds: float) -> None:
        """Say that the signal was heard, and what is waited for."""
        requests = counted(in_flight, "request")
        with self._beside_bar():
            self._console.acknowledge(
                f"stopping: nothing more is sent; waiting up to {seconds:g} s for {requests} in flight, whose answers"
                " are kept (a second signal stops at once)"
                if in_flight
                else "stopping: nothing more is sent, and no request is in flight"
            )

    @contextmanager
    def _beside_bar(self) -> Iterator[None]:
        """Take the bar away while a line is written."""
        if self._bar is not None:
            self._bar.clear()
        yield
        if self._bar is not None:
            self._bar.refresh()

    def __enter__(self) -> ConsoleWatcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def _rounded(amount: Decimal) -> str:
    """Return USD to the cent, below a dollar to a hundredth of one."""
    return rounded_money(amount, 2) if amount >= 1 else money(Decimal(rounded_money(amount, 4)))


def _whose_prices(opened: OpenJob) -> str | None:
    """Return where the prices come from, unless they are the user's own or those of Dataoorts for itself."""
    config = opened.job.config
    price = next((price for price in known_prices(opened.terms) if price.as_of is not None), None)
    if price is None:
        return None
    if config.pricing is not None and config.pricing.provider is not None:
        return f"priced as {config.pricing.provider} was by {list_version()}, of {price.as_of} or later"
    if config.model_facts is None:
        return f"priced as Dataoorts was on {price.as_of}; `pricing:` sets your server's own prices"
    return None
