"""The plan of a job for commands that send nothing."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.app.jobs import checkpoint
from pipeline.app.jobs.drafting import planner
from pipeline.app.jobs.job import OpenJob
from pipeline.app.jobs.scratch import scratch
from pipeline.app.jobs.trial import try_templates
from pipeline.journal import Journal
from pipeline.plan import Plan, Rows
from pipeline.plan.judging import judge_again


def plan_unsaved(opened: OpenJob, journal: Journal | None, *, former: Sequence[Rows] = ()) -> Plan:
    """Return the plan of the last run where it still holds, else a new one that is not kept.

    Args:
        former: the rows with the requests of earlier settings, whose answers are valid too.

    Raises:
        InvalidJob: the input or the templates are wrong.
        CheckpointFailed: the checkpoint cannot be trusted.
    """
    directory = opened.job.checkpoint_path
    plan = checkpoint.saved_plan(opened, directory, journal)
    if plan is not None:
        return plan
    try_templates(opened)
    with scratch(directory) as place, planner(opened, place, journal, former=former) as made:
        if journal is not None:
            judge_again(made, journal, opened.rows.expected)
        made.share()
        return made.plan
