"""What earlier runs leave to the limits of this one: what they sent, and the pause that the endpoint asked them for.

Both are stamped with the wall clock, which may have been wrong. A stamp in the future was made by a clock that was
ahead of this one, so all that is known is that it was made before it was first seen there. The journal keeps that
moment, so a later run counts from it, not from its own start.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config import LimitsConfig
from pipeline.journal import Journal
from pipeline.limits import window_seconds

_EVENTS_A_STEP = 1000


def see(journal: Journal, sent: Sequence[tuple[float, float]], now: float) -> None:
    """Note in the journal at first sight of them that it holds stamps in the future of `now` (Unix seconds): the pause,
    or some of what `sent_lately` found. Raises CheckpointFailed.
    """
    if journal.totals.is_pause_unseen(now) or any(ago <= 0 for ago, _ in sent):
        journal.see(now)


def sent_lately(journal: Journal, limits: LimitsConfig, now: float) -> list[tuple[float, float]]:
    """Return what earlier runs sent and still counts against a rate at `now` (Unix seconds): (seconds ago, tokens), the
    oldest first. What has a timestamp in the future counts from when it was first seen.
    """
    return [(now - sent_at, tokens) for sent_at, tokens in sorted(_sent(journal, limits, now))]


def _sent(journal: Journal, limits: LimitsConfig, now: float) -> list[tuple[float, float]]:
    """Yield what was sent within the rates' windows: (Unix seconds, tokens).

    Events are recorded as their requests end, not in the order in which they were sent. So the search goes back until
    all of a part of the journal ended before the rates' windows began, or until what was surely sent last fills them.
    """
    rates = [rate for rate in (limits.requests_per_minute, limits.tokens_per_minute) if rate is not None]
    if not rates:
        return []
    last, seen = journal.totals.events, journal.totals.seen
    begin = now - max(map(window_seconds, rates))
    found: list[tuple[float, float]] = []
    while last > 0:
        first = max(1, last - _EVENTS_A_STEP + 1)
        # Without tokens, an event has sent nothing: it repeats an attempt that was recorded, or never was one.
        ends = []
        for entry, record in journal.records(range(first, last + 1)):
            if record.tokens is None or record.started_at is None:
                continue
            latest = seen.at if seen is not None and entry.seq <= seen.events else now
            if (sent_at := _true(record.started_at, latest, now)) > begin:
                found.append((sent_at, float(record.tokens)))
            if record.finished_at is not None:
                ends.append(_true(record.finished_at, latest, now))
        if ends and (max(ends) <= begin or _fill([one for one in found if one[0] >= min(ends)], limits)):
            break
        last = first - 1
    return found


def _true(stamp: float, latest: float, now: float) -> float:
    """Return the latest moment that a stamp can mean. One of the future was made by `latest`, if that is past."""
    return stamp if stamp <= now else min(latest, now)


def _fill(sent: list[tuple[float, float]], limits: LimitsConfig) -> bool:
    """Return whether nothing that was sent before can count any more."""
    return len(sent) >= (limits.requests_per_minute or 0) and sum(tokens for _, tokens in sent) >= (
        limits.tokens_per_minute or 0
    )
