"""A valid job file, with the place of each of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from msgspec import structs

from pipeline.config.commands import JobCall
from pipeline.config.models import JobConfig
from pipeline.config.reading.environment import KeyPlace
from pipeline.config.resolved import default_checkpoint
from pipeline.config.schema import KeyPath, touches
from pipeline.config.shard import CAPS, RATES, Shard
from pipeline.errors import Mistake
from pipeline.records import JsonObject
from pipeline.storage import Destination, StorePath, location


@dataclass(frozen=True)
class Job:
    """A valid job file.

    `file` is its path as given. `document` is the configuration as resolved, fit for JSON: every key, defaults filled
    in and `--set`s applied, `${NAME}` left as written; of an address that is a secret nothing but such a name.
    """

    config: JobConfig
    file: str
    document: JsonObject
    places: Mapping[str, KeyPlace] = field(default_factory=dict, repr=False)
    """Where each written key is, by its dotted name (`input.path[1]`)."""
    table: Any = field(default=None, repr=False)
    """A pyarrow.Table with the rows, where a Python caller gave them in place of `input.path`."""
    writes_output: bool = True
    """Whether there is an output file; a Python caller may leave `output.path` out."""
    doubtful: frozenset[KeyPath] = field(default_factory=frozenset, repr=False)
    """Keys whose value is not what the file says, since that is wrong or cannot be known; none in a job that is right.
    """
    overrides: tuple[str, ...] = field(default=(), repr=False)
    """The `--set`s that the job was read with."""
    shard: Shard | None = None
    """Which part of the job this is; None for all of it."""
    _whole: Job | None = field(default=None, repr=False)

    @property
    def whole(self) -> Job:
        """The job that this is a shard of; the job itself where it is none."""
        return self if self._whole is None else self._whole

    def in_shard(self, shard: Shard) -> Job:
        """Return a part of this job, with its own checkpoint and output and its share of the limits."""
        config = shard.config(self.config, str(self.checkpoint_path))
        limits, output = config.limits.model_dump(), self.document["output"]
        shares = {name: limits[name] and float(limits[name]) for name in (*RATES, *CAPS)}
        checkpoint = {**self.document["checkpoint"], "path": f"{self.document['checkpoint']['path']}/{shard.name}"}
        document = {
            **self.document,
            "limits": {**self.document["limits"], **shares},
            "checkpoint": checkpoint,
            "output": {**output, "path": shard.output(output["path"])},
            "shard": str(shard),
        }
        return replace(self, config=config, document=document, shard=shard, _whole=self)

    source_job: Job | None = field(default=None, repr=False)
    """The job whose output is the input, where there is one."""

    def command(self, name: str, *flags: str) -> str:
        """Return a command for this job as a user can type it; see `JobCall.command`."""
        return JobCall(self.file, self.overrides, self.shard).command(name, *flags)

    @property
    def checkpoint_path(self) -> Path:
        """The directory of the job's checkpoint: `checkpoint.path`, or `.checkpoints/<name>`."""
        return Path(self.config.checkpoint.path or default_checkpoint(self.config.name))

    @property
    def backup(self) -> StorePath | None:
        """Where copies of the journal go; None where the job keeps none."""
        folder = self.config.checkpoint.backup
        if folder is None:
            return None
        path = f"{folder.rstrip('/')}/journal.sqlite"
        found = location(path, self.config.output.storage.options, self.checkpoint_path)
        assert isinstance(found, StorePath)
        return found

    @property
    def output(self) -> Destination:
        """Where the output goes."""
        return Destination.of(self.config.output.path, self.config.output.storage.options, self.checkpoint_path)

    def is_doubtful(self, key: str) -> bool:
        """Return whether nothing can be concluded from the value of a key, or of something in it."""
        return touches(key, self.doubtful)

    def place(self, key: str) -> tuple[int, int, str | None] | None:
        """Return line and column (from 1) of a key, or of the nearest section above it, and the text of the line.

        None if neither is in the file. The text is None if it may hold a secret.
        """
        place = self._place(key)
        if place is None or place.value.file != self.file:
            return None
        return place.pointed.line, place.pointed.column, place.pointed.text

    def placed(self, mistake: Mistake) -> Mistake:
        """Return the mistake with the place of its key, in the file or in a `--set`; unchanged if it names a file
        already.
        """
        if mistake.file is not None:
            return mistake
        place = None if mistake.key is None else self._place(mistake.key)
        if place is None:
            return structs.replace(mistake, file=self.file)
        spot = place.pointed
        return structs.replace(mistake, file=spot.file, line=spot.line, column=spot.column, source=spot.text)

    def _place(self, key: str) -> KeyPlace | None:
        while key and key not in self.places:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.places[key] if key else None
