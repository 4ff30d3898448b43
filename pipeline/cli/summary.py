"""A run's summary in words."""

from __future__ import annotations

from pathlib import Path

from pipeline.app.summary import Summary, money

_MEANING = {
    "succeeded": "every row has an answer",
    "failed_rows": "finished; some rows failed",
    "partial": "rows are pending",
    "kept": "the input is empty; the old answers were kept",
}


def counts_text(summary: Summary) -> str:
    """The job's rows by outcome."""
    if summary.rows is None:
        return "nothing was sent"
    outcomes = f"{summary.succeeded:,} answered, {summary.failed:,} failed, {summary.pending:,} pending"
    return f"{outcomes} of {summary.rows:,} rows"


def one_line(summary: Summary) -> str:
    """Everything that a mail from cron has to say."""
    cause = summary.error.message if summary.error else _MEANING.get(summary.status, summary.status)
    where = f"; see {summary.output}" if summary.output else ""
    return f"{summary.job or 'pipeline'}: {cause}: {counts_text(summary)}{where}"


def log_line(summary: Summary) -> str:
    """The last that a log says of a run: how it ended, where the job stands, and what this run did."""
    return (
        f"{summary.job or 'pipeline'}: {summary.status}, exit code {summary.exit_code}: {counts_text(summary)};"
        f" {summary.requests:,} requests, ${money(summary.cost_usd)}, {summary.seconds:,.1f} s"
    )


def summary_text(summary: Summary, job_file: str) -> str:
    """The closing summary; it ends with the next command to type."""
    cause = summary.error.message if summary.error else _MEANING.get(summary.status, summary.status)
    lines = [f"{summary.job}: {cause}", f"  rows      {counts_text(summary)}"]
    if summary.requests:
        lines.append(
            f"  this run  {summary.requests:,} requests ({summary.retries:,} retries) in {summary.seconds:,.1f} s,"
            f" {summary.rows_per_second:,.1f} rows/s"
        )
        lines.append(f"  tokens    {summary.prompt_tokens:,} prompt, {summary.completion_tokens:,} completion")
    if summary.job_cost_usd is not None:
        lines.append(f"  cost      {cost_text(summary)}")
    if summary.output:
        lines.append(f"  output    {summary.output}")
    lines.append(f"  next      {next_command(summary, job_file)}")
    return "\n".join(lines)


def cost_text(summary: Summary) -> str:
    """What was spent, where the job's cost is known."""
    if summary.job_cost_usd is None:
        return "not known"
    cost = f"${money(summary.cost_usd)} this run, ${money(summary.job_cost_usd)} the whole job"
    if summary.possibly_billed_usd or summary.possibly_billed_requests:
        cost += f", and possibly {_in_doubt(summary)}"
    if summary.unpriced_rows:
        cost += f"; the cost of {summary.unpriced_rows:,} answers is unknown"
    return cost


def _in_doubt(summary: Summary) -> str:
    """The requests that may have been billed besides, and the most that they can have cost where that is known."""
    count = summary.possibly_billed_requests
    requests = "requests" if count is None else "1 request" if count == 1 else f"{count:,} requests"
    amount = f"up to ${money(summary.possibly_billed_usd)} for " if summary.possibly_billed_usd else ""
    return f"{amount}{requests} whose end is unknown"


def next_command(summary: Summary, job_file: str) -> str:
    """What to type next."""
    if summary.status == "failed_rows":
        return f"pipeline retry-failed {job_file}"
    if summary.exit_code or summary.pending or summary.status in ("not_started", "interrupted", "stopped"):
        return f"pipeline run {job_file}"
    if summary.output:
        return f"python -c \"import pandas; print(pandas.read_parquet('{Path(summary.output)}'))\""
    return f"pipeline status {job_file}"
