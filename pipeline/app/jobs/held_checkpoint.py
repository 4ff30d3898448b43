"""A job's checkpoint in the hands of one run."""

from __future__ import annotations

from pathlib import Path

from pipeline.app.jobs.locking import open_journal
from pipeline.config import Job
from pipeline.journal import Journal


class HeldCheckpoint:
    """A checkpoint whose lock the run holds. Its journal is opened for reading, and for writing from the first change
    on; None where the job has none yet. Its `checkpoint_id` is known from then on, also after `close`.

    Raises:
        InvalidJob: it belongs to another job, or to another kind of endpoint.
        CheckpointFailed: it cannot be trusted.
    """

    def __init__(self, job: Job, directory: Path) -> None:
        self.directory = directory
        self.journal = open_journal(job, directory)
        self.checkpoint_id: str | None = None
        self._is_written = False
        if self.journal is not None:
            self.checkpoint_id = self.journal.checkpoint_id
            self.journal.sync()

    def writer(self) -> Journal:
        """Return the journal for writing. Raises CheckpointFailed."""
        if self.journal is None or not self._is_written:
            self.close()
            self.journal = Journal.write(self.directory)
            self.checkpoint_id = self.journal.checkpoint_id
            self._is_written = True
        return self.journal

    def close(self) -> None:
        """Let go of the journal, if it is open."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None
