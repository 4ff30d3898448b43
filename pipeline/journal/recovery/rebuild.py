"""The new journal of a recovery, made from the intact records, and the count of what is lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from pipeline.errors import CheckpointFailed
from pipeline.journal.count import Count, read_count
from pipeline.journal.database import create_database
from pipeline.journal.progress import read_progress
from pipeline.journal.recovery.salvage import Salvage
from pipeline.journal.settings import Settings, settings_text
from pipeline.journal.totals import Identity
from pipeline.records import digest


class Published(Struct, frozen=True):
    """The totals of a journal at the time when an output was written from it, as the output records them.

    `events` is None if the events were numbered again since, so that their number means nothing.
    """

    commits: int
    events: int | None
    cost_usd: Decimal
    possibly_billed_usd: Decimal
    possibly_billed_requests: int | None = None


class Recovered(Struct, frozen=True):
    """The result of a rebuild: the `answers` in the new journal, its `others` (all other records), and the minimum
    number of records that are `lost`.
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
    """Create a journal in `directory` from what the checkpoint `damaged` and its outputs hold. It is on disk on return.

    Args:
        salvage: all intact records.
        identity: the identity of the new journal.
        published: what the outputs record of the old one.
        kind: the endpoint's kind for settings that are lost.
        model: the model for settings that are lost, if no output tells it.

    Raises OSError, sqlite3.Error.
    """
    kept = salvage.index.renumber()
    claims = salvage.index.open_claims()
    known = max(salvage.totals.commits, *(one.commits for one in published), 0)
    acknowledged = _acknowledged(damaged)
    totals = replace(
        salvage.totals,
        # More than any output records: no output may look newer than the journal.
        commits=max(known, acknowledged) + 1,
        events=kept + salvage.restored,
        claims=len(claims),
        seen=None,  # it refers to the events' old numbers
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
    # It is unknown how many records lost commits held. If no totals are left, events that were found may be of any
    # commit.
    are_commits_lost = acknowledged > known and (known > 0 or salvage.last == 0)
    return Recovered(answers, totals.events - answers, max(lost, int(are_commits_lost)))


def _billed(
    salvage: Salvage,
    column: Literal["billed_usd", "possibly_billed"],
    total: Decimal,
    published: Sequence[tuple[int | None, Decimal]],
) -> Decimal:
    """Return everything that was ever billed, in USD: the maximum of several sums.

    They are the journal's newest total and that of each output, each with what came after it, and the sum of all
    records.
    """
    sums = [salvage.index.billed(column)]
    for events, known in ((salvage.totals.events, total), *published):
        sums.append(known + (salvage.index.billed(column, events) if events is not None else 0))
    return max(sums)


def _in_doubt(salvage: Salvage, published: Sequence[Published]) -> int | None:
    """Return how many requests may have been billed, computed as in `_billed`; None if that was not always counted."""
    totals: list[tuple[int | None, int | None]] = [(salvage.totals.events, salvage.totals.possibly_billed_requests)]
    totals += [(one.events, one.possibly_billed_requests) for one in published]
    if any(known is None for _, known in totals):
        return None
    sums = [(known or 0) + (salvage.index.in_doubt(events) if events is not None else 0) for events, known in totals]
    return max(salvage.index.in_doubt(), *sums)


def _settings(salvage: Salvage, kind: str, model: str) -> list[Settings]:
    """Return the settings by their number, from 1. Lost ones match no job's settings, except in their model."""
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
    """Return the number of events in the progress file."""
    events = (read_progress(directory) or {}).get("events")
    return events if isinstance(events, int) else 0
