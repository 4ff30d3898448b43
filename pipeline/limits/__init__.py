"""What may be sent now: rates over a sliding minute, money, concurrency, and whether the endpoint is up.

Every class here except the pause is plain arithmetic over a clock that is passed in, and is used by one thread only.
`pipeline.limits.shared` is imported separately, because few jobs and no sender need it.
"""

from pipeline.limits.budget import Budget
from pipeline.limits.concurrency import RAMP_STEP_SECONDS, AdaptiveConcurrency, ramp
from pipeline.limits.in_flight import MAX_IN_FLIGHT, InFlightLimit
from pipeline.limits.learned import LearnedRate
from pipeline.limits.outage import Outage, Trouble
from pipeline.limits.pause import Pause
from pipeline.limits.quota import DAILY, QuotaNotice, QuotaWait
from pipeline.limits.rates import SEND_WITHIN_SECONDS, Entry, SlidingWindow, window_seconds
from pipeline.limits.servers import Servers

__all__ = [
    "DAILY",
    "MAX_IN_FLIGHT",
    "RAMP_STEP_SECONDS",
    "SEND_WITHIN_SECONDS",
    "AdaptiveConcurrency",
    "Budget",
    "Entry",
    "InFlightLimit",
    "LearnedRate",
    "Outage",
    "Pause",
    "QuotaNotice",
    "QuotaWait",
    "Servers",
    "SlidingWindow",
    "Trouble",
    "ramp",
    "window_seconds",
]
