"""The plan of a job, from its input and its journal: which rows are done, and which are to be sent."""

from pipeline.plan.carrying import KnownRows
from pipeline.plan.cells import cell_mark, input_row_id, variant_mark
from pipeline.plan.choosing import drawn_rows, spread_rows
from pipeline.plan.draft import Answered, Change, PlanDraft
from pipeline.plan.failures import FailureKinds, failure_kinds
from pipeline.plan.plan import FAILED, SUCCEEDED, TO_SEND, WITHOUT_PRICE, Counts, Plan
from pipeline.plan.plan_file import load_plan, save_plan
from pipeline.plan.planner import draft_plan
from pipeline.plan.rows import Rows
from pipeline.plan.sharing import Settled, adopted_by_payers, settled, settled_positions
from pipeline.plan.variants import UnsentFailure, Variant

__all__ = [
    "FAILED",
    "SUCCEEDED",
    "TO_SEND",
    "WITHOUT_PRICE",
    "Answered",
    "Change",
    "Counts",
    "FailureKinds",
    "KnownRows",
    "Plan",
    "PlanDraft",
    "Rows",
    "Settled",
    "UnsentFailure",
    "Variant",
    "adopted_by_payers",
    "cell_mark",
    "draft_plan",
    "drawn_rows",
    "failure_kinds",
    "input_row_id",
    "load_plan",
    "save_plan",
    "settled",
    "settled_positions",
    "spread_rows",
    "variant_mark",
]
