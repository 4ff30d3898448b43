from __future__ import annotations

import json
import signal
import time
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

from benchmarks.structured import ANSWER, SCHEMA, microseconds
from pipeline.errors import ErrorKind
from pipeline.expect import Expected, Form, Telling, matching
from pipeline.expect.expectation import ChoiceExpectation, Invalid, PatternExpectation, SchemaExpectation
from pipeline.expect.matching import Matcher
from pipeline.records import Message, Request

NAME = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name"]}
TOLD = Telling(Form.PROMPT, "Answer with JSON.")
EXPECTED = Expected(SchemaExpectation(NAME), TOLD, 3, True, lambda seed: seed, {})
USER: Message = {"role": "user", "content": "Who?"}
REQUEST = Request("m", (USER,), {"max_tokens": 10, "seed": 7})


def test_an_answer_that_holds_meets_no_objection() -> None:
    assert EXPECTED.objection('{"name": "Ada"}', truncated=False) is None
    assert EXPECTED.value('{"name": "Ada", "more": 1}', truncated=None) == {"name": "Ada", "age": None}


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ('{"age": 3}', "$: 'name' is a required property"),
        ('{"name": 1, "age": "x"}', "$.name: 1 is not of type 'string'; $.age: 'x' is not of type 'integer'"),
        (None, "the answer has no text"),
        ("", "the answer has no text"),
    ],
)
def test_the_objection_says_what_and_where(response: str | None, words: str) -> None:
    found = EXPECTED.objection(response, truncated=False)
    assert found is not None
    assert (found.kind, found.words) == (ErrorKind.INVALID_ANSWER, words)
    assert EXPECTED.value(response, truncated=False) is None


def test_an_answer_that_was_cut_off_is_never_read() -> None:
    found = EXPECTED.objection('{"name": "Ada"}', truncated=True)
    assert found is not None
    assert found.kind is ErrorKind.TRUNCATED_ANSWER
    assert EXPECTED.value('{"name": "Ada"}', truncated=True) is None


def test_the_words_of_a_long_answer_are_short() -> None:
    found = EXPECTED.objection('{"name": ["' + "x" * 10_000 + '"]}', truncated=False)
    assert found is not None
    assert len(found.words) == 600


@pytest.mark.parametrize(
    ("text", "choice"), [("yes", "yes"), (" no \n", "no"), ("```\nyes\n```", "yes"), ('"no"', "no")]
)
def test_a_choice_is_taken_whatever_white_space_is_around_it(text: str, choice: str) -> None:
    assert ChoiceExpectation(["yes", "no"]).read(text) == choice


@pytest.mark.parametrize("text", ["Yes", "yes.", "yes or no", "", '"maybe"', '["yes"]'])
def test_anything_else_is_no_choice(text: str) -> None:
    with pytest.raises(Invalid, match=r'none of \["yes", "no"\]'):
        ChoiceExpectation(["yes", "no"]).read(text)


def test_a_pattern_gives_its_match_or_its_named_groups() -> None:
    plain = PatternExpectation(r"\d+")
    assert (plain.type, plain.read("about 42 or 43")) == (pa.string(), "42")
    named = PatternExpectation(r"(?P<value>\d+) ?(?P<unit>[a-z]+)?")
    assert named.type == pa.struct([("value", pa.string()), ("unit", pa.string())])
    assert named.read("```\n12\n```") == {"value": "12", "unit": None}
    with pytest.raises(Invalid, match="does not match"):
        plain.read("none")


def test_a_pattern_has_a_second_for_an_answer() -> None:
    found = PatternExpectation(r"(a+)+$")
    began = time.monotonic()
    with pytest.raises(Invalid, match="more than 1 s"):
        found.read("a" * 40 + "b")
    assert time.monotonic() - began < 10
    assert found.read("aaa") == "aaa"


def test_a_search_ends_by_itself_where_whoever_asked_for_it_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert matching._ALONE_SECONDS > matching.SECONDS
    monkeypatch.setattr(matching, "_ALONE_SECONDS", 0.1)
    matcher = Matcher()
    matcher.search("a", "a")
    process = matcher._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.write(json.dumps(["(a+)+$", "a" * 40 + "b"]).encode() + b"\n")
    process.stdin.close()
    assert process.wait(timeout=20) == -signal.SIGALRM
    matcher.close()


def test_a_row_is_asked_until_it_has_had_all_of_its_answers() -> None:
    assert [EXPECTED.asks_again_after(answers) for answers in range(1, 7)] == [True, True, False, True, True, False]
    assert not replace(EXPECTED, attempts=1).asks_again_after(1)


def test_what_is_asked_next_holds_the_answer_and_what_is_wrong_with_it() -> None:
    found = EXPECTED.following(REQUEST, 1, "[1]", "$: [1] is not of type 'object'")
    assert found.messages[:2] == (USER, {"role": "assistant", "content": "[1]"})
    assert found.messages[2]["role"] == "user"
    assert "$: [1] is not of type 'object'" in found.messages[2]["content"]
    assert len(found.messages) == 3


@pytest.mark.parametrize(
    ("expected", "last", "words"),
    [(replace(EXPECTED, feedback=False), "[1]", "no"), (EXPECTED, "[1", None), (EXPECTED, None, "no")],
)
def test_without_feedback_or_after_a_cut_answer_the_question_alone_is_asked(
    expected: Expected, last: str | None, words: str | None
) -> None:
    assert expected.following(REQUEST, 2, last, words).messages == (USER,)


def test_each_answer_has_a_seed_of_its_own_within_the_range() -> None:
    wrapped = replace(EXPECTED, seeds=lambda seed: seed % 1_000_005)
    seeds = [wrapped.following(REQUEST, answers, None, None).parameters["seed"] for answers in range(3)]
    assert seeds == [7, 1_000_007 % 1_000_005, 2_000_007 % 1_000_005]
    without = replace(REQUEST, parameters={})
    assert dict(wrapped.following(without, 2, None, None).parameters) == {}


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_paragraph_stands_after_the_system_text(role: str) -> None:
    system: Message = {"role": role, "content": "Be kind."}
    told = TOLD.told(replace(REQUEST, messages=(system, USER)))
    assert told.messages == ({"role": role, "content": "Be kind.\n\nAnswer with JSON."}, USER)
    assert TOLD.told(REQUEST).messages == ({"role": "system", "content": "Answer with JSON."}, USER)


def test_what_was_told_in_the_endpoints_form_can_be_told_in_the_prompt() -> None:
    form: dict[str, Any] = {"type": "json_schema"}
    telling = Telling(Form.RESPONSE_FORMAT, "Answer with JSON.", form, may_fall_back=True)
    told = telling.told(replace(REQUEST, extra_body={"top_a": 1}))
    assert dict(told.extra_body) == {"top_a": 1, "response_format": form}
    assert telling.is_in_form(told)
    assert not replace(telling, may_fall_back=False).is_in_form(told)
    back = telling.fallen_back(told)
    assert dict(back.extra_body) == {"top_a": 1}
    assert back.messages[0]["content"] == "Answer with JSON."
    assert not telling.is_in_form(back)


def test_an_answer_of_ten_fields_is_checked_within_sixty_microseconds() -> None:
    expectation, text = SchemaExpectation(SCHEMA), json.dumps(ANSWER)
    assert min(microseconds(lambda: expectation.read(text), 500) for _ in range(5)) <= 60
