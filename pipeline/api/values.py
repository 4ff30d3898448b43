"""What a job tells, as frozen values: the objects that the command prints with --json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from pipeline.api.words import in_python
from pipeline.app.summary import Summary
from pipeline.config.source import GIVEN
from pipeline.errors import Mistake
from pipeline.estimate import Range

__all__ = ["Diagnostic", "Estimate", "Plan", "Range"]

Number = TypeVar("Number", int, float, Decimal)


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


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is still to send, and what it is expected to take; `whole_job_usd` includes what was spent already.

    Ranges of money are None where the price is not known. `affordable_rows` has a range for each cap that the job
    sets. `pilot` is the summary of the pilot's run, where there was one.
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
    def of_json(cls, found: Mapping[str, Any], pilot: Summary | None = None) -> Estimate:
        """Return what `estimate --json` prints as values."""
        return cls(
            job=found["job"],
            rows=Plan(**found["rows"]),
            requests=found["requests"],
            prompt_tokens=_range(found["prompt_tokens"], int),
            completion_tokens=_range(found["completion_tokens"], int),
            cost_usd=_money(found["cost_usd"]),
            seconds=_range(found["seconds"], float),
            spent_usd=Decimal(found["spent_usd"]),
            possibly_billed_usd=Decimal(found["possibly_billed_usd"]),
            whole_job_usd=_money(found["whole_job_usd"]),
            affordable_rows={
                cap: None if rows is None else _range(rows, int) for cap, rows in found["affordable_rows"].items()
            },
            learned_from=found["learned_from"],
            assumptions=found["assumptions"],
            pilot=pilot,
        )


def _range(found: Mapping[str, Any], number: Callable[[Any], Number]) -> Range[Number]:
    return Range(number(found["low"]), number(found["expected"]), number(found["high"]))


def _money(found: Mapping[str, Any]) -> Range[Decimal] | None:
    return None if found["expected"] is None else _range(found, Decimal)
