"""The text of a job file or of a `--set`, the places in it, and the lines that must not be shown."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from operator import index
from pathlib import Path, PurePath
from typing import SupportsIndex

from pipeline.errors import GIVEN, InvalidJob, Mistake
from pipeline.records import JsonObject
from pipeline.suggest import did_you_mean, nearest

MAX_BYTES = 1024 * 1024

_DECIMAL = re.compile(r'"\\u0000(\d+)"')
_LINE_END = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_MAX_SHOWN = 1_000
"""Characters of a line that is shown; a longer one is not searched for secrets."""

_SECRET_NAME = r"(?:key|secret|password|passwd|authorization|bearer|(?<!max_)token|(?:ping|webhook)_url|otlp)"
_ENDS_AS_SECRET = re.compile(_SECRET_NAME + r"\Z", re.I)
_SECRET_KEY = re.compile(rf"(?:{_SECRET_NAME}|headers(?:\.[^\s:=]+)?)" + r"""["']?\s*[:=]\s*(.*)""", re.I)
_SECRET_TEXT = re.compile(
    r"""
    https?://[^\s"']*[?\#@]                          # an address with a password or a query
    | \bbearer\s+\S{8}
    | \bsk-[\w-]{16}
    | \bapi_key_env["']?\s*[:=]\s*+                  # a key where the name of a variable should be
      (?!["']?(?-i:[A-Z_][A-Z0-9_]*)["']?\s*(?:[,}\#]|$) | ["']?\$\{ | (?:null|~)?\s*(?:[,}\#]|$))
    """,
    re.I | re.X,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is, counted from 1; `text` is the whole line, None if it may hold a secret."""

    file: str
    line: int
    column: int
    text: str | None

    def mistake(self, message: str, *, key: str | None = None, suggestion: str | None = None) -> Mistake:
        """Return a mistake at this place."""
        return Mistake(message, self.file, self.line, self.column, key, suggestion, self.text)


@dataclass(frozen=True)
class Source:
    """Text to be parsed; `lead` precedes it on its first line and is shown with it (`a.b=` of a `--set`)."""

    file: str
    text: str
    lead: str = ""

    def place(self, line: int, column: int) -> Place:
        """Return the place of a line and column of `text`, both counted from 0."""
        column += len(self.lead) if line == 0 else 0
        known = line < len(self._lines) and line not in self._secret_lines
        return Place(self.file, line + 1, column + 1, self._lines[line] if known else None)

    def place_of_index(self, index: int) -> Place:
        """Return the place of the character at an index of `text`."""
        line = bisect_right(self._line_starts, index) - 1
        return self.place(line, index - self._line_starts[line])

    def has_template(self, place: Place) -> bool:
        """Return whether a template begins on the line of a place."""
        return place.line <= len(self._lines) and "{{" in self._lines[place.line - 1]

    def line(self, line: int) -> str:
        """Return a line of the text counted from 0, empty beyond the end; to look at, not to show."""
        return self._lines[line] if line < len(self._lines) else ""

    @cached_property
    def _lines(self) -> list[str]:
        return _LINE_END.split(self.lead + self.text)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(end.end() for end in _LINE_END.finditer(self.text))]

    @cached_property
    def _secret_lines(self) -> frozenset[int]:
        """Lines with what may be a secret. It is looked for in the text, so that broken YAML shows none either."""
        secret: set[int] = set()
        within: int | None = None  # the indent of a secret key whose value may be on the lines after it
        is_next = False
        for number, line in enumerate(self._lines):
            indent = len(line) - len(line.lstrip())
            if is_next or (within is not None and (indent > within or not line.strip())):
                secret.add(number)
                is_next = is_next and not line.strip()
                continue
            within = None
            found = _SECRET_KEY.search(line) if len(line) <= _MAX_SHOWN else None
            if found or len(line) > _MAX_SHOWN:
                secret.add(number)
                within, is_next = indent, bool(found and not found[1])
            elif _SECRET_TEXT.search(line):
                secret.add(number)
        return frozenset(secret)


def has_secret(line: str) -> bool:
    """Return whether a line such as `a.key=value` may hold a secret. A fixed header's value always counts as one."""
    return bool(_SECRET_KEY.search(line) or _SECRET_TEXT.search(line)) or line.lstrip().startswith("endpoint.headers")


def is_secret_key(key: str) -> bool:
    """Return whether the value of a key of this name is treated as a secret."""
    return _ENDS_AS_SECRET.search(key.strip()) is not None


def read_source(path: str | Path) -> Source:
    """Return the text of a job file. Raises InvalidJob if it cannot be read, is too large or is not UTF-8."""
    file = str(path)
    try:
        with open(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unreadable(file, "no such file", _near_files(Path(path))) from None
    except IsADirectoryError:
        raise _unreadable(file, "this is a directory", "name the job file in it") from None
    except (OSError, ValueError) as error:
        raise _unreadable(file, f"cannot be read: {getattr(error, 'strerror', None) or error}", None) from None
    if len(content) > MAX_BYTES:
        raise _unreadable(file, "larger than 1 MiB", "a job file names its input; the data belongs in files of its own")
    try:
        return Source(file, content.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        place = Source(file, before).place_of_index(len(before))
        suggestion = "save the file as UTF-8"
        raise InvalidJob([Mistake("not UTF-8", file, place.line, place.column, suggestion=suggestion)]) from None


def mapping_source(values: JsonObject) -> Source:
    """Return a job given as a Python mapping as the text of a job file, which JSON is too.

    Raises InvalidJob if it holds what no job file can.
    """
    try:
        text = as_yaml(values)
    except (TypeError, ValueError, RecursionError) as error:
        raise _unreadable(GIVEN, f"this cannot be a job: {error}", "use the types of YAML: text, numbers, …") from None
    if len(text) > MAX_BYTES:
        raise _unreadable(GIVEN, "larger than 1 MiB", "a job names its input, or gets it as `input=`")
    return Source(GIVEN, text)


def as_yaml(value: object) -> str:
    """Return a value of Python's as a job file would hold it: as JSON, in which decimals keep all their digits.

    Raises TypeError, ValueError and RecursionError for what no job file can hold.
    """
    decimals: list[Decimal] = []

    def plain(value: object) -> object:
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, Decimal):
            decimals.append(value)
            return f"\0{len(decimals) - 1}"
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, SupportsIndex):  # an integer of numpy's
            return index(value)
        raise TypeError(f"{type(value).__name__} has no place in a job")

    text = json.dumps(value, ensure_ascii=False, default=plain)
    return _DECIMAL.sub(lambda found: str(decimals[int(found[1])]), text) if decimals else text


def _unreadable(file: str, message: str, suggestion: str | None) -> InvalidJob:
    return InvalidJob([Mistake(message, file, suggestion=suggestion)])


def _near_files(path: Path) -> str | None:
    try:
        names = [one.name for one in path.parent.iterdir() if one.suffix in (".yaml", ".yml", ".json")]
    except OSError:
        return None
    return did_you_mean([f"`{path.parent / near}`" for near in nearest(path.name, names)])
