"""One template of the job: checked as far as possible before any row is seen, then rendered row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

import jinja2
from jinja2 import meta, nodes
from msgspec.structs import replace

from pipeline.errors import ErrorKind, InvalidJob, Mistake
from pipeline.prompts.failures import PromptFailure, is_plain, meant, missing_column, spelled
from pipeline.prompts.sandbox import Watched, environment
from pipeline.prompts.texts import PrintsNull, TemplateError, TooMuch, holds_null
from pipeline.records import Row
from pipeline.surrogates import well_formed

WHOLE_ROW = "row"
"""The variable that holds the whole row, for columns whose names are not identifiers."""

_REFUSED: Mapping[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from … import",
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.ScopedEvalContextModifier: "autoescape",
}
_HINTS = (
    ("end of template, expected 'end of print statement'", "close it with }}"),
    ("unexpected '}'", "close it with }}"),
    ("end of template, expected 'end of statement block'", "close it with %}"),
    ("got '='", "`==` compares"),
)
"""What to do about a syntax error, by words of Jinja2's message."""
_FILE = "<template>"
_TOO_DEEP = "the template is nested too deeply, or has too long a chain of filters or operators; `{% set %}` a part"
_MAX_LEVELS = 64
"""The deepest nesting of a template, chains of filters and operators included: Jinja2 takes a time with it that grows
with the third power of it, and walks it by recursion."""


class Template:
    """A template over the input's columns; `columns` are those it uses.

    `key` is its key in the job file. Raises InvalidJob for a syntax error, or else with every undefined
    column, unknown filter and reach into Python; each message names the line inside the template.
    """

    _noun = "template"
    _whose = "input"

    def __init__(
        self, text: str, key: str, columns: Sequence[str], *, read: Callable[[str], nodes.Template] | None = None
    ) -> None:
        self._key = key
        parsed = parse(text, key, columns, read=read)
        self.columns, mistakes = _columns(parsed, key, columns, self._whose)
        if mistakes:
            raise InvalidJob(mistakes)
        self._passes_row = WHOLE_ROW not in columns and any(name.name == WHOLE_ROW for name in _loaded(parsed))
        self._environment = environment()
        self._printed = _printed(parsed, self.columns)
        self._template = _compile(parsed, key)

    def render(self, row: Row, seconds: float) -> str:
        """Return the text for one row. Raises PromptFailure if it fails or exceeds its bounds or `seconds`."""
        try:
            return self._render(row, seconds)
        except MemoryError:  # what a template may take is bounded: it is the program that has none left
            raise
        except Exception as error:
            failure = self._failure(error, row)
        # Raised outside the handler: the cause could hold values of the row.
        raise failure

    def _render(self, row: Row, seconds: float) -> str:
        template = self._template
        self._environment.watch.start(seconds)
        # What goes through the row meets only what the row itself has, as far as its format tells.
        whole = {WHOLE_ROW: getattr(row, "alone", row)} if self._passes_row else {}
        # new_context copies the variables, so any mapping will do.
        context = template.new_context({**row, **whole} if whole else cast(dict[str, Any], row))
        return well_formed(self._environment.concat(template.root_render_func(context)))

    def _failure(self, error: Exception, row: Row) -> PromptFailure:
        line = _template_line(error.__traceback__, self._template)
        place = f"the {self._noun} of {self._key}" + (f" (template line {line})" if line else "")
        if isinstance(error, PrintsNull):
            message = f"{place} prints a null{self._null_columns(line, row)}"
        elif isinstance(error, TemplateError):
            message = f"{place} {error}"
        elif isinstance(error, jinja2.UndefinedError):
            message = f"{place} uses something that this row does not have; give it `| default(…)` or test it first"
            message += self._nulls_told(row)
        elif isinstance(error, RecursionError):
            message = f"{place} calls itself too deeply"
        else:
            told = self._nulls_told(row) or (self._texts_told(row) if isinstance(error, TypeError) else "")
            message = f"{place} fails on this row: {type(error).__name__}{told}"
        return PromptFailure(
            ErrorKind.PROMPT_ERROR,
            message,
            key=self._key,
            template_line=line,
            exceeded_limit=isinstance(error, (TooMuch, RecursionError)),
            lacks_value=isinstance(error, PrintsNull),
        )

    def _null_columns(self, line: int | None, row: Row) -> str:
        """Return which columns a line prints a null of, and what to do."""
        nulls = [name for name in sorted(self.columns) if holds_null(row[name])]
        names = [name for name in nulls if name in self._printed.get(line, ())] or nulls
        if not names:
            return '; write {{ … or "" }} to print nothing there'
        instead = f'{{{{ {spelled(names[0])} or "" }}}}'
        return f" of column {' or '.join(map(repr, names))}; write {instead} to print nothing there"

    def _nulls_told(self, row: Row) -> str:
        names = [name for name in sorted(self.columns) if row[name] is None]
        return f"; null in this row: {', '.join(map(repr, names))}" if names else ""

    def _texts_told(self, row: Row) -> str:
        names = [name for name in sorted(self.columns) if isinstance(row[name], str)]
        return f"; text in this row: {', '.join(map(repr, names))}; `| int` makes a number of it" if names else ""


def parse(
    text: str, key: str, columns: Sequence[str] = (), *, read: Callable[[str], nodes.Template] | None = None
) -> nodes.Template:
    """Return the template's syntax tree.

    Raises InvalidJob with all that is wrong with it whatever the columns are; where a name that is not an identifier
    breaks the syntax, with how to write that column.
    """
    parsed = _parse(text, key, columns, read or environment().parse)
    mistakes = [*_forbidden(parsed, key), *_unknown(parsed, key)]
    if mistakes:
        raise InvalidJob(mistakes)
    return parsed


def _parse(text: str, key: str, columns: Sequence[str], read: Callable[[str], nodes.Template]) -> nodes.Template:
    try:
        parsed = read(text)
    except jinja2.TemplateSyntaxError as error:
        hint = next((hint for words, hint in _HINTS if words in str(error.message)), None)
        mistake = Mistake(f"template line {error.lineno}: {error.message}", key=key, suggestion=hint)
        lines = text.splitlines()
        line = lines[error.lineno - 1] if error.lineno <= len(lines) else ""
        written = [column for column in columns if not is_plain(column) and column.strip() and column in line]
        if written:
            longest = max(written, key=len)
            mistake = replace(mistake, suggestion=f"the column {longest!r} is written {spelled(longest)} in a template")
    except RecursionError:
        mistake = Mistake(_TOO_DEEP, key=key)
    else:
        if not _is_too_deep(parsed):
            return parsed
        mistake = Mistake(_TOO_DEEP, key=key)
    raise InvalidJob([mistake])


def _is_too_deep(parsed: nodes.Template) -> bool:
    waiting: list[tuple[nodes.Node, int]] = [(parsed, 0)]
    while waiting:
        node, level = waiting.pop()
        if level > _MAX_LEVELS:
            return True
        waiting.extend((child, level + 1) for child in node.iter_child_nodes())
    return False


def _compile(parsed: nodes.Template, key: str) -> jinja2.Template:
    try:
        Watched().visit(parsed)
        code = environment().compile(parsed, filename=_FILE)
        return jinja2.Template.from_code(environment(), code, environment().globals)
    except jinja2.TemplateSyntaxError as error:
        message = f"template line {error.lineno}: {error.message}"
    except (SyntaxError, RecursionError, MemoryError):
        message = _TOO_DEEP
    raise InvalidJob([Mistake(message, key=key)])


def _forbidden(parsed: nodes.Template, key: str) -> Iterator[Mistake]:
    for kind, tag in _REFUSED.items():
        for node in parsed.find_all(kind):
            yield Mistake(f"template line {node.lineno}: {tag!r} cannot be used in a prompt", key=key)
    for reached in parsed.find_all(nodes.Getattr):
        if reached.attr.startswith("_"):
            message = f"template line {reached.lineno}: attribute {reached.attr!r} cannot be read"
            yield Mistake(message, key=key, suggestion=f'an item of that name is read with ["{reached.attr}"]')
    for name in _loaded(parsed):
        if name.name == "self":
            message = f"template line {name.lineno}: 'self' cannot be used in a prompt"
            yield Mistake(message, key=key, suggestion='a column of that name is row["self"]')


def _unknown(parsed: nodes.Template, key: str) -> Iterator[Mistake]:
    known = {nodes.Filter: ("filter", environment().filters), nodes.Test: ("test", environment().tests)}
    for kind, (word, names) in known.items():
        for node in parsed.find_all(kind):
            if node.name not in names:
                message = f"template line {node.lineno}: no {word} {node.name!r} in prompts"
                yield Mistake(message, key=key, suggestion=meant(node.name, names))


def _columns(
    parsed: nodes.Template, key: str, columns: Sequence[str], whose: str
) -> tuple[frozenset[str], list[Mistake]]:
    undeclared = meta.find_undeclared_variables(parsed)
    used = {name.name for name in _loaded(parsed)} & set(columns)
    missing = [
        (name.lineno, name.name)
        for name in _loaded(parsed)
        if name.name in undeclared and name.name not in used and name.name != WHOLE_ROW
    ]
    if WHOLE_ROW in undeclared and WHOLE_ROW not in columns:
        named = list(_named_in_row(parsed))
        used |= {name for _, name, _ in named} & set(columns)
        missing += [(line, name) for line, name, certain in named if certain and name not in columns]
        direct = sum(name in columns for _, name, _ in named)
        if direct < sum(name.name == WHOLE_ROW for name in _loaded(parsed)):
            used |= set(columns)
    first_lines = {name: line for line, name in sorted(missing, reverse=True)}
    mistakes = [
        missing_column(key, name, columns, where=f"template line {line}: ", spells=True, whose=whose)
        for name, line in sorted(first_lines.items(), key=lambda item: (item[1], item[0]))
    ]
    return frozenset(used), mistakes


def _named_in_row(parsed: nodes.Node) -> Iterator[tuple[int, str, bool]]:
    """Yield the (line, name) of `row.name` and `row["name"]`, and whether it can only be a column."""
    rebound = any(name.name == WHOLE_ROW and name.ctx != "load" for name in parsed.find_all(nodes.Name))
    for item in parsed.find_all(nodes.Getitem):
        if isinstance(item.node, nodes.Name) and item.node.name == WHOLE_ROW and isinstance(item.arg, nodes.Const):
            yield item.lineno, str(item.arg.value), not rebound
    for attribute in parsed.find_all(nodes.Getattr):
        if isinstance(attribute.node, nodes.Name) and attribute.node.name == WHOLE_ROW:
            is_method = attribute.attr in {"get", "items", "keys", "values"}
            yield attribute.lineno, attribute.attr, not rebound and not is_method


def _printed(parsed: nodes.Template, columns: frozenset[str]) -> dict[int | None, set[str]]:
    """Return, by line, the columns in what the template prints there."""
    printed: dict[int | None, set[str]] = {}
    for output in parsed.find_all(nodes.Output):
        for child in output.nodes:
            if not isinstance(child, nodes.TemplateData):
                # Wrapped, for a search below a node leaves out the node itself.
                part = nodes.Output([child], lineno=child.lineno)
                names = {name.name for name in _loaded(part)} | {name for _, name, _ in _named_in_row(part)}
                printed.setdefault(child.lineno, set()).update(names & columns)
    return printed


def _loaded(parsed: nodes.Node) -> list[nodes.Name]:
    return [name for name in parsed.find_all(nodes.Name) if name.ctx == "load"]


def _template_line(traceback: TracebackType | None, template: jinja2.Template) -> int | None:
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == _FILE:
            line = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return line
