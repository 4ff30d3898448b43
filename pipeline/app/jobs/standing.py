"""The output of a job that stands, also where its checkpoint is gone."""

from __future__ import annotations

from pipeline.config import Job
from pipeline.storage import StorePath


def own_output(job: Job) -> str | None:
    """Return the output of a job, or else its partial output, that stands on this machine, whichever checkpoint it was
    written from; None if there is none.
    """
    if not job.writes_output or isinstance(job.output.path, StorePath):
        return None
    from pipeline.sink import is_complete, metadata_at  # slow to import, and seldom needed

    found = ((place, metadata_at(place)) for place in job.output.places if is_complete(place))
    return next((str(place) for place, its in found if its is not None and its.job == job.config.name), None)
