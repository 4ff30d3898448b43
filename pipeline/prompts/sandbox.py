"""The Jinja2 environment templates run in: nothing of Python in reach, every operation bounded, time watched.

Python cannot stop a thread from outside, so the work itself looks at the clock: each turn of a loop, each call and each
operation that makes text counts as a step. Operations whose result could be huge are refused before they are done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from datetime import time as time_of_day
from functools import cache, partial, update_wrapper
from typing import Any, cast

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Cycler, Joiner, Namespace
from jinja2.visitor import NodeTransformer

from pipeline.prompts import bounds
from pipeline.prompts.texts import MAX_CHARACTERS, TemplateError, TooMuch, value_text

MAX_RANGE = 100_000
"""The most items all the ranges of one rendering may have together."""

MAX_STEPS = 10_000_000
"""The most turns of loops, calls and text operations in one rendering."""

MAX_MADE = 4 * MAX_CHARACTERS
"""The most characters and list items all operations of one rendering may make together: what bounds its memory."""

_LOOP = "index index0 revindex revindex0 first last length cycle depth depth0 previtem nextitem changed"
_TEXT = (
    "capitalize casefold count endswith find format index isalnum isalpha isascii isdecimal isdigit isidentifier "
    "islower isnumeric isprintable isspace istitle isupper join lower lstrip partition removeprefix removesuffix "
    "replace rfind rindex rpartition rsplit rstrip split splitlines startswith strip swapcase title upper"
)
_MOMENT = "year month day hour minute second microsecond date time isoformat strftime weekday isoweekday"
_ATTRIBUTES: tuple[tuple[type | tuple[type, ...], frozenset[str]], ...] = (
    (str, frozenset(_TEXT.split())),
    (Mapping, frozenset({"get", "items", "keys", "values"})),
    (tuple, frozenset({"count", "grouper", "index", "list"})),
    (list, frozenset({"count", "index"})),
    ((date, time_of_day), frozenset(_MOMENT.split())),
    (timedelta, frozenset({"days", "microseconds", "seconds", "total_seconds"})),
    (LoopContext, frozenset(_LOOP.split())),
    (Cycler, frozenset({"current", "next", "reset"})),
)
"""What a template may read of each type. Left out: what reaches into Python, depends on the machine, or grows text."""

_PLAIN_FILTERS = (
    "abs count d default dictsort filesizeformat first float groupby int items last length list map max min reject "
    "rejectattr reverse select selectattr sort unique"
)
"""Jinja2's filters that are bounded by their input and give the same text in every run (`random` does not)."""


class Watch(threading.local):
    """The bounds of the rendering that is under way in this thread."""

    deadline = float("inf")
    steps = 0
    ranged = 0
    made = 0
    seconds = 0.0

    def start(self, seconds: float) -> None:
        """Begin a rendering that may take this long."""
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds
        self.steps = self.ranged = self.made = 0

    def step(self) -> None:
        """Count one piece of work; raises TooMuch where there has been too much of it."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TooMuch(f"takes more than {MAX_STEPS:,} steps")
        if time.monotonic() > self.deadline:
            raise TooMuch(f"does not finish within {self.seconds:g} s")

    def measured(self, value: Any) -> Any:
        """Count the length of what an operation made, and give it back."""
        if isinstance(value, (str, list, tuple)):
            self.made += len(value)
            if self.made > MAX_MADE:
                raise TooMuch(f"makes more than {MAX_MADE:,} characters and list items on the way")
        return value


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, narrowed: only items of mappings and the attributes listed above can be read."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            optimized=False,
            finalize=_text_or_undefined,
        )
        self.watch = Watch()
        self.concat = self._bounded(bounds.joined)  # type: ignore[method-assign]
        self.globals = {
            "range": self._range,
            "dict": dict,
            "namespace": Namespace,
            "cycler": Cycler,
            "joiner": Joiner,
        }
        filters = {**{name: FILTERS[name] for name in _PLAIN_FILTERS.split()}, **bounds.FILTERS}
        self.filters = {name: self._bounded(function) for name, function in filters.items()}
        self.filters["watched"] = self._watched
        # `reject("in", …)` compares every item of one list with every one of another.
        tests = cast(Mapping[str, Callable[..., Any]], self.tests)
        self.tests = {name: self._bounded(function) for name, function in tests.items()}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an item of a mapping, or else an attribute that is safe to read of this type; a method only for a
        call.

        Raises TemplateError for a method without (): its text is an address, and it is true in every test.
        """
        if attribute.endswith(CALLED):
            return self._read(obj, attribute.removesuffix(CALLED))
        value = self._read(obj, attribute)
        if callable(value) and not isinstance(value, Undefined):
            raise TemplateError(f"uses the method {attribute!r} without (): write .{attribute}()")
        return value

    def _read(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping):
            try:
                return obj[attribute]
            except LookupError:
                pass
        if isinstance(obj, (Namespace, Undefined)):
            return super().getattr(obj, attribute)
        for kind, names in _ATTRIBUTES:
            if isinstance(obj, kind) and attribute in names:
                return self._attribute(obj, attribute)
        return self._nothing(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item, never an attribute by the name of an item."""
        try:
            item = obj[argument]
        except (TypeError, LookupError):
            return self._nothing(obj, argument)
        return self.watch.measured(item) if isinstance(argument, slice) else item

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call what the template calls, as one step (so recursion without loops is watched too)."""
        self.watch.step()
        return self.watch.measured(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Do an operation whose result could be huge, within bounds."""
        self.watch.step()
        bounds.check_operation(operator, left, right)
        return self.watch.measured(super().call_binop(context, operator, left, right))

    def _nothing(self, obj: Any, name: Any) -> Undefined:
        return self.undefined(obj=obj, name=name)

    def _attribute(self, obj: Any, name: str) -> Any:
        if isinstance(obj, str) and name == "format":
            return partial(self._formatted, obj)
        if isinstance(obj, str) and name in bounds.METHODS:
            return partial(self._bounded(bounds.METHODS[name]), obj)
        try:
            return getattr(obj, name)
        except AttributeError:
            return self._nothing(obj, name)

    def _formatted(self, text: str, *args: Any, **kwargs: Any) -> str:
        bounds.check_format(text, [*args, *kwargs.values()])
        return _BoundedFormatter(self).vformat(text, args, kwargs)

    def _range(self, *args: int) -> range:
        numbers = range(*args)
        # len() refuses what a slice does not: a range of more than 2**63 numbers.
        self.watch.ranged += len(numbers[: MAX_RANGE + 1])
        if self.watch.ranged > MAX_RANGE:
            raise TooMuch(f"has ranges of more than {MAX_RANGE:,} numbers in all")
        return numbers

    def _watched(self, items: Iterable[Any]) -> Iterator[Any]:
        step = self.watch.step
        for item in items:
            step()
            yield item

    def _bounded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.watch.step()
            return self.watch.measured(function(*args, **kwargs))

        return update_wrapper(counted, function)


CALLED = "()"
"""Stands behind the name of an attribute that a compiled template calls."""


class Watched(NodeTransformer):
    """Rewrites a parsed template so that each loop counts its turns, each `~` checks its length and each method that is
    called can be told from one that is not.
    """

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        """Turn `x.y()` into `x["y()"]`, so to speak."""
        self.generic_visit(node)
        if isinstance(node.node, nodes.Getattr):
            node.node.attr += CALLED
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """Turn `for x in y` into `for x in y | watched`."""
        self.generic_visit(node)
        node.iter = _filter(node.iter, "watched", node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """Turn `a ~ b` into `[a, b] | join`."""
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), "join", node)


@cache
def environment() -> PromptEnvironment:
    """Return the one environment; what differs between renderings is kept per thread."""
    return PromptEnvironment()


class _BoundedFormatter(SandboxedFormatter):
    def convert_field(self, value: Any, conversion: Any) -> Any:
        bounds.check_printed(value)
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> Any:
        bounds.check_widths(format_spec)
        return super().format_field(value, format_spec)


def _text_or_undefined(value: Any) -> str:
    # An undefined value raises by itself once it is asked for its text.
    return str(value) if isinstance(value, Undefined) else value_text(value)


def _filter(value: nodes.Node, name: str, origin: nodes.Node) -> nodes.Filter:
    node = nodes.Filter(cast(nodes.Expr, value), name, [], [], None, None, lineno=origin.lineno)
    node.environment = value.environment = origin.environment
    return node
