"""The file that a job's `catalogue` names, put into the job file in the place of its path."""

from __future__ import annotations

from collections.abc import Mapping as Environment

from msgspec.structs import replace

from pipeline.config.reading.document import Entry, Mapping, Node, Scalar, parse
from pipeline.config.reading.environment import fill_text
from pipeline.config.reading.scalars import read_scalar
from pipeline.config.reading.source import read_source
from pipeline.errors import InvalidJob, Mistake

_KEY = "catalogue"


def include_catalogue(root: Mapping, environ: Environment[str, str]) -> tuple[Mapping, list[Mistake]]:
    """Return the document with the catalogue's content as a section, each key with its place in that file.

    Where the file cannot be read, the document stays as it is, and what is wrong comes along.
    """
    entry = root.entries.get(_KEY)
    if entry is None or not isinstance(entry.node, Scalar) or _is_null(entry.node):
        return root, []
    path, errors = fill_text(entry.node.text, environ)
    if errors:  # said where the variables are filled in
        return root, []
    try:
        node, mistakes = _read(path)
    except InvalidJob as error:
        node, mistakes = None, list(error.mistakes)
    if node is None:
        return root, [_placed(mistake, entry) for mistake in mistakes]
    entries = {**root.entries, _KEY: Entry(node.place, node)}
    return Mapping(entries, root.place), [_placed(mistake, entry) for mistake in mistakes]


def _read(path: str) -> tuple[Node | None, list[Mistake]]:
    node, mistakes = parse(read_source(path))
    if node is None:
        mistakes.append(Mistake("the file is empty", path, suggestion="`models:` lists the models"))
    return node, mistakes


def _placed(mistake: Mistake, entry: Entry) -> Mistake:
    """Return the mistake at its line in the catalogue, or, where that cannot be read at all, at the key of the job."""
    if mistake.line is not None:
        return replace(mistake, key=f"{_KEY}.{mistake.key}" if mistake.key else _KEY)
    message = f"{mistake.file}: {mistake.message}"
    return entry.node.place.mistake(message, key=_KEY, suggestion=mistake.suggestion)


def _is_null(scalar: Scalar) -> bool:
    return scalar.plain and read_scalar(scalar.text) is None
