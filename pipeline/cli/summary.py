"""A run's summary in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from msgspec import Struct

from pipeline.app.jobs.pricing import price_of
from pipeline.app.observe.next_steps import kinds_text, next_steps
from pipeline.app.observe.summary import Summary
from pipeline.config import Job, JobCall
from pipeline.endings import LimitedBy
from pipeline.wording import counted, money

_MEANING = {
    "succeeded": "every row has an answer",
    "failed_rows": "finished; some rows failed",
    "partial": "rows are pending",
    "kept": "the input is empty; the old answers were kept",
}

_LIMITS = {
    LimitedBy.SERVER: "the server answered later with more, and not more",
    LimitedBy.RATE_LIMIT: "a rate limit held back what was beyond",
    LimitedBy.CAP: "as many as are allowed at once",
    LimitedBy.MACHINE: "this machine had no room or time for more",
    LimitedBy.ROWS: "the rows were sent before a limit was met",
}


class SummaryText(Struct, frozen=True):
    """A summary for people: how the command named the job, and the job, None where it could not be read."""

    summary: Summary
    call: JobCall
    job: Job | None = None

    @property
    def cause(self) -> str:
        """How the run ended."""
        summary = self.summary
        if summary.error:
            return summary.error.message
        if summary.status == "succeeded" and summary.failed:
            return "every row has an answer, or a failure that was accepted"
        return _MEANING.get(summary.status, summary.status)

    @property
    def is_simulated(self) -> bool:
        """Whether the money is the simulator's, and nobody was billed."""
        return self.job is not None and self.job.config.endpoint.is_simulator

    def one_line(self) -> str:
        """Return everything that a mail from cron has to say."""
        summary = self.summary
        where = f"; see {summary.output}" if summary.output else ""
        step = next_steps(summary, self.call, self.job)[0]
        why = f" ({step.why})" if step.why else ""
        return f"{summary.job or 'pipeline'}: {self.cause}: {counts_text(summary)}{where}; next: {step.command}{why}"

    def log_line(self) -> str:
        """Return the last log line of a run: how it ended, the status of the job, and what this run did."""
        summary = self.summary
        found = self.concurrency()
        return (
            f"{summary.job or 'pipeline'}: {summary.status}, exit code {summary.exit_code}: {counts_text(summary)};"
            f" {counted(summary.requests, 'request')}, {self.cost_of_run()}, {summary.seconds:,.1f} s"
            + ("" if found is None else f"; in flight {found}")
        )

    def text(self) -> str:
        """Return the closing summary; it ends with the next command to type."""
        summary = self.summary
        lines = [f"{summary.job}: {self.cause}", f"  rows      {counts_text(summary)}"]
        if summary.requests:
            rate = f", {summary.rows_per_second:,.1f} rows/s" if summary.rows_per_second else ""
            lines.append(f"  this run  {requests_text(summary)} in {summary.seconds:,.1f} s{rate}")
            lines.append(f"  tokens    {tokens_text(summary)}")
        if (found := self.concurrency()) is not None:
            lines.append(f"  in flight {found}")
        if (cost := self.cost()) is not None:
            lines.append(f"  cost      {cost}")
        if summary.output:
            lines.append(f"  output    {summary.output}")
        return "\n".join([*lines, *self.next_lines("  next      ")])

    def next_lines(self, label: str) -> Sequence[str]:
        """Return what to do next, a line for each step; the first begins with `label`."""
        steps = next_steps(self.summary, self.call, self.job)
        return [(label if number == 0 else " " * len(label)) + str(step) for number, step in enumerate(steps)]

    def concurrency(self) -> str | None:
        """Return how many requests were in flight, and what kept it at that; None if the job says their number."""
        if self.summary.concurrency is None or self.summary.limited_by is None:
            return None
        return f"up to {self.summary.concurrency:,}: {_LIMITS[LimitedBy(self.summary.limited_by)]}"

    def cost_of_run(self) -> str:
        """Return what the run was billed, as far as it is known."""
        summary = self.summary
        if not summary.cost_usd and summary.requests and summary.unpriced_rows:
            return "at an unknown cost"
        return f"${money(summary.cost_usd)}{' simulated' if self.is_simulated else ''}"

    def cost(self, *, has_run: bool = True) -> str | None:
        """Return what was spent; None where nothing is known of it. `has_run`: also by the run alone."""
        summary = self.summary
        if summary.job_cost_usd is None:
            return None
        unpriced = summary.unpriced_rows or 0
        if unpriced and not summary.job_cost_usd:
            cost = f"unknown for {counted(unpriced, 'answer')}"
        else:
            run = f"${money(summary.cost_usd)} this run, " if has_run else ""
            cost = f"{run}${money(summary.job_cost_usd)} the whole job"
            if unpriced:
                cost += f"; the cost of {counted(unpriced, 'answer')} is unknown"
        if summary.possibly_billed_usd or summary.possibly_billed_requests:
            cost += f", and possibly {_in_doubt(summary)}"
        if self.is_simulated:
            return f"{cost} (simulated: nobody was billed)"
        price = price_of(self.job.config) if self.job is not None else None
        age = price.age_note(date.today()) if price is not None else None
        return f"{cost} ({age})" if age else cost


def counts_text(summary: Summary, *, with_kinds: bool = True) -> str:
    """Return the job's rows by outcome, and what is not as it should be; `with_kinds`: failures by kind too."""
    if summary.rows is None:
        return "nothing was sent"
    pending = "" if summary.pending is None else f", {summary.pending:,} pending"
    outcomes = f"{summary.succeeded:,} answered, {summary.failed:,} failed{pending}"
    parts = [f"{outcomes} of {counted(summary.rows, 'row')}"]
    if summary.failures and with_kinds:
        parts.append(f"failed: {kinds_text(summary.failures.items())}")
    if summary.accepted:
        parts.append(f"{counted(sum(summary.accepted.values()), 'failure')} accepted")
    answers = {"truncated": summary.truncated, "empty": summary.empty}
    if any(answers.values()):
        parts.append("of the answers " + ", ".join(f"{count:,} {word}" for word, count in answers.items() if count))
    return "; ".join(parts)


def requests_text(summary: Summary) -> str:
    """Return the run's requests, and how many of them were retries."""
    retries = f" ({counted(summary.retries, 'retry')})" if summary.retries else ""
    return counted(summary.requests, "request") + retries


def tokens_text(summary: Summary) -> str:
    """Return the run's tokens; those of replies without a valid usage are unknown."""
    if not summary.prompt_tokens and not summary.completion_tokens:
        return "unknown: no reply reported them"
    return f"{summary.prompt_tokens:,} prompt, {summary.completion_tokens:,} completion"


def _in_doubt(summary: Summary) -> str:
    """Return the requests that may have been billed besides, and the most that they can have cost where it is known."""
    count = summary.possibly_billed_requests
    requests = "requests" if count is None else counted(count, "request")
    amount = f"up to ${money(summary.possibly_billed_usd)} for " if summary.possibly_billed_usd else ""
    return f"{amount}{requests} whose end is unknown"
