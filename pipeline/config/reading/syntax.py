"""What the YAML parser complains of, in the words of someone who writes a job file."""

from __future__ import annotations

import re

from ruamel.yaml.error import YAMLError

from pipeline.config.reading.source import Place, Source
from pipeline.errors import Mistake

_QUOTE_TEMPLATE = 'put a template in quotes: "{{ question }}"'
_QUOTE_TEXT = "put the text in quotes"
_INNER_QUOTES = """inside "…" write a template's own quotes as '…': "{{ row['a column'] }}\""""

_QUOTED = re.compile(r'"([^"]*+)"')

_BEYOND_UNICODE = re.compile(r"\\U(?!000|0010)[0-9A-Fa-f]{8}")

_TABLE: tuple[tuple[str, str, str | None], ...] = (
    (r"^a tag$", "a job file has no tags", "leave the tag out, or put text that begins with `!` in quotes"),
    (r"mapping values are not allowed", "a second `:` on this line", 'put text with ": " in quotes'),
    (r"found character '\\t'", "a tab cannot indent", "indent with spaces"),
    (r"found character '(.)' that cannot start", "text cannot begin with `{}`", _QUOTE_TEXT),
    (r"found unexpected end of stream", "the quoted text that begins here has no end", "close the quotes"),
    (r"found unknown escape character '(.)'", "`\\{}` is not an escape", "write \\\\, or use single quotes"),
    (r"expected ',' or '([\]}])'", "a `,` or `{}` is missing", None),
    (r"could not find expected ':'", "a key without `:`", "write `key: value`, with a space after the colon"),
    (
        r"expected <block end>",
        "this does not fit what is above it",
        "check the indentation; quote text that goes on after quotes or brackets",
    ),
    (r"expected the node content", "a value is missing", None),
    (r"special characters are not allowed", "a control character", "leave it out, or write it as an escape in quotes"),
    (r"incompatible YAML document", "a job file is YAML 1.2", "leave out the `%YAML` line"),
    (r"expected '<document start>'", "this does not fit what is above it", "a job file is one mapping of keys"),
)


def explain_syntax(error: Exception, source: Source) -> Mistake:
    """Return the mistake behind an error of ruamel.yaml's reader, scanner or parser."""
    place = _place(error, source)
    problem = (
        getattr(error, "problem", None) or getattr(error, "reason", None) or "an escape that is not a Unicode character"
    )
    message, suggestion = problem, None
    for pattern, words, hint in _TABLE:
        if found := re.search(pattern, problem):
            message, suggestion = words.format(*found.groups()), hint
            break
    if place is None:
        return Mistake(f"not valid YAML: {message}", source.file, suggestion=suggestion)
    line = source.line(place.line - 1)
    opening = re.search(r"[{,\[]", line)
    if opening and "${" in line[opening.end() :] and "expected ','" in problem:
        suggestion = "inside { } or [ ] put `${NAME}` in quotes"
    elif any(quoted[1].rfind("{{") > quoted[1].rfind("}}") for quoted in _QUOTED.finditer(line)):
        suggestion = _INNER_QUOTES
    elif re.search(r"(^|[:=\-,\[]\s*)\{[{%]", line):
        suggestion = _QUOTE_TEMPLATE
    return place.mistake(f"not valid YAML: {message}", suggestion=suggestion)


def _place(error: Exception, source: Source) -> Place | None:
    if isinstance(index := getattr(error, "position", None), int):
        return source.place_of_index(index)
    if not isinstance(error, YAMLError):
        beyond = _BEYOND_UNICODE.search(source.text)
        return source.place_of_index(beyond.start()) if beyond else None
    problem, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    # At the end of the text only the beginning of what has no end helps.
    mark = context if context and problem and problem.index >= len(source.text.rstrip()) else problem or context
    return source.place(mark.line, mark.column) if mark else None
