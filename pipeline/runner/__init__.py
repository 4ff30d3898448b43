"""Sends what a plan says is to be sent, and records every outcome before its slot is used again."""

from pipeline.runner.feed import Work, feed
from pipeline.runner.runner import Progress, Runner, Stop, StopRequest

__all__ = ["Progress", "Runner", "Stop", "StopRequest", "Work", "feed"]
