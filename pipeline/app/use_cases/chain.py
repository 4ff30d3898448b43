"""What all jobs of a chain would take and cost, those included whose input does not exist yet. Nothing is sent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import reduce
from operator import add

from msgspec import Struct

from pipeline.app.jobs.scratch import scratch
from pipeline.app.jobs.source_job import source_mistakes
from pipeline.app.use_cases.needs import Needs, Stage
from pipeline.app.use_cases.stage import PlannedStage, plan_stage
from pipeline.config import Job
from pipeline.errors import InvalidInput
from pipeline.records import JsonObject


class ChainPlan(Struct, frozen=True):
    """The stages of a chain, each after the one that it reads."""

    stages: Sequence[Stage]

    @property
    def needs(self) -> Needs:
        """What all stages take, one after the other."""
        return reduce(add, (stage.needs for stage in self.stages))

    def as_json(self) -> JsonObject:
        """Return what `plan --json` prints."""
        return {"stages": [stage.as_json() for stage in self.stages], **self.needs.as_json()}


def plan_chain(jobs: Sequence[Job]) -> ChainPlan:
    """Plan jobs, and all jobs that they read.

    A job whose input is complete is planned as `estimate` does. For any other job, the rows that have an outcome in the
    job before it are planned in the same way. How many further ones there will be and how long their prompts, is told
    by that job's own plan and by the rows that there are.

    Raises:
        InvalidInput: a job is named twice, or a job or its input is wrong.
        JobLocked: one of the jobs is being run.
        CheckpointFailed: a checkpoint cannot be trusted.
    """
    ordered = _in_order(jobs)
    awaited = {_key(job.source_job) for job in ordered if job.source_job and any(source_mistakes(job.source_job))}
    planned: dict[str, PlannedStage] = {}
    with scratch(ordered[0].checkpoint_path) as place:
        for number, job in enumerate(ordered):
            before = None if job.source_job is None else planned[_key(job.source_job)]
            path = place / f"{number}.parquet" if _key(job) in awaited else None
            planned[_key(job)] = plan_stage(job, before if before is None or before.path else None, path)
    return ChainPlan([one.stage for one in planned.values()])


def _in_order(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs and those that they read, each once, after the one that it reads."""
    named = {_key(job): job for job in jobs}
    if len(named) < len(jobs):
        raise InvalidInput("a job file is named twice; name each job once")
    found: dict[str, Job] = {}

    def visit(job: Job) -> None:
        if job.source_job is not None:
            visit(job.source_job)
        found.setdefault(_key(job), named.get(_key(job), job))

    for job in jobs:
        visit(job)
    return list(found.values())


def _key(job: Job) -> str:
    return os.path.realpath(job.file)
