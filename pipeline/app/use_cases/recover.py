"""`pipeline recover`: a checkpoint rebuilt from everything intact in a damaged one and in its outputs."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from pipeline.app.jobs import checkpoint
from pipeline.app.jobs.locking import locked, open_journal, refuse_foreign_checkpoint
from pipeline.app.jobs.outputs import Output, outputs
from pipeline.config import Job, variants
from pipeline.errors import CheckpointDamaged, InvalidInput
from pipeline.journal import Identity, Journal, rebuild, refuse_newer, replacement, salvaged
from pipeline.records import JsonObject


class Recovery(Struct, frozen=True):
    """What a recovery came to: `answers` in the checkpoint as it stands now, `others`, its other records, and `lost`,
    the records that are known to be lost, at least. `kept_at` is where the damaged files are, None where there were
    none. `was_sound`: there was nothing to recover, and nothing was changed.
    """

    answers: int
    others: int = 0
    lost: int = 0
    kept_at: str | None = None
    was_sound: bool = False

    def as_json(self) -> JsonObject:
        """Return what `--json` prints."""
        return {"recovered": self.answers, "lost": self.lost, "kept_at": self.kept_at}


def recover(job: Job) -> Recovery:
    """Rebuild a job's checkpoint. A kill at any moment leaves the damaged one unchanged or the recovered one
    complete; the same call continues from there.

    Raises:
        InvalidInput: there is nothing to recover from, or the checkpoint is another job's.
        CheckpointFailed: the disk failed, or a newer version of the program made the checkpoint.
    """
    with locked(job) as directory:
        try:
            if replacement.is_under_way(directory):
                return _put_in_place(directory)
            refuse_newer(directory)
            found = outputs(job)
            answers = _answers_if_sound(job, directory, found)
            if answers is not None:
                return Recovery(answers, was_sound=True)
            if not found and not Journal.exists(directory):
                raise InvalidInput(
                    f"nothing to recover: there is no checkpoint at {directory}, and no output of the job"
                    f" {job.config.name!r} at {job.config.output.path}"
                )
            try:
                _make(job, directory, found)
            except BaseException:
                with suppress(OSError):
                    replacement.abandon(directory)
                raise
            return _put_in_place(directory)
        except (OSError, sqlite3.Error, ValueError) as error:
            raise CheckpointDamaged(f"{directory}: the recovery failed: {error}") from error


def _answers_if_sound(job: Job, directory: Path, found: Sequence[Output]) -> int | None:
    """Return how many answers the checkpoint holds; None where it cannot be trusted."""
    try:
        journal = open_journal(job, directory)
        if journal is None:
            return None
        try:
            for output in found:
                if output.checkpoint_id == journal.checkpoint_id:
                    checkpoint.refuse_older_journal(directory, journal, output.metadata, str(output.path))
            return journal.verify()
        finally:
            journal.close()
    except CheckpointDamaged:
        return None


def _make(job: Job, directory: Path, found: Sequence[Output]) -> None:
    """Make the recovered checkpoint, keep the damaged one beside it, and put the recovered one in place."""
    config = job.config
    draft = replacement.begin(directory)
    scratch = draft / "index.sqlite"
    with salvaged(directory, scratch) as salvage:
        identity = salvage.identity
        if identity is None:
            simulated = found[0].metadata.journal.simulated if found else None
            is_simulated = config.endpoint.is_simulator if simulated is None else simulated
            identity = Identity(config.name, is_simulated, found[0].checkpoint_id if found else secrets.token_hex(8))
        refuse_foreign_checkpoint(job, directory, identity)
        marks = {variant.name: variant.mark for variant in variants(config)}
        written = [output for output in found if output.checkpoint_id == identity.checkpoint_id]
        for output in written:
            after = output.published(identity.renumbered).events or 0
            for event, model in output.outcomes(has_ids=config.input.id is not None, marks=marks):
                salvage.restore(event, model, after)
        if written and not salvage.runs:
            salvage.runs = list(written[0].metadata.run_ids)
        recovered = rebuild(
            salvage,
            directory,
            draft,
            identity,
            [output.published(identity.renumbered) for output in written],
            kind=config.endpoint.kind,
            model=config.endpoint.model,
        )
    scratch.unlink()
    kept_at = replacement.keep(directory)
    where = None if kept_at is None else str(kept_at)
    result = replacement.RecoveryResult(recovered.answers, recovered.others, recovered.lost, where)
    replacement.decide(directory, result)


def _put_in_place(directory: Path) -> Recovery:
    result = replacement.finish(directory)
    return Recovery(result.answers, result.others, result.lost, result.kept_at)
