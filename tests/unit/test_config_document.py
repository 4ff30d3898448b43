"""YAML 1.2 as the job file reads it, and what it refuses."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import InvalidJob, Job, Mistake, load_job

JOB = """\
name: answers
input: {path: data/problems.parquet}
prompt: {user: "{{ question }}"}
endpoint: {model: meta/llama-4-scout-17b-16e-instruct}
output: {path: data/out/answers.parquet}
"""


def load(tmp_path: Path, text: str | bytes) -> Job:
    path = tmp_path / "job.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_job(path, environ={})


def mistakes(tmp_path: Path, text: str | bytes) -> list[Mistake]:
    with pytest.raises(InvalidJob) as refused:
        load(tmp_path, text)
    return list(refused.value.mistakes)


def only(tmp_path: Path, text: str | bytes) -> Mistake:
    found = mistakes(tmp_path, text)
    assert len(found) == 1, [mistake.message for mistake in found]
    return found[0]


@pytest.mark.parametrize(
    ("written", "value"),
    [("8", 8), ("0123", 123), ("0x10", 16), ("0o17", 15), ("+5", 5)],
)
def test_whole_numbers_are_read_by_the_core_schema(tmp_path: Path, written: str, value: int) -> None:
    assert load(tmp_path, JOB + f"limits: {{concurrency: {written}}}").config.limits.concurrency == value


@pytest.mark.parametrize(("written", "value"), [("1e-3", 0.001), ("1", 1.0), (".5", 0.5), ("2.", 2.0), ("1E+2", 100.0)])
def test_numbers_are_read_by_the_core_schema(tmp_path: Path, written: str, value: float) -> None:
    read = load(tmp_path, JOB + f"limits: {{drain_seconds: {written}}}").config.limits.drain_seconds
    assert read == value
    assert type(read) is float


@pytest.mark.parametrize(
    "written", ["1_000", "0b1", "1:30", "2025-06-11", '"8"', "8.0", "1e1", "true", "[8]", "{}", "~"]
)
def test_what_is_no_whole_number_is_refused_for_one(tmp_path: Path, written: str) -> None:
    found = only(tmp_path, JOB + f"retry: {{max_attempts: {written}}}")
    assert (found.key, found.line) == ("retry.max_attempts", 6)
    assert "not an integer of at least 1" in found.message


@pytest.mark.parametrize("written", [".inf", "-.inf", ".nan", "1e999", "9" * 5000])
def test_numbers_that_are_none_are_refused(tmp_path: Path, written: str) -> None:
    for key in ("drain_seconds", "max_cost_usd"):
        found = only(tmp_path, JOB + f"parameters: {{max_tokens: 8}}\nlimits: {{{key}: {written}}}")
        assert found.key == f"limits.{key}"


def test_no_is_text_and_says_how_to_write_false(tmp_path: Path) -> None:
    assert load(tmp_path, JOB.replace("name: answers", "name: no")).config.name == "no"
    text = JOB.replace("answers.parquet}", "answers.parquet, overwrite: no}")
    assert only(tmp_path, text).suggestion == "YAML 1.2 knows only true and false; write false"


def test_money_is_exactly_what_is_written(tmp_path: Path) -> None:
    text = JOB + (
        "pricing: {input_usd_per_million: 0.32, output_usd_per_million: 1e-6}\n"
        "limits: {max_cost_usd: 0.1000000000000000055511151231257827, max_run_cost_usd: 5}\nparameters: {max_tokens: 1}"
    )
    job = load(tmp_path, text)
    assert job.config.pricing is not None
    assert job.config.pricing.input_usd_per_million == Decimal("0.32")
    assert job.config.pricing.output_usd_per_million == Decimal("0.000001")
    assert job.config.limits.max_cost_usd == Decimal("0.1000000000000000055511151231257827")
    assert job.config.limits.max_run_cost_usd == Decimal(5)
    assert job.document["limits"]["max_cost_usd"] == "0.1000000000000000055511151231257827"


def test_a_price_beyond_six_decimals_is_refused(tmp_path: Path) -> None:
    text = JOB + "pricing: {input_usd_per_million: 0.320001, output_usd_per_million: 0.0000001}"
    assert only(tmp_path, text).key == "pricing.output_usd_per_million"


def test_every_duplicate_key_is_named_with_its_first_place(tmp_path: Path) -> None:
    found = mistakes(tmp_path, JOB + "name: other\nlimits: {concurrency: 1, concurrency: 2}\n")
    assert [(one.key, one.line, one.column) for one in found] == [("name", 6, 1), ("limits.concurrency", 7, 26)]
    assert "line 1" in found[0].message


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [id]", "!!python/name:os.system", "!!str x", "!secret x", "! x", "!<x> y"]
)
def test_every_tag_is_refused_at_its_place(tmp_path: Path, tag: str) -> None:
    found = only(tmp_path, JOB + f"limits: {tag}\n")
    assert (found.line, found.column) == (6, 9)
    assert "tags" in found.message


def test_aliases_are_expanded(tmp_path: Path) -> None:
    text = JOB.replace("name: answers", "name: &name answers") + "checkpoint: {path: *name}\n"
    assert load(tmp_path, text).checkpoint_path == Path("answers")


def test_an_alias_bomb_is_refused_where_it_goes_off(tmp_path: Path) -> None:
    bomb = "".join(
        f"{to}: &{to} [{', '.join(f'*{of}' for _ in range(10))}]\n" for of, to in zip("abcdef", "bcdefg", strict=True)
    )
    found = only(tmp_path, "a: &a [x]\n" + bomb)
    assert "10,000" in found.message
    assert found.line == 5


def test_an_alias_within_its_own_anchor_is_refused(tmp_path: Path) -> None:
    assert "anchor" in only(tmp_path, "a: &a [*a]\n").message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "{? [", "- ? "])
def test_deep_nesting_is_a_mistake_and_no_recursion_error(tmp_path: Path, opening: str) -> None:
    assert "50 levels" in only(tmp_path, opening * 10_000).message


def test_fifty_levels_are_read(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "a: " + "[" * 49 + "x" + "]" * 49)
    assert not any("levels" in one.message for one in found)
    assert any("levels" in one.message for one in mistakes(tmp_path, "a: " + "[" * 50 + "x" + "]" * 50))


def test_aliases_do_not_get_around_the_levels(tmp_path: Path) -> None:
    deep = "a: &a " + "[" * 40 + "x" + "]" * 40 + "\nb: " + "[" * 20 + "*a" + "]" * 20
    assert any("levels" in one.message for one in mistakes(tmp_path, deep))


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: b: c", (1, 5), "second `:`"),
        ("\ta: 1", (1, 1), "tab"),
        ("a: [1, 2", (1, 4), "missing"),
        ('a: "open', (1, 4), "no end"),
        ("a: @b", (1, 4), "`@`"),
        ("a: 1\n b: 2", (2, 3), ""),
        ("a: \x1b", (1, 4), "control character"),
        ('a: "\\UFFFFFFFF"', (1, 5), "Unicode"),
        ('a: "\\ud800"', (1, 4), "half of a pair"),
        ("a: *b", (1, 4), "anchor"),
        ("a: 1\n---\nb: 2", (2, 1), "second document"),
        ("- a", (1, 1), "mapping of keys"),
        ("just text", (1, 1), "mapping of keys"),
    ],
)
def test_broken_yaml_is_refused_at_its_place(tmp_path: Path, text: str, place: tuple[int, int], words: str) -> None:
    found = next(one for one in mistakes(tmp_path, text) if words in one.message)
    assert (found.line, found.column) == place


@pytest.mark.parametrize(
    "text", ["user: {{ question }}", "user: {{ question }} and more", "user: {% if a %}", "a: [{{ b }}]"]
)
def test_an_unquoted_template_is_told_about_quotes(tmp_path: Path, text: str) -> None:
    assert any(one.suggestion == 'put a template in quotes: "{{ question }}"' for one in mistakes(tmp_path, text))


@pytest.mark.parametrize(
    "prompt", ['{user: "{{ row["a b"] }}"}', '\n  user: "{{ row["a b"] }}"', '{user: "x {{ a }} {{ row["b"] }}"}']
)
def test_quotes_within_quotes_are_told_of(tmp_path: Path, prompt: str) -> None:
    (found,) = mistakes(tmp_path, f"name: j\nprompt: {prompt}\n")
    assert found.suggestion == """inside "…" write a template's own quotes as '…': "{{ row['a column'] }}\""""


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "\ufeff"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    assert only(tmp_path, text).message == "the file is empty"


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    job = load(tmp_path, b"\xef\xbb\xbf" + JOB.replace("\n", "\r\n").encode())
    assert job.place("name") == (1, 7, "name: answers")


def test_json_is_a_job_file_too(tmp_path: Path) -> None:
    text = r"""{"name": "a", "input": {"path": "x.csv"}, "prompt": {"user": "\ud83d\ude00"},
                "endpoint": {"model": "qwen/qwq-32b"}, "output": {"path": "o.parquet"}}"""
    assert load(tmp_path, text).config.prompt.user == "😀"


def test_text_that_is_not_utf8_is_refused_at_its_place(tmp_path: Path) -> None:
    found = only(tmp_path, b"name: a\nprompt: caf\xe9")
    assert (found.message, found.line, found.column) == ("not UTF-8", 2, 12)


def test_a_file_beyond_a_mebibyte_is_refused(tmp_path: Path) -> None:
    assert only(tmp_path, JOB + "#" * 2**20).message == "larger than 1 MiB"


def test_a_missing_file_names_a_near_one(tmp_path: Path) -> None:
    (tmp_path / "gsm8k.yaml").write_text(JOB)
    with pytest.raises(InvalidJob) as refused:
        load_job(tmp_path / "gsmk8.yml")
    assert refused.value.mistakes[0].suggestion == f"did you mean `{tmp_path / 'gsm8k.yaml'}`?"


@pytest.mark.parametrize("name", [".", "no/such.yaml", "nul\0.yaml"])
def test_what_is_no_file_is_a_mistake(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        load_job(str(tmp_path / name))
    assert refused.value.mistakes[0].file == str(tmp_path / name)


@pytest.mark.parametrize(
    "text", ["a: !" + "x" * 500_000, "[" * 500_000, "k: " + "x " * 250_000, "!" * 500_000, "\n" * 500_000]
)
def test_hostile_text_is_refused_quickly(tmp_path: Path, text: str) -> None:
    start = time.process_time()
    mistakes(tmp_path, text)
    assert time.process_time() - start < 5


def test_keys_are_texts_whatever_they_look_like(tmp_path: Path) -> None:
    found: list[Any] = [one.key for one in mistakes(tmp_path, JOB + "1: a\nno: b\n~: c\n? [d]\n: e\n")]
    assert found == ["1", "no", "~", None]


def test_merge_keys_are_refused_by_name(tmp_path: Path) -> None:
    found = only(tmp_path, JOB + "limits: &l {concurrency: 1}\nretry: {<<: *l}\n")
    assert found.suggestion is not None
    assert "merge keys" in found.suggestion
