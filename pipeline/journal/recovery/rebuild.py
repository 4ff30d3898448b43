"""Writes a new journal of what a salvage took in, and says what is lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pipeline.errors import CheckpointFailed
from pipeline.journal.count import Count, read_count
from pipeline.journal.database import create_database
from pipeline.journal.progress import read_progress
from pipeline.journal.recovery.salvage import Salvage
from pipeline.journal.settings import Settings, settings_text
from pipeline.journal.totals import Identity
from pipeline.records import digest


@dataclass(frozen=True, slots=True)
class Published:
    """What an output says of the journal that it was written from: its totals at that time. `events` is None where
    they have been numbered anew since, so that their number says nothing any more.
    """

    commits: int
    events: int | None
    cost_usd: Decimal
    possibly_billed_usd: Decimal
    possibly_billed_requests: int | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery came to: `answers` in the new journal and `others`, its other records; and how many records are
    known to be lost, at least.
    """

    answers: int
    others: int
    lost: int


def rebuild(
    salvage: Salvage,
    damaged: Path,
    directory: Path,
    identity: Identity,
    published: Sequence[Published],
    *,
    kind: str,
    model: str,
) -> Recovered:
    """Make a journal in `directory` of what the checkpoint `damaged` and its outputs hold, on disk on return.

    Args:
        salvage: everything that is whole, taken in.
        identity: whose journal it becomes.
        published: what the outputs say of the old one.
        kind: the endpoint's kind for settings that are lost.
        model: the model for settings that are lost, where no output tells it.

    Raises OSError, sqlite3.Error.
    """
    kept = salvage.index.number_anew()
    claims = salvage.index.open_claims()
    known = max(salvage.totals.commits, *(one.commits for one in published), 0)
    acknowledged = _acknowledged(damaged)
    totals = replace(
        salvage.totals,
        # More than any output knows: it must not look newer than the journal.
        commits=max(known, acknowledged) + 1,
        events=kept + salvage.restored,
        claims=len(claims),
        seen=None,  # it speaks of the events' old numbers
        cost_usd=_billed(
            salvage, "billed_usd", salvage.totals.cost_usd, [(one.events, one.cost_usd) for one in published]
        ),
        possibly_billed_usd=_billed(
            salvage,
            "possibly_billed",
            salvage.totals.possibly_billed_usd,
            [(one.events, one.possibly_billed_usd) for one in published],
        ),
        possibly_billed_requests=_in_doubt(salvage, published),
        plan=max(salvage.totals.plan, salvage.index.last_plan()),
    )
    meta = {
        "identity": replace(identity, renumbered=totals.commits).text(),
        "totals": totals.text(),
        "settings": settings_text(_settings(salvage, kind, model)),
        "runs": json.dumps(salvage.runs),
    }
    create_database(directory, meta, salvage.events(), claims)
    Count(directory, totals.commits).close()
    written = max(salvage.last, salvage.totals.events, _shown(damaged), *(one.events or 0 for one in published), 0)
    lost = max(0, written - totals.events - salvage.index.covered())
    answers = salvage.index.answers()
    # Of commits that nothing is left of, it is not known how many records they held. Where no totals are left, events
    # that were found may be of any commit.
    are_commits_lost = acknowledged > known and (known > 0 or salvage.last == 0)
    return Recovered(answers, totals.events - answers, max(lost, int(are_commits_lost)))


def _billed(
    salvage: Salvage,
    column: Literal["billed_usd", "possibly_billed"],
    total: Decimal,
    published: Sequence[tuple[int | None, Decimal]],
) -> Decimal:
    """Everything ever billed: by the journal's newest total and by that of each output, with what came after it; and
    never less than what the records themselves come to.
    """
    sums = [salvage.index.billed(column)]
    for events, known in ((salvage.totals.events, total), *published):
        sums.append(known + (salvage.index.billed(column, events) if events is not None else 0))
    return max(sums)


def _in_doubt(salvage: Salvage, published: Sequence[Published]) -> int | None:
    """How many requests may have been billed, found as `_billed` finds what was; None where that was never counted."""
    totals: list[tuple[int | None, int | None]] = [(salvage.totals.events, salvage.totals.possibly_billed_requests)]
    totals += [(one.events, one.possibly_billed_requests) for one in published]
    if any(known is None for _, known in totals):
        return None
    sums = [(known or 0) + (salvage.index.in_doubt(events) if events is not None else 0) for events, known in totals]
    return max(salvage.index.in_doubt(), *sums)


def _settings(salvage: Salvage, kind: str, model: str) -> list[Settings]:
    """The settings by their number, from 1. Those that are lost look like no job's own, but for the model."""
    settings = [*salvage.settings]
    for number in range(len(settings) + 1, max([salvage.settings_used, *salvage.models]) + 1):
        lost = {"endpoint_kind": kind, "model": salvage.models.get(number, model), "prompt": {}, "parameters": {}}
        settings.append(Settings(digest(lost), lost))
    return settings


def _acknowledged(directory: Path) -> int:
    try:
        return read_count(directory) or 0
    except CheckpointFailed:
        return 0


def _shown(directory: Path) -> int:
    """How many events the progress file speaks of."""
    events = (read_progress(directory) or {}).get("events")
    return events if isinstance(events, int) else 0
