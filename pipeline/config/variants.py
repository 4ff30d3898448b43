"""The variants of a job: one job for each combination of what its sweep names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from msgspec import Struct, field
from msgspec.structs import replace
from pydantic import BaseModel

from pipeline.config.checks.findings import Finding
from pipeline.config.models import JobConfig, SweptValue
from pipeline.config.schema import KeyPath, shown
from pipeline.records import digest

_MOST_CHARACTERS = 40


class JobVariant(Struct, frozen=True):
    """A job under one combination of settings. `name` is what the output calls it, and `mark` names its settings
    whatever they are called and in whatever order; both are empty without a sweep. `swept` leads from each swept key to
    where its value is in the job file.
    """

    config: JobConfig
    name: str = ""
    mark: str = ""
    swept: Mapping[KeyPath, KeyPath] = field(default_factory=dict)

    def placed(self, path: KeyPath) -> KeyPath:
        """Return where the value of a key is that is part of this variant."""
        return (*self.swept[path[:2]], *path[2:]) if path[:2] in self.swept else path

    def placed_key(self, key: str | None) -> str | None:
        """Return the same for a key as mistakes name it."""
        found = next((path for path in self.swept if key == shown(path)), None)
        return key if found is None else shown(self.swept[found])


def variants(config: JobConfig) -> tuple[JobVariant, ...]:
    """Return a job's variants in their order; without a sweep the job itself is the only one."""
    if config.sweep is None or not config.sweep.settings:
        return (JobVariant(config),)
    keys = [key for key, _ in config.sweep.settings]
    return tuple(
        _variant(config, dict(zip(keys, chosen, strict=True)))
        for chosen in product(*(values for _, values in config.sweep.settings))
    )


def _variant(config: JobConfig, chosen: Mapping[str, SweptValue]) -> JobVariant:
    changed: dict[str, BaseModel] = {}
    swept: dict[KeyPath, KeyPath] = {}
    for key, one in chosen.items():
        section, name = key.split(".")
        before: BaseModel = changed.get(section) or getattr(config, section)
        changed[section] = before.model_copy(update={name: one.value})
        swept[section, name] = ("sweep", key, one.key)
    name = ",".join(one.text if one.is_named else f"{key.split('.')[1]}={one.text}" for key, one in chosen.items())
    mark = digest({key: _plain(one.value) for key, one in chosen.items()})
    return JobVariant(config.model_copy(update=changed), name, f"v{mark[:16]}", swept)


def check_sweep(config: JobConfig) -> Iterator[Finding]:
    """Return what is wrong with a sweep itself: nothing to vary, values that need a name, equal ones."""
    if config.sweep is None:
        return
    if not config.sweep.settings:
        hint = "such as `parameters.temperature: [0.2, 1.0]`, or leave `sweep` out"
        yield Finding(("sweep",), "it names no setting", hint, (("sweep",),))
    for key, values in config.sweep.settings:
        seen: dict[str, SweptValue] = {}
        for one in values:
            at: KeyPath = ("sweep", key, one.key)
            yield from _check_text(at, one)
            same = seen.setdefault(digest(_plain(one.value)), one)
            if same is not one:
                message = f"this variant is there already, as {shown(('sweep', key, same.key))}"
                yield Finding(at, message, "list each value once")


def _check_text(at: KeyPath, one: SweptValue) -> Iterator[Finding]:
    if one.is_named and "," in one.text:
        yield Finding(at, "the name of a variant cannot hold a comma, which separates variants", "choose another name")
    elif one.is_named and len(one.text) > _MOST_CHARACTERS:
        yield Finding(at, f"the name of a variant has at most {_MOST_CHARACTERS} characters", "choose a shorter one")
    elif not one.is_named and (len(one.text) > _MOST_CHARACTERS or "," in one.text):
        message = f"a value with a comma, or of more than {_MOST_CHARACTERS} characters, needs a name"
        yield Finding(at, message, f"write a mapping of names to values: `{at[1]}: {{short: …, long: …}}`")


def moved(finding: Finding, variant: JobVariant) -> Finding:
    """Return what was found of a variant at the place where the job file says it."""
    depends_on = tuple(variant.placed(path) for path in finding.depends_on)
    return replace(finding, path=variant.placed(finding.path), depends_on=depends_on)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.model_dump() if isinstance(value, BaseModel) else value
