"""A run's figures as a file for the textfile collector of Prometheus' node_exporter.

Times and totals go on from what the file says: of a failure it still tells when the last success was.
https://prometheus.io/docs/practices/naming/ says how metrics are named.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from pipeline.app.observe.summary import Summary

_PREFIX = "llm_batch_"


class _Families(Collector):
    """Metric families that are complete already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def write_metrics(path: Path, job: str, summary: Summary, now: float) -> None:
    """Replace the file with what is known after a run; `now` is Unix seconds. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families(job, summary, now, _samples(path, job))))
    write_to_textfile(str(path), registry)


def families(job: str, summary: Summary, now: float, before: dict[tuple[str, str], float]) -> Iterable[Metric]:
    """Yield the metrics after a run. `before` has the last run's samples by name and value of the second label."""
    succeeded = now if summary.exit_code == 0 else before.get((f"{_PREFIX}last_success_timestamp_seconds", ""))
    if succeeded is not None:
        yield _gauge("last_success_timestamp_seconds", "When a run last ended with exit code 0.", job, succeeded)
    yield _gauge("last_run_timestamp_seconds", "When the last run ended.", job, now)
    yield _gauge("last_run_exit_code", "The exit code of the last run.", job, summary.exit_code)
    yield _gauge("last_run_duration_seconds", "How long the last run took.", job, summary.seconds)
    if summary.rows is not None:
        rows = GaugeMetricFamily(f"{_PREFIX}rows", "The job's rows by status.", labels=("job", "status"))
        for status in ("succeeded", "failed", "pending"):
            rows.add_metric((job, status), getattr(summary, status) or 0)
        yield rows
    if summary.job_cost_usd is not None:
        yield _gauge("cost_usd", "What the job has cost over all runs.", job, summary.job_cost_usd)
    if summary.possibly_billed_usd is not None:
        help_text = "The most that requests whose end is unknown may have cost besides."
        yield _gauge("possibly_billed_usd", help_text, job, summary.possibly_billed_usd)
    runs = "of the runs that have written this file"
    yield _counter("requests", f"Requests sent, {runs}.", job, summary.requests, before)
    tokens = CounterMetricFamily(f"{_PREFIX}tokens", f"Tokens by kind, {runs}.", labels=("job", "kind"))
    for kind, count in (("prompt", summary.prompt_tokens), ("completion", summary.completion_tokens)):
        tokens.add_metric((job, kind), before.get((f"{_PREFIX}tokens_total", kind), 0) + count)
    yield tokens
    # Not further kinds of `tokens`, whose sum has to stay the tokens that there were.
    help_text = f"Prompt tokens read from the endpoint's cache, {runs}."
    yield _counter("cached_tokens", help_text, job, summary.cached_tokens, before)
    yield _counter("reasoning_tokens", f"Tokens of reasoning, {runs}.", job, summary.reasoning_tokens, before)


def _gauge(name: str, help_text: str, job: str, value: float | Decimal) -> Metric:
    gauge = GaugeMetricFamily(f"{_PREFIX}{name}", help_text, labels=("job",))
    gauge.add_metric((job,), float(value))
    return gauge


def _counter(name: str, help_text: str, job: str, value: int, before: dict[tuple[str, str], float]) -> Metric:
    counter = CounterMetricFamily(f"{_PREFIX}{name}", help_text, labels=("job",))
    counter.add_metric((job,), before.get((f"{_PREFIX}{name}_total", ""), 0) + value)
    return counter


def _samples(path: Path, job: str) -> dict[tuple[str, str], float]:
    """Return the job's samples in the file; none if it is missing or not such a file."""
    try:
        found = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}
    return {
        (sample.name, sample.labels.get("kind", sample.labels.get("status", ""))): sample.value
        for family in found
        for sample in family.samples
        if sample.labels.get("job") == job
    }
