"""A line of JSONL is read as Python's own parser reads it, both times."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidJob
from pipeline.sources.json_line import parse, parse_again

BLANKS = st.text(st.sampled_from(" \t\r"), max_size=2)
TEXTS = st.text(max_size=4) | st.sampled_from(['"', '":', '" :', "{", "a", "\u2028", "\x7f"])
KEYS = st.sampled_from(["a", "b", '":', "é"])
NUMBERS = st.sampled_from(
    ["-0", "-0.0", "1E2", "1e400", "0.1", "9007199254740993", "1" * 30, "1" * 4301, "5e-324", "01"]
)
ESCAPES = st.sampled_from(['"\\u0061"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\/"', '"\\x"', '"\x01"'])


@st.composite
def written(draw: st.DrawFn, levels: int = 3) -> str:
    """JSON as someone may have written it: with blanks, equal keys and escapes, and sometimes wrong."""
    kind = draw(
        st.sampled_from(["object", "list", "text", "number", "float", "escape", "word"] if levels else ["text"])
    )
    if kind == "object":
        pairs = draw(
            st.lists(st.tuples(KEYS.map(json.dumps) | ESCAPES, BLANKS, BLANKS, written(levels - 1)), max_size=3)
        )
        return "{" + ",".join(f"{key}{one}:{two}{value}" for key, one, two, value in pairs) + "}"
    if kind == "list":
        return "[" + ",".join(draw(st.lists(written(levels - 1), max_size=3))) + "]"
    if kind == "text":
        return json.dumps(draw(TEXTS), ensure_ascii=draw(st.booleans()))
    if kind == "float":
        return repr(draw(st.floats(allow_nan=False)))
    return draw({"number": NUMBERS, "escape": ESCAPES}.get(kind, st.sampled_from(["null", "true", "NaN", "nul", "01"])))


def by_python(line: str) -> Any:
    """What Python's parser makes of a line; None where it, or what a row may be, refuses it."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    def refused(word: str) -> Any:
        raise ValueError(word)

    try:
        found = json.loads(line, object_pairs_hook=once, parse_constant=refused)
        found = json.loads(json.dumps(found), object_pairs_hook=once, parse_constant=refused)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


@given(st.lists(st.tuples(KEYS.map(json.dumps), written()), max_size=3), BLANKS)
def test_a_line_is_read_as_pythons_own_parser_reads_it(pairs: list[tuple[str, str]], blank: str) -> None:
    line = "{" + ",".join(f"{key}{blank}:{value}" for key, value in pairs) + "}" + blank
    expected = by_python(line)
    try:
        found = parse("rows.jsonl", 1, line.encode("utf-8", "surrogatepass"))
    except InvalidJob:
        assert expected is None
        return
    if "\\ud800" not in line:  # half a pair is no text, and becomes U+FFFD
        assert repr(found) == repr(expected)
        assert repr(parse_again("rows.jsonl", 1, line.encode())) == repr(expected)
