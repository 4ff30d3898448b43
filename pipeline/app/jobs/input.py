"""The opening of a job's input, as far as its mistakes allow."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.app.jobs.source_job import source_mistakes
from pipeline.config import Job, variants
from pipeline.config.models import InputConfig
from pipeline.errors import InvalidJob, Mistake
from pipeline.prompts import PromptFailure, condition_mistakes
from pipeline.sources import ChosenRows, Source, TableSource, Undecided, column_mistakes, open_source, rows_of
from pipeline.sources.files import find_files
from pipeline.sources.identity import row_values
from pipeline.storage import split_uri

_CSV_RESTS_ON = ("input.csv.delimiter", "input.csv.encoding")
_WHERE = "input.where"


def open_input(job: Job) -> tuple[Source | None, list[Mistake]]:
    """Return a job's rows, None if they cannot be read, and what is wrong with the input."""
    section = job.config.input
    if job.is_doubtful("input.path"):
        return None, []
    if job.source_job is not None and (found := list(source_mistakes(job.source_job))):
        return None, [*found, *condition_mistakes(section.where)]
    if section.has_bodies and job.table is not None:
        suggestion = "leave it out, or name the file in `input.path`"
        return None, [Mistake("a frame is no file of requests", key="input.format", suggestion=suggestion)]
    if any(map(job.is_doubtful, _CSV_RESTS_ON)):
        return None, [*_missing_files(section), *condition_mistakes(section.where)]
    try:
        # A wrong id or column must not hide what is wrong with the templates.
        whole = section.model_copy(update={"id": None, "columns": None})
        models = [variant.config.endpoint.model for variant in variants(job.config)]
        source = open_source(whole, models, job.checkpoint_path) if job.table is None else TableSource(job.table)
    except InvalidJob as error:
        # Where the format is wrong, the files are read by their endings; that this fails may follow from the format.
        unread = _missing_files(section) if job.is_doubtful("input.format") else error.mistakes
        return None, [*unread, *condition_mistakes(section.where)]
    mistakes = column_mistakes(source.schema, section.id_columns, section.columns)
    try:
        if section.where is not None:
            source = ChosenRows(source, _condition(section.where, source.schema.names))
    except InvalidJob as error:
        mistakes += error.mistakes
    if job.shard is not None and not mistakes:
        source = rows_of(job.shard, source, section.id_columns, job.checkpoint_path)
    return source, mistakes


def _missing_files(section: InputConfig) -> Sequence[Mistake]:
    """Return what is wrong with the files of this machine, however they are to be read."""
    files = [path for path in section.paths if not split_uri(path) and not os.path.isdir(path)]
    try:
        if files:
            find_files(files, "jsonl")
    except InvalidJob as error:
        return error.mistakes
    return ()


def _condition(text: str, columns: Sequence[str]) -> Callable[[pa.RecordBatch], npt.NDArray[np.bool_]]:
    """Return a function that says of each row whether it counts; it raises Undecided where it cannot."""
    from pipeline.prompts.conditions import Condition

    condition = Condition(text, _WHERE, columns)

    def judge(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        found = np.zeros(batch.num_rows, np.bool_)
        for index, row in enumerate(row_values(batch)):
            try:
                found[index] = condition.holds(row)
            except PromptFailure as failure:
                raise Undecided(index, Mistake(failure.message, key=_WHERE)) from None
        return found

    return judge
