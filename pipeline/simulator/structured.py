"""Answers in the form that a request asks for: by `response_format`, or by what the prompt says of the answer.

A schema, a list of choices or a pattern is looked for in `response_format` first, and then in the messages, behind the
words "JSON Schema", "one of these texts" and "regular expression".
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

Schema = Mapping[str, Any]
"""A JSON Schema, or a part of one, as it was sent."""

_MOST_LEVELS = 6
_SHARE_OF_OPTIONAL = 0.8
_SHARE_FENCED = 0.2
_FAR = 100
_CLASSES = {"d": "0123456789", "w": "abcdefghijklmnopqrstuvwxyz", "s": " "}
_DECODER = json.JSONDecoder()


class Wanted(Struct, frozen=True):
    """What an answer has to be: one of the three is set. `in_prompt` tells that the prompt says so."""

    schema: Schema | None = None
    choices: Sequence[str] | None = None
    pattern: str | None = None
    in_prompt: bool = False


def find_wanted(texts: Iterable[str], parameters: Mapping[str, object]) -> Wanted | None:
    """Return what a request wants its answer to be; None where it does not say."""
    asked = parameters.get("response_format")
    if isinstance(asked, dict) and isinstance(schema := asked.get("json_schema"), dict):
        inner = schema.get("schema")
        return Wanted(schema=inner if isinstance(inner, dict) else schema)
    for text in texts:
        if isinstance(schema := _behind(text, "JSON Schema", "{"), dict):
            return Wanted(schema=schema, in_prompt=True)
        if isinstance(choices := _behind(text, "one of these texts", "["), list) and choices:
            return Wanted(choices=[str(choice) for choice in choices], in_prompt=True)
        if (at := text.find("regular expression")) >= 0 and "\n" in text[at:]:
            return Wanted(pattern=text[at:].partition("\n")[2].strip(), in_prompt=True)
    return None


def structured_text(draw: random.Random, wanted: Wanted, words: Callable[[], str]) -> str:
    """Return an answer that is what is wanted; `words` makes text for where any text will do."""
    if wanted.choices is not None:
        return draw.choice(list(wanted.choices))
    if wanted.pattern is not None:
        return _matching(draw, wanted.pattern)
    assert wanted.schema is not None
    text = json.dumps(_Maker(draw, wanted.schema, words).make(wanted.schema, 0), ensure_ascii=False)
    return f"```json\n{text}\n```" if wanted.in_prompt and draw.random() < _SHARE_FENCED else text


def broken_text(draw: random.Random, text: str) -> str:
    """Return an answer that is not what is wanted, though it was meant to be."""
    ways: list[Callable[[], str]] = [
        lambda: text[: len(text) // 2],
        lambda: "I am sorry, I cannot say that in so few words.",
        lambda: f"{text}, {text}",
        lambda: text.replace('"', "'").replace(",", ";"),
    ]
    return next((made for way in draw.sample(ways, len(ways)) if (made := way()) != text), "")


def _behind(text: str, words: str, opening: str) -> Any:
    at = text.find(words)
    start = text.find(opening, at) if at >= 0 else -1
    if start < 0:
        return None
    try:
        return _DECODER.raw_decode(text, start)[0]
    except ValueError:
        return None


class _Maker:
    def __init__(self, draw: random.Random, root: Schema, words: Callable[[], str]) -> None:
        self._draw = draw
        self._root = root
        self._words = words

    def make(self, schema: Any, level: int) -> Any:
        """Return a value that is valid under a part of the schema, as far as its usual keywords go."""
        if not isinstance(schema, dict) or level > _MOST_LEVELS:
            return None
        if isinstance(target := schema.get("$ref"), str):
            return self.make(self._find(target), level + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._draw.choice(schema["enum"])
        for word in ("anyOf", "oneOf", "allOf"):
            if options := schema.get(word):
                return self.make(options[0] if word == "allOf" else self._draw.choice(options), level + 1)
        return self._typed(schema, level)

    def _typed(self, schema: Schema, level: int) -> Any:
        named = schema.get("type", "object" if "properties" in schema else "string")
        match self._draw.choice(named) if isinstance(named, list) else named:
            case "object":
                required = schema.get("required", [])
                return {
                    name: self.make(inner, level + 1)
                    for name, inner in schema.get("properties", {}).items()
                    if name in required or self._draw.random() < _SHARE_OF_OPTIONAL
                }
            case "array":
                fewest = schema.get("minItems", 1)
                count = self._draw.randint(fewest, max(fewest, min(schema.get("maxItems", 3), fewest + 2)))
                return [self.make(schema.get("items", {}), level + 1) for _ in range(count)]
            case "integer":
                return self._draw.randint(*_bounds(schema))
            case "number":
                return round(self._draw.uniform(*_bounds(schema)), 3)
            case "boolean":
                return self._draw.random() < 0.5
            case "null":
                return None
            case _:
                return self._words()[: schema.get("maxLength")].ljust(schema.get("minLength", 0), ".")

    def _find(self, target: str) -> Any:
        found: Any = self._root
        for part in target.removeprefix("#").split("/")[1:]:
            found = found.get(part) if isinstance(found, dict) else None
        return found


def _bounds(schema: Schema) -> tuple[int, int]:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + _FAR + 1) - 1)
    return int(low), max(int(low), int(high))


def _matching(draw: random.Random, pattern: str) -> str:
    """Return a text in which a simple pattern is found: literals, classes, groups, alternatives and repeats."""
    import re._parser as parser

    return _made(draw, parser.parse(pattern))


def _made(draw: random.Random, parts: Any) -> str:
    return "".join(_piece(draw, str(kind), value) for kind, value in parts)


def _piece(draw: random.Random, kind: str, value: Any) -> str:
    match kind:
        case "LITERAL":
            return chr(value)
        case "IN":
            return _member(draw, value)
        case "ANY":
            return draw.choice(_CLASSES["w"])
        case "SUBPATTERN":
            return _made(draw, value[-1])
        case "BRANCH":
            return _made(draw, draw.choice(value[1]))
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            fewest, most, inner = value
            return "".join(_made(draw, inner) for _ in range(draw.randint(fewest, min(int(most), fewest + 2))))
        case _:
            return ""  # anchors and the like take up no text


def _member(draw: random.Random, options: Any) -> str:
    kind, value = draw.choice([option for option in options if str(option[0]) != "NEGATE"])
    match str(kind):
        case "LITERAL":
            return chr(value)
        case "RANGE":
            return chr(draw.randint(*value))
        case _:
            return draw.choice(_CLASSES.get(re.sub("CATEGORY_", "", str(value))[:1].lower(), _CLASSES["w"]))
