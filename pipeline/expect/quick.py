"""The keywords that most schemas are made of, compiled into plain functions: many times as fast as a general validator.

A schema with any other keyword is left to the general one, and so is every answer that is refused here: it has the
words for it. Values are those of Python's JSON decoder, so exact types are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.expect.matching import MATCHER
from pipeline.expect.pointers import find
from pipeline.records import JsonObject

Check = Callable[[Any], bool]

_SAYS_NOTHING = frozenset(
    [
        "$schema",
        "$defs",
        "definitions",
        "$comment",
        "title",
        "description",
        "default",
        "examples",
        "format",
        "deprecated",
        "readOnly",
        "writeOnly",
    ]
)
_TYPES: Mapping[str, Check] = {
    "string": lambda value: type(value) is str,
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
    "number": lambda value: type(value) is int or type(value) is float,
    "boolean": lambda value: type(value) is bool,
    "null": lambda value: value is None,
    "array": lambda value: type(value) is list,
    "object": lambda value: type(value) is dict,
}
_SCALARS = (str, int, float, bool, type(None))


class _NotHere(Exception):
    """The schema uses what is not compiled here."""


def compiled(schema: Any) -> Check | None:
    """Return what tells whether a value is valid by the rules of draft 2020-12; None where the schema uses more than
    is compiled here.
    """
    compiler = _Compiler(schema)
    try:
        return compiler.compile(schema)
    except (_NotHere, RecursionError):
        return None


class _Compiler:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._by_reference: dict[str, list[Check]] = {}

    def compile(self, schema: Any) -> Check:
        if isinstance(schema, bool):
            return lambda value: schema
        checks: list[Check] = []
        properties = schema.get("properties", {})
        for keyword, said in schema.items():
            if keyword in _SAYS_NOTHING or keyword == "properties":
                continue
            make = _KEYWORDS.get(keyword)
            if make is None:
                raise _NotHere
            checks.append(make(self, said, schema))
        if properties and "additionalProperties" not in schema:
            checks.append(self.members(True, schema))
        return _all(checks)

    def reference(self, target: str, _: Any) -> Check:
        """Follow a reference within the schema; one that leads back to itself is compiled once."""
        if target in self._by_reference:
            waiting = self._by_reference[target]

            def follow(value: Any) -> bool:
                return waiting[0](value)

            return follow
        holder = self._by_reference[target] = []
        try:
            found = find(self._root, target)
        except LookupError:
            raise _NotHere from None
        holder.append(self.compile(found))
        return holder[0]

    def members(self, others: Any, schema: JsonObject) -> Check:
        known = {name: self.compile(inner) for name, inner in schema.get("properties", {}).items()}
        other = None if others is True else self.compile(others)

        def check(value: Any) -> bool:
            if type(value) is not dict:
                return True
            for name, item in value.items():
                test = known.get(name, other)
                if test is not None and not test(item):
                    return False
            return True

        return check

    def items(self, inner: Any, _: Any) -> Check:
        test = self.compile(inner)
        return lambda value: type(value) is not list or all(map(test, value))

    def any_of(self, schemas: Sequence[Any], _: Any) -> Check:
        tests = [self.compile(inner) for inner in schemas]
        return lambda value: any(test(value) for test in tests)

    def one_of(self, schemas: Sequence[Any], _: Any) -> Check:
        tests = [self.compile(inner) for inner in schemas]
        return lambda value: sum(test(value) for test in tests) == 1

    def all_of(self, schemas: Sequence[Any], _: Any) -> Check:
        return _all([self.compile(inner) for inner in schemas])


def _all(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]
    if len(checks) == 2:
        first, second = checks
        return lambda value: first(value) and second(value)

    def check(value: Any) -> bool:
        for test in checks:  # noqa: SIM110  # all() over a generator takes twice as long
            if not test(value):
                return False
        return True

    return check


def _type(_: _Compiler, said: Any, __: Any) -> Check:
    if isinstance(said, str):
        return _TYPES[said]
    tests = [_TYPES[one] for one in said]
    return lambda value: any(test(value) for test in tests)


def _enum(_: _Compiler, said: Sequence[Any], __: Any) -> Check:
    if not all(type(one) in _SCALARS for one in said):
        raise _NotHere
    allowed = {(type(one) is bool, one) for one in said}
    return lambda value: type(value) in _SCALARS and (type(value) is bool, value) in allowed


def _const(compiler: _Compiler, said: Any, schema: Any) -> Check:
    return _enum(compiler, [said], schema)


def _required(_: _Compiler, names: Sequence[str], __: Any) -> Check:
    wanted = frozenset(names)
    return lambda value: type(value) is not dict or wanted <= value.keys()


def _bound(holds: Callable[[Any, Any], bool]) -> Callable[[_Compiler, Any, Any], Check]:
    def make(_: _Compiler, bound: Any, __: Any) -> Check:
        return lambda value: (type(value) is not int and type(value) is not float) or holds(value, bound)

    return make


def _length(
    kind: type[str] | type[list[Any]], holds: Callable[[Any, Any], bool]
) -> Callable[[_Compiler, Any, Any], Check]:
    def make(_: _Compiler, bound: Any, __: Any) -> Check:
        return lambda value: not isinstance(value, kind) or holds(len(value), bound)

    return make


def _pattern(_: _Compiler, pattern: str, __: Any) -> Check:
    return lambda value: type(value) is not str or MATCHER.search(pattern, value) is not None


def _at_least(value: Any, bound: Any) -> bool:
    return bool(value >= bound)


def _at_most(value: Any, bound: Any) -> bool:
    return bool(value <= bound)


_KEYWORDS: Mapping[str, Callable[[_Compiler, Any, Any], Check]] = {
    "$ref": _Compiler.reference,
    "additionalProperties": _Compiler.members,
    "allOf": _Compiler.all_of,
    "anyOf": _Compiler.any_of,
    "const": _const,
    "enum": _enum,
    "exclusiveMaximum": _bound(lambda value, bound: bool(value < bound)),
    "exclusiveMinimum": _bound(lambda value, bound: bool(value > bound)),
    "items": _Compiler.items,
    "maxItems": _length(list, _at_most),
    "maxLength": _length(str, _at_most),
    "maximum": _bound(_at_most),
    "minItems": _length(list, _at_least),
    "minLength": _length(str, _at_least),
    "minimum": _bound(_at_least),
    "oneOf": _Compiler.one_of,
    "pattern": _pattern,
    "required": _required,
    "type": _type,
}
