from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.catalogue import max_prompt_tokens, min_prompt_tokens
from pipeline.config.models import ColumnReference, ParametersConfig, PromptConfig
from pipeline.errors import InvalidJob
from pipeline.prompts import PromptFailure, RequestBuilder
from pipeline.providers.dataoorts import PARAMETERS
from pipeline.records import Request, canonical_json, request_hash

TEXTS = st.text(st.characters())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary() | st.decimals() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
LEXICON = (
    "{{ }} {% %} for in if else endfor endif set macro endmacro call row c . | ( ) [ ] ' 1 + * ~ == x upper join "
    "range __class__ loop filter tojson format is not , : {# #}"
)
WORDS = st.sampled_from(LEXICON.split())


def make(
    user: str | None = None, system: str | None = None, column: str | None = None, messages: str | None = None
) -> RequestBuilder:
    parameters = ParametersConfig(temperature=ColumnReference(column="t"))
    prompt = PromptConfig(user=user, system=system, column=column, messages=messages)
    return RequestBuilder(prompt, parameters, "m", ("c", "t"), PARAMETERS, 1_000)


TEMPLATE = make(user="a{{ c }}", system="{{ row.c }}")
COLUMN = make(column="c")
CHAT = make(messages="c")


def sound(request: Request) -> None:
    canonical_json([request.messages, dict(request.parameters)]).encode("utf-8")
    assert min_prompt_tokens(request.messages) <= min(max_prompt_tokens(request.messages), 1_000)
    assert len(request_hash("k", request)) == 32


@given(value=VALUES, number=VALUES)
def test_any_row_gives_a_request_that_can_be_sent_or_a_typed_failure(value: Any, number: Any) -> None:
    for builder in (TEMPLATE, COLUMN, CHAT):
        try:
            sound(builder.request({"c": value, "t": number}))
        except PromptFailure as failure:
            assert failure.message.isascii() or "…" in failure.message


@given(text=TEXTS)
def test_text_reaches_the_request_as_it_is(text: str) -> None:
    assume(text.strip() and len(text) < 100)
    expected = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert COLUMN.request({"c": text, "t": None}).messages[-1]["content"] == expected
    assert TEMPLATE.request({"c": text, "t": None}).messages[-1]["content"] == "a" + expected


@given(
    entries=st.lists(st.fixed_dictionaries({}, optional={"role": st.sampled_from(["user", "x"]), "content": VALUES}))
)
def test_messages_and_their_json_text_give_the_same(entries: list[dict[str, Any]]) -> None:
    try:
        text = json.dumps(entries, allow_nan=False)
    except (TypeError, ValueError):
        return
    assert outcome(CHAT, entries) == outcome(CHAT, text) == outcome(CHAT, json.loads(text))


@given(words=st.lists(WORDS, min_size=1, max_size=12))
def test_any_template_is_refused_or_renders_or_fails_with_a_type(words: list[str]) -> None:
    try:
        builder = make(user=" ".join(words))
    except InvalidJob as error:
        assert all(mistake.key == "prompt.user" for mistake in error.mistakes)
        return
    outcome(builder, "some text")


def outcome(builder: RequestBuilder, value: Any) -> object:
    try:
        return builder.request({"c": value, "t": None})
    except PromptFailure as failure:
        return failure.kind
