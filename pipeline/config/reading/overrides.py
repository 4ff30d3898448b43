"""`--set a.b=value`: one key of the job file, given on the command line."""

from __future__ import annotations

from msgspec.structs import replace

from pipeline.config.explain import unknown_key
from pipeline.config.reading.document import Entry, Mapping, Node, Scalar, parse
from pipeline.config.reading.source import Place, Source
from pipeline.config.schema import KeyPath, is_key
from pipeline.errors import InvalidJob, Mistake

_FILE = "--set"


def apply_override(root: Mapping, text: str) -> tuple[Mapping, list[Mistake]]:
    """Return the document with one key replaced and missing sections added; or what is wrong with `text`.

    The value is YAML. A value of the document is replaced as a whole, even a section or a list.
    """
    name, separator, value = text.partition("=")
    name = name.strip()
    path = _path(name)
    source = Source(f"{_FILE} {name}=…", value, lead=text[: len(text) - len(value)])
    start = source.place(0, -len(source.lead))
    if not separator:
        return root, [Mistake(f"`{_FILE}` takes a key and its value", _FILE, suggestion=f"write {_FILE} {name}=VALUE")]
    for depth in range(1, len(path) + 1):
        if not is_key(path[:depth]):
            return root, [unknown_key(path[:depth], start)]
    try:
        node, mistakes = parse(source)
    except InvalidJob as error:
        return root, [_named(mistake, name) for mistake in error.mistakes]
    if mistakes:
        return root, [_named(mistake, name) for mistake in mistakes]
    if node is None:
        node = Scalar("", plain=True, place=source.place(0, 0))
    return _replaced(root, path, node, start), []


def _path(name: str) -> KeyPath:
    """Return the path of a key; below `sweep` there are keys that have a dot themselves."""
    first, *rest = name.split(".")
    return (first, ".".join(rest[:2]), *rest[2:]) if first == "sweep" and len(rest) > 1 else (first, *rest)


def _named(mistake: Mistake, name: str) -> Mistake:
    hint = mistake.suggestion
    if hint is None or "in quotes" in hint:
        hint = f"""put the value in quotes inside the shell's: {_FILE} '{name}="…"'"""
    return replace(mistake, key=name, suggestion=hint)


def _replaced(section: Node | None, path: KeyPath, node: Node, place: Place) -> Mapping:
    """Return the section with the value at a path replaced; whatever is not a mapping becomes one."""
    entries = dict(section.entries) if isinstance(section, Mapping) else {}
    key, rest = str(path[0]), path[1:]
    before = entries[key].node if key in entries else None
    entries[key] = Entry(place, _replaced(before, rest, node, place) if rest else node)
    return Mapping(entries, section.place if isinstance(section, Mapping) else place)
