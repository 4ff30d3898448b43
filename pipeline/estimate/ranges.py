"""A figure that is not known, as a range; and the range of a total of which a sample is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
U = TypeVar("U")

BOUNDS = ("low", "expected", "high")

HOLDS = 0.95
"""How often a range holds, about, where its sample was drawn at random."""

_CONFIDENCE = 0.97
"""What the interval is made for. Answers' lengths have long tails, so with samples of 50 it holds less often: measured
for lengths that are log-normal, in two groups, proportional to the prompt or cut off at max_tokens, in 94 to 97 of 100
samples."""

_WIDEST = math.log(1000)


@dataclass(frozen=True, slots=True)
class Range(Generic[T]):
    """A figure with its bounds, low <= expected <= high."""

    low: T
    expected: T
    high: T

    def map(self, function: Callable[[T], U]) -> Range[U]:
        """Return the range of a figure that grows with this one."""
        return Range(function(self.low), function(self.expected), function(self.high))

    def plus(self, other: Range[T]) -> Range[T]:
        """Return the range of the sum of two figures: both may be low, or both high."""
        return Range(*(getattr(self, bound) + getattr(other, bound) for bound in BOUNDS))

    def as_json(self) -> Mapping[str, T]:
        """Return the range as `--json` prints it."""
        return {"low": self.low, "expected": self.expected, "high": self.high}


def extrapolate(
    sizes: npt.NDArray[np.float64], values: npt.NDArray[np.float64], rows: int, size: float
) -> Range[float]:
    """Return the sum of a value over `rows` other rows of `size` on average, from a sample of at least five.

    A linear regression on the size of a row (the regression estimator of W. G. Cochran, Sampling Techniques, chapter 7)
    leaves only what sizes do not explain to chance. The interval is Student's, for the sum itself and not its
    expectation, and on a logarithmic scale: lengths of answers have a long tail, so a sum is missed by more from below
    than from above.
    """
    count = len(values)
    center, average = float(sizes.mean()), float(values.mean())
    offsets = sizes - center
    spread = float(offsets @ offsets)
    slope = float(offsets @ values) / spread if spread > 0 else 0.0
    if average + slope * (size - center) <= 0:
        slope = 0.0
    each = average + slope * (size - center)
    if each <= 0:
        return Range(0.0, 0.0, 0.0)
    residuals = values - average - slope * offsets
    leverage = (size - center) ** 2 / spread if spread > 0 else 0.0
    variance = float(residuals @ residuals) / (count - 2) * (1 / count + 1 / rows + leverage)
    exponent = student(_CONFIDENCE, count - 2) * math.sqrt(variance) / each
    factor = math.exp(min(exponent, _WIDEST))
    return Range(rows * each / factor, rows * each, rows * each * factor)


def share_range(count: int, of: int) -> Range[float]:
    """Return the share of all rows that something holds for, by a sample of which it holds for `count` (E. B. Wilson,
    Probable Inference, the Law of Succession, and Statistical Inference, 1927).
    """
    z = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    share, weight = count / of, z * z / of
    center = (share + weight / 2) / (1 + weight)
    spread = z * math.sqrt(share * (1 - share) / of + weight / (4 * of)) / (1 + weight)
    return Range(max(0.0, min(share, center - spread)), share, min(1.0, max(share, center + spread)))


def student(confidence: float, freedom: int) -> float:
    """Return the quantile of Student's distribution that bounds it on both sides with this confidence.

    It is within 2% from three degrees of freedom on (Abramowitz and Stegun, Handbook of Mathematical Functions,
    26.7.5).
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
