"""A condition on a row: one expression of the templates' language, in the same sandbox."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2
from jinja2 import nodes
from jinja2.parser import Parser

from pipeline.prompts.sandbox import environment
from pipeline.prompts.templates import Template, parse
from pipeline.records import Row

_HOLDS = "true"
SECONDS = 5.0
"""The longest that a condition may take for one row."""


class Condition(Template):
    """An expression over a row's columns, such as `score | int >= 4`; `columns` are those it uses.

    `key` says where it comes from, `whose` what the columns are of. Raises InvalidJob for a syntax error, or with every
    undefined column, unknown filter and reach into Python.
    """

    _noun = "expression"

    def __init__(self, text: str, key: str, columns: Sequence[str], whose: str = "input") -> None:
        self._whose = whose
        super().__init__(text, key, columns, read=_read)

    def holds(self, row: Row) -> bool:
        """Return whether the condition is true for a row; it is not where it rests on a column that the row lacks.

        Raises PromptFailure if the expression fails on the row, exceeds its bounds or takes too long.
        """
        # Of a row of JSONL, what the row itself has: a key that only others have is undefined here, not null.
        own = dict(alone) if (alone := getattr(row, "alone", None)) is not None else row
        try:
            return self._render(own, SECONDS) == _HOLDS
        except jinja2.UndefinedError:
            return False
        except MemoryError:
            raise
        except Exception as error:
            failure = self._failure(error, row)
        raise failure


def check_condition(text: str, key: str) -> None:
    """Raise InvalidJob for all that is wrong with an expression whatever columns there are."""
    parse(text, key, read=_read)


def _read(text: str) -> nodes.Template:
    """Parse an expression, and only one, as the test of `{% if … %}true{% endif %}`."""
    parser = Parser(environment(), text, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        hint = "; `==` compares" if parser.stream.current.type == "assign" else ""
        parser.fail(f"an expression was expected, and nothing after it{hint}")
    test = nodes.If(expression, [nodes.Output([nodes.TemplateData(_HOLDS)])], [], [], lineno=1)
    parsed = nodes.Template([test], lineno=1)
    parsed.set_environment(environment())
    return parsed
