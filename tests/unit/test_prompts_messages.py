"""Columns, messages, parameters and the context window."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from pipeline.config.models import ColumnReference, ParametersConfig, PromptConfig
from pipeline.errors import ErrorKind, InvalidJob
from pipeline.prompts import PromptFailure, RequestBuilder
from pipeline.providers import ParameterRange
from pipeline.providers.dataoorts import PARAMETERS
from pipeline.records import Message, Request, request_hash

TEXT = [{"role": "user", "content": "hi"}]
PIXEL = "data:image/png;base64,AAAA"


def make(
    prompt: PromptConfig,
    parameters: ParametersConfig | None = None,
    ranges: Any = PARAMETERS,
    columns: tuple[str, ...] = ("c",),
    window: int | None = None,
) -> RequestBuilder:
    return RequestBuilder(prompt, parameters or ParametersConfig(), "m", columns, ranges, window)


def column(value: Any) -> Request:
    return make(PromptConfig(column="c")).request({"c": value})


def chat(value: Any, system: str | None = None) -> tuple[Message, ...]:
    return make(PromptConfig(messages="c", system=system)).request({"c": value}).messages


def kind(call: Any, *values: Any) -> ErrorKind:
    with pytest.raises(PromptFailure) as caught:
        call(*values)
    assert "secret" not in caught.value.message
    return caught.value.kind


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" {{ x }}\n", " {{ x }}\n"),
        (7, "7"),
        (0.5, "0.5"),
        (Decimal("1.50"), "1.50"),
        (b"a", "a"),
        ("\udfff", "\ufffd"),
    ],
)
def test_a_column_is_sent_as_it_is(value: Any, text: str) -> None:
    assert column(value) == Request("m", ({"role": "user", "content": text},), {})


@pytest.mark.parametrize("value", [None, "", " \n\u2003"])
def test_a_blank_column_is_an_empty_prompt(value: str | None) -> None:
    assert kind(column, value) is ErrorKind.EMPTY_PROMPT


@pytest.mark.parametrize("value", [["secret"], {"a": "secret"}])
def test_a_column_of_lists_is_no_prompt(value: Any) -> None:
    assert kind(column, value) is ErrorKind.PROMPT_ERROR


@pytest.mark.parametrize("wrap", [lambda value: value, tuple, json.dumps, lambda value: json.dumps(json.dumps(value))])
def test_messages_are_a_list_or_its_json_text(wrap: Any) -> None:
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "t"},
    ]
    assert list(chat(wrap(turns))) == turns


def test_the_jobs_system_text_gives_way_to_that_of_the_messages() -> None:
    assert [message["role"] for message in chat(TEXT, system="job")] == ["system", "user"]
    own = [*TEXT, {"role": "system", "content": "own"}]
    assert list(chat(own, system="job")) == own


def test_parts_of_text_and_embedded_images_pass_and_null_fields_go() -> None:
    parts = [
        {"type": "text", "text": "look", "image_url": None},
        {"type": "image_url", "text": None, "image_url": {"url": PIXEL, "detail": None}},
    ]
    (message,) = chat([{"role": "user", "content": parts, "name": None}])
    assert message["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "  ",
        '""',
        [],
        "[]",
        "null",
        [{"role": "user", "content": " "}],
        [{"role": "user", "content": None}],
        [{"role": "system", "content": "only"}],
        [{"role": "user", "content": []}],
        [{"role": "user", "content": [{"type": "text", "text": ""}]}],
    ],
)
def test_messages_that_say_nothing_are_an_empty_prompt(value: Any) -> None:
    assert kind(chat, value) is ErrorKind.EMPTY_PROMPT


@pytest.mark.parametrize(
    "value",
    [
        "secret",
        "{secret",
        '"secret"',
        "{}",
        "3",
        3,
        {"role": "user", "content": "secret"},
        ["secret"],
        "[" * 100_000,
        [{"content": "secret"}],
        [{"role": "secret", "content": "a"}],
        [{"role": ["user"], "content": "a"}],
        [{"role": "user", "content": 3}],
        [{"role": "user", "content": "a", "secret": 1}],
        [{"role": "user", "content": ["secret"]}],
        [{"role": "user", "content": [{"type": "secret"}]}],
        [{"role": "user", "content": [{"type": "text", "text": 3}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "secret"}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 3}}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://secret/a.png"}}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}, "text": "secret"}]}],
        [*TEXT, {"role": "assistant", "content": None}],
    ],
)
def test_malformed_messages_are_a_prompt_error(value: Any) -> None:
    assert kind(chat, value) is ErrorKind.PROMPT_ERROR


def test_lone_surrogates_in_messages_are_replaced() -> None:
    parts = [{"type": "text", "text": "\ud800"}]
    assert chat([{"role": "user", "content": parts}])[0]["content"] == [{"type": "text", "text": "\ufffd"}]
    assert chat('[{"role": "user", "content": "\\ud800"}]')[0]["content"] == "\ufffd"


@pytest.mark.parametrize(
    "prompt", [PromptConfig(), PromptConfig(user="a", column="c"), PromptConfig(column="c", messages="c", user="a")]
)
def test_a_prompt_comes_from_exactly_one_place(prompt: PromptConfig) -> None:
    with pytest.raises(InvalidJob) as caught:
        make(prompt)
    assert caught.value.mistakes[0].key == "prompt"


def test_every_missing_column_is_found_at_once() -> None:
    parameters = ParametersConfig(top_p=ColumnReference(column="topp"), top_k=ColumnReference(column="c"))
    with pytest.raises(InvalidJob) as caught:
        make(PromptConfig(column="questoin", system="{{ x }}"), parameters, columns=("question", "top_p", "c"))
    found = {mistake.key: mistake.suggestion for mistake in caught.value.mistakes}
    assert found == {
        "prompt.system": "name one of these columns",
        "prompt.column": "did you mean 'question'?",
        "parameters.top_p": "did you mean 'top_p'?",
    }


def test_parameters_have_one_order_and_one_type_each() -> None:
    parameters = ParametersConfig(top_k=ColumnReference(column="k"), max_tokens=5, temperature=1.0, top_p=0.0)
    made = make(PromptConfig(column="c"), parameters, columns=("c", "k"))
    read = made.request({"c": "a", "k": 3.0}).parameters
    assert json.dumps(read) == '{"temperature": 1.0, "top_p": 0.0, "top_k": 3, "max_tokens": 5}'
    assert made.columns == {"c", "k"}


@pytest.mark.parametrize("value", [1, 1.0, "1", " 1.0 ", "1e0", "+1", Decimal(1)])
def test_equal_numbers_give_the_same_request_however_they_are_written(value: Any) -> None:
    parameters = ParametersConfig(temperature=ColumnReference(column="t"), seed=ColumnReference(column="t"))
    made = make(PromptConfig(column="c"), parameters, columns=("c", "t"))
    fixed = make(PromptConfig(column="c"), ParametersConfig(temperature=1.0, seed=1))
    assert request_hash("k", made.request({"c": "a", "t": value})) == request_hash("k", fixed.request({"c": "a"}))


@pytest.mark.parametrize("value", [None, "", "  "])
def test_an_empty_cell_leaves_its_parameter_out(value: str | None) -> None:
    made = make(PromptConfig(column="c"), ParametersConfig(seed=ColumnReference(column="s")), columns=("c", "s"))
    assert made.request({"c": "a", "s": value}).parameters == {}


@pytest.mark.parametrize(
    "value",
    [
        0,
        51,
        2.5,
        True,
        "secret",
        "1_0",
        "nan",
        "inf",
        float("nan"),
        "0x5",
        "٣",
        "1" * 500,
        10**400,
        Decimal("sNaN"),
        [5],
        "5 secret",
    ],
)
def test_a_cell_that_is_no_number_in_range_fails_its_row(value: Any) -> None:
    made = make(PromptConfig(column="c"), ParametersConfig(top_k=ColumnReference(column="k")), columns=("c", "k"))
    assert kind(made.request, {"c": "a", "k": value}) is ErrorKind.PROMPT_ERROR


def test_fixed_parameters_are_checked_before_any_row() -> None:
    parameters = ParametersConfig(temperature=5.1, top_k=0, seed=3)
    ranges = {name: PARAMETERS[name] for name in ("temperature", "top_k")}
    with pytest.raises(InvalidJob) as caught:
        make(PromptConfig(column="c"), parameters, ranges)
    assert [mistake.key for mistake in caught.value.mistakes] == [
        "parameters.temperature",
        "parameters.top_k",
        "parameters.seed",
    ]
    assert "a number from 0 to 5" in caught.value.mistakes[0].message


def test_an_open_range_takes_any_finite_number() -> None:
    ranges = {"temperature": ParameterRange(0, None, integer=False)}
    made = make(PromptConfig(column="c"), ParametersConfig(temperature=ColumnReference(column="t")), ranges, ("c", "t"))
    assert made.request({"c": "a", "t": "1e30"}).parameters == {"temperature": 1e30}
    assert kind(made.request, {"c": "a", "t": "9" * 350}) is ErrorKind.PROMPT_ERROR
    assert str(made.request({"c": "a", "t": "-0.0"}).parameters["temperature"]) == "0.0"


def test_only_what_is_certain_to_exceed_the_window_is_refused() -> None:
    made = make(PromptConfig(column="c"), window=100)
    assert kind(made.request, {"c": "ab cd" * 4_000}) is ErrorKind.CONTEXT_WINDOW_EXCEEDED
    assert made.request({"c": "ab cd" * 300}).messages
    assert made.request({"c": " x" + "=" * 12_000}).messages


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


@pytest.mark.parametrize(
    "calls",
    [
        [CALL],
        json.dumps([CALL]),
        [{**CALL, "index": 0, "function": {"name": "f", "arguments": {"a": 1}}}],
        [{**CALL, "function": {"name": "f", "arguments": {"a": 1, "b": None}}}],
        [{"id": "call_1", "name": "f", "arguments": {"a": 1}, "function": None}],
        [{"id": "call_1", "name": "f", "arguments": [("a", 1)]}],
    ],
)
def test_tool_calls_have_openais_form_whichever_they_had(calls: Any) -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "b", "tool_call_id": "call_1", "name": "f"},
    ]
    found = chat(messages)
    assert found[1] == {"role": "assistant", "tool_calls": [CALL]}
    assert found[2] == messages[2]


def test_a_developers_message_asks_nothing_and_stands_for_the_system_text() -> None:
    messages = [{"role": "developer", "content": "secret"}]
    assert kind(chat, messages) is ErrorKind.EMPTY_PROMPT
    whole = [*messages, {"role": "user", "content": "a", "name": "ada"}]
    assert list(chat(whole, system="Be kind.")) == whole


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "a", "tool_calls": [CALL]},
        {"role": "user", "content": "a", "tool_call_id": "x"},
        {"role": "user", "content": "a", "name": 7},
        {"role": "assistant", "tool_calls": {"a": "secret"}},
        {"role": "assistant", "tool_calls": ["secret"]},
        {"role": "assistant", "tool_calls": [{"id": "secret"}]},
        {"role": "assistant", "tool_calls": [{**CALL, "id": 7}]},
        {"role": "assistant", "tool_calls": "secret"},
        {"role": "assistant", "tool_calls": []},
    ],
)
def test_a_message_of_no_known_form_is_refused(message: Any) -> None:
    assert kind(chat, [{"role": "user", "content": "a"}, message]) is ErrorKind.PROMPT_ERROR


def test_an_image_that_is_an_address_is_refused_for_a_reason_that_holds_for_any_endpoint() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    with pytest.raises(PromptFailure, match="only embedded images are sent"):
        chat([{"role": "user", "content": [image]}])
