"""A job file, its variables and its `--set`s -> a Job, or every mistake in one go."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config.chain import Following, circle_mistake, input_of, reading_mistake
from pipeline.config.checks.credentials import key_findings
from pipeline.config.job import Job
from pipeline.config.models import OtherJob
from pipeline.config.reading import document
from pipeline.config.reading.catalogue_file import include_catalogue
from pipeline.config.reading.document import parse
from pipeline.config.reading.environment import Filled, fill_document
from pipeline.config.reading.overrides import apply_override
from pipeline.config.reading.source import mapping_source, read_source
from pipeline.config.resolved import resolved_document
from pipeline.config.schema import shown
from pipeline.config.validation import STAND_INS, validate
from pipeline.errors import GIVEN, InvalidJob, Mistake
from pipeline.records import JsonObject


def load_job(path: str | Path, overrides: Sequence[str] = (), *, environ: Mapping[str, str] | None = None) -> Job:
    """Read and check a job file; opens nothing but the file itself. Takes the arguments of `read_job`.

    Raises:
        InvalidJob: with every mistake.
    """
    job, mistakes = read_job(path, overrides, environ=environ)
    if mistakes or job is None:
        raise InvalidJob(mistakes)
    return job


def read_job(
    path: str | Path | JsonObject,
    overrides: Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    table: Any = None,
    following: Following | None = None,
) -> tuple[Job | None, list[Mistake]]:
    """Return a job file as far as it can be read, and everything that is wrong with it.

    If there are mistakes, the job is what can be made of the rest, so that more can be checked: stand-ins replace wrong
    values.

    Args:
        path: the job file, or the mapping that it would hold.
        overrides: `a.b=value`, each replacing one key; the value is YAML.
        environ: the environment for `${NAME}`; that of the process if not given.
        table: the rows as a pyarrow.Table, in place of `input.path`; then `output.path` may be left out.
        following: the jobs that read this one's output, where it is read for them.
    """
    file = GIVEN if isinstance(path, Mapping) else str(path)
    try:
        root, mistakes = _read(path, overrides)
    except InvalidJob as error:
        return None, list(error.mistakes)
    environ = os.environ if environ is None else environ
    root, found = include_catalogue(root, environ)
    filled = fill_document(root, environ)
    mistakes += [*found, *filled.mistakes]
    if found:
        filled.unset.add(("catalogue",))
    writes_output = table is None or ("output", "path") in filled.places
    if table is not None:
        mistakes += _give_rows(filled)
    config, found, doubtful = validate(filled)
    mistakes = in_order([*mistakes, *found], file)
    if config is None:
        return None, mistakes
    places = {shown(where): place for where, place in filled.places.items() if where}
    resolved = resolved_document(config, filled.written)
    if table is not None:
        del resolved["input"]["path"]
    job = Job(config, file, resolved, places, table, writes_output, doubtful, tuple(overrides))
    if not isinstance(config.input.path, OtherJob):
        return job, mistakes
    job, found = _read_on(job, config.input.path, environ, (following or Following()).then(file))
    return job, in_order([*mistakes, *map(job.placed, found)], file)


def _read_on(
    job: Job, reference: OtherJob, environ: Mapping[str, str], following: Following
) -> tuple[Job, list[Mistake]]:
    """Return a job that reads another job's output, with the files of that as its input, and what is wrong with it."""
    doubtful = replace(job, doubtful=job.doubtful | {("input", "path")})
    if following.has(reference.job):
        return doubtful, [circle_mistake(reference)]
    other, mistakes = read_job(reference.job, environ=environ, following=following)
    if other is None or mistakes:
        return doubtful, [reading_mistake(reference, mistakes)]
    section = input_of(job.config.input, other)
    return replace(job, config=job.config.model_copy(update={"input": section}), source_job=other), []


def _give_rows(filled: Filled) -> list[Mistake]:
    """Put stand-ins for the paths that a job with given rows does not need; return a mistake if it names an input."""
    mistakes = []
    if ("input", "path") in filled.places:
        place = filled.places[("input", "path")].pointed
        mistakes.append(place.mistake("the rows are given already", key="input.path", suggestion="keep one of them"))
    for path in (("input", "path"), ("output", "path")):
        section = filled.values.setdefault(path[0], {}) if isinstance(filled.values, dict) else None
        if isinstance(section, dict):
            section.setdefault(path[1], STAND_INS[path])
    return mistakes


def in_order(mistakes: Sequence[Mistake], file: str) -> list[Mistake]:
    """Return the mistakes in the order of the job file, those of other files last."""
    return sorted(mistakes, key=lambda one: (one.file != file, one.file or "", one.line or 0, one.column or 0))


def environment_mistakes(job: Job, environ: Mapping[str, str] | None = None) -> list[Mistake]:
    """Return what is wrong with the key in the environment, which only sending needs."""
    findings = key_findings(job.config.endpoint, os.environ if environ is None else environ)
    return [job.placed(Mistake(one.message, key=shown(one.path), suggestion=one.suggestion)) for one in findings]


def _read(path: str | Path | JsonObject, overrides: Sequence[str]) -> tuple[document.Mapping, list[Mistake]]:
    """Return the document with the overrides applied, and what is wrong with either."""
    source = mapping_source(path) if isinstance(path, Mapping) else read_source(path)
    mistakes: list[Mistake] = []
    root = document.Mapping({}, source.place(0, 0))
    is_readable = False
    try:
        node, mistakes = parse(source)
        if node is None:
            mistakes.append(
                Mistake("the file is empty", source.file, suggestion="`pipeline init DIR` writes a job to start from")
            )
        elif not isinstance(node, document.Mapping):
            mistakes.append(
                node.place.mistake("a job file is a mapping of keys", suggestion="write `key: value` lines")
            )
        else:
            root, is_readable = node, True
    except InvalidJob as error:
        mistakes += error.mistakes
    for override in overrides:
        root, found = apply_override(root, override)
        mistakes += found
    if not is_readable:
        raise InvalidJob(mistakes)
    return root, mistakes
