"""The result of a run, as people and scripts see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from pipeline.errors import Interrupted, PipelineError
from pipeline.records import JsonObject
from pipeline.wording import money

if TYPE_CHECKING:
    from pipeline.journal import Journal
    from pipeline.plan import Plan

_MONEY = ("cost_usd", "job_cost_usd", "possibly_billed_usd", "over_reserve_usd")
_NOT_WRITTEN = ("cached_tokens", "reasoning_tokens", "exit_code", "is_idle", "is_said")
_NOT_PRINTED = (*_NOT_WRITTEN, "is_whole")
_OF_THE_JOB = (
    "job",
    "rows",
    "succeeded",
    "failed",
    "pending",
    "truncated",
    "empty",
    "failures",
    "accepted",
    "to_retry",
    "unpriced_rows",
    "job_cost_usd",
    "possibly_billed_usd",
    "possibly_billed_requests",
    "output",
)


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run did not end well: a stable word and a sentence."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A run's figures. Those named in `_OF_THE_JOB` are the job's over all runs; the rest are this run's. Money is in
    USD. `output` is the file with the answers so far, None if there is none. Unknown figures are None.

    `truncated` and `empty` count answers. `failures` counts the failed rows by `error_kind`; of these, `accepted` are
    the ones whose failure the user accepted, and `to_retry` the ones that the next run sends again.
    """

    job: str | None = None
    run_id: str | None = None
    status: str = "not_started"
    rows: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    pending: int | None = None
    truncated: int | None = None
    empty: int | None = None
    failures: Mapping[str, int] | None = None
    accepted: Mapping[str, int] | None = None
    to_retry: Mapping[str, int] | None = None
    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    job_cost_usd: Decimal | None = None
    unpriced_rows: int | None = None
    possibly_billed_usd: Decimal | None = None
    possibly_billed_requests: int | None = None
    over_reserve_usd: Decimal = Decimal(0)
    """By how much requests of this run were billed beyond their assumed worst case."""
    concurrency: int | None = None
    """Requests in flight at most, as found while sending; None where the job says their number."""
    limited_by: str | None = None
    """What kept more from being in flight then."""
    seconds: float = 0.0
    rows_per_second: float = 0.0
    output: str | None = None
    error: RunError | None = None
    exit_code: int = 0
    is_idle: bool = False
    """Whether there was nothing to send."""
    is_said: bool = False
    """Whether the run before ended for the same cause and nothing has happened since: nobody has to hear it twice."""
    is_whole: bool = False
    """Whether the output is complete although a signal ended the run: the last rows were answered while it drained."""

    def ended_by(self, error: PipelineError) -> Summary:
        """Return the summary of a run that an error ended."""
        status = "interrupted" if isinstance(error, Interrupted) else "stopped"
        return replace(self, status=status, error=RunError(error.kind, str(error)), exit_code=error.exit_code)

    def with_job_of(self, known: Summary) -> Summary:
        """Return the summary with what another one knows of the job over all runs."""
        return replace(self, **{name: getattr(known, name) for name in _OF_THE_JOB})

    def having(self, *figures: Struct, **known: Any) -> Summary:
        """Return the summary with figures that have its names, and with further ones by name."""
        found = {name: value for one in figures for name, value in structs.asdict(one).items()}
        return replace(self, **found, **known)

    @classmethod
    def of_json(cls, found: JsonObject) -> Summary | None:
        """Return the summary that the progress file holds; None if it is not one."""
        values = {
            field.name: found[field.name]
            for field in fields(cls)
            if field.name in found
            and field.name not in _NOT_WRITTEN
            and (found[field.name] is not None or field.default is None)
        }
        try:
            for name in _MONEY:
                if values.get(name) is not None:
                    values[name] = Decimal(values[name])
            if "error" in values:
                values["error"] = RunError(**values["error"])
        except (ArithmeticError, TypeError, ValueError):
            return None
        return cls(**values)

    def as_json(self) -> JsonObject:
        """Return the summary as `--json` prints it: money as exact decimal text, `error` only if there is one."""
        found = asdict(self)
        for name in _NOT_PRINTED:
            del found[name]
        for name in ("error", "concurrency", "limited_by"):
            if found[name] is None:
                del found[name]
        if not self.over_reserve_usd:
            del found["over_reserve_usd"]
        for name in found.keys() & set(_MONEY):
            found[name] = None if found[name] is None else money(found[name])
        found["seconds"], found["rows_per_second"] = round(self.seconds, 3), round(self.rows_per_second, 3)
        return found


class RowFigures(Struct, frozen=True):
    """The job's rows by acknowledged outcome, over all runs."""

    rows: int
    succeeded: int
    failed: int
    pending: int
    unpriced_rows: int

    @classmethod
    def of(cls, plan: Plan) -> RowFigures:
        """Return the figures of a plan."""
        from pipeline.journal import State
        from pipeline.plan import FAILED, SUCCEEDED, WITHOUT_PRICE

        return cls(
            rows=len(plan),
            succeeded=plan.rows(*SUCCEEDED),
            failed=plan.rows(*FAILED),
            pending=plan.rows(State.NEW, State.ATTEMPTED, State.CHANGED),
            unpriced_rows=plan.count(*WITHOUT_PRICE),
        )


class MoneyFigures(Struct, frozen=True):
    """What was billed, and possibly billed, over all runs. Requests that are in flight or were at a kill count as
    possibly billed.
    """

    job_cost_usd: Decimal
    possibly_billed_usd: Decimal
    possibly_billed_requests: int | None

    @classmethod
    def of(cls, journal: Journal) -> MoneyFigures:
        """Return the figures of a journal."""
        claims = journal.claims()
        return cls.while_open(journal, len(claims), sum((Decimal(one.worst_cost or 0) for one in claims), Decimal(0)))

    @classmethod
    def while_open(cls, journal: Journal, open_claims: int, worst_usd: Decimal) -> MoneyFigures:
        """Return the figures of a journal with a number of open claims and their maximum cost."""
        from pipeline.journal import plus

        return cls(
            job_cost_usd=journal.totals.cost_usd,
            possibly_billed_usd=journal.totals.possibly_billed_usd + worst_usd,
            possibly_billed_requests=plus(journal.totals.possibly_billed_requests, open_claims),
        )
