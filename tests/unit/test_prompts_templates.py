from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from pipeline.config.models import ColumnReference, ParametersConfig, PromptConfig
from pipeline.errors import ErrorKind, InvalidJob, Mistake
from pipeline.prompts import PromptFailure, RequestBuilder
from pipeline.providers.dataoorts import PARAMETERS

COLUMNS = ("question", "n", "tags", "my column", "_id")
ROW = {"question": "What is 2 + 2?", "n": 3, "tags": ["a", "b", 1], "my column": "x", "_id": "r1"}


def builder(
    user: str,
    columns: tuple[str, ...] = COLUMNS,
    system: str | None = None,
    parameters: ParametersConfig = ParametersConfig(),  # noqa: B008 - it is frozen
) -> RequestBuilder:
    return RequestBuilder(PromptConfig(user=user, system=system), parameters, "m", columns, PARAMETERS, 10_000_000)


def render(user: str, row: Mapping[str, Any] = ROW, seconds: float = 5.0) -> str:
    content = builder(user, tuple(row)).request(row, seconds).messages[-1]["content"]
    assert isinstance(content, str)
    return content


def failure(user: str, row: Mapping[str, Any] = ROW, seconds: float = 5.0) -> PromptFailure:
    with pytest.raises(PromptFailure) as caught:
        render(user, row, seconds)
    return caught.value


def mistakes(user: str, columns: tuple[str, ...] = COLUMNS) -> tuple[Mistake, ...]:
    with pytest.raises(InvalidJob) as caught:
        builder(user, columns)
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Q: {{ question }}\n", "Q: What is 2 + 2?\n"),
        ("{{ question | upper }}{{ question.split() | length }}", "WHAT IS 2 + 2?5"),
        ("{{ tags | join('-') }}", "a-b-1"),
        (
            "{% for tag in tags %}{{ loop.index }}/{{ loop.length }}{{ tag }}{{ ',' if not loop.last }}{% endfor %}",
            "1/3a,2/3b,3/31",
        ),
        ("{{ question ~ n }}", "What is 2 + 2?3"),
        ("{{ row['my column'] }}{{ row['_id'] }}", "xr1"),
        ("{{ _id }}", "r1"),
        ("{{ '%.2f' % n }} {{ '%05d' | format(n) }} {{ '{:>4}'.format(n) }}", "3.00 00003    3"),
        (
            "{% macro m(x) %}<{{ x }}{{ caller() if caller is defined }}>{% endmacro %}"
            "{{ m(1) }}{% call m(2) %}c{% endcall %}",
            "<1><2c>",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
            "3",
        ),
        ("{{ {'b': none, 'a': \"it's <é>\"} | tojson }}", '{"a": "it\'s <é>", "b": null}'),
        ("{{ {}.x | default('none') }}", "none"),
        ("{{ [1, 2.5] | sum }} {{ [3, 1] | sort }}", "3.5 [1, 3]"),
        ("{{ tags | map('string') | map('upper') | list }}", "['A', 'B', '1']"),
        ("{{ [{'k': 1}, {'k': 2}] | map(attribute='k') | sum }}{{ question[:4] }}{{ tags[0] }}", "3Whata"),
        ("{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", "123"),
    ],
)
def test_templates_do_what_jinja_does(template: str, text: str) -> None:
    assert render(template) == text


def test_what_stands_in_the_data_is_never_a_template() -> None:
    assert render("{{ question }}", {"question": "{{ 7 * 7 }} {% raw %}"}) == "{{ 7 * 7 }} {% raw %}"


@pytest.mark.parametrize(
    "printing",
    [
        "{{ x }}",
        "{{ row.x }}",
        "{{ row['x'] }}",
        "{{ x | upper }}",
        "{{ x | trim | title }}",
        "{{ x | string }}",
        "{{ x | safe }}",
        "{{ x | urlencode }}",
        "{{ x | truncate(3) }}",
        "{{ x | replace('a', 'b') }}",
        "{{ 'a' | replace('a', x) }}",
        "{{ x | default('-') }}",
        "{{ 'a' ~ x }}",
        "{{ [q, x] | join }}",
        "{{ [q, x] }}",
        "{{ {'k': x} }}",
        "{{ [q, x] | map('upper') | join }}",
        "{{ '%s' % x }}",
        "{{ '%s %s' | format(q, x) }}",
        "{{ '%s' % [x] }}",
        "{{ '{}'.format(x) }}",
        "{{ '{!r:>9}'.format(x) }}",
        "{{ ' '.join([x]) }}",
        "{% set y %}{{ x }}{% endset %}{{ y }}",
        "{% macro m(y) %}{{ y }}{% endmacro %}{{ m(x) }}",
        "{% for y in [x] %}{{ y }}{% endfor %}",
        "{{ holes }}",
        "{{ holes | join }}",
        "{{ holes[1] }}",
        "{{ deep.a }}",
        "{{ deep }}",
        "{{ '{0[a]}'.format(deep) }}",
    ],
)
def test_a_null_that_is_printed_fails_the_row_and_names_the_column(printing: str) -> None:
    column = "holes" if "holes" in printing else "deep" if "deep" in printing else "x"
    failed = failure(f"{{{{ q }}}} {printing}", {"q": "text", "x": None, "holes": ["a", None], "deep": {"a": None}})
    assert failed.kind is ErrorKind.PROMPT_ERROR
    assert f"a null of column {column!r}" in failed.message


def test_the_column_that_is_named_is_the_one_that_is_printed() -> None:
    failed = failure("{{ q or '' }}\n{{ row['the x'] }}", {"q": None, "the x": None})
    assert 'prints a null of column \'the x\'; write {{ row["the x"] or "" }}' in failed.message


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('a{{ x or "" }}b', "ab"),
        ('{{ x | default("-", true) }}', "-"),
        ("{{ 'none' if x is none else x }}{{ x == none }}{% if x %}yes{% endif %}", "noneTrue"),
        ("{{ {'k': x} | tojson }}{{ x | tojson }}{{ row | tojson }}", '{"k": null}null{"x": null}'),
        ("{{ [x, 'a'] | select | join }}{{ [x] | length }}", "a1"),
        ("{{ '{a}'.format(a='b', unused=x) }}{{ '%(a)s' % {'a': 'c', 'unused': x} }}", "bc"),
    ],
)
def test_a_null_that_is_not_printed_can_be_tested_and_replaced(template: str, text: str) -> None:
    assert render(template, {"x": None}) == text


def test_a_null_that_something_else_fails_on_is_named_too() -> None:
    for template in ("{{ x.upper() }}", "{{ 'a' + x }}", "{% for y in x %}{% endfor %}"):
        assert failure(template, {"x": None}).message.endswith("null in this row: 'x'")


@pytest.mark.parametrize(
    ("template", "hint"),
    [
        ("{{ n", "close it with }}"),
        ("{{ n }", "close it with }}"),
        ("{% if n", "close it with %}"),
        ("{{ n = 3 }}", "`==` compares"),
    ],
)
def test_a_slip_of_syntax_is_told_with_what_to_write(template: str, hint: str) -> None:
    (found,) = mistakes(template)
    assert found.suggestion == hint


def test_a_text_that_is_compared_with_a_number_is_told_with_what_makes_a_number_of_it() -> None:
    found = failure("{% if question >= 4 %}x{% endif %}", {**ROW, "question": "5"})
    assert "fails on this row: TypeError; text in this row: 'question'; `| int` makes a number of it" in found.message


def test_columns_of_every_type_have_a_text() -> None:
    row = {"d": date(2024, 2, 29), "t": datetime(2024, 1, 1, 12, tzinfo=UTC), "x": Decimal("1.50"), "b": b"a\xff"}
    assert (
        render("{{ d }} {{ d.year }} {{ t.strftime('%H') }} {{ x }} {{ b }}", row) == "2024-02-29 2024 12 1.50 a\ufffd"
    )
    assert render("{{ row | tojson }}", row).startswith('{"b": "a\ufffd", "d": "2024-02-29"')


def test_a_whole_decimal_is_the_same_number_in_json() -> None:
    row = {"x": Decimal("12345678901234567890.00"), "y": Decimal("-" + 76 * "9"), "z": Decimal("1.50")}
    assert render("{{ [x, y, z] | tojson }}", row) == f"[12345678901234567890, -{76 * '9'}, 1.5]"


def test_lone_surrogates_are_replaced() -> None:
    assert render("{{ question }}", {"question": "a\ud800b"}) == "a\ufffdb"


def test_a_column_wins_over_a_method_a_global_and_the_row() -> None:
    assert render("{{ s.items }}", {"s": {"items": 3}}) == "3"
    assert render("{{ range }}", {"range": "wide"}) == "wide"
    assert render("{{ row }}", {"row": "third"}) == "third"


def test_only_the_columns_in_use_are_asked_for() -> None:
    assert builder("{{ question }}{% for n in tags %}{{ n }}{% endfor %}").columns >= {"question", "tags"}
    assert builder("{{ row['my column'] }}{{ row.n }}").columns == {"my column", "n"}
    assert builder("fixed").columns == frozenset()
    assert builder("{{ row | tojson }}").columns == builder("{{ row[question] }}").columns == set(COLUMNS)


def test_the_system_text_goes_first_and_a_blank_one_is_left_out() -> None:
    request = builder("{{ question }}", system="Be {{ n }}").request(ROW)
    assert [message["role"] for message in request.messages] == ["system", "user"]
    assert request.messages[0]["content"] == "Be 3"
    assert len(builder("{{ question }}", system=" {{ '' }}\n").request(ROW).messages) == 1


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_a_blank_prompt_is_empty(text: str) -> None:
    assert failure("{{ question }}", {"question": text}).kind is ErrorKind.EMPTY_PROMPT


def test_every_undefined_column_is_named_with_its_line_and_the_near_ones() -> None:
    first, second, third = mistakes("{{ Question }}\n{{ nothing_like_it }}\n{% if row['my colum'] %}{% endif %}")
    assert first.message.startswith("template line 1: the input has no column 'Question'")
    assert (first.suggestion, first.key) == ("did you mean 'question'?", "prompt.user")
    assert "template line 2" in second.message and second.suggestion == "name one of these columns"
    assert "template line 3" in third.message and third.suggestion == 'did you mean row["my column"]?'


@pytest.mark.parametrize(
    ("template", "column"),
    [
        ("{{ Betrag (€) }}", "Betrag (€)"),
        ("{{ Betrag }}", "Betrag (€)"),
        ("{{ first name }}", "first name"),
        ("{{ Nr. }}", "Nr."),
        ("{{ order-id }}", "order-id"),
        ("{{ row.order }}", "order-id"),
        ("{{ 2nd }}", "2nd"),
    ],
)
def test_a_column_whose_name_is_no_identifier_is_shown_as_a_template_writes_it(template: str, column: str) -> None:
    found = mistakes(template, ("Betrag (€)", "first name", "Nr.", "order-id", "2nd"))
    assert any(f'row["{column}"]' in str(mistake.suggestion) for mistake in found)


def test_mistakes_of_both_templates_come_at_once() -> None:
    with pytest.raises(InvalidJob) as caught:
        builder("{{ a", system="{{ b }}{{ n.__class__ }}")
    assert {mistake.key for mistake in caught.value.mistakes} == {"prompt.user", "prompt.system"}


@pytest.mark.parametrize(
    "template",
    [
        "{{ question.__class__ }}",
        "{{ question._x }}",
        "{{ ''.__class__.__mro__ }}",
        "{% include 'x' %}",
        "{% import 'x' as x %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% block x %}{% endblock %}",
        "{{ self }}",
        "{{ lipsum() }}",
        "{{ tags | random }}",
        "{{ tags | pprint }}",
        "{{ n | attr('real') }}",
        "{% autoescape true %}{% endautoescape %}",
        "{{ n is nosuchtest }}",
        "{{ n | nosuchfilter if false }}",
        "{{",
        "{% for x in tags %}",
        "{% do 1 %}",
        "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
        "{% for a in tags %}" * 60 + "{% endfor %}" * 60,
    ],
)
def test_what_can_be_refused_without_a_row_is(template: str) -> None:
    assert all(mistake.key == "prompt.user" for mistake in mistakes(template))


@pytest.mark.parametrize(
    "template",
    [
        "{{ question['__class__'] }}",
        "{{ '{0.__class__}'.format(n) }}",
        "{{ [1] | map(attribute='__class__') | list }}",
        "{{ '{0.__class__}' | format(n) ~ ('%(x)s' % {}) }}",
        "{{ dict.fromkeys }}",
        "{{ question.encode() }}",
        "{{ question.format_map({}) }}",
        "{{ tags.append(1) }}",
        "{{ row['update']({}) }}",
        "{{ {}.update({}) }}",
        "{{ tags.sort() }}",
        "{{ range.start }}",
    ],
)
def test_nothing_of_python_is_in_reach(template: str) -> None:
    with pytest.raises((InvalidJob, PromptFailure)):
        render(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ tags | map('upper') }}",
        "{{ tags | map('upper') | upper }}",
        "{{ tags | map('upper') | string | trim }}",
        "{{ (tags | map('upper')) ~ '' }}",
        "{{ '%s' % (tags | map('upper')) }}",
        "{{ '%(a)s' % {'a': range} }}",
        "{{ '{}'.format(range) }}",
        "{{ '{!s}'.format(range) }}",
        "{{ [range] }}",
        "{{ [range] | tojson }}",
        "{{ {'a': range} | string }}",
        "{{ namespace }}",
        "{{ cycler(1) | upper }}",
        "{{ joiner() | e }}",
        "{{ range | urlencode }}",
        "{{ [range] | urlencode }}",
        "{{ range | truncate(9) }}",
        "{{ range | safe }}",
        "{{ range | forceescape }}",
        "{{ [range] | join }}",
        "{{ ''.join([range]) }}",
        "{{ [range, range] | map('upper') | join }}",
        "{% macro m() %}{% endmacro %}{{ m | upper }}",
        "{% for t in tags %}{{ loop | upper }}{% endfor %}",
        "{{ namespace(a=range) | title }}",
        "{{ row.items() | upper }}",
    ],
)
def test_what_would_print_an_address_is_refused(template: str) -> None:
    assert re.search(r"writes (what is not a value|a list of what are not values)", failure(template).message)


@pytest.mark.parametrize(
    "template",
    [
        "{{ question.upper }}",
        "{{ question.strip | upper }}",
        "{{ question.strip | default('') }}",
        "{{ question.strip | int }}",
        "{{ question.strip ~ '' }}",
        "{{ '%s' % question.strip }}",
        "{{ '%s' | format(question.strip) }}",
        "{{ '{}'.format(question.strip) }}",
        "{{ '{0.upper}'.format(question) }}",
        "{{ [question.strip] | join }}",
        "{{ [question.strip] | tojson }}",
        "{{ [question.strip] | map('upper') | list }}",
        "{{ question.strip().upper | lower }}",
        "{{ question.replace('a', question.upper) }}",
        "{% if question.isdigit %}a number{% endif %}{{ question }}",
        "{{ 'a' if question.strip is string else 'b' }}",
        "{% set f = question.strip %}{{ f | upper }}",
        "{% macro m(x) %}{{ x | upper }}{% endmacro %}{{ m(question.strip) }}",
        "{% for k in row.items %}{{ k }}{% endfor %}",
        "{% for t in tags %}{{ loop.cycle | upper }}{% endfor %}",
        "{% filter upper %}{{ question.strip }}{% endfilter %}",
    ],
)
def test_a_method_without_parentheses_is_refused_whatever_is_done_with_it(template: str) -> None:
    assert "without (): write ." in failure(template).message


def test_a_method_with_parentheses_is_called() -> None:
    assert render("{{ question.upper().lower()[:4] | title }}{{ row.keys() | list | length }}") == "What5"
    assert render("{{ s.items }}{{ s.get('items') }}", {"s": {"items": 3}}) == "33"


@pytest.mark.parametrize(
    "template",
    [
        "{{ question" + " + question" * 400 + " }}",
        "{{ row" + ".a" * 400 + " }}",
        "{{ question" + " and question" * 500 + " }}",
        "{{ question" + "|trim" * 260 + " }}",
        "{{ question" + ".strip()" * 200 + " }}",
        "{{ " + "not " * 200 + "question }}",
        "{{ " + "'a' if n else " * 200 + "'b' }}",
        "{{ question" + "[0]" * 300 + " }}",
        "{% if n %}" * 70 + "{% endif %}" * 70,
    ],
)
def test_a_long_chain_is_nested_too_deeply_and_found_at_once(template: str) -> None:
    began = time.thread_time()
    (mistake,) = mistakes(template)
    assert "nested too deeply" in mistake.message
    assert time.thread_time() - began < 2


def test_chains_that_people_write_are_taken() -> None:
    assert render("{{ question" + " | trim" * 20 + " }}") == ROW["question"]
    assert render("{{ n" + " + n" * 40 + " }}{{ n" + " ~ n" * 300 + " }}") == "123" + "3" * 301
    assert render("{% if n == 0 %}" + "{% elif n == 0 %}" * 200 + "{% else %}x{% endif %}") == "x"


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 10**9 }}",
        "{{ 10**9 * 'x' }}",
        "{{ [0] * 10**9 }}",
        "{{ 10 ** (10 ** 8) }}",
        "{{ (10**4000) * (10**4000) }}",
        "{{ '%999999999d' | format(1) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ '%.999999999f' % 1 }}",
        "{{ '%(a(b))999999999d' % {'a(b)': 1} }}",
        "{{ ('%s' * 100000) % (('x' * 100000,) * 100000) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, 10**9) }}",
        "{{ ('{0}' * 100000).format('x' * 100000) }}",
        "{{ 'a' | center(10**9) }}",
        "{{ 'a' | indent(10**9, true) }}",
        "{{ ('\n' * 10**6) | indent(9999) }}",
        "{{ ('x' * 10**6) | replace('x', 'y' * 10**6) }}",
        "{{ ('x' * 10**6).replace('', 'y' * 10**6) }}",
        "{{ range(99999) | join('y' * 10**6) }}",
        "{{ ('y' * 10**6).join(range(99999) | map('string')) }}",
        "{{ 1.5 | round(10**9) }}",
        "{{ [1] | batch(10**9, 0) | list }}",
        "{{ [1] | slice(10**9) | list }}",
        "{{ {} | tojson(indent=10**9) }}",
        "{{ range(10**9) }}",
        "{{ range(10**30) | list }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% set s = 'x' %}" + "{% set s = s ~ s %}" * 40,
        "{% set s = 'x' %}" + "{% set s = s + s %}" * 40,
        "{% set s = 'x' %}" + "{% set s %}{{ s }}{{ s }}{% endset %}" * 40,
        "{% set s = [1] %}" + "{% set s = s + s %}" * 40,
        "{% set s = [1] %}" + "{% set s = [s, s] %}" * 40 + "{{ s }}",
        "{% set s = [1] %}" + "{% set s = [s, s] %}" * 40 + "{{ s | tojson }}",
    ],
)
def test_what_would_be_huge_is_refused_before_it_is_made(template: str) -> None:
    began = time.thread_time()
    assert failure(template).exceeded_limit
    assert time.thread_time() - began < 2


@pytest.mark.parametrize(
    "template",
    [
        "{{ range(9999) | map('string') | map('replace', '', 'y' * 10**6) | list | length }}",
        "{{ (['y' * 10**7] * 9999) | map('upper') | list | length }}",
        "{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = n.l + [('y' * 10**7)[i:]] %}{% endfor %}",
        "{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = n.l + [question.upper()] %}{% endfor %}",
        "{{ ([[0] * 10**3] * 10**6) | sum(start=[]) }}",
    ],
)
def test_a_template_cannot_fill_the_memory_piece_by_piece(template: str) -> None:
    assert failure(template, {"question": "y" * 10**7}).kind is ErrorKind.PROMPT_ERROR


SPINS = [
    "{% set l = range(9999) | list %}{% for a in l %}{% for b in l %}x{% endfor %}{% endfor %}",
    "{% for a in 'x' * 99999 %}{% for b in 'x' * 99999 %}{% set c = 1 %}{% endfor %}{% endfor %}",
    "{% for a in 'x' * 99999 %}{% for b in 'x' * 99999 if b == 'y' %}{% endfor %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% set l = range(50000) | list %}{% for i in l %}{% set x = l | join %}{% endfor %}",
    "{% set l = range(50000) | list %}{{ l | reject('in', l) | list | length }}",
]


@pytest.mark.parametrize("template", SPINS)
def test_a_template_that_spins_is_stopped_in_any_thread(template: str) -> None:
    caught: list[PromptFailure] = []
    thread = threading.Thread(target=lambda: caught.append(failure(template, seconds=0.2)))
    began = time.monotonic()
    thread.start()
    thread.join(10)
    assert caught and caught[0].exceeded_limit
    assert time.monotonic() - began < 2


def test_the_watch_starts_anew_with_each_rendering() -> None:
    made = builder("{% for a in range(60000) %}{% endfor %}{{ question }}")
    assert all(made.request(ROW).messages for _ in range(3))


def test_a_prompt_of_ten_million_characters_passes() -> None:
    text = "ab cd" * 2_000_000
    assert render("{{ question }}", {"question": text}) == text


def test_a_failing_row_is_placed_and_nothing_of_it_is_told() -> None:
    failed = failure("one\n{{ question | length }}\n{{ n.secret[question] }}", {"question": "secret words", "n": {}})
    assert (failed.kind, failed.template_line, failed.key) == (ErrorKind.PROMPT_ERROR, 3, "prompt.user")
    assert "prompt.user (template line 3)" in failed.message and "secret" not in failed.message
    assert failed.__cause__ is None and failed.__context__ is None


def test_a_conversion_error_does_not_quote_the_cell() -> None:
    assert "secret" not in failure("{{ '%d' % question }}", {"question": "secret"}).message


def test_a_trial_finds_a_template_that_spins_on_a_later_row() -> None:
    made = builder("{% for i in range(n) %}{% endfor %}{{ question }}")
    (mistake,) = made.trial([ROW, {**ROW, "n": 10**6}]).mistakes
    assert "row 2 of the input" in mistake.message and mistake.key == "prompt.user"


def test_a_trial_finds_a_template_that_fails_on_every_row() -> None:
    (mistake,) = builder("{{ 1 / n }}").trial([{**ROW, "n": 0}] * 3).mistakes
    assert "all rows tried" in mistake.message


def test_a_trial_finds_a_column_of_a_parameter_that_fails_on_every_row() -> None:
    made = builder("{{ question }}", parameters=ParametersConfig(seed=ColumnReference(column="question")))
    (mistake,) = made.trial([ROW] * 3).mistakes
    assert (mistake.key, "all rows tried" in mistake.message) == ("parameters.seed", True)
    assert made.trial([ROW, {**ROW, "question": "7"}]).mistakes == []


def test_a_trial_leaves_rows_that_fail_by_themselves() -> None:
    assert builder("{{ 1 / n }}").trial([{**ROW, "n": 0}, {**ROW, "n": 1}]).mistakes == []
    assert builder("{{ question }}").trial([{**ROW, "question": ""}]).mistakes == []
    assert builder("{{ question }}").trial([]).mistakes == []


def test_a_trial_counts_the_rows_that_make_no_request() -> None:
    texts = ["a", "", None, "b", None]
    tried = builder("{{ question }}").trial([{**ROW, "question": text} for text in texts])
    assert (tried.mistakes, tried.rows) == ([], 5)
    assert tried.unsendable == {ErrorKind.EMPTY_PROMPT: 1, ErrorKind.PROMPT_ERROR: 2}


def test_rows_that_all_lack_a_value_fail_by_themselves() -> None:
    tried = builder("{{ question }}").trial([{**ROW, "question": None}] * 2)
    assert (tried.mistakes, tried.unsendable) == ([], {ErrorKind.PROMPT_ERROR: 2})


@pytest.mark.parametrize(
    ("user", "suggestion"),
    [
        ("{question}", "write {{ question }} instead of {question}"),
        ("Say { my column }!", 'write {{ row["my column"] }} instead of {my column}'),
        ("Tell a joke", "use one, as in {{ column }}; or set `prompt.constant: true` to ask every row the same"),
    ],
)
def test_a_prompt_that_uses_no_column_is_a_mistake_over_more_than_one_row(user: str, suggestion: str) -> None:
    (mistake,) = builder(user).trial([ROW, ROW]).mistakes
    assert (mistake.key, mistake.suggestion) == ("prompt.user", suggestion)
    assert builder(user).trial([ROW]).mistakes == []
    assert builder(user, system="{{ n }}").trial([ROW, ROW]).mistakes == []
    constant = RequestBuilder(
        PromptConfig(user=user, constant=True), ParametersConfig(), "m", COLUMNS, PARAMETERS, None
    )
    assert constant.trial([ROW, ROW]).mistakes == []


def test_a_trial_ends_in_time() -> None:
    began = time.monotonic()
    assert len(builder(SPINS[0]).trial([ROW] * 1000, seconds=0.2).mistakes) == 1
    assert builder("{{ question }}").trial((ROW for _ in iter(int, 1)), seconds=0.1).mistakes == []
    assert time.monotonic() - began < 2
