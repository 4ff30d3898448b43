"""The sending of what a plan says is to be sent. Every outcome is recorded before its slot is used again."""

from pipeline.runner.asking import Asking
from pipeline.runner.cached import CachedAnswers
from pipeline.runner.engine import Engine
from pipeline.runner.feed import Work, feed, while_unchanged
from pipeline.runner.parts import Clocks, Destination, Observers, Rules, Workload
from pipeline.runner.progress import Progress, Stop, StopRequest
from pipeline.runner.runner import Runner

__all__ = [
    "Asking",
    "CachedAnswers",
    "Clocks",
    "Destination",
    "Engine",
    "Observers",
    "Progress",
    "Rules",
    "Runner",
    "Stop",
    "StopRequest",
    "Work",
    "Workload",
    "feed",
    "while_unchanged",
]
