"""Why rows failed: how many for each cause, and one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pipeline.journal import Journal
from pipeline.plan.plan import FAILED, Plan, Standing


@dataclass(slots=True)
class FailureKinds:
    """Failed rows by `error_kind`, with the id of one row of each."""

    rows: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, row_id: str) -> None:
        """Count a row; the first of its kind is the example."""
        self.rows[kind] += 1
        self.examples.setdefault(kind, row_id)

    def __add__(self, other: FailureKinds) -> FailureKinds:
        return FailureKinds(self.rows + other.rows, {**other.examples, **self.examples})

    def facts(self) -> list[dict[str, Any]]:
        """The kinds as `status --json` prints them, those of most rows first."""
        return [
            {"kind": kind, "rows": count, "example": self.examples[kind]} for kind, count in self.rows.most_common()
        ]


def failure_kinds(plan: Plan, journal: Journal, standings: Collection[Standing] = FAILED) -> FailureKinds:
    """Why the rows failed that stand so, by the journal. Raises CheckpointFailed."""
    found = FailureKinds()
    for positions in plan.positions(standings):
        for entry, record in journal.records(sorted(plan.event(position) for position in positions)):
            found.add(record["error_kind"], entry[4])
    return found
