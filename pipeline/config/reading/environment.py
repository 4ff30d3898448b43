"""Variables in the job file: `${NAME}`, `${NAME:-default}`, and `$${` for a `${` that stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from pipeline.config.reading import document
from pipeline.config.reading.document import Listing, Node, Scalar
from pipeline.config.reading.scalars import FilledText, read_scalar
from pipeline.config.reading.source import Place
from pipeline.config.schema import KeyPath, shown
from pipeline.errors import Mistake
from pipeline.surrogates import has_surrogate

_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class KeyPlace(Struct, frozen=True):
    """Where a key is and where its value begins."""

    key: Place
    value: Place

    @property
    def pointed(self) -> Place:
        """Where a caret helps most: at the value, unless it begins on another line."""
        return self.value if (self.value.file, self.value.line) == (self.key.file, self.key.line) else self.key


class Filled(Struct, frozen=True):
    """A document as plain values, with its variables filled in.

    `written` holds the texts that variables changed, as they are in the file; `unset` the places of those that
    cannot be filled in.
    """

    values: Any
    places: dict[KeyPath, KeyPlace] = field(default_factory=dict)
    written: dict[KeyPath, str] = field(default_factory=dict)
    unset: set[KeyPath] = field(default_factory=set)
    mistakes: list[Mistake] = field(default_factory=list)


def fill_document(node: Node, environ: Mapping[str, str]) -> Filled:
    """Return the values of a document, their places, and an error for each variable that cannot be filled in."""
    filled = Filled(None)
    values = _fill(node, (), KeyPlace(node.place, node.place), environ, filled)
    return Filled(values, filled.places, filled.written, filled.unset, filled.mistakes)


def fill_text(text: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the text with its variables filled in, and what is wrong with those that cannot be.

    As in a shell, `:-` gives its default also for a variable that is set but empty.
    """
    errors: list[str] = []

    def value(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if name is None:
            return "${"
        if default is not None and "${" in default:
            errors.append(f"the default of `${{{name}:-…}}` cannot hold a variable itself")
            return ""
        given = environ.get(name)
        if given is None and default is None:
            errors.append(f"the environment variable {name} is not set")
        elif given is not None and has_surrogate(given):
            errors.append(f"the environment variable {name} is not UTF-8")
        return given or default or ""

    # No variable ends behind the last brace; each that begins there would be followed to the end of the text.
    end = text.rfind("}") + 1
    return _VARIABLE.sub(value, text[:end]) + text[end:].replace("$${", "${"), errors


def is_variable(text: str) -> bool:
    """Return whether a text as written is one variable and nothing else, not even a default."""
    found = _VARIABLE.fullmatch(text)
    return found is not None and found[1] is not None and found[2] is None


def _fill(node: Node, path: KeyPath, place: KeyPlace, environ: Mapping[str, str], filled: Filled) -> Any:
    filled.places[path] = place
    if isinstance(node, document.Mapping):
        return {
            key: _fill(entry.node, (*path, key), KeyPlace(entry.key_place, entry.node.place), environ, filled)
            for key, entry in node.entries.items()
        }
    if isinstance(node, Listing):
        return [
            _fill(item, (*path, index), KeyPlace(item.place, item.place), environ, filled)
            for index, item in enumerate(node.items)
        ]
    return _fill_scalar(node, path, place, environ, filled)


def _fill_scalar(scalar: Scalar, path: KeyPath, place: KeyPlace, environ: Mapping[str, str], filled: Filled) -> Any:
    if "${" not in scalar.text:
        return read_scalar(scalar.text) if scalar.plain else scalar.text
    text, errors = fill_text(scalar.text, environ)
    for error in errors:
        hint = "set it, or give a default: ${NAME:-default}" if error.endswith("is not set") else None
        if path == ("endpoint", "api_key_env") and (variable := _VARIABLE.fullmatch(scalar.text)):
            hint = f"write the variable's name, not its value: `api_key_env: {variable[1]}`"
        filled.mistakes.append(place.pointed.mistake(error, key=shown(path), suggestion=hint))
    if errors:
        filled.unset.add(path)
        return None
    if text != scalar.text:
        filled.written[path] = scalar.text
        # Within { } a variable can only be in quotes, so they do not make text of a value that is one alone.
        return FilledText(text) if scalar.plain or _VARIABLE.fullmatch(scalar.text) else text
    return read_scalar(text) if scalar.plain else text
