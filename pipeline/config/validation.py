"""The filled-in document -> the configuration, and every mistake in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from pipeline.config.checks.findings import Finding
from pipeline.config.checks.job import check_variant
from pipeline.config.explain import explain, place_of
from pipeline.config.models import JobConfig
from pipeline.config.reading.document import MAX_LEVELS
from pipeline.config.reading.environment import Filled
from pipeline.config.schema import KeyPath, shown
from pipeline.config.variants import check_sweep, moved, variants
from pipeline.errors import Mistake

STAND_INS: dict[KeyPath, Any] = {
    ("name",): "job",
    ("input",): {"path": "input.csv"},
    ("input", "path"): "input.csv",
    ("prompt",): {"user": "x"},
    ("endpoint",): {"model": "x"},
    ("endpoint", "model"): "x",
    ("output",): {"path": "output.parquet"},
    ("output", "path"): "output.parquet",
}
"""What replaces a required value that is wrong or missing, so that the checks can look at the rest."""


def validate(filled: Filled) -> tuple[JobConfig | None, list[Mistake], frozenset[KeyPath]]:
    """Return the configuration, what is wrong with it, and the keys from which nothing can be concluded.

    The checks see what is right even where other keys are wrong.
    """
    unset = {_field_of(path) for path in filled.unset}
    values = _copied(filled.values)
    given = _stand_in_for_swept(values)
    _take_out(values, unset)
    config, error = _try(values)
    mistakes: list[Mistake] = []
    doubtful = set(unset)
    if error is not None:
        mistakes, doubtful = explain(error, filled, unset)
        if any(path[0] == "sweep" for path in doubtful if path):
            doubtful |= given
    for _ in range(MAX_LEVELS):  # taking a value out can leave its section without a required key, and so on upwards
        if error is None:
            break
        _take_out(
            values, {_field_of(place_of(found)) for found in error.errors(include_url=False, include_input=False)}
        )
        config, error = _try(values)
    if config is not None:
        every = variants(config)
        findings = list(check_sweep(config))
        findings += dict.fromkeys(moved(one, variant) for variant in every for one in check_variant(variant.config))
        mistakes += [_placed(finding, filled) for finding in findings if not _rests_on(finding, doubtful)]
        config = every[0].config
    return config, mistakes, frozenset(doubtful)


def _try(values: Any) -> tuple[JobConfig | None, ValidationError | None]:
    try:
        return JobConfig.model_validate(values), None
    except ValidationError as error:
        return None, error


def _stand_in_for_swept(values: Any) -> set[KeyPath]:
    """Put stand-ins for what a sweep provides and the job itself leaves out. Return their places."""
    sweep = values.get("sweep") if isinstance(values, dict) else None
    given: set[KeyPath] = set()
    if not isinstance(sweep, dict):
        return given
    for section, name in (("endpoint", "model"), ("prompt", "user")):
        if f"{section}.{name}" in sweep:
            there = values.setdefault(section, {})
            if isinstance(there, dict) and name not in there:
                there[name] = STAND_INS[section,][name]
                given.add((section, name))
    return given


def _copied(value: Any) -> Any:
    """Return the value with mappings of its own, so that keys can be taken out."""
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _take_out(values: Any, paths: Collection[KeyPath]) -> None:
    """Take values out, or put stand-ins for them. A section that lacks a value without a stand-in goes as a whole."""
    for path in paths:
        section = values
        for part in path[:-1]:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            continue
        if path in STAND_INS:
            section[path[-1]] = _copied(STAND_INS[path])
        elif path[-1] in section:
            del section[path[-1]]
        else:
            _take_out(values, [path[:-1]])


def _field_of(path: KeyPath) -> KeyPath:
    """Return the path of the list that a path leads into, or the path itself."""
    return path[: next((index for index, part in enumerate(path) if isinstance(part, int)), len(path))]


def _rests_on(finding: Finding, doubtful: Collection[KeyPath]) -> bool:
    """Return whether a finding is about a value that is wrong, or was concluded from one."""
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
