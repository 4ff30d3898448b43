"""What a run would send, cost and take, as ranges. Nothing is sent."""

from pipeline.estimate.assumed import assumed_totals, assumptions
from pipeline.estimate.estimate import Estimate, Part, estimate, estimate_parts
from pipeline.estimate.learned import MIN_ROWS, Measure, Sample
from pipeline.estimate.ranges import BOUNDS, HOLDS, Range, extrapolate
from pipeline.estimate.sizes import Sizes, Totals, size

__all__ = [
    "BOUNDS",
    "HOLDS",
    "MIN_ROWS",
    "Estimate",
    "Measure",
    "Part",
    "Range",
    "Sample",
    "Sizes",
    "Totals",
    "assumed_totals",
    "assumptions",
    "estimate",
    "estimate_parts",
    "extrapolate",
    "size",
]
