"""What a job's checkpoint holds: the plan that fits the present input, and whether the output is of this job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.app.jobs.fingerprints import fingerprint_of
from pipeline.app.jobs.job import OpenJob
from pipeline.app.jobs.sharding import shards_of
from pipeline.config import Job
from pipeline.errors import CheckpointDamaged, InvalidJob, Mistake
from pipeline.journal import Journal
from pipeline.plan import Plan, load_plan
from pipeline.records import JsonObject, digest
from pipeline.sink import OutputMetadata, is_there, metadata_at
from pipeline.storage import Destination, StorePath


def refuse_foreign_output(job: Job, directory: Path, journal: Journal | None, *, allow_gathered: bool = False) -> None:
    """Refuse to replace a file that was not written from this checkpoint, unless the job says so; and in any case to
    buy again what this job's output holds, as `refuse_lost_answers` does.

    Args:
        allow_gathered: it may be what was gathered from the job's shards.

    Raises:
        InvalidJob: it is another job's, or no output at all.
        CheckpointDamaged: as `refuse_lost_answers` does.
    """
    standing = _standing(job)
    _refuse_lost(job, directory, journal, standing)
    is_gathered = allow_gathered and _may_be_gathered(job)
    for place, metadata in standing:
        if _is_from(journal, metadata) or (is_gathered and _is_of(job, metadata)):
            continue
        if not job.config.output.overwrite:
            raise InvalidJob([job.placed(foreign_output(place, "written from this job's checkpoint"))])


def refuse_lost_answers(job: Job, journal: Journal | None) -> None:
    """Refuse to plan to buy again what this job's output on this machine holds.

    Raises CheckpointDamaged if the checkpoint that it was written from is gone, or older than it.
    """
    if not isinstance(job.output.path, StorePath):
        _refuse_lost(job, job.checkpoint_path, journal, _standing(job))


_Standing = Sequence[tuple[Destination, OutputMetadata | None]]


def _standing(job: Job) -> _Standing:
    return [(place, metadata_at(place)) for place in job.output.places if is_there(place)] if job.writes_output else []


def _refuse_lost(job: Job, directory: Path, journal: Journal | None, standing: _Standing) -> None:
    has_answers = journal is not None and journal.totals.events > 0
    for place, metadata in standing:
        if journal is not None and metadata is not None and _is_from(journal, metadata):
            refuse_older_journal(directory, journal, metadata, str(place))
        elif _is_of(job, metadata) and not has_answers and not _may_be_gathered(job):
            gone = CheckpointDamaged(
                f"{directory}: the checkpoint is missing here ({os.getcwd()}), though {place} was written from it: run"
                f" the job in the directory where it is, or put it back; to start over and pay again, move {place} away"
                " or give the job another `name:`"
            )
            gone.command = job.command("recover")
            raise gone


def _is_from(journal: Journal | None, metadata: OutputMetadata | None) -> bool:
    return journal is not None and metadata is not None and metadata.checkpoint_id == journal.checkpoint_id


def _is_of(job: Job, metadata: OutputMetadata | None) -> bool:
    return metadata is not None and metadata.job == job.config.name


def _may_be_gathered(job: Job) -> bool:
    return job.shard is None and bool(shards_of(job))


def foreign_output(place: Destination, what: str) -> Mistake:
    """Return what there is to say of something at an output's place that was not `what`."""
    message, hint = f"{place} exists and was not {what}", "move it away, or set output.overwrite: true"
    if place.is_directory:
        message, hint = f"{place} or its manifest holds what was not {what}", f"{hint}, which removes every file in it"
    return Mistake(message, key="output.path", suggestion=hint)


def refuse_older_journal(directory: Path, journal: Journal, metadata: OutputMetadata, output: str) -> None:
    """Refuse to go on with a journal that lacks what its own output was written from. Raises CheckpointDamaged."""
    commits = metadata.journal.commits
    if commits > journal.totals.commits:
        raise CheckpointDamaged(
            f"{directory}: the journal ends at commit {journal.totals.commits}, but {output} was written from it at"
            f" commit {commits}; part of it is lost, or an older copy was put back"
        )


def saved_plan(opened: OpenJob, directory: Path, journal: Journal | None) -> Plan | None:
    """Return `last_plan`, updated from the journal, every event of which is checked on the way."""
    saved = last_plan(opened, directory, journal)
    if journal is not None and saved is not None:
        saved.apply(journal.places())
    return saved


def last_plan(opened: OpenJob, directory: Path, journal: Journal | None) -> Plan | None:
    """Return the plan of the last run as it was saved; None if the input or the settings have changed."""
    saved = load_plan(directory)
    if saved is None or journal is None or saved.number != journal.totals.plan:
        return None
    return saved if saved.fingerprint == fingerprint_of(opened) else None


def settings_numbers(settings: Sequence[JsonObject], journal: Journal | None) -> list[int | None]:
    """Return the number under which the journal has each variant's settings; None if it has not seen them."""
    known = {} if journal is None else {digest(found): number for number, found in journal.settings().items()}
    return [known.get(digest(one)) for one in settings]


def register_settings(settings: Sequence[JsonObject], journal: Journal) -> list[int]:
    """Record the settings of each variant, where the journal does not have them. Returns their numbers."""
    return [journal.register_settings(digest(one), one) for one in settings]
