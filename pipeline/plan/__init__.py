"""Rows x journal: what is done, and what is to be sent."""

from pipeline.plan.plan import FAILED, SUCCEEDED, TO_SEND, WITHOUT_PRICE, Counts, Plan, Standing, load_plan, save_plan
from pipeline.plan.planner import Change, Planner
from pipeline.plan.rows import Rows, UnsentFailure

__all__ = [
    "FAILED", "SUCCEEDED", "TO_SEND", "WITHOUT_PRICE", "Change", "Counts", "Plan", "Planner", "Rows", "Standing",
    "UnsentFailure", "load_plan", "save_plan",
]  # fmt: skip
