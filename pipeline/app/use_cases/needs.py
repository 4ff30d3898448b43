"""What a job of a chain would send, take and cost, as ranges."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import asdict

from pipeline.app.use_cases.forecast import usd_json
from pipeline.estimate import BOUNDS, Range
from pipeline.plan import Counts
from pipeline.records import JsonObject
from pipeline.wording import money

_T = TypeVar("_T", int, float, Decimal)


class Needs(Struct, frozen=True):
    """What is still to send takes, in USD and seconds, and what was spent already. What is not known is None."""

    requests: Range[int]
    prompt_tokens: Range[int] | None
    completion_tokens: Range[int] | None
    cost_usd: Range[Decimal] | None
    seconds: Range[float] | None
    spent_usd: Decimal

    def __add__(self, other: Needs) -> Needs:
        return Needs(
            self.requests.plus(other.requests),
            _sum(self.prompt_tokens, other.prompt_tokens),
            _sum(self.completion_tokens, other.completion_tokens),
            _sum(self.cost_usd, other.cost_usd),
            _rounded(_sum(self.seconds, other.seconds)),
            self.spent_usd + other.spent_usd,
        )

    def as_json(self) -> JsonObject:
        """Return what `plan --json` prints."""
        return {
            "requests": self.requests.as_json(),
            "prompt_tokens": _json(self.prompt_tokens),
            "completion_tokens": _json(self.completion_tokens),
            "cost_usd": usd_json(self.cost_usd),
            "seconds": _json(self.seconds),
            "spent_usd": money(self.spent_usd),
        }


class Stage(Struct, frozen=True):
    """The plan of one job: of the rows that its input has by now, and of those that the job before is yet to make, as
    many as `rows_to_come`.
    """

    job: str
    file: str
    is_simulated: bool
    rows: Counts
    rows_to_come: Range[int]
    needs: Needs
    assumptions: str

    def as_json(self) -> JsonObject:
        """Return what `plan --json` prints."""
        rows = {"rows": asdict(self.rows), "rows_to_come": self.rows_to_come.as_json()}
        return {"job": self.job, "file": self.file, **rows, **self.needs.as_json(), "assumptions": self.assumptions}


def _sum(one: Range[_T] | None, other: Range[_T] | None) -> Range[_T] | None:
    return None if one is None or other is None else one.plus(other)


def _json(figure: Range[int] | Range[float] | None) -> JsonObject:
    return dict.fromkeys(BOUNDS) if figure is None else dict(figure.as_json())


def _rounded(seconds: Range[float] | None) -> Range[float] | None:
    return None if seconds is None else seconds.map(lambda amount: round(amount, 1))
