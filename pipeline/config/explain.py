"""Turn what pydantic found wrong with a document into mistakes: where, what is wanted, how to fix it.

A refused value is repeated only if it is not a secret: not from a variable, and not on a line that is hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.config import hints, schema
from pipeline.config.models import PRICE_DECIMALS, TAGS
from pipeline.config.reading.environment import Filled
from pipeline.config.reading.scalars import FilledText, read_scalar
from pipeline.config.reading.source import Place, is_secret_key
from pipeline.config.schema import KeyPath, shown
from pipeline.errors import Mistake
from pipeline.suggest import did_you_mean, nearest
from pipeline.wording import listed

_NAME_THE_VARIABLE = "a key is never written here: name the environment variable that holds it in `api_key_env`"
_NEVER_SHOWN: frozenset[KeyPath] = frozenset(
    {
        ("endpoint", "api_key_env"),
        ("endpoint", "url"),
        ("notify", "ping_url"),
        ("notify", "webhook_url"),
        ("telemetry", "otlp"),
    }
)
_MAX_REFUSED = 60
_MEANT_FALSE = frozenset({"no", "n", "off", "0"})
_MEANT_TRUE = frozenset({"yes", "y", "on", "1"})


def explain(error: ValidationError, filled: Filled, unset: Collection[KeyPath]) -> tuple[list[Mistake], set[KeyPath]]:
    """Return the mistakes behind an error, one for each place, and every place from which nothing can be concluded.

    `unset` are the keys left out of validation because a variable has no value. A key is not reported as missing if it
    is one of these, or if an unknown key beside it was meant to be this one.
    """
    details: dict[KeyPath, ErrorDetails] = {}
    for found in error.errors(include_url=False, include_input=False):
        details.setdefault(place_of(found), found)
    # pydantic counts the valid items only: a list whose one item is wrong is not empty.
    above_others = {path[:length] for path in details for length in range(len(path))}
    details = {
        path: detail for path, detail in details.items() if detail["type"] != "too_short" or path not in above_others
    }
    excused = set(unset)
    for path, detail in details.items():
        if detail["type"] == "extra_forbidden":
            excused |= _keys_meant(path) - filled.places.keys()
    mistakes = []
    for path, detail in details.items():
        if detail["type"] == "extra_forbidden":
            mistakes.append(unknown_key(path, filled.places[path].key, _number_meant(path, filled.values)))
        elif detail["type"] != "missing":
            mistakes.append(_wrong_value(path, detail, filled))
        elif path not in excused:
            mistakes.append(_missing(path, filled))
    return mistakes, excused | set(details)


def place_of(detail: ErrorDetails) -> KeyPath:
    """Return where in the document an error is, without pydantic's own words for alternatives."""
    *above, last = detail["loc"]
    is_own = detail["type"] == "extra_forbidden" or last not in TAGS  # an unknown key can have any name
    return (*(part for part in above if part not in TAGS), *([last] if is_own else []))


def unknown_key(path: KeyPath, place: Place, suggestion: str | None = None) -> Mistake:
    """Return the mistake for a key that the schema does not know at its place."""
    return place.mistake("unknown key", key=shown(path), suggestion=suggestion or _instead_of(path))


def _keys_meant(path: KeyPath) -> set[KeyPath]:
    """Return the places that an unknown key was probably meant for, with the sections around them."""
    if ours := hints.our_key(path):
        return {ours[:length] for length in range(1, len(ours) + 1)}
    return {(*path[:-1], near) for near in _siblings_meant(path)}


def _siblings_meant(path: KeyPath) -> list[str]:
    return nearest(str(path[-1]).replace("-", "_"), schema.keys_at(path[:-1]))


def _instead_of(path: KeyPath) -> str:
    key, section = str(path[-1]), path[:-1]
    siblings = schema.keys_at(section)
    if is_secret_key(key) and section == ("endpoint",):
        return _NAME_THE_VARIABLE
    if key == "<<":
        return "YAML 1.2 has no merge keys; write the keys out"
    if key.lower() in siblings:
        return f"did you mean `{key.lower()}`?"
    if meant := hints.key_meant(path):
        return meant
    elsewhere = [shown(place) for place in schema.places_of(key) if place[:-1] != section]
    if question := did_you_mean([f"`{name}`" for name in _siblings_meant(path) or elsewhere]):
        return question
    if schema.is_key((*section, *key.split("."))):
        first, *rest = key.split(".")
        return f"write sections: `{first}: {{{': {'.join(rest)}: …{'}' * len(rest)}`"
    where = f"`{shown(section)}` takes" if section else "a job file takes"
    return f"{where} {listed(siblings)}" if siblings else f"`{shown(section)}` takes no keys"


def _number_meant(path: KeyPath, values: Any) -> str | None:
    """Return how to write a number that was cut at its comma: `{max_cost_usd: 1,5}` has a key `5`, which is empty."""
    for part in path[:-1]:
        values = values[part]
    key, keys = path[-1], list(values)
    before = values[keys[keys.index(key) - 1]]
    if key == keys[0] or not str(key).isdecimal() or values[key] is not None or type(before) is not int:
        return None
    return hints.number_meant(f"{before},{key}", is_integer=False)


def _missing(path: KeyPath, filled: Filled) -> Mistake:
    section, key = path[:-1], path[-1]
    place, where = filled.places[section].key, ""
    if section and isinstance(section[-1], int):
        where = f" to `{shown(section)}`"
    elif place != filled.places[section].value:
        where = f" below `{section[-1]}:`"
    else:  # the root of a file has no line of its own to show
        place = replace(place, text=None)
    suggestion = f"add `{key}: {schema.example(path)}`{where}"
    return place.mistake("required, but missing", key=shown(path), suggestion=suggestion)


def _wrong_value(path: KeyPath, detail: ErrorDetails, filled: Filled) -> Mistake:
    value = _value_at(filled.values, path)
    context = detail.get("ctx", {})
    wanted = schema.describe(path)
    suggestion = _fixed(path, value, filled)
    refused = _refused(path, value, filled)
    match detail["type"]:
        case "path" | "delimiter" | "encoding" | "json" | "date" | "pattern":
            message, suggestion = detail["msg"], context.get("suggestion")
        case "finite_number":
            message = f"this number is infinite, too large or not a number; it must be {wanted}"
        case "greater_than" | "greater_than_equal" | "less_than_equal":
            message = f"{refused or 'this'} is out of range; it must be {wanted}"
        case "decimal_max_places":
            message, suggestion = f"a price has at most {PRICE_DECIMALS} decimals", "round it"
        case "literal_error" if isinstance(value, str):
            message = f"{refused or 'this'} is none of {wanted}"
        case "string_too_short" | "too_short":
            message = "this is empty" if isinstance(value, str) else "this list is empty"
            suggestion = _to_fill(path)
        case "string_too_long":
            suggestion = 'write "\\t", in double quotes' if value == "\\t" else "write a shorter one"
            message = (
                f"this is longer than {context['max_length']} characters"
                if context["max_length"] > 1
                else "this is not one character"
            )
        case "string_pattern_mismatch":
            message = "only the letters a-z and A-Z, digits, - and _ are allowed here"
            name = "" if path in filled.written else re.sub("[^A-Za-z0-9_-]+", "-", str(value)).strip("-")
            suggestion = f"write `{name or schema.example(path)}`"
        case _:
            message = f"{refused or 'this'} is {_kind(value)}, not {wanted}"
    if path in filled.written:
        message += " (after filling in the variables)"
    return filled.places[path].pointed.mistake(message, key=shown(path), suggestion=suggestion)


def _refused(path: KeyPath, value: object, filled: Filled) -> str | None:
    """Return the value as people write it, or None if it may be a secret or says nothing by itself."""
    place = filled.places[path].pointed
    is_hidden = path in filled.written or place.text is None or path in _NEVER_SHOWN
    if is_hidden or value is None or not isinstance(value, bool | int | float | str):
        return None
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_REFUSED else f"{text[:_MAX_REFUSED]}…"


def _fixed(path: KeyPath, value: object, filled: Filled) -> str | None:
    """Return how to write what was probably meant."""
    wanted = schema.describe(path)
    from_variable = path in filled.written
    default = schema.default(path)
    if value is None:
        return _to_fill(path) + (f" for the default, {_yaml(default)}" if default is not None else "")
    if isinstance(value, str):
        if meant := _text_meant(path, value, from_variable=path in filled.written):
            return meant
        if schema.is_text(path):
            return None
    if path == ("prompt", "messages") and isinstance(value, list):
        return "name a column that holds each row's messages; few-shot pairs go into `prompt.examples`"
    if isinstance(value, float) and value.is_integer() and "integer" in wanted:
        return f"write {int(value)}" if not from_variable else "an integer has neither `.` nor `e`"
    if isinstance(value, bool | int | float) and schema.is_text(path) and not schema.choices(path):
        return "put it in quotes"
    if isinstance(value, int) and not isinstance(value, bool) and wanted == "true or false" and value in (0, 1):
        return f"write {_yaml(bool(value))}"
    return f"the default is {_yaml(default)}" if default not in (None, "") else f"use {wanted}"


def _to_fill(path: KeyPath) -> str:
    """Return what to do with a key, or with an item of a list, that is empty."""
    if isinstance(path[-1], int):
        return "give it a value, or take it out of the list"
    if schema.is_required(path):
        return f"give it a value, such as `{schema.example(path)}`"
    return "give it a value, or leave the key out"


def _text_meant(path: KeyPath, value: str, *, from_variable: bool) -> str | None:
    """Return how to write what a text was probably meant to be; no text that a variable brought is repeated."""
    wanted = schema.describe(path)
    if question := did_you_mean([f"`{near}`" for near in nearest(value, schema.choices(path))]):
        return question
    if not schema.is_text(path) and not isinstance(value, FilledText) and not isinstance(read_scalar(value), str):
        return "take the quotes away"
    if from_variable:
        return None
    if path == ("input", "columns") and value == "*":
        return "leave the key out: without it, every column is carried to the output"
    if section := hints.section_meant(path, value):
        return section
    if "list" in wanted and not schema.is_text(path):
        several = [part.strip() for part in value.split(",")]
        hint = f"write a list: [{json.dumps(value, ensure_ascii=False)}]"
        return hint if len(several) == 1 else f"{hint}, or {json.dumps(several, ensure_ascii=False)} for several"
    if schema.is_text(path):
        return None
    if wanted == "true or false" and value.lower() in _MEANT_FALSE | _MEANT_TRUE:
        return f"YAML 1.2 knows only true and false; write {_yaml(value.lower() in _MEANT_TRUE)}"
    if path[0] == "parameters" and (column := hints.column_meant(value)):
        return column
    if str(path[-1]).endswith("_seconds") and (seconds := hints.seconds_meant(value)):
        return seconds
    return (
        hints.number_meant(value, is_integer="integer" in wanted) if "number" in wanted or "integer" in wanted else None
    )


def _kind(value: object) -> str:
    match value:
        case None:
            return "empty (null)"
        case bool():
            return f"{_yaml(value)}"
        case int():
            return "an integer"
        case float() if value.is_integer():
            return "a number written with `.` or `e`"
        case float():
            return "a number with a fraction"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _yaml(value: object) -> str:
    return json.dumps(value) if not isinstance(value, float) or not value.is_integer() else str(int(value))


def _value_at(values: Any, path: KeyPath) -> Any:
    for part in path:
        values = values[part]
    return values
