"""A timeline laid out on an axis: stretches of time side by side, long pauses left out, ticks by the clock in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec import Struct

from pipeline.report.timeline import Bin, Timeline

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_STEPS = (
    1,
    2,
    5,
    10,
    15,
    30,
    _MINUTE,
    2 * _MINUTE,
    5 * _MINUTE,
    10 * _MINUTE,
    15 * _MINUTE,
    30 * _MINUTE,
    _HOUR,
    2 * _HOUR,
    3 * _HOUR,
    6 * _HOUR,
    12 * _HOUR,
    _DAY,
    2 * _DAY,
    7 * _DAY,
    28 * _DAY,
)
_MOST_TICKS = 8
_ROOM_OF_A_CUT = 0.015


class TimeAxis(Struct, frozen=True):
    """Positions are seconds from the first bin's begin, without what is left out.

    `stretches` holds the edges of the bins, one more than there are bins, and the bins; `cuts` the places where time is
    left out; `ticks` positions with their labels; `width` is that of a bin in seconds.
    """

    width: float
    stretches: list[tuple[list[float], list[Bin]]]
    cuts: list[float]
    ticks: list[tuple[float, str]]
    end: float

    @classmethod
    def of(cls, timeline: Timeline) -> TimeAxis | None:
        """Return the axis of a timeline; None if nothing happened."""
        found = list(timeline.stretches())
        if not found:
            return None
        room = _ROOM_OF_A_CUT * sum(one.edges[-1] - one.edges[0] for one in found)
        stretches: list[tuple[list[float], list[Bin]]] = []
        spans: list[tuple[float, float, float]] = []
        at = 0.0
        for stretch in found:
            first = stretch.edges[0]
            edges = [at + edge - first for edge in stretch.edges]
            stretches.append((edges, stretch.bins))
            spans.append((at, edges[-1], first))
            at = edges[-1] + room
        cuts = [first - room / 2 for first, _, _ in spans[1:]]
        return cls(timeline.width, stretches, cuts, list(_ticks(spans)), spans[-1][1])


def _ticks(spans: list[tuple[float, float, float]]) -> Iterator[tuple[float, str]]:
    """Return ticks within each span, given as its first and last position and the time (Unix seconds) of the first. A
    day is shown with the first tick and wherever it changes.
    """
    total = spans[-1][1]
    step = next((one for one in _STEPS if total / one <= _MOST_TICKS), _STEPS[-1])
    last_day = None
    for position, time in _spaced(_marks(spans, step), total / (_MOST_TICKS + 2)):
        moment = datetime.fromtimestamp(time, UTC)
        day = f"{moment.day} {moment:%b}"
        text = f"{moment:%H:%M}" if step >= _MINUTE else f"{moment:%H:%M:%S}"
        yield position, text if day == last_day else f"{text}\n{day}"
        last_day = day


def _marks(spans: list[tuple[float, float, float]], step: int) -> Iterator[tuple[float, float, bool]]:
    """Yield positions that may have a tick, with their times: full steps of the clock and, flagged, the starts of
    spans after a gap.
    """
    for number, (first, end, start) in enumerate(spans):
        times = [start - start % step + step * count for count in range(int((end - first) / step) + 2)]
        times = [time for time in times if start <= time <= start + end - first]
        if number or not times:
            yield first, start, True
        for time in times:
            yield first + time - start, time, False


def _spaced(marks: Iterator[tuple[float, float, bool]], room: float) -> list[tuple[float, float]]:
    """Return the marks that have room; one at the start of a stretch takes the room of the one before it."""
    kept: list[tuple[float, float, bool]] = []
    for position, time, is_start in marks:
        if kept and position - kept[-1][0] < room:
            if not is_start or kept[-1][2]:
                continue
            kept.pop()
        kept.append((position, time, is_start))
    return [(position, time) for position, time, _ in kept]
