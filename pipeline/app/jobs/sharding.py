"""A job in shards: which of them there are, and what stands in the way of another division."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.config import Job, Shard
from pipeline.errors import InvalidInput
from pipeline.journal import Journal, read_progress
from pipeline.records import digest
from pipeline.wording import counted

SENT_AGAIN = "every row would be sent again; go on as before, or say --on-change rerun to start over and pay again"


def shards_of(job: Job) -> dict[int, list[Job]]:
    """Return the shards of a job that have a checkpoint, in order, by the number of shards that it was divided into."""
    whole = job.whole
    try:
        named = [Shard.named(path.name) for path in whole.checkpoint_path.iterdir()]
    except OSError:
        return {}
    found: dict[int, list[Job]] = {}
    for shard in sorted((one for one in named if one is not None), key=lambda one: (one.count, one.number)):
        part = whole.in_shard(shard)
        if Journal.exists(part.checkpoint_path):
            found.setdefault(shard.count, []).append(part)
    return found


def latest_shards(job: Job) -> list[Job]:
    """Return all shards of the job's latest division, those without a checkpoint too; empty where the job was not
    divided, or has been run as a whole since.
    """
    divisions = shards_of(job)
    if job.shard is not None or not divisions:
        return []
    latest = max(divisions, key=lambda count: max(map(_active_at, divisions[count])))
    if Journal.exists(job.checkpoint_path) and _active_at(job) > max(map(_active_at, divisions[latest])):
        return []
    return [job.in_shard(Shard(number, latest)) for number in range(1, latest + 1)]


def gathered_id(checkpoint_ids: Sequence[str]) -> str:
    """Return what the checkpoints of all shards are called together, as a gathered output names them."""
    return digest(list(checkpoint_ids))


def is_of_same_job(whole: Path, checkpoint: Path) -> bool:
    """Return whether a checkpoint's directory is that of the whole job, `whole`, or of one of its shards."""
    whole = whole.resolve()
    found = checkpoint.resolve()
    return found == whole or (found.parent == whole and Shard.named(found.name) is not None)


def refuse_another_division(job: Job) -> None:
    """Refuse to begin a job, or a shard of it, anew while answers to the same rows are in its other checkpoints. Once
    one shard has been begun all the same, the others of its division follow it.

    Raises InvalidInput with the number of answers in each.
    """
    own = 0 if job.shard is None else job.shard.count
    if Journal.exists(job.checkpoint_path) or (own and len(latest_shards(job.whole)) == own):
        return
    kept = [
        f"{counted(_answers(parts), 'answer')} in {len(parts):,} of {counted(count, 'shard')} (run --shard I/{count})"
        for count, parts in shards_of(job).items()
        if count != own
    ]
    if own and Journal.exists(job.whole.checkpoint_path):
        kept.append(f"{counted(_answers([job.whole]), 'answer')} of runs without --shard")
    if kept:
        this = "run as a whole" if not own else f"divided into {counted(own, 'shard')}"
        raise InvalidInput(f"{job.config.name!r} has {' and '.join(kept)}, and would be {this} now: {SENT_AGAIN}")


def _answers(parts: list[Job]) -> int:
    found = [(read_progress(part.checkpoint_path) or {}).get("succeeded") for part in parts]
    return sum(count for count in found if isinstance(count, int))


def _active_at(job: Job) -> float:
    """Return when the checkpoint was last written to, in Unix seconds."""
    try:
        return max(path.stat().st_mtime for path in job.checkpoint_path.iterdir() if path.is_file())
    except (OSError, ValueError):
        return 0.0
