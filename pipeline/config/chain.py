"""A job whose input is the output of another job."""

from __future__ import annotations

import os

from msgspec import Struct

from pipeline.config.job import Job
from pipeline.config.models import InputConfig, OtherJob
from pipeline.errors import Mistake

_KEY = "input.path.job"


class Following(Struct, frozen=True):
    """Job files that are being read, each for the input of the one before."""

    files: tuple[str, ...] = ()

    def then(self, file: str) -> Following:
        """Return this chain with one more file."""
        return Following((*self.files, os.path.realpath(file)))

    def has(self, file: str) -> bool:
        """Return whether a file is in the chain already."""
        return os.path.realpath(file) in self.files


def input_of(section: InputConfig, other: Job) -> InputConfig:
    """Return the input section of a job that reads another job's output."""
    config = other.config
    names = ["row_id"]
    if config.sweep:
        names.append("variant")
    if "samples" in config.prompt.model_fields_set:
        names.append("sample_index")
    ids = tuple(config.output.prefix + name for name in names)
    found = {"path": config.output.path, "format": "parquet", "storage": config.output.storage}
    return section.model_copy(update={**found, "id": section.id or (ids[0] if len(ids) == 1 else ids)})


def reading_mistake(reference: OtherJob, mistakes: list[Mistake]) -> Mistake:
    """Return what there is to say of another job that has mistakes of its own."""
    first = mistakes[0]
    where = f"{reference.job}, line {first.line}: " if first.line else f"{reference.job}: "
    return Mistake(
        f"the job that is read has mistakes: {where}{first.message}",
        key=_KEY,
        suggestion=f"`pipeline validate {reference.job}` names all of them",
    )


def circle_mistake(reference: OtherJob) -> Mistake:
    """Return what there is to say of jobs that read each other."""
    return Mistake(f"{reference.job} reads this job's output in turn", key=_KEY, suggestion="read another job")
