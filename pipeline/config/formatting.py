"""Mistakes as people read them: with the line and a caret, or in one line for a log."""

from __future__ import annotations

import unicodedata

from pipeline.errors import Mistake

_MAX_SHOWN = 100
"""Characters of a line that are shown around its mistake."""

_MAX_CHARACTERS = 1_000
"""Characters of anything that is shown; keys can be as long as the file."""

_HIDDEN = "\ufffd"


def format_mistake(mistake: Mistake) -> str:
    """Return the mistake on several lines: what and where, the offending line, a caret under the column, and how to fix
    it.

    Control characters and others that would act on a terminal are replaced, wherever they come from.
    """
    lines = [_heading(mistake)]
    if mistake.source is not None and mistake.source.strip() and mistake.column is not None:
        text, caret = _window(mistake.source, mistake.column - 1)
        number = "" if mistake.line is None or _is_override(mistake) else str(mistake.line)
        lines += [f"  {number:>4} | {text}", f"  {'':>4} | {' ' * caret}^"]
    if mistake.suggestion:
        lines.append(f"       = {_harmless(mistake.suggestion)}")
    return "\n".join(lines)


def format_mistake_line(mistake: Mistake) -> str:
    """Return the mistake on one line, for cron and logs."""
    return _heading(mistake) + (f"; {_harmless(mistake.suggestion)}" if mistake.suggestion else "")


def _heading(mistake: Mistake) -> str:
    place = [mistake.file] if mistake.file else []
    if mistake.line is not None and not _is_override(mistake):
        place += [str(number) for number in (mistake.line, mistake.column) if number is not None]
    parts = [":".join(place), mistake.key, mistake.message]
    return _harmless(": ".join(part for part in parts if part))


def _is_override(mistake: Mistake) -> bool:
    """Return whether it is on the command line, which has no lines to count."""
    return mistake.file is not None and mistake.file.startswith("--set")


def _window(line: str, index: int) -> tuple[str, int]:
    """Return the part of a line around an index that fits a terminal, and the terminal column of the caret."""
    start = 0 if len(line) <= _MAX_SHOWN else max(0, min(index - _MAX_SHOWN // 2, len(line) - _MAX_SHOWN))
    end = start + _MAX_SHOWN
    before = ("…" if start else "") + _harmless(line[start:index])
    after = _harmless(line[index:end]) + ("…" if end < len(line) else "")
    return before + after, sum(_width(character) for character in before)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _harmless(text: str) -> str:
    """Return the text without characters that act on a terminal: escapes, line breaks, changes of direction. Tabs
    become spaces.
    """
    text = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"
    return "".join(character if character.isprintable() else _HIDDEN for character in text.replace("\t", " "))
