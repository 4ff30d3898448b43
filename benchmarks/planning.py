"""Times the planning of a run up to its first row, and sends nothing: python -m benchmarks.planning JOB

The plan is recorded and saved, as by a run. The module runs in the tree of an earlier commit as well.
"""

from __future__ import annotations

import sys
import time
from itertools import islice

from pipeline.app.jobs.held_checkpoint import HeldCheckpoint
from pipeline.app.jobs.job import load_job, open_job
from pipeline.app.jobs.locking import locked
from pipeline.app.running.options import RunOptions
from pipeline.app.running.prepare import prepare
from pipeline.runner import feed


def plan(job_file: str) -> str:
    """Plan the job, and return the seconds it took: CPU of the process so far, imports included, and wall."""
    begun = time.monotonic()
    job = load_job(job_file)
    opened = open_job(job, for_sending=False)
    with locked(job) as directory:
        held = HeldCheckpoint(job, directory)
        prepared = prepare(opened, held, RunOptions(), {})
        for _ in islice(feed(opened.rows, prepared.plan, prepared.journal, [1]), 1):
            pass
        cpu, wall = time.process_time(), time.monotonic() - begun
        counts = prepared.plan.counts()
        held.close()
    return f"{counts.total:,} rows, {counts.done:,} done, {counts.new:,} new: {cpu:.2f} s of CPU, {wall:.2f} s"


if __name__ == "__main__":
    print(plan(sys.argv[1]))
