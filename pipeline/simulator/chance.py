"""Whether a fault occurs and how long an answer takes: by marker or by a hash, never by the order of arrival.

The marker `[[fault: NAME]]` in a prompt always causes that fault; `[[fault: NAME xN]]` causes it the first N times that
the prompt is asked. Options are written between name and count, as `key=value`.
"""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect
from collections.abc import Iterable, Mapping
from itertools import accumulate
from statistics import NormalDist

from msgspec import Struct

from pipeline.simulator.chat_request import Refusal
from pipeline.simulator.faults import TABLE, Fault

_MARKER = re.compile(r"\[\[fault:\s*(\w+)((?:\s+[^\s\[\]]+)*+)\s*\]\]")
_TIMES = re.compile(r"x(\d{1,9})\Z")
_OPTIONS = {"retry_after": re.compile(r"."), "seconds": re.compile(r"\d{1,9}(\.\d{1,9})?\Z")}
_BY_CHANCE = [fault for fault in TABLE.values() if fault.weight]
_SHARES = list(accumulate(fault.weight for fault in _BY_CHANCE))
_STANDARD = NormalDist()


class Marker(Struct, frozen=True):
    """A fault requested in a prompt; `times` is None if it always occurs."""

    fault: Fault
    times: int | None
    options: Mapping[str, str]


class Draw(Struct, frozen=True):
    """Three numbers in (0, 1) for one request with a prompt."""

    comes: float
    which: float
    latency: float


def find_marker(texts: Iterable[str]) -> Marker | None:
    """Return the first marker in a request's texts. Raises Refusal (400, 5006) for an invalid one."""
    for text in texts:
        if "[[fault:" in text:
            found = _MARKER.search(text)
            if not found:
                raise Refusal(400, 5006, "a marker is written [[fault: NAME]] or [[fault: NAME key=value xN]]")
            return _marker(found[1], found[2].split())
    return None


def draw(seed: int, prompt: str, occurrence: int) -> Draw:
    """Draw the numbers for the n-th time that a prompt is asked, counted from 0."""
    raw = hashlib.blake2b(f"{seed}:{prompt}:{occurrence}".encode(), digest_size=24).digest()
    parts = (int.from_bytes(raw[start : start + 8], "big") for start in (0, 8, 16))
    return Draw(*((part + 0.5) / 2**64 for part in parts))


def breaks(seed: int, prompt: str, occurrence: int, rate: float) -> bool:
    """Return whether the answer to the n-th request with a prompt is not in the requested format."""
    return rate > 0 and draw(seed, f"{prompt} form", occurrence).comes < rate


def fault_by_chance(drawn: Draw, fault_rate: float) -> Fault | None:
    """Pick one of the weighted faults with the given probability, else None."""
    if drawn.comes >= fault_rate:
        return None
    return _BY_CHANCE[min(bisect(_SHARES, drawn.which * _SHARES[-1]), len(_BY_CHANCE) - 1)]


def latency(drawn: Draw, mean_seconds: float, spread: float) -> float:
    """Return a log-normal latency in seconds with that mean; `spread` is the standard deviation of its logarithm."""
    if mean_seconds == 0 or spread == 0:
        return mean_seconds
    quantile = min(max(drawn.latency, 1e-12), 1 - 1e-12)
    return mean_seconds * math.exp(spread * _STANDARD.inv_cdf(quantile) - spread**2 / 2)


def _marker(name: str, words: list[str]) -> Marker:
    if name not in TABLE:
        raise Refusal(400, 5006, f"no fault {name[:40]!r}; there are {', '.join(TABLE)}")
    times = None
    options = {}
    for word in words:
        key, _, value = word.partition("=")
        if counted := _TIMES.match(word):
            times = int(counted[1])
        elif key in _OPTIONS and _OPTIONS[key].match(value):
            options[key] = value
        else:
            raise Refusal(400, 5006, f"a marker takes xN, retry_after=TEXT and seconds=NUMBER, not {word[:40]!r}")
    return Marker(TABLE[name], times, options)
