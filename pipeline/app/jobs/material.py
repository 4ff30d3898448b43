"""What a prompt names in files of its own: few-shot examples and tools, read into the job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pipeline.config import JobConfig, JobVariant, variants
from pipeline.config.models import Example, ExamplesFile, InputConfig
from pipeline.errors import InvalidJob, Mistake
from pipeline.prompts import missing_column
from pipeline.prompts.texts import scalar_text
from pipeline.records import JsonObject
from pipeline.sources import open_source
from pipeline.sources.identity import row_values
from pipeline.storage import read_json


def read_variants(config: JobConfig) -> tuple[tuple[JobVariant, ...], list[Mistake]]:
    """Return a job's variants with the examples and tools that they name in place of the files, and what is wrong with
    those. A variant whose files cannot be used has none of them.
    """
    found: list[JobVariant] = []
    mistakes: list[Mistake] = []
    for variant in variants(config):
        try:
            found.append(replace(variant, config=_read(variant.config)))
        except InvalidJob as error:
            mistakes += [replace(one, key=variant.placed_key(one.key)) for one in error.mistakes]
            prompt = variant.config.prompt.model_copy(update={"examples": None, "tools": None})
            found.append(replace(variant, config=variant.config.model_copy(update={"prompt": prompt})))
    return tuple(found), list(dict.fromkeys(mistakes))


def _read(config: JobConfig) -> JobConfig:
    prompt = config.prompt
    read: dict[str, tuple[Example, ...] | tuple[JsonObject, ...]] = {}
    if isinstance(prompt.examples, ExamplesFile):
        read["examples"] = tuple(_examples(prompt.examples))
    if isinstance(prompt.tools, str):
        read["tools"] = tuple(_tools(prompt.tools))
    return config.model_copy(update={"prompt": prompt.model_copy(update=read)}) if read else config


def _examples(given: ExamplesFile) -> Iterator[Example]:
    try:
        source = open_source(InputConfig(path=given.path))
    except InvalidJob as error:
        mistakes = [replace(one, key="prompt.examples") for one in error.mistakes]
        raise InvalidJob(mistakes) from error
    wanted = {"user": given.user, "assistant": given.assistant}
    missing = [
        missing_column("prompt.examples", column, source.schema.names, whose=f"file {given.path}")
        for column in wanted.values()
        if column not in source.schema.names
    ]
    if missing:
        raise InvalidJob(missing)
    count = 0
    for batch in source.batches():
        for row in row_values(batch):
            yield Example(**{name: _text(row[column], column, given.path, count) for name, column in wanted.items()})
            count += 1
    if not count:
        raise _mistake("prompt.examples", f"{given.path} has no rows", "add examples, or leave the key out")


def _text(value: Any, column: str, path: str, position: int) -> str:
    if text := scalar_text(value):
        return text
    what = "is empty" if text == "" else "is a list or a struct"
    message = f"{path}: the {column!r} of row {position + 1} {what}"
    raise _mistake("prompt.examples", message, "an example has two texts")


def _tools(path: str) -> list[JsonObject]:
    try:
        found = read_json(Path(path))
    except OSError as error:
        raise _mistake("prompt.tools", f"{path}: {error.strerror}", "name a file that is there") from error
    except (ValueError, RecursionError) as error:
        raise _mistake(
            "prompt.tools", f"{path} is not JSON: {error}", "name a JSON file with a list of tools"
        ) from error
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise _mistake("prompt.tools", f"{path} is not a list of objects", "each tool is an object of OpenAI's form")
    return found


def _mistake(key: str, message: str, suggestion: str) -> InvalidJob:
    return InvalidJob([Mistake(message, key=key, suggestion=suggestion)])
