from __future__ import annotations

import time
from typing import Any

import pytest

from pipeline.expect.extract import NoValue, json_value, unfenced


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('  {"a": 1}\n', {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('Here you are:\n```\n{"a": [1, 2]}\n```\nAnything else?', {"a": [1, 2]}),
        ('The set {x} and \\frac{1}{2} give {"a": {"b": 2}}.', {"a": {"b": 2}}),
        ("the list is [1, 2]", [1, 2]),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('{"a": "line\nbreak"}', {"a": "line\nbreak"}),
        ("{}", {}),
        ("null", None),
    ],
)
def test_one_value_is_read_whatever_stands_around_it(text: str, value: Any) -> None:
    assert json_value(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON value"),
        ("yes", "no JSON value"),
        ('{"a": 1} {"a": 2}', "2 JSON values"),
        ('first {"a": 1}, then [2]', "2 JSON values"),
        ('{"a": {"b": 1}, "c": ', "no valid JSON"),
        ('so: {"a": {"b": 1}, "c": ', "no valid JSON"),
        ('so: [{"a": 1}, {"a"', "no valid JSON"),
        ("{'a': 1}", "no valid JSON"),
        ('{"a": 1,}', "no valid JSON"),
        ('{"a": NaN}', "NaN is no JSON value"),
        ("-Infinity", "-Infinity is no JSON value"),
        ("[" * 100_000, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "too many digits"),
        ("9" * 5000, "too many digits"),
    ],
)
def test_nothing_else_is_mended(text: str, words: str) -> None:
    with pytest.raises(NoValue, match=words):
        json_value(text)


def test_a_number_within_text_is_read_where_the_schema_takes_one() -> None:
    assert json_value("The answer is 42.", scalars=True) == 42
    assert json_value('It is "red".', scalars=True) == "red"
    with pytest.raises(NoValue):
        json_value("The answer is 42.")
    with pytest.raises(NoValue, match="3 JSON values"):
        json_value("2 + 2 = 4", scalars=True)


def test_text_full_of_brackets_takes_no_longer_than_it_is_long() -> None:
    for text in ("[1, " * 200_000, "{ " * 200_000, "[0, 1) " * 100_000):
        began = time.process_time()
        with pytest.raises(NoValue):
            json_value(text)
        assert time.process_time() - began < 2


def test_a_fence_around_the_whole_text_is_taken_away() -> None:
    assert unfenced("```\nyes\n```") == "yes"
    assert unfenced("~~~text\nyes\nno\n~~~\n") == "yes\nno"
    assert unfenced("so: ```\nyes\n```") == "so: ```\nyes\n```"
