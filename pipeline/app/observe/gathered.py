"""Whether the output that was gathered from a job's shards still has what they have."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.app.jobs.locking import reading
from pipeline.app.jobs.sharding import gathered_id
from pipeline.config import Job


def gathered_output(job: Job, parts: Sequence[Job], rows: int) -> str | None:
    """Return the output that was gathered from all shards, if it has their rows with the outcomes that they have now;
    None where there is none.

    Raises JobLocked where a shard is being run, CheckpointFailed, StoreRefused, StoreFailed.
    """
    output = job.output
    from pipeline.sink import JournalState, files_of, is_complete, journals_together, metadata_at  # slow to import
    from pipeline.sink.metadata import read_footer

    metadata = metadata_at(output) if is_complete(output) else None
    if metadata is None:
        return None
    ids, states = [], []
    for part in parts:
        with reading(part, restores=False) as journal:
            if journal is None:
                return None
            ids.append(journal.checkpoint_id)
            states.append(JournalState.of(journal))
    # A run that found nothing to do commits too, and changes no output.
    now = gathered_id(ids), journals_together(states).events
    is_of_now = (metadata.checkpoint_id, metadata.journal.events) == now
    footers = map(read_footer, files_of(output) if is_of_now else ())
    return str(output) if is_of_now and sum(one.rows for one in footers if one is not None) == rows else None
