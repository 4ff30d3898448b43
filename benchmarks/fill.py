"""Gives rows of a job an answer in its checkpoint without a call: fill.py JOB ROWS ANSWER_BYTES

It stands in for the run of hours that a large checkpoint would take. The job has had a first run, so that its plan
stands; the record of the first answer serves as the pattern, with another text for each row.
"""

from __future__ import annotations

import sys
from itertools import islice

from benchmarks.inputs import text
from pipeline.app.jobs import checkpoint
from pipeline.app.jobs.job import load_job, open_job
from pipeline.app.jobs.locking import locked
from pipeline.journal import Changes, Event, Journal, State
from pipeline.plan import SUCCEEDED
from pipeline.runner import feed

_EVENTS_A_COMMIT = 2000


def fill(job_file: str, rows: int, answer_bytes: int) -> None:
    """Record answers until so many rows have one, the first in input order."""
    job = load_job(job_file)
    opened = open_job(job)
    with locked(job) as directory:
        reader = Journal.read(directory)
        plan = checkpoint.saved_plan(opened, directory, reader)
        assert plan is not None, "the job has had no run"
        pattern = reader.record(next(head.seq for head in reader.index() if head.state == State.ANSWERED))
        settings = 1
        reader.close()
        journal = Journal.write(directory)
        works = islice(feed(opened.rows, plan, journal, [settings]), rows - plan.count(*SUCCEEDED))
        while group := list(islice(works, _EVENTS_A_COMMIT)):
            events = []
            for work in group:
                assert not isinstance(work, Event), "a row of the input makes no request"
                record = pattern._replace(response=text(work.position, answer_bytes))
                events.append(
                    Event(
                        plan.number,
                        work.position,
                        State.ANSWERED,
                        work.row_id,
                        work.request_hash,
                        settings,
                        work.content_key,
                        record,
                    )
                )
            journal.commit(Changes(events))
        journal.close()


if __name__ == "__main__":
    fill(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
