"""The copies of a run's journal that go into a store, beside the run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import BinaryIO

from pipeline.app.jobs.restoring import CHECKPOINT_ID, COMMITS, COPIED_AT
from pipeline.app.jobs.scratch import scratch_in
from pipeline.config import Job
from pipeline.errors import CheckpointFailed, InvalidJob, Mistake, PipelineError, StoreFailed
from pipeline.journal import Journal
from pipeline.journal.backup import Copy, copy_journal
from pipeline.journal.files import DATABASE_NAME
from pipeline.storage import StorePath, Version, storage_of

_MOST_TRIES = 10


class Backups:
    """Copies the journal after the first answers of a run, at most every `backup_seconds` from then on, and when the
    run stops. What goes wrong with a copy amid the run is a warning; the last one counts.
    """

    def __init__(self, job: Job, path: StorePath, directory: Path, warn: Callable[[str], None]) -> None:
        self._job = job
        self._path = path
        self._directory = directory
        self._warn = warn
        self._seconds = job.config.checkpoint.backup_seconds
        self._standing: Version | None = None
        self._commits = -1
        self._database: BinaryIO | None = None
        self._has_news, self._has_stopped = Event(), Event()
        self._thread: Thread | None = None

    def begin(self, journal: Journal | None) -> None:
        """Look at the copy that stands in the store.

        Raises:
            InvalidJob: it is of another checkpoint.
            CheckpointFailed: it is of a later state of this checkpoint, of which a part is lost then; StoreFailed.
        """
        facts = storage_of(self._path).facts(self._path)
        if facts is None:
            return
        if journal is None or facts.notes.get(CHECKPOINT_ID) != journal.checkpoint_id:
            message = f"{self._path} is no copy of this job's checkpoint"
            hint = "give the job a folder of its own, or remove it there"
            raise InvalidJob([self._job.placed(Mistake(message, key="checkpoint.backup", suggestion=hint))])
        commits = int(facts.notes.get(COMMITS, "0"))
        if commits > journal.totals.commits:
            raise CheckpointFailed(
                f"{self._directory}: the journal ends at commit {journal.totals.commits}, and its copy {self._path} at"
                f" commit {commits}: a part is lost here; move the checkpoint away, and it is restored from the copy"
            )
        self._standing, self._commits = facts.version, commits

    def recorded(self) -> None:
        """Hear that there are new answers on disk."""
        if self._thread is None:
            self._thread = Thread(target=self._follow, name="backups", daemon=True)
            self._thread.start()
        self._has_news.set()

    def finish(self, commits: int) -> StoreFailed | None:
        """Make the last copy, unless there is one of so many commits. Returns what went wrong."""
        self._has_stopped.set()
        self._has_news.set()
        if self._thread is not None:
            self._thread.join()
        if commits == self._commits:
            return None
        try:
            self._copy()
        except PipelineError as error:
            return StoreFailed(f"checkpoint.backup: the last copy could not be made: {error}")
        return None

    def close(self) -> None:
        """Close the journal's file, once nobody writes to it."""
        self._has_stopped.set()
        self._has_news.set()
        if self._thread is not None:
            self._thread.join()
        if self._database is not None:
            self._database.close()

    def _follow(self) -> None:
        while True:
            self._has_news.wait()
            if self._has_stopped.is_set():
                return
            self._has_news.clear()
            try:
                self._copy()
            except PipelineError as error:
                self._warn(f"checkpoint.backup: {error}")
            if self._has_stopped.wait(self._seconds):
                return

    def _copy(self) -> None:
        """Put a copy of the journal, as it is now, into the store. Raises CheckpointFailed, StoreFailed."""
        with ExitStack() as held:
            copy = self._copied(held)
            notes = {
                CHECKPOINT_ID: copy.checkpoint_id,
                COMMITS: str(copy.commits),
                COPIED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
            }
            storage = storage_of(self._path)
            if not storage.put(self._path, copy.file, self._standing, notes):
                raise StoreFailed(f"{self._path}: another run writes its copies there")
            facts = storage.facts(self._path)
            self._standing, self._commits = None if facts is None else facts.version, copy.commits

    def _copied(self, held: ExitStack) -> Copy:
        try:
            if self._database is None:
                self._database = (self._directory / DATABASE_NAME).open("rb")
        except OSError as error:
            raise CheckpointFailed(f"{self._directory}: the journal cannot be copied: {error.strerror}") from error
        for _ in range(_MOST_TRIES):
            place = held.enter_context(scratch_in(self._directory))
            if (found := copy_journal(self._directory, place, self._database)) is not None:
                return found
        raise CheckpointFailed(f"{self._directory}: the journal changes too quickly to be copied")
