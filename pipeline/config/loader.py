"""A job file, its variables and its `--set`s -> a Job, or every mistake in one go."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config import document
from pipeline.config.checks import check_job
from pipeline.config.commands import JobCall
from pipeline.config.credentials import key_findings
from pipeline.config.document import MOST_LEVELS, parse
from pipeline.config.environment import Filled, KeyPlace, fill_document, is_variable
from pipeline.config.explain import explain, place_of
from pipeline.config.findings import Finding
from pipeline.config.models import JobConfig
from pipeline.config.overrides import apply_override
from pipeline.config.schema import KeyPath, shown
from pipeline.config.source import GIVEN, mapping_source, read_source
from pipeline.errors import InvalidJob, Mistake

_STAND_INS: dict[KeyPath, Any] = {
    ("name",): "job",
    ("input",): {"path": "input.csv"},
    ("input", "path"): "input.csv",
    ("prompt",): {"user": "x"},
    ("endpoint",): {"model": "x"},
    ("endpoint", "model"): "x",
    ("output",): {"path": "output.parquet"},
    ("output", "path"): "output.parquet",
}
"""What stands for a required value that is wrong or missing, so that the checks can look at the rest."""

_SECRETS: frozenset[KeyPath] = frozenset({("notify", "ping_url"), ("notify", "webhook_url")})
_NOT_SHOWN = "(not shown)"
_HEADER_VALUE = "***"


@dataclass(frozen=True)
class Job:
    """A job file that was read and found right.

    `file` is its path as given. `document` is the configuration as resolved, fit for JSON: every key, defaults filled
    in and `--set`s applied, `${NAME}` left as written; of an address that is a secret nothing but such a name.
    """

    config: JobConfig
    file: str
    document: dict[str, Any]
    places: Mapping[str, KeyPlace] = field(default_factory=dict, repr=False)
    """Where each written key stands, by its dotted name (`input.path[1]`)."""
    table: Any = field(default=None, repr=False)
    """A pyarrow.Table with the rows, where a Python caller gave them in place of `input.path`."""
    writes_output: bool = True
    """Whether there is an output file; a Python caller may leave `output.path` out."""
    doubtful: frozenset[KeyPath] = field(default_factory=frozenset, repr=False)
    """Keys whose value is not what the file says, since that is wrong or cannot be known; none in a job that is right.
    """
    overrides: tuple[str, ...] = field(default=(), repr=False)
    """The `--set`s that the job was read with."""

    def command(self, name: str, *flags: str) -> str:
        """Return a command for this job as a user can type it; see `JobCall.command`."""
        return JobCall(self.file, self.overrides).command(name, *flags)

    @property
    def checkpoint_path(self) -> Path:
        """The directory of the job's checkpoint: `checkpoint.path`, or `.checkpoints/<name>`."""
        return Path(self.config.checkpoint.path or _default_checkpoint(self.config.name))

    def is_doubtful(self, key: str) -> bool:
        """Whether nothing can be concluded from the value of a key, or of something in it."""
        path = tuple(key.split("."))
        return any(path[: len(one)] == one[: len(path)] for one in self.doubtful)

    def place(self, key: str) -> tuple[int, int, str | None] | None:
        """Line and column (from 1) of a key or of the nearest section above it, and the line's text.

        None where neither stands in the file. The text is None where it may hold a secret.
        """
        place = self._place(key)
        if place is None or place.value.file != self.file:
            return None
        return place.pointed.line, place.pointed.column, place.pointed.text

    def placed(self, mistake: Mistake) -> Mistake:
        """The mistake with the place of its key, in the file or in a `--set`; one that has a file is left as it is."""
        if mistake.file is not None:
            return mistake
        place = None if mistake.key is None else self._place(mistake.key)
        if place is None:
            return replace(mistake, file=self.file)
        spot = place.pointed
        return replace(mistake, file=spot.file, line=spot.line, column=spot.column, source=spot.text)

    def _place(self, key: str) -> KeyPlace | None:
        while key and key not in self.places:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.places[key] if key else None


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
    path: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    table: Any = None,
) -> tuple[Job | None, list[Mistake]]:
    """Read a job file as far as it can be read, and all that is wrong with it.

    Beside mistakes the job is what can be made of the rest, to look further: wrong values have stand-ins there.

    Args:
        path: the job file, or the mapping that it would hold.
        overrides: `a.b=value`, each replacing one key; the value is YAML.
        environ: the environment for `${NAME}`; that of the process if not given.
        table: the rows as a pyarrow.Table, in place of `input.path`; then `output.path` may be left out.
    """
    file = GIVEN if isinstance(path, Mapping) else str(path)
    try:
        root, mistakes = _read(path, overrides)
    except InvalidJob as error:
        return None, list(error.mistakes)
    filled = fill_document(root, os.environ if environ is None else environ)
    mistakes += filled.mistakes
    writes_output = table is None or ("output", "path") in filled.places
    if table is not None:
        mistakes += _give_rows(filled)
    config, found, doubtful = _validate(filled)
    mistakes = in_order([*mistakes, *found], file)
    if config is None:
        return None, mistakes
    places = {shown(where): place for where, place in filled.places.items() if where}
    values = config.model_dump()
    values["checkpoint"]["path"] = config.checkpoint.path or _default_checkpoint(
        filled.written.get(("name",), config.name)
    )
    resolved = _document(values, (), filled.written)
    if table is not None:
        del resolved["input"]["path"]
    return Job(config, file, resolved, places, table, writes_output, doubtful, tuple(overrides)), mistakes


def _give_rows(filled: Filled) -> list[Mistake]:
    """Put stand-ins for the paths that a job with given rows does without; return a mistake where it names an input."""
    mistakes = []
    if ("input", "path") in filled.places:
        place = filled.places[("input", "path")].pointed
        mistakes.append(place.mistake("the rows are given already", key="input.path", suggestion="keep one of them"))
    for path in (("input", "path"), ("output", "path")):
        section = filled.values.setdefault(path[0], {}) if isinstance(filled.values, dict) else None
        if isinstance(section, dict):
            section.setdefault(path[1], _STAND_INS[path])
    return mistakes


def in_order(mistakes: Sequence[Mistake], file: str) -> list[Mistake]:
    """The mistakes in the order of the job file, those of other files after them."""
    return sorted(mistakes, key=lambda one: (one.file != file, one.file or "", one.line or 0, one.column or 0))


def environment_mistakes(job: Job, environ: Mapping[str, str] | None = None) -> list[Mistake]:
    """What is wrong with the key in the environment, which only sending needs."""
    findings = key_findings(job.config.endpoint, os.environ if environ is None else environ)
    return [job.placed(Mistake(one.message, key=shown(one.path), suggestion=one.suggestion)) for one in findings]


def _default_checkpoint(name: str) -> str:
    return f".checkpoints/{name}"


def _read(path: str | Path | Mapping[str, Any], overrides: Sequence[str]) -> tuple[document.Mapping, list[Mistake]]:
    """The document with the overrides in it, and what is wrong with either."""
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


def _validate(filled: Filled) -> tuple[JobConfig | None, list[Mistake], frozenset[KeyPath]]:
    """The configuration, what is wrong with it, and what nothing can be concluded from; the checks see what is right
    even where other keys are wrong.
    """
    unset = {_field_of(path) for path in filled.unset}
    values = _copied(filled.values)
    _take_out(values, unset)
    config, error = _try(values)
    mistakes: list[Mistake] = []
    doubtful = set(unset)
    if error is not None:
        mistakes, doubtful = explain(error, filled, unset)
    for _ in range(MOST_LEVELS):  # taking a value out can leave its section without a required key, and so on upwards
        if error is None:
            break
        _take_out(
            values, {_field_of(place_of(found)) for found in error.errors(include_url=False, include_input=False)}
        )
        config, error = _try(values)
    if config is not None:
        mistakes += [_placed(finding, filled) for finding in check_job(config) if not _rests_on(finding, doubtful)]
    return config, mistakes, frozenset(doubtful)


def _try(values: Any) -> tuple[JobConfig | None, ValidationError | None]:
    try:
        return JobConfig.model_validate(values), None
    except ValidationError as error:
        return None, error


def _copied(value: Any) -> Any:
    """The value with mappings of its own, so that keys can be taken out."""
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _take_out(values: Any, paths: Collection[KeyPath]) -> None:
    """Take values out, or put stand-ins for them; a section that lacks a value without a stand-in goes as a whole."""
    for path in paths:
        section = values
        for part in path[:-1]:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            continue
        if path in _STAND_INS:
            section[path[-1]] = _copied(_STAND_INS[path])
        elif path[-1] in section:
            del section[path[-1]]
        else:
            _take_out(values, [path[:-1]])


def _field_of(path: KeyPath) -> KeyPath:
    """The path of the list that a path leads into, or the path itself."""
    return path[: next((index for index, part in enumerate(path) if isinstance(part, int)), len(path))]


def _rests_on(finding: Finding, doubtful: Collection[KeyPath]) -> bool:
    """Whether a finding is about a value that is wrong, or was concluded from one."""
    for path in doubtful:
        if any(where[: len(path)] == path for where in (finding.path, *finding.depends_on)):
            return True
        if any(path[: len(where)] == where for where in finding.depends_on):
            return True
    return False


def _placed(finding: Finding, filled: Filled) -> Mistake:
    path = finding.path
    while path not in filled.places:
        path = path[:-1]
    place = filled.places[path].pointed
    if not path:  # the root has no line of its own to show
        place = replace(place, text=None)
    return place.mistake(finding.message, key=shown(finding.path), suggestion=finding.suggestion)


def _document(value: Any, path: KeyPath, written: Mapping[KeyPath, str]) -> Any:
    """The value fit for JSON, with the variables as they are written."""
    if path in _SECRETS and value is not None and not is_variable(written.get(path, "")):
        return _NOT_SHOWN
    if path[:2] == ("endpoint", "headers") and isinstance(value, str):
        return _HEADER_VALUE
    if path in written:
        return written[path]
    if isinstance(value, dict):
        return {key: _document(inner, (*path, key), written) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_document(inner, (*path, index), written) for index, inner in enumerate(value)]
    if isinstance(value, Decimal):
        # As a number, as it stands in the file; as text where a float would not be the same.
        return float(value) if Decimal(repr(float(value))) == value else str(value)
    return value
