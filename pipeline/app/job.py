"""A job file with everything it names opened and checked, before anything is sent or written."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.catalogue import DEFAULT_PARAMETERS, OPENAI_PARAMETERS, Model, Price, find_model
from pipeline.config import Job, JobConfig, environment_mistakes, read_job
from pipeline.errors import InvalidInput, InvalidJob, Mistake
from pipeline.plan import Rows
from pipeline.prompts import Prompter
from pipeline.records import digest
from pipeline.sink import RESULT_NAMES, draft_path, partial_path
from pipeline.sources import Source, fingerprint, open_source

PLAN_VERSION = 1


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that is fit to run: its rows, the model's facts, and the settings that its requests are made under."""

    job: Job
    rows: Rows
    model: Model | None
    price: Price | None

    @property
    def settings(self) -> dict[str, Any]:
        """What makes finished rows changed when it changes: endpoint kind, model, prompt and parameters."""
        config = self.job.config
        return {
            "endpoint_kind": config.endpoint.kind,
            "model": config.endpoint.model,
            "prompt": config.prompt.model_dump(exclude_none=True),
            "parameters": config.parameters.model_dump(exclude_none=True),
        }

    @property
    def fingerprint(self) -> str:
        """Names the input and the settings: where it is unchanged, so is every row's request."""
        config = self.job.config.input
        reading = [config.format, config.id, config.csv.model_dump()]
        return digest([PLAN_VERSION, fingerprint(self.rows.source), reading, self.settings])

    @property
    def context_window(self) -> int | None:
        """Tokens the model can take, as far as known."""
        return self.model.context_window if self.model else None


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> Job:
    """Read a job file. Where it has mistakes, what can still be looked at is, so that all show in one go.

    Raises:
        InvalidJob: with every mistake, those of the input and the templates included.
    """
    job, mistakes = read_job(path, overrides)
    if job is not None and not mistakes:
        return job
    if job is not None:
        wrong = {(mistake.key or "").partition(".")[0] for mistake in mistakes}
        mistakes += _look(job, os.environ, for_sending=True, wrong=wrong).mistakes
    raise InvalidJob(mistakes)


def open_job(job: Job, environ: Mapping[str, str] | None = None, *, for_sending: bool = True) -> OpenJob:
    """Open and check everything that a job names; sends and writes nothing.

    Args:
        for_sending: check also what only sending needs: the key, and that the output can be written.

    Raises:
        InvalidJob: with every mistake that could be found.
    """
    found = _look(job, os.environ if environ is None else environ, for_sending=for_sending)
    if found.mistakes or found.source is None or found.prompter is None:
        raise InvalidJob(found.mistakes)
    config = job.config
    rows = Rows(found.source, config.input.id, found.prompter, config.endpoint.kind, config.endpoint.model)
    return OpenJob(job, rows, _model(config), _price(config))


@dataclass(slots=True)
class _Found:
    mistakes: list[Mistake]
    source: Source | None = None
    prompter: Prompter | None = None


def _look(job: Job, environ: Mapping[str, str], *, for_sending: bool, wrong: Collection[str] = ()) -> _Found:
    """Everything a job names, as far as the sections that are not `wrong` already allow."""
    config = job.config
    found = _Found([])
    if for_sending and "endpoint" not in wrong:
        found.mistakes += environment_mistakes(job, environ)
    if for_sending and not {"input", "output", "checkpoint"} & set(wrong):
        found.mistakes += _path_mistakes(job)
    if "input" not in wrong:
        with _noting(found.mistakes, "input.path"):
            found.source = open_source(config.input)
        if found.source is None:
            # A wrong id or column must not hide what is wrong with the templates.
            with suppress(InvalidInput):
                found.source = open_source(config.input.model_copy(update={"id": None, "columns": None}))
    if found.source is not None and "output" not in wrong:
        found.mistakes += _column_mistakes(job, found.source)
    if found.source is not None and not {"prompt", "parameters", "endpoint"} & set(wrong):
        model = _model(config)
        ranges = OPENAI_PARAMETERS if config.endpoint.kind == "openai" else DEFAULT_PARAMETERS
        with _noting(found.mistakes, "prompt"):
            found.prompter = Prompter(
                config.prompt,
                config.parameters,
                config.endpoint.model,
                found.source.schema.names,
                model.parameters if model else ranges,
                model.context_window if model else None,
            )
    found.mistakes = [job.placed(mistake) for mistake in found.mistakes]
    return found


def try_templates(opened: OpenJob, rows: int = 1000) -> None:
    """Make the requests of the first rows, under a watch.

    Raises InvalidJob where the template spins, or fails on every one of them: then it is the template that is wrong.
    """
    most_tokens = opened.job.config.limits.tokens_per_minute
    faults = opened.rows.prompter.trial(first_rows(opened.rows.source, rows), most_tokens=most_tokens)
    if faults:
        raise InvalidJob([opened.job.placed(mistake) for mistake in faults])


def first_rows(source: Source, count: int) -> Iterator[dict[str, Any]]:
    """The first rows of the input as Python values."""
    from pipeline.sources.identity import row_values

    for batch in source.batches():
        taken = batch.slice(0, count)
        yield from row_values(taken)
        count -= taken.num_rows
        if count <= 0:
            return


@contextmanager
def _noting(mistakes: list[Mistake], key: str) -> Iterator[None]:
    try:
        yield
    except InvalidJob as error:
        mistakes += error.mistakes
    except InvalidInput as error:
        named, _, rest = str(error).partition(": ")
        is_named = named.startswith("input.")
        mistakes.append(Mistake(rest if is_named else str(error), key=named if is_named else key))


def _column_mistakes(job: Job, source: Source) -> list[Mistake]:
    config = job.config
    names = source.schema.names
    carried = [name for name in config.input.columns or () if name in names]
    if config.input.columns is None:
        carried = names
    mistakes = []
    if len(set(carried)) != len(carried):
        mistakes.append(Mistake("a column is named twice", key="input.columns"))
    taken = [name for name in RESULT_NAMES if config.output.prefix + name in carried]
    if taken:
        mistakes.append(Mistake(
            f"the input already has a column {config.output.prefix + taken[0]!r}, which the output adds",
            key="output.prefix", suggestion="set output.prefix, for example \"answer_\", or leave the column out of"
            " input.columns",
        ))  # fmt: skip
    return mistakes


def _path_mistakes(job: Job) -> list[Mistake]:
    output = Path(job.config.output.path)
    places = {"output.path": output, "checkpoint.path": job.checkpoint_path}
    if output.name:
        places["output.path"] = draft_path(partial_path(output))  # the longest name that is needed
    mistakes = [Mistake(why, key=key) for key, path in places.items() if (why := _unusable(path)) is not None]
    if mistakes:
        return mistakes
    if output.is_dir():
        mistakes.append(Mistake(f"{output} is a directory", key="output.path", suggestion="name a file, such as"
                                f" {output / (job.config.name + '.parquet')}"))  # fmt: skip
    for key, path in (("output.path", output.parent), ("checkpoint.path", job.checkpoint_path)):
        blocked = _unwritable(path)
        if blocked is not None:
            mistakes.append(Mistake(f"{blocked} cannot be written to", key=key,
                                    suggestion="choose another directory, or change its permissions"))  # fmt: skip
    inputs = {os.path.realpath(path) for path in _input_paths(job)}
    if {os.path.realpath(output), os.path.realpath(partial_path(output))} & inputs:
        mistakes.append(Mistake("the output would overwrite the input", key="output.path"))
    return mistakes


def _input_paths(job: Job) -> tuple[str, ...]:
    path = job.config.input.path
    return (path,) if isinstance(path, str) else tuple(path)


def _unusable(path: Path) -> str | None:
    """Why there can be no such path, such as a name that is too long or a directory that may not be looked into."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        return f"{path} cannot be used: {getattr(error, 'strerror', None) or error}"
    return None


def _unwritable(directory: Path) -> Path | None:
    """The nearest existing ancestor of a directory, itself included, that nothing can be made in; None if it can."""
    for path in (directory, *directory.absolute().parents):
        if path.exists() or path.is_symlink():
            return None if path.is_dir() and os.access(path, os.W_OK | os.X_OK) else path
    return directory


def _model(config: JobConfig) -> Model | None:
    return find_model(config.endpoint.model) if config.endpoint.kind == "dataoorts" else None


def _price(config: JobConfig) -> Price | None:
    """The job's own price, else the catalogue's, whatever the server: `pricing` is there for servers that differ."""
    model, pricing = find_model(config.endpoint.model), config.pricing
    if pricing is not None:
        return Price(pricing.input_usd_per_million, pricing.output_usd_per_million, None)
    return Price(model.input_usd_per_million, model.output_usd_per_million, model.priced_on) if model else None
