"""What may be sent now: rates over a sliding minute, money, concurrency, and the endpoint's own health.

Every class here is plain arithmetic over a clock that is passed in, and lives in the one thread that sends.
"""

from pipeline.limits.budget import Budget
from pipeline.limits.concurrency import AdaptiveConcurrency
from pipeline.limits.outage import Outage
from pipeline.limits.rates import SlidingWindow

__all__ = ["AdaptiveConcurrency", "Budget", "Outage", "SlidingWindow"]
