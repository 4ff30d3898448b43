"""Why rows failed: how many for each cause, and an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TypedDict

from msgspec import Struct, field

from pipeline.journal import Journal, State
from pipeline.plan.cells import input_row_id
from pipeline.plan.plan import FAILED, Plan


class KindFigures(TypedDict):
    """The rows that failed for one cause, as `status --json` prints them; `example` is the id of one."""

    kind: str
    rows: int
    example: str


class FailureKinds(Struct):
    """Failed rows by `error_kind`, with the id of one row of each in the journal.

    Of these rows, `accepted` are those whose failure the user accepted, and `to_retry` those that the next run sends
    again by itself.
    """

    rows: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    accepted: Counter[str] = field(default_factory=Counter)
    to_retry: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, row_id: str, rows: int = 1) -> None:
        """Count a row by its id in the journal, or several that share its outcome; the first of its kind is the
        example.
        """
        self.rows[kind] += rows
        self.examples.setdefault(kind, row_id)

    @property
    def are_accepted(self) -> bool:
        """Whether the user has accepted every failure."""
        return self.rows.total() == self.accepted.total()

    def __add__(self, other: FailureKinds) -> FailureKinds:
        return FailureKinds(
            self.rows + other.rows,
            {**other.examples, **self.examples},
            self.accepted + other.accepted,
            self.to_retry + other.to_retry,
        )

    def facts(self, *, has_marks: bool) -> list[KindFigures]:
        """Return the figures of each kind, those with the most rows first. `has_marks` is as for `input_row_id`."""
        return [
            {"kind": kind, "rows": count, "example": input_row_id(self.examples[kind], has_marks=has_marks)}
            for kind, count in self.rows.most_common()
        ]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the counts by kind as a summary has them, those with the most rows first."""
        return {
            "failures": dict(self.rows.most_common()),
            "accepted": dict(self.accepted.most_common()),
            "to_retry": dict(self.to_retry.most_common()),
        }


def failure_kinds(
    plan: Plan, journal: Journal, states: Collection[State] = FAILED, *, max_runs: int = 0
) -> FailureKinds:
    """Return why the rows in these states failed, by the journal.

    Rows that failed for a passing cause are sent again by at most `max_runs` later runs. Raises CheckpointFailed.
    """
    found = FailureKinds()
    for positions in plan.positions(states):
        by_event = {plan.event(position): position for position in positions}
        for entry, record in journal.records(sorted(by_event)):
            kind, rows = record.error_kind or "", 1 + plan.sharers(by_event[entry.seq])
            found.add(kind, entry.row_id, rows)
            if record.accepted:
                found.accepted[kind] += rows
            elif entry.state == State.FAILED_PASSING and record.failed_runs <= max_runs:
                found.to_retry[kind] += rows
    return found
