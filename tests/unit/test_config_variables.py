"""Variables in the job file, and keys given with `--set`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pipeline.config import ColumnReference, InvalidJob, Job, Mistake, load_job

JOB = """\
name: answers
input: {path: data/problems.parquet}
prompt: {user: "{{ question }}"}
endpoint: {model: meta/llama-4-scout-17b-16e-instruct}
output: {path: data/out/answers.parquet}
"""


def load(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None, overrides: Sequence[str] = ()) -> Job:
    path = tmp_path / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return load_job(path, overrides, environ=environ or {})


def mistakes(
    tmp_path: Path, text: str, environ: Mapping[str, str] | None = None, overrides: Sequence[str] = ()
) -> list[Mistake]:
    with pytest.raises(InvalidJob) as refused:
        load(tmp_path, text, environ, overrides)
    return list(refused.value.mistakes)


def system(tmp_path: Path, written: str, environ: Mapping[str, str]) -> str | None:
    return load(tmp_path, JOB.replace("prompt: {", f"prompt: {{system: '{written}', "), environ).config.prompt.system


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("${B:-two}", "two"),
        ("${A:-two}", "1"),
        ("${EMPTY:-two}", "two"),
        ("${EMPTY}", ""),
        ("${B:-}", ""),
        ("${B:-a:-b}", "a:-b"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A $$ $ {A} ${} ${1} ${a b}", "$A $$ $ {A} ${} ${1} ${a b}"),
        ("${NESTED}", "${A}"),
    ],
)
def test_variables_are_filled_in_once(tmp_path: Path, written: str, filled: str) -> None:
    assert system(tmp_path, written, {"A": "1", "EMPTY": "", "NESTED": "${A}"}) == filled


def test_a_filled_in_value_is_text_and_never_yaml(tmp_path: Path) -> None:
    job = load(tmp_path, JOB.replace("name: answers", "name: ${N}"), {"N": "123"})
    assert job.config.name == "123"
    found = mistakes(tmp_path, JOB + "limits: ${L}", {"L": "{concurrency: 8}"})
    assert found[0].key == "limits"


def test_a_variable_in_place_of_a_section_is_a_mistake_whatever_it_holds(tmp_path: Path) -> None:
    for value in ("", "x"):
        (found,) = mistakes(tmp_path, JOB + "checkpoint: ${SECTION}", {"SECTION": value})
        assert (found.key, found.line) == ("checkpoint", 6)


def test_an_unquoted_variable_can_be_a_number_or_a_truth_value(tmp_path: Path) -> None:
    text = JOB.replace("output: {", "output: {overwrite: false, ") + (
        "limits:\n  requests_per_minute: ${RPM:-300}\n  concurrency: ${SLOTS}\n  max_cost_usd: ${CAP:-0.1}\n"
        "parameters:\n  temperature: ${T:-}\n  max_tokens: ${M}0\n"
    )
    job = load(tmp_path, text, {"SLOTS": " 8\n", "M": "12"})
    assert job.config.limits.requests_per_minute == 300
    assert job.config.limits.concurrency == 8
    assert str(job.config.limits.max_cost_usd) == "0.1"
    assert job.config.parameters.temperature is None
    assert job.config.parameters.max_tokens == 120


def test_a_variable_alone_is_what_its_field_takes_also_in_quotes(tmp_path: Path) -> None:
    text = JOB.replace("output: {", 'output: {prefix: "${RPM}", overwrite: "${YES}", ')
    text += 'limits: {requests_per_minute: "${RPM:-300}", concurrency: "${SLOTS:-8}"}'
    config = load(tmp_path, text, {"RPM": "60", "YES": "true"}).config
    assert (config.limits.requests_per_minute, config.limits.concurrency) == (60, 8)
    assert (config.output.prefix, config.output.overwrite) == ("60", True)


def test_quoted_text_with_a_variable_in_it_stays_text(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, JOB + 'limits: {requests_per_minute: "${RPM}0"}', {"RPM": "6"})
    assert found.suggestion == "take the quotes away"


def test_variables_stand_in_lists_too(tmp_path: Path) -> None:
    text = JOB.replace("path: data/problems.parquet", 'path: ["${D}/a.csv", "${E:-e}/b.csv"]')
    job = load(tmp_path, text, {"D": "d"})
    assert job.config.input.path == ("d/a.csv", "e/b.csv")
    assert job.document["input"]["path"] == ["${D}/a.csv", "${E:-e}/b.csv"]


def test_every_unset_variable_is_named_among_all_other_mistakes(tmp_path: Path) -> None:
    text = JOB.replace("data/problems.parquet", '"${ONE}/${TWO}"') + "limits:\n  concurrency: ${THREE}\n  colour: 1\n"
    found = mistakes(tmp_path, text)
    assert [(one.line, one.key) for one in found] == [
        (2, "input.path"),
        (2, "input.path"),
        (7, "limits.concurrency"),
        (8, "limits.colour"),
    ]
    assert [word for one in found for word in ("ONE", "TWO", "THREE") if word in one.message] == ["ONE", "TWO", "THREE"]


def test_a_variable_within_a_default_is_refused(tmp_path: Path) -> None:
    assert "cannot hold a variable" in mistakes(tmp_path, JOB.replace("name: answers", "name: ${A:-${B}}"))[0].message


def test_what_a_variable_holds_is_never_shown(tmp_path: Path) -> None:
    text = JOB.replace("name: answers", "name: ${S}") + (
        "limits:\n  concurrency: ${S}\n  drain_seconds: ${N}\ncheckpoint:\n  path: [1]\nretry: ${S}\n"
    )
    text = text.replace("output: {", 'output: {compression: "${S}", ').replace(
        "model: meta", 'kind: "${S}", model: meta'
    )
    found = mistakes(tmp_path, text, {"S": "s3cr3t value", "N": "-77551"})
    assert len(found) == 7
    assert "s3cr3t" not in repr(found)
    assert "77551" not in repr(found)


def test_the_document_keeps_variables_as_written(tmp_path: Path) -> None:
    text = JOB.replace("name: answers", "name: ${N:-x}") + "limits:\n  requests_per_minute: ${RPM}\n"
    job = load(tmp_path, text, {"RPM": "60"}, ["prompt.system=$${A} ${B:-b}"])
    assert job.config.prompt.system == "${A} b"
    assert job.document["name"] == "${N:-x}"
    assert job.document["checkpoint"]["path"] == ".checkpoints/${N:-x}"
    assert job.document["limits"] == {
        "concurrency": 32,
        "processes": "auto",
        "requests_per_minute": "${RPM}",
        "tokens_per_minute": None,
        "shared": None,
        "max_cost_usd": None,
        "max_run_cost_usd": None,
        "deadline_seconds": None,
        "timeout_seconds": 300,
        "idle_seconds": None,
        "wait_for_quota_seconds": 0.0,
        "drain_seconds": 60,
    }
    assert job.document["prompt"]["system"] == "$${A} ${B:-b}"
    assert job.document["pricing"] is None
    assert json.loads(json.dumps(job.document)) == job.document


def test_the_document_is_a_job_file_that_gives_the_same_job(tmp_path: Path) -> None:
    text = JOB + "parameters: {temperature: 0.2, seed: {column: s}, max_tokens: 9}\nlimits:\n  max_cost_usd: ${CAP}\n"
    job = load(tmp_path, text, {"CAP": "1.50"})
    written = {key: value for key, value in job.document.items() if value is not None}
    again = load(tmp_path, json.dumps(written).replace('"${CAP}"', "1.50"), {})
    assert again.config.model_copy(update={"checkpoint": job.config.checkpoint}) == job.config
    assert again.checkpoint_path == job.checkpoint_path


def test_set_replaces_adds_and_makes_sections(tmp_path: Path) -> None:
    job = load(
        tmp_path,
        JOB,
        overrides=[
            "limits.concurrency=8",
            "parameters={temperature: 0.2, top_k: 3}",
            "parameters.top_k=4",
            "parameters.top_p.column=nucleus",
            'prompt.user="x: {{ y }}"',
            "input.path=[a.csv, b.csv]",
            "output.prefix=",
            "name=first=second",
            "name=third",
            "output.prefix=a=b",
        ],
    )
    assert job.config.limits.concurrency == 8
    assert job.config.parameters.temperature == 0.2
    assert job.config.parameters.top_k == 4
    assert job.config.parameters.top_p == ColumnReference(column="nucleus")
    assert job.config.prompt.user == "x: {{ y }}"
    assert job.config.input.path == ("a.csv", "b.csv")
    assert job.config.name == "third"
    assert job.config.output.prefix == "a=b"


def test_set_null_takes_a_value_away_where_none_is_allowed(tmp_path: Path) -> None:
    text = JOB + "limits: {requests_per_minute: 5}\nsimulator: {seed: 1}\n"
    overrides = ["limits.requests_per_minute=null", "simulator=null", "input.id=~"]
    job = load(tmp_path, text, overrides=overrides)
    assert job.config.limits.requests_per_minute is None
    assert job.config.simulator is None
    assert job.config.input.id is None
    found = mistakes(tmp_path, JOB, overrides=["limits.concurrency=null"])
    assert found[0].suggestion == "give it a value, or leave the key out for the default, 32"


def test_set_does_not_reach_other_uses_of_an_alias(tmp_path: Path) -> None:
    text = JOB.replace("endpoint:", "endpoint: &e") + "parameters: {temperature: &t 0.5, top_p: *t}\n"
    job = load(tmp_path, text, overrides=["parameters.top_p=0.9"])
    assert (job.config.parameters.temperature, job.config.parameters.top_p) == (0.5, 0.9)


@pytest.mark.parametrize(
    ("override", "key", "suggestion"),
    [
        ("limits.concurency=8", "limits.concurency", "did you mean `concurrency`?"),
        ("limit.concurrency=8", "limit", "did you mean `limits`?"),
        ("concurrency=8", "concurrency", "did you mean `limits.concurrency`?"),
        ("name.x=8", "name.x", "`name` takes no keys"),
        ("input.path.0=x", "input.path.0", "`input.path` takes `job`"),
        (
            "prompt.user={{ question }}",
            "prompt.user",
            """put the value in quotes inside the shell's: --set 'prompt.user="…"'""",
        ),
        ("prompt.user=[a", "prompt.user", """put the value in quotes inside the shell's: --set 'prompt.user="…"'"""),
        ("name=!!python/name:os.system", "name", """put the value in quotes inside the shell's: --set 'name="…"'"""),
        ("limits.concurrency=1_0", "limits.concurrency", "write 10: only digits, and a point before decimals"),
    ],
)
def test_set_mistakes_name_the_flag_and_fix_it(tmp_path: Path, override: str, key: str, suggestion: str) -> None:
    (found,) = mistakes(tmp_path, JOB, overrides=[override])
    name = override.partition("=")[0]
    assert (found.file, found.key, found.suggestion) == (f"--set {name}=…", key, suggestion)
    assert found.source == override


def test_set_without_a_value_says_how_it_is_written(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, JOB, overrides=["limits.concurrency"])
    assert found.suggestion == "write --set limits.concurrency=VALUE"


def test_set_mistakes_come_together_with_those_of_the_file(tmp_path: Path) -> None:
    found = mistakes(tmp_path, JOB + "colour: red\n", overrides=["limits.concurrency=0", "retry.no=1"])
    assert [one.key for one in found] == ["colour", "limits.concurrency", "retry.no"]
    found = mistakes(tmp_path, "a: [", overrides=["retry.no=1"])
    assert [one.key for one in found] == [None, "retry.no"]


def test_a_secret_in_a_set_is_not_shown(tmp_path: Path) -> None:
    found = mistakes(tmp_path, JOB, overrides=["endpoint.api_key=sk-123", "endpoint.url=https://me:pw@example.com"])
    assert len(found) == 2
    assert "sk-123" not in repr(found)
    assert "pw" not in repr(found)
