"""What a job may add to each request, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import InvalidJob, Job, Mistake, format_mistake, load_job

JOB = """\
name: answers
input: {path: in.csv}
prompt: {user: "{{ question }}"}
output: {path: out.parquet}
endpoint:
  model: meta/llama-4-scout-17b-16e-instruct
"""
OPENAI = "  kind: openai\n  url: https://api.example.com/v1\n"


def load(tmp_path: Path, lines: str, *overrides: str, environ: dict[str, str] | None = None) -> Job:
    path = tmp_path / "job.yaml"
    path.write_text(JOB + lines, encoding="utf-8")
    return load_job(path, overrides, environ=environ or {})


def only(tmp_path: Path, lines: str, *overrides: str) -> Mistake:
    with pytest.raises(InvalidJob) as refused:
        load(tmp_path, lines, *overrides)
    assert len(refused.value.mistakes) == 1, refused.value.mistakes
    return refused.value.mistakes[0]


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ("  headers: {Content-Type: text/plain}\n", "endpoint.headers.Content-Type"),
        ("  headers: {content-length: '5'}\n", "endpoint.headers.content-length"),
        ("  headers: {HOST: example.com}\n", "endpoint.headers.HOST"),
        ("  headers: {authorization: Bearer x}\n", "endpoint.headers.authorization"),
        ("  headers: {Api-Key: x}\n  auth: {header: api-key}\n", "endpoint.headers.Api-Key"),
        ("  headers: {Transfer-Encoding: chunked}\n", "endpoint.headers.Transfer-Encoding"),
        ("  headers: {'X Team': x}\n", "endpoint.headers.X Team"),
        ("  headers: {'': x}\n", "endpoint.headers."),
        ("  headers: {X-Team: a, x-team: b}\n", "endpoint.headers.x-team"),
        ('  headers: {X-Team: "a\\nb"}\n', "endpoint.headers.X-Team"),
        ("  headers: {X-Team: ' a'}\n", "endpoint.headers.X-Team"),
        ("  headers: {X-Team: 日本}\n", "endpoint.headers.X-Team"),
        ("  headers: {X-Team: 5}\n", "endpoint.headers.X-Team"),
        ("  headers: [a]\n", "endpoint.headers"),
        ("  query: {version: 2}\n", "endpoint.query.version"),
        ("  auth: {header: Host}\n", "endpoint.auth.header"),
        ("  auth: {header: a b}\n", "endpoint.auth.header"),
        ("  auth: {prefix: ' Bearer '}\n", "endpoint.auth.prefix"),
        ('  auth: {prefix: "a\\r\\n"}\n', "endpoint.auth.prefix"),
        ("  kind: openai\n  url: https://x/v1\n  auth: {header: api-key}\n  api_key_env: null\n", "endpoint.auth"),
        ("  api_key_env: null\n", "endpoint.api_key_env"),
        ("  api_key_env: null\n  url: simulator\n", "endpoint.api_key_env"),
        ("  api_key_env: null\n  url: https://example.com/api/v1\n", "endpoint.api_key_env"),
        ("  extra_body: {model: x}\n", "endpoint.extra_body.model"),
        ("  extra_body: {messages: []}\n", "endpoint.extra_body.messages"),
        ("  extra_body: {stream: true}\n", "endpoint.extra_body.stream"),
        ("  extra_body: {stream_options: {}}\n", "endpoint.extra_body.stream_options"),
        ("  extra_body: {n: 2}\n", "endpoint.extra_body.n"),
        ("  extra_body: {max_tokens: 2}\n", "endpoint.extra_body.max_tokens"),
        ("  extra_body: {seed: 2}\nparameters: {seed: 1}\n", "endpoint.extra_body.seed"),
        ("  extra_body: {seed: 2}\nparameters: {seed: {column: s}}\n", "endpoint.extra_body.seed"),
        (OPENAI + "  extra_body: {mct: 2}\n  max_tokens_field: mct\n", "endpoint.extra_body.mct"),
        ("  extra_body: {x: .nan}\n", "endpoint.extra_body"),
        ("  extra_body: {x: [{y: -.inf}]}\n", "endpoint.extra_body"),
        ("  extra_body: text\n", "endpoint.extra_body"),
        ("  max_tokens_field: max_completion_tokens\n", "endpoint.max_tokens_field"),
        (OPENAI + "  max_tokens_field: messages\n", "endpoint.max_tokens_field"),
        (OPENAI + "  max_tokens_field: seed\n", "endpoint.max_tokens_field"),
    ],
)
def test_what_the_pipeline_sets_itself_or_http_cannot_carry_is_refused(tmp_path: Path, lines: str, key: str) -> None:
    assert only(tmp_path, lines).key == key


@pytest.mark.parametrize(
    "lines",
    [
        "  headers: {X-Team: hunter2-team}\n  extra_body: {n: 1}\n",
        "  headers:\n    X-Team: hunter2-team\n    Host: hunter2-team\n",
        "  headers:\n    X-Team: [hunter2-team]\n",
    ],
)
def test_a_header_s_value_is_shown_by_no_mistake(tmp_path: Path, lines: str) -> None:
    found = only(tmp_path, lines)
    assert "hunter2" not in repr(found) + format_mistake(found)
    with pytest.raises(InvalidJob) as refused:
        load(tmp_path, "", "endpoint.headers.X-Team=[hunter2-team]")
    assert "hunter2" not in repr(refused.value.mistakes) + "".join(map(format_mistake, refused.value.mistakes))


def test_the_resolved_configuration_shows_the_query_and_no_header_s_value(tmp_path: Path) -> None:
    lines = '  headers: {X-Team: hunter2-team, X-Other: "${TEAM}"}\n  query: {api-version: "${V}"}\n'
    job = load(tmp_path, lines, environ={"TEAM": "hunter2-team", "V": "2026-05-01"})
    assert job.config.endpoint.headers == {"X-Team": "hunter2-team", "X-Other": "hunter2-team"}
    assert job.document["endpoint"]["headers"] == {"X-Team": "***", "X-Other": "***"}
    assert job.document["endpoint"]["query"] == {"api-version": "${V}"}
    assert "hunter2" not in repr(job)


def test_a_key_of_a_free_mapping_can_be_set_on_the_command_line(tmp_path: Path) -> None:
    overrides = ("endpoint.headers.X-Team=a", "endpoint.extra_body.top.deep=[1, null]", "endpoint.query.v='2'")
    endpoint = load(tmp_path, "", *overrides).config.endpoint
    assert (endpoint.headers, endpoint.query) == ({"X-Team": "a"}, {"v": "2"})
    assert endpoint.extra_body == {"top": {"deep": [1, None]}}


def test_a_stand_in_for_dataoorts_on_this_machine_needs_no_key(tmp_path: Path) -> None:
    assert load(tmp_path, "  url: http://127.0.0.1:9/api/v1\n  api_key_env: null\n").config.endpoint.api_key_env is None


def test_an_authorization_header_is_free_where_there_is_no_key(tmp_path: Path) -> None:
    job = load(tmp_path, OPENAI + "  api_key_env: null\n  headers: {Authorization: Basic abc}\n")
    assert job.config.endpoint.headers == {"Authorization": "Basic abc"}
