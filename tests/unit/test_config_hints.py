"""What people bring from other tools gets a suggestion that helps, and none that changes a number."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import InvalidJob, Mistake, load_job
from pipeline.config.hints import number_meant

SECTIONS = {
    "name": "answers",
    "input": "{path: data/problems.parquet}",
    "prompt": '{user: "{{ question }}"}',
    "endpoint": "{model: meta/llama-4-scout-17b-16e-instruct}",
    "output": "{path: data/out/answers.parquet}",
}


def only(tmp_path: Path, **sections: str) -> Mistake:
    path = tmp_path / "job.yaml"
    written = {**SECTIONS, **sections}
    path.write_text("".join(f"{key}: {value}\n" for key, value in written.items() if value), encoding="utf-8")
    with pytest.raises(InvalidJob) as refused:
        load_job(path, environ={})
    assert len(refused.value.mistakes) == 1, refused.value.mistakes
    return refused.value.mistakes[0]


def test_a_text_in_place_of_a_list_is_one_item_or_several(tmp_path: Path) -> None:
    assert only(tmp_path, expect="{choices: bug}").suggestion == 'write a list: ["bug"]'
    several = only(tmp_path, expect='{choices: "bug, question"}').suggestion
    assert several == 'write a list: ["bug, question"], or ["bug", "question"] for several'


@pytest.mark.parametrize(
    ("section", "written", "meant"),
    [
        ("retry", "{max_retries: 3}", "`max_attempts`"),
        ("pricing", "{input: 1, input_usd_per_million: 1, output_usd_per_million: 2}", "`input_usd_per_million`"),
        ("simulator", "{latency: 1}", "`latency_seconds`"),
        ("parameters", "{stop: END}", "only servers of `kind: openai`"),
        ("parameters", "{max_completion_tokens: 5}", "`max_tokens`"),
        ("parameters", "{max_completion_tokens: 5}", "`endpoint.max_tokens_field`"),
        ("rpm", "300", "`limits.requests_per_minute`"),
        ("limits", "{tpm: 300}", "`tokens_per_minute`"),
        ("limits", "{max-concurrency: 3}", "`concurrency`"),
        ("workers", "3", "`limits.concurrency`"),
        ("batch_size", "3", "`limits.concurrency`"),
        ("budget", "3", "`limits.max_cost_usd`"),
        ("timeout", "5m", "`limits.timeout_seconds`"),
        ("base_url", "http://127.0.0.1", "`endpoint.url`"),
        ("endpoint", "{model: m, provider: openai}", "`kind`"),
        ("template", '"{{ question }}"', "`prompt.user`"),
    ],
)
def test_a_key_of_another_tool_leads_to_ours(tmp_path: Path, section: str, written: str, meant: str) -> None:
    sections = {section: written}
    if section == "simulator":
        sections["endpoint"] = "{url: simulator, model: meta/llama-4-scout-17b-16e-instruct}"
    if section == "endpoint":
        sections["pricing"] = "{input_usd_per_million: 1, output_usd_per_million: 1}"
    assert meant in (only(tmp_path, **sections).suggestion or "")


def test_a_section_that_was_written_under_another_name_is_not_missed_as_well(tmp_path: Path) -> None:
    assert only(tmp_path, prompt="", prompt_template='"{{ question }}"').key == "prompt_template"


@pytest.mark.parametrize(
    ("section", "written", "suggestion"),
    [
        ("input", "p.csv", "write `input: {path: p.csv}`"),
        ("prompt", '"{{ question }}"', "write `prompt: {user: …}`"),
        ("endpoint", "http://127.0.0.1:8000/v1", "write `endpoint: {url: http://127.0.0.1:8000/v1}`"),
        ("output", "a.parquet", "write `output: {path: a.parquet}`"),
        (
            "input",
            '{path: p.csv, columns: "*"}',
            "leave the key out: without it, every column is carried to the output",
        ),
        (
            "parameters",
            '{temperature: "{{ temp }}"}',
            "write `{column: temp}` to take it from that column of each row",
        ),
        ("limits", "{deadline_seconds: 2h}", "write the number of seconds, 7200"),
        ("limits", "{timeout_seconds: 500ms}", "write the number of seconds, 0.5"),
        ("input", "{path: p.csv, csv: {delimiter: '\\t'}}", 'write "\\t", in double quotes'),
    ],
)
def test_a_value_in_another_form_is_shown_in_ours(tmp_path: Path, section: str, written: str, suggestion: str) -> None:
    assert only(tmp_path, **{section: written}).suggestion == suggestion


def test_messages_written_inline_are_told_where_they_belong(tmp_path: Path) -> None:
    found = only(tmp_path, prompt="{messages: [{role: user, content: hi}]}")
    assert "name a column" in (found.suggestion or "") and "`prompt.examples`" in (found.suggestion or "")


def test_a_model_of_another_server_is_told_its_kind(tmp_path: Path) -> None:
    suggestion = only(tmp_path, endpoint="{model: gpt-4o-mini}").suggestion or ""
    assert "`endpoint.kind: openai`" in suggestion and "`endpoint.url`" in suggestion


def test_the_value_of_a_variable_is_not_taken_for_its_name(tmp_path: Path) -> None:
    found = only(tmp_path, endpoint="{model: meta/llama-4-scout-17b-16e-instruct, api_key_env: '${MYKEY}'}")
    assert found.suggestion == "write the variable's name, not its value: `api_key_env: MYKEY`"


@pytest.mark.parametrize(
    ("written", "readings"),
    [
        ("5,00", ["5.00", "500"]),
        ("$5.00", ["5.00"]),
        ("$5,00", ["5.00", "500"]),
        ("1,000", ["1.000", "1000"]),
        ("1.000,50", ["1000.50"]),
        ("1,000.50", ["1000.50"]),
        ("1,000,000", ["1000000"]),
        ("10 000", ["10000"]),
        ("1_000", ["1000"]),
        ("0,5", ["0.5"]),
        ("5.00 USD", ["5.00"]),
    ],
)
def test_every_reading_of_an_amount_is_named_and_none_chosen(tmp_path: Path, written: str, readings: list[str]) -> None:
    found = only(tmp_path, limits=f"{{max_cost_usd: '{written}'}}", parameters="{max_tokens: 5}")
    assert (found.suggestion or "").startswith(f"write {' or '.join(readings)}")


@given(st.decimals(min_value=0, max_value=10**9, places=2), st.sampled_from([".,", ",.", " ,", "'."]))
def test_the_written_amount_is_always_among_the_readings(amount: object, marks: str) -> None:
    written = f"{amount:,.2f}".translate(str.maketrans(",.", marks))
    if written.replace(".", "", 1).isdigit():
        return
    assert f"{amount:.2f}" in (number_meant(written, is_integer=False) or "")


def test_a_refused_value_is_shown(tmp_path: Path) -> None:
    assert only(tmp_path, output="{path: a.parquet, compression: zap}").message.startswith('"zap" is none of')
    assert only(tmp_path, limits="{concurrency: 0}").message.startswith("0 is out of range")
    assert (
        only(tmp_path, limits="{concurrency: many}").message
        == '"many" is none of an integer from 1 to 20,000 or `auto`'
    )


def test_a_refused_value_that_may_be_a_secret_is_not_shown(tmp_path: Path) -> None:
    found = only(tmp_path, endpoint="{model: meta/llama-4-scout-17b-16e-instruct, api_key_env: sk-live-12345678}")
    assert "sk-live" not in str(found) and found.source is None
