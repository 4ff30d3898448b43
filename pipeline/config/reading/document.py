"""YAML text -> nodes that know their place. Nothing but mappings, lists and scalars is ever made of it.

The nodes are composed here from ruamel.yaml's parsing events, so that depth, aliases and tags are bounded and refused
while reading; no Python object is constructed and the resolver of tags is not used at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scanner import Scanner, ScannerError

from pipeline.config.reading.source import Place, Source
from pipeline.config.reading.syntax import explain_syntax
from pipeline.config.schema import KeyPath, shown
from pipeline.errors import InvalidJob, Mistake
from pipeline.surrogates import well_formed

MAX_NODES = 10_000
"""Values and keys of a job file, aliases expanded."""

MAX_LEVELS = 50

_TEMPLATE_HINT = 'put a template in quotes: "{{ question }}"'


class Scalar(Struct, frozen=True):
    """Text as written, apart from quotes and escapes; `plain` is text without quotes, whose type is its looks'."""

    text: str
    plain: bool
    place: Place


class Listing(Struct, frozen=True):
    """A YAML sequence."""

    items: tuple[Node, ...]
    place: Place


class Entry(Struct, frozen=True):
    """A value of a mapping, with the place of its key."""

    key_place: Place
    node: Node


class Mapping(Struct, frozen=True):
    """A YAML mapping; keys are texts, whatever they look like."""

    entries: dict[str, Entry]
    place: Place


Node = Scalar | Listing | Mapping


def parse(source: Source) -> tuple[Node | None, list[Mistake]]:
    """Return the document of a source, None if it is empty, and what is wrong with it although it can be read.

    Raises InvalidJob if it cannot be read any further.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner = _TaglessScanner
    composer = _Composer(source, yaml.parse(source.text))
    try:
        return composer.document(), composer.mistakes
    except (YAMLError, ValueError, OverflowError) as error:  # the latter two: escapes such as "\UFFFFFFFF"
        raise InvalidJob([*composer.mistakes, explain_syntax(error, source)]) from None


class _TaglessScanner(Scanner):
    """Refuses every tag where it begins: none is needed, and reading one takes time quadratic in its length."""

    def fetch_tag(self) -> None:
        raise ScannerError(None, None, "a tag", self.reader.get_mark())


class _Anchored(Struct, frozen=True):
    node: Node
    nodes: int
    levels: int


class _Composer:
    """Reads one document from the events of a parser."""

    def __init__(self, source: Source, events: Iterator[Any]) -> None:
        self.mistakes: list[Mistake] = []
        self._source = source
        self._events = events
        self._anchors: dict[str, _Anchored] = {}
        self._nodes = 0

    def document(self) -> Node | None:
        self._next("StreamStartEvent")
        if self._kind(event := next(self._events)) == "StreamEndEvent":
            return None
        node, _ = self._compose(next(self._events), ())
        self._next("DocumentEndEvent")
        if self._kind(event := next(self._events)) != "StreamEndEvent":
            hint = "a job file is one document; leave out `---`"
            self._stop(self._place(event), "a second document begins here", hint)
        is_empty = isinstance(node, Scalar) and node.plain and not node.text
        return None if is_empty else node

    def _compose(self, event: Any, path: KeyPath) -> tuple[Node, int]:
        """Return the node that begins with an event, and how many levels it has."""
        place, kind, first = self._place(event), self._kind(event), self._nodes
        if kind == "AliasEvent":
            return self._alias(event.anchor, place, len(path))
        is_scalar = kind == "ScalarEvent"
        if not is_scalar and len(path) >= MAX_LEVELS:
            self._stop(place, f"nested more than {MAX_LEVELS} levels deep", None)
        self._count(1, place)
        node: Node
        levels = 0 if is_scalar else 1
        if is_scalar:
            node = Scalar(self._unicode(event.value, place), not event.style, place)
        elif kind == "SequenceStartEvent":
            items: list[Node] = []
            while self._kind(event_inside := next(self._events)) != "SequenceEndEvent":
                item, below = self._compose(event_inside, (*path, len(items)))
                items.append(item)
                levels = max(levels, below + 1)
            node = Listing(tuple(items), place)
        else:
            node, levels = self._mapping(place, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(node, self._nodes - first, levels)
        return node, levels

    def _mapping(self, place: Place, path: KeyPath) -> tuple[Mapping, int]:
        entries: dict[str, Entry] = {}
        levels = 1
        while self._kind(event := next(self._events)) != "MappingEndEvent":
            key, _ = self._compose(event, (*path, ""))
            name = key.text if isinstance(key, Scalar) else ""
            value, below = self._compose(next(self._events), (*path, name))
            levels = max(levels, below + 1)
            if not isinstance(key, Scalar):
                hint = _TEMPLATE_HINT if self._source.has_template(key.place) else "a key is a word"
                message = "a mapping or list cannot be a key"
                self.mistakes.append(key.place.mistake(message, key=shown(path) or None, suggestion=hint))
            elif name in entries:
                line = entries[name].key_place.line
                message = "this key is set already" + (f", on line {line}" if line else "")
                whole = shown((*path, name))
                self.mistakes.append(key.place.mistake(message, key=whole, suggestion="keep one of the two"))
            else:
                entries[name] = Entry(key.place, value)
        return Mapping(entries, place), levels

    def _alias(self, name: str, place: Place, above: int) -> tuple[Node, int]:
        if name not in self._anchors:
            self._stop(place, "there is no anchor of this name above", "put text that begins with `*` in quotes")
        anchored = self._anchors[name]
        self._count(anchored.nodes, place)
        if above + anchored.levels > MAX_LEVELS:
            self._stop(place, f"nested more than {MAX_LEVELS} levels deep", None)
        return anchored.node, anchored.levels

    def _count(self, nodes: int, place: Place) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop(place, f"more than {MAX_NODES:,} values, aliases expanded", "a job file has a few dozen")

    def _unicode(self, text: str, place: Place) -> str:
        """Return the text with each of JSON's pairs of escapes for one character put together."""
        joined = well_formed(text)
        if joined.count("\ufffd") > text.count("\ufffd"):
            self.mistakes.append(place.mistake("half of a pair of \\ud800-\\udfff escapes is not a character"))
        return joined

    def _place(self, event: Any) -> Place:
        return self._source.place(event.start_mark.line, event.start_mark.column)

    def _next(self, kind: str) -> None:
        event = next(self._events)
        assert self._kind(event) == kind, event

    @staticmethod
    def _kind(event: Any) -> str:
        return type(event).__name__

    def _stop(self, place: Place, message: str, suggestion: str | None) -> NoReturn:
        raise InvalidJob([*self.mistakes, place.mistake(message, suggestion=suggestion)])
