"""Every job that has a checkpoint here: its status, its cost, and how long ago it was last active."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pipeline.app.observe.summary import Summary
from pipeline.config import Shard
from pipeline.errors import CheckpointFailed, JobLocked
from pipeline.journal import JobLock, Journal, read_progress
from pipeline.journal.lock import FILE_NAME as LOCK_NAME
from pipeline.records import JsonObject
from pipeline.wording import money

CHECKPOINTS = Path(".checkpoints")


class JobInfo(Struct, frozen=True):
    """A job by its checkpoint alone. `state` is the word that `status` has for its last run, `running`, `interrupted`
    where that was killed, or `damaged`, and then `error` says what is wrong. Rows are those of the last word that a run
    left; costs are in USD, over all runs, and the simulator's where `is_simulated`. What is not known is None.
    `active_at` is Unix seconds.
    """

    checkpoint: Path
    job: str | None
    state: str
    rows: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    pending: int | None = None
    billed_usd: Decimal | None = None
    unpriced_rows: int | None = None
    possibly_billed_usd: Decimal | None = None
    output: str | None = None
    active_at: float | None = None
    error: str | None = None
    is_simulated: bool | None = None

    @property
    def job_cost_usd(self) -> Decimal | None:
        """Return what was billed; None where answers were bought and nothing is known of their cost."""
        return None if self.unpriced_rows and not self.billed_usd else self.billed_usd

    @property
    def title(self) -> str:
        """Return the name of the job, with which shard of it this is."""
        shard = Shard.named(self.checkpoint.name)
        return (self.job or self.checkpoint.name) + (f" {shard}" if shard is not None and self.job else "")

    def as_json(self, now: float) -> JsonObject:
        """Return what `--json` prints of it."""
        active = None if self.active_at is None else datetime.fromtimestamp(self.active_at, UTC)
        return {
            "job": self.job,
            "checkpoint": str(self.checkpoint),
            "state": self.state,
            "rows": self.rows,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "pending": self.pending,
            "job_cost_usd": None if self.job_cost_usd is None else money(self.job_cost_usd),
            "possibly_billed_usd": None if self.possibly_billed_usd is None else money(self.possibly_billed_usd),
            "output": self.output,
            "active_at": active and active.isoformat(timespec="seconds"),
            "age_seconds": None if self.active_at is None else round(max(0.0, now - self.active_at), 3),
            "error": self.error,
            "simulated": self.is_simulated,
        }


def list_jobs(directory: Path = CHECKPOINTS) -> list[JobInfo]:
    """Return the jobs whose checkpoints are in a directory, by name. Changes nothing there."""
    try:
        places = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointFailed(f"{directory} cannot be read: {error.strerror}") from error
    parts = (part for place in places for part in (place, *_shards(place)))
    # A recovery keeps what was damaged under such a name.
    return [_inspect(place) for place in parts if ".damaged-" not in place.name and Journal.exists(place)]


def _shards(place: Path) -> list[Path]:
    """Return the directories in a checkpoint's that are its shards', in order."""
    with suppress(OSError):
        named = ((Shard.named(path.name), path) for path in place.iterdir())
        found = [((shard.count, shard.number), path) for shard, path in named if shard is not None]
        return [path for _, path in sorted(found)]
    return []


def _inspect(place: Path) -> JobInfo:
    progress = read_progress(place) or {}
    last = Summary.of_json(progress) or Summary()
    known = JobInfo(
        place,
        last.job or place.name,
        "running",
        rows=last.rows,
        succeeded=last.succeeded,
        failed=last.failed,
        pending=last.pending,
        billed_usd=last.job_cost_usd,
        unpriced_rows=last.unpriced_rows,
        possibly_billed_usd=last.possibly_billed_usd,
        output=last.output,
        active_at=max(_times(place), default=None),
    )
    try:
        if not (place / LOCK_NAME).exists():
            return _at_rest(place, progress, known)
        with JobLock(place, shared=True):
            return _at_rest(place, progress, known)
    except JobLocked:
        return known
    except CheckpointFailed as error:
        return replace(known, state="damaged", error=str(error))


def _at_rest(place: Path, progress: JsonObject, known: JobInfo) -> JobInfo:
    journal = Journal.read(place)
    try:
        lost = sum((Decimal(claim.worst_cost or 0) for claim in journal.claims()), Decimal(0))
        is_told = progress.get("events") == journal.totals.events and not journal.totals.claims
        state = progress.get("status", "running") if is_told else "running"
        return replace(
            known,
            job=journal.job,
            state="interrupted" if state == "running" else state,
            billed_usd=journal.totals.cost_usd,
            is_simulated=journal.simulated,
            possibly_billed_usd=journal.totals.possibly_billed_usd + lost,
        )
    finally:
        journal.close()


def _times(place: Path) -> Iterator[float]:
    """Yield when the files of a checkpoint were written; not the lock's, which readers touch too."""
    with suppress(OSError):
        yield from (path.stat().st_mtime for path in place.iterdir() if path.is_file() and path.name != LOCK_NAME)
