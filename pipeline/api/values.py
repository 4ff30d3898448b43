"""What a job tells, as frozen values: the objects that the command prints with --json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from pipeline.api.words import in_python
from pipeline.app.observe.summary import Summary
from pipeline.app.use_cases.forecast import Forecast
from pipeline.errors import GIVEN, Mistake
from pipeline.estimate import Range
from pipeline.plan import Counts

__all__ = ["Diagnostic", "Estimate", "Plan", "Range"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong with a job.

    `line` and `column` count from 1. `file`, `line` and `column` are None where the job did not come from a file.
    """

    file: str | None
    line: int | None
    column: int | None
    key: str | None
    message: str
    suggestion: str | None

    @classmethod
    def of(cls, mistake: Mistake) -> Diagnostic:
        """Return a mistake as the Python interface tells it."""
        suggestion = None if mistake.suggestion is None else in_python(mistake.suggestion)
        if mistake.file is None or mistake.file == GIVEN or mistake.file.startswith("--set"):
            return cls(None, None, None, mistake.key, in_python(mistake.message), suggestion)
        return cls(mistake.file, mistake.line, mistake.column, mistake.key, in_python(mistake.message), suggestion)


@dataclass(frozen=True, slots=True)
class Plan:
    """How many rows a run would find where; `orphaned` counts answers without a row."""

    total: int
    done: int
    new: int
    changed: int
    to_retry: int
    orphaned: int

    @classmethod
    def of(cls, counts: Counts) -> Plan:
        """Return the counts of a plan as the Python interface tells them."""
        return cls(counts.total, counts.done, counts.new, counts.changed, counts.to_retry, counts.orphaned)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is still to send, and what it is expected to take. `whole_job_usd` includes what was spent already.

    Ranges of money are None if the price is unknown. `affordable_rows` has a range for each cap that the job
    sets. `pilot` is the summary of the pilot's run, if there was one.
    """

    job: str
    rows: Plan
    requests: int
    prompt_tokens: Range[int]
    completion_tokens: Range[int]
    cost_usd: Range[Decimal] | None
    seconds: Range[float]
    spent_usd: Decimal
    possibly_billed_usd: Decimal
    whole_job_usd: Range[Decimal] | None
    affordable_rows: Mapping[str, Range[int] | None]
    learned_from: int
    assumptions: str
    pilot: Summary | None = None

    @classmethod
    def of(cls, found: Forecast, pilot: Summary | None = None) -> Estimate:
        """Return a forecast as the Python interface tells it."""
        return cls(
            job=found.job,
            rows=Plan.of(found.rows),
            requests=found.estimate.requests,
            prompt_tokens=found.estimate.prompt_tokens,
            completion_tokens=found.estimate.completion_tokens,
            cost_usd=found.cost_usd,
            seconds=found.seconds,
            spent_usd=found.spent_usd,
            possibly_billed_usd=found.possibly_billed_usd,
            whole_job_usd=found.whole_job_usd,
            affordable_rows=found.affordable_rows,
            learned_from=found.estimate.learned_from,
            assumptions=in_python(found.assumptions),
            pilot=pilot,
        )
