"""What answers are like, and how those of two jobs differ."""

from pipeline.quality.comparison import Comparison, compare
from pipeline.quality.inspection import Inspected, inspect

__all__ = ["Comparison", "Inspected", "compare", "inspect"]
