"""What a run would send, cost and take, as ranges. Nothing is sent."""

from pipeline.estimate.assumed import BYTES_A_TOKEN, assumed_totals, assumptions
from pipeline.estimate.estimate import Estimate, Part, estimate, estimate_parts
from pipeline.estimate.learned import MIN_ROWS, Measure, Sample
from pipeline.estimate.ranges import BOUNDS, HOLDS, Range, extrapolate, share_range
from pipeline.estimate.sizes import Sizes, Totals, size

__all__ = [
    "BOUNDS",
    "BYTES_A_TOKEN",
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
    "share_range",
    "size",
]
